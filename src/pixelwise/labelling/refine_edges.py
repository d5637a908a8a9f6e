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

from pixelwise.labelling.patch import Mask
from pixelwise.labelling.pixel_features import Values

RADIUS = 1  # places of the grid around one
SPECK_PX = 30  # smaller regions are specks, if they are unsure everywhere
SURE = 1.8  # difference of the two best scores, as logarithms of probabilities
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


def without_specks(scores_Khw: Values, drawn_hw: Mask, stride: int) -> Values:
    """Scores that give specks to the next best class: small regions without a stroke and without a sure place.

    Args:
        scores_Khw: of each class on a grid.
        drawn_hw: places with strokes.
        stride: pixels between places.
    """
    best_hw = scores_Khw.argmax(axis=0)
    result = scores_Khw
    for number in np.unique(best_hw) if len(scores_Khw) > 1 else ():
        count, parts_hw, facts, _ = cv2.connectedComponentsWithStats((best_hw == number).astype(np.uint8))
        small = facts[:, cv2.CC_STAT_AREA] * stride * stride < SPECK_PX
        small[0] = False  # the other classes
        small[parts_hw[drawn_hw]] = False
        inside_hw = small[parts_hw]
        if not inside_hw.any():
            continue
        second, first = np.partition(scores_Khw[:, inside_hw], -2, axis=0)[-2:]
        parts = parts_hw[inside_hw]
        surest = np.zeros(count, np.float32)
        np.maximum.at(surest, parts, first - second)
        unsure = surest[parts] < SURE
        if result is scores_Khw:
            result = scores_Khw.copy()
        result[number, inside_hw] -= np.where(unsure, 2 * (first - second), 0)
    return result


def box(values_hw: Values) -> Values:
    side = 2 * RADIUS + 1
    return np.asarray(cv2.boxFilter(values_hw, -1, (side, side)), np.float32)
