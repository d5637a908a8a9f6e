"""Read TIFF, BigTIFF and COG of any size by rows or windows: only the requested tiles or strips are decoded.

Pixels follow the rules of `decode`, and these for bands:

    1 band            grey: the value in all three channels; a palette's colour
    2 bands           grey and alpha: grey is used
    3 bands           red, green, blue
    4 bands           the first three; the fourth is alpha or infrared
    5 and more        refused: the file does not state which are red, green and blue
    16-bit            value / 257, rounded; 1-, 2- and 4-bit grey spread over 0–255
    float, 32-bit, signed, CMYK, Lab, turned (orientation other than 1)    refused
    tiles missing from the file (sparse)    black, and marked absent, so that they become void

The first page is read. Rare compressions need the extra `tiff`.

Shapes: H, W height and width in pixels; S bands; T, U height and width of a tile or strip.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pixelwise.errors import ImageError
from pixelwise.images.decode import refusing
from pixelwise.images.dropped_content import (
    DroppedContent,
    bands_dropped,
    depth_dropped,
    pages_dropped,
    varying_channel,
)
from pixelwise.images.files import Refusal, shown, truncated
from pixelwise.images.tiff_codecs import JPEG, NAMES, packing_in_words
from pixelwise.images.tiff_header import ORIENTATION, check_tiff, pages_of, tiff_at, tiff_size
from pixelwise.images.tiff_tiles import TiffTiles
from pixelwise.records import Pixels

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its warnings name no file

MAX_STREAMED_PIXELS = 1 << 36  # 262,144 × 262,144: above it a header is more likely a trap than an image
MAX_ROW_BYTES = 1 << 30  # decoded size of one row of tiles, or one strip
PLAIN_ROWS = 256  # of uncompressed strips, converted at a time
COLOURS = {0: "grey, white is zero", 1: "grey", 2: "RGB", 3: "palette", 6: "YCbCr"}
# The georeference of an image: GeoTIFF (33550, 33922, 34264, 34735 to 34737).
GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
RESOLUTION_TAGS = (282, 283, 296)
CONVERT = "Export it as 8- or 16-bit RGB, for example: gdal_translate -of COG -b 1 -b 2 -b 3 -ot Byte -scale IN OUT"


class TiffImage:
    """A TIFF, open for reading from top to bottom. Close it, or use it in `with`."""

    def __init__(self, path: Path) -> None:
        """Open a TIFF and check it as far as possible without decoding pixels.

        Raises:
            ImageError: not a TIFF, truncated, too large, or unsupported.
        """
        self.path = path
        self._held: tuple[int, Pixels] | None = None  # the last decoded row of tiles, for further requests
        self._fourth: tuple[int, int] | None = None  # the lowest and highest value of the fourth band so far
        try:
            with refusing("its TIFF header cannot be read"), tiff_at(path) as header:
                check_tiff(header, streamed=True)
                self.pages = pages_of(header)
            with refusing("its TIFF header cannot be read"):
                self.file = tifffile.TiffFile(path)
        except Refusal as refusal:
            raise refused(path, refusal) from refusal
        try:
            with refusing("its TIFF tags cannot be read"):
                self._inspect()
        except Refusal as refusal:
            self.close()
            raise refused(path, refusal) from refusal

    def _inspect(self) -> None:
        page: Any = self.file.pages[0]
        self.page = page
        self.height, self.width, self.bands = int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel)
        if self.height < 1 or self.width < 1:
            raise truncated(f"its header states {self.width}×{self.height} pixels")
        self._refuse_unread_kinds()
        if self.width * self.height > MAX_STREAMED_PIXELS:
            what = f"{self.width}×{self.height} is {self.width * self.height:,} pixels; the limit for a TIFF is "
            raise Refusal("too-large", f"{what}{MAX_STREAMED_PIXELS:,}.", "Cut it into several files.")
        self.tiles = TiffTiles(page, self._read, self.path.stat().st_size)
        self.tile, self.grid = self.tiles.part, self.tiles.grid
        row_bytes = self.tiles.part_bytes * self.grid[1] * self.tiles.planes
        if row_bytes > MAX_ROW_BYTES and not self.tiles.is_plain:
            size = f"{self.tile[1]}×{self.tile[0]} pixels each"
            what = f"one row of its tiles or strips ({size}) takes {row_bytes:,} bytes"
            remedy = "Save it with smaller tiles, for example: gdal_translate -of COG IN OUT"
            raise Refusal("too-large", f"{what} in memory; the limit is {MAX_ROW_BYTES:,}.", remedy)
        absent = self.tiles.absent.all(axis=0)
        self.absent_tiles: NDArray[np.bool_] | None = absent if absent.any() else None

    def _read(self, offset: int, size: int) -> bytes:
        self.file.filehandle.seek(offset)
        data: bytes = self.file.filehandle.read(size)
        return data

    def _refuse_unread_kinds(self) -> None:
        page = self.page
        bits, kind = page.bitspersample, page.sampleformat
        if kind == 3 or kind != 1 or bits not in (1, 2, 4, 8, 16):
            depth = f"{bits}-bit" if isinstance(bits, int) else "mixed"
            name = "floating-point" if kind == 3 else "signed or complex" if kind != 1 else depth
            raise Refusal("unread-kind", f"holds {name} values; expected 8- or 16-bit grey or colour.", CONVERT)
        if self.bands > 4:
            what = f"holds {self.bands} bands; expected 1 to 4, of which the first three are red, green and blue."
            raise Refusal(
                "unread-kind", what, "Choose the three: gdal_translate -of COG -b RED -b GREEN -b BLUE IN OUT"
            )
        if page.photometric not in COLOURS or (page.photometric == 6 and page.compression != JPEG):
            name = getattr(page.photometric, "name", "of an unknown kind")
            raise Refusal("unread-kind", f"its colours are {name}; expected grey, palette or RGB.", CONVERT)
        if page.compression not in NAMES:
            raise Refusal("unread-kind", f"its compression is {packing_in_words(page.compression)}.", CONVERT)
        if page.tags.valueof(274, 1) != 1:
            what = "is stored rotated or mirrored (an orientation tag), which cannot be undone row by row."
            raise Refusal("unread-kind", what, "Save it upright.")
        if page.imagedepth != 1:
            raise Refusal("unread-kind", f"is a volume of {page.imagedepth} slices; expected a picture.", CONVERT)

    def rows(self, first: int, stop: int) -> Pixels:
        """Rows [first, stop) of pixels: uint8 [rows, W, 3]. Read in order, each tile is decoded once.

        Raises:
            ImageError: a tile or strip that cannot be decoded.
        """
        out = np.empty((stop - first, self.width, 3), np.uint8)
        try:
            with refusing(f"rows {first} to {stop} cannot be decoded"):
                self._read_rows(first, stop, out)
        except Refusal as refusal:
            raise refused(self.path, refusal) from refusal
        return out

    def window(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """The pixels of `rows` in columns [left, right): uint8 [rows, columns, 3].

        Raises:
            ImageError: a tile or strip that cannot be decoded.
        """
        out = np.empty((bottom - top, right - left, 3), np.uint8)
        try:
            with refusing(f"rows {top} to {bottom} cannot be decoded"):
                out[:] = self._window(top, left, bottom - top, right - left)
        except Refusal as refusal:
            raise refused(self.path, refusal) from refusal
        if self.absent_tiles is not None:
            out[self.tiles.absent_in(top, left, bottom - top, right - left)] = 0  # black, also where white is zero
        return out

    @property
    def windows_are_cheap(self) -> bool:
        """Whether little more is decoded for a window than its own pixels."""
        return self.tiles.windows_are_cheap

    def _read_rows(self, first: int, stop: int, out: Pixels) -> None:
        if self.tiles.is_plain:
            for top in range(first, stop, PLAIN_ROWS):
                height = min(PLAIN_ROWS, stop - top)
                out[top - first : top - first + height] = self._window(top, 0, height, self.width)
            return
        at = first
        while at < stop:
            row = at // self.tile[0]
            begin = row * self.tile[0]
            end = min(begin + self.tile[0], stop)
            out[at - first : end - first] = self._row_of_tiles(row)[at - begin : end - begin]
            at = end

    def _row_of_tiles(self, row: int) -> Pixels:
        """One row of tiles or strips, decoded: uint8 [T or less, W, 3]."""
        if self._held is not None and self._held[0] == row:
            return self._held[1]
        top = row * self.tile[0]
        height = min(self.tile[0], self.height - top)
        self._held = None  # free it before decoding the next
        pixels = np.zeros((height, self.width, 3), np.uint8)
        for left in range(0, self.width, self.tile[1]):
            width = min(self.tile[1], self.width - left)
            if not self.absent(top, top + height, left, left + width):
                pixels[:, left : left + width] = self._window(top, left, height, width)
        self._held = (row, pixels)
        return pixels

    def _window(self, top: int, left: int, height: int, width: int) -> Pixels:
        """Pixels of a window: uint8 [H, W, 3], or [H, W, 1] for grey. Bands in planes of their own are read if used."""
        used = (3 if self.bands >= 3 else 1) if self.tiles.planes > 1 else self.bands
        return self._rgb(self.tiles.window(top, left, height, width, used))

    def _rgb(self, stored_HWS: NDArray[Any]) -> Pixels:
        """Stored values → uint8 [H, W, 3], or [H, W, 1] for grey."""
        bits, photometric = self.page.bitspersample, self.page.photometric
        if photometric == 3:
            colours = np.asarray(self.page.colormap)
            if colours.max(initial=0) > 255:  # the standard requires 16 bits; some writers store 8
                colours = colours >> 8  # 255 · 257, and 255 · 256 as others write it, are both 255
            return np.asarray(colours.astype(np.uint8).T[stored_HWS[:, :, 0]])
        if stored_HWS.shape[2] in (2, 4) and stored_HWS.size:
            unused = stored_HWS[:, :, -1]
            lowest, highest = int(unused.min()), int(unused.max())
            before = self._fourth or (lowest, highest)
            self._fourth = min(lowest, before[0]), max(highest, before[1])
        values = stored_HWS[:, :, :3] if self.bands >= 3 else stored_HWS[:, :, :1]
        if bits == 16:
            values = (values.astype(np.uint32) + 128) // 257
        elif bits < 8:
            values = values.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
        values = values.astype(np.uint8, copy=False)
        return np.asarray(255 - values if photometric == 0 else values)

    def absent(self, top: int, bottom: int, left: int, right: int) -> bool:
        """Whether the file holds no pixels of rows [top, bottom) and columns [left, right)."""
        if self.absent_tiles is None:
            return False
        (high, wide) = self.tile
        return bool(self.absent_tiles[top // high : -(-bottom // high), left // wide : -(-right // wide)].all())

    def absent_within(self, top: int, bottom: int) -> list[tuple[slice, slice]]:
        """The areas of rows [top, bottom) without pixels in the file: rows, counted from `top`, and columns."""
        if self.absent_tiles is None:
            return []
        found = []
        (high, wide) = self.tile
        for row in range(top // high, -(-bottom // high)):
            rows = slice(max(row * high - top, 0), min((row + 1) * high, bottom) - top)
            for column in np.flatnonzero(self.absent_tiles[row]):
                found.append((rows, slice(int(column) * wide, int(column + 1) * wide)))
        return found

    @property
    def dropped(self) -> tuple[DroppedContent, ...]:
        """The content of the file that is not used, as far as rows are read."""
        if self._fourth is not None:
            unused = varying_channel(*self._fourth, self.bands)
        else:
            unused = bands_dropped(2 if self.bands == 2 else 4, self.bands) if self.tiles.planes > 1 else ()
        return (*unused, *depth_dropped(self.page.bitspersample), *pages_dropped(self.pages))

    @property
    def place(self) -> dict[int, tuple[int, int, Any]]:
        """The georeference: GeoTIFF tags as number → (type, count, value)."""
        return georeference(self.page)

    @property
    def resolution(self) -> tuple[Any, Any, int] | None:
        """Pixels per unit, across and down, as fractions, and the unit (1 none, 2 inch, 3 cm); None if not stated."""
        return resolution_of(self.page)

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> TiffImage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def georeference(page: Any) -> dict[int, tuple[int, int, Any]]:
    """The GeoTIFF tags of tifffile's page as number → (type, count, value)."""
    tags = (page.tags.get(code) for code in GEO_TAGS)
    return {int(tag.code): (int(tag.dtype), int(tag.count), tag.value) for tag in tags if tag is not None}


def resolution_of(page: Any) -> tuple[Any, Any, int] | None:
    across, down, unit = (page.tags.valueof(code) for code in RESOLUTION_TAGS)
    return (across, down, int(unit or 2)) if across and down else None


def place_in_file(path: Path) -> tuple[dict[int, tuple[int, int, Any]], tuple[Any, Any, int] | None]:
    """As `georeference` and `resolution_of`, of an image file that was decoded; of any but an upright TIFF nothing."""
    if tiff_size(path) is None:
        return {}, None
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        is_upright = page.tags.valueof(ORIENTATION, 1) == 1  # otherwise the decoded image lies in another way
        return (georeference(page), resolution_of(page)) if is_upright else ({}, None)


def refused(path: Path, refusal: Refusal) -> ImageError:
    return ImageError(f"{shown(path)}: {refusal}")
