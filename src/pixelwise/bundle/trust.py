"""Checks of a bundle's graph before a runtime loads it, and of a runtime's outputs.

A bundle is data, never code: nothing here runs it, and the onnx package is not needed.

Shapes: H, W the image's own size; N its bands; C classes; h, w the size of the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.graph_cost import Plan
from pixelwise.bundle.metadata import Metadata
from pixelwise.bundle.protobuf_reader import Message, read_model
from pixelwise.bundle.sized_tensors import FLOAT, UINT8, OperatorError, TensorSize
from pixelwise.records import RGB, Bands

OLDEST_OPSET, NEWEST_OPSET = 17, 25  # of ONNX's own operators; the newest known here
IR_VERSIONS = (3, 13)
DOMAINS = ("", "ai.onnx")  # of ONNX's own operators, which every runtime has
UNUSED_DOMAINS = ("ai.onnx.ml", "com.microsoft")  # may be declared, but have no operators here
MAX_NODES = 20_000
TRIED = ((480, 640), (97, 211))  # image sizes for which the cost is computed on loading


class DeclaredTensor(Protocol):
    """An input or output of a session."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> list[Any]: ...


class DeclaredSession(Protocol):
    """The part of an onnxruntime.InferenceSession that is used."""

    def get_inputs(self) -> Sequence[DeclaredTensor]: ...
    def get_outputs(self) -> Sequence[DeclaredTensor]: ...


def check_model(model: Message, bands: Bands = RGB, borders: int = 0) -> None:
    """Check a model's operators, inputs and outputs.

    Args:
        bands: of the images that it takes.
        borders: number of its maps of borders between objects.

    Raises:
        OperatorError: it needs an opset or operators that not every runtime supports, or its input and outputs are
            not those of a bundle.
    """
    check_opsets(model)
    graph = model["graph"]
    nodes = graph.get("node", ())
    if len(nodes) > MAX_NODES:
        raise OperatorError(f"{len(nodes)} operators; a bundle has at most {MAX_NODES}")
    for node in nodes:
        if node.get("domain", "") not in DOMAINS:
            raise OperatorError(f"uses an operator of {node['domain'][:80]!r}, which not every runtime has")
    declared = {f"input {value.get('name', '')}": value for value in graph.get("input", ())}
    declared |= {f"output {value.get('name', '')}": value for value in graph.get("output", ())}
    number = len(graph.get("input", ())) + len(graph.get("output", ()))
    expected = {
        "input image": (2 if bands.dtype == "uint8" else 1, 3),
        "output labels": (2, 2),
        "output scores": (1, 3),
        **({"output borders": (1, 3)} if borders else {}),
    }
    for what, (kind, rank) in expected.items():
        tensor = declared.get(what, {}).get("type", {}).get("tensor_type", {})
        sides = tensor.get("shape", {}).get("dim", [])
        if tensor.get("elem_type") != kind or len(sides) != rank or any(len(side) > 1 for side in sides):
            wanted = ("uint8" if kind == 2 else "float") + f" of {rank} dimensions"
            others = ", ".join(name[:80] for name in list(declared)[:9]) or "nothing"
            raise OperatorError(f"{what} should be {wanted}; the file declares {others}")
    if extra := sorted(set(declared) - set(expected)) or number != len(expected):
        others = ", ".join(extra)[:200] if isinstance(extra, list) else "a name twice"
        raise OperatorError(f"unexpected {others}; a bundle takes one image and gives labels and scores")


def check_exported(
    data: bytes, stages: Sequence[str], size: tuple[int, int], bands: Bands = RGB, borders: int = 0
) -> None:
    """Check that an exported graph can become a bundle.

    Args:
        data: the serialised model, without metadata.
        stages: the tensors that its metadata will name.
        size: of the network's input.
        bands: of the images.
        borders: number of its maps of borders between objects.

    Raises:
        ValueError: it cannot; the message states the reason.
    """
    model, _ = read_model(data)
    check_model(model, bands, borders)
    plan = Plan(model["graph"], stages, bands)
    for height, width in TRIED:
        plan.check(height, width, size)


def check_opsets(model: Message) -> None:
    """Raise OperatorError unless the operators are ONNX's own, of known versions."""
    imports = [(entry.get("domain", ""), entry.get("version", 0)) for entry in model.get("opset_import", ())]
    if foreign := sorted({domain for domain, _ in imports} - {*DOMAINS, *UNUSED_DOMAINS}):
        raise OperatorError(f"needs operators of {', '.join(foreign)[:200]}, which not every runtime has")
    own = [version for domain, version in imports if domain in DOMAINS]
    if len(own) > 1 or len({domain for domain, _ in imports}) != len(imports):
        raise OperatorError("declares an opset twice")
    opset = own[0] if own else 0
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise OperatorError(
            f"ONNX opset {opset or 'not declared'}; expected {OLDEST_OPSET} … {NEWEST_OPSET}. Update Pixelwise, or "
            "export the bundle again with this version"
        )
    if not IR_VERSIONS[0] <= model.get("ir_version", 0) <= IR_VERSIONS[1]:
        raise OperatorError(
            f"ONNX IR version {model.get('ir_version', 0)}; expected {IR_VERSIONS[0]} … {IR_VERSIONS[1]}"
        )


def check_sizes(plan: Plan, metadata: Metadata, golden: tuple[int, ...]) -> None:
    """Check cost and output shapes for the golden image and images of usual sizes.

    Raises:
        OperatorError: more than any network needs; labels of another size than the image; scores that are not one map
            per class; or a stage that is not a map.
    """
    for height, width in ((golden[0], golden[1]), *TRIED):
        found = plan.check(height, width, metadata.size).tensors
        expect(found, "labels", UINT8, (height, width))
        expect(found, "scores", FLOAT, (len(metadata.classes), None, None))
        if metadata.separate:
            _, *scores_size = found["scores"].shape
            expect(found, "borders", FLOAT, (len(metadata.separate), *scores_size))
        for stage in metadata.stages:
            side = None if stage is not metadata.stages[0] else len(metadata.bands)
            tensor = found[stage.tensor]
            expect(found, stage.tensor, FLOAT, (1, side, None, None) if len(tensor.shape) == 4 else (side, None, None))


def expect(found: dict[str, TensorSize], name: str, dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> None:
    tensor = found[name]
    fits_it = len(tensor.shape) == len(shape) and all(
        side >= 1 and want in (None, side) for side, want in zip(tensor.shape, shape, strict=True)
    )
    if tensor.dtype != dtype or not fits_it:
        wanted = ["any" if side is None else side for side in shape]
        raise OperatorError(f"{name[:80]!r} is {tensor.dtype} {list(tensor.shape)}; expected {dtype} {wanted}")


def check_declarations(session: DeclaredSession, classes: int, bands: Bands = RGB, borders: int = 0) -> None:
    """Raise OperatorError unless the session has the input and outputs of a bundle."""
    expected: dict[str, tuple[str, list[int | None]]] = {
        "input image": ("tensor(uint8)" if bands.dtype == "uint8" else "tensor(float)", [None, None, len(bands)]),
        "output labels": ("tensor(uint8)", [None, None]),
        "output scores": ("tensor(float)", [classes, None, None]),
        **({"output borders": ("tensor(float)", [borders, None, None])} if borders else {}),
    }
    declared = {f"input {node.name}": node for node in session.get_inputs()}
    declared |= {f"output {node.name}": node for node in session.get_outputs()}
    for what, (dtype, shape) in expected.items():
        node = declared.get(what)
        if node is None or node.type != dtype or not fits(node.shape, shape):
            received = f"{node.type} {node.shape}" if node else f"only {', '.join(declared)}"
            wanted = ["any" if side is None else side for side in shape]
            raise OperatorError(f"{what} should be {dtype} {wanted}, but the file declares {received}")


def fits(declared: Sequence[Any], expected: Sequence[int | None]) -> bool:
    """Whether a declared shape matches. A side must be dynamic if None is expected, and otherwise equal or dynamic."""
    if len(declared) != len(expected):
        return False
    return all(
        want is None or side == want or not isinstance(side, int) for side, want in zip(declared, expected, strict=True)
    )


def check_answer(image: NDArray[Any], labels: Any, scores: Any, classes: int) -> None:
    """Check an engine's outputs for an image [H, W, N].

    Raises:
        OperatorError: not labels uint8 [H, W] below the number of classes, and finite scores float32 [C, h, w].
    """
    height, width = image.shape[:2]
    if not isinstance(labels, np.ndarray) or labels.dtype != np.uint8 or labels.shape != (height, width):
        raise OperatorError(
            f"gives labels {shown(labels)} for an image of {width}×{height} px; expected uint8 {[height, width]}"
        )
    if int(labels.max()) >= classes:
        raise OperatorError(f"gives the label {int(labels.max())}; its classes are 0 … {classes - 1}")
    right = isinstance(scores, np.ndarray) and scores.dtype == np.float32 and scores.ndim == 3 and scores.size
    if not right or len(scores) != classes:
        raise OperatorError(f"gives scores {shown(scores)}; expected float32 {[classes, 'h', 'w']}")
    if not (np.isfinite(scores.min()) and np.isfinite(scores.max())):
        raise OperatorError("gives scores that are infinite or NaN")


def check_borders(borders: Any, scores: NDArray[Any], count: int) -> None:
    """Raise OperatorError unless an engine's borders are probabilities float32 [B, h, w], as large as the scores."""
    expected = (count, *scores.shape[1:])
    if not isinstance(borders, np.ndarray) or borders.dtype != np.float32 or borders.shape != expected:
        raise OperatorError(f"gives borders {shown(borders)}; expected float32 {list(expected)}")
    if not (borders.min() >= 0 and borders.max() <= 1):  # false for NaN too
        raise OperatorError("gives borders that are not probabilities of 0 … 1")


def shown(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
