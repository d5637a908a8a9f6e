"""What is asked of a bundle's bytes before any runtime is given them, and of what it declares before it is run.

A bundle is data, never code: nothing here runs it, and none of it needs the onnx package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from pixelwise.bundle.format import REMEDY, BundleFile, protobuf_fields
from pixelwise.errors import BundleError

OLDEST_OPSET, NEWEST_OPSET = 17, 25  # of ONNX's own operators, as they were when this was written
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # whose operators every ONNX Runtime has built in
MAX_NODES = 100_000
MAX_DEPTH = 16  # of graphs inside nodes
# Where a protobuf of onnx.proto holds messages: message → field number → message.
NESTED = {
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor", 6: "graph", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
DOMAIN_OF_NODE, EXTERNAL_DATA, OPSET_IMPORT, FUNCTIONS = 7, 13, 8, 25  # field numbers


class Declared(Protocol):
    """An input or output of a session."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> list[Any]: ...


class Session(Protocol):
    """What is used of an onnxruntime.InferenceSession."""

    def get_inputs(self) -> Sequence[Declared]: ...
    def get_outputs(self) -> Sequence[Declared]: ...


def check_bytes(bundle: BundleFile) -> None:
    """Look through a bundle's graph without running it.

    Raises:
        BundleError: damaged; of an opset, or with operators, that runtimes do not have of themselves; with values that
            lie in another file; or larger than any network is.
    """
    try:
        check_opsets(bundle)
        graphs = [value for number, value in protobuf_fields(bundle.model) if number == 7]
        nodes = 0
        for graph in graphs:
            if not isinstance(graph, memoryview):
                continue
            for kind, message in messages_in("graph", graph):
                if kind == "node":
                    nodes += 1
                    check_domain(bundle, message)
                if kind == "tensor" and any(number == EXTERNAL_DATA for number, _ in protobuf_fields(message)):
                    raise BundleError(
                        f"{bundle.path}: part of its weights lies in another file, but a bundle is one file. {REMEDY}"
                    )
    except (ValueError, IndexError, RecursionError) as error:
        raise BundleError(f"{bundle.path}: its graph is damaged ({error}). {REMEDY}") from error
    if nodes > MAX_NODES:
        raise BundleError(f"{bundle.path}: {nodes} operators; a bundle has at most {MAX_NODES}. {REMEDY}")


def check_opsets(bundle: BundleFile) -> None:
    """Raise BundleError unless the operators are ONNX's own, of versions that are known here."""
    versions: dict[str, int] = {}
    for number, value in protobuf_fields(bundle.model):
        if number == FUNCTIONS:
            raise BundleError(f"{bundle.path}: defines operators of its own; a bundle uses ONNX's. {REMEDY}")
        if number == OPSET_IMPORT and isinstance(value, memoryview):
            entry = dict(protobuf_fields(value))
            domain, version = entry.get(1, b""), entry.get(2, 0)
            name = bytes(domain).decode() if isinstance(domain, (bytes, memoryview)) else ""
            versions[name] = version if isinstance(version, int) else 0
    if foreign := sorted(set(versions) - set(DOMAINS)):
        raise BundleError(f"{bundle.path}: needs operators of {', '.join(foreign)}, which no runtime has. {REMEDY}")
    opset = versions.get("", versions.get("ai.onnx", 0))
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise BundleError(
            f"{bundle.path}: ONNX opset {opset or 'not declared'}; expected {OLDEST_OPSET} … {NEWEST_OPSET}. Update "
            "Pixelwise, or export the bundle again with this version."
        )


def check_domain(bundle: BundleFile, node: memoryview) -> None:
    for number, value in protobuf_fields(node):
        if number == DOMAIN_OF_NODE and isinstance(value, memoryview) and bytes(value).decode() not in DOMAINS:
            raise BundleError(
                f"{bundle.path}: uses an operator of {bytes(value).decode()[:80]!r}, which no runtime has. {REMEDY}"
            )


def messages_in(kind: str, message: memoryview, depth: int = 0) -> Iterator[tuple[str, memoryview]]:
    """Every message of onnx.proto below one, and itself: (what it is, its bytes)."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    yield kind, message
    for number, value in protobuf_fields(message) if kind in NESTED else ():
        inner = NESTED[kind].get(number)
        if inner and isinstance(value, memoryview):
            yield from messages_in(inner, value, depth + 1)


def check_declarations(session: Session, bundle: BundleFile) -> None:
    """Raise BundleError unless the graph declares what every bundle declares."""
    classes = len(bundle.metadata.classes)
    expected: dict[str, tuple[str, list[int | None]]] = {
        "input image": ("tensor(uint8)", [None, None, 3]),
        "output labels": ("tensor(uint8)", [None, None]),
        "output scores": ("tensor(float)", [classes, None, None]),
    }
    declared = {f"input {node.name}": node for node in session.get_inputs()}
    declared |= {f"output {node.name}": node for node in session.get_outputs()}
    for what, (dtype, shape) in expected.items():
        node = declared.get(what)
        if node is None or node.type != dtype or not fits(node.shape, shape):
            received = f"{node.type} {node.shape}" if node else f"only {', '.join(declared)}"
            wanted = ["any" if side is None else side for side in shape]
            raise BundleError(
                f"{bundle.path}: {what} should be {dtype} {wanted}, but the file declares {received}. {REMEDY}"
            )
    if extra := [what for what in declared if what.startswith("input ") and what not in expected]:
        raise BundleError(f"{bundle.path}: unexpected {', '.join(extra)}; a bundle takes one image. {REMEDY}")


def fits(declared: Sequence[Any], expected: Sequence[int | None]) -> bool:
    """Does a declared shape fit? A side must be free where None is expected; where a number is, it or free."""
    if len(declared) != len(expected):
        return False
    return all(
        want is None or side == want or not isinstance(side, int) for side, want in zip(declared, expected, strict=True)
    )
