"""Confidence intervals of scores: the bootstrap over images (Efron & Tibshirani 1993).

A test set samples images, not pixels: a score over millions of pixels can still depend on a few images. Neighbouring
frames of a video are not independent, so that the true intervals are wider than these.

Shapes: N images; B draws.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
LEVEL = 0.95
AT_ONCE = 1 << 22  # counts held in memory at a time

Interval = tuple[float, float]


def draw_counts(images: int, draws: int = DRAWS, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """How often each image is drawn: B rows in all, yielded as [b, N]; the same for the same seed."""
    rng = np.random.default_rng(seed)
    step = max(AT_ONCE // images, 1)
    for first in range(0, draws, step):
        rows = min(step, draws - first)
        yield rng.multinomial(images, np.full(images, 1 / images), size=rows).astype(np.float64)


def drawn_sums(
    counts_N: NDArray[np.integer] | NDArray[np.floating], draws: int = DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """Sums over the drawn images of per-image counts [N, …]. Returns float64 [B, …]."""
    flat = counts_N.reshape(len(counts_N), -1).astype(np.float64)
    sums = [times @ flat for times in draw_counts(len(counts_N), draws, seed)]
    return np.concatenate(sums).reshape(-1, *counts_N.shape[1:])


def interval(drawn: NDArray[np.float64], level: float = LEVEL) -> NDArray[np.float64]:
    """The percentile interval over the draws (axis 0). Returns [2, …]: low and high; NaN where no draw is defined."""
    tail = (1 - level) / 2
    undefined = np.isnan(drawn).all(axis=0)
    safe = np.where(undefined, 0.0, drawn)
    low_high = np.nanquantile(safe, [tail, 1 - tail], axis=0)
    return np.where(undefined, np.nan, low_high)


def p_value(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value: twice the share of draws whose difference has the other sign. At least 2 / (B + 1)."""
    known = differences[~np.isnan(differences)]
    if not known.size:
        return float("nan")
    below, above = int((known <= 0).sum()), int((known >= 0).sum())
    return min(2 * (min(below, above) + 1) / (len(known) + 1), 1.0)
