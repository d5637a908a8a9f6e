"""Scores of objects: precision, recall, F1, average precision, panoptic quality, AJI, and errors of counting.

All follow from counts of each image that add up over images, so that any selection of images can be scored. A score is
NaN where it is undefined: precision without predicted objects, recall without true ones, the others without either.

Shapes: N images; S sizes; K thresholds; P predicted objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.metrics.confusion import ratio
from pixelwise.metrics.object_matching import MatchedObjects
from pixelwise.metrics.regions import SIZE_NAMES, SIZES_PX

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)  # least IoU of a pair
RIGHT, EXTRA, MISSED, IOU = range(4)  # of `ObjectCounts.pairs`
RECALLS = np.linspace(0, 1, 101)  # at which COCO reads off precision


@dataclass(frozen=True)
class ObjectCounts:
    """The counts of one class in one image, or the sum over many."""

    # [S, K, 4]: true positives, false positives, false negatives, and the sum of the true positives' IoU. Pairs and
    # missed objects have the size of the true object, extra ones their own. Ignored objects are in none.
    pairs: NDArray[np.float64]
    true: int  # objects
    predicted: int  # without those that are ignored at the lowest threshold
    count_error: int  # |predicted − true| of every image
    split: int  # true objects that were predicted as several
    merged: int  # predicted objects that are several true ones
    shared_px: int  # intersection and union of AJI
    joint_px: int

    @classmethod
    def zero(cls) -> ObjectCounts:
        return cls(np.zeros((len(SIZE_NAMES), len(THRESHOLDS), 4)), 0, 0, 0, 0, 0, 0, 0)

    def __add__(self, other: ObjectCounts) -> ObjectCounts:
        return ObjectCounts.of_vector(self.vector() + other.vector())

    def vector(self) -> NDArray[np.float64]:
        """All counts in one row, which the bootstrap draws."""
        rest = [self.true, self.predicted, self.count_error, self.split, self.merged, self.shared_px, self.joint_px]
        return np.concatenate((self.pairs.ravel(), np.array(rest, np.float64)))

    @classmethod
    def of_vector(cls, vector: NDArray[np.float64]) -> ObjectCounts:
        pairs = vector[:-7].reshape(len(SIZE_NAMES), len(THRESHOLDS), 4)
        true, predicted, count_error, split, merged, shared_px, joint_px = (int(number) for number in vector[-7:])
        return cls(pairs, true, predicted, count_error, split, merged, shared_px, joint_px)


def object_counts(found: MatchedObjects) -> ObjectCounts:
    """The counts of one image."""
    thresholds = np.array(THRESHOLDS)
    size_T, size_P = size_of(found.true_area_T), size_of(found.predicted_area_P)
    right_TK = found.iou_T[:, None] >= thresholds
    extra_PK = (found.iou_P[:, None] < thresholds) & ~found.void_P[:, None]
    pairs = np.zeros((len(SIZE_NAMES), len(THRESHOLDS), 4))
    np.add.at(pairs[:, :, RIGHT], size_T, right_TK)
    np.add.at(pairs[:, :, EXTRA], size_P, extra_PK)
    np.add.at(pairs[:, :, MISSED], size_T, ~right_TK)
    np.add.at(pairs[:, :, IOU], size_T, right_TK * found.iou_T[:, None])
    true, predicted = len(found.true_area_T), int(right_TK[:, 0].sum() + extra_PK[:, 0].sum())
    return ObjectCounts(
        pairs=pairs,
        true=true,
        predicted=predicted,
        count_error=abs(predicted - true),
        split=int(found.split_T.sum()),
        merged=int(found.merged_P.sum()),
        shared_px=found.shared_px,
        joint_px=found.joint_px,
    )


def size_of(area: NDArray[np.int64]) -> NDArray[np.intp]:
    """The place in SIZE_NAMES of objects of these areas."""
    return np.searchsorted(np.square(SIZES_PX), area, side="right")


def rates(pairs: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Scores of many counts at once.

    Args:
        pairs: [..., 4], the last axis as in `ObjectCounts.pairs`.

    Returns:
        precision, recall, f1, average_precision, segmentation_quality, recognition_quality, panoptic_quality [...].
        Average precision is that of the Data Science Bowl 2018: true positives / (true positives + false positives +
        false negatives). Panoptic quality (Kirillov et al. 2019) is the product of the other two: the mean IoU of
        pairs, and F1.
    """
    right, extra, missed, iou = np.moveaxis(np.asarray(pairs, np.float64), -1, 0)
    f1 = ratio(2 * right, 2 * right + extra + missed)
    return {
        "precision": ratio(right, right + extra),
        "recall": ratio(right, right + missed),
        "f1": f1,
        "average_precision": ratio(right, right + extra + missed),
        "segmentation_quality": ratio(iou, right),
        "recognition_quality": f1,
        "panoptic_quality": ratio(2 * iou, 2 * right + extra + missed),
    }


def headline(vectors: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The scores that name a model's quality, for many counts at once.

    Args:
        vectors: [..., V], as `ObjectCounts.vector` gives them.

    Returns:
        f1, precision, recall, panoptic_quality, segmentation_quality (IoU ≥ 0.5), mean_average_precision and mean_f1
        (over the thresholds), aji, and count_bias: (predicted − true) / true, each [...].
    """
    lead = vectors.shape[:-1]
    pairs = vectors[..., :-7].reshape(*lead, len(SIZE_NAMES), len(THRESHOLDS), 4).sum(axis=-3)
    found = rates(pairs)
    true, predicted, shared, joint = (np.asarray(vectors[..., at]) for at in (-7, -6, -2, -1))
    names = ("f1", "precision", "recall", "panoptic_quality", "segmentation_quality")
    return {
        **{name: found[name][..., 0] for name in names},
        "mean_average_precision": found["average_precision"].mean(axis=-1),
        "mean_f1": found["f1"].mean(axis=-1),
        "aji": ratio(shared, joint),
        "count_bias": ratio(predicted - true, true),
    }


def coco_average_precision(found: Sequence[MatchedObjects]) -> NDArray[np.float64]:
    """Average precision at each threshold as COCO defines it, over all images: [K]; NaN without true objects.

    Predicted objects are ranked by confidence; precision, made monotonous, is averaged over 101 recalls.

    Raises:
        ValueError: the confidence of some image's objects is unknown.
    """
    if any(one.confidence_P is None for one in found):
        raise ValueError("COCO's average precision needs the confidence of every predicted object")
    true = sum(len(one.true_area_T) for one in found)
    if not true:
        return np.full(len(THRESHOLDS), np.nan)

    def joined(values: list[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(values)

    order = np.argsort(-joined([np.asarray(one.confidence_P) for one in found]), kind="stable")
    iou_P, void_P = joined([one.iou_P for one in found])[order], joined([one.void_P for one in found])[order]
    at_threshold = []
    for threshold in THRESHOLDS:
        right = iou_P >= threshold
        right = right[right | ~void_P]
        correct = right.cumsum()
        precision = correct / np.arange(1, len(right) + 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or a higher one
        at = np.searchsorted(correct / true, RECALLS, side="left")
        at_threshold.append(np.append(best, 0.0)[np.minimum(at, len(best))].mean())
    return np.array(at_threshold)
