"""Compute the cost of a graph before a runtime loads it: memory and work for an image of a given size.

A file of a kilobyte can require 7 GB, or run for a week. Here every operator is evaluated with sizes instead of values,
so such a file raises an error at once. The exception is the part that turns scores into labels, because the number of
pixels it interpolates depends on the image. This part is always the same and is recognised by its digest.

Shapes: H, W the image's own size; N its bands.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pixelwise.bundle.allowed_operators import OPERATORS
from pixelwise.bundle.protobuf_reader import Message
from pixelwise.bundle.sized_tensors import FLOAT, MAX_RANK, UINT8, Node, OperatorError, TensorSize, tensor_values
from pixelwise.records import RGB, Bands

LABELS = "labels/"  # name prefix of the part from scores to labels
SCORES = "stage/scores"  # the input of that part
# Digests of that part from this and earlier versions; see `labels_digest`.
LABELS_DIGESTS = frozenset(
    (
        "de7b799596d7dc07e5729a38bb69e83586b1ef89d3f1fa16f1faa75f1d11cc7c",
        "12e902bf63c854d635dfced7313b8e9abe9840fc03595dd7db19097555ac8710",
        "8d6b88d2688b71b788dd72d1c78fc5203e8181852345e22c9ef5c5101ef8ed9e",
        "13466e6eed3b402c60ca7de53c86d7cb7631bd531ee2c01fcd5db77533490855",
    )
)
LABELS_BYTES = 64  # per pixel, roughly, at the peak
MEMORY = 512 << 20  # bytes allowed for any image, in addition to the file's constants
MEMORY_OF_WEIGHTS = 4  # times the weights in the file: int8 weights are unpacked to float32
MEMORY_PER_PX = 2048  # additional bytes per pixel of the image or of the network's input
MEMORY_PER_VALUE = 32  # additional bytes per value of a pixel with more than three bands
WORK = 2e10  # multiplications, for any image
WORK_PER_PX = 3e6
MOST_DECLARED_PX = 1 << 22  # a declared network input counts for at most this many pixels
TOUCHED = 64.0  # matrix-product multiplications in the time of one read or write
SLOWER = {  # operator → factor on that time
    **dict.fromkeys(("CumSum", "ScatterElements", "ScatterND", "GatherElements", "GatherND", "GridSample", "Pow"), 8.0),
    **dict.fromkeys(("Resize", "Mod"), 4.0), "cubic": 200.0,
}  # fmt: skip
OVERRIDE = "PIXELWISE_MODEL_MEMORY_MB"


@dataclass(frozen=True)
class Cost:
    """The cost of one image."""

    bytes: int  # at the peak, without the file's constants
    work: float  # multiplications, or their equivalent in time
    where: str  # the operator at the peak
    tensors: dict[str, TensorSize]  # the outputs and the watched tensors


class Plan:
    """The operators of a graph in running order, and the known facts about every tensor."""

    def __init__(self, graph: Message, watched: Iterable[str] = (), bands: Bands = RGB) -> None:
        """Take a graph as read by `protobuf_reader`; `watched`: further tensors to report the size of; `bands`: of the
        images.

        Raises:
            OperatorError: the graph cannot be run.
        """
        self.bands = bands
        messages = graph.get("node", ())
        if known_labels := labels_digest(graph) in LABELS_DIGESTS:
            messages = [message for message in messages if not of_labels(message)]
        self.nodes = [node_of(message) for message in messages]
        if known_labels:
            self.nodes.append(Node(LABELS, ["image", SCORES], ["labels"], {}))
        self.constants: dict[str, TensorSize] = {}
        for tensor in graph.get("initializer", ()):
            name = tensor.get("name", "")
            if not name or name in self.constants:
                raise OperatorError(f"two constants are named {name[:80]!r}")
            self.constants[name] = tensor_values(tensor)
        check_names(graph, self.constants)
        self.watched = list(dict.fromkeys([*(output.get("name", "") for output in graph.get("output", ())), *watched]))
        self.stored = sum(tensor.bytes for tensor in self.constants.values())
        self.last_use = {name: place for place, node in enumerate(self.nodes) for name in node.inputs}
        self.known: dict[str, TensorSize] = {}  # tensors independent of the image size
        self.measured = lru_cache(maxsize=256)(self.measure)

    def measure(self, height: int, width: int) -> Cost:
        """The cost of an image of height × width.

        Raises:
            OperatorError: an operator cannot be run on it, or its size has no bound.
        """
        dtype = UINT8 if self.bands.dtype == "uint8" else FLOAT
        image = TensorSize((height, width, len(self.bands)), dtype, resized=True)
        tensors = {**self.constants, "image": image, **self.known}
        alive: dict[str, int] = {}
        pinned = {*self.watched}  # kept in memory: outputs, and constants that every run reads
        now = peak = 0
        work, where = 0.0, "its input"
        for place, node in enumerate(self.nodes):
            if hidden := [name for name in node.inputs if name and name not in tensors]:
                raise OperatorError(f"{node.op} reads {hidden[0][:80]!r}, whose size depends on the image's values")
            given = [tensors[name] if name else None for name in node.inputs]
            try:
                made = self.run(node, given, tensors, height, width)
                work += work_of(node, given, made)
            except OperatorError as error:
                raise OperatorError(f"{node.op} {(node.outputs or [''])[0][:80]!r}: {error}") from error
            except (ValueError, LookupError, TypeError, ArithmeticError, MemoryError) as error:  # from its content
                raise OperatorError(f"{node.op} {(node.outputs or [''])[0][:80]!r} cannot be run: {error}") from error
            for name, tensor in zip(node.outputs, made, strict=False):
                alive[name] = tensor.bytes
                now += tensor.bytes
            if now > peak:
                peak, where = now, f"{node.op} {(node.outputs or [''])[0][:80]!r}"
            if not made[0].constant:
                pinned.update(name for name in node.inputs if name and tensors[name].constant)
            for name in node.inputs:
                if self.last_use[name] == place and name not in pinned:
                    now -= alive.pop(name, 0)
        if missing := [name for name in self.watched if name not in tensors]:
            raise OperatorError(f"nothing makes {missing[0][:80]!r}")
        return Cost(peak, work, where, {name: tensors[name] for name in self.watched})

    def run(
        self, node: Node, given: list[TensorSize | None], tensors: dict[str, TensorSize], height: int, width: int
    ) -> list[TensorSize]:
        """The outputs of an operator, also added to `tensors`."""
        if node.outputs and node.outputs[0] in self.known:
            return [tensors[name] for name in node.outputs if name]
        resized = any(tensor.resized for tensor in given if tensor is not None)
        constant = all(tensor.constant for tensor in given if tensor is not None)
        if node.op == LABELS:
            made = [TensorSize((height, width), UINT8, resized=True)]
        else:
            results = OPERATORS[node.op](node, given)
            if node.op == "Shape":
                constant = not resized
            made = [TensorSize(shape, dtype, values, resized, constant) for shape, dtype, values in results]
        if len(made) < len(node.outputs) or not made:
            raise OperatorError(f"puts out {len(node.outputs)} tensors instead of {len(made)}")
        if max(len(tensor.shape) for tensor in made) > MAX_RANK:
            raise OperatorError(f"puts out a tensor of more than {MAX_RANK} dimensions")
        for name, tensor in zip(node.outputs, made, strict=False):
            if name:
                tensors[name] = tensor
                if not tensor.resized:
                    self.known[name] = tensor
        return made

    @property
    def memory_per_px(self) -> int:
        return MEMORY_PER_PX + MEMORY_PER_VALUE * max(len(self.bands) - len(RGB), 0)

    def check(self, height: int, width: int, declared: tuple[int, int]) -> Cost:
        """The cost of an image of height × width, for a network with the `declared` input size.

        Raises:
            OperatorError: more than any network needs, or as `measure`.
        """
        cost = self.measured(height, width)
        pixels = max(height * width, min(math.prod(declared), MOST_DECLARED_PX))
        allowed = MEMORY + MEMORY_OF_WEIGHTS * self.stored + self.memory_per_px * pixels
        if OVERRIDE in os.environ and os.environ[OVERRIDE].isdecimal():
            allowed = int(os.environ[OVERRIDE]) << 20
        if cost.bytes > allowed:
            raise OperatorError(
                f"an image of {width}×{height} px takes {cost.bytes / 2**20:.0f} MB at {cost.where}; at most "
                f"{allowed / 2**20:.0f} MB are allowed. If you trust the file, allow more megabytes by {OVERRIDE}"
            )
        if cost.work > WORK + WORK_PER_PX * pixels:
            raise OperatorError(
                f"an image of {width}×{height} px takes some {cost.work:.1g} multiplications; a network of this size "
                f"takes {WORK + WORK_PER_PX * pixels:.1g} at most"
            )
        return cost


def check_names(graph: Message, constants: Iterable[str]) -> None:
    """Check that every tensor is defined once, before its use: otherwise readers might disagree about its meaning.

    Raises:
        OperatorError: a tensor is not.
    """
    made = {"image", *constants}
    if "image" in constants:
        raise OperatorError("a constant is named as the input is")
    for node in graph.get("node", ()):
        op = node.get("op_type", "")[:80]
        if missing := [name for name in node.get("input", ()) if name and name not in made]:
            raise OperatorError(f"{op} reads {missing[0][:80]!r}, which nothing before it makes")
        for name in node.get("output", ()):
            if name and name in made:
                raise OperatorError(f"the tensor {name[:80]!r} is made twice")
            made.add(name)


def node_of(message: Message) -> Node:
    """An operator as stored in the file.

    Raises:
        OperatorError: bundles do not allow it.
    """
    op = message.get("op_type", "")
    if op not in OPERATORS:
        raise OperatorError(
            f"the operator {op[:80]!r} is not one of the {len(OPERATORS)} that a bundle may use, those whose cost is "
            "known before they are run"
        )
    found: dict[str, Any] = {}
    for attribute in message.get("attribute", ()):
        name = attribute.get("name", "")
        if name in found:
            raise OperatorError(f"{op} has the attribute {name[:80]!r} twice")
        found[name] = attribute_value(op, attribute)
    node = Node(op, message.get("input", []), message.get("output", []), found)
    # Not every runtime checks that required inputs are present.
    if any(not name and place < OMITTED.get(op, len(node.inputs)) for place, name in enumerate(node.inputs)):
        raise OperatorError(f"{op} lacks an input that it needs")
    if not node.outputs or not node.outputs[0]:
        raise OperatorError(f"{op} puts nothing out")
    return node


OMITTED = {  # operator → the first input that may be omitted while others follow
    "Resize": 1, "Clip": 1, "Pad": 2, "Slice": 3,
}  # fmt: skip
MAX_ATTRIBUTE, MAX_LISTED = 1 << 16, 64  # of integer attributes: their size, and the length of a list
HELD = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}  # AttributeProto.AttributeType → field


def attribute_value(op: str, attribute: Message) -> Any:
    """The value of an attribute by its type. Attributes with further values are refused."""
    field = HELD.get(attribute.get("type", 0))
    others = [name for name in HELD.values() if name != field and name in attribute]
    if field is None or others:
        raise OperatorError(f"{op}'s attribute {attribute.get('name', '')[:80]!r} is not what its type says")
    default: Any = {"f": 0.0, "i": 0, "s": b"", "floats": [], "ints": [], "strings": []}.get(field)
    value = attribute.get(field, default)
    if value is None:
        raise OperatorError(f"{op}'s attribute {attribute.get('name', '')[:80]!r} has no value")
    if field in ("i", "ints") and op != "Constant":
        listed = [value] if field == "i" else value
        if len(listed) > MAX_LISTED or max(map(abs, listed), default=0) > MAX_ATTRIBUTE:
            raise OperatorError(
                f"{op}'s attribute {attribute.get('name', '')[:80]!r} is {str(value)[:80]}, more than any needs"
            )
    return value


def work_of(node: Node, given: list[TensorSize | None], made: list[TensorSize]) -> float:
    """The approximate work of an operator, in multiplications or their equivalent in time."""
    out = float(sum(tensor.count for tensor in made))
    first = given[0] if given else None
    second = given[1] if len(given) > 1 else None
    if node.op == "Conv" and second is not None:
        return out * math.prod(second.shape[1:])
    if node.op == "ConvTranspose" and first is not None and second is not None:
        return float(first.count) * math.prod(second.shape[1:])
    if node.op in ("MatMul", "Gemm") and first is not None:
        return out * float(first.shape[0] if node.attributes.get("transA") else first.shape[-1])
    if node.op == "Einsum":
        sides: dict[str, int] = {}
        equation = bytes(node.attributes["equation"]).decode().replace(" ", "")
        for term, tensor in zip(equation.split("->")[0].split(","), given, strict=True):
            sides |= dict(zip(term, tensor.shape if tensor else (), strict=True))
        return float(math.prod(sides.values()))
    if node.op in ("MaxPool", "AveragePool"):
        return out * float(math.prod(node.attributes.get("kernel_shape", (1,))))
    read = float(sum(tensor.count for tensor in given if tensor is not None))
    how = "cubic" if node.attributes.get("mode") == b"cubic" else node.op
    return TOUCHED * SLOWER.get(how, 1.0) * (out + read)


def labels_digest(graph: Message) -> str:
    """SHA-256 of the part of a graph that turns scores into labels: its operators, their order and its constants."""
    digest = hashlib.sha256()
    for node in graph.get("node", ()):
        if of_labels(node):
            attributes = [
                sorted((key, plain(value)) for key, value in attribute.items())
                for attribute in node.get("attribute", ())
            ]
            digest.update(repr((node.get("op_type"), node.get("domain", ""), node.get("input", []),
                                node.get("output", []), attributes)).encode())  # fmt: skip
    for tensor in graph.get("initializer", ()):
        if tensor.get("name", "").startswith(LABELS):
            digest.update(repr(plain(tensor)).encode())
    return digest.hexdigest()


def plain(value: Any) -> Any:
    """A part of a message in a form whose text can be compared."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, dict):
        return sorted((key, plain(inner)) for key, inner in value.items())
    return list(value) if isinstance(value, (list, tuple)) else value


def of_labels(node: Message) -> bool:
    """Whether an operator belongs, by its name, to the part from scores to labels."""
    name = str(node.get("name", ""))
    return name.startswith(LABELS) or name == "labels"
