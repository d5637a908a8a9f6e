"""Scores at the network's resolution → labels at the image's own, field by field: the graph's algorithm in NumPy.

A bundle's graph (see `bundle.labels`) interpolates all undecided pixels at once. On an image of one colour, of noise
or of fine lines that is nearly every pixel, and takes a few hundred bytes for each. Here the same numbers are computed
in the same order and precision, so that the labels are the graph's to the last bit, a few pixels at a time.

Shapes: C classes; h, w the size of the scores, H, W that of the image. Gaps and fields as in `bundle.labels`: a gap is
the room between two neighbouring places of a row or column of scores; a field is where a gap between rows meets one
between columns. K fields are interpolated at a time, none of which holds more than P rows and Q columns of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import VOID, Labels, Scores

# Scores that an image would have at its own size, up to which the graph makes the labels: undecided pixels, which may
# be all, take 24 bytes of memory for each. Of larger images they are made here.
GRAPH_VALUES = 24_000_000
CHUNK_PIXELS = 1 << 17  # that are interpolated at a time: a few megabytes, which stay in the processor's cache
STRIP_PIXELS = 1 << 20  # that are copied from their fields at a time

Whole = NDArray[np.intp]


@dataclass(frozen=True)
class SourceAxis:
    """Along one axis, for every pixel: the gap that it lies in, and how far along."""

    places: int
    gap: Whole  # [pixels], ascending: 0 before the first place, 1 between the first and the second, and so on
    part: NDArray[np.float32]  # [pixels], 0–1
    first: Whole  # [gaps] the first pixel in each, and
    last: Whole  # [gaps] the last; before the first where there is none

    def pixels_of(self, gap_K: Whole, most: int) -> Whole:
        """The pixels in K gaps, [most, K]. Where a gap holds fewer, its last stands in again."""
        return np.asarray(np.minimum(self.first[gap_K] + np.arange(most)[:, None], self.last[gap_K]))

    def ends(self, gap_K: Whole) -> tuple[Whole, Whole]:
        """The places before and after a gap; beyond the outermost places, the outermost."""
        return np.maximum(gap_K - 1, 0), np.minimum(gap_K, self.places - 1)

    @property
    def most(self) -> int:
        """Pixels in the fullest gap."""
        return int((self.last - self.first).max()) + 1


def axis_of(pixels: int, places: int) -> SourceAxis:
    ratio = np.float32(places) / np.float32(pixels)
    at = (np.arange(pixels).astype(np.float32) + np.float32(0.5)) * ratio - np.float32(0.5)
    before = np.floor(at)
    gap = (before + np.float32(1)).astype(np.intp)
    edges = np.searchsorted(gap, np.arange(places + 2))
    return SourceAxis(places, gap, at - before, edges[:-1], edges[1:] - 1)


def labels_of_scores(scores_Chw: Scores, size: tuple[int, int]) -> Labels:
    """The labels of an image of `size` (H, W): those of the highest score where the scores are enlarged, bilinearly
    with pixel centres at half-integers. On a tie the lower id wins. Returns uint8 [H, W]."""
    _, h, w = scores_Chw.shape
    rows, columns = axis_of(size[0], h), axis_of(size[1], w)
    agreed_hw = agreed(scores_Chw)
    labels_HW = np.empty(size, np.uint8)
    step = max(STRIP_PIXELS // size[1], 1)
    for top in range(0, size[0], step):
        part = slice(top, top + step)
        np.take(agreed_hw[rows.gap[part]], columns.gap, axis=1, out=labels_HW[part], mode="clip")
    flat_CN = np.ascontiguousarray(scores_Chw).reshape(len(scores_Chw), -1)
    held_y, held_x = rows.last >= rows.first, columns.last >= columns.first
    fields = max(CHUNK_PIXELS // (rows.most * columns.most), 1)
    # Not all undecided fields at once: where every pixel is one, their numbers alone would take 16 bytes a pixel.
    gaps_at_once = max(STRIP_PIXELS // (w + 1), 1)
    for first in range(0, h + 1, gaps_at_once):
        part = slice(first, first + gaps_at_once)
        row_N, column_N = np.nonzero((agreed_hw[part] == VOID) & held_y[part, None] & held_x)
        row_N += first
        for begin in range(0, len(row_N), fields):
            chunk = slice(begin, begin + fields)
            interpolate(flat_CN, rows, columns, row_N[chunk], column_N[chunk], labels_HW)
    return labels_HW


def agreed(scores_Chw: Scores) -> Labels:
    """The class that is highest at all four corners of a field, or VOID where there is more than one. [h + 1, w + 1]"""
    _, h, w = scores_Chw.shape
    best_hw = np.empty((h, w), np.uint8)
    step = max(STRIP_PIXELS // w, 1)
    for top in range(0, h, step):
        best_hw[top : top + step] = highest(scores_Chw[:, top : top + step])
    corner = np.pad(best_hw, 1, "edge")
    upper, lower = corner[:-1], corner[1:]
    same = upper[:, :-1] == upper[:, 1:]
    same &= lower[:, :-1] == lower[:, 1:]
    same &= upper[:, :-1] == lower[:, :-1]
    return np.where(same, upper[:, :-1], np.uint8(VOID))


def highest(scores_Chw: Scores) -> Labels:
    """The class of the highest score; ties go to the lower id. Several times faster than argmax."""
    most_hw = scores_Chw[0].copy()
    best_hw = np.zeros(most_hw.shape, np.uint8)
    for number, score_hw in enumerate(scores_Chw[1:], start=1):
        np.copyto(best_hw, np.uint8(number), where=score_hw > most_hw)
        np.maximum(most_hw, score_hw, out=most_hw)
    return best_hw


def interpolate(
    scores_CN: NDArray[np.float32],
    rows: SourceAxis,
    columns: SourceAxis,
    row_K: Whole,
    column_K: Whole,
    labels_HW: Labels,
) -> None:
    """Write the labels of all pixels in K fields. One class after the other: no array is larger than their pixels."""
    y_PK, x_QK = rows.pixels_of(row_K, rows.most), columns.pixels_of(column_K, columns.most)
    down_PK, across_Q1K = rows.part[y_PK], columns.part[x_QK][:, None]
    above_K, below_K = (place * columns.places for place in rows.ends(row_K))
    left_K, right_K = columns.ends(column_K)
    corners = above_K + left_K, below_K + left_K, above_K + right_K, below_K + right_K
    most_QPK = best_QPK = None
    for number, score_N in enumerate(scores_CN):
        above_left, below_left, above_right, below_right = (score_N[corner_K] for corner_K in corners)
        left_PK = above_left + (below_left - above_left) * down_PK
        right_PK = above_right + (below_right - above_right) * down_PK
        right_PK -= left_PK
        score_QPK = right_PK * across_Q1K
        score_QPK += left_PK
        if most_QPK is None or best_QPK is None:
            most_QPK, best_QPK = score_QPK, np.zeros(score_QPK.shape, np.uint8)
        else:
            np.copyto(best_QPK, np.uint8(number), where=score_QPK > most_QPK)
            np.maximum(most_QPK, score_QPK, out=most_QPK)
    assert best_QPK is not None
    labels_HW.reshape(-1)[y_PK * labels_HW.shape[1] + x_QK[:, None]] = best_QPK
