"""Pixels without data are unlabelled, whatever the mask says.

Shapes: H, W an image's size; N its bands.
"""

from __future__ import annotations

import numpy as np

from pixelwise.records import VOID, Labels, Raster


def void_without_data(image_HWN: Raster, mask_HW: Labels) -> Labels:
    """The labels, VOID where no band has a value (NaN, infinite). A pixel with some of its bands keeps its label."""
    if image_HWN.dtype != np.float32:
        return mask_HW
    missing_HW = ~np.isfinite(image_HWN[:, :, 0])
    for band in range(1, image_HWN.shape[2]):
        if not missing_HW.any():
            return mask_HW
        missing_HW &= ~np.isfinite(image_HWN[:, :, band])
    return np.where(missing_HW, np.uint8(VOID), mask_HW)
