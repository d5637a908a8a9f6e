"""Regions: connected pixels of one label, how large they are, and how much of each was found.

Shapes: H, W an image's own size; N runs; R regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Labels

SIZES_PX = (16, 32, 64, 128)  # sides of a square of the region's area; between them lie five sizes
SIZE_NAMES = ("under 16 px", "16 to 32 px", "32 to 64 px", "64 to 128 px", "128 px and more")
FOUND = 0.5  # share of a region's pixels that are right for it to count as found


@dataclass(frozen=True)
class Regions:
    """The true regions of one image, those of void among them."""

    runs_HW: NDArray[np.int32]  # the run of each pixel: equal labels side by side in a row
    region_N: NDArray[np.intp]  # the region of each run
    class_R: NDArray[np.uint8]  # VOID for regions of void
    pixels_R: NDArray[np.int64]
    right_R: NDArray[np.int64]  # pixels that were predicted right

    def at(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """The region of each of some pixels, given as flat indices."""
        return self.region_N[self.runs_HW.ravel()[places]]


def runs(labels_HW: Labels) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Where each row's runs of equal labels begin (flat indices), and the run of each pixel [H, W]."""
    begins_HW = np.ones(labels_HW.shape, np.bool_)
    np.not_equal(labels_HW[:, 1:], labels_HW[:, :-1], out=begins_HW[:, 1:])
    begins_N = np.flatnonzero(begins_HW)
    lengths_N = np.diff(begins_N, append=labels_HW.size)
    return begins_N, np.repeat(np.arange(len(begins_N), dtype=np.int32), lengths_N).reshape(labels_HW.shape)


def joined(runs_HW: NDArray[np.int32], labels_HW: Labels, number: int) -> NDArray[np.intp]:
    """The region of each run: runs that touch from above or below, with one label, are of one region.

    Every run takes the lowest root among its neighbours' until nothing changes. All but those that are lowest in their
    neighbourhood join another in each round, so there are few rounds however the regions wind.
    """
    changes_HW = runs_HW[:, 1:] != runs_HW[:, :-1]
    touching_HW = labels_HW[1:] == labels_HW[:-1]
    touching_HW[:, 1:] &= changes_HW[1:] | changes_HW[:-1]  # once for each pair of runs: where the later one begins
    at = np.flatnonzero(touching_HW)
    above, below = runs_HW.ravel()[at], runs_HW.ravel()[at + labels_HW.shape[1]]
    root_N = np.arange(number, dtype=np.int32)
    while True:
        a, b = root_N[above], root_N[below]
        apart = a != b
        if not apart.any():
            break
        above, below, a, b = above[apart], below[apart], a[apart], b[apart]
        np.minimum.at(root_N, np.maximum(a, b), np.minimum(a, b))
        while ((further := root_N[root_N]) != root_N).any():
            root_N = further
    return np.unique(root_N, return_inverse=True)[1]


def regions(predicted_HW: Labels, true_HW: Labels) -> Regions:
    """The regions of the truth, neighbours being left, right, above and below; and what the prediction got right."""
    begins_N, runs_HW = runs(true_HW)
    region_N = joined(runs_HW, true_HW, len(begins_N))
    pixels_R = np.bincount(region_N, weights=np.diff(begins_N, append=true_HW.size)).astype(np.int64)
    class_R = np.empty(len(pixels_R), np.uint8)
    class_R[region_N] = true_HW.ravel()[begins_N]
    wrong = np.flatnonzero(predicted_HW != true_HW)
    wrong_R = np.bincount(region_N[runs_HW.ravel()[wrong]], minlength=len(pixels_R))
    return Regions(runs_HW, region_N, class_R, pixels_R, pixels_R - wrong_R)


def by_size(found: Regions) -> NDArray[np.int64]:
    """Regions, regions found, pixels and right pixels. Returns int64 [len(SIZE_NAMES), 256, 4]: by size and class."""
    sums = np.zeros((len(SIZE_NAMES), 256, 4), np.int64)
    size_R = np.searchsorted(np.square(SIZES_PX), found.pixels_R, side="right")
    values = (np.ones_like(found.pixels_R), found.right_R >= FOUND * found.pixels_R, found.pixels_R, found.right_R)
    for i, value in enumerate(values):
        np.add.at(sums[:, :, i], (size_R, found.class_R), value)
    return sums
