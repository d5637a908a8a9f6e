"""How near two objects of one class are to every pixel: the truth of the borders that a network learns.

It is made of each crop after it was resized, mirrored and turned: a border is as wide at every magnification, and no
pixel of it is mixed or lost.

Shapes: S separated classes, h and w the size of a crop at the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.objects.object_records import ObjectMap
from pixelwise.records import VOID, Labels

BORDER_PX = 2  # a border's pixels see two objects within as many pixels
GAP_PX = 6  # wider gaps count as much as any other pixels
UNKNOWN = 255  # nobody knows whether there is a border: void, unnumbered, or at the edge of a crop

MOST_NUMBER = 2**16 - 1
Gaps = NDArray[np.uint8]  # pixels to the second-nearest object, 1 … GAP_PX; 0: more; UNKNOWN
SQUARE, CROSS = np.ones((3, 3), np.uint8), np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def gaps_of(labels_hw: Labels, objects_hw: ObjectMap | None, class_ids: Sequence[int]) -> Gaps:
    """How near two objects of each class are to every pixel of a crop, [S, h, w].

    Args:
        labels_hw: class ids at the network's input.
        objects_hw: the object of each pixel, 0: none; None: unknown.
    """
    gaps_Shw = np.full((len(class_ids), *labels_hw.shape), UNKNOWN, np.uint8)
    if objects_hw is None:
        return gaps_Shw
    inner = (slice(BORDER_PX, -BORDER_PX),) * 2  # at the edge, an object just outside is not seen
    for gaps_hw, class_id in zip(gaps_Shw, class_ids, strict=True):
        own_hw = np.where(labels_hw == class_id, objects_hw, 0)
        gaps_hw[inner] = second_nearest(own_hw)[inner]
        gaps_hw[labels_hw == VOID] = UNKNOWN
    return gaps_Shw


def second_nearest(objects_hw: NDArray[np.integer]) -> Gaps:
    """The distance at which each pixel sees a second object, 1 … GAP_PX; 0 where there is none so near.

    Distances are those of an octagon, which grows by a square and a cross in turn: within 1/12 of the true ones. Both
    the largest and the smallest object number spread; where they differ, two objects have met.
    """
    if objects_hw.max(initial=0) >= MOST_NUMBER:  # OpenCV spreads 16 bits
        values, dense = np.unique(objects_hw, return_inverse=True)
        objects_hw = dense.reshape(objects_hw.shape) + int(values[0] > 0)
    largest = objects_hw.astype(np.uint16)
    top = np.uint16(int(largest.max(initial=0)) + 1)
    smallest = np.where(largest > 0, top - largest, 0).astype(np.uint16)
    gaps_hw = np.zeros(objects_hw.shape, np.uint8)
    for distance in range(1, GAP_PX + 1):
        shape = SQUARE if distance % 2 else CROSS
        largest, smallest = (np.asarray(cv2.dilate(each, shape), np.uint16) for each in (largest, smallest))
        met = (largest > 0) & (largest != top - smallest) & (gaps_hw == 0)
        gaps_hw[met] = distance
    return gaps_hw
