"""Where the pixels of an image lie on the earth: its coordinate reference system and the place of each pixel.

    GeoTIFF, COG                        from the file's own tags, where they name an EPSG code; no extra is needed
    GeoTIFF with other definitions,     by GDAL: extra `geo`
    JPEG 2000, VRT, world files

Columns and rows count from the outer corner of the top left pixel: its centre is (0.5, 0.5).

Formats: OGC 19-008r4, GeoTIFF 1.1; gdal.org/drivers/raster/gtiff.html (tags 42112 and 42113).

Shapes: N points, each (x, y) or (column, row).
"""

from __future__ import annotations

import html
import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ImageError
from pixelwise.images.band_names import GDAL_METADATA, GDAL_NO_DATA, ITEM, attributes_of
from pixelwise.images.files import Refusal, read_head, shown
from pixelwise.images.tiff_header import (
    HEADS,
    HEIGHT,
    ORIENTATION,
    SAMPLES,
    WIDTH,
    Directory,
    TiffFile,
    tag_numbers,
    tag_text,
    tiff_at,
)
from pixelwise.maps.gdal_files import JPEG2000_HEADS, has_sidecar, is_vrt, open_with_gdal

Affine6 = tuple[float, float, float, float, float, float]
Points = NDArray[np.float64]  # [N, 2]
SCALE, TIE_POINTS, MATRIX, GEO_KEYS = 33550, 33922, 34264, 34735  # tags
MODEL_TYPE, RASTER_TYPE, GEOGRAPHIC_CODE, PROJECTED_CODE = 1024, 1025, 2048, 3072  # GeoTIFF's keys
ANGULAR_UNIT, LINEAR_UNIT, DEGREE, METRE = 2054, 3076, 9102, 9001
PROJECTED, GEOGRAPHIC, PIXEL_IS_POINT = 1, 2, 2
OWN_DEFINITION = 32767  # instead of an EPSG code
HEAD_BYTES = 1024


@dataclass(frozen=True)
class Grid:
    """Where the pixels of an image lie: x = a·column + b·row + c, y = d·column + e·row + f."""

    crs: str | None  # "EPSG:32632", or WKT where it has no such code; None: not stated
    transform: Affine6  # a, b, c, d, e, f
    size: tuple[int, int]  # height, width
    nodata: float | None = None
    scale: tuple[float, ...] = ()  # for each band; the measured value is stored · scale + offset
    offset: tuple[float, ...] = ()

    @property
    def scale_in_words(self) -> str:
        """ "scale 0.0001 and offset 0"; "" if stored values are the measured ones."""
        if set(self.scale) <= {1.0} and set(self.offset) <= {0.0}:
            return ""
        scales, offsets = ([f"{one:g}" for one in dict.fromkeys(values)] for values in (self.scale, self.offset))
        return f"scale {', '.join(scales[:3])} and offset {', '.join(offsets[:3])}"

    def to_map(self, places_N2: Points) -> Points:
        """(column, row) → (x, y)."""
        a, b, c, d, e, f = self.transform
        columns, rows = places_N2[:, 0], places_N2[:, 1]
        return np.stack([a * columns + b * rows + c, d * columns + e * rows + f], axis=1)

    def to_pixels(self, points_N2: Points) -> Points:
        """(x, y) → (column, row)."""
        a, b, c, d, e, f = self.transform
        x, y = points_N2[:, 0], points_N2[:, 1]
        if b == d == 0:  # both as GDAL's GDALInvGeoTransform, so that corners on a pixel's centre fall on one side
            return np.stack([-c / a + x * (1 / a), -f / e + y * (1 / e)], axis=1)
        part = 1 / (a * e - b * d)
        columns = (b * f - c * e) * part + x * (e * part) + y * (-b * part)
        rows = (-a * f + c * d) * part + x * (-d * part) + y * (a * part)
        return np.stack([columns, rows], axis=1)

    def window(self, top: int, left: int, height: int, width: int) -> Grid:
        """The grid of a part of the image."""
        a, b, c, d, e, f = self.transform
        moved = (a, b, a * left + b * top + c, d, e, d * left + e * top + f)
        return replace(self, transform=moved, size=(height, width))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The lowest and highest coordinates of its corners: x, y, x, y."""
        height, width = self.size
        corners = self.to_map(np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64))
        (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
        return float(left), float(bottom), float(right), float(top)

    @property
    def pixel_sides(self) -> tuple[float, float]:
        """The length of a pixel along its column and along its row (height, width), in units of the CRS."""
        a, b, _, d, e, _ = self.transform
        return math.hypot(b, e), math.hypot(a, d)

    @property
    def pixel_area(self) -> float:
        """In square units of the CRS."""
        a, b, _, d, e, _ = self.transform
        return abs(a * e - b * d)


def grid_of(path: Path) -> Grid | None:
    """Where the pixels of an image file lie; None if the file does not say.

    Raises:
        ImageError: it cannot be read, or it places its pixels by control points alone.
        MissingExtraError: only GDAL can tell, and the extra `geo` is not installed.
    """
    try:
        head = read_head(path, HEAD_BYTES)
        if head[:4] in HEADS:
            with tiff_at(path) as file:
                found = _of_tiff(file)
            if found is not None and found.crs != "":
                return found
            needs_gdal = found is not None or has_sidecar(path)
        else:
            needs_gdal = head.startswith(JPEG2000_HEADS) or is_vrt(head) or has_sidecar(path)
    except (Refusal, OSError, ValueError, OverflowError, struct.error) as error:
        raise ImageError(f"{shown(path)}: its place on the earth cannot be read: {error}") from error
    if not needs_gdal:
        return None
    with open_with_gdal(path) as opened:
        return grid_of_gdal(opened, path)


def grid_of_gdal(opened: Any, path: Path) -> Grid | None:
    """The grid of rasterio's dataset; None if it has neither a place nor a CRS. Raises ImageError."""
    placed = not opened.transform.is_identity
    if not placed and opened.gcps[0]:
        raise _by_control_points(path)
    if not placed and opened.crs is None:
        return None
    a, b, c, d, e, f = (float(one) for one in tuple(opened.transform)[:6])
    grid = Grid(
        _crs_text(opened.crs),
        (a, b, c, d, e, f),
        (int(opened.height), int(opened.width)),
        None if opened.nodata is None else float(opened.nodata),
        tuple(float(one) for one in opened.scales),
        tuple(float(one) for one in opened.offsets),
    )
    return _sound(grid, path)


def _crs_text(crs: Any) -> str | None:
    if not crs:
        return None
    authority = crs.to_authority(confidence_threshold=100)
    return ":".join(authority) if authority else str(crs.to_wkt())


def _of_tiff(file: TiffFile) -> Grid | None:
    """From tags; with the CRS "" where only GDAL can tell it. Raises struct.error, Refusal, ImageError."""
    page = file.first()
    scale, ties = tag_numbers(file, page, SCALE), tag_numbers(file, page, TIE_POINTS)
    matrix, keys = tag_numbers(file, page, MATRIX), _keys(file, page)
    if len(scale) >= 2 and scale[0] and scale[1] and len(ties) >= 6:
        across, down = scale[0], -abs(scale[1])
        transform = (across, 0.0, ties[3] - ties[0] * across, 0.0, down, ties[4] - ties[1] * down)
    elif len(matrix) == 16:
        transform = (matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7])
    else:
        unread = TIE_POINTS in page.tags or keys  # control points, or a CRS without a place
        return Grid("", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0, 0)) if unread else None
    if keys.get(RASTER_TYPE) == PIXEL_IS_POINT:  # the place is that of a pixel's centre
        a, b, c, d, e, f = transform
        transform = (a, b, c - (a + b) / 2, d, e, f - (d + e) / 2)
    size = file.number(page, HEIGHT, 0), file.number(page, WIDTH, 0)
    if file.number(page, ORIENTATION, 1) != 1:
        what = "it is stored rotated or mirrored (an orientation tag), so that its pixels have two places."
        raise Refusal("turned", what, "Save it upright: gdal_translate -of COG IN OUT.tif")
    if not _invertible(transform):
        return Grid("", transform, size)
    bands = min(file.number(page, SAMPLES, 1), 1 << 16)
    return Grid(_epsg(keys), transform, size, _no_data(file, page), *_scales(file, page, bands))


def _keys(file: TiffFile, page: Directory) -> dict[int, int]:
    numbers = [int(number) for number in tag_numbers(file, page, GEO_KEYS)]
    return {numbers[at]: numbers[at + 3] for at in range(4, len(numbers) - 3, 4) if numbers[at + 1] == 0}


def _epsg(keys: dict[int, int]) -> str | None:
    """ "EPSG:32632"; "" if the tags define the CRS in another way; None without any."""
    if not keys or keys.get(MODEL_TYPE) is None:
        return None if not set(keys) - {MODEL_TYPE, RASTER_TYPE} else ""
    if keys[MODEL_TYPE] == PROJECTED:
        code, usual = keys.get(PROJECTED_CODE, 0), keys.get(LINEAR_UNIT, METRE) == METRE
    else:
        code, usual = keys.get(GEOGRAPHIC_CODE, 0), keys.get(ANGULAR_UNIT, DEGREE) == DEGREE
    plain = keys[MODEL_TYPE] in (PROJECTED, GEOGRAPHIC) and 1024 <= code < OWN_DEFINITION and usual
    return f"EPSG:{code}" if plain else ""


def _no_data(file: TiffFile, page: Directory) -> float | None:
    try:
        return float(tag_text(file, page, GDAL_NO_DATA).strip("\0 \t\r\n"))
    except ValueError:
        return None


def _scales(file: TiffFile, page: Directory, bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    found = {"scale": [1.0] * bands, "offset": [0.0] * bands}
    for attributes, text in ITEM.findall(tag_text(file, page, GDAL_METADATA)):
        names = attributes_of(attributes)
        values, sample = found.get(names.get("role", "")), names.get("sample", "")
        if values is not None and sample.isdigit() and int(sample) < bands:
            try:
                values[int(sample)] = float(html.unescape(text))
            except ValueError:
                continue
    return tuple(found["scale"]), tuple(found["offset"])


def _invertible(transform: Affine6) -> bool:
    a, b, _, d, e, _ = transform
    whole = a * e - b * d
    return all(math.isfinite(one) for one in transform) and math.isfinite(whole) and whole != 0


def _sound(grid: Grid, path: Path) -> Grid:
    if not _invertible(grid.transform):
        what = f"its pixels have no area on the earth: its transform is {grid.transform}."
        raise ImageError(f"{shown(path)}: {what} Correct it, for example with gdal_edit -a_ullr.")
    return grid


def _by_control_points(path: Path) -> ImageError:
    what = "places its pixels by ground control points, not by a transform"
    return ImageError(f"{shown(path)}: {what}. Warp it first: gdalwarp {path.name} OUT.tif")
