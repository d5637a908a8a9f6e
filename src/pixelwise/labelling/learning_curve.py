"""The learning curve: the expected gain from more labels, with its uncertainty.

The error follows error(n) = floor + gap · (n / largest)^−rate (Hestness et al. 2017, arXiv:1712.00409; Viering & Loog
2022, arXiv:2103.10948). A few noisy scores do not determine three parameters. Therefore many curves are drawn, each
weighted by its likelihood, and a forecast is a range over all of them. Every curve rises: more images of the same kind
are assumed not to hurt.

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

SIZES = 3  # minimum number of training sizes
CURVES = 200_000
NOISE = 0.01  # prior standard deviation of a score between trainings
NOISE_WEIGHT = 3  # number of scores that the prior counts for
LEVEL = 0.9
EXPECTED = (
    'expected a CSV with the columns "images" and "miou" and one line per training (images,miou / 100,0.52 / 200,0.58 '
    "/ 400,0.62), all scored on the same validation images."
)


@dataclass(frozen=True)
class Forecast:
    """The expected gain from more images. Scores are 0–1; `low` to `high` is the 90 % range over the curves."""

    images: int  # in addition to those of the largest training
    score: float  # expected, the median
    gain: float  # over the curve's score at the largest training size
    low: float
    high: float  # of the gain

    def to_json(self) -> dict[str, Any]:
        return {"more_images": self.images, "miou": self.score, "gain": self.gain, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class LearningCurve:
    """Many curves through the measured scores, with weights."""

    measured: tuple[tuple[int, float], ...]  # training images, mIoU
    floor_D: NDArray[np.float64]
    gap_D: NDArray[np.float64]
    rate_D: NDArray[np.float64]
    weight_D: NDArray[np.float64]  # sums to 1

    @property
    def largest(self) -> int:
        return max(images for images, _ in self.measured)

    def scores_at(self, images: float) -> NDArray[np.float64]:
        """The score of each curve at a number of training images, [D]."""
        return np.asarray(1 - self.floor_D - self.gap_D * (images / self.largest) ** -self.rate_D)

    def forecast(self, more: int) -> Forecast:
        scores_D = self.scores_at(self.largest + more)
        gain_D = scores_D - self.scores_at(self.largest)
        tail = (1 - LEVEL) / 2
        low, middle, high = weighted_quantiles(gain_D, self.weight_D, (tail, 0.5, 1 - tail))
        (score,) = weighted_quantiles(scores_D, self.weight_D, (0.5,))
        return Forecast(more, score, middle, low, high)


def fit_curve(measured: Sequence[tuple[int, float]], seed: int = 0) -> LearningCurve:
    """Fit curves to scores. `measured`: training images and mIoU (0–1); sizes may repeat.

    Raises:
        UsageError: fewer than three training sizes, or a number outside its range.
    """
    sizes = sorted({images for images, _ in measured})
    if len(sizes) < SIZES:
        listed = ", ".join(map(str, sizes)) or "none"
        raise UsageError(
            f"scores at {len(sizes)} training sizes ({listed}); expected at least {SIZES}, which a curve needs. "
            f"Train on parts of your data too, such as a quarter and a half: {EXPECTED}"
        )
    if any(images < 1 or not 0 <= score <= 1 for images, score in measured):
        raise UsageError(f"training images below 1, or scores outside 0–1; {EXPECTED}")
    rng = np.random.default_rng(seed)
    images_M, score_M = np.array(measured, float).T
    # Each draw: the rate, the error at the largest size, and the part of it that no number of images removes.
    rate_D = np.exp(rng.uniform(np.log(0.05), np.log(2.0), CURVES))
    error_D = np.clip(1 - score_M[images_M == sizes[-1]].mean() + rng.normal(0, 3 * NOISE, CURVES), 1e-6, 1)
    floor_D = error_D * rng.uniform(0, 1, CURVES)
    gap_D = error_D - floor_D
    steps_MD = (images_M / sizes[-1])[:, None] ** -rate_D
    misfit_D = ((1 - floor_D - gap_D * steps_MD - score_M[:, None]) ** 2).sum(axis=0)
    # Student's t: the noise is unknown, with a prior of NOISE.
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
    """Read scores at several training sizes from a CSV.

    Raises:
        UsageError: the file is missing or is no such table.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error}); {EXPECTED}") from error
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        return [(int(row["images"]), float(row["miou"])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{shown(path)}: line {rows.line_num} is invalid; {EXPECTED}") from error


def score_of_run(run: Path) -> tuple[int, float]:
    """A run's training images and its best mIoU on its own validation images.

    Raises:
        UsageError: not a run directory, or no epoch has finished.
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
        raise UsageError(f"{shown(run)}: trace.jsonl cannot be read ({error}). Give a run directory.") from error
    if not images or best < 0:
        raise UsageError(f"{shown(run)}: no epoch has finished. Wait for one, or leave this run out.")
    return images, best
