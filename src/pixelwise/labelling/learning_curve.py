"""What would more labels bring? A curve through scores at several training sizes, with how sure it is.

Scores follow error(n) = floor + gap · (n / largest)^−rate (Hestness et al. 2017, arXiv:1712.00409; Viering & Loog 2022,
arXiv:2103.10948). Three numbers cannot be told from a few noisy scores, so none is picked: many curves are drawn, each
weighted by how well it explains the scores, and what they say of more images is told as a range. Every one of them
rises: it is assumed that more images of the same kind do not hurt.

Shapes: M measured sizes; D drawn curves.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import UsageError
from pixelwise.images.files import shown

SIZES = 3  # training sizes, at least
CURVES = 200_000
NOISE = 0.01  # of a score from one training to the next, where the scores themselves do not say otherwise
NOISE_WEIGHT = 3  # how many scores that belief is worth
LEVEL = 0.9
EXPECTED = (
    'expected a CSV with the columns "images" and "miou", a line for each training (images,miou / 100,0.52 / 200,0.58 '
    "/ 400,0.62), all on the same validation images."
)


@dataclass(frozen=True)
class Forecast:
    """What so many more images should bring. Scores are 0–1; low and high hold 90 % of what the curves say."""

    images: int  # more than the largest training had
    score: float  # expected, the median
    gain: float  # over what the curve says of the largest training
    low: float
    high: float  # of the gain

    def to_json(self) -> dict[str, Any]:
        return {"more_images": self.images, "miou": self.score, "gain": self.gain, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class LearningCurve:
    """Many curves through the measured scores, each with its weight."""

    measured: tuple[tuple[int, float], ...]  # training images, mIoU
    floor_D: NDArray[np.float64]
    gap_D: NDArray[np.float64]
    rate_D: NDArray[np.float64]
    weight_D: NDArray[np.float64]  # sums to 1

    @property
    def largest(self) -> int:
        return max(images for images, _ in self.measured)

    def scores_at(self, images: float) -> NDArray[np.float64]:
        """What each curve says of a training with so many images, [D]."""
        return np.asarray(1 - self.floor_D - self.gap_D * (images / self.largest) ** -self.rate_D)

    def forecast(self, more: int) -> Forecast:
        scores_D = self.scores_at(self.largest + more)
        gain_D = scores_D - self.scores_at(self.largest)
        tail = (1 - LEVEL) / 2
        low, middle, high = weighted_quantiles(gain_D, self.weight_D, (tail, 0.5, 1 - tail))
        (score,) = weighted_quantiles(scores_D, self.weight_D, (0.5,))
        return Forecast(more, score, middle, low, high)


def fit_curve(measured: Sequence[tuple[int, float]], seed: int = 0) -> LearningCurve:
    """Curves through scores. `measured`: training images and mIoU (0–1), trainings of one size may repeat.

    Raises:
        UsageError: fewer than three training sizes, or numbers that cannot be.
    """
    sizes = sorted({images for images, _ in measured})
    if len(sizes) < SIZES:
        listed = ", ".join(map(str, sizes)) or "none"
        raise UsageError(
            f"scores at {len(sizes)} training sizes ({listed}); expected {SIZES} or more, or the curve would be made "
            f"up. Train on parts of your data too, such as a quarter and a half: {EXPECTED}"
        )
    if any(images < 1 or not 0 <= score <= 1 for images, score in measured):
        raise UsageError(f"training images below 1, or scores outside 0–1; {EXPECTED}")
    rng = np.random.default_rng(seed)
    images_M, score_M = np.array(measured, float).T
    # Each draw: how steep, which part of the error at the largest size will never go, and that error itself.
    rate_D = np.exp(rng.uniform(np.log(0.05), np.log(2.0), CURVES))
    error_D = np.clip(1 - score_M[images_M == sizes[-1]].mean() + rng.normal(0, 3 * NOISE, CURVES), 1e-6, 1)
    floor_D = error_D * rng.uniform(0, 1, CURVES)
    gap_D = error_D - floor_D
    steps_MD = (images_M / sizes[-1])[:, None] ** -rate_D
    misfit_D = ((1 - floor_D - gap_D * steps_MD - score_M[:, None]) ** 2).sum(axis=0)
    # Student's t: the noise is not known, but believed to be about NOISE.
    power = -(NOISE_WEIGHT + len(measured)) / 2
    log_D = power * np.log(NOISE_WEIGHT * NOISE**2 + misfit_D)
    weight_D = np.exp(log_D - log_D.max())
    return LearningCurve(tuple(sorted(measured)), floor_D, gap_D, rate_D, weight_D / weight_D.sum())


def weighted_quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64], at: Sequence[float]
) -> tuple[float, ...]:
    order = np.argsort(values)
    reached = weights[order].cumsum()
    places = np.searchsorted(reached, np.array(at) * reached[-1])
    return tuple(float(values[order[min(place, len(order) - 1)]]) for place in places)


def read_curve(path: Path) -> list[tuple[int, float]]:
    """Scores at several training sizes from a CSV.

    Raises:
        UsageError: no such file, or not such a table.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error}); {EXPECTED}") from error
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        return [(int(row["images"]), float(row["miou"])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{shown(path)}: line {rows.line_num} is not as it should be; {EXPECTED}") from error


def score_of_run(run: Path) -> tuple[int, float]:
    """A run's training images and its best mIoU on its own validation images.

    Raises:
        UsageError: it is no run directory, or has no epoch yet.
    """
    images, best = 0, -1.0
    try:
        with (run / "trace.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                if not line.endswith("\n"):  # still being written
                    break
                event = json.loads(line)
                if event.get("event") == "data":
                    images = int(event["pairs"]["train"])
                elif event.get("event") == "epoch":
                    best = max(best, event.get("miou") or 0.0)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{shown(run)}: its trace.jsonl cannot be read ({error}). Name a run directory.") from error
    if not images or best < 0:
        raise UsageError(f"{shown(run)}: has no epoch yet. Let it finish one, or leave it out.")
    return images, best
