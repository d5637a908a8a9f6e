"""Scores on a coarse grid → labels at every pixel, along the image's own edges.

Fast guided filter (He and Sun 2015, arXiv:1505.00996): around each place of the grid, every class's score is fitted as
a linear function of the image's brightness; the functions are interpolated to all pixels, where the full-size image
then decides.

Shapes: H, W the size of the labels; h, w that of the grid; K classes.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.labelling.pixel_features import Values

RADIUS = 1  # places of the grid around one
EPSILON = 2e-4  # of the guide's variance, for values of 0–1: weaker edges do not count


def best_of(scores_Khw: Values, guide_HW: Values) -> NDArray[np.intp]:
    """The number of the best class at every pixel: [H, W].

    Args:
        scores_Khw: of each class on a grid that covers the image.
        guide_HW: the image's brightness, 0–1, at the size of the labels.
    """
    height, width = guide_HW.shape
    small_hw: Any = cv2.resize(guide_HW, scores_Khw.shape[:0:-1], interpolation=cv2.INTER_AREA)
    mean = box(small_hw)
    variance = box(small_hw * small_hw) - mean * mean + EPSILON
    best: Values = np.full((height, width), -np.inf, np.float32)
    result = np.zeros((height, width), np.uint8)
    for number, score_hw in enumerate(scores_Khw):
        average = box(score_hw)
        slope: Values = (box(score_hw * small_hw) - average * mean) / variance
        slope, offset = box(slope), box(average - slope * mean)
        score_HW: Values = cv2.resize(slope, (width, height)) * guide_HW + cv2.resize(offset, (width, height))
        higher = score_HW > best
        result[higher] = number
        np.maximum(best, score_HW, out=best)
    return result.astype(np.intp)


def box(values_hw: Values) -> Values:
    side = 2 * RADIUS + 1
    return np.asarray(cv2.boxFilter(values_hw, -1, (side, side)), np.float32)
