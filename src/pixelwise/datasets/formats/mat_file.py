"""MATLAB's MAT files, versions 4 to 7: their variables and numeric values. Nothing else is read.

SciPy reads more, but its compiled reader trusts its input: about one damaged file in a thousand crashes it with a
signal. Here every length is checked against the data before use, and nothing is unpacked beyond `room` bytes.

Format: "MAT-File Format" (MathWorks). Shapes: as in MATLAB, rows first; stored down the columns.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.decoder_reasons import DAMAGED_STREAM
from pixelwise.images.files import Refusal

OF_HDF5 = b"MATLAB 7.3 MAT-file"
HEADER_BYTES = 128
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # data types
MATRIX, COMPRESSED = 14, 15
CLASSES = {
    1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single", 8: "int8", 9: "uint8",
    10: "int16", 11: "uint16", 12: "int32", 13: "uint32", 14: "int64", 15: "uint64",
}  # fmt: skip
NUMERIC = ("double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
LOGICAL, COMPLEX = 0x200, 0x800  # flags of a matrix
NUMBERS_4 = ("f8", "f4", "i4", "i2", "u2", "u1")  # of version 4
MOST_DIMENSIONS, MOST_VARIABLES, MOST_FIELDS = 32, 10_000, 1_000


class Element(NamedTuple):
    """One element of a file: its type, the start and end of its content, and the start of the next."""

    kind: int
    start: int
    stop: int
    after: int


@dataclass(frozen=True)
class Variable:
    """A matrix in a file, not yet read."""

    name: str
    shape: tuple[int, ...]
    kind: str  # a value of CLASSES, "logical", "complex" or "opaque"
    data: bytes
    start: int  # of the data after its name
    stop: int
    order: str  # "<" or ">"
    stored: str = ""  # the NumPy type of a version 4 matrix

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def variables_of(data: bytes, room: int) -> list[Variable]:
    """The variables of a file, by name.

    Args:
        room: the limit in bytes for all unpacked variables together.

    Raises:
        Refusal: damaged, of version 7.3, or larger than `room` allows.
    """
    if data.startswith(OF_HDF5):
        remedy = "In MATLAB: s = load(file); save(file, '-struct', 's', '-v7')."
        raise Refusal("matlab-73", "is of MAT version 7.3 (HDF5), which is not read.", remedy)
    if len(data) >= 20 and 0 in data[:4]:
        return _variables_4(data)
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise _damaged("it has no header")
    found: list[Variable] = []
    at = HEADER_BYTES
    while at + 8 <= len(data) and len(found) < MOST_VARIABLES:
        element = _element(data, at, len(data), order)
        at = element.after
        body, place = data, element
        if element.kind == COMPRESSED:
            body = _unpacked(data[element.start : element.stop], room)
            room -= len(body)
            place = _element(body, 0, len(body), order)
        if place.kind == MATRIX and place.stop > place.start:
            found.append(_variable(body, place, order))
    return [variable for variable in found if variable.name]


def numbers_of(variable: Variable) -> NDArray[Any]:
    """The values of a numeric matrix, in its shape. Raises Refusal."""
    if variable.kind not in NUMERIC:
        raise Refusal("matlab-none", f"holds a {variable.kind}, not a matrix of numbers.", "Save a matrix of numbers.")
    data, start, stop, letter = variable.data, variable.start, variable.stop, variable.stored
    if not letter:
        real = _element(data, start, stop, variable.order)
        start, stop, letter = real.start, real.stop, NUMBERS.get(real.kind, "")
    kind = np.dtype(variable.order + letter) if letter else None
    if kind is None or variable.size * kind.itemsize != stop - start:
        raise _damaged("a matrix has another number of values than its shape")
    return np.frombuffer(data, kind, variable.size, start).reshape(variable.shape, order="F")


def parts_of(variable: Variable) -> dict[str, Variable]:
    """The fields of a 1×1 struct by name, or the one value of a 1×1 cell as "". Raises Refusal."""
    if variable.size != 1 or variable.kind not in ("struct", "cell"):
        return {}
    at, names = variable.start, [""]
    if variable.kind == "struct":
        length = _element(variable.data, at, variable.stop, variable.order)
        texts = _element(variable.data, length.after, variable.stop, variable.order)
        at = texts.after
        (each,) = _numbers(variable.data, length, variable.order, 1)
        count = (texts.stop - texts.start) // each if each > 0 else 0
        if not 0 < count <= MOST_FIELDS:
            raise _damaged("a struct has no list of fields")
        starts = (texts.start + each * i for i in range(count))
        names = [variable.data[s : s + each].split(b"\0")[0].decode("latin-1") for s in starts]
    found = {}
    for name in names:
        element = _element(variable.data, at, variable.stop, variable.order)
        at = element.after
        if element.kind == MATRIX and element.stop > element.start:
            found[name] = _variable(variable.data, element, variable.order)
    return found


def _element(data: bytes, at: int, end: int, order: str) -> Element:
    """The element at an offset. Raises Refusal: truncated."""
    if at + 8 > end:
        raise _damaged("it is cut short")
    kind, count = struct.unpack_from(order + "II", data, at)
    if kind >> 16:  # a small element: count and content share eight bytes
        kind, count = kind & 0xFFFF, kind >> 16
        if count > 4:
            raise _damaged("an element is longer than it can be")
        return Element(kind, at + 4, at + 4 + count, at + 8)
    stop = at + 8 + count
    if stop > end:
        raise _damaged("it is cut short")
    return Element(kind, at + 8, stop, stop if kind == COMPRESSED else min(stop + -count % 8, end))


def _numbers(data: bytes, element: Element, order: str, count: int) -> tuple[int, ...]:
    """The first `count` integers of an element. Raises Refusal: too few."""
    if element.stop - element.start < 4 * count:
        raise _damaged("an element is shorter than it must be")
    return struct.unpack_from(f"{order}{count}i", data, element.start)


def _variable(data: bytes, matrix: Element, order: str) -> Variable:
    """The header of a matrix. Raises Refusal."""
    flags = _element(data, matrix.start, matrix.stop, order)
    word = _numbers(data, flags, order, 2)[0]
    kind = CLASSES.get(word & 0xFF, "opaque")
    if kind == "opaque":  # has no dimensions
        return Variable("an object", (), kind, data, flags.after, matrix.stop, order)
    sides = _element(data, flags.after, matrix.stop, order)
    count = (sides.stop - sides.start) // 4
    if not 2 <= count <= MOST_DIMENSIONS:
        raise _damaged(f"a matrix has {count} dimensions")
    shape = _numbers(data, sides, order, count)
    if min(shape) < 0:
        raise _damaged("a matrix has a negative side")
    name = _element(data, sides.after, matrix.stop, order)
    if kind in NUMERIC and word & COMPLEX:
        kind = "complex"
    elif kind in NUMERIC and word & LOGICAL:
        kind = "logical"
    text = data[name.start : name.stop].decode("latin-1")
    return Variable(text, shape, kind, data, name.after, matrix.stop, order)


def _variables_4(data: bytes) -> list[Variable]:
    """The variables of version 4. Raises Refusal."""
    found: list[Variable] = []
    at = 0
    while at + 20 <= len(data) and len(found) < MOST_VARIABLES:
        order = "<" if struct.unpack_from("<I", data, at)[0] < 5000 else ">"
        kind, rows, columns, imaginary, length = struct.unpack_from(order + "5i", data, at)
        stored, shape = kind // 10 % 10, (rows, columns)
        if not 0 <= kind < 5000 or stored >= len(NUMBERS_4) or min(rows, columns, length) < 0:
            raise _damaged("it has no header")
        letter = NUMBERS_4[stored]
        start = at + 20 + length
        size = rows * columns * int(letter[1]) * (2 if imaginary else 1)
        at = start + size
        if at > len(data):
            raise _damaged("it is cut short")
        name = data[start - length : start].split(b"\0")[0].decode("latin-1")
        what = "complex" if imaginary else ("double", "char", "sparse")[kind % 10] if kind % 10 < 3 else "opaque"
        found.append(Variable(name, shape, what, data, start, start + size, order, letter))
    return found


def _unpacked(packed: bytes, room: int) -> bytes:
    """The unpacked bytes. Raises Refusal: damaged, or more than `room` bytes."""
    try:
        body = zlib.decompressobj().decompress(packed, max(room, 0) + 1)
    except zlib.error as error:
        raise _damaged(DAMAGED_STREAM) from error
    if len(body) > room:
        raise Refusal("too-large", "unpacks to far more than its image has pixels.", "Save the mask alone.")
    return body


def _damaged(why: str) -> Refusal:
    what = f"cannot be read as a MAT file: {why}."
    return Refusal("truncated", what, "Copy the file again, or save it again with save(file, '-v7').")
