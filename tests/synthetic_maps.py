"""A small map for tests: a GeoTIFF and polygons over it, written with GDAL's own bindings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from numpy.typing import NDArray

Affine = rasterio.Affine
UTM = Affine(0.5, 0, 500_000.25, 0, -0.5, 5_300_000.75)  # exact in binary: so are the places of pixels' centres
SIZE = (90, 120)  # height, width


def write_raster(
    path: Path, transform: Any = UTM, crs: Any = "EPSG:32632", pixels: NDArray[Any] | None = None, **more: Any
) -> Path:
    """`pixels`: [bands, H, W]; default: 3 bands of noise, 8 bits."""
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 256, (3, *SIZE), np.uint8)
    bands, height, width = pixels.shape
    profile = {"driver": "GTiff", "width": width, "height": height, "count": bands, "dtype": pixels.dtype} | more
    with rasterio.open(path, "w", transform=transform, crs=crs, **profile) as file:
        file.write(pixels)
    return path


def blobs(number: int, transform: Any = UTM, size: tuple[int, int] = SIZE, seed: int = 1) -> list[Any]:
    """Polygons in map coordinates: circles, some with a hole, and boxes.

    The corners of boxes lie on centres of pixels, where these are exact, and beside them on a turned raster.
    """
    corner = 0.5 if transform.b == 0 else 0.4
    random = np.random.default_rng(seed)
    found: list[Any] = []
    for i in range(number):
        x, y = random.uniform(0, size[1]), random.uniform(0, size[0])
        radius = random.uniform(2, 10)
        if i % 3 == 0:
            x, y, radius = int(x) + corner, int(y) + corner, int(radius)
            one = shapely.box(x - radius, y - radius, x + radius, y + radius)
        else:
            one = shapely.Point(x, y).buffer(radius)
            one = one.difference(shapely.Point(x + 1, y).buffer(radius / 2)) if i % 3 == 1 else one
        found.append(shapely.transform(one, lambda p: np.stack(transform @ (p[:, 0], p[:, 1]), axis=1)))
    return found


def write_shapes(path: Path, shapes: list[Any], crs: str | None = "EPSG:32632", **columns: list[Any]) -> Path:
    driver = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile"}[path.suffix]
    values = [np.array(column, None if not isinstance(column[0], str) else object) for column in columns.values()]
    pyogrio.raw.write(
        path, shapely.to_wkb(shapes), values, list(columns), geometry_type="Unknown" if driver != "ESRI Shapefile" else
        "Polygon", crs=crs, driver=driver,
    )  # fmt: skip
    return path
