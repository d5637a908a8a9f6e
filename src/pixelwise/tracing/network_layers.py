"""The network layer by layer, in four groups: output shape, parameters, cost, receptive field, activation strength.

All is read from the bundle's graph and from one run of it on the image; nothing is assumed about the network.

Shapes: c, h, w channels, height and width of a layer's output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.onnx_graph import SHAPE_OF, Graph, Traceable, batched, nodes_between, parse, with_outputs
from pixelwise.prediction.flow_events import thumbnail
from pixelwise.records import Raster
from pixelwise.tracing.receptive_field import ReceptiveField, receptive_fields

if TYPE_CHECKING:
    from onnx import NodeProto

Activations = dict[str, NDArray[np.float32]]  # stage name → [c, h, w]
WEIGHTED = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1), "BatchNormalization": (1, 2)}
ZERO = 1e-6  # an activation is active above this magnitude
UNSEEN = "not known"


@dataclass(frozen=True)
class Layer:
    """One named stage of the network, with its response to one image."""

    name: str
    group: str  # "input", "convolutional", "upsampling" or "pixel-wise classification"
    shape: tuple[int, int, int]  # c, h, w
    parameters: int  # weights and biases of the operators between the earlier stages and this one
    multiply_adds: int  # of those operators, for this image
    receptive: ReceptiveField  # in px of the network's input
    strength: float  # mean |activation|
    active: float  # share of activations that are not zero, 0–1
    silent_channels: int  # channels that are zero everywhere on this image
    thumbnail: str  # mean |activation| over channels, a PNG as a data URL

    @property
    def receptive_in_words(self) -> str:
        if not self.receptive.known:
            return UNSEEN
        height, width = self.receptive.height_px, self.receptive.width_px
        if self.receptive.whole_image:
            return "whole image"
        return f"{height} px" if height == width else f"{height}×{width} px"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "shape": list(self.shape), "receptive_in_words": self.receptive_in_words}


def layers(model: Traceable, image_HW3: Raster) -> tuple[tuple[Layer, ...], Activations]:
    """Every named stage of the model, in order, and its output for this image.

    Args:
        image_HW3: uint8 RGB.

    Raises:
        BundleError: the graph lacks a tensor that its metadata names.
    """
    graph, stages = parse(model.graph), model.metadata.stages
    inner = {stage.name: batched(graph, stage.tensor) for stage in stages}
    source = inner[stages[0].name]
    sized = tensors_to_measure(graph, source)
    # Of the other tensors only shapes are fetched: copying tensors out of the runtime takes long.
    names = [stage.tensor for stage in stages]
    session = model.open_session(with_outputs(graph, names, sized))
    outputs = session.run([*names, *(SHAPE_OF + name for name in sized)], {"image": image_HW3})
    activations = {stage.name: unbatched(output) for stage, output in zip(stages, outputs, strict=False)}
    sizes: dict[str, Sequence[int]] = {
        name: [int(side) for side in shape] for name, shape in zip(sized, outputs[len(names) :], strict=True)
    }
    sizes |= {name: list(constant.dims) for name, constant in (graph.unpacked | graph.constants).items()}
    fields = receptive_fields(graph, source, list(inner.values()), sizes)
    owned = owners(graph, list(inner.values()))
    rows = []
    counted: set[str] = set()
    for stage in stages:
        tensor = activations[stage.name]
        nodes = [graph.nodes[place] for place in owned[inner[stage.name]]]
        magnitude = np.abs(tensor)
        rows.append(
            Layer(
                name=stage.name,
                group=stage.group,
                shape=(tensor.shape[0], tensor.shape[1], tensor.shape[2]),
                parameters=parameters(graph, nodes, counted),
                multiply_adds=sum(multiply_adds(node, sizes) for node in nodes),
                receptive=fields[inner[stage.name]],
                strength=float(magnitude.mean()),
                active=float((magnitude > ZERO).mean()),
                silent_channels=int((magnitude.max(axis=(1, 2)) <= ZERO).sum()),
                thumbnail=thumbnail(heat(magnitude.mean(axis=0))),
            )
        )
    return tuple(rows), activations


def unbatched(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """[channels, h, w] of a stage, which may have a leading 1 in the graph."""
    return output[0] if output.ndim == 4 else output


def tensors_to_measure(graph: Graph, source: str) -> list[str]:
    """The tensors whose sizes determine multiply-adds and receptive fields, including `source`, the network's input."""
    wanted: dict[str, None] = {source: None}
    for node in graph.nodes:
        if node.op_type in WEIGHTED or node.op_type == "Resize":
            wanted |= dict.fromkeys([node.input[0], node.output[0]])
    return [name for name in wanted if name not in graph.constants]


def owners(graph: Graph, tensors: Sequence[str]) -> dict[str, list[int]]:
    """Tensor → positions of its nodes: every node before the stages belongs to the first stage that depends on it."""
    taken: set[int] = set()
    owned = {}
    for tensor in tensors:
        owned[tensor] = [place for place in nodes_between(graph, [], [tensor]) if place not in taken]
        taken.update(owned[tensor])
    return owned


def parameters(graph: Graph, nodes: Sequence[NodeProto], counted: set[str]) -> int:
    """Weights and biases stored for some nodes, without the running mean and variance of batch normalisation.

    Those in `counted` are left out, and the others added to it: several nodes may share one weight.
    """
    number = 0
    for node in nodes:
        for place in WEIGHTED.get(node.op_type, ()):
            name = node.input[place] if place < len(node.input) else ""
            constant = graph.stored(name)
            if constant is not None and name not in counted:
                counted.add(name)
                number += prod(constant.dims)
    return number


def multiply_adds(node: NodeProto, sizes: Mapping[str, Sequence[int]]) -> int:
    """Multiply-add operations of a node. Biases and element-wise operators are not counted."""
    if node.op_type not in WEIGHTED or node.op_type == "BatchNormalization":
        return 0
    out = prod(sizes[node.output[0]])
    if node.op_type == "Conv":  # weights [c_out, c_in / groups, kernel …]
        return out * prod(sizes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":  # weights [c_in, c_out / groups, kernel …]
        return prod(sizes[node.input[0]]) * prod(sizes[node.input[1]][1:])
    return out * sizes[node.input[0]][-1]


def heat(strength_hw: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map as a picture uint8 [h, w, 3], from dark violet (lowest value) to yellow (highest)."""
    low, high = float(strength_hw.min()), float(strength_hw.max())
    unit_hw = (strength_hw - low) / max(high - low, 1e-12)
    coloured_hw3 = cv2.applyColorMap((unit_hw * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(coloured_hw3[:, :, ::-1])
