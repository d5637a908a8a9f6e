"""Write a part of a raster as a GeoTIFF of its own, with its place, bands and no-data value.

Shapes: H, W height and width of the part; B bands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ImageError
from pixelwise.images.files import shown
from pixelwise.maps.chip_plan import Window
from pixelwise.maps.grid import Grid

DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def kept_bands(opened: Any, path: Path) -> list[int]:
    """The numbers, from 1, of the bands that a chip keeps: all but alpha, which says where there is data.

    Raises:
        ImageError: values of a type that no image here has.
    """
    if opened.dtypes[0] not in DTYPES or len(set(opened.dtypes)) > 1:
        kinds = ", ".join(sorted(set(opened.dtypes)))
        raise ImageError(
            f"{shown(path)}: holds {kinds} values; expected one of {', '.join(DTYPES)} for all bands. Convert it: "
            "gdal_translate -ot Float32 -of COG IN OUT.tif"
        )
    bands = [band for band, one in zip(opened.indexes, opened.colorinterp, strict=True) if one.name != "alpha"]
    return bands or list(opened.indexes)


def read_part(opened: Any, bands: list[int], window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The stored values [B, H, W] of a part, and where no band has data [H, W]."""
    from rasterio.windows import Window as Place

    top, left, height, width = window
    place = Place(left, top, width, height)
    pixels = opened.read(bands, window=place)
    missing_HW = (opened.read_masks(bands, window=place) == 0).all(axis=0)
    if pixels.dtype.kind == "f":
        missing_HW |= ~np.isfinite(pixels).any(axis=0)
    return pixels, missing_HW


def write_chip(path: Path, pixels: NDArray[Any], grid: Grid, source: Any, bands: list[int]) -> None:
    """Write a GeoTIFF. `source`: rasterio's dataset, whose names, colours and no-data value are kept."""
    import rasterio

    meaning = [source.colorinterp[band - 1] for band in bands]
    names = [one.name for one in meaning]
    profile = {
        "driver": "GTiff",
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "count": len(bands),
        "dtype": pixels.dtype.name,
        "crs": source.crs,
        "transform": rasterio.Affine(*grid.transform),
        "nodata": source.nodata,
        "compress": "deflate",
        "photometric": "palette"
        if names == ["palette"]
        else "rgb"
        if names[:3] == ["red", "green", "blue"]
        else "minisblack",
        "alpha": "no",
    }
    with rasterio.open(path, "w", **profile) as out:
        out.write(pixels)
        out.descriptions = tuple(source.descriptions[band - 1] for band in bands)
        scales, offsets = ([all_[band - 1] for band in bands] for all_ in (source.scales, source.offsets))
        if set(scales) != {1.0} or set(offsets) != {0.0}:
            out.scales, out.offsets = scales, offsets
        if names == ["palette"]:
            out.write_colormap(1, source.colormap(bands[0]))
