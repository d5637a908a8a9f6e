"""Label an image of any size tile by tile, and blend overlapping tiles. The model is a callback.

Blending needs no scores at full resolution. Overlapping tiles are averaged with weights that rise from 0 to 1 across
the seam. If both predict the same class, so does every weighted average, because that class has the highest score in
both. So scores, which stay at the network's resolution, are looked up only for pixels on which the tiles disagree.

Memory: one row of tiles of the image (and the next one, read ahead), its labels, the scores at its upper and lower
seams, and all scores of a few tiles. It grows with the width of the image times the height of a tile.

Shapes: H, W the image's size; T, U a tile's; S bands; C classes; h, w the size of a tile's
scores; N pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.records import VOID, Labels, OnProgress, Raster, Scores, no_progress

# tile [T, U, bands] → labels uint8 [T, U] and scores float32 [C, h, w]. The labels must be the argmax of the scores
# upsampled to the tile's size, bilinearly with pixel centres at half-integers, as a bundle computes them.
Run = Callable[[Raster], tuple[Labels, Scores]]
ReadRows = Callable[[int, int], Raster]  # (first row, row after the last) → [rows, W, bands]
IsAbsent = Callable[[int, int, int, int], bool]  # (top, bottom, left, right): whether the file has none of these pixels

AHEAD = 3  # tiles per network that run or await blending, so that no network idles while a row is stored


@dataclass(frozen=True)
class TileAxis:
    """One axis of an image, cut into tiles of one size."""

    length_px: int
    tile_px: int
    overlap_px: int  # the minimum
    starts: tuple[int, ...]  # of each tile; the last one ends with the image
    seams: tuple[tuple[int, int], ...]  # between tile i and i + 1: the blended pixels [from, to)

    def weights(self) -> NDArray[np.float32]:
        """For every pixel of a seam, the weight of the following tile, 0 to 1; 0 elsewhere."""
        weight = np.zeros(self.length_px, np.float32)
        for begin, end in self.seams:
            weight[begin:end] = (np.arange(end - begin, dtype=np.float32) + 0.5) / max(end - begin, 1)
        return weight


def tiles_along(length_px: int, tile_px: int, overlap_px: int) -> TileAxis:
    """Cut `length_px` pixels into the fewest tiles that overlap by at least `overlap_px`, evenly spread.

    Even spreading gives every tile more context, instead of adding one narrow last tile.

    Args:
        overlap_px: at most half a tile. A seam is half as wide, in the middle of the overlap: predictions at the edge
            of a tile, where context is missing, are not used.
    """
    if not (length_px >= 1 and tile_px >= 1 and 0 <= overlap_px <= tile_px // 2):
        raise ValueError(f"{length_px} px in tiles of {tile_px} px that overlap by {overlap_px} px")
    if length_px <= tile_px:
        return TileAxis(length_px, tile_px, overlap_px, (0,), ())
    steps = -(-(length_px - tile_px) // (tile_px - overlap_px))
    starts = tuple(round(step * (length_px - tile_px) / steps) for step in range(steps + 1))
    nearest = min(b - a for a, b in pairwise(starts))
    wide = min(-(-overlap_px // 2), nearest - 1)  # so that no pixel lies in two seams
    begins = [(a + tile_px + b) // 2 - wide // 2 for a, b in pairwise(starts)]
    return TileAxis(length_px, tile_px, overlap_px, starts, tuple((begin, begin + wide) for begin in begins))


@dataclass(frozen=True)
class Tiling:
    """An image cut into tiles."""

    rows: TileAxis
    columns: TileAxis
    classes: int | None = None  # how many of the maps that a network gives are of classes, the first ones; None: all

    @property
    def count(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)

    def row_for(self, y: int) -> int:
        """The first row of tiles whose labels are needed for pixel row `y`."""
        return next(
            (number for number, (begin, _) in enumerate(self.rows.seams) if y < begin), len(self.rows.starts) - 1
        )


def tiling(size: tuple[int, int], tile: tuple[int, int], overlap: tuple[int, int]) -> Tiling:
    """Cut an image of `size` into tiles. Arguments are (height, width) in pixels."""
    return Tiling(tiles_along(size[0], tile[0], overlap[0]), tiles_along(size[1], tile[1], overlap[1]))


Item = TypeVar("Item")


class Scored(NamedTuple):
    """Part of a tile's scores, and its position in the tile."""

    scores: NDArray[np.float32]  # [rows, columns, C]: the scores of one position are contiguous
    first_row: int  # of the tile's h rows
    first_column: int
    size: tuple[int, int]  # h, w of all scores of the tile


def not_scored(_row: int, _column: int, _scores: Scores) -> None:
    """A `scored` of `label_tiles` that keeps nothing."""


def label_tiles(
    plan: Tiling,
    read_rows: ReadRows,
    run: Run,
    *,
    at_once: int = 1,
    first_row: int = 0,
    absent: IsAbsent | None = None,
    progress: OnProgress = no_progress,
    scored: Callable[[int, int, Scores], None] = not_scored,
) -> Iterator[tuple[int, Labels]]:
    """Label an image from top to bottom.

    Args:
        read_rows: called once for each row of pixels, from top to bottom, in another thread.
        run: the network; called in separate threads.
        at_once: number of tiles that run in parallel. One network per core labels more tiles per second than one
            network that uses all cores.
        first_row: the row of tiles to start with, see `Tiling.row_for`. The row above runs again for its seam, so
            that labels are the same as in a full run.
        absent: tiles without pixels in the file are skipped.
        progress: called with (tiles done, total tiles).
        scored: called with each tile's row, column and scores, in this thread.

    Yields:
        (y, labels): uint8 [rows, W], finished rows of pixels from row y on. Together they cover the image once.
    """
    columns = plan.columns
    begin_at = max(first_row - 1, 0)
    above: RowOfTiles | None = None
    current = RowOfTiles(plan, begin_at, None)
    with (
        ThreadPoolExecutor(1, "pixelwise-rows") as reader,
        ThreadPoolExecutor(at_once, "pixelwise-network") as network,
        RowsAhead(read_rows, reader, plan, begin_at) as ahead,
    ):

        def started() -> Iterator[tuple[int, int, Future[tuple[Labels, Scores]] | None]]:
            for row in range(begin_at, len(plan.rows.starts)):
                rows_TWS = ahead.next()
                for column in range(len(columns.starts)):
                    yield row, column, submit(network, run, plan, row, column, rows_TWS, absent)

        # Tiles run while earlier ones are blended.
        for row, column, future in ahead_of(started(), AHEAD * at_once):
            if column == 0:
                current = RowOfTiles(plan, row, above)
            if future:
                labels_TU, scores_Chw = future.result()
                current.add(column, (labels_TU, scores_Chw[: plan.classes]))
                scored(row, column, scores_Chw)
            else:
                current.add(column, None)
            progress(row * len(columns.starts) + column + 1, plan.count)
            if column == len(columns.starts) - 1:
                if row >= first_row:
                    yield current.top, current.finished()
                above = current.lower_part()


def ahead_of(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The same items, each yielded after `count` more have been started."""
    taken: deque[Item] = deque()
    for item in items:
        taken.append(item)
        if len(taken) > count:
            yield taken.popleft()
    yield from taken


def submit(
    network: ThreadPoolExecutor,
    run: Run,
    plan: Tiling,
    row: int,
    column: int,
    rows_TWS: Raster,
    absent: IsAbsent | None,
) -> Future[tuple[Labels, Scores]] | None:
    """Start the network on one tile; None if the file has no pixels of it."""
    top, left = plan.rows.starts[row], plan.columns.starts[column]
    bottom = min(top + plan.rows.tile_px, plan.rows.length_px)
    right = min(left + plan.columns.tile_px, plan.columns.length_px)
    if absent is not None and absent(top, bottom, left, right):
        return None
    tile: Any = np.ascontiguousarray(rows_TWS[:, left : left + plan.columns.tile_px])
    return network.submit(run, tile)


class RowsAhead:
    """The pixel rows of one row of tiles; the next ones are read while these are labelled."""

    def __init__(self, read_rows: ReadRows, reader: ThreadPoolExecutor, plan: Tiling, first_row: int) -> None:
        self.read_rows, self.reader, self.rows, self.columns = read_rows, reader, plan.rows, plan.columns
        self.row, self.read_to = first_row, plan.rows.starts[first_row]
        self.kept: Raster | None = None  # rows that the next tiles share
        self.coming = self.read_ahead()

    def read_ahead(self) -> Future[Raster]:
        stop = min(self.rows.starts[self.row] + self.rows.tile_px, self.rows.length_px)
        begin, self.read_to = self.read_to, stop
        return self.reader.submit(self.read_rows, begin, stop)

    def next(self) -> Raster:
        """[T, max(W, U), bands]. An image smaller than a tile is padded by reflection, to keep its scale."""
        new_HWS = self.coming.result()
        rows_TWS = new_HWS if self.kept is None else np.concatenate([self.kept, new_HWS])
        self.row += 1
        if self.row < len(self.rows.starts):
            shared = self.read_to - self.rows.starts[self.row]
            self.kept = rows_TWS[len(rows_TWS) - shared :].copy() if shared else None
            self.coming = self.read_ahead()
        more_rows = max(self.rows.tile_px - len(rows_TWS), 0)
        more_columns = max(self.columns.tile_px - rows_TWS.shape[1], 0)
        if more_rows or more_columns:
            padded = cv2.copyMakeBorder(rows_TWS, 0, more_rows, 0, more_columns, cv2.BORDER_REFLECT)
            rows_TWS = np.asarray(padded, rows_TWS.dtype).reshape(*padded.shape[:2], -1)  # of one band it is [T, W]
        return rows_TWS

    def __enter__(self) -> RowsAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self.coming.cancel()


class RowOfTiles:
    """Labels of one row of tiles, blended from left to right, and the scores at its upper and lower seams."""

    def __init__(self, plan: Tiling, number: int, above: RowOfTiles | None) -> None:
        rows = plan.rows
        self.above = above  # its lower seam is this row's upper seam
        self.blended_to = 0  # pixel column up to which the upper seam is blended
        self.columns = plan.columns
        self.start = rows.starts[number]
        end = rows.length_px
        self.top, self.upper_end = rows.seams[number - 1] if number else (0, 0)
        self.lower, self.bottom = rows.seams[number] if number < len(rows.seams) else (end, end)
        self.tile_px = (rows.tile_px, plan.columns.tile_px)
        self.labels = np.full((self.bottom - self.top, plan.columns.length_px), VOID, np.uint8)
        self.weight = plan.columns.weights()
        self.upper_scores: list[Scored | None] = []
        self.lower_scores: list[Scored | None] = []
        self.last: Scored | None = None  # scores at the right seam of the tile to the left

    def add(self, column: int, result: tuple[Labels, Scores] | None) -> None:
        """Add the next tile to the right; None: the file has no pixels of it, and it stays void."""
        assert column == len(self.lower_scores)
        if result is None:
            self.upper_scores.append(None)
            self.lower_scores.append(None)
            self.last = None
        else:
            self.place(column, *result)
        done_to = self.columns.seams[column][0] if column < len(self.columns.seams) else self.columns.length_px
        if self.above is not None:
            self.blend_with(self.above, column, self.blended_to, done_to)
        self.blended_to = done_to

    def place(self, column: int, labels_TU: Labels, scores_Chw: Scores) -> None:
        """Copy a tile's labels, blended with those to the left, and keep the scores at its seams."""
        left = self.columns.starts[column]
        end = self.columns.length_px
        next_seam, right = self.columns.seams[column] if column < len(self.columns.seams) else (end, end)
        labels = labels_TU[self.top - self.start : self.bottom - self.start]
        all_rows, all_columns = (self.top, self.bottom), (left, min(left + self.tile_px[1], end))
        solid = 0  # pixel column from which only this tile counts
        if column:
            seam, solid = self.columns.seams[column - 1]
            if self.last is None:
                solid = seam
            elif solid > seam:
                there = self.labels[:, seam:solid]
                ys, xs = np.nonzero(there != labels[:, seam - left : solid - left])
                if len(ys):
                    pixels = ys + (self.top - self.start), xs + seam
                    before = self.look_up(self.last, column - 1, *pixels)
                    here = self.look_up(self.part(scores_Chw, left, all_rows, (seam, solid)), column, *pixels)
                    there[ys, xs] = between(before, here, self.weight[pixels[1]]).argmax(axis=1)
        self.labels[:, solid:right] = labels[:, solid - left : right - left]
        self.upper_scores.append(self.part(scores_Chw, left, (self.top, self.upper_end), all_columns))
        self.lower_scores.append(self.part(scores_Chw, left, (self.lower, self.bottom), all_columns))
        self.last = self.part(scores_Chw, left, all_rows, (next_seam, right))

    def part(self, scores_Chw: Scores, left: int, rows: tuple[int, int], columns: tuple[int, int]) -> Scored:
        """A copy of the scores needed for these rows and columns of pixels of the image."""
        size = scores_Chw.shape[1], scores_Chw.shape[2]
        cuts = []
        for axis, (begin, end) in enumerate(
            ((rows[0] - self.start, rows[1] - self.start), (columns[0] - left, columns[1] - left))
        ):
            scale = size[axis] / self.tile_px[axis]
            first = max(int((begin + 0.5) * scale - 0.5) - 1, 0)  # one more on each side, for rounding
            stop = int((end - 0.5) * scale - 0.5) + 3 if end > begin else first
            cuts.append(slice(first, stop))
        part = np.ascontiguousarray(scores_Chw[:, cuts[0], cuts[1]].transpose(1, 2, 0))
        return Scored(part, cuts[0].start, cuts[1].start, size)

    def look_up(self, part: Scored, column: int, ys: NDArray[np.intp], xs: NDArray[np.intp]) -> NDArray[np.float32]:
        """Scores [N, C] of a tile at pixels: `ys` from the tile's upper edge, `xs` from the image's left edge."""
        y0, y1, fy = self.neighbours(ys, 0, part.size[0])
        x0, x1, fx = self.neighbours(xs - self.columns.starts[column], 1, part.size[1])
        rows, columns, classes = part.scores.shape
        flat = part.scores.reshape(-1, classes)
        y0, y1 = (y0 - part.first_row) * columns, np.minimum(y1 - part.first_row, rows - 1) * columns
        x0, x1 = x0 - part.first_column, np.minimum(x1 - part.first_column, columns - 1)
        upper = between(flat.take(y0 + x0, axis=0), flat.take(y0 + x1, axis=0), fx)
        lower = between(flat.take(y1 + x0, axis=0), flat.take(y1 + x1, axis=0), fx)
        return between(upper, lower, fy)

    def neighbours(
        self, pixels: NDArray[np.intp], axis: int, length: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
        """The two of `length` scores around each pixel of a tile, and its relative position between them."""
        first, second, share = neighbours_in(self.tile_px[axis], length)
        return first.take(pixels), second.take(pixels), share.take(pixels)

    def blend_with(self, above: RowOfTiles, column: int, left: int, right: int) -> None:
        """Blend the seam between the row of tiles above and this one in pixel columns [left, right), from the seam to
        the left of tile `column` to the one to its right."""
        height = self.upper_end - self.top
        seam = self.labels[:height]
        ys, xs = np.nonzero(seam[:, left:right] != above.labels[:, left:right])
        if not len(ys):
            return
        xs += left
        upper = above.across(above.lower_scores, column, ys + (self.top - above.start), xs)
        lower = self.across(self.upper_scores, column, ys + (self.top - self.start), xs)
        if upper is not None and lower is not None:
            share = (ys.astype(np.float32) + np.float32(0.5)) / np.float32(height)
            seam[ys, xs] = between(upper, lower, share).argmax(axis=1)

    def across(
        self, scores: list[Scored | None], column: int, ys: NDArray[np.intp], xs: NDArray[np.intp]
    ) -> NDArray[np.float32] | None:
        """Scores [N, C] of tile `column`, blended with those of the tile before it in the seam between the two.

        None if the file has no pixels of the tile.
        """
        here, before = scores[column], scores[column - 1] if column else None
        if here is None:
            return None
        blended = self.look_up(here, column, ys, xs)
        if before is not None:
            seam = np.flatnonzero(xs < self.columns.seams[column - 1][1])
            left = self.look_up(before, column - 1, ys[seam], xs[seam])
            blended[seam] = between(left, blended[seam], self.weight[xs[seam]])
        return blended

    def finished(self) -> Labels:
        """The rows of labels above the lower seam: uint8 [rows, W]."""
        return self.labels[: self.lower - self.top]

    def lower_part(self) -> RowOfTiles:
        """This row, reduced to what the seam below needs."""
        self.labels = self.labels[self.lower - self.top :].copy()
        self.upper_scores, self.last, self.above = [], None, None
        return self


@lru_cache(maxsize=8)
def neighbours_in(pixels: int, places: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For every pixel of an axis: the positions of the scores before and after it, and its relative position, 0–1."""
    at = (np.arange(pixels) + np.float32(0.5)) * np.float32(places / pixels) - np.float32(0.5)
    at = np.clip(at, 0, places - 1).astype(np.float32)
    first = at.astype(np.intp)
    return first, np.minimum(first + 1, places - 1), at - first


def between(a_NC: NDArray[np.float32], b_NC: NDArray[np.float32], weight_N: NDArray[np.float32]) -> NDArray[np.float32]:
    """(1 − weight)·a + weight·b, overwriting b."""
    b_NC -= a_NC
    b_NC *= weight_N.astype(np.float32)[:, None]
    b_NC += a_NC
    return b_NC
