"""Known facts about tensors before a network runs: shape, type, and values that determine sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.protobuf_reader import Message

SMALL = 4096  # values; larger tensors do not determine sizes
MAX_RANK = 8
TYPES: dict[int, np.dtype[Any]] = {  # TensorProto.DataType; bfloat16 (16) has the size of a uint16
    1: np.dtype("f4"), 2: np.dtype("u1"), 3: np.dtype("i1"), 4: np.dtype("u2"), 5: np.dtype("i2"), 6: np.dtype("i4"),
    7: np.dtype("i8"), 9: np.dtype("?"), 10: np.dtype("f2"), 11: np.dtype("f8"), 12: np.dtype("u4"),
    13: np.dtype("u8"), 16: np.dtype("u2"),
}  # fmt: skip
FLOAT, BOOL, INT64, UINT8 = TYPES[1], TYPES[9], TYPES[7], TYPES[2]
Shape = tuple[int, ...]
Values = NDArray[Any] | None


@dataclass(slots=True)
class TensorSize:
    """The known facts about a tensor before the network runs."""

    shape: Shape
    dtype: np.dtype[Any]
    values: Values = None  # if few, and derived from constants and sizes
    resized: bool = False  # shape or values depend on the size of the image
    constant: bool = False  # independent of the image: runtimes compute it on loading

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
    """An operator cannot run on its inputs, or its output size is unknown."""


def tensor_values(tensor: Message) -> TensorSize:
    """Read a stored tensor: shape, type and, if they are few, its values.

    Raises:
        OperatorError: the number of values does not match its shape.
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


def need(given: Given, place: int) -> TensorSize:
    if place >= len(given) or (tensor := given[place]) is None:
        raise OperatorError(f"input {place} is missing")
    return tensor


def optional(given: Given, place: int) -> TensorSize | None:
    return given[place] if place < len(given) else None


def numbers(tensor: TensorSize, what: str) -> list[Any]:
    """The values of a tensor that determines a size."""
    if tensor.values is None:
        raise OperatorError(f"{what} is unknown before the network runs, so that its size has no bound")
    return list(tensor.values.ravel().tolist())


def axis_of(number: Any, rank: int) -> int:
    axis = int(number)
    if not -rank <= axis < rank:
        raise OperatorError(f"axis {axis} of a tensor of {rank} dimensions")
    return axis % rank


def axes_of(node: Node, given: Given, place: int, rank: int) -> list[int] | None:
    """The axes from an attribute or input; None if neither is present."""
    tensor = optional(given, place)
    named = numbers(tensor, "axes") if tensor is not None else node.attributes.get("axes")
    return None if named is None else [axis_of(axis, rank) for axis in named]


def sides(values: Sequence[Any]) -> Shape:
    shape = tuple(int(value) for value in values)
    if any(side < 0 for side in shape):
        raise OperatorError(f"a shape of {list(shape)[:9]}")
    return shape


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The common shape under broadcasting."""
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
