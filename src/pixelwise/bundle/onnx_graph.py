"""A bundle's graph: dependencies, subgraphs that run alone, inner tensors as outputs.

The onnx package is imported inside functions: only a trace needs it.

Shapes: a tensor inside the graph is [1, channels, h, w]; the named stages are the same without the leading 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import BundleError
from pixelwise.records import Bands, ClassList, Raster

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

UNBATCHING = ("Gather", "Squeeze", "Identity", "Reshape")  # operators that an exporter writes for tensor[0]
UNPACKING = ("Cast", "Mul", "DequantizeLinear")  # operators that unpack weights of a smaller storage type
SHAPE_OF = "shape of "


class RunnableSession(Protocol):
    """The part of an onnxruntime.InferenceSession that is used."""

    def run(self, output_names: Sequence[str] | None, input_feed: dict[str, Any]) -> list[Any]: ...


class StoredStage(Protocol):
    """A named tensor in the bundle's metadata."""

    @property
    def name(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def tensor(self) -> str: ...


class StoredMetadata(Protocol):
    """The part of a bundle's metadata that a trace reads."""

    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def bands(self) -> Bands: ...
    @property
    def policy(self) -> str: ...
    @property
    def stride(self) -> int: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...
    @property
    def temperature(self) -> float: ...
    @property
    def stages(self) -> Sequence[StoredStage]: ...
    @property
    def provenance(self) -> dict[str, Any]: ...


class Traceable(Protocol):
    """A model that can be traced: the caller passes its `Model`, which is defined above this package."""

    @property
    def classes(self) -> ClassList: ...
    @property
    def metadata(self) -> StoredMetadata: ...
    @property
    def digest(self) -> str: ...
    @property
    def graph(self) -> bytes: ...
    @property
    def golden_image(self) -> Raster: ...
    @property
    def open_session(self) -> Callable[[bytes], RunnableSession]: ...


@dataclass(frozen=True)
class Graph:
    """A parsed model, with its nodes indexed by their output tensors."""

    model: ModelProto
    nodes: list[NodeProto]  # in running order
    producer: dict[str, int]  # tensor → index in `nodes` of its producer
    constants: dict[str, TensorProto]  # by name
    unpacked: dict[str, TensorProto]  # tensor → the constant of a smaller type that it is unpacked from

    def stored(self, name: str) -> TensorProto | None:
        """The constant that holds a weight, or None. Has the weight's shape, but possibly a smaller type."""
        return self.constants.get(name) or self.unpacked.get(name)

    def weight(self, name: str) -> NDArray[Any]:
        """The values of a weight, unpacked. Raises KeyError if `name` is not a weight."""
        from onnx import numpy_helper

        if name in self.constants:
            return np.asarray(numpy_helper.to_array(self.constants[name]))
        if name not in self.unpacked:
            raise KeyError(name)
        node = self.nodes[self.producer[name]]
        values, *others = (self.weight(given) for given in node.input if given)
        if node.op_type == "Cast":
            return values.astype(np.float32)
        if node.op_type == "Mul":
            return np.asarray(values * others[0])
        scales, zeros = others[0], others[1] if len(others) > 1 else np.zeros_like(others[0])
        if scales.ndim:  # one per channel
            along = [1] * values.ndim
            along[attributes(node).get("axis", 1)] = -1
            scales, zeros = scales.reshape(along), zeros.reshape(along)
        return np.asarray((values.astype(np.float32) - zeros) * scales, np.float32)


def parse(model: bytes) -> Graph:
    """Parse a serialised model."""
    import onnx

    parsed = onnx.load_model_from_string(model)
    nodes = list(parsed.graph.node)
    producer = {output: place for place, node in enumerate(nodes) for output in node.output if output}
    constants = {constant.name: constant for constant in parsed.graph.initializer}
    unpacked: dict[str, TensorProto] = {}
    for node in nodes:
        if node.op_type in UNPACKING and all(name in constants or name in unpacked for name in node.input if name):
            unpacked[node.output[0]] = constants.get(node.input[0]) or unpacked[node.input[0]]
    return Graph(parsed, nodes, producer, constants, unpacked)


def batched(graph: Graph, tensor: str) -> str:
    """The [1, channels, h, w] tensor whose only entry is a named stage.

    Raises:
        BundleError: the graph has no such tensor.
    """
    if tensor not in graph.producer:
        raise BundleError(f"the bundle names a tensor {tensor!r}, which its graph does not have. Export it again.")
    node = graph.nodes[graph.producer[tensor]]
    return str(node.input[0]) if node.op_type in UNBATCHING else tensor


def nodes_between(graph: Graph, starts: Iterable[str], ends: Iterable[str]) -> list[int]:
    """Indices of the nodes that `ends` need when `starts` are given; in running order."""
    seen, waiting, needed = set(starts), list(ends), set()
    while waiting:
        tensor = waiting.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        if tensor in graph.producer:
            place = graph.producer[tensor]
            needed.add(place)
            waiting.extend(name for name in graph.nodes[place].input if name)
    return sorted(needed)


def extract(graph: Graph, starts: Sequence[str], ends: Sequence[str]) -> tuple[bytes, list[str]]:
    """The part of the graph from `starts` to `ends`, as a model that runs alone.

    Args:
        starts: float tensors [1, channels, h, w] that become inputs. The graph's own inputs may be used as well.
        ends: tensors that become outputs.

    Returns:
        The serialised model, and the names of its inputs.
    """
    import onnx
    from onnx import TensorProto, helper

    nodes = [graph.nodes[place] for place in nodes_between(graph, starts, ends)]
    used = {name for node in nodes for name in node.input}
    own = [value for value in graph.model.graph.input if value.name in used]
    shape: list[str | int | None] = [1, "channels", "h", "w"]
    handed = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in starts if name in used]
    declared = {value.name: value for value in graph.model.graph.output}
    part = helper.make_graph(
        nodes,
        "part",
        [*own, *handed],
        [declared.get(name, onnx.ValueInfoProto(name=name)) for name in ends],
        [constant for name, constant in graph.constants.items() if name in used],
    )
    model = helper.make_model(part, opset_imports=graph.model.opset_import, ir_version=graph.model.ir_version)
    return model.SerializeToString(), [value.name for value in (*own, *handed)]


def with_outputs(graph: Graph, tensors: Iterable[str], sized: Iterable[str]) -> bytes:
    """The model with more outputs: `tensors`, and for each tensor in `sized` its shape, as "shape of NAME".

    A shape needs no copy of the tensor, so the sizes of large inner tensors cost nothing.
    """
    import onnx
    from onnx import helper

    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    present = {value.name for value in model.graph.output}
    for tensor in tensors:
        if tensor not in present:
            model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    for tensor in sized:
        model.graph.node.append(helper.make_node("Shape", [tensor], [SHAPE_OF + tensor]))
        model.graph.output.append(onnx.ValueInfoProto(name=SHAPE_OF + tensor))
    serialised: bytes = model.SerializeToString()
    return serialised


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
