"""Images of five bands and of 16-bit grey, and files that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Bands

FIVE = Bands(("blue", "green", "red", "nir", "swir"), "float32", (0.0, 0.0, 0.0, 0.0, -1.0), (0.4, 0.4, 0.5, 0.8, 1.0))
GREY_16 = Bands(("band 1",), "float32", (300.0,), (40_000.0,))


def five_image(seed: int, height: int, width: int, missing: bool = False) -> NDArray[np.float32]:
    """A smooth image of FIVE, float32 [H, W, 5]; `missing`: without data in its upper left eighth."""
    coarse = np.random.default_rng(seed).random((5, 6, 5)).astype(np.float32)
    unit = np.dstack([cv2.resize(coarse[:, :, band], (width, height)) for band in range(5)])
    low, high = np.array(FIVE.low), np.array(FIVE.high)
    values = (low + unit * (high - low)).astype(np.float32)
    if missing:
        values[: height // 4, : width // 2] = np.nan
    return values


def grey_image(seed: int, height: int, width: int) -> NDArray[np.uint16]:
    """A smooth image of GREY_16, uint16 [H, W]."""
    coarse = np.random.default_rng(seed).random((5, 6)).astype(np.float32)
    return (cv2.resize(coarse, (width, height)) * 40_000).astype(np.uint16)


def write_tiff(path: Path, pixels: NDArray[Any], names: tuple[str, ...] = FIVE.names, **options: Any) -> Path:
    """A TIFF of one page, with GDAL's descriptions of its bands."""
    import tifffile

    items = "".join(
        f'<Item name="DESCRIPTION" sample="{place}" role="description">{name}</Item>'
        for place, name in enumerate(names)
    )
    text = f"<GDALMetadata>{items}</GDALMetadata>"
    tags = [(42112, 2, len(text) + 1, text, True)]
    options = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None, "extratags": tags} | options
    tifffile.imwrite(path, pixels, **options)
    return path
