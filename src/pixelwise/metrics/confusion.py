"""The confusion matrix, and every pixel score that follows from it.

matrix[t, p] counts the pixels of true class t predicted as p. Void pixels are not counted.

The rule for absent classes: a class that is neither true nor predicted anywhere has no IoU (None, NaN in arrays) and
is left out of the means; a class that is only predicted has IoU 0 and counts; the mean over no classes is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import VOID, ClassList, Labels

STRIP_PIXELS = 1 << 22  # counted at a time
Counts = NDArray[np.int64]  # [C, C]


def count_pairs(predicted_HW: Labels, true_HW: Labels, classes: int) -> Counts:
    """The confusion matrix [C, C] of one image, without void.

    Raises:
        ValueError: shapes differ, or an id is neither a class nor void.
    """
    if predicted_HW.shape != true_HW.shape:
        raise ValueError(f"predicted labels are {predicted_HW.shape}, true labels {true_HW.shape}; they must agree")
    # One 16-bit code per pixel, counted in one pass; void has its own row and column, which are checked and dropped.
    # In strips: a pixel temporarily takes ten bytes.
    counted = np.zeros(1 << 16, np.int64)
    rows = max(STRIP_PIXELS // max(true_HW.shape[1], 1), 1)
    for top in range(0, len(true_HW), rows):
        codes = true_HW[top : top + rows].astype(np.uint16) << 8
        codes |= predicted_HW[top : top + rows]
        counted += np.bincount(codes.ravel(), minlength=1 << 16)
    counts = counted.reshape(256, 256)
    labelled = counts[:VOID]
    if labelled[classes:].any() or labelled[:, classes:].any():
        raise ValueError(f"ids outside the {classes} classes (0 … {classes - 1}) and void ({VOID})")
    return np.ascontiguousarray(labelled[:classes, :classes]).astype(np.int64)


@dataclass(frozen=True)
class Scores:
    """Scores of a confusion matrix, each 0–1; NaN where undefined (see the rule above)."""

    accuracy: float  # share of labelled pixels that are correct
    class_accuracy: float  # mean recall over the true classes
    miou: float  # mean over classes of intersection / union
    iou_C: NDArray[np.float64]
    recall_C: NDArray[np.float64]
    precision_C: NDArray[np.float64]
    dice_C: NDArray[np.float64]  # 2 · intersection / (true + predicted), which is F1
    weighted_iou: float  # mean IoU, each class weighted by its share of the true pixels
    mean_dice: float
    pixels: int  # labelled pixels

    def to_json(self, classes: ClassList) -> dict[str, Any]:
        def known(value: float) -> float | None:
            return None if np.isnan(value) else float(value)

        return {
            "accuracy": known(self.accuracy),
            "class_accuracy": known(self.class_accuracy),
            "miou": known(self.miou),
            "weighted_iou": known(self.weighted_iou),
            "mean_dice": known(self.mean_dice),
            "pixels": self.pixels,
            "classes": {
                name: {"iou": known(iou), "dice": known(dice), "recall": known(recall), "precision": known(precision)}
                for name, iou, dice, recall, precision in zip(
                    classes.names, self.iou_C, self.dice_C, self.recall_C, self.precision_C, strict=True
                )
            },
        }


def class_counts(matrix: Counts) -> Counts:
    """Each class's correct, true and predicted pixels, [3, C]: all that a score needs, and small enough to keep."""
    return np.stack([np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)])


def counts_of_one_class(counts_3C: NDArray[np.integer], class_id: int) -> Counts:
    """The counts of predicting one class everywhere, [3, C], on the pixels of `counts_3C`."""
    found = np.zeros(counts_3C.shape, np.int64)
    found[1] = counts_3C[1]
    found[0, class_id], found[2, class_id] = counts_3C[1, class_id], counts_3C[1].sum()
    return found


def scores(matrix: Counts) -> Scores:
    """Every score that a confusion matrix holds."""
    return scores_of_counts(class_counts(matrix))


def baseline(matrix: Counts) -> tuple[int, Scores]:
    """The majority-class baseline: the most frequent true class, and the scores of predicting it everywhere."""
    counts_3C = class_counts(matrix)
    majority = int(counts_3C[1].argmax())
    return majority, scores_of_counts(counts_of_one_class(counts_3C, majority))


def scores_of_counts(counts_3C: Counts) -> Scores:
    """As `scores`, from what `class_counts` returns."""
    found = scores_of_sums(counts_3C)
    return Scores(
        accuracy=float(found["accuracy"]),
        class_accuracy=float(found["class_accuracy"]),
        miou=float(found["miou"]),
        iou_C=found["iou"],
        recall_C=found["recall"],
        precision_C=found["precision"],
        dice_C=found["dice"],
        weighted_iou=float(found["weighted_iou"]),
        mean_dice=float(found["mean_dice"]),
        pixels=int(counts_3C[1].sum()),
    )


def scores_of_sums(sums: NDArray[np.floating] | NDArray[np.integer]) -> dict[str, NDArray[np.float64]]:
    """The scores of many class counts at once.

    Args:
        sums: [..., 3, C], each as `class_counts` returns it.

    Returns:
        accuracy, class_accuracy, miou, weighted_iou, mean_dice [...] and iou, dice, precision, recall [..., C].
    """
    right, true, predicted = np.moveaxis(np.asarray(sums, np.float64), -2, 0)
    iou, recall, dice = ratio(right, true + predicted - right), ratio(right, true), ratio(2 * right, true + predicted)
    total = true.sum(axis=-1)
    return {
        "accuracy": ratio(right.sum(axis=-1), total),
        "class_accuracy": mean(recall),
        "miou": mean(iou),
        "weighted_iou": ratio((true * np.nan_to_num(iou)).sum(axis=-1), total),
        "mean_dice": mean(dice),
        "iou": iou,
        "dice": dice,
        "precision": ratio(right, predicted),
        "recall": recall,
    }


def ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN, without a warning, where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan, np.float64), where=denominator > 0)


def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the last axis of all values that are defined; NaN, without a warning, where none is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))
