"""What the training masks tell about a class's objects: how many there are, how large, how round, and how many touch.

Shapes: H, W an image's size; N objects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.instances import class_objects, has_instances, instances_of
from pixelwise.datasets.read_ahead import in_threads
from pixelwise.datasets.read_sample import image_size_of, read_sample_mask
from pixelwise.errors import PixelwiseError
from pixelwise.objects.object_records import ClassObjects, ObjectMap, classes_of_objects
from pixelwise.records import Dataset, Sample
from pixelwise.training.object_gaps import BORDER_PX, second_nearest

MOST_SAMPLES = 100  # are read, evenly spaced
MOST_PIXELS = 50_000_000  # are read, in all
LEAST_PX = 4  # smaller objects have no shape

# By class: areas and roundness [N], and how many objects touch another.
AreasAndShapes = list[tuple[NDArray[np.float64], NDArray[np.float64], int]]


@dataclass(frozen=True)
class ObjectFacts:
    """The objects of one class in the training masks."""

    size: ClassObjects
    touching: float  # share of the objects that are within BORDER_PX of another of their class, 0–1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def object_facts(dataset: Dataset) -> dict[str, ObjectFacts]:
    """The objects of every class but the background, by its name, from a spread of the training masks.

    Only masks with instances are measured: without them, objects that touch would count as one. {} if there are none.
    Damaged ones are left out: `check` and training report them.
    """
    samples = [sample for sample in dataset.splits.get("train", ()) if has_instances(sample)]
    chosen = affordable(samples[:: -(-len(samples) // MOST_SAMPLES)] if samples else [])
    ids = classes_of_objects(dataset.classes)

    def read(sample: Sample) -> AreasAndShapes | None:
        try:
            size = image_size_of(sample)
            labels_HW = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes), size)
            instances_HW = instances_of(sample, size)
        except PixelwiseError:
            return None
        return [measured(class_objects(labels_HW, instances_HW, class_id)) for class_id in ids]

    found = [one for one in in_threads(read, chosen) if one is not None]
    facts = {}
    for place, class_id in enumerate(ids):
        areas_N = np.concatenate([one[place][0] for one in found]) if found else np.empty(0)
        if len(areas_N):
            round_N = np.concatenate([one[place][1] for one in found])
            touching = sum(one[place][2] for one in found)
            facts[dataset.classes.names[class_id]] = facts_of(areas_N, round_N, touching)
    return facts


def affordable(samples: Sequence[Sample]) -> list[Sample]:
    """As many of the first samples as MOST_PIXELS allow."""
    chosen: list[Sample] = []
    pixels = 0
    for sample in samples:
        try:
            pixels += math.prod(image_size_of(sample))
        except PixelwiseError:
            continue
        if chosen and pixels > MOST_PIXELS:
            break
        chosen.append(sample)
    return chosen


def facts_of(areas_N: NDArray[np.float64], round_N: NDArray[np.float64], touching: int) -> ObjectFacts:
    low, middle, high = (float(value) for value in np.percentile(areas_N, (5, 50, 95)))
    roundness = float(np.median(round_N)) if len(round_N) else 1.0
    return ObjectFacts(ClassObjects(middle, low, high, roundness, len(areas_N)), touching / len(areas_N))


def measured(objects_HW: ObjectMap) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """The areas of the objects in pixels; the roundness of those that have a shape; how many nearly touch another."""
    areas = np.bincount(objects_HW.ravel())
    numbers_N = np.flatnonzero(areas[1:]) + 1
    gaps_HW = second_nearest(objects_HW)
    near = np.unique(objects_HW[(gaps_HW > 0) & (gaps_HW <= BORDER_PX)])
    return areas[numbers_N].astype(np.float64), roundness_of(objects_HW, areas), int((near > 0).sum())


def roundness_of(objects_HW: ObjectMap, areas: NDArray[np.int64]) -> NDArray[np.float64]:
    """4π·area/perimeter² of every object of LEAST_PX or more, at most 1. The perimeter runs through border pixels."""
    found = []
    if not objects_HW.any():
        return np.empty(0)
    rows_N, columns_N = np.nonzero(objects_HW)
    numbers_N = objects_HW[rows_N, columns_N]
    order = np.argsort(numbers_N, kind="stable")
    rows_N, columns_N, numbers_N = rows_N[order], columns_N[order], numbers_N[order]
    starts = np.flatnonzero(np.diff(numbers_N, prepend=0))
    for first, stop in zip(starts, [*starts[1:], len(numbers_N)], strict=True):
        if stop - first < LEAST_PX:
            continue
        rows, columns = rows_N[first:stop], columns_N[first:stop]
        own = np.zeros((rows[-1] - rows[0] + 1, int(np.ptp(columns)) + 1), np.uint8)
        own[rows - rows[0], columns - columns.min()] = 1
        outlines, _ = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        perimeter = sum(cv2.arcLength(outline, closed=True) for outline in outlines)
        if perimeter > 0:
            found.append(min(4 * math.pi * int(areas[numbers_N[first]]) / perimeter**2, 1.0))
    return np.array(found, np.float64)
