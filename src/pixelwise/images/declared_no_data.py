"""Where a TIFF of 8- or 16-bit whole numbers holds the value that it declares as no data, or no pixels at all (sparse).

Images that are read as 8-bit pixels cannot say it: each pixel keeps a value for the network, and its label is void.

Shapes: H, W height and width in pixels, upright.
"""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.band_names import GDAL_NO_DATA
from pixelwise.images.banded_image import numbered
from pixelwise.images.files import Refusal
from pixelwise.images.read_as import positions
from pixelwise.images.tiff_header import (
    BITS,
    COLOURS,
    FORMAT,
    LETTERS,
    SIZES,
    STRIP_SIZES,
    TILE_SIZES,
    Directory,
    TiffFile,
    tiff_at,
    tiff_bytes,
)
from pixelwise.records import RGB, VOID, Bands, Labels

if TYPE_CHECKING:
    from pixelwise.images.tiff_bands import TiffBands

Absent = NDArray[np.bool_]  # [H, W]
DEPTHS, KINDS = (8, 16), (1, 2, 6)  # bits of a value; grey, RGB and YCbCr: of a palette, the value is an index
KEPT_BYTES = 1 << 26  # decoded tiles, for windows that share them


class DeclaredNoData:
    """The places without data, as declared or left out, window by window. Close it, or use it in `with`."""

    def __init__(self, tiff: TiffBands, places: list[int], value: float | None) -> None:
        self.tiff, self.places, self.value = tiff, places, value

    @property
    def size(self) -> tuple[int, int]:
        return self.tiff.height, self.tiff.width

    def window(self, top: int, left: int, height: int, width: int) -> Absent | None:
        """The pixels of a window, [height, width], without data in any band; None: there are none. Raises Refusal."""
        left_out, declared = self.tiff.left_out(top, left, height, width), self._declared(top, left, height, width)
        if left_out is None or declared is None:
            return declared if left_out is None else left_out
        return left_out | declared

    def _declared(self, top: int, left: int, height: int, width: int) -> Absent | None:
        """The pixels that hold the declared value in every band."""
        if self.value is None:
            return None
        values = self.tiff.window(top, left, height, width)[0]
        absent: Any = np.ones(values.shape[:2], np.bool_)
        for place in self.places:  # band by band: few images miss any
            absent &= values[:, :, place] == values.dtype.type(self.value)
            if not absent.any():
                return None
        return np.asarray(absent)

    def __enter__(self) -> DeclaredNoData:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.tiff.close()


def declared_no_data(source: Path | bytes, bands: Bands = RGB) -> DeclaredNoData | None:
    """Where a file or its bytes hold no data; None for files that are not such TIFFs, or are damaged.

    Args:
        bands: those that are read. RGB: all bands of the file but alpha.
    """
    try:
        if not _declares(source):
            return None
        from pixelwise.images.tiff_bands import TiffBands  # which loads tifffile

        tiff = TiffBands(source, kept_bytes=KEPT_BYTES)
    except (Refusal, struct.error, OSError, ValueError):  # reported by those who read its pixels
        return None
    names = tiff.names or numbered(tiff.bands)
    places = [place for place, name in enumerate(names) if name != "alpha"] if bands == RGB else positions(names, bands)
    if not places or (tiff.no_data is None and not tiff.is_sparse) or tiff.stack.shape:
        tiff.close()
        return None
    return DeclaredNoData(tiff, list(places), tiff.no_data)


def absent_pixels(source: Path | bytes, bands: Bands = RGB) -> Absent | None:
    """Where an image holds no data, as its file declares it or leaves it out, [H, W]; None: nowhere. Raises Refusal.

    Args:
        bands: as for `declared_no_data`.
    """
    declared = declared_no_data(source, bands)
    if declared is None:
        return None
    with declared:
        absent_HW = declared.window(0, 0, *declared.size)
    return absent_HW if absent_HW is not None and absent_HW.any() else None


def void_where(labels_HW: Labels, absent_HW: Absent | None) -> Labels:
    """The labels, VOID in these pixels."""
    return labels_HW if absent_HW is None else np.where(absent_HW, np.uint8(VOID), labels_HW)


def packed(absent_HW: Absent | None) -> str:
    """Such pixels as text, for another process; "" for none."""
    return "" if absent_HW is None else base64.b64encode(zlib.compress(np.packbits(absent_HW).tobytes(), 1)).decode()


def unpacked(text: str, size: tuple[int, int]) -> Absent | None:
    """The inverse of `packed`, for an image of this size (H, W)."""
    if not text:
        return None
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return np.unpackbits(bits, count=size[0] * size[1]).view(np.bool_).reshape(size)


def _declares(source: Path | bytes) -> bool:
    if isinstance(source, bytes):
        return source[:2] in (b"II", b"MM") and _of_whole_numbers(tiff_bytes(source))
    with tiff_at(source) as file:
        return _of_whole_numbers(file)


def _of_whole_numbers(file: TiffFile) -> bool:
    page = file.first()
    bits, kind, colours = (file.number(page, code, 1) for code in (BITS, FORMAT, COLOURS))
    if bits not in DEPTHS or kind != 1 or colours not in KINDS:
        return False
    return GDAL_NO_DATA in page.tags or _leaves_out(file, page)


def _leaves_out(file: TiffFile, page: Directory) -> bool:
    """Whether a page has a tile or strip of no bytes."""
    tag = page.tags.get(TILE_SIZES) or page.tags.get(STRIP_SIZES)
    letter = LETTERS.get(tag.kind) if tag else None
    if tag is None or letter is None:
        return False
    stored = file.read(tag.place, SIZES[tag.kind] * tag.number)
    sizes = np.frombuffer(stored[: len(stored) // SIZES[tag.kind] * SIZES[tag.kind]], f"{file.order}u{SIZES[tag.kind]}")
    return bool((sizes == 0).any())
