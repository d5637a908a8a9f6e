"""The objects of images as plain arrays and back, so that a pass that scores them goes on where it was interrupted.

Of each class and each field of MatchedObjects there is one array with the values of all images in a row, and the places
where an image's end. What follows from them is computed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.evaluation.measure_objects import ImageObjects, ObjectPlan
from pixelwise.metrics.object_matching import MatchedObjects
from pixelwise.metrics.object_scores import ObjectCounts, object_counts

NUMBERS = ("shared_px", "joint_px")
LISTS = tuple(field.name for field in fields(MatchedObjects) if field.name not in NUMBERS)


def object_arrays(images: Sequence[ImageObjects]) -> dict[str, NDArray[Any]]:
    """The arrays of all images, which have one plan."""
    arrays = {"objects_given": np.array([one.given for one in images], np.bool_)}
    for turn, name in enumerate(images[0].plan.ids if images else ()):
        matched = [one.matched[name] for one in images]
        for column in LISTS:
            lists = [getattr(one, column) for one in matched]
            arrays[f"objects{turn}_{column}"] = np.concatenate(lists)
            arrays[f"objects{turn}_{column}_ends"] = np.cumsum([len(one) for one in lists], dtype=np.int64)
        arrays[f"objects{turn}_px"] = np.array([[getattr(one, number) for number in NUMBERS] for one in matched])
        arrays[f"objects{turn}_unseparated"] = np.array([one.unseparated[name].vector() for one in images])
    return arrays


def objects_from(arrays: Mapping[str, NDArray[Any]], plan: ObjectPlan, number: int) -> list[ImageObjects]:
    """The inverse of `object_arrays` for `number` images. Raises LookupError, ValueError: the arrays are damaged."""
    found: list[dict[str, MatchedObjects]] = [{} for _ in range(number)]
    unseparated: list[dict[str, ObjectCounts]] = [{} for _ in range(number)]
    for turn, name in enumerate(plan.ids if number else ()):
        parts = {
            column: np.split(arrays[f"objects{turn}_{column}"], arrays[f"objects{turn}_{column}_ends"][:-1])
            for column in LISTS
        }
        for i in range(number):
            lists = {column: of_images[i] for column, of_images in parts.items()}
            shared_px, joint_px = (int(value) for value in arrays[f"objects{turn}_px"][i])
            found[i][name] = MatchedObjects(**lists, shared_px=shared_px, joint_px=joint_px)
            unseparated[i][name] = ObjectCounts.of_vector(arrays[f"objects{turn}_unseparated"][i])
    return [
        ImageObjects(plan, bool(arrays["objects_given"][i]), matched,
                     {name: object_counts(one) for name, one in matched.items()}, unseparated[i])
        for i, matched in enumerate(found)
    ]  # fmt: skip
