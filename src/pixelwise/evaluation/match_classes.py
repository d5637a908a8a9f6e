"""Matching a model's classes with a dataset's, without which scores would be meaningless."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.records import ClassList

FOUND_NAME = re.compile(r"class \d+")  # a dataset's name for a class known only by its id
FOUND_PAIR = ("background", "foreground")  # its names for the ids 0 and 1


@dataclass(frozen=True)
class Match:
    """The classes in which a model is compared with a dataset, and the look-up tables of ids."""

    classes: ClassList
    predicted: NDArray[np.uint8]  # [256]: the model's id → id in `classes`
    true: NDArray[np.uint8]  # [256]: the dataset's id, or VOID → id in `classes`, or VOID
    note: str | None = None  # the decision, for the report; None where both lists are the same


def match_classes(model: ClassList, data: ClassList) -> Match:
    """How to compare the labels of `model` with the masks of `data`.

    Equal sets of names match by name. Generic names of a dataset, made from the ids in its masks ("class 0", "class 2"
    …), match by id where the model has these ids, so that a class may be missing from a split; otherwise by position,
    if there are as many as the model has classes.

    Raises:
        DataError: the classes do not match; the message shows both lists.
    """
    same = np.arange(256, dtype=np.uint8)
    if model.names == data.names:
        return Match(data, same, same)
    if set(model.names) == set(data.names):
        by_name = same.copy()
        by_name[: len(model)] = [data.names.index(name) for name in model.names]
        note = "The dataset has the model's classes in another order; they were matched by name."
        return Match(data, by_name, same, note)
    ids = found_ids(data.names)
    if ids and max(ids) < len(model) and (len(model) == len(data) or data.names != FOUND_PAIR):
        by_id = same.copy()
        by_id[: len(data)] = ids
        note = f"The dataset's classes have no names; its ids were read as the model's: {', '.join(model.names)}."
        return Match(model, same, by_id, note)
    if ids and len(data) == len(model):
        listed = ", ".join(f"{i} is {name}" for i, name in zip(ids, model.names, strict=True))
        return Match(
            model, same, same, f"The dataset's classes have no names; they were matched in order: id {listed}."
        )
    if found_ids(model.names) and len(data) == len(model):
        return Match(
            data, same, same, "The model's classes have no names; they were matched with the dataset's in order."
        )
    raise DataError(differing(model, data))


def found_ids(names: tuple[str, ...]) -> list[int]:
    """The ids in a dataset's generic class names; empty where the names are real."""
    if names == FOUND_PAIR:
        return [0, 1]
    return [int(name.split()[1]) for name in names] if all(FOUND_NAME.fullmatch(name) for name in names) else []


def differing(model: ClassList, data: ClassList) -> str:
    missing = [name for name in model.names if name not in data.names]
    extra = [name for name in data.names if name not in model.names]
    differences = []
    if missing:
        differences.append(f"only the model has: {', '.join(missing)}")
    if extra:
        differences.append(f"only the dataset has: {', '.join(extra)}")
    return (
        "the model's classes differ from the dataset's.\n"
        f"  model   ({len(model)}): {', '.join(model.names)}\n"
        f"  dataset ({len(data)}): {', '.join(data.names)}\n"
        f"  {'; '.join(differences)}\n"
        "In dataset.toml, give the dataset's classes the model's names (and map classes that the model lacks to void), "
        "or evaluate a model trained on these classes."
    )
