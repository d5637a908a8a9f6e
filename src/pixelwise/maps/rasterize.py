"""Polygons in pixels of a raster → class ids or object numbers of a part of it, to the pixel as GDAL burns them.

Centre: a pixel whose centre lies inside. All touched: every pixel that a polygon meets. Holes stay free; later
polygons lie above earlier ones, as with gdal_rasterize.

Shapes: H, W height and width of the part; N polygons.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import MissingExtraError


def burn(
    polygons: NDArray[Any],
    values: NDArray[np.int64],
    window: tuple[int, int, int, int],
    background: int,
    *,
    all_touched: bool = False,
) -> NDArray[np.uint32]:
    """Write each polygon's value into its pixels.

    Args:
        polygons: [N] in (column, row) of the whole raster.
        values: [N] of 0 to 2³² − 1.
        window: top, left, height, width of the part, in pixels.
        background: of pixels in no polygon.

    Returns:
        [H, W].
    """
    try:
        import shapely
        from rasterio.features import rasterize
        from rasterio.transform import Affine
    except ModuleNotFoundError as error:
        raise MissingExtraError("rasterio, which draws polygons,", "geo") from error
    top, left, height, width = window
    if not len(polygons):
        return np.full((height, width), background, np.uint32)
    # Upwards, as on a map: GDAL decides by the turn of a ring whether a pixel whose centre lies on its edge is inside.
    upwards = shapely.transform(polygons, lambda points: points * [1, -1])
    shapes = zip(upwards.tolist(), values.tolist(), strict=True)
    place = Affine(1, 0, left, 0, -1, -top)
    drawn: NDArray[np.uint32] = rasterize(
        shapes, (height, width), fill=background, transform=place, all_touched=all_touched, dtype="uint32"
    )
    return drawn
