"""Images as NumPy arrays: .npy files [H, W], [H, W, bands] or [bands, H, W] of numbers.

Format: numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Arrays of Python objects are refused, because
they require pickle.
"""

from __future__ import annotations

import io
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.band_names import bands_axis
from pixelwise.images.files import Refusal, truncated
from pixelwise.images.image_header import refusing

NUMPY_MAGIC = b"\x93NUMPY"
MOST_HEADER = 1 << 16
REMEDY = "Save it with numpy.save, as an array of numbers [height, width, bands]."


class NumpyHeader(NamedTuple):
    """The header of a .npy file."""

    shape: tuple[int, ...]  # as stored
    dtype: np.dtype[Any]
    start: int  # offset of the values
    band_axis: int | None  # None for [H, W]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and bands."""
        if self.band_axis is None:
            return (self.shape[0], self.shape[1], 1)
        return (self.shape[1], self.shape[2], self.shape[0]) if self.band_axis == 0 else self.shape  # type: ignore[return-value]


def array_header(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and offset of the values of a .npy file. Raises Refusal: damaged."""
    stream = io.BytesIO(data[:MOST_HEADER])
    with refusing("its NumPy header cannot be read"):  # damaged ones raise errors of many kinds, tokenize's included
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
    return shape, dtype, stream.tell()


def values_in_words(dtype: np.dtype[Any]) -> str:
    """What an array that is no image holds, such as "text" or "complex64 values"."""
    kinds = {"c": f"{dtype} values", "O": "Python objects", "S": "text", "U": "text", "M": "dates", "m": "durations"}
    return kinds.get(dtype.kind, "records")


def numpy_header(data: bytes) -> NumpyHeader:
    """Parse the header. Raises Refusal: damaged, Python objects, or not two or three axes of numbers."""
    shape, dtype, start = array_header(data)
    if dtype.hasobject or dtype.kind not in "biuf":
        raise Refusal(
            "unread-kind", f"holds {values_in_words(dtype)}; expected whole or floating-point numbers.", REMEDY
        )
    if len(shape) not in (2, 3) or min(shape) < 1:
        expected = "[height, width], [height, width, bands] or [bands, height, width]"
        raise Refusal("bands", f"is an array of shape {list(shape)}; expected {expected}.", REMEDY)
    return NumpyHeader(shape, dtype, start, bands_axis(shape) if len(shape) == 3 else None)


def numpy_values(data: bytes, header: NumpyHeader) -> NDArray[Any]:
    """The values [H, W, bands]. Raises Refusal: fewer than the header states."""
    expected = header.start + math.prod(header.shape) * header.dtype.itemsize
    if len(data) < expected:
        raise truncated(f"{len(data):,} of {expected:,} bytes")
    values = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    if header.band_axis is None:
        return np.asarray(values[:, :, None])
    return np.asarray(values.transpose(1, 2, 0) if header.band_axis == 0 else values)
