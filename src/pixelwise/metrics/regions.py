"""Regions: connected pixels of one label, how large they are, and how much of each was found.

Shapes: H, W an image's own size; R regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.records import VOID, Labels

SIZES_PX = (16, 32, 64, 128)  # sides of a square of the region's area; between them lie five sizes
SIZE_NAMES = ("under 16 px", "16 to 32 px", "32 to 64 px", "64 to 128 px", "128 px and more")
FOUND = 0.5  # share of a region's pixels that are right for it to count as found


@dataclass(frozen=True)
class Regions:
    """The true regions of one image; void is none."""

    ids_HW: NDArray[np.int32]  # the region of each pixel
    class_R: NDArray[np.uint8]  # VOID for regions of void, and for 0, which is none
    pixels_R: NDArray[np.int64]
    right_R: NDArray[np.int64]  # pixels that were predicted right


def components(labels_HW: NDArray[np.integer]) -> tuple[int, NDArray[np.int32], NDArray[np.intp]]:
    """Regions of equal labels, neighbours being left, right, above and below.

    All labels at once: on a grid of twice the size, the places between two pixels are set where both have one label,
    and OpenCV finds what hangs together.

    Returns their number, ids from 1 [H, W], and pixels (flat indices) of which every region holds one or more.
    """
    height, width = labels_HW.shape
    grid = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    grid[::2, ::2] = 1
    grid[::2, 1::2] = labels_HW[:, 1:] == labels_HW[:, :-1]
    grid[1::2, ::2] = labels_HW[1:] == labels_HW[:-1]
    corner_HW = np.ones(labels_HW.shape, np.bool_)  # nothing of the region lies to the left or above
    corner_HW[:, 1:] = grid[::2, 1::2] == 0
    corner_HW[1:] &= grid[1::2, ::2] == 0
    count, ids = cv2.connectedComponents(grid, connectivity=4)
    return count - 1, np.ascontiguousarray(ids[::2, ::2], np.int32), np.flatnonzero(corner_HW)


def regions(predicted_HW: Labels, true_HW: Labels) -> Regions:
    """The regions of the truth, with what the prediction got right of each."""
    count, ids_HW, corners = components(true_HW)
    codes = ids_HW * 2
    codes += predicted_HW == true_HW
    wrong_right = np.bincount(codes.ravel(), minlength=2 * count + 2).reshape(-1, 2)
    class_R = np.full(count + 1, VOID, np.uint8)
    class_R[ids_HW.ravel()[corners]] = true_HW.ravel()[corners]
    return Regions(ids_HW, class_R, wrong_right.sum(axis=1), wrong_right[:, 1])


def by_size(found: Regions) -> NDArray[np.int64]:
    """Regions, regions found, pixels and right pixels. Returns int64 [len(SIZE_NAMES), 256, 4]: by size and class."""
    sums = np.zeros((len(SIZE_NAMES), 256, 4), np.int64)
    size_R = np.searchsorted(np.square(SIZES_PX), found.pixels_R, side="right")
    values = (np.ones_like(found.pixels_R), found.right_R >= FOUND * found.pixels_R, found.pixels_R, found.right_R)
    for i, value in enumerate(values):
        np.add.at(sums[:, :, i], (size_R, found.class_R), value)
    return sums
