"""What is added up over the pixels of each object, strip by strip: an object may continue in the next strip.

Rows are cut into runs: pixels of one object side by side. Sums over a run's coordinates have closed forms, so that an
image costs a few passes, however many objects it has.

Shapes: R rows of a strip; W width; N objects; B bands; U runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.objects.convex_area import convex_areas
from pixelwise.objects.object_records import ObjectMap
from pixelwise.records import Raster

CONTEXT = 2  # rows above and below a strip on which the outline of its pixels depends
# Lengths of an outline's pixel by its neighbours on the outline: 1 + 2 for each beside, above or below + 10 for each
# diagonal one. Benkrid and Crookes, "Design and FPGA implementation of a perimeter estimator", 2000.
LENGTHS = np.zeros(50)
LENGTHS[[5, 7, 15, 17, 25, 27]] = 1
LENGTHS[[21, 33]] = np.sqrt(2)
LENGTHS[[13, 23]] = (1 + np.sqrt(2)) / 2
AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
BESIDE = (1, 3, 4, 6)  # positions in AROUND
DIAGONAL = (0, 2, 5, 7)
QUADS = ((0, 1, 3), (2, 1, 4), (5, 6, 3), (7, 6, 4))  # diagonal, vertical and horizontal neighbour of four squares
MOMENTS = ("area", "y", "x", "yy", "xy", "xx")


class PixelRuns(NamedTuple):
    """Pixels of one object side by side."""

    object_U: NDArray[np.intp]
    row_U: NDArray[np.intp]
    first_U: NDArray[np.intp]  # column
    last_U: NDArray[np.intp]


class ObjectSums:
    """Sums over the objects 1 … N of one image, whose strips are added from top to bottom."""

    def __init__(self, number: int, width: int, bands: int = 0, *, with_confidence: bool = False) -> None:
        self.number, self.width = number, width
        self.moments = np.zeros((len(MOMENTS), number + 1))
        self.box = np.zeros((4, number + 1), np.int64)  # top, left, bottom, right
        self.box[:2] = np.iinfo(np.int64).max
        self.perimeter = np.zeros(number + 1)
        self.twelfths = np.zeros(number + 1)  # of the Euler number
        self.confidence = np.zeros(number + 1) if with_confidence else None
        self.sums = np.zeros((bands, 3, number + 1))  # pixels with data, sum, sum of squares
        self.range = np.zeros((bands, 2, number + 1))
        self.range[:, 0], self.range[:, 1] = np.inf, -np.inf
        self.convex = np.zeros(number + 1, np.int64)
        self.open = np.empty((4, 0), np.int32)  # `row_extremes` of objects that may continue in the next strip

    def add(
        self,
        padded: ObjectMap,
        top: int,
        image_RWB: Raster | None = None,
        confidence_RW: NDArray[np.float32] | None = None,
    ) -> None:
        """Add rows of the image.

        Args:
            padded: the object map of these rows and of CONTEXT more above and below, which are 0 outside the image.
            top: the first row, without those above.
        """
        strip = padded[CONTEXT:-CONTEXT]
        starts = run_starts(strip)
        object_S = strip.ravel().take(starts).astype(np.intp)
        if not object_S.any():
            self.close()
            return
        in_object = object_S > 0
        length_U = np.diff(starts, append=strip.size)[in_object]
        row_U, first_U = np.divmod(starts[in_object], self.width)
        runs = PixelRuns(object_S[in_object], row_U + top, first_U, first_U + length_U - 1)
        self._add_moments(runs, length_U)
        self._add_hulls(runs, strip[-1])
        self._add_outline(padded, runs)
        if self.confidence is not None and confidence_RW is not None:
            self._reduced(self.confidence, confidence_RW.ravel(), starts, object_S)
        if image_RWB is not None:
            self._add_bands(image_RWB, starts, object_S)

    def close(self) -> None:
        """Finish the objects that reach the last row."""
        self.convex += convex_areas(self.open, self.number)
        self.open = self.open[:, :0]

    def _add_hulls(self, runs: PixelRuns, last_row_W: NDArray[np.uint32]) -> None:
        """Finish the convex hulls of objects that end in this strip."""
        extremes = np.concatenate([self.open, row_extremes(runs)], axis=1)
        continues = np.isin(extremes[0], np.unique(last_row_W))
        self.open = extremes[:, continues]
        self.convex += convex_areas(extremes[:, ~continues], self.number)

    def _add_moments(self, runs: PixelRuns, length_U: NDArray[np.intp]) -> None:
        n, y = length_U.astype(np.float64), runs.row_U.astype(np.float64)
        first, last = runs.first_U.astype(np.float64), runs.last_U.astype(np.float64)
        x = n * (first + last) / 2
        xx = squares_to(last) - squares_to(first - 1)
        lowest, highest = int(runs.object_U.min()), int(runs.object_U.max()) + 1
        for row, weights in enumerate((n, n * y, x, n * y * y, y * x, xx)):
            found = np.bincount(runs.object_U - lowest, weights, highest - lowest)
            self.moments[row, lowest:highest] += found
        np.minimum.at(self.box[0], runs.object_U, runs.row_U)
        np.minimum.at(self.box[1], runs.object_U, runs.first_U)
        np.maximum.at(self.box[2], runs.object_U, runs.row_U + 1)
        np.maximum.at(self.box[3], runs.object_U, runs.last_U + 1)

    def _add_outline(self, padded: ObjectMap, runs: PixelRuns) -> None:
        """Add perimeter and Euler number, which depend on the pixels with another object among their neighbours."""
        wide = np.pad(padded, ((0, 0), (1, 1)))
        at = edge_pixels(wide)
        flat, step = wide.ravel(), wide.shape[1]
        own = flat.take(at)
        same = [flat.take(at + down * step + right) == own for down, right in AROUND]
        on_outline = ~np.logical_and.reduce([same[i] for i in BESIDE])
        outline = np.zeros(wide.size, np.bool_)
        outline[at[on_outline]] = True
        row = at // step
        counted = (row >= CONTEXT) & (row < len(padded) - CONTEXT)
        code = np.ones(len(at), np.intp)
        for weight, places in ((2, BESIDE), (10, DIAGONAL)):
            for i in places:
                down, right = AROUND[i]
                code += weight * (same[i] & outline.take(at + down * step + right))
        lowest, number = int(runs.object_U.min()), int(runs.object_U.max() - runs.object_U.min()) + 1
        target = own.astype(np.intp) - lowest
        chosen = counted & on_outline
        part = slice(lowest, lowest + number)
        self.perimeter[part] += np.bincount(target[chosen], LENGTHS[code[chosen]], number)
        twelfths = np.zeros(len(at))
        for diagonal, vertical, horizontal in QUADS:
            pixels = 1 + same[diagonal].astype(np.int8) + same[vertical] + same[horizontal]
            twelfths += np.select([pixels == 1, pixels == 3, (pixels == 2) & same[diagonal]], [3, -1, -3], 0)
        self.twelfths[part] += np.bincount(target[counted], twelfths[counted], number)

    def _add_bands(self, image_RWB: Raster, starts: NDArray[np.intp], object_S: NDArray[np.intp]) -> None:
        for band, (sums, extent) in enumerate(zip(self.sums, self.range, strict=True)):
            values = np.ascontiguousarray(image_RWB[:, :, band]).ravel()
            low = high = values
            if values.dtype == np.float32 and not (has_data := np.isfinite(values)).all():
                low, high = np.where(has_data, values, np.inf), np.where(has_data, values, -np.inf)
                self._reduced(sums[0], has_data, starts, object_S)
                values = np.where(has_data, values, 0)
            else:
                self._reduced(sums[0], np.ones(1, np.bool_), starts, object_S, size=values.size)
            self._reduced(sums[1], values, starts, object_S)
            self._reduced(sums[2], np.square(values, dtype=np.float64), starts, object_S)
            chosen = object_S > 0
            np.minimum.at(extent[0], object_S[chosen], np.minimum.reduceat(low, starts)[chosen])
            np.maximum.at(extent[1], object_S[chosen], np.maximum.reduceat(high, starts)[chosen])

    def _reduced(
        self,
        into: NDArray[np.float64],
        values: NDArray[Any],
        starts: NDArray[np.intp],
        object_S: NDArray[np.intp],
        size: int = 0,
    ) -> None:
        """Add up values over the runs of each object; with `size`, count that many pixels instead."""
        per_run = np.diff(starts, append=size) if size else np.add.reduceat(values, starts, dtype=np.float64)
        lowest = int(object_S[object_S > 0].min())
        above = object_S >= lowest
        found = np.bincount(object_S[above] - lowest, per_run[above])
        into[lowest : lowest + len(found)] += found


def run_starts(strip: NDArray[Any]) -> NDArray[np.intp]:
    """The flat indices at which a run of equal values begins in a row."""
    begins = np.ones(strip.shape, np.bool_)
    np.not_equal(strip[:, 1:], strip[:, :-1], out=begins[:, 1:])
    return np.flatnonzero(begins)


def row_extremes(runs: PixelRuns) -> NDArray[np.int32]:
    """The first and last column of every object in every row: object, row, first, last, [4, U], by object and row."""
    order = np.lexsort((runs.first_U, runs.row_U, runs.object_U))
    sorted_runs = [values[order] for values in runs]
    new = np.diff(sorted_runs[0], prepend=-1) != 0
    new |= np.diff(sorted_runs[1], prepend=-1) != 0
    begins = np.flatnonzero(new)
    ends = np.append(begins[1:], len(order)) - 1
    parts = sorted_runs[0][begins], sorted_runs[1][begins], sorted_runs[2][begins], sorted_runs[3][ends]
    return np.stack(parts).astype(np.int32)


def edge_pixels(wide: ObjectMap) -> NDArray[np.intp]:
    """Flat indices of the pixels of objects that have another value among their eight neighbours.

    The outermost rows and columns are context only.
    """
    edge = np.zeros(wide.shape, np.bool_)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        height, width = wide.shape
        left, far = max(-right, 0), width - max(right, 0)
        here = np.s_[: height - down, left:far]
        there = np.s_[down:, left + right : far + right]
        other = wide[here] != wide[there]
        edge[here] |= other
        edge[there] |= other
    edge &= wide > 0
    edge[[0, -1]] = False
    return np.flatnonzero(edge)


def squares_to(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """0² + 1² + … + x²."""
    return x * (x + 1) * (2 * x + 1) / 6
