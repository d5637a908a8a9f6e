"""The rows of many images on one grid. Only the images that a row of tiles crosses are open.

Shapes: H, W the size of all of them together; N bands; R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ImageError
from pixelwise.images.dropped_content import DroppedContent
from pixelwise.images.files import shown
from pixelwise.images.no_data import without_data
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
        self.found: dict[DroppedContent, None] = {}
        self.left_out: dict[MosaicTile, list[tuple[slice, slice]]] = {}  # areas of an image that its file does not have
        first = mosaic.tiles[0]
        place, self.resolution = place_in_file(first.path)
        self.place = {code: moved(code, tag, first) for code, tag in place.items()}

    def rows(self, first: int, stop: int) -> Raster:
        """Rows [first, stop): [R, W, N]; 0 where there is no image, NaN where values are float32."""
        empty = np.nan if self.bands.dtype == "float32" else 0
        out = np.full((stop - first, self.width, len(self.bands)), empty, self.bands.dtype)
        for tile, top, bottom in self.crossing(first, stop):
            image = self.image_of(tile)
            pixels = image.rows(top - tile.top, bottom - tile.top)
            here = out[top - first : bottom - first, tile.left : tile.left + tile.width]
            missing = without_data(pixels)
            for rows, columns in image.absent_within(top - tile.top, bottom - tile.top):
                missing = np.zeros(pixels.shape[:2], np.bool_) if missing is None else missing
                missing[rows, columns] = True
            if missing is None:
                here[:] = pixels
            else:
                here[~missing] = pixels[~missing]
            self.found |= dict.fromkeys(image.dropped)
        for tile in [tile for tile in self.opened if tile.top + tile.height <= first]:
            self.opened.pop(tile).close()
        return out

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
            self.left_out[tile] = image.absent_within(0, image.height)
        return image

    def crossing(self, first: int, stop: int) -> list[tuple[MosaicTile, int, int]]:
        """The images with pixels in rows [first, stop), and which of these rows they have."""
        cut = ((one, max(one.top, first), min(one.top + one.height, stop)) for one in self.mosaic.tiles)
        return [(one, top, bottom) for one, top, bottom in cut if top < bottom]

    def covered(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.bool_]:
        """The pixels of a window that any image has."""
        found = np.zeros((bottom - top, right - left), np.bool_)
        for one, first, stop in self.crossing(top, bottom):
            begin, end = max(one.left, left), min(one.left + one.width, right)
            if begin < end:
                found[first - top : stop - top, begin - left : end - left] = True
        return found

    def absent(self, top: int, bottom: int, left: int, right: int) -> bool:
        """Whether no image has pixels of rows [top, bottom) and columns [left, right)."""
        return not any(one.left < right and left < one.left + one.width for one, _, _ in self.crossing(top, bottom))

    def absent_within(self, top: int, bottom: int) -> list[tuple[slice, slice]]:
        """The areas of rows [top, bottom) without pixels in any file: rows, counted from `top`, and columns."""
        edges = {top, bottom}
        for _, first, stop in self.crossing(top, bottom):
            edges |= {first, stop}
        found, cuts = [], sorted(edges)
        for begin, end in pairwise(cuts):  # between two edges each row has the same images
            is_covered = np.concatenate([[True], self.covered(begin, begin + 1, 0, self.width)[0], [True]])
            turns = np.flatnonzero(np.diff(is_covered))
            found += [
                (slice(begin - top, end - top), slice(int(left), int(right)))
                for left, right in zip(turns[::2], turns[1::2], strict=True)
            ]
        return found + [area for one in self.crossing(top, bottom) for area in self.left_out_of(*one, top)]

    def left_out_of(self, tile: MosaicTile, first: int, stop: int, top: int) -> Iterator[tuple[slice, slice]]:
        """The areas of rows [first, stop) that an image's file does not have, and no other image covers."""
        others = [one for one, _, _ in self.crossing(first, stop) if one != tile]
        for rows, columns in self.left_out.get(tile, ()):
            begin, end = max(rows.start + tile.top, first), min(rows.stop + tile.top, stop)
            left, right = columns.start + tile.left, min(columns.stop, tile.width) + tile.left
            if begin < end and not any(one.left < right and left < one.left + one.width for one in others):
                yield slice(begin - top, end - top), slice(left, right)

    @property
    def dropped(self) -> tuple[DroppedContent, ...]:
        return tuple(self.found)

    def close(self) -> None:
        for image in self.opened.values():
            image.close()
        self.opened.clear()


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
