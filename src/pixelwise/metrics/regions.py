"""Regions: connected pixels of one label, their sizes, and how much of each was found.

Shapes: H, W an image's own size; N runs; R regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Labels

SIZES_PX = (16, 32, 64, 128)  # side of a square of the same area; limits of the five sizes
SIZE_NAMES = ("under 16 px", "16 to 32 px", "32 to 64 px", "64 to 128 px", "128 px and more")
FOUND = 0.5  # minimum share of a region's pixels that are correct for it to count as found
LOST = 0.1  # maximum share of a region's pixels that are correct for it to count as missed


@dataclass(frozen=True)
class Totals:
    """Sizes of true regions, void ones included, and how much of each was found."""

    class_R: NDArray[np.uint8]  # VOID for regions of void
    pixels_R: NDArray[np.int64]
    right_R: NDArray[np.int64]  # correct pixels

    def lost_R(self) -> NDArray[np.bool_]:
        """Whether a region was missed almost entirely."""
        return np.asarray(self.right_R <= LOST * self.pixels_R)

    def of(self, chosen: NDArray[np.bool_] | slice) -> Totals:
        return Totals(self.class_R[chosen], self.pixels_R[chosen], self.right_R[chosen])


@dataclass(frozen=True)
class Regions(Totals):
    """The true regions of one image, or of a strip of its rows."""

    run_P: NDArray[np.int32]  # the run of each pixel of the flat map: equal labels side by side in a row
    region_N: NDArray[np.intp]  # the region of each run

    def at(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """The region of each of some pixels, given as flat indices."""
        return self.region_N.take(self.run_P.take(places))


def begins(labels_HW: Labels) -> NDArray[np.bool_]:
    """Where a run of equal labels begins in each row, [H, W]."""
    begins_HW = np.ones(labels_HW.shape, np.bool_)
    np.not_equal(labels_HW[:, 1:], labels_HW[:, :-1], out=begins_HW[:, 1:])
    return begins_HW


def joined(labels_HW: Labels, begins_HW: NDArray[np.bool_], run_P: NDArray[np.int32], number: int) -> NDArray[np.intp]:
    """The region of each run: runs of one label that touch vertically belong to one region."""
    touching_HW = labels_HW[1:] == labels_HW[:-1]
    touching_HW &= begins_HW[1:] | begins_HW[:-1]  # once for each pair of runs, where the later one begins
    at = np.flatnonzero(touching_HW)
    return united(run_P.take(at), run_P.take(at + labels_HW.shape[1]), number)


def united(above: NDArray[Any], below: NDArray[Any], number: int) -> NDArray[np.intp]:
    """Connected components of the nodes 0 … number − 1, given edges (above, below): each node's component, from 0.

    Each node takes the lowest root among its neighbours until nothing changes. In each round all but locally lowest
    roots are merged, so that few rounds are needed whatever the shapes.
    """
    own_N = np.arange(number, dtype=np.int32)
    root_N = own_N.copy()
    while True:
        a, b = root_N.take(above), root_N.take(below)
        apart = a != b
        if not apart.any():
            break
        above, below, a, b = above[apart], below[apart], a[apart], b[apart]
        np.minimum.at(root_N, np.maximum(a, b), np.minimum(a, b))
        while ((further := root_N.take(root_N)) != root_N).any():
            root_N = further
    return np.asarray((np.cumsum(root_N == own_N) - 1).take(root_N))


def regions(predicted_HW: Labels, true_HW: Labels) -> Regions:
    """The regions of the truth (4-connected), with the correct pixels of each."""
    begins_HW = begins(true_HW)
    begin_N = np.flatnonzero(begins_HW)
    length_N = np.diff(begin_N, append=true_HW.size)
    run_P = np.repeat(np.arange(len(begin_N), dtype=np.int32), length_N)
    region_N = joined(true_HW, begins_HW, run_P, len(begin_N))
    pixels_R = np.bincount(region_N, weights=length_N).astype(np.int64)
    class_R = np.empty(len(pixels_R), np.uint8)
    class_R[region_N] = true_HW.ravel().take(begin_N)
    wrong = np.flatnonzero(predicted_HW != true_HW)
    wrong_R = np.bincount(region_N.take(run_P.take(wrong)), minlength=len(pixels_R))
    return Regions(class_R, pixels_R, pixels_R - wrong_R, run_P, region_N)


def by_size(found: Totals) -> NDArray[np.int64]:
    """Regions, regions found, pixels and correct pixels: int64 [len(SIZE_NAMES), 256, 4], by size and class."""
    size_R = np.searchsorted(np.square(SIZES_PX), found.pixels_R, side="right")
    place_R, places = size_R * 256 + found.class_R, len(SIZE_NAMES) * 256
    hit_R = found.right_R >= FOUND * found.pixels_R
    sums = [np.bincount(place_R, weights, places) for weights in (None, hit_R, found.pixels_R, found.right_R)]
    return np.stack(sums, axis=-1).astype(np.int64).reshape(len(SIZE_NAMES), 256, 4)
