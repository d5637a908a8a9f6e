"""Do a model's classes fit a dataset's? Only then does a score mean anything."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.records import ClassList

FOUND_NAME = re.compile(r"class \d+")  # what a dataset calls a class of which it knows nothing but the id
FOUND_PAIR = ("background", "foreground")  # what it calls them when the ids are 0 and 1


@dataclass(frozen=True)
class Match:
    """In which classes a model is compared with a dataset, and how the ids of both become theirs."""

    classes: ClassList
    predicted: NDArray[np.uint8]  # [256]: the model's id → id in `classes`
    true: NDArray[np.uint8]  # [256]: the dataset's id, or VOID → id in `classes`, or VOID
    note: str | None = None  # what was decided, in words; None where both lists are the same


def match_classes(model: ClassList, data: ClassList) -> Match:
    """How to compare the labels of `model` with the masks of `data`.

    The same names: by name, whatever the order. Names that were only made up from the ids in the masks ("class 0",
    "class 2" …): by those ids where the model has as many classes, so that a split without some class can be used; by
    position where the ids are others but as many as the model's classes.

    Raises:
        DataError: anything else; both lists are shown.
    """
    same = np.arange(256, dtype=np.uint8)
    if model.names == data.names:
        return Match(data, same, same)
    if set(model.names) == set(data.names):
        by_name = same.copy()
        by_name[: len(model)] = [data.names.index(name) for name in model.names]
        note = "The dataset has the model's classes in another order; they are matched by name."
        return Match(data, by_name, same, note)
    ids = found_ids(data.names)
    if ids and max(ids) < len(model) and (len(model) == len(data) or data.names != FOUND_PAIR):
        by_id = same.copy()
        by_id[: len(data)] = ids
        note = f"The dataset's classes have no names; its ids are taken for the model's: {', '.join(model.names)}."
        return Match(model, same, by_id, note)
    if ids and len(data) == len(model):
        listed = ", ".join(f"{i} is {name}" for i, name in zip(ids, model.names, strict=True))
        return Match(model, same, same, f"The dataset's classes have no names; they are taken in order: id {listed}.")
    if found_ids(model.names) and len(data) == len(model):
        return Match(data, same, same, "The model's classes have no names; they are taken for the dataset's, in order.")
    raise DataError(differing(model, data))


def found_ids(names: tuple[str, ...]) -> list[int]:
    """The ids from which a dataset made up its classes' names; empty where they are true names."""
    if names == FOUND_PAIR:
        return [0, 1]
    return [int(name.split()[1]) for name in names] if all(FOUND_NAME.fullmatch(name) for name in names) else []


def differing(model: ClassList, data: ClassList) -> str:
    missing = [name for name in model.names if name not in data.names]
    extra = [name for name in data.names if name not in model.names]
    said = []
    if missing:
        said.append(f"only the model has: {', '.join(missing)}")
    if extra:
        said.append(f"only the dataset has: {', '.join(extra)}")
    return (
        "the model's classes are not the dataset's.\n"
        f"  model   ({len(model)}): {', '.join(model.names)}\n"
        f"  dataset ({len(data)}): {', '.join(data.names)}\n"
        f"  {'; '.join(said)}\n"
        "Name the dataset's classes in dataset.toml as the model does (void for what it does not know), or evaluate a "
        "model that was trained on these classes."
    )
