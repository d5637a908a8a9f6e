"""Scores of a tiled image at the image's size, block by block, blended across seams as `tiles` blends labels.

Only the tiles' low-resolution scores are held, of the rows of tiles that unfinished rows of pixels need. The argmax of
a block is the labels of `label_tiles`, up to rounding.

Shapes: C classes; h, w the size of a tile's scores; R rows and Q columns of pixels; k rows of scores.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pixelwise.prediction.large.tiles import TileAxis, Tiling, neighbours_in
from pixelwise.records import Scores

Part = tuple[int, int, int]  # number of a tile along an axis, and the pixels [from, to) of the image that it covers


class BlendedScores:
    """The scores of the tiles that were added, at the image's size."""

    def __init__(self, plan: Tiling, num_classes: int) -> None:
        self.plan, self.num_classes = plan, num_classes
        self.down, self.across = plan.rows.weights(), plan.columns.weights()
        self.tiles: dict[int, dict[int, Scores]] = {}  # row of tiles → column → [C, h, w]

    def add(self, row: int, column: int, scores_Chw: Scores) -> None:
        """Add one tile. Tiles that the file has no pixels of are left out."""
        self.tiles.setdefault(row, {})[column] = scores_Chw

    def forget(self, before: int) -> None:
        """Drop the tiles that only pixel rows above `before` need."""
        for row in [row for row in self.tiles if used(self.plan.rows, row)[1] <= before]:
            del self.tiles[row]

    def scores(self, rows: slice, columns: slice) -> Scores:
        """Scores [C, R, Q] of the pixels [start, stop) of rows and columns; 0 where no tile was added."""
        blended_CRQ = self.blank(rows, columns)
        total_RQ = np.zeros(blended_CRQ.shape[1:], np.float32)
        for row, top, bottom in parts(self.plan.rows, rows):
            part, weight_R = slice(top - rows.start, bottom - rows.start), weights(self.plan.rows, self.down, row)
            scores_CRQ, known_RQ = self.row_scores(row, slice(top, bottom), columns)
            weight_RQ = weight_R[top:bottom, None] * known_RQ
            blended_CRQ[:, part] += scores_CRQ * weight_RQ
            total_RQ[part] += weight_RQ
        blended_CRQ /= np.where(total_RQ > 0, total_RQ, 1)
        return blended_CRQ

    def row_scores(self, row: int, rows: slice, columns: slice) -> tuple[Scores, NDArray[np.bool_]]:
        """Scores [C, R, Q] of one row of tiles, and the pixels [R, Q] that one of its tiles covers."""
        blended_CRQ = self.blank(rows, columns)
        total_Q = np.zeros(columns.stop - columns.start, np.float32)
        for column, left, right in parts(self.plan.columns, columns):
            scores_Chw = self.tiles.get(row, {}).get(column)
            if scores_Chw is None:
                continue
            part = slice(left - columns.start, right - columns.start)
            weight_Q = weights(self.plan.columns, self.across, column)[left:right]
            blended_CRQ[:, :, part] += self.resized(scores_Chw, (row, column), rows, slice(left, right)) * weight_Q
            total_Q[part] += weight_Q
        blended_CRQ /= np.where(total_Q > 0, total_Q, 1)
        return blended_CRQ, np.broadcast_to(total_Q > 0, blended_CRQ.shape[1:])

    def resized(self, scores_Chw: Scores, tile: tuple[int, int], rows: slice, columns: slice) -> Scores:
        """Scores [C, R, Q] of one tile at these pixels of the image."""
        above_R, below_R, down_R = places(self.plan.rows, tile[0], scores_Chw.shape[1], rows)
        left_Q, right_Q, across_Q = places(self.plan.columns, tile[1], scores_Chw.shape[2], columns)
        first = left_Q[0]
        near_Chk = scores_Chw[:, :, first : right_Q[-1] + 1]
        scores_CRk: Scores = near_Chk.take(above_R, axis=1)
        scores_CRk += (near_Chk.take(below_R, axis=1) - scores_CRk) * down_R[:, None]
        scores_CRQ: Scores = scores_CRk.take(left_Q - first, axis=2)
        scores_CRQ += (scores_CRk.take(right_Q - first, axis=2) - scores_CRQ) * across_Q
        return scores_CRQ

    def blank(self, rows: slice, columns: slice) -> Scores:
        return np.zeros((self.num_classes, rows.stop - rows.start, columns.stop - columns.start), np.float32)


def used(axis: TileAxis, number: int) -> tuple[int, int]:
    """The pixels [from, to) of the image for which a tile counts, seams included."""
    begin = axis.seams[number - 1][0] if number else 0
    return begin, axis.seams[number][1] if number < len(axis.seams) else axis.length_px


def parts(axis: TileAxis, pixels: slice) -> Iterator[Part]:
    """The tiles that count for some of these pixels, and for which of them."""
    for number in range(len(axis.starts)):
        begin, end = used(axis, number)
        first, stop = max(begin, pixels.start), min(end, pixels.stop)
        if first < stop:
            yield number, first, stop


def weights(axis: TileAxis, rising: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    """A tile's weight at every pixel of an axis where it counts; elsewhere the values mean nothing.

    Args:
        rising: as `TileAxis.weights`.
    """
    weight = np.ones(axis.length_px, np.float32)
    if number:
        begin, end = axis.seams[number - 1]
        weight[begin:end] = rising[begin:end]
    if number < len(axis.seams):
        begin, end = axis.seams[number]
        weight[begin:end] = 1 - rising[begin:end]
    return weight


def places(
    axis: TileAxis, number: int, length: int, pixels: slice
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For pixels of the image: the two of a tile's `length` scores around each, and its place between them."""
    start = axis.starts[number]
    inside = slice(pixels.start - start, pixels.stop - start)
    first, second, share = neighbours_in(axis.tile_px, length)
    return first[inside], second[inside], share[inside]
