"""True regions and kinds of error, counted in strips: memory does not grow with the height of an image.

A region that reaches the last row of a strip stays open, because it may continue in the next. Its size, and whether it
was missed, are known only when it has ended; until then its wrong pixels are held under their other kinds.

Shapes: H, W a strip's own size; N wrong pixels; C classes; K kinds of error; R regions of a strip; O open regions;
M both together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.metrics.boundary import Bands
from pixelwise.metrics.error_types import KINDS, kinds_of_error
from pixelwise.metrics.regions import SIZE_NAMES, Totals, by_size, regions, united
from pixelwise.records import VOID, Labels

LABEL, REGION, BOUNDARY, INTERIOR = (KINDS.index(name) for name in ("label", "region", "boundary", "interior"))
HELD = (INTERIOR, BOUNDARY)  # the kind of a wrong pixel whose region was not missed


@dataclass(frozen=True)
class Open:
    """Regions that reach the last row of a strip."""

    row_W: Labels
    region_W: NDArray[np.intp]  # of each pixel of that row
    totals: Totals  # [O], so far
    held_OKC: NDArray[np.int64]  # [O, 2, C]: wrong pixels by their kind if the region is not missed, and by prediction

    def grown(self, found: Totals, row_W: Labels, first_W: NDArray[np.intp]) -> tuple[Totals, NDArray[np.intp]]:
        """The regions of this strip and the next merged, and the merged region of each of both, [O + R].

        Args:
            found: the regions of the next strip.
            row_W: its first row.
            first_W: the regions of that.
        """
        opened = len(self.totals.class_R)
        number = opened + len(found.class_R)
        meets = np.flatnonzero(self.row_W == row_W)
        group = united(self.region_W.take(meets), first_W.take(meets) + opened, number)
        pixels, right = (
            np.bincount(group, weights=np.concatenate(parts)).astype(np.int64)
            for parts in ((self.totals.pixels_R, found.pixels_R), (self.totals.right_R, found.right_R))
        )
        class_R = np.empty(len(pixels), np.uint8)
        class_R[group] = np.concatenate((self.totals.class_R, found.class_R))
        return Totals(class_R, pixels, right), group


class GrowingRegions:
    """Counts of an image whose strips are added from top to bottom."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.kinds = np.zeros((len(KINDS), classes, classes), np.int64)  # [K, C, C]: kind, true and predicted class
        self.sizes = np.zeros((len(SIZE_NAMES), VOID + 1, 4), np.int64)  # see metrics.regions.by_size
        self.open: Open | None = None

    def add(
        self,
        predicted_HW: Labels,
        true_HW: Labels,
        bands_true: Bands,
        suspected_HW: NDArray[np.bool_] | None,
        *,
        last: bool,
    ) -> None:
        """Count the next rows. Predictions are void where the truth is.

        Args:
            suspected_HW: where a label is suspected; None: nowhere.
            last: whether these are the last rows.
        """
        found = regions(predicted_HW, true_HW)
        height, width = true_HW.shape
        at = np.flatnonzero(predicted_HW != true_HW)
        region_N, totals, before = found.at(at), Totals(found.class_R, found.pixels_R, found.right_R), self.open
        ends_W = found.at(np.arange((height - 1) * width, height * width))
        group = None
        if before is not None:
            totals, group = before.grown(found, true_HW[0], found.at(np.arange(width)))
            of_found = group[len(before.totals.class_R) :]
            region_N, ends_W = of_found.take(region_N), of_found.take(ends_W)
        open_M = np.zeros(len(totals.class_R), np.bool_)
        if not last:
            open_M[ends_W] = True
        lost_M = totals.lost_R() & ~open_M
        suspected_N = None if suspected_HW is None else suspected_HW.ravel().take(at)
        kind_N = kinds_of_error(bands_true.ravel().take(at), lost_M.take(region_N), suspected_N)
        true_N, predicted_N = true_HW.ravel().take(at), predicted_HW.ravel().take(at)
        number_M = np.cumsum(open_M) - 1  # of the open ones
        held = np.zeros((int(open_M.sum()), len(HELD), self.classes), np.int64)
        if not last:
            waits_N = open_M.take(region_N) & (kind_N != LABEL)
            which = number_M.take(region_N[waits_N]) * len(HELD) + (kind_N[waits_N] == BOUNDARY)
            places = which * self.classes + predicted_N[waits_N]
            held += np.bincount(places, minlength=held.size).reshape(held.shape)
            kind_N, true_N, predicted_N = kind_N[~waits_N], true_N[~waits_N], predicted_N[~waits_N]
        pairs = (kind_N.astype(np.intp) * self.classes + true_N) * self.classes + predicted_N
        self.kinds += np.bincount(pairs, minlength=self.kinds.size).reshape(self.kinds.shape)
        if before is not None and group is not None:
            group = group[: len(before.totals.class_R)]
            still = open_M.take(group)
            np.add.at(held, number_M.take(group[still]), before.held_OKC[still])
            self.release(group[~still], before.held_OKC[~still], totals, lost_M)
        self.sizes += by_size(totals.of(~open_M))
        self.open = None if last else Open(true_HW[-1].copy(), number_M.take(ends_W), totals.of(open_M), held)

    def release(
        self, ended: NDArray[np.intp], held_OKC: NDArray[np.int64], totals: Totals, lost_M: NDArray[np.bool_]
    ) -> None:
        """Count the held pixels of regions that have ended."""
        labelled = totals.class_R.take(ended) != VOID  # void regions have no wrong pixels
        ended, held_OKC = ended[labelled], held_OKC[labelled]
        class_O, lost_O = totals.class_R.take(ended), lost_M.take(ended)
        np.add.at(self.kinds[REGION], class_O[lost_O], held_OKC[lost_O].sum(axis=1))
        for i, kind in enumerate(HELD):
            np.add.at(self.kinds[kind], class_O[~lost_O], held_OKC[~lost_O, i])
