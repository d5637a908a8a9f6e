"""TIFFs of any size and bands, read row by row: only the tiles or strips needed are decoded.

Shapes: H, W height and width in pixels; N bands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.errors import ImageError
from pixelwise.images.band_facts import band_facts
from pixelwise.images.banded_image import BandedImage, numbered
from pixelwise.images.dropped_content import DroppedContent
from pixelwise.images.files import Refusal, shown
from pixelwise.images.input_image import unused_bands
from pixelwise.images.no_data import as_raster, without_sentinels
from pixelwise.images.read_as import chosen, other_bands, positions, read_image_as
from pixelwise.images.tiff import MAX_ROW_BYTES, TiffImage, georeference, resolution_of
from pixelwise.images.tiff_bands import TiffBands
from pixelwise.images.tiff_header import tiff_size
from pixelwise.maps.gdal_files import is_vrt_file, jpeg2000_size
from pixelwise.maps.mosaic import is_mosaic, read_mosaic
from pixelwise.maps.open_raster import MapRows
from pixelwise.prediction.large.mosaic_rows import MosaicRows
from pixelwise.prediction.large.rows_of_image import ArrayImage, RowsOfImage
from pixelwise.prediction.large.tile_plan import bytes_of_pixel
from pixelwise.records import RGB, Bands, Raster


def open_rows(path: Path, bands: Bands) -> RowsOfImage:
    """Open a TIFF, JPEG 2000 or VRT of any size for a model that takes these bands.

    Raises:
        ImageError: none of these, truncated, unsupported, or too large; or it has other bands, which the message names.
    """
    if is_mosaic(path):
        return MosaicRows(read_mosaic(path), bands, open_rows)
    if tiff_size(path) is None and (is_vrt_file(path) or jpeg2000_size(path)):
        return MapRows(path, bands)
    if bands == RGB:
        return rgb_rows(path)
    try:
        tiff = TiffBands(path)
    except Refusal as refusal:
        raise ImageError(f"{shown(path)}: {refusal}") from refusal
    try:
        if tiff.stack.shape:  # pages that are not bands: they cannot be read in part
            return ArrayImage(read_image_as(path, bands))
        return BandedRows(path, tiff, bands)
    except BaseException:
        tiff.close()
        raise


def rgb_rows(path: Path) -> TiffImage:
    """As `open_rows`, of red, green and blue."""
    try:
        return TiffImage(path)
    except ImageError as error:
        refusal = error.__cause__
        if not isinstance(refusal, Refusal) or refusal.kind not in ("bands", "unread-kind"):
            raise
        try:
            facts = band_facts(path)
        except ImageError:
            raise error from refusal
        if facts.may_be_rgb:  # it is another reason than its bands
            raise
        raise other_bands(shown(path), facts.band_names, facts.stored, RGB) from error


class BandedRows:
    """The rows of a TIFF of any bands. Read in order, each tile is decoded once."""

    def __init__(self, path: Path, tiff: TiffBands, bands: Bands) -> None:
        """Raises ImageError: it has other bands, is stored turned, or a row of its tiles is too large."""
        self.path, self.tiff, self.bands = path, tiff, bands
        self.height, self.width = tiff.height, tiff.width
        names = tiff.names or numbered(tiff.bands)
        if positions(names, bands) is None:
            raise other_bands(shown(path), names, tiff.dtype.name, bands)
        if tiff.turn != 1:
            what = "is stored rotated or mirrored (an orientation tag), which cannot be undone row by row"
            raise ImageError(f"{shown(path)}: {what}. Save it upright.")
        tiles = tiff.tiles[0]
        self.step = 1 if all(one.is_plain for one in tiff.tiles) else max(one.part[0] for one in tiff.tiles)
        row_bytes = min(self.step, self.height) * self.width * max(tiff.bands * 4, bytes_of_pixel(bands))
        if row_bytes > MAX_ROW_BYTES:
            raise ImageError(
                f"{shown(path)}: one row of its tiles or strips ({tiles.part[1]}×{tiles.part[0]} pixels each) takes "
                f"{row_bytes:,} bytes in memory; the limit is {MAX_ROW_BYTES:,}. Save it with smaller tiles, for "
                "example: gdal_translate -of COG IN OUT"
            )
        self.dropped: tuple[DroppedContent, ...] = (*tiff.dropped, *unused_bands(names, bands))
        self.place: dict[int, tuple[int, int, Any]] = georeference(tiff.page)
        self.resolution = resolution_of(tiff.page)
        self.held: tuple[int, Raster] | None = None  # the last row of tiles that was decoded

    def rows(self, first: int, stop: int) -> Raster:
        """Rows [first, stop): [rows, W, N], NaN where the file has no data. Raises ImageError: damaged."""
        out = np.empty((stop - first, self.width, len(self.bands)), self.bands.dtype)
        at = first
        while at < stop:
            begin = at // self.step * self.step if self.step > 1 else at
            end = min(begin + self.step, self.height) if self.step > 1 else stop
            upto = min(end, stop)
            out[at - first : upto - first] = self.row_of_tiles(begin, end)[at - begin : upto - begin]
            at = upto
        return out

    def row_of_tiles(self, top: int, bottom: int) -> Raster:
        if self.held is not None and self.held[0] == top and self.step > 1:
            return self.held[1]
        self.held = None  # free it before the next is decoded
        try:
            values, absent = self.tiff.window(top, 0, bottom - top, self.width)
        except Refusal as refusal:
            raise ImageError(f"{shown(self.path)}: {refusal}") from refusal
        raster = as_raster(values, self.tiff.no_data, absent, sparse=self.tiff.is_sparse)
        if self.tiff.no_data is None:
            raster, _ = without_sentinels(raster, values.dtype)
        pixels = chosen(BandedImage(raster, self.tiff.names, (), self.tiff.no_data), self.bands, shown(self.path))
        self.held = (top, pixels)
        return pixels

    def absent(self, top: int, bottom: int, left: int, right: int) -> bool:
        """Whether the file holds no pixels of rows [top, bottom) and columns [left, right)."""
        missing = self.tiff.tiles[0].absent_in(top, left, bottom - top, right - left) if self.tiff.is_sparse else None
        return missing is not None and bool(missing.all())

    def absent_within(self, _top: int, _bottom: int) -> list[tuple[slice, slice]]:
        """Nothing: what the file leaves out is NaN in `rows`."""
        return []

    def close(self) -> None:
        self.tiff.close()
