"""Blank areas: where a picture is plain white or black because nothing was recorded, though its mask goes on.

Aerial photos and maps are cut to squares, and what the flight missed is white; masks drawn from other sources have
roads and houses there all the same. Nobody could learn those labels from a white area, so training takes the most
frequent class of the area for all of it: the best that any model can say there.

A saturated sky and the black around a microscope's field are plain too. Their labels are of one class, so they stay.

Shapes: H, W height and width in pixels; N bands; R rows of a strip.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.records import VOID, Labels, Raster

LEAST_SHARE = 0.01  # of the image: a smaller area is a reflection or a shadow
EDGE_PX = 3  # along its edge, sloppy outlines of what lies beside it
SECOND_CLASS = 0.003  # share of an area's labels that are not of its most frequent class, from which they are structure
BLANKS = (0, 255)
STRIP_PIXELS = 1 << 20
CV_BANDS = 4  # that OpenCV compares at once, ten times as fast


def labels_without_structure_in_blanks(image_HWN: Raster, mask_HW: Labels) -> tuple[Labels, float]:
    """Labels with one class in each blank area, and the share of the pixels in areas that had several.

    Args:
        image_HWN: images of other types than uint8 have no-data values instead, and are left as they are.

    Example:
        >>> import numpy as np
        >>> image = np.full((40, 40, 3), 255, np.uint8)
        >>> image[:, :20] = 90
        >>> mask = np.zeros((40, 40), np.uint8)
        >>> mask[18:22] = 1  # a road that goes on where there is no picture
        >>> labels, share = labels_without_structure_in_blanks(image, mask)
        >>> share, int(labels[20, 10]), int(labels[20, 30])
        (0.5, 1, 0)
    """
    if image_HWN.dtype != np.uint8:
        return mask_HW, 0.0
    labels_HW, blank_pixels = mask_HW, 0
    for value in BLANKS:
        blank_HW = equal_to(image_HWN, value)
        if blank_HW.mean() < LEAST_SHARE:
            continue
        _, areas_HW, stats, _ = cv2.connectedComponentsWithStats(blank_HW, connectivity=4)
        large = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= LEAST_SHARE * mask_HW.size) + 1
        inner_HW = cv2.erode(blank_HW, np.ones((2 * EDGE_PX + 1,) * 2, np.uint8), borderValue=1)
        for area in large:
            here_HW = areas_HW == area
            counts = np.bincount(mask_HW[here_HW & (inner_HW > 0)], minlength=256)
            class_id = structure_class(counts)
            if class_id is not None:
                labels_HW = np.where(here_HW & (labels_HW != VOID), np.uint8(class_id), labels_HW)
                blank_pixels += int(stats[area, cv2.CC_STAT_AREA])
    return labels_HW, blank_pixels / mask_HW.size


def structure_class(counts: NDArray[np.int64]) -> int | None:
    """The most frequent class of an area, from how often each label occurs; None: all of it is of one class."""
    labelled = counts[:VOID]
    is_structure = labelled.sum() - labelled.max() >= max(SECOND_CLASS * labelled.sum(), 1)
    return int(labelled.argmax()) if is_structure else None


def equal_to(image_HWN: Raster, value: int) -> NDArray[np.uint8]:
    """1 where all bands have this value [H, W], in strips: a comparison takes a byte a value."""
    if image_HWN.shape[2] <= CV_BANDS:
        bound = (value,) * CV_BANDS
        return np.asarray(cv2.inRange(np.ascontiguousarray(image_HWN), bound, bound), np.uint8) & np.uint8(1)
    rows = max(STRIP_PIXELS // image_HWN.shape[1], 1)
    strips = [
        (image_HWN[top : top + rows] == value).all(axis=2).astype(np.uint8)
        for top in range(0, image_HWN.shape[0], rows)
    ]
    return np.concatenate(strips)
