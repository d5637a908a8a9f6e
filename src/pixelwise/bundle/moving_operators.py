"""Operators that only move values: the sizes of their outputs and, if known, the values."""

from __future__ import annotations

import math

import numpy as np

from pixelwise.bundle.sized_tensors import (
    FLOAT,
    INT64,
    SMALL,
    Given,
    Node,
    OperatorError,
    Result,
    TensorSize,
    axes_of,
    axis_of,
    broadcast,
    need,
    numbers,
    optional,
    sides,
    tensor_values,
)


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
    if node.attributes.get("num_outputs", parts) != parts:  # runtimes follow this attribute
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
