"""Do a model's classes fit a dataset's? Only then does a score mean anything."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.records import VOID, ClassList

FOUND_NAME = re.compile(r"class \d+")  # what a dataset calls a class of which it knows nothing but the id


@dataclass(frozen=True)
class Match:
    """How the model's ids become the dataset's."""

    table: NDArray[np.uint8]  # [256]: the model's id → the dataset's
    note: str | None  # what was decided, in words; None where both lists are the same

    @property
    def same(self) -> bool:
        return bool((self.table == np.arange(256)).all())


def match_classes(model: ClassList, data: ClassList) -> Match:
    """How to compare the labels of `model` with the masks of `data`.

    The same names in the same order: as they are. The same names in another order: by name. Names that were only made
    up from the ids ("class 0", "class 1" …), and as many: by position.

    Raises:
        DataError: anything else; both lists are shown.
    """
    table = np.arange(256, dtype=np.uint8)
    if model.names == data.names:
        return Match(table, None)
    if set(model.names) == set(data.names):
        for i, name in enumerate(model.names):
            table[i] = data.names.index(name)
        return Match(table, "The dataset has the model's classes in another order; they are matched by name.")
    unnamed = [which for which, names in (("dataset", data.names), ("model", model.names)) if all_found(names)]
    if unnamed and len(model) == len(data):
        return Match(
            table,
            f"The {unnamed[0]}'s classes have no names, only ids; its {len(data)} classes are taken for "
            f"{', '.join(model.names if unnamed[0] == 'dataset' else data.names)}, in this order.",
        )
    raise DataError(differing(model, data))


def all_found(names: tuple[str, ...]) -> bool:
    return all(FOUND_NAME.fullmatch(name) for name in names)


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
        f"Name the dataset's classes in dataset.toml as the model does (void, {VOID} here, for what it does not know), "
        "or evaluate a model that was trained on these classes."
    )
