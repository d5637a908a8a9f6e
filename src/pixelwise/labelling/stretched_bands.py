"""The bands of a part of an image in comparable units, for tools that look for edges: any type, any number of bands.

Shapes: H, W height and width in pixels; N bands.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Pixels, Raster

SAMPLED = 1 << 16  # pixels by which ranges and colour axes are measured
ENDS = (0.5, 99.5)  # percentiles that become 0 and 1

Bands01 = NDArray[np.float32]  # [H, W, N], 0–1


def stretched_bands(image_HWN: Raster) -> Bands01:
    """Each band stretched to 0–1 from the 0.5th to the 99.5th percentile of its values here.

    Values without data (NaN, infinite) become the band's median. A band of one value becomes 0.

    Args:
        image_HWN: uint8, uint16 or float32 [H, W, N].

    Returns:
        float32 [H, W, N].
    """
    height, width, count = image_HWN.shape
    step = max(height * width // SAMPLED, 1)
    found = np.empty((height, width, count), np.float32)
    for band in range(count):
        values = np.array(image_HWN[:, :, band], np.float32)
        known = np.isfinite(values)
        sample = values[known][::step] if not known.all() else values.reshape(-1)[::step]
        if not sample.size:
            found[:, :, band] = 0
            continue
        low, median, high = np.percentile(sample, [ENDS[0], 50, ENDS[1]])
        values[~known] = median
        if not low < high:  # a few values stand out of a band of one value, or none do
            low, high = float(values.min()), float(values.max())
        values -= np.float32(low)
        values *= np.float32(1 / (high - low) if low < high else 0)
        np.clip(values, 0, 1, out=found[:, :, band])
    return found


def three_channels(image_HWN: Raster) -> Pixels:
    """An 8-bit picture that keeps the contrast of all bands, for algorithms that take no other: uint8 [H, W, 3].

    One band is repeated, two get their mean as the third, three stay, and of more the three principal components are
    taken.
    """
    bands_HWN = stretched_bands(image_HWN)
    height, width, count = bands_HWN.shape
    if count == 1:
        bands_HWN = np.repeat(bands_HWN, 3, axis=2)
    elif count == 2:
        bands_HWN = np.dstack([bands_HWN, bands_HWN.mean(axis=2)])
    elif count > 3:
        rows = bands_HWN.reshape(-1, count)
        sample = rows[:: max(len(rows) // SAMPLED, 1)]
        _, axes = np.linalg.eigh(np.cov(sample, rowvar=False))
        components = rows @ axes[:, :-4:-1].astype(np.float32)
        low, high = np.percentile(components[:: max(len(rows) // SAMPLED, 1)], ENDS, axis=0)
        scale = 1 / max(float((high - low).max()), 1e-6)  # one for all: noise stays small beside contrast
        bands_HWN = np.clip((components - low) * scale, 0, 1).astype(np.float32).reshape(height, width, 3)
    return np.asarray(cv2.convertScaleAbs(bands_HWN, alpha=255), np.uint8)
