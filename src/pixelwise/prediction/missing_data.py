"""Pixels of which an image holds no data: they become void.

Shapes: H, W height and width in pixels; N bands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Raster


def without_data(image_HWN: Raster) -> NDArray[np.bool_] | None:
    """The pixels [H, W] without a finite value in any band; None if there are none."""
    if image_HWN.dtype.kind != "f":
        return None
    missing_HW = ~np.isfinite(image_HWN[:, :, 0])
    for band in range(1, image_HWN.shape[2]):  # band by band: few images miss any
        if not missing_HW.any():
            return None
        missing_HW &= ~np.isfinite(image_HWN[:, :, band])
    return missing_HW if missing_HW.any() else None
