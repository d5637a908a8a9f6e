"""The scores of a class's objects over a split, with intervals: by IoU threshold, by size, and over images.

Shapes: N images; V counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.evaluation.measure_objects import ImageObjects
from pixelwise.evaluation.per_image import ImageRow
from pixelwise.metrics.bootstrap import drawn_sums, interval
from pixelwise.metrics.confusion import mean
from pixelwise.metrics.object_scores import THRESHOLDS, ObjectCounts, coco_average_precision, headline, rates
from pixelwise.metrics.regions import SIZE_NAMES

COCO_AT = {"ap50": 0.5, "ap75": 0.75}
OVER_IMAGES = ("f1", "mean_average_precision", "panoptic_quality", "aji")  # also given as the mean over images
RULES = {
    "pair": "A predicted and a true object are a pair at a threshold where the IoU of their pixels reaches it; every "
            "object is in one pair at most.",
    "average_precision": "Average precision is pairs / (pairs + extra + missed objects) as in the Data Science Bowl "
                         "2018; its mean is over the IoU thresholds 0.5, 0.55 … 0.95. COCO's ranks objects by "
                         "confidence.",
    "void": "A predicted object without a partner, more than half of which lies on void, is ignored.",
    "split": "A true object is split if two or more predicted ones have more than half of their pixels in it; a "
             "predicted object is merged if two or more true ones have more than half of theirs in it.",
    "size": "Pairs and missed objects have the size of the true object, extra ones their own: the side of a square of "
            "the same area.",
}  # fmt: skip


@dataclass(frozen=True)
class ObjectScores:
    """The scores of one class's objects. Each 0–1, NaN where undefined."""

    name: str
    images: tuple[tuple[ImageRow, ImageObjects], ...]
    how: str  # touching objects were separated

    @cached_property
    def vectors_NV(self) -> NDArray[np.float64]:
        return np.stack([objects.counts[self.name].vector() for _, objects in self.images])

    @cached_property
    def counts(self) -> ObjectCounts:
        return ObjectCounts.of_vector(self.vectors_NV.sum(axis=0))

    @cached_property
    def whole(self) -> dict[str, float]:
        """The scores over the objects of all images, see metrics.object_scores.headline."""
        return {name: float(value) for name, value in headline(self.vectors_NV.sum(axis=0)).items()}

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % bootstrap interval over images of each of these."""
        drawn = headline(drawn_sums(self.vectors_NV))
        ends = {name: interval(values) for name, values in drawn.items()}
        return {name: (float(low), float(high)) for name, (low, high) in ends.items()}

    @cached_property
    def unseparated(self) -> dict[str, float]:
        """The scores if every predicted object were the connected pixels of the class: the baseline."""
        vectors = np.stack([objects.unseparated[self.name].vector() for _, objects in self.images])
        return {name: float(value) for name, value in headline(vectors.sum(axis=0)).items()}

    @cached_property
    def over_images(self) -> dict[str, float]:
        """The means over images, each with the same weight whatever its number of objects."""
        each = headline(self.vectors_NV)
        return {name: float(mean(each[name])) for name in OVER_IMAGES}

    @cached_property
    def coco(self) -> dict[str, float]:
        """COCO's average precision, objects ranked by their mean confidence."""
        found = coco_average_precision([objects.matched[self.name] for _, objects in self.images])
        return {"ap": float(found.mean()), **{name: float(found[THRESHOLDS.index(at)]) for name, at in COCO_AT.items()}}

    @property
    def count_error(self) -> float:
        """|predicted − true| of an image, mean over images."""
        return self.counts.count_error / len(self.images)

    def by_threshold(self) -> list[dict[str, float]]:
        found = rates(self.counts.pairs.sum(axis=0))
        return [
            {"iou": iou, **{name: float(values[k]) for name, values in found.items()}}
            for k, iou in enumerate(THRESHOLDS)
        ]

    def by_size(self) -> list[dict[str, Any]]:
        """At an IoU of 0.5, and average precision over all thresholds."""
        found = rates(self.counts.pairs)
        right, extra, missed = (self.counts.pairs[:, 0, i].astype(int) for i in range(3))
        return [
            {"size": size, "true": int(right[i] + missed[i]), "extra": int(extra[i]),
             "precision": float(found["precision"][i, 0]), "recall": float(found["recall"][i, 0]),
             "f1": float(found["f1"][i, 0]), "mean_average_precision": float(found["average_precision"][i].mean())}
            for i, size in enumerate(SIZE_NAMES)
        ]  # fmt: skip

    def worst(self, number: int) -> list[tuple[ImageRow, float]]:
        """The images with the lowest F1 at an IoU of 0.5, which is given, then with the most objects wrong."""
        each = headline(self.vectors_NV)["f1"]
        wrong = [objects.counts[self.name].pairs[:, 0, 1:3].sum() for _, objects in self.images]
        known = [i for i in range(len(each)) if not np.isnan(each[i])]
        order = sorted(known, key=lambda i: (each[i], -wrong[i], self.images[i][0].name))
        return [(self.images[i][0], float(each[i])) for i in order[:number]]

    def to_json(self) -> dict[str, Any]:
        counts = self.counts
        return {
            "true": counts.true, "predicted": counts.predicted, "split": counts.split, "merged": counts.merged,
            "count_error": self.count_error, **self.whole,
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "over_images": self.over_images, "unseparated": self.unseparated, "coco": self.coco, "separation": self.how,
            "thresholds": self.by_threshold(), "sizes": self.by_size(),
            "worst": [{"image": row.name, "f1": f1} for row, f1 in self.worst(5)],
        }  # fmt: skip


def scores_of_objects(rows: Sequence[ImageRow]) -> tuple[ObjectScores, ...]:
    """The scores of every class whose objects were matched; empty if none were."""
    images = tuple((row, row.objects) for row in rows if row.objects is not None)
    if not images:
        return ()
    plan = images[0][1].plan
    return tuple(ObjectScores(name, images, plan.separations[name].reason) for name in plan.ids)


def truth_of(rows: Sequence[ImageRow]) -> str:
    """Where the true objects come from, in words."""
    given = [row.objects.given for row in rows if row.objects is not None]
    if all(given):
        return "True objects are those that the data name."
    if not any(given):
        return (
            "The data name no single objects: true objects are the connected pixels of a class, touching ones as one."
        )
    return (
        f"The data name single objects for {sum(given)} of {len(given)} images; in the others, true objects are the "
        "connected pixels of a class."
    )
