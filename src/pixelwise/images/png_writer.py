"""Write labels and maps as PNG files, strip by strip, a dozen times as fast as Pillow.

Labels are long runs of few values: the fastest setting of ISA-L (see `png_inflate`) compresses them in 0.1 ms as well
as Pillow's best setting does in 1.2 ms. Rows are written as they arrive, so a map is never held in memory as a whole.

Shapes: H, W height and width in pixels; R rows of a strip.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.files import PNG_MAGIC
from pixelwise.images.png_inflate import isal_zlib

GREY, PALETTE = 0, 3  # colour types of a PNG
NO_FILTER, UP = 0, 2  # row filters: none; difference from the row above
WINDOW_BITS, MEMORY_LEVEL = 15, 9
CHUNK_BYTES = 1 << 20  # of compressed pixels per chunk

Strips = Iterable[NDArray[np.uint8] | NDArray[np.uint16]]  # each [R, W]


def label_png(labels_HW: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> bytes:
    """Values uint8 [H, W] as a PNG: grey, or indices into a palette uint8 [256, 3]."""
    return png_of_strips([labels_HW], labels_HW.shape, np.uint8, palette=palette)


def png_of_strips(
    strips: Strips,
    size: tuple[int, ...],
    dtype: type[np.uint8] | type[np.uint16],
    *,
    palette: NDArray[np.uint8] | None = None,
    smooth: bool = False,
) -> bytes:
    """A single-channel PNG from strips of rows, top to bottom. Arguments and errors as `png_parts`."""
    return b"".join(png_parts(strips, size, dtype, palette=palette, smooth=smooth))


def png_parts(
    strips: Strips,
    size: tuple[int, ...],
    dtype: type[np.uint8] | type[np.uint16],
    *,
    palette: NDArray[np.uint8] | None = None,
    smooth: bool = False,
) -> Iterator[bytes]:
    """The bytes of the PNG in parts, to write in order: only one strip is in memory.

    Args:
        strips: [R, W] each; R may differ.
        size: (H, W).
        dtype: of the strips.
        palette: uint8 [256, 3]: the values are indices into it.
        smooth: neighbouring rows are similar, so their differences compress better.

    Raises:
        ValueError: the strips are not H rows of W values.
    """
    height, width = size
    row_bytes = width * np.dtype(dtype).itemsize
    depth, colour = 8 * np.dtype(dtype).itemsize, GREY if palette is None else PALETTE
    yield PNG_MAGIC + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    if palette is not None:
        yield _chunk(b"PLTE", palette.tobytes())
    packer = _packer()
    packed: list[bytes] = []
    rows = 0
    above = np.zeros((1, row_bytes), np.uint8)
    for strip in strips:
        if strip.ndim != 2 or strip.shape[1] != width or strip.dtype != dtype:
            raise ValueError(f"a strip of {strip.dtype} {list(strip.shape)}; expected {np.dtype(dtype)} [R, {width}]")
        values = np.ascontiguousarray(strip, np.dtype(dtype).newbyteorder(">")).view(np.uint8)
        filtered = np.empty((len(values), row_bytes + 1), np.uint8)
        filtered[:, 0] = UP if smooth else NO_FILTER
        if smooth:
            filtered[:, 1:] = values
            filtered[:1, 1:] -= above
            filtered[1:, 1:] -= values[:-1]
            above = values[-1:]
        else:
            filtered[:, 1:] = values
        packed.append(packer.compress(filtered))
        rows += len(strip)
        if sum(map(len, packed)) >= CHUNK_BYTES:
            yield _chunk(b"IDAT", b"".join(packed))
            packed.clear()
    if rows != height or not height or not width:
        raise ValueError(f"strips of {rows} rows; expected {height} of {width} pixels")
    packed.append(packer.flush())
    yield _chunk(b"IDAT", b"".join(packed)) + _chunk(b"IEND", b"")


def _packer() -> Any:
    """A compressor to the zlib format."""
    if isal_zlib is not None:
        return isal_zlib.compressobj(1, isal_zlib.DEFLATED, WINDOW_BITS)
    return zlib.compressobj(6, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL, zlib.Z_RLE)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))
