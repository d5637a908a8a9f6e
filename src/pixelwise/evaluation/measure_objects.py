"""The objects of one image, predicted and true, matched class by class.

Shapes: H, W an image's own size; P predicted objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.instances import class_objects, has_instances, instances_of
from pixelwise.errors import UsageError
from pixelwise.evaluation.match_classes import Match
from pixelwise.metrics.object_matching import MatchedObjects, match_objects
from pixelwise.metrics.object_scores import ObjectCounts, object_counts
from pixelwise.objects.object_options import ObjectOptions, separations_of
from pixelwise.objects.object_records import ObjectMap, Separation
from pixelwise.objects.stream_objects import ObjectSource, around_px, objects_in_strips
from pixelwise.prediction.confidence_maps import probability_strips, scores_of_rows
from pixelwise.prediction.load_model import Model
from pixelwise.records import VOID, Labels, Prediction, Sample

LOOKED_AT = 10  # images of which one with objects of its own suffices


@dataclass(frozen=True)
class ObjectPlan:
    """The classes whose objects are scored, and how a model's touching ones are separated."""

    ids: Mapping[str, int]  # name → id in the classes of the comparison
    model_ids: Mapping[str, int]  # name → id in the model's classes
    separations: Mapping[str, Separation]
    largest_px: Mapping[int, float]  # model id → the area that 5 % of training's objects exceed, where it is known


@dataclass(frozen=True)
class ImageObjects:
    """The objects of one image by the name of their class."""

    plan: ObjectPlan
    given: bool  # the data say which pixel belongs to which object; otherwise true objects are connected pixels
    matched: Mapping[str, MatchedObjects]
    counts: Mapping[str, ObjectCounts]
    unseparated: Mapping[str, ObjectCounts]  # the same if every predicted object were connected pixels: the baseline


def plan_objects(
    model: Model, match: Match, samples: Sequence[Sample], asked: Sequence[str] | None = None
) -> ObjectPlan | None:
    """The classes whose objects are scored; None: none.

    Args:
        asked: names of classes. None: those whose touching objects the model learned to separate, where the data name
            single objects.

    Raises:
        UsageError: a class that the dataset does not have.
    """
    names = match.classes.names
    if asked is None:
        learned = [names[match.predicted[model.classes.names.index(name)]] for name in model.metadata.separate]
        asked = learned if any(has_instances(sample) for sample in samples[:LOOKED_AT]) else []
    if unknown := [name for name in asked if name not in names]:
        raise UsageError(f"{unknown[0]!r} is not a class of the dataset; its classes: {', '.join(names)}.")
    ids = {name: names.index(name) for name in asked}
    model_ids = {name: int(np.flatnonzero(match.predicted[: len(model.classes)] == i)[0]) for name, i in ids.items()}
    if not ids:
        return None
    chosen = ObjectOptions(tuple(model.classes.names[i] for i in model_ids.values()))
    found = separations_of(model.classes, chosen, model.metadata.objects, model.metadata.separate)
    known = model.metadata.objects
    own_names = {i: model.classes.names[i] for i in model_ids.values()}
    largest = {i: known[name].area_high_px for i, name in own_names.items() if name in known}
    return ObjectPlan(ids, model_ids, {name: found[i] for name, i in model_ids.items()}, largest)


def measure_objects_of(
    plan: ObjectPlan, match: Match, sample: Sample, prediction: Prediction, true_HW: Labels
) -> ImageObjects:
    """Find, match and count the objects of one image.

    Args:
        true_HW: ids of the dataset, or VOID.

    Raises:
        MaskError: the file of true objects cannot be read.
    """
    matched, counts, unseparated = {}, {}, {}
    instances_HW = instances_of(sample, (true_HW.shape[0], true_HW.shape[1]))
    true_HW = match.true[true_HW]
    void_HW = true_HW == VOID
    for name, class_id in plan.ids.items():
        predicted_HW = predicted_objects(plan, name, prediction)
        objects_HW = class_objects(true_HW, instances_HW, class_id)
        found = match_objects(predicted_HW, objects_HW, void_HW, mean_confidence(prediction, predicted_HW))
        matched[name], counts[name] = found, object_counts(found)
        unseparated[name] = counts[name]
        if plan.separations[name].method != "components":
            whole_HW = found_objects(plan, prediction, {plan.model_ids[name]: Separation()})
            unseparated[name] = object_counts(match_objects(whole_HW, objects_HW, void_HW))
    return ImageObjects(plan, instances_HW is not None, matched, counts, unseparated)


def predicted_objects(plan: ObjectPlan, name: str, prediction: Prediction) -> ObjectMap:
    """The predicted objects of one class."""
    return found_objects(plan, prediction, {plan.model_ids[name]: plan.separations[name]})


def found_objects(plan: ObjectPlan, prediction: Prediction, separations: Mapping[int, Separation]) -> ObjectMap:
    """The objects of a prediction: of a large image in strips, so that memory stays near that of the image."""
    size, maps = (prediction.labels.shape[0], prediction.labels.shape[1]), prediction.borders

    def borders(rows: slice) -> dict[int, NDArray[np.float32]]:
        if maps is None:
            return {}
        return {c: scores_of_rows(maps[i : i + 1], size, rows)[0] for i, c in enumerate(prediction.separated)}

    source = ObjectSource(size, prediction.classes, prediction.labels.__getitem__, borders=borders)
    return objects_in_strips(source, separations, around_px(separations, plan.largest_px)).objects_HW


def mean_confidence(prediction: Prediction, objects_HW: ObjectMap) -> NDArray[np.float64]:
    """Of each predicted object, by ascending number: the mean probability of its pixels' most probable classes."""
    number = int(objects_HW.max(initial=0)) + 1
    sums, pixels = np.zeros(number), np.zeros(number)
    for rows, probability_CRW in probability_strips(
        prediction.scores, (objects_HW.shape[0], objects_HW.shape[1]), prediction.temperature
    ):
        flat = objects_HW[rows].ravel()
        sums += np.bincount(flat, probability_CRW.max(axis=0).ravel(), number)
        pixels += np.bincount(flat, minlength=number)
    there = np.flatnonzero(pixels[1:]) + 1
    return np.asarray(sums[there] / pixels[there])
