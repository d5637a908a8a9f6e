"""The theoretical receptive field of each tensor of the graph.

Along one axis, every position of a tensor depends on an interval of the input, [lo, hi]. A convolution, pooling or
resize maps positions to positions, so intervals are propagated through the graph as arrays with one entry per position,
on an axis so long that its middle is far from the borders. This is exact for strides, dilations, uneven padding and
upsampling phases, where the usual formula of size and jump (Araujo et al., *Computing receptive fields of CNNs*,
Distill 2019) is only a bound. A mean over the whole image makes all later tensors depend on all of it; this is
reported separately.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.onnx_graph import Graph, attributes, nodes_between

if TYPE_CHECKING:
    from onnx import NodeProto

AXIS_PX = 8192  # minimum length of the hypothetical input; beyond any receptive field without pooling to 1×1
Places = NDArray[np.int64]

# fmt: off
SAME_PLACE = {  # operators that mix values of one position only (Concat and Softmax: along channels)
    "Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Exp", "Erf", "Abs", "Neg", "Min", "Max", "Sum", "Relu", "Clip",
    "LeakyRelu", "PRelu", "Elu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Mish", "Tanh", "Softplus",
    "Softmax", "Concat", "BatchNormalization", "Cast", "Identity", "Gather", "Squeeze", "Unsqueeze", "Round",
    "QuantizeLinear", "DequantizeLinear",
}
WHOLE_IMAGE = {  # operators that mix values of all positions
    "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceSum", "InstanceNormalization",
    "GroupNormalization",
}
# fmt: on
WINDOWED = {"Conv", "MaxPool", "AveragePool", "LpPool"}


@dataclass(frozen=True)
class Span:
    """The intervals of the input on which the positions of one tensor depend, along one axis."""

    lo: Places | None  # first input pixel for each position; None where only `whole` is true
    hi: Places | None  # last
    whole: bool  # also depends on the whole image, through a mean over it

    def size_px(self) -> int | None:
        """The largest interval of the positions in the middle."""
        if self.lo is None or self.hi is None:
            return None
        middle, half = len(self.lo) // 2, min(64, len(self.lo) // 4)
        part = slice(middle - half, middle + half + 1)
        return int((self.hi[part] - self.lo[part]).max()) + 1


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a tensor."""

    height_px: int | None  # of the network's input; None where the tensor depends on a mean only, or is not known
    width_px: int | None
    whole_image: bool  # it also depends on a mean over the whole image
    known: bool = True  # False: an operator before it is not supported


def receptive_fields(
    graph: Graph, source: str, ends: Sequence[str], sizes: Mapping[str, Sequence[int]]
) -> dict[str, ReceptiveField]:
    """The receptive fields of `ends`, in px of `source`.

    Args:
        source: the network's input, [1, 3, h, w].
        ends: tensors [1, channels, h, w].
        sizes: shapes of at least `source` and of the input and output of every Resize.
    """
    places = nodes_between(graph, [source], ends)
    axes = []
    for axis in (2, 3):
        length = sizes[source][axis] * math.ceil(AXIS_PX / sizes[source][axis])
        here = np.arange(length)
        spans: dict[str, Span | None] = {source: Span(here, here, False)}  # None: not known
        for place in places:
            node = graph.nodes[place]
            if node.op_type not in ("Shape", "Size") and any(name in spans for name in node.input):
                turned = mirrored(graph, node, spans, axis) if node.op_type == "Slice" else None
                spans[node.output[0]] = turned or through(node, spans, sizes, axis)
        axes.append(spans)
    fields = {}
    for end in ends:
        vertical, horizontal = axes[0].get(end), axes[1].get(end)
        if vertical is None or horizontal is None:
            fields[end] = ReceptiveField(None, None, False, known=False)
        else:
            fields[end] = ReceptiveField(vertical.size_px(), horizontal.size_px(), vertical.whole)
    return fields


def through(
    node: NodeProto, spans: Mapping[str, Span | None], sizes: Mapping[str, Sequence[int]], axis: int
) -> Span | None:
    """The span of a node's output."""
    inputs = [spans[name] for name in node.input if name in spans]
    known = [span for span in inputs if span is not None]
    if len(known) < len(inputs):
        return None
    if node.op_type in SAME_PLACE:
        return union(known)
    if node.op_type in WHOLE_IMAGE:
        return Span(None, None, True)
    span = known[0]
    if span.lo is None or span.hi is None:  # one value for the whole image
        return span
    if node.op_type in WINDOWED:
        return windowed(span, window(node, sizes, axis))
    if node.op_type == "ConvTranspose":
        return transposed(span, window(node, sizes, axis))
    if node.op_type == "DepthToSpace":  # channels become neighbours with the same span
        size = attributes(node)["blocksize"]
        return Span(np.repeat(span.lo, size), np.repeat(span.hi, size), span.whole)
    if node.op_type == "Resize":
        return resized(span, attributes(node), sizes[node.input[0]][axis], sizes[node.output[0]][axis])
    return None


def mirrored(graph: Graph, node: NodeProto, spans: Mapping[str, Span | None], axis: int) -> Span | None:
    """The span of a Slice that reverses whole axes, or takes some channels; None for any other."""
    span = spans.get(node.input[0])
    try:
        starts, ends, axes, steps = (graph.weight(name) for name in node.input[1:])
    except (KeyError, ValueError):  # not constant, or not all given
        return None
    if span is not None and not {2, 3} & set(axes.tolist()):
        return span
    if span is None or (steps != -1).any() or (starts != -1).any() or (ends > -(1 << 31)).any():
        return None
    if axis not in axes or span.lo is None or span.hi is None:
        return span
    return Span(span.lo[::-1], span.hi[::-1], span.whole)


def union(spans: Sequence[Span]) -> Span | None:
    """The span of a position that depends on all of these."""
    local = [span for span in spans if span.lo is not None and span.hi is not None]
    whole = any(span.whole for span in spans)
    if not local:
        return Span(None, None, whole)
    if len({len(span.lo) for span in local if span.lo is not None}) > 1:
        return None
    lo = np.minimum.reduce([span.lo for span in local if span.lo is not None])
    hi = np.maximum.reduce([span.hi for span in local if span.hi is not None])
    return Span(lo, hi, whole)


@dataclass(frozen=True)
class SlidingWindow:
    """The window of a convolution or pooling along one axis."""

    kernel: int
    stride: int
    dilation: int
    before: int  # padding
    after: int

    @property
    def reach(self) -> int:
        return self.dilation * (self.kernel - 1)


def window(node: NodeProto, sizes: Mapping[str, Sequence[int]], axis: int) -> SlidingWindow:
    values, spatial = attributes(node), axis - 2
    kernel = values.get("kernel_shape") or sizes[node.input[1]][2:]
    stride = values.get("strides", [1, 1])[spatial]
    dilation = values.get("dilations", [1, 1])[spatial]
    pads = values.get("pads", [0, 0, 0, 0])
    before, after = pads[spatial], pads[spatial + 2]
    automatic = values.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        total = max(dilation * (kernel[spatial] - 1) + 1 - stride, 0)  # for sizes divisible by the stride
        before = total // 2 if automatic == b"SAME_UPPER" else total - total // 2
        after = total - before
    return SlidingWindow(kernel[spatial], stride, dilation, before, after)


def windowed(span: Span, seen: SlidingWindow) -> Span:
    assert span.lo is not None
    assert span.hi is not None
    last = len(span.lo) - 1
    first = np.arange((len(span.lo) + seen.before + seen.after - seen.reach - 1) // seen.stride + 1) * seen.stride
    first -= seen.before
    return Span(span.lo[np.clip(first, 0, last)], span.hi[np.clip(first + seen.reach, 0, last)], span.whole)


def transposed(span: Span, seen: SlidingWindow) -> Span:
    assert span.lo is not None
    assert span.hi is not None
    last = len(span.lo) - 1
    out = np.arange(seen.stride * last - seen.before - seen.after + seen.reach + 1) + seen.before
    first, final = -((seen.reach - out) // seen.stride), out // seen.stride
    return Span(span.lo[np.clip(first, 0, last)], span.hi[np.clip(final, 0, last)], span.whole)


def resized(span: Span, values: Mapping[str, Any], size_in: int, size_out: int) -> Span | None:
    """Args: the attributes of the Resize node, and its real sizes, whose ratio applies to the hypothetical axis."""
    assert span.lo is not None
    assert span.hi is not None
    last = len(span.lo) - 1
    out = np.arange(round(len(span.lo) * size_out / size_in))
    ratio = size_in / size_out
    mode = values.get("coordinate_transformation_mode", b"half_pixel")
    if mode in (b"half_pixel", b"pytorch_half_pixel"):
        at = (out + 0.5) * ratio - 0.5
    elif mode == b"asymmetric":
        at = out * ratio
    else:
        return None
    kind = values.get("mode", b"nearest")
    if kind == b"nearest":
        first = final = np.floor(at + 0.5)
    else:
        reach = (2.0 if kind == b"cubic" else 1.0) * (max(ratio, 1.0) if values.get("antialias") else 1.0)
        first, final = np.floor(at - reach) + 1, np.ceil(at + reach) - 1  # the ends of the kernel have weight 0
    lo = span.lo[np.clip(first.astype(np.int64), 0, last)]
    hi = span.hi[np.clip(final.astype(np.int64), 0, last)]
    return Span(lo, hi, span.whole)
