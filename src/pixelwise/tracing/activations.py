"""The values inside the network for one image, and the network run with skip connections off or a wrong input scale.

The bundle's own graph is run, with the tensors that its metadata names, and those just before them, as outputs.

Shapes: a tensor in the graph is [1, channels, h, w]; here without the leading 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.metadata import Metadata
from pixelwise.bundle.onnx_graph import Graph, batched, extract, nodes_between, parse
from pixelwise.prediction.load_model import Model
from pixelwise.records import Labels, Raster, Scores
from pixelwise.tracing.network_layers import Layer, layers

if TYPE_CHECKING:
    from onnx import NodeProto

Values = dict[str, NDArray[np.float32]]  # tensor → [channels, h, w]
CHAIN = (
    "Clip",
    "Relu",
    "Add",
    "Conv",
    "DepthToSpace",
    "Slice",
)  # operators traced back from a layer to explain a value


class InspectedModel:
    """One model whose inner values can be read. Sessions are created on first use."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.graph: Graph = parse(model.graph)
        self.tensors = {stage.name: batched(self.graph, stage.tensor) for stage in model.metadata.stages}
        self.groups = {stage.name: stage.group for stage in model.metadata.stages}
        names = list(self.tensors)
        self.first, self.last = self.tensors[names[0]], self.tensors[names[-1]]
        stages = [name for name in names if self.groups[name] == "upsampling"]
        self.skips = find_skips(self.graph, self.first, self.last, stages, passes_of(model.metadata))
        self.lock = Lock()
        self.sessions: dict[str, Any] = {}

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """Every layer's parameters and receptive field, which no image changes; measured on the golden image."""
        rows, _ = layers(self.model, self.model.engine.bundle.golden.image)
        return {row.name: row for row in rows}

    def run(self, image_HWN: Raster, wanted: Iterable[str] = ()) -> Values:
        """Values of `wanted`, or of every named layer; only these are copied out of the runtime."""
        names = list(dict.fromkeys(wanted or self.tensors.values()))
        outputs = self.session("layers", self.layer_graph).run(names, {"image": image_HWN})
        return {name: output[0] for name, output in zip(names, outputs, strict=True)}

    def layer_graph(self) -> bytes:
        """The network alone, whose outputs include every tensor that explains a value of a layer."""
        every = sorted({name for tensor in self.tensors.values() for name in self.tensors_for(tensor)})
        return extract(self.graph, [], every)[0]

    @cached_property
    def skip_sources(self) -> dict[str, str]:
        """Upsampling stage → the stage whose maps its skip connection brings; only where that is a named one."""
        found = {}
        order = list(self.tensors)
        for name, merges in self.skips.items():
            tensor = merges[0][1]
            needed = set(nodes_between(self.graph, [], [tensor]))
            earlier = [
                stage
                for stage in order[1 : order.index(name)]
                if self.tensors[stage] == tensor or self.graph.producer.get(self.tensors[stage]) in needed
            ]
            if earlier:
                found[name] = earlier[-1]
        return found

    def name_of(self, tensor: str) -> str | None:
        """The layer whose values this tensor holds; None for what has no name."""
        return next((name for name, own in self.tensors.items() if own == tensor), None)

    def tensors_for(self, tensor: str) -> set[str]:
        """The tensors that explain a value of `tensor`: back to the input of its convolution."""
        found = {tensor}
        node = self.producer(tensor)
        if tensor == self.first or node is None or node.op_type not in CHAIN:
            return found
        if node.op_type == "Conv":
            return found | {node.input[0]}
        followed = [name for name in node.input if name not in self.graph.constants]
        if node.op_type == "Add":  # both terms are shown; the one computed last is traced further
            return found | set(followed) | self.tensors_for(latest(self.graph, followed))
        return found | self.tensors_for(followed[0])

    def producer(self, tensor: str) -> NodeProto | None:
        place = self.graph.producer.get(tensor)
        return None if place is None else self.graph.nodes[place]

    def without_skips(self, image_HWN: Raster, off: Iterable[str]) -> tuple[Labels, Scores]:
        """Labels and scores with the named skip connections multiplied by zero."""
        keep = {f"keep {name}": np.array(name not in set(off), np.float32) for name in self.skips}
        session = self.session("skips", lambda: with_switches(self.graph, self.skips))
        labels, scores = session.run(["labels", "scores"], {"image": image_HWN, **keep})
        return labels, scores

    def wrongly_scaled(self, image_HWN: Raster) -> Labels:
        """Labels for an input that is 255 times too large: not scaled to 0–1 before it is normalised."""
        session = self.session("scale", lambda: wrongly_scaled(self.graph, self.first, self.model.metadata))
        labels: Labels = session.run(["labels"], {"image": image_HWN})[0]
        return labels

    def session(self, name: str, make: Any) -> Any:
        with self.lock:
            if name not in self.sessions:
                self.sessions[name] = self.model.open_session(make())
            return self.sessions[name]


def latest(graph: Graph, tensors: list[str]) -> str:
    return max(tensors, key=lambda name: graph.producer.get(name, -1))


Skips = Mapping[str, tuple[tuple[int, str], ...]]


def passes_of(metadata: Metadata) -> int:
    """How often the graph runs a network: for each network of a cross-validation, and each mirror image."""
    passes = 1
    for part, name in (("ensemble", "networks"), ("recipe", "mirrors")):
        facts = metadata.provenance.get(part)
        times = facts.get(name) if isinstance(facts, dict) else None
        passes *= times if isinstance(times, int) and times > 0 else 1
    return passes


def find_skips(graph: Graph, first: str, last: str, stages: list[str], passes: int = 1) -> Skips:
    """Upsampling stage → in each pass, the position of the merging node and the tensor of the skip connection."""
    found = []
    inner = [graph.nodes[place] for place in nodes_between(graph, [first], [last])]
    for node in inner:
        if node.op_type != "Resize":
            continue
        for place, other in enumerate(graph.nodes):
            if other.op_type in ("Add", "Concat") and node.output[0] in other.input:
                brought = [name for name in other.input if name != node.output[0] and name not in graph.constants]
                if len(brought) == 1:
                    found.append((place, brought[0]))
    found.sort()  # one pass after the other
    each = len(found) // passes if len(found) % passes == 0 else len(found)
    return {name: tuple(found[i::each]) for i, name in enumerate(stages[:each])}


def with_switches(graph: Graph, skips: Skips) -> bytes:
    """The model with one more input per skip connection, a factor for its tensors."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    nodes = list(model.graph.node)
    switches = {}
    for name, merges in skips.items():
        model.graph.input.append(helper.make_tensor_value_info(f"keep {name}", TensorProto.FLOAT, []))
        for place, tensor in merges:
            switched = f"{tensor} switched {name}"
            switches[place] = helper.make_node("Mul", [tensor, f"keep {name}"], [switched])
            inputs = [switched if value == tensor else value for value in nodes[place].input]
            del nodes[place].input[:]
            nodes[place].input.extend(inputs)
    del model.graph.node[:]
    for place, node in enumerate(nodes):
        if place in switches:
            model.graph.node.append(switches[place])
        model.graph.node.append(node)
    serialised: bytes = model.SerializeToString()
    return serialised


def wrongly_scaled(graph: Graph, first: str, metadata: Metadata) -> bytes:
    """The model with its normalised input as it is without the division by 255.

    (255 v − mean) / std from the existing (v − mean) / std: 255 times that, plus 254 mean / std.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    mean, std = np.array(metadata.mean, np.float32), np.array(metadata.std, np.float32)
    constants = {"times": np.float32(255), "more": (254 * mean / std).reshape(1, -1, 1, 1)}
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"wrong scale {name}"))
    for node in model.graph.node:
        inputs = [f"{first} wrong" if name == first else name for name in node.input]
        del node.input[:]
        node.input.extend(inputs)
    place = graph.producer[first] + 1
    model.graph.node.insert(place, helper.make_node("Mul", [first, "wrong scale times"], [f"{first} times"]))
    model.graph.node.insert(
        place + 1, helper.make_node("Add", [f"{first} times", "wrong scale more"], [f"{first} wrong"])
    )
    serialised: bytes = model.SerializeToString()
    return serialised
