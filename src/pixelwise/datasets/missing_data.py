"""Pixels without data are unlabelled, whatever the mask says.

Shapes: H, W an image's size; N its bands.
"""

from __future__ import annotations

import numpy as np

from pixelwise.images.no_data import without_data
from pixelwise.records import VOID, Labels, Raster


def void_without_data(image_HWN: Raster, mask_HW: Labels) -> Labels:
    """The labels, VOID where no band has a value (NaN, infinite). A pixel with some of its bands keeps its label."""
    missing_HW = without_data(image_HWN)
    return mask_HW if missing_HW is None else np.where(missing_HW, np.uint8(VOID), mask_HW)
