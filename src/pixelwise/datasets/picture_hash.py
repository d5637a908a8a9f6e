"""Small fingerprints of a picture, to detect that two images show the same thing.

Shapes: H, W of an image; h, w of a smaller copy; D = 64, the side of a detail.
"""

from __future__ import annotations

import cv2
import numpy as np

from pixelwise.datasets.masks.inspection import DETAIL_PX
from pixelwise.records import Pixels

SAMPLED_PX = 64  # an image is averaged from about this many pixels per side
GREY = np.array([0.299, 0.587, 0.114], np.float32)


def detail_of(pixels_HW3: Pixels) -> bytes:
    """A small grey image, to detect that two images show the same picture."""
    grey_HW = cv2.cvtColor(np.ascontiguousarray(pixels_HW3), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey_HW, (DETAIL_PX, DETAIL_PX), interpolation=cv2.INTER_AREA).tobytes()


def difference_hash(pixels_hw3: Pixels) -> int:
    """64 bits that stay nearly the same when an image is resized, recompressed or relit.

    Krawetz, "Kind of like that", 2013 (dHash).
    """
    small_89 = cv2.resize(pixels_hw3, (9, 8), interpolation=cv2.INTER_AREA).astype(np.float32) @ GREY
    return int.from_bytes(np.packbits(small_89[:, 1:] > small_89[:, :-1]).tobytes(), "big")
