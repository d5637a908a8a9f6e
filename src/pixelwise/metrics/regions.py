"""Regions: connected pixels of one label, how large they are, and how much of each was found.

Shapes: H, W an image's own size; N runs; R regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Labels

SIZES_PX = (16, 32, 64, 128)  # sides of a square of the region's area; between them lie five sizes
SIZE_NAMES = ("under 16 px", "16 to 32 px", "32 to 64 px", "64 to 128 px", "128 px and more")
FOUND = 0.5  # share of a region's pixels that are right for it to count as found


LOST = 0.1  # share of a region that is right, at most, for it to be confused as a whole


@dataclass(frozen=True)
class Totals:
    """How large true regions are, and how much of each was found; those of void among them."""

    class_R: NDArray[np.uint8]  # VOID for regions of void
    pixels_R: NDArray[np.int64]
    right_R: NDArray[np.int64]  # pixels that were predicted right

    def lost_R(self) -> NDArray[np.bool_]:
        """Was next to nothing of a region found?"""
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
    """Where each row's runs of equal labels begin, [H, W]."""
    begins_HW = np.ones(labels_HW.shape, np.bool_)
    np.not_equal(labels_HW[:, 1:], labels_HW[:, :-1], out=begins_HW[:, 1:])
    return begins_HW


def joined(labels_HW: Labels, begins_HW: NDArray[np.bool_], run_P: NDArray[np.int32], number: int) -> NDArray[np.intp]:
    """The region of each run: runs that touch from above or below, with one label, are of one region."""
    touching_HW = labels_HW[1:] == labels_HW[:-1]
    touching_HW &= begins_HW[1:] | begins_HW[:-1]  # once for each pair of runs: where the later one begins
    at = np.flatnonzero(touching_HW)
    return united(run_P.take(at), run_P.take(at + labels_HW.shape[1]), number)


def united(above: NDArray[Any], below: NDArray[Any], number: int) -> NDArray[np.intp]:
    """Things 0 … number − 1, of which pairs belong together → the number of each one's group, from 0 on.

    Every one takes the lowest root among its neighbours' until nothing changes. All but those that are lowest in their
    neighbourhood join another in each round, so there are few rounds however the groups wind.
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
    """The regions of the truth, neighbours being left, right, above and below; and what the prediction got right."""
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
    """Regions, regions found, pixels and right pixels. Returns int64 [len(SIZE_NAMES), 256, 4]: by size and class."""
    size_R = np.searchsorted(np.square(SIZES_PX), found.pixels_R, side="right")
    place_R, places = size_R * 256 + found.class_R, len(SIZE_NAMES) * 256
    hit_R = found.right_R >= FOUND * found.pixels_R
    sums = [np.bincount(place_R, weights, places) for weights in (None, hit_R, found.pixels_R, found.right_R)]
    return np.stack(sums, axis=-1).astype(np.int64).reshape(len(SIZE_NAMES), 256, 4)
