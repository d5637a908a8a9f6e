"""The operators that a bundle may use, and how large what each puts out is.

Segmentation needs some hundred of ONNX's operators. Those that are not here are refused: control flow (If, Loop, Scan),
random numbers, texts, sequences, and whatever puts out something whose size depends on what is in the pixels (NonZero,
Unique, NonMaxSuppression): what they cost cannot be told before they are run. For all others it can, from the size of
the image, as long as the numbers that say how large something becomes come from constants and from sizes. Such numbers
are followed here with NumPy, and nothing else is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.protobuf_reader import Message

SMALL = 4096  # values; larger tensors say nothing about sizes
MAX_RANK = 8
TYPES: dict[int, np.dtype[Any]] = {  # TensorProto.DataType; bfloat16 (16) takes the room of a uint16
    1: np.dtype("f4"), 2: np.dtype("u1"), 3: np.dtype("i1"), 4: np.dtype("u2"), 5: np.dtype("i2"), 6: np.dtype("i4"),
    7: np.dtype("i8"), 9: np.dtype("?"), 10: np.dtype("f2"), 11: np.dtype("f8"), 12: np.dtype("u4"),
    13: np.dtype("u8"), 16: np.dtype("u2"),
}  # fmt: skip
FLOAT, BOOL, INT64, UINT8 = TYPES[1], TYPES[9], TYPES[7], TYPES[2]
Shape = tuple[int, ...]
Values = NDArray[Any] | None


@dataclass(slots=True)
class TensorSize:
    """What is known of a tensor before anything is run."""

    shape: Shape
    dtype: np.dtype[Any]
    values: Values = None  # where they follow from constants and sizes, and are few
    resized: bool = False  # shape or values depend on the size of the image
    constant: bool = False  # does not depend on the image at all: runtimes compute it when they load the file

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclass(slots=True)
class Node:
    """One operator of a graph."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


Given = Sequence[TensorSize | None]
Result = tuple[Shape, np.dtype[Any], Values]


class OperatorError(ValueError):
    """An operator cannot be run on what it is given, or what it puts out cannot be told."""


def tensor_values(tensor: Message) -> TensorSize:
    """A stored tensor: its shape, its type, and where they are few, its values.

    Raises:
        Unfit: it does not hold as many values as its shape says.
    """
    name, kind = str(tensor.get("name", "")), tensor.get("data_type", 0)
    if kind not in TYPES:
        raise OperatorError(f"the constant {name[:80]!r} is of a type (number {kind}) that no network stores")
    if tensor.get("data_location"):
        raise OperatorError(f"the values of the constant {name[:80]!r} lie in another file, but a bundle is one file")
    dtype, shape = TYPES[kind], tuple(tensor.get("dims", ()))
    if len(shape) > MAX_RANK or any(side < 0 for side in shape):
        raise OperatorError(f"the constant {name[:80]!r} is of shape {list(shape)[:9]}")
    stored = [key for key in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")
              if key in tensor]  # fmt: skip
    count = math.prod(shape)
    if len(stored) > 1 or (not stored and count):
        raise OperatorError(f"the constant {name[:80]!r} has its values in {len(stored)} places; expected one")
    data = tensor[stored[0]] if stored else b""
    held = len(data) / dtype.itemsize if not stored or stored[0] == "raw_data" else len(data)
    if held != count:
        raise OperatorError(
            f"the constant {name[:80]!r} of shape {list(shape)} holds {held:g} values instead of {count}"
        )
    values: Values = None
    if count <= SMALL and kind != 16:
        if not stored or stored[0] == "raw_data":
            values = np.frombuffer(data, dtype.newbyteorder("<")).reshape(shape).astype(dtype)
        elif dtype == TYPES[10]:
            values = np.array(data, np.int64).astype(np.uint16).view(np.float16).reshape(shape)
        else:
            values = np.array(data).astype(dtype).reshape(shape)
    return TensorSize(shape, dtype, values, constant=True)


# ── what is asked of inputs ──


def need(given: Given, place: int) -> TensorSize:
    if place >= len(given) or (tensor := given[place]) is None:
        raise OperatorError(f"input {place} is missing")
    return tensor


def optional(given: Given, place: int) -> TensorSize | None:
    return given[place] if place < len(given) else None


def numbers(tensor: TensorSize, what: str) -> list[Any]:
    """The values of a tensor that says how large something becomes."""
    if tensor.values is None:
        raise OperatorError(f"{what} is not known before it is run, so that its size has no bound")
    return list(tensor.values.ravel().tolist())


def axis_of(number: Any, rank: int) -> int:
    axis = int(number)
    if not -rank <= axis < rank:
        raise OperatorError(f"axis {axis} of a tensor of {rank} dimensions")
    return axis % rank


def axes_of(node: Node, given: Given, place: int, rank: int) -> list[int] | None:
    """The axes that an attribute or an input names; None where neither is there."""
    tensor = optional(given, place)
    named = numbers(tensor, "axes") if tensor is not None else node.attributes.get("axes")
    return None if named is None else [axis_of(axis, rank) for axis in named]


def positive(node: Node, name: str, dimensions: int) -> list[int]:
    """Strides, dilations and the like: one of at least 1 a dimension."""
    values = node.attributes.get(name) or [1] * dimensions
    if len(values) != dimensions or min(values, default=1) < 1:
        raise OperatorError(f"{name} {values[:9]}; expected {dimensions} of at least 1")
    return [int(value) for value in values]


def floats_only(*tensors: TensorSize) -> None:
    """Products of whole numbers are not made of what processors are fast at, and networks do not need them."""
    if any(tensor.dtype not in (FLOAT, TYPES[10], TYPES[16]) for tensor in tensors):
        raise OperatorError(f"multiplies matrices of {tensors[0].dtype}; expected float32 or float16")


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape to which all of these are stretched."""
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    rank = max(map(len, shapes))
    sides = []
    for place in range(-rank, 0):
        found = {shape[place] for shape in shapes if -place <= len(shape)} - {1}
        if len(found) > 1:
            raise OperatorError(f"shapes {' and '.join(str(list(shape)) for shape in shapes)} do not go together")
        sides.append(found.pop() if found else 1)
    return tuple(sides)


# ── sizes, one function for operators of one kind ──


def elementwise(node: Node, given: Given) -> list[Result]:
    tensors = [tensor for tensor in given if tensor is not None]
    need(given, 0)
    if node.op in ("Div", "Mod") and tensors[0].dtype.kind in "iu":
        divisor = need(given, 1).values  # processors stop a program that divides whole numbers by zero
        if divisor is None or not divisor.all() or (divisor == -1).any():
            raise OperatorError("divides whole numbers by what may be zero")
    dtype = BOOL if node.op in BOOLEAN else tensors[0].dtype
    return [(broadcast([tensor.shape for tensor in tensors]), dtype, computed(node, tensors))]


def where(node: Node, given: Given) -> list[Result]:
    tensors = [need(given, place) for place in range(3)]
    return [(broadcast([tensor.shape for tensor in tensors]), tensors[1].dtype, computed(node, tensors))]


def as_first(node: Node, given: Given) -> list[Result]:
    """The first output is like the first input; those that only training reads are not looked at."""
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


def shape_of(node: Node, given: Given) -> list[Result]:
    shape = need(given, 0).shape
    if node.op == "Size":
        return [((), INT64, np.array(math.prod(shape), np.int64))]
    values = np.array(shape[slice(node.attributes.get("start", 0), node.attributes.get("end"))], np.int64)
    return [(values.shape, INT64, values)]


def constant(node: Node, _given: Given) -> list[Result]:
    attributes = node.attributes
    if "value" in attributes:
        tensor = tensor_values(attributes["value"])
        return [(tensor.shape, tensor.dtype, tensor.values)]
    for name, dtype in (("value_int", INT64), ("value_ints", INT64), ("value_float", FLOAT), ("value_floats", FLOAT)):
        if name in attributes:
            values = np.array(attributes[name], dtype)
            return [(values.shape, dtype, values if values.size <= SMALL else None)]
    raise OperatorError("holds no numbers")


def constant_of_shape(node: Node, given: Given) -> list[Result]:
    shape = sides(numbers(need(given, 0), "its shape"))
    value = (
        tensor_values(node.attributes["value"]) if "value" in node.attributes else TensorSize((1,), FLOAT, np.zeros(1))
    )
    if value.values is None or value.count != 1:
        raise OperatorError("takes one value")
    filled = np.full(shape, value.values.ravel()[0], value.dtype) if math.prod(shape) <= SMALL else None
    return [(shape, value.dtype, filled)]


def sides(values: Sequence[Any]) -> Shape:
    shape = tuple(int(value) for value in values)
    if any(side < 0 for side in shape):
        raise OperatorError(f"a shape of {list(shape)[:9]}")
    return shape


def arange(_node: Node, given: Given) -> list[Result]:
    start, limit, step = (numbers(need(given, place), "its end") for place in range(3))
    dtype = need(given, 0).dtype
    if not (len(start) == len(limit) == len(step) == 1) or not step[0] or not math.isfinite(sum(start + limit + step)):
        raise OperatorError(f"counts from {start} to {limit} in steps of {step}")
    count = max(math.ceil((limit[0] - start[0]) / step[0]), 0)
    values = (start[0] + np.arange(count) * step[0]).astype(dtype) if count <= SMALL else None
    return [((count,), dtype, values)]


def reshape(node: Node, given: Given) -> list[Result]:
    source = need(given, 0)
    if node.op == "Flatten":
        axis = node.attributes.get("axis", 1)
        axis += len(source.shape) if axis < 0 else 0
        shape: list[int] = [math.prod(source.shape[:axis]), math.prod(source.shape[axis:])]
    else:
        shape = [int(side) for side in numbers(need(given, 1), "its shape")]
        if not node.attributes.get("allowzero"):
            if any(side == 0 and place >= len(source.shape) for place, side in enumerate(shape)):
                raise OperatorError(f"a shape of {shape[:9]}")
            shape = [source.shape[place] if side == 0 else side for place, side in enumerate(shape)]
        if shape.count(-1) == 1:
            known = math.prod(side for side in shape if side != -1)
            shape[shape.index(-1)] = source.count // known if known else 0
    if math.prod(sides(shape)) != source.count:
        raise OperatorError(f"gives a tensor of shape {list(source.shape)} the shape {shape[:9]}")
    return [(tuple(shape), source.dtype, None if source.values is None else source.values.reshape(shape))]


def transpose(node: Node, given: Given) -> list[Result]:
    source = need(given, 0)
    order = node.attributes.get("perm", list(range(len(source.shape)))[::-1])
    if sorted(order) != list(range(len(source.shape))):
        raise OperatorError(f"the order {order[:9]} of {len(source.shape)} dimensions")
    values = None if source.values is None else source.values.transpose(order)
    return [(tuple(source.shape[axis] for axis in order), source.dtype, values)]


def squeeze(node: Node, given: Given) -> list[Result]:
    source = need(given, 0)
    if node.op == "Squeeze":
        axes = axes_of(node, given, 1, len(source.shape))
        gone = [axis for axis, side in enumerate(source.shape) if side == 1] if axes is None else axes
        if any(source.shape[axis] != 1 for axis in gone):
            raise OperatorError(f"takes dimensions {gone} out of {list(source.shape)}")
        shape = tuple(side for axis, side in enumerate(source.shape) if axis not in gone)
    else:
        named = numbers(need(given, 1), "axes")
        rank = len(source.shape) + len(named)
        new = {axis_of(axis, rank) for axis in named}
        rest = iter(source.shape)
        if len(new) != len(named):
            raise OperatorError(f"adds dimensions {named[:9]}")
        shape = tuple(1 if axis in new else next(rest) for axis in range(rank))
    return [(shape, source.dtype, None if source.values is None else source.values.reshape(shape))]


def expand(node: Node, given: Given) -> list[Result]:
    source, target = need(given, 0), sides(numbers(need(given, 1), "its shape"))
    if node.op == "Tile":
        if len(target) != len(source.shape):
            raise OperatorError(f"repeats {list(source.shape)} {list(target)[:9]} times")
        shape = tuple(side * times for side, times in zip(source.shape, target, strict=True))
    else:
        shape = broadcast([source.shape, target])
    values = source.values
    if values is not None:
        few = math.prod(shape) <= SMALL
        values = (np.tile(values, target) if node.op == "Tile" else np.broadcast_to(values, shape)) if few else None
    return [(shape, source.dtype, values)]


def concat(node: Node, given: Given) -> list[Result]:
    tensors = [need(given, place) for place in range(len(given))]
    rank = len(need(given, 0).shape)
    axis = axis_of(node.attributes.get("axis", 0), rank)
    others = {(*tensor.shape[:axis], *tensor.shape[axis + 1 :]) for tensor in tensors if len(tensor.shape) == rank}
    if len(others) != 1 or any(len(tensor.shape) != rank for tensor in tensors):
        raise OperatorError(
            f"joins {' and '.join(str(list(tensor.shape)) for tensor in tensors[:4])} along dimension {axis}"
        )
    shape = list(tensors[0].shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    parts = [tensor.values for tensor in tensors]
    joined = None
    if math.prod(shape) <= SMALL and all(part is not None for part in parts):
        joined = np.concatenate([part for part in parts if part is not None], axis)
    return [(tuple(shape), tensors[0].dtype, joined)]


def split(node: Node, given: Given) -> list[Result]:
    source = need(given, 0)
    axis, parts = axis_of(node.attributes.get("axis", 0), len(source.shape)), len(node.outputs)
    side, tensor = source.shape[axis], optional(given, 1)
    if node.attributes.get("num_outputs", parts) != parts:  # runtimes make as many as it says
        raise OperatorError(f"cuts into {node.attributes['num_outputs']} parts and puts out {parts}")
    if tensor is not None:
        lengths = sides(numbers(tensor, "its lengths"))
    else:
        each = -(-side // parts)
        lengths = tuple(max(min(each, side - place * each), 0) for place in range(parts))
    if sum(lengths) != side or len(lengths) != parts:
        raise OperatorError(f"cuts {side} into {list(lengths)[:9]}")
    found: list[Result] = []
    for place, length in enumerate(lengths):
        first = sum(lengths[:place])
        values = None if source.values is None else source.values.take(range(first, first + length), axis)
        found.append(((*source.shape[:axis], length, *source.shape[axis + 1 :]), source.dtype, values))
    return found


def sliced(node: Node, given: Given) -> list[Result]:
    """Slice."""
    source = need(given, 0)
    starts, ends = numbers(need(given, 1), "its start"), numbers(need(given, 2), "its end")
    axes = axes_of(node, given, 3, len(source.shape)) or list(range(len(starts)))
    tensor = optional(given, 4)
    steps = numbers(tensor, "its step") if tensor is not None else [1] * len(starts)
    if not (len(starts) == len(ends) == len(steps) == len(axes)) or 0 in steps or len(axes) > len(source.shape):
        raise OperatorError(f"cuts from {starts[:9]} to {ends[:9]} in steps of {steps[:9]}")
    shape, index = list(source.shape), [slice(None)] * len(source.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        lowest = -1 if step < 0 else 0
        begin, stop = (value + shape[axis] if value < 0 else value for value in (start, end))
        highest = source.shape[axis] + (-1 if step < 0 else 0)
        begin, stop = min(max(begin, 0), highest), min(max(stop, lowest), source.shape[axis])
        places = range(begin, stop, step)
        shape[axis] = len(places)
        index[axis] = slice(begin, None if stop < 0 else stop, step)
    return [(tuple(shape), source.dtype, None if source.values is None else source.values[tuple(index)])]


def gather(node: Node, given: Given) -> list[Result]:
    source, places = need(given, 0), need(given, 1)
    if node.op == "GatherElements":
        return [(places.shape, source.dtype, None)]
    if node.op == "GatherND":
        rank, batch = places.shape[-1] if places.shape else 0, node.attributes.get("batch_dims", 0)
        if rank < 1 or not 0 <= batch < len(places.shape) or batch + rank > len(source.shape):
            raise OperatorError(
                f"takes places of {rank} numbers, {batch} dimensions of them apart, from {list(source.shape)}"
            )
        if source.shape[:batch] != places.shape[:batch]:
            raise OperatorError("takes places for another number of parts than there are")
        return [((*places.shape[:-1], *source.shape[batch + rank :]), source.dtype, None)]
    axis = axis_of(node.attributes.get("axis", 0), len(source.shape))
    shape = (*source.shape[:axis], *places.shape, *source.shape[axis + 1 :])
    values = None
    if source.values is not None and places.values is not None and math.prod(shape) <= SMALL:
        side = source.shape[axis]
        if places.values.size and not (-side <= places.values.min() and places.values.max() < side):
            raise OperatorError(f"takes place {int(np.abs(places.values).max())} of {side}")
        values = np.take(source.values, places.values, axis)
    return [(shape, source.dtype, values)]


def pad(node: Node, given: Given) -> list[Result]:
    source, added = need(given, 0), [int(value) for value in numbers(need(given, 1), "its padding")]
    rank = len(source.shape)
    axes = axes_of(node, given, 3, rank)
    axes = list(range(rank)) if axes is None else axes
    if len(added) != 2 * len(axes):
        raise OperatorError(f"pads {rank} dimensions by {added[:9]}")
    shape = list(source.shape)
    for place, axis in enumerate(axes):
        shape[axis] += added[place] + added[place + len(axes)]
    return [(sides(shape), source.dtype, None)]


def blocks(node: Node, given: Given) -> list[Result]:
    """DepthToSpace, SpaceToDepth."""
    source, side = need(given, 0), node.attributes.get("blocksize", 0)
    if side < 1 or len(source.shape) != 4:
        raise OperatorError(f"blocks of {side} px of a tensor of shape {list(source.shape)}")
    n, c, h, w = source.shape
    shape = (n, c // side**2, h * side, w * side) if node.op[0] == "D" else (n, c * side**2, h // side, w // side)
    if math.prod(shape) != source.count:
        raise OperatorError(f"blocks of {side} px of a tensor of shape {list(source.shape)}")
    return [(shape, source.dtype, None)]


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
    """Height and width of what windows of this size, slid over the first input, put out."""
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


# ── values that sizes are made of ──


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
    """What an operator computes, where all its inputs are known and few."""
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
    except (TypeError, ValueError):  # whole numbers to a negative power, and the like: then they are not known
        return None
    if node.op in BOOLEAN:
        return values
    with np.errstate(all="ignore"):
        return values.astype(tensors[1 if node.op == "Where" else 0].dtype)


ELEMENTWISE = "Add Sub Mul Div Pow Mod Max Min Sum PRelu Equal Less LessOrEqual Greater GreaterOrEqual And Or"
AS_FIRST = (
    "Abs Neg Floor Ceil Round Sqrt Reciprocal Exp Log Sign Not Identity Relu Sigmoid Tanh Erf HardSigmoid HardSwish "
    "LeakyRelu Elu Selu Gelu Softplus Mish Swish Clip Softmax LogSoftmax "
    "LayerNormalization RMSNormalization InstanceNormalization GroupNormalization BatchNormalization "
    "CumSum Trilu Sin Cos Atan IsNaN IsInf ScatterElements ScatterND"
)
REDUCED = "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2"
OPERATORS: dict[str, Callable[[Node, Given], list[Result]]] = {
    **dict.fromkeys(ELEMENTWISE.split(), elementwise),
    **dict.fromkeys(AS_FIRST.split(), as_first),
    **dict.fromkeys([*REDUCED.split(), "ArgMax", "ArgMin"], reduced),
    "Where": where, "Cast": cast, "CastLike": cast, "QuantizeLinear": quantised, "DequantizeLinear": quantised,
    "Shape": shape_of, "Size": shape_of, "Constant": constant, "ConstantOfShape": constant_of_shape, "Range": arange,
    "Reshape": reshape, "Flatten": reshape, "Transpose": transpose, "Squeeze": squeeze, "Unsqueeze": squeeze,
    "Expand": expand, "Tile": expand, "Concat": concat, "Split": split, "Slice": sliced, "Gather": gather,
    "GatherElements": gather, "GatherND": gather, "Pad": pad, "DepthToSpace": blocks, "SpaceToDepth": blocks,
    "Resize": resize, "MatMul": matmul, "Gemm": matmul, "Einsum": einsum, "Conv": convolution,
    "ConvTranspose": transposed, "MaxPool": pool, "AveragePool": pool, "GlobalAveragePool": pool,
    "GlobalMaxPool": pool, "GridSample": sampled,
}  # fmt: skip
