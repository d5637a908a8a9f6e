"""The operators that a bundle may use, and the sizes of their outputs.

Segmentation needs about a hundred of ONNX's operators. All others are rejected: control flow (If, Loop, Scan),
random numbers, strings, sequences, and outputs whose size depends on pixel values (NonZero, Unique, NonMaxSuppression),
because their cost is unknown before they run. The cost of the allowed ones follows from the image size, as long as all
sizes derive from constants and other sizes. Only those values are computed here, with NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle import moving_operators as moving
from pixelwise.bundle.sized_tensors import (
    BOOL,
    FLOAT,
    INT64,
    SMALL,
    TYPES,
    UINT8,
    Given,
    Node,
    OperatorError,
    Result,
    Shape,
    TensorSize,
    Values,
    axes_of,
    axis_of,
    broadcast,
    need,
    numbers,
    optional,
    sides,
)


def positive(node: Node, name: str, dimensions: int) -> list[int]:
    """Strides, dilations and similar attributes: one value of at least 1 per dimension."""
    values = node.attributes.get(name) or [1] * dimensions
    if len(values) != dimensions or min(values, default=1) < 1:
        raise OperatorError(f"{name} {values[:9]}; expected {dimensions} of at least 1")
    return [int(value) for value in values]


def floats_only(*tensors: TensorSize) -> None:
    """Reject integer matrix products: they are slow, and networks do not need them."""
    if any(tensor.dtype not in (FLOAT, TYPES[10], TYPES[16]) for tensor in tensors):
        raise OperatorError(f"multiplies matrices of {tensors[0].dtype}; expected float32 or float16")


def elementwise(node: Node, given: Given) -> list[Result]:
    tensors = [tensor for tensor in given if tensor is not None]
    need(given, 0)
    if node.op in ("Div", "Mod") and tensors[0].dtype.kind in "iu":
        divisor = need(given, 1).values  # integer division by zero crashes the process
        if divisor is None or not divisor.all() or (divisor == -1).any():
            raise OperatorError("divides whole numbers by what may be zero")
    dtype = BOOL if node.op in BOOLEAN else tensors[0].dtype
    return [(broadcast([tensor.shape for tensor in tensors]), dtype, computed(node, tensors))]


def where(node: Node, given: Given) -> list[Result]:
    tensors = [need(given, place) for place in range(3)]
    return [(broadcast([tensor.shape for tensor in tensors]), tensors[1].dtype, computed(node, tensors))]


def as_first(node: Node, given: Given) -> list[Result]:
    """The first output has the shape of the first input; outputs for training are ignored."""
    first = need(given, 0)
    values = computed(node, [tensor for tensor in given if tensor is not None])
    return [(first.shape, first.dtype, values)] * len(node.outputs)


def cast(node: Node, given: Given) -> list[Result]:
    source = need(given, 0)
    if node.op == "CastLike":
        dtype = need(given, 1).dtype
    else:
        kind = node.attributes.get("to", 0)
        if kind not in TYPES:
            raise OperatorError(f"casts to a type (number {kind}) that no network computes in")
        dtype = TYPES[kind]
    with np.errstate(all="ignore"):
        values = None if source.values is None or node.attributes.get("to") == 16 else source.values.astype(dtype)
    return [(source.shape, dtype, values)]


def quantised(node: Node, given: Given) -> list[Result]:
    source, zero = need(given, 0), optional(given, 2)
    if node.op == "DequantizeLinear":
        return [(source.shape, need(given, 1).dtype, None)]
    kind = node.attributes.get("output_dtype", 0)
    dtype = zero.dtype if zero is not None else TYPES.get(kind, UINT8)
    return [(source.shape, dtype, None)]


def resize(node: Node, given: Given) -> list[Result]:
    source, scales, sizes = need(given, 0), optional(given, 2), optional(given, 3)
    if node.attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise OperatorError("keeps the shape in a way of its own")
    axes = node.attributes.get("axes")
    places = list(range(len(source.shape))) if axes is None else [axis_of(axis, len(source.shape)) for axis in axes]
    shape = list(source.shape)
    if sizes is not None and sizes.shape != (0,):
        wanted: list[Any] = numbers(sizes, "its size")
    elif scales is not None:
        factors = numbers(scales, "its scale")
        if len(factors) != len(places) or any(not (0 < factor < math.inf) for factor in factors):
            raise OperatorError(f"scales {len(places)} dimensions by {factors[:9]}")
        wanted = [math.floor(shape[axis] * factor) for axis, factor in zip(places, factors, strict=True)]
    else:
        raise OperatorError("has neither sizes nor scales")
    if len(wanted) != len(places) or min(wanted, default=1) < 1:
        raise OperatorError(f"resizes {list(source.shape)} to {wanted[:9]}")
    for axis, side in zip(places, wanted, strict=True):
        shape[axis] = int(side)
    return [(tuple(shape), source.dtype, None)]


def matmul(node: Node, given: Given) -> list[Result]:
    a, b = need(given, 0), need(given, 1)
    floats_only(a, b)
    if node.op == "Gemm":
        if len(a.shape) != 2 or len(b.shape) != 2:
            raise OperatorError(f"multiplies {list(a.shape)} by {list(b.shape)}")
        m, k = a.shape[::-1] if node.attributes.get("transA") else a.shape
        rows, n = b.shape[::-1] if node.attributes.get("transB") else b.shape
        shape: Shape = (m, n)
    else:
        left = a.shape if len(a.shape) > 1 else (1, *a.shape)
        right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
        if not a.shape or not b.shape:
            raise OperatorError("multiplies single numbers")
        k, rows = left[-1], right[-2]
        shape = (*broadcast([left[:-2], right[:-2]]), *left[-2:-1][: len(a.shape) - 1], *right[-1:][: len(b.shape) - 1])
    if k != rows:
        raise OperatorError(f"multiplies {list(a.shape)} by {list(b.shape)}")
    return [(shape, a.dtype, None)]


def einsum(node: Node, given: Given) -> list[Result]:
    equation = bytes(node.attributes.get("equation", b"")).decode("ascii", "replace").replace(" ", "")
    before, arrow, behind = equation.partition("->")
    terms, letters = before.split(","), dict[str, int]()
    floats_only(*(need(given, place) for place in range(len(given))))
    if not arrow or "." in equation or len(terms) != len(given):
        raise OperatorError(f"the equation {equation[:80]!r}")
    for place, term in enumerate(terms):
        shape = need(given, place).shape
        if len(shape) != len(term) or any(
            letters.setdefault(c, side) != side for c, side in zip(term, shape, strict=True)
        ):
            raise OperatorError(f"the equation {equation[:80]!r} of a tensor of shape {list(shape)}")
    if not set(behind) <= set(letters):
        raise OperatorError(f"the equation {equation[:80]!r}")
    return [(tuple(letters[c] for c in behind), need(given, 0).dtype, None)]


def window(node: Node, given: Given, kernel: Sequence[int]) -> Shape:
    """Output height and width of a sliding window of this size over the first input."""
    inner = need(given, 0).shape[2:]
    count = len(inner)
    strides, dilations = positive(node, "strides", count), positive(node, "dilations", count)
    mode = bytes(node.attributes.get("auto_pad", b"NOTSET"))
    pads = node.attributes.get("pads") or [0] * 2 * count
    if len(kernel) != count or min(kernel, default=1) < 1 or len(pads) != 2 * count or min(pads, default=0) < 0:
        raise OperatorError(f"windows of {list(kernel)[:9]} with padding {pads[:9]}")
    found = []
    for place, side in enumerate(inner):
        reach = dilations[place] * (kernel[place] - 1) + 1
        if mode in (b"SAME_UPPER", b"SAME_LOWER"):
            found.append(-(-side // strides[place]))
            continue
        added = 0 if mode == b"VALID" else pads[place] + pads[place + count]
        room = side + added - reach
        steps = -(-room // strides[place]) if node.attributes.get("ceil_mode") else room // strides[place]
        found.append(steps + 1)
    if min(found, default=1) < 1:
        raise OperatorError(f"a window of {list(kernel)} does not fit into {list(inner)}")
    return tuple(found)


def convolution(node: Node, given: Given) -> list[Result]:
    source, weights = need(given, 0), need(given, 1)
    floats_only(source, weights)
    group = node.attributes.get("group", 1)
    if len(source.shape) < 3 or len(weights.shape) != len(source.shape) or group < 1:
        raise OperatorError(f"convolves {list(source.shape)} with {list(weights.shape)} in {group} groups")
    if weights.shape[1] * group != source.shape[1] or weights.shape[0] % group:
        raise OperatorError(f"convolves {list(source.shape)} with {list(weights.shape)} in {group} groups")
    kernel = node.attributes.get("kernel_shape", list(weights.shape[2:]))
    if tuple(kernel) != weights.shape[2:]:
        raise OperatorError(f"a kernel of {kernel[:9]} with weights {list(weights.shape)}")
    return [((source.shape[0], weights.shape[0], *window(node, given, kernel)), source.dtype, None)]


def transposed(node: Node, given: Given) -> list[Result]:
    """ConvTranspose."""
    source, weights = need(given, 0), need(given, 1)
    count, group = len(source.shape) - 2, node.attributes.get("group", 1)
    fits = len(weights.shape) == count + 2 and count > 0 and group >= 1
    if not fits or weights.shape[0] != source.shape[1] or source.shape[1] % group:
        raise OperatorError(f"convolves {list(source.shape)} with {list(weights.shape)} in {group} groups")
    kernel = weights.shape[2:]
    strides, dilations = positive(node, "strides", count), positive(node, "dilations", count)
    pads = node.attributes.get("pads") or [0] * 2 * count
    extra = node.attributes.get("output_padding") or [0] * count
    if bytes(node.attributes.get("auto_pad", b"NOTSET")) != b"NOTSET" or "output_shape" in node.attributes:
        raise OperatorError("pads in a way of its own")
    if len(pads) != 2 * count or len(extra) != count or min(*pads, *extra) < 0:
        raise OperatorError(f"padding {pads[:9]} and {extra[:9]}")
    shape = [strides[i] * (source.shape[2 + i] - 1) + extra[i] + dilations[i] * (kernel[i] - 1) + 1
             - pads[i] - pads[i + count] for i in range(count)]  # fmt: skip
    return [((source.shape[0], weights.shape[1] * group, *sides(shape)), source.dtype, None)]


def pool(node: Node, given: Given) -> list[Result]:
    source = need(given, 0)
    if len(source.shape) < 3:
        raise OperatorError(f"pools {list(source.shape)}")
    kernel = [] if node.op[0] == "G" else positive(node, "kernel_shape", len(source.shape) - 2)
    inner = (1,) * (len(source.shape) - 2) if node.op[0] == "G" else window(node, given, kernel)
    return [((*source.shape[:2], *inner), source.dtype if place == 0 else INT64, None)
            for place in range(len(node.outputs))]  # fmt: skip


def reduced(node: Node, given: Given) -> list[Result]:
    source, rank = need(given, 0), len(need(given, 0).shape)
    if node.op in ("ArgMax", "ArgMin"):
        axes: list[int] | None = [axis_of(node.attributes.get("axis", 0), rank)]
    else:
        axes = axes_of(node, given, 1, rank)
    if not axes:
        axes = [] if node.attributes.get("noop_with_empty_axes") else list(range(rank))
    if any(source.shape[axis] == 0 for axis in axes):
        raise OperatorError(f"reduces a tensor of shape {list(source.shape)}")
    kept = node.attributes.get("keepdims", 1)
    shape = tuple(1 if axis in axes else side for axis, side in enumerate(source.shape) if kept or axis not in axes)
    function, values = REDUCING.get(node.op), None
    if function is not None and source.values is not None:
        values = np.asarray(function(source.values, axis=tuple(axes), keepdims=bool(kept))).astype(source.dtype)
    return [(shape, INT64 if node.op.startswith("Arg") else source.dtype, values)]


def sampled(_node: Node, given: Given) -> list[Result]:
    """GridSample."""
    source, grid = need(given, 0), need(given, 1)
    if len(grid.shape) != len(source.shape) or len(grid.shape) < 3:
        raise OperatorError(f"samples {list(source.shape)} at {list(grid.shape)}")
    return [((*source.shape[:2], *grid.shape[1:-1]), source.dtype, None)]


def whole_division(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    return np.asarray(np.abs(a) // np.abs(b) * (np.sign(a) * np.sign(b)), a.dtype)


def clipped(values: NDArray[Any], low: Any = None, high: Any = None) -> NDArray[Any]:
    return np.asarray(values if low is None and high is None else np.clip(values, low, high))


REDUCING: dict[str, Callable[..., Any]] = {
    "ReduceMax": np.max, "ReduceMin": np.min, "ReduceProd": np.prod, "ReduceSum": np.sum,
}  # fmt: skip
COMPUTED: dict[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": whole_division, "Max": np.maximum, "Min": np.minimum,
    "Neg": np.negative, "Floor": np.floor, "Ceil": np.ceil, "Round": np.round, "Sqrt": np.sqrt, "Abs": np.abs,
    "Equal": np.equal, "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal, "And": np.logical_and, "Or": np.logical_or, "Not": np.logical_not,
    "Where": np.where, "Identity": np.asarray, "Reciprocal": np.reciprocal, "Sign": np.sign, "Pow": np.power,
    "Clip": clipped,
}  # fmt: skip
BOOLEAN = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "IsNaN", "IsInf"}


def computed(node: Node, tensors: Sequence[TensorSize]) -> Values:
    """An operator's result, if all its inputs are known and small."""
    function = COMPUTED.get(node.op)
    if function is None or any(tensor.values is None for tensor in tensors):
        return None
    if node.op in ("Mod", "Max", "Min") and len(tensors) != 2:
        return None
    if node.op == "Clip" and len(tensors) != len([name for name in node.inputs if name]):
        return None
    if math.prod(broadcast([tensor.shape for tensor in tensors])) > SMALL:
        return None
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(function(*(tensor.values for tensor in tensors)))
    except (TypeError, ValueError):  # integers to a negative power and similar: unknown
        return None
    if node.op in BOOLEAN:
        return values
    with np.errstate(all="ignore"):
        return values.astype(tensors[1 if node.op == "Where" else 0].dtype)


ELEMENTWISE = (
    "Add Sub Mul Div Pow Mod Max Min Sum PRelu Equal Less LessOrEqual Greater GreaterOrEqual And Or IsNaN IsInf"
)
AS_FIRST = (
    "Abs Neg Floor Ceil Round Sqrt Reciprocal Exp Log Sign Not Identity Relu Sigmoid Tanh Erf HardSigmoid HardSwish "
    "LeakyRelu Elu Selu Gelu Softplus Mish Swish Clip Softmax LogSoftmax "
    "LayerNormalization RMSNormalization InstanceNormalization GroupNormalization BatchNormalization "
    "CumSum Trilu Sin Cos Atan ScatterElements ScatterND"
)
REDUCED = "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2"
OPERATORS: dict[str, Callable[[Node, Given], list[Result]]] = {
    **dict.fromkeys(ELEMENTWISE.split(), elementwise),
    **dict.fromkeys(AS_FIRST.split(), as_first),
    **dict.fromkeys([*REDUCED.split(), "ArgMax", "ArgMin"], reduced),
    "Where": where, "Cast": cast, "CastLike": cast, "QuantizeLinear": quantised, "DequantizeLinear": quantised,
    "Shape": moving.shape_of, "Size": moving.shape_of, "Constant": moving.constant,
    "ConstantOfShape": moving.constant_of_shape, "Range": moving.arange, "Reshape": moving.reshape,
    "Flatten": moving.reshape, "Transpose": moving.transpose, "Squeeze": moving.squeeze, "Unsqueeze": moving.squeeze,
    "Expand": moving.expand, "Tile": moving.expand, "Concat": moving.concat, "Split": moving.split,
    "Slice": moving.sliced, "Gather": moving.gather, "GatherElements": moving.gather, "GatherND": moving.gather,
    "Pad": moving.pad, "DepthToSpace": moving.blocks, "SpaceToDepth": moving.blocks, "Resize": resize,
    "MatMul": matmul, "Gemm": matmul, "Einsum": einsum, "Conv": convolution, "ConvTranspose": transposed,
    "MaxPool": pool, "AveragePool": pool, "GlobalAveragePool": pool, "GlobalMaxPool": pool, "GridSample": sampled,
}  # fmt: skip
