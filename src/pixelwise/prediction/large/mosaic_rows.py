"""The rows of many images on one grid. Only the images that a row of tiles crosses are open.

Shapes: H, W the size of all of them together; N bands; R rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ImageError
from pixelwise.images.declared_no_data import DeclaredNoData, declared_no_data
from pixelwise.images.dropped_content import DroppedContent
from pixelwise.images.files import shown
from pixelwise.images.no_data import areas_of, without_data
from pixelwise.images.read_as import read_image_as
from pixelwise.images.tiff import place_in_file
from pixelwise.images.tiff_header import tiff_size
from pixelwise.maps.gdal_files import is_vrt_file
from pixelwise.maps.grid import MATRIX, TIE_POINTS
from pixelwise.maps.mosaic import MapMosaic, MosaicTile
from pixelwise.prediction.large.rows_of_image import ArrayImage, RowsOfImage
from pixelwise.records import Bands, Raster

OpenRows = Callable[[Path, Bands], RowsOfImage]


class MosaicRows:
    """All images of a mosaic as one. The next row of tiles is read in order, from top to bottom."""

    def __init__(self, mosaic: MapMosaic, bands: Bands, open_rows: OpenRows) -> None:
        """`open_rows` opens a TIFF or VRT. Raises ImageError: the first image cannot be read, or has other bands."""
        self.mosaic, self.bands, self.open_rows = mosaic, bands, open_rows
        self.height, self.width = mosaic.grid.size
        self.opened: dict[MosaicTile, RowsOfImage] = {}
        self.declared: dict[MosaicTile, DeclaredNoData] = {}  # of those images that declare a no-data value
        self.found: dict[DroppedContent, None] = {}
        self.lock = threading.Lock()  # rows are read in another thread than what is absent
        self.empty: dict[int, NDArray[np.uint8]] = {}  # rows that were read with pixels of no image, one bit per pixel
        first = mosaic.tiles[0]
        place, self.resolution = place_in_file(first.path)
        self.place = {code: moved(code, tag, first) for code, tag in place.items()}

    def rows(self, first: int, stop: int) -> Raster:
        """Rows [first, stop): [R, W, N]; 0 where there is no image, NaN where values are float32."""
        value = np.nan if self.bands.dtype == "float32" else 0
        out = np.full((stop - first, self.width, len(self.bands)), value, self.bands.dtype)
        empty = np.ones((stop - first, self.width), np.bool_)
        for tile, top, bottom in self.crossing(first, stop):
            image = self.image_of(tile)
            pixels = image.rows(top - tile.top, bottom - tile.top)
            here = slice(top - first, bottom - first), slice(tile.left, tile.left + tile.width)
            missing = self.missing(tile, image, top - tile.top, pixels)
            if missing is None:
                out[here], empty[here] = pixels, False
            else:
                out[here][~missing] = pixels[~missing]
                empty[here] &= missing
            self.found |= dict.fromkeys(image.dropped)
        with self.lock:
            self.empty |= {first + int(y): np.packbits(empty[y]) for y in np.flatnonzero(empty.any(1))}
        for tile in [tile for tile in self.opened if tile.top + tile.height <= first]:
            self.close_image(tile)
        return out

    def missing(self, tile: MosaicTile, image: RowsOfImage, top: int, pixels: Raster) -> NDArray[np.bool_] | None:
        """Where an image has no data in these rows of it, from `top`, as pixels or its file say it; None: nowhere."""
        missing = np.zeros(pixels.shape[:2], np.bool_)
        for rows, columns in image.absent_within(top, top + len(pixels)):
            missing[rows, columns] = True
        declared = self.declared[tile].window(top, 0, len(pixels), tile.width) if tile in self.declared else None
        for more in (without_data(pixels), declared):
            if more is not None:
                missing |= more
        return missing if missing.any() else None

    def image_of(self, tile: MosaicTile) -> RowsOfImage:
        image = self.opened.get(tile)
        if image is None:
            by_rows = tiff_size(tile.path) is not None or is_vrt_file(tile.path)
            image = (
                self.open_rows(tile.path, self.bands) if by_rows else ArrayImage(read_image_as(tile.path, self.bands))
            )
            if (image.height, image.width) != (tile.height, tile.width):
                image.close()
                raise ImageError(f"{shown(tile.path)}: it has changed since the run began. Start over: --fresh")
            self.opened[tile] = image
            declared = declared_no_data(tile.path, self.bands) if self.bands.dtype == "uint8" else None
            if declared is not None:  # others hold NaN
                self.declared[tile] = declared
        return image

    def crossing(self, first: int, stop: int) -> list[tuple[MosaicTile, int, int]]:
        """The images with pixels in rows [first, stop), and which of these rows they have."""
        cut = ((one, max(one.top, first), min(one.top + one.height, stop)) for one in self.mosaic.tiles)
        return [(one, top, bottom) for one, top, bottom in cut if top < bottom]

    def absent(self, top: int, bottom: int, left: int, right: int) -> bool:
        """Whether no image has pixels of rows [top, bottom) and columns [left, right)."""
        return not any(one.left < right and left < one.left + one.width for one, _, _ in self.crossing(top, bottom))

    def absent_within(self, top: int, bottom: int) -> list[tuple[slice, slice]]:
        """The areas of rows [top, bottom), which were read, without data in any image: rows, counted from `top`, and
        columns. Each row is asked for once."""
        with self.lock:
            rows = {y: self.empty.pop(y) for y in range(top, bottom) if y in self.empty}
        empty = ((y, np.unpackbits(bits, count=self.width).view(np.bool_)) for y, bits in rows.items())
        return [area for y, row in empty for area in areas_of(row[None], y - top)]

    @property
    def dropped(self) -> tuple[DroppedContent, ...]:
        return tuple(self.found)

    def close_image(self, tile: MosaicTile) -> None:
        self.opened.pop(tile).close()
        if declared := self.declared.pop(tile, None):
            declared.tiff.close()

    def close(self) -> None:
        for tile in list(self.opened):
            self.close_image(tile)


def moved(code: int, tag: tuple[int, int, Any], first: MosaicTile) -> tuple[int, int, Any]:
    """A GeoTIFF tag of the first image as one of the mosaic, whose pixels are counted from elsewhere."""
    kind, number, value = tag
    if code == TIE_POINTS:  # column, row, 0, x, y, z each
        points = np.array(value, np.float64).reshape(-1, 6)
        points[:, :2] += (first.left, first.top)
        return kind, number, tuple(points.ravel().tolist())
    if code == MATRIX:
        matrix = np.array(value, np.float64).reshape(4, 4)
        matrix[:, 3] -= matrix[:, 0] * first.left + matrix[:, 1] * first.top
        return kind, number, tuple(matrix.ravel().tolist())
    return tag
