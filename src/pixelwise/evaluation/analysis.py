"""The analysis behind the scores: intervals, boundaries, calibration, error breakdown, region sizes, sequences.

It needs the sums over images and one small row per image.

Shapes: N images; C classes; D distances; T tolerances.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.evaluation.measure_image import Sums
from pixelwise.evaluation.object_analysis import RULES, ObjectScores, scores_of_objects, truth_of
from pixelwise.evaluation.per_image import ImageRow, chosen_images, counts_of, sequences
from pixelwise.metrics.bootstrap import DRAWS, drawn_sums, interval
from pixelwise.metrics.boundary import DISTANCES_PX, boundary_iou
from pixelwise.metrics.calibration import (
    SAMPLE_EVERY,
    THRESHOLDS,
    Calibration,
    above_thresholds,
    calibration_of,
)
from pixelwise.metrics.confusion import (
    Scores,
    baseline,
    class_counts,
    counts_of_one_class,
    mean,
    scores,
    scores_of_counts,
    scores_of_sums,
)
from pixelwise.metrics.error_types import BOUNDARY_PX, KINDS, NAMES, SURE, Suspect, gains_if_fixed
from pixelwise.metrics.outlines import TOLERANCES_PX, boundary_f, surface_dice
from pixelwise.metrics.regions import FOUND, LOST, SIZE_NAMES
from pixelwise.records import ClassList

COVERAGES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # at which risk is reported
SHOWN = 3  # worst, typical and best images


@dataclass(frozen=True)
class Analysis:
    """The results of one pass over a split beyond the confusion matrix. Scores are 0–1, NaN where undefined."""

    classes: ClassList
    sums: Sums
    rows: tuple[ImageRow, ...]
    suspects: tuple[tuple[str, Suspect], ...]  # with the image's name; the largest first
    suspects_in_all: int

    @cached_property
    def majority(self) -> int:
        """The most frequent true class; predicted everywhere, it is the majority-class baseline."""
        return baseline(self.sums.matrix)[0]

    @cached_property
    def baseline_accuracy(self) -> float:
        """The pixel accuracy of the majority-class baseline."""
        return self.baseline_scores(self.sums.matrix).accuracy

    @cached_property
    def intervals(self) -> dict[str, NDArray[np.float64]]:
        """The 95 % bootstrap interval of every pixel score: name → [2] or [2, C]."""
        drawn = scores_of_sums(drawn_sums(counts_of(self.rows)))
        return {name: interval(values) for name, values in drawn.items()}

    @cached_property
    def calibration(self) -> Calibration:
        return calibration_of(self.sums.confidence)

    @cached_property
    def boundary_iou_DC(self) -> NDArray[np.float64]:
        return boundary_iou(self.sums.bands)

    @cached_property
    def boundary_f_TC(self) -> NDArray[np.float64]:
        return boundary_f(self.sums.edges)

    def baseline_boundary_iou(self) -> NDArray[np.float64]:
        """Boundary IoU of the baseline, [D, C]."""
        counts = self.sums.bands.copy()
        counts[1:] = 0
        counts[1:, :, self.majority] = self.sums.baseline_bands[:, :, self.majority]
        return boundary_iou(counts)

    @cached_property
    def baseline_edges(self) -> NDArray[np.int64]:
        """Boundary counts of the baseline, [T, 4, C]: it predicts no other class."""
        counts = self.sums.edges.copy()
        counts[:, [0, 1, 3]] = 0
        counts[:, :, self.majority] = self.sums.baseline_edges[:, :, self.majority]
        return counts

    def baseline_scores(self, matrix: NDArray[np.int64]) -> Scores:
        """The baseline's scores on the pixels of a confusion matrix."""
        return scores_of_counts(counts_of_one_class(class_counts(matrix), self.majority))

    def trimap(self) -> list[dict[str, Any]]:
        """Scores of the pixels within each distance of a true boundary, and of all pixels (px: None)."""
        within = self.sums.joint.cumsum(axis=0)
        total = max(int(within[-1].sum()), 1)
        found = []
        for distance, matrix in zip((*DISTANCES_PX, None), within, strict=True):
            scored, pixels = scores(matrix), int(matrix.sum())
            guess = self.baseline_scores(matrix)
            found.append({"px": distance, "share": pixels / total, "accuracy": scored.accuracy, "miou": scored.miou,
                          "baseline_accuracy": guess.accuracy, "baseline_miou": guess.miou})  # fmt: skip
        return found

    def boundaries(self) -> dict[str, list[dict[str, Any]]]:
        """Boundary IoU by band width; boundary F and surface Dice by tolerance."""

        def both(name: str, row_C: NDArray[np.float64], guess_C: NDArray[np.float64]) -> dict[str, Any]:
            return {name: float(mean(row_C)), f"baseline_{name}".removesuffix("_mean"): float(mean(guess_C))}

        def of(px: int, row_C: NDArray[np.float64], guess_C: NDArray[np.float64]) -> dict[str, Any]:
            named = {"classes": self.named(row_C), "baseline_classes": self.named(guess_C)}
            return {"px": px, **both("mean", row_C, guess_C), **named}

        iou = zip(DISTANCES_PX, self.boundary_iou_DC, self.baseline_boundary_iou(), strict=True)
        f = zip(TOLERANCES_PX, self.boundary_f_TC, boundary_f(self.baseline_edges), strict=True)
        dice = zip(surface_dice(self.sums.edges), surface_dice(self.baseline_edges), strict=True)
        return {
            "iou": [of(*row) for row in iou],
            "f": [{**of(*row), **both("surface_dice", *pair)} for row, pair in zip(f, dice, strict=True)],
        }

    def errors(self) -> list[dict[str, Any]]:
        """The error breakdown: wrong pixels of each kind, their share of all errors, and the mIoU gain if fixed."""
        gains = gains_if_fixed(self.sums.matrix, self.sums.kinds)
        pixels = self.sums.kinds.sum(axis=(1, 2))
        return [
            {"kind": kind, "name": NAMES[kind], "pixels": int(number), "share": number / max(int(pixels.sum()), 1),
             "miou_gain": gains[kind]}
            for kind, number in zip(KINDS, pixels, strict=True)
        ]  # fmt: skip

    def sizes(self) -> list[dict[str, Any]]:
        """True regions by size: their number, the share found, and the pixel accuracy in them."""
        found = []
        for name, row_C4 in zip(SIZE_NAMES, self.sums.sizes, strict=True):
            regions, hit, pixels, right = (int(value) for value in row_C4.sum(axis=0))
            guess = int(row_C4[self.majority, 2]) / pixels if pixels else float("nan")
            guess_found = int(row_C4[self.majority, 0]) / regions if regions else float("nan")
            found.append({"size": name, "regions": regions, "found": hit / regions if regions else float("nan"),
                          "baseline_found": guess_found,
                          "pixels": pixels, "accuracy": right / pixels if pixels else float("nan"),
                          "baseline_accuracy": guess})  # fmt: skip
        return found

    def by_sequence(self) -> list[dict[str, Any]]:
        """Scores of each sequence, if the file names show any."""
        counts = counts_of(self.rows).astype(np.int64)
        found = []
        for name, members in sequences(self.rows).items():
            sums = counts[members].sum(axis=0)
            scored = scores_of_counts(sums)
            guess = scores_of_counts(counts_of_one_class(sums, self.majority))
            found.append({"sequence": name, "images": len(members), "accuracy": scored.accuracy, "miou": scored.miou,
                          "baseline_accuracy": guess.accuracy, "baseline_miou": guess.miou})  # fmt: skip
        return found

    def risk(self, coverage: float) -> float:
        """The share of wrong pixels among the most confident `coverage` of all; ties are kept together."""
        if not self.calibration.pixels:
            return float("nan")
        at = int(np.searchsorted(self.calibration.coverage, coverage - 1e-12))
        return float(self.calibration.risk[min(at, len(self.calibration.risk) - 1)])

    def thresholds(self) -> list[dict[str, float]]:
        """What is left, and how much of it is wrong, if only pixels of at least a confidence are kept."""
        shares = above_thresholds(self.sums.confidence).tolist()
        return [
            {"confidence": at, "kept": kept, "wrong": wrong, "errors_below": below}
            for at, (kept, wrong, below) in zip(THRESHOLDS, shares, strict=True)
        ]

    def chosen(self) -> dict[str, list[int]]:
        return chosen_images(self.rows, SHOWN)

    @cached_property
    def objects(self) -> tuple[ObjectScores, ...]:
        """The scores of every class whose objects were scored."""
        return scores_of_objects(self.rows)

    def named(self, values_C: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(self.classes.names, values_C.tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """All results, NaN where undefined, and the rules behind them."""
        calibration = self.calibration
        rows = {kind: [self.rows[i] for i in found] for kind, found in self.chosen().items()}
        objects = {scored.name: scored.to_json() for scored in self.objects}
        return {
            "intervals": {name: ends.T.tolist() for name, ends in self.intervals.items()},
            "boundary": self.boundaries(),
            "trimap": self.trimap(),
            "calibration": {
                "ece": calibration.error,
                "baseline_ece": 1 - self.baseline_accuracy,  # of one class with full confidence
                "pixels": calibration.pixels,
                "area_under_risk": calibration.area_under_risk,
                "bins": [{"share": share, "confidence": confidence, "accuracy": accuracy}
                         for share, confidence, accuracy in calibration.bins.tolist()],
                "risk": [{"coverage": at, "risk": self.risk(at), "baseline": 1 - self.baseline_accuracy}
                         for at in COVERAGES],
                "thresholds": self.thresholds(),
            },
            "errors": self.errors(),
            **({"objects": {"classes": objects, "truth": truth_of(self.rows), "rules": RULES}} if objects else {}),
            "sizes": self.sizes(),
            "sequences": self.by_sequence(),
            "suspects_in_all": self.suspects_in_all,
            "suspects": [{"image": name, "x": s.x, "y": s.y, "width": s.width, "height": s.height,
                          "pixels": s.pixels, "mask_says": self.classes.names[s.true],
                          "model_says": self.classes.names[s.predicted], "confidence": s.confidence}
                         for name, s in self.suspects],
            "chosen": {kind: [{"image": row.name, "miou": row.miou, "accuracy": row.accuracy,
                               **row.baseline(self.majority)} for row in group]
                       for kind, group in rows.items()},
            "rules": {
                "bootstrap": f"95 % percentile intervals over images, {DRAWS} draws",
                "confidence": f"sampled at one pixel in {SAMPLE_EVERY**2}, on a grid that shifts from image to image",
                "boundary": f"wrong, and at most {BOUNDARY_PX} px from a true boundary",
                "region": f"in a true region of which at most {LOST:.0%} is correct",
                "label": f"in a patch of one true and one predicted class with a mean confidence of {SURE:.0%} or more",
                "found": f"at least {FOUND:.0%} of its pixels are correct",
            },
        }  # fmt: skip
