"""Calibration of probabilities: temperature scaling and the expected calibration error (Guo et al., arXiv:1706.04599).

Shapes: N pixels, C classes; H, W an image's own size; h, w that of the scores; y, x of sampled rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import VOID
from pixelwise.records import Scores as LowScores
from pixelwise.softmax import highest_probability, log_softmax

BINS = 15
FINE = 100  # parts of a bin: confidences are counted in 1,500 of them, fine enough for risk against coverage
SAMPLE_EVERY = 4  # rows and columns
THRESHOLDS = (*(i / 20 for i in range(20)), 0.97, 0.99)  # of confidence
STRIP_VALUES = 1 << 22  # scores resized at a time: bounds the memory for large images
TEMPERATURES = (0.25, 4.0)  # range of the search

Between = tuple[
    NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]
]  # index before, index after, weight of the latter


def fit_temperature(scores_NC: NDArray[np.floating], labels_N: NDArray[np.integer]) -> float:
    """The temperature that makes the labels most likely; 1.0 where nothing is labelled.

    The likelihood has one peak in 1 / temperature, so a golden-section search on its logarithm finds it.
    """
    scores_CN, labels_N = labelled_pixels(scores_NC, labels_N)
    if not len(labels_N):
        return 1.0
    at_N = np.arange(len(labels_N))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(scores_CN, float(np.exp(log_temperature)))[labels_N, at_N].mean())

    low, high = np.log(TEMPERATURES)
    golden = (5**0.5 - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > 1e-3:
        if loss_left < loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - golden * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + golden * (high - low)
            loss_right = loss(right)
    return float(np.exp((low + high) / 2))


def calibration_error(
    scores_NC: NDArray[np.floating], labels_N: NDArray[np.integer], temperature: float = 1.0
) -> float:
    """Expected calibration error, 0–1: |confidence − accuracy|, averaged over bins of confidence.

    NaN where nothing is labelled.
    """
    scores_CN, labels_N = labelled_pixels(scores_NC, labels_N)
    right_N = scores_CN.argmax(axis=0) == labels_N
    return calibration_of(confidence_sums(highest_probability(scores_CN, temperature), right_N)).error


def labelled_pixels(
    scores_NC: NDArray[np.floating], labels_N: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
    """Scores [C, N] and labels [N] of the pixels that are not void."""
    labelled = labels_N != VOID
    return np.ascontiguousarray(scores_NC[labelled].T, np.float64), labels_N[labelled]


@lru_cache(maxsize=16)
def places_between(at: tuple[int, int, int], size_px: int, low_px: int) -> Between:
    """Bilinear resizing from low_px to size_px, pixel centres at half-integers: indices and weights.

    Args:
        at: start, stop and step of the wanted pixels.

    Returns:
        The index before each pixel, the index after it, and the weight of the latter.
    """
    place = np.clip((np.arange(*at) + 0.5) / size_px * low_px - 0.5, 0, low_px - 1)
    first = place.astype(np.intp)
    return first, np.minimum(first + 1, low_px - 1), (place - first).astype(np.float32)


def sample_grid(height: int, width: int, turn: int) -> tuple[slice, slice]:
    """The rows and columns at which confidence is looked up: one pixel in 16.

    Args:
        turn: the image's number in its split, which moves the grid.
    """
    y, x = turn % SAMPLE_EVERY % height, turn // SAMPLE_EVERY % SAMPLE_EVERY % width
    return slice(y, None, SAMPLE_EVERY), slice(x, None, SAMPLE_EVERY)


def sampled_confidence(
    scores_Chw: LowScores, height: int, width: int, rows: slice, columns: slice, temperature: float = 1.0
) -> NDArray[np.float32]:
    """Probability of the most probable class at the pixels [rows, columns] of an image of height × width.

    The same as from full-resolution scores, which are never computed. Returns float32 [y, x].
    """
    classes, h, w = scores_Chw.shape
    above, below, down_y = places_between(rows.indices(height), height, h)
    left, right, across_x = places_between(columns.indices(width), width, w)
    step = max(STRIP_VALUES // (classes * max(w, len(left))), 1)
    found = [
        confidence_between(
            scores_Chw, (above[y:stop], below[y:stop], down_y[y:stop]), (left, right, across_x), temperature
        )
        for y, stop in ((y, y + step) for y in range(0, len(above), step))
    ]
    return found[0] if len(found) == 1 else np.concatenate(found)


def confidence_between(
    scores_Chw: LowScores, down: Between, across: Between, temperature: float
) -> NDArray[np.float32]:
    """Probability of the most probable class at interpolated scores. Returns float32 [y, x]."""
    above, below, down_y = down
    left, right, across_x = across
    # No matrix product: its threads would compete with the network's. `take` copies faster than indexing.
    scores_Cyw = scores_Chw.take(above, axis=1)
    scores_Cyw += (scores_Chw.take(below, axis=1) - scores_Cyw) * down_y[:, None]
    scores_Cyx = scores_Cyw.take(left, axis=2)
    scores_Cyx += (scores_Cyw.take(right, axis=2) - scores_Cyx) * across_x
    return highest_probability(scores_Cyx, temperature, overwrite=True)


def confidence_sums(confidence_N: NDArray[np.floating], right_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pixels, correct pixels and summed confidence in each of BINS · FINE parts of 0–1. Returns [3, BINS · FINE]."""
    parts = BINS * FINE
    part_N = np.minimum((confidence_N * parts).astype(int), parts - 1)
    return np.stack(
        [
            np.bincount(part_N, minlength=parts).astype(np.float64),
            np.bincount(part_N[right_N], minlength=parts),
            np.bincount(part_N, weights=confidence_N, minlength=parts),
        ]
    )


@dataclass(frozen=True)
class Calibration:
    """Calibration of counted confidences. NaN where nothing was counted."""

    pixels: int
    error: float  # expected calibration error, 0–1
    bins: NDArray[np.float64]  # [BINS, 3]: share of the pixels, mean confidence and accuracy
    coverage: NDArray[np.float64]  # share of the pixels kept, the most confident first; ascending to 1
    risk: NDArray[np.float64]  # share of the kept pixels that are wrong
    area_under_risk: float  # mean risk over all coverages; lower is better


def calibration_of(sums: NDArray[np.float64]) -> Calibration:
    """The reliability diagram and the curve of risk against coverage (Geifman & El-Yaniv 2017, arXiv:1705.08500)."""
    count, right, confidence = sums.reshape(3, BINS, FINE).sum(axis=2)
    total = float(count.sum())
    if not total:
        empty = np.zeros(0)
        return Calibration(0, float("nan"), np.full((BINS, 3), np.nan), empty, empty, float("nan"))
    error = float(np.abs(confidence - right).sum() / total)
    known = np.maximum(count, 1)
    bins = np.stack([count / total, confidence / known, right / known], axis=1)
    bins[count == 0, 1:] = np.nan
    fine_count, fine_right = sums[0, ::-1], sums[1, ::-1]
    kept = fine_count > 0
    seen, hits = fine_count[kept].cumsum(), fine_right[kept].cumsum()
    coverage, risk = seen / total, 1 - hits / seen
    area = float((risk * fine_count[kept]).sum() / total)
    return Calibration(int(total), error, bins, coverage, risk, area)


def above_thresholds(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a threshold on confidence does, from counted confidences.

    Returns:
        [len(THRESHOLDS), 3]: the share of the pixels at or above each threshold, the share of these that is wrong, and
        the share of all wrong pixels that lie below; NaN where undefined.
    """
    parts = BINS * FINE
    first = [round(threshold * parts) for threshold in THRESHOLDS]
    count, wrong = (np.append(values[::-1].cumsum()[::-1], 0.0)[first] for values in (sums[0], sums[0] - sums[1]))
    rows = ((count, count[0]), (wrong, count), (wrong[0] - wrong, wrong[0]))
    shares = [np.divide(part, whole, out=np.full(len(first), np.nan), where=whole > 0) for part, whole in rows]
    return np.stack(shares, axis=1)
