"""Post-training quantisation of a float graph to int8 convolutions, calibrated on real images.

Quantise and dequantise operators (QDQ) surround every convolution: activations uint8 with one scale per tensor, weights
int8 with one per channel, biases int32. Runtimes fuse them into integer convolutions, or compute nearly the same result
in float. So do sums of two of them: what skips a block is rounded as the block's convolutions get it. Preprocessing,
resizes and the classifier stay float32: rounding them costs accuracy and saves little time (arithmetic: Jacob et al.
2018, arXiv:1712.05877).

x86 processors without VNNI add the products of two neighbouring weights in 16 bits and cut the sum off at 32,767 (the
instruction VPMADDUBSW), silently. So that they compute the same labels as all others, no two neighbours of a channel
add up to more. Depthwise convolutions need no such limit: no kernel adds their products in 16 bits.

Shapes: O, I channels out and in of a convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from pixelwise.bundle.onnx_graph import nodes_between, parse, with_outputs
from pixelwise.bundle.onnx_session import open_session
from pixelwise.records import Raster

LEVELS = 255  # steps of a uint8
LARGEST_WEIGHT = 127
LARGEST_PAIR = 128  # of two neighbours with the same sign: 255 · 128 fits into 16 bits
SAMPLED = 4096  # values sampled per tensor and image to choose the range
ACTIVATIONS = ("Clip", "Relu")


@dataclass
class TensorRange:
    """The observed range and sampled values of one tensor."""

    lowest: float = 0.0  # the range always includes zero, because padding is zero
    highest: float = 0.0
    values: list[NDArray[np.float32]] = field(default_factory=list)  # a sample

    def add(self, tensor: NDArray[np.float32], rng: np.random.Generator) -> None:
        self.lowest, self.highest = min(self.lowest, float(tensor.min())), max(self.highest, float(tensor.max()))
        self.values.append(rng.choice(tensor.ravel(), min(SAMPLED, tensor.size), replace=False))


def quantise(
    model: onnx.ModelProto,
    images: Sequence[Raster],
    source: str,
    scores: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> onnx.ModelProto:
    """A copy whose convolutions from `source` to `scores` compute in int8, except the last one, the classifier.

    Args:
        images: real images similar to the training images; a hundred are enough.
        source, scores: the network's input and output [1, channels, h, w].
        progress: called with (images done, images in all).
    """
    graph = parse(model.SerializeToString())
    inside = [graph.nodes[place] for place in nodes_between(graph, [source], [scores])]
    convolutions = [node for node in inside if node.op_type == "Conv"][:-1]
    outputs = {node.output[0]: activated(node, inside, graph_outputs(model)) for node in convolutions}
    inputs = {node.input[0] for node in convolutions}
    ranges = watch(model, sorted(inputs | set(outputs.values())), images, progress)
    small = onnx.ModelProto()
    small.CopyFrom(model)
    rewrite(small, {node.output[0] for node in convolutions}, outputs, ranges)
    return small


def graph_outputs(model: onnx.ModelProto) -> set[str]:
    return {value.name for value in model.graph.output}


def activated(node: NodeProto, inside: Sequence[NodeProto], kept: set[str]) -> str:
    """A convolution's output after its activation, if nothing else reads it before the activation."""
    readers = [other for other in inside if node.output[0] in other.input]
    if len(readers) == 1 and readers[0].op_type in ACTIVATIONS and node.output[0] not in kept:
        return str(readers[0].output[0])
    return str(node.output[0])


def watch(
    model: onnx.ModelProto, tensors: Sequence[str], images: Sequence[Raster], progress: Callable[[int, int], None]
) -> dict[str, tuple[np.float32, int]]:
    """Run the images through the float graph. Returns each tensor's (scale, zero point)."""
    session = open_session(with_outputs(parse(model.SerializeToString()), tensors, ()))
    seen = {name: TensorRange() for name in tensors}
    rng = np.random.default_rng(0)
    for turn, image in enumerate(images):
        progress(turn, len(images))
        for name, tensor in zip(tensors, session.run(list(tensors), {"image": image}), strict=True):
            seen[name].add(tensor, rng)
    progress(len(images), len(images))
    return {name: scale_and_zero(what) for name, what in seen.items()}


def scale_and_zero(seen: TensorRange) -> tuple[np.float32, int]:
    """The uint8 grid with the least squared error on the samples: rare extremes are clipped if that helps."""
    values = np.concatenate(seen.values)
    best, best_error = (np.float32(1), 0), np.inf
    for share in np.linspace(0.5, 1.0, 26):
        low, high = seen.lowest * share, seen.highest * share
        scale = np.float32(max((high - low) / LEVELS, 1e-8))
        zero = round(-low / float(scale))
        rounded = (np.clip(np.round(values / scale) + zero, 0, LEVELS) - zero) * scale
        error = float(np.square(rounded - values, dtype=np.float64).sum())
        if error < best_error:
            best, best_error = (scale, zero), error
    return best


def rewrite(
    model: onnx.ModelProto,
    convolutions: set[str],
    outputs: dict[str, str],
    ranges: dict[str, tuple[np.float32, int]],
) -> None:
    """Insert the QDQ operators. A convolution's output keeps its name and becomes the dequantised value.

    Args:
        convolutions: those to quantise, by output.
        outputs: convolution → its output after the activation.
        ranges: scale and zero point of their inputs and outputs.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    leaving = set(outputs.values())
    nodes: list[NodeProto] = []
    added: list[TensorProto] = []
    entered: set[str] = set()
    replaced: set[str] = set()
    stored_weights: set[str] = set()

    def constant(name: str, values: NDArray[np.generic]) -> str:
        added.append(numpy_helper.from_array(values, name))
        return name

    def grid(name: str) -> list[str]:
        scale, zero = ranges[name]
        return [constant(f"{name}/scale", np.asarray(scale)), constant(f"{name}/zero", np.asarray(zero, np.uint8))]

    for node in graph.node:
        if node.op_type == "Conv" and node.output[0] in convolutions:
            source = node.input[0]
            if (
                source not in leaving and source not in entered
            ):  # a sum: readers other than convolutions and sums need it as float
                entered.add(source)
                scale, zero = grid(source)
                nodes.append(helper.make_node("QuantizeLinear", [source, scale, zero], [f"{source}/int8"]))
                nodes.append(
                    helper.make_node("DequantizeLinear", [f"{source}/int8", scale, zero], [f"{source}/rounded"])
                )
            weights, scales_O, biases = integers(node, constants, ranges[source][0])
            replaced.update(node.input[1:])
            name = node.input[1]
            inputs = [source if source in leaving else f"{source}/rounded", f"{name}/rounded"]
            if name not in stored_weights:  # several convolutions may share them
                stored_weights.add(name)
                stored = [constant(f"{name}/stored", weights), constant(f"{name}/scales", scales_O)]
                nodes.append(helper.make_node("DequantizeLinear", stored, [f"{name}/rounded"], axis=0))
            if biases is not None:
                bias = f"{node.output[0]}/bias"  # rounded to the scale of this one's input
                stored = [constant(f"{bias}/stored", biases), constant(f"{bias}/scales", scales_O * ranges[source][0])]
                nodes.append(helper.make_node("DequantizeLinear", stored, [f"{bias}/rounded"], axis=0))
                inputs.append(f"{bias}/rounded")
            del node.input[:]
            node.input.extend(inputs)
        elif node.op_type == "Add":  # of sums already rounded for a convolution: then runtimes add integers, too
            node.input[:] = [f"{name}/rounded" if name in entered else name for name in node.input]
        produced = node.output[0] if node.output else ""
        nodes.append(node)
        if produced in leaving:
            node.output[0] = f"{produced}/float"
            scale, zero = grid(produced)
            nodes.append(helper.make_node("QuantizeLinear", [node.output[0], scale, zero], [f"{produced}/int8"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{produced}/int8", scale, zero], [produced]))
    replace_nodes(graph, nodes, added, replaced)


def replace_nodes(
    graph: onnx.GraphProto, nodes: Sequence[NodeProto], added: Sequence[TensorProto], replaced: set[str]
) -> None:
    """Replace a graph's nodes and add constants; the `replaced` constants are removed unless still used."""
    copied = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    still_read = {name for node in copied for name in node.input}
    kept = [
        TensorProto.FromString(tensor.SerializeToString())
        for tensor in graph.initializer
        if tensor.name in still_read or tensor.name not in replaced
    ]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(copied)
    graph.initializer.extend([*kept, *added])


def integers(
    node: NodeProto, constants: dict[str, TensorProto], scale_in: np.float32
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int32] | None]:
    """A convolution's weights int8, their scales [O], and its biases int32 in steps of both scales."""
    weights = numpy_helper.to_array(constants[node.input[1]])
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    depthwise = groups > 1 and weights.shape[1] == 1
    whole, scales_O = whole_weights(weights, LARGEST_WEIGHT * 2 if depthwise else LARGEST_PAIR)
    if len(node.input) < 3:
        return whole, scales_O, None
    biases = numpy_helper.to_array(constants[node.input[2]]) / (scales_O.astype(np.float64) * scale_in)
    limit = np.iinfo(np.int32)
    return whole, scales_O, np.clip(np.round(biases), limit.min, limit.max).astype(np.int32)


def whole_weights(
    weights: NDArray[np.float32], largest_pair: int = LARGEST_PAIR
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights [O, I, k, k] as int8, as fine as no two neighbours exceed `largest_pair`; and their scales [O]."""
    largest_O = np.maximum(np.abs(weights).max(axis=(1, 2, 3)) / LARGEST_WEIGHT, pair_sums(weights) / largest_pair)
    scales_O = np.where(largest_O > 0, largest_O, 1).astype(np.float32)
    while True:
        whole = np.round(weights / scales_O[:, None, None, None])
        beyond_O = pair_sums(whole) > largest_pair
        if not beyond_O.any():
            return np.clip(whole, -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int8), scales_O
        scales_O[beyond_O] *= 1 + 0.5 / largest_pair  # both were rounded up


def pair_sums(weights: NDArray[Any]) -> NDArray[np.float64]:
    """The largest |sum| [O] of two neighbouring weights with the same sign, whichever of I and k × k runs fastest."""
    sums_O = np.zeros(len(weights))
    for order in (weights, weights.transpose(0, 2, 3, 1)):
        row = order.reshape(len(weights), -1).astype(np.float64)
        for sign in (row, -row):
            positive = np.maximum(sign, 0)
            sums_O = np.maximum(sums_O, (positive[:, :-1] + positive[:, 1:]).max(axis=1, initial=0))
    return sums_O
