"""The records of objects: written and read again, and checked."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pixelwise.errors import UsageError
from pixelwise.objects.object_records import ClassObjects, ObjectTable, Separation, classes_of_objects
from pixelwise.records import ClassList

KNOWN = ClassObjects(420.0, 90.0, 1200.0, 0.91, 3120)
CLASSES = ClassList(("Background", "nucleus", "debris"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))


def test_what_is_known_of_a_class_survives_json() -> None:
    assert ClassObjects.from_json(json.loads(json.dumps(KNOWN.to_json()))) == KNOWN


@pytest.mark.parametrize(
    "wrong", [{"area_px": 0.0}, {"area_low_px": 500.0}, {"roundness": float("nan")}, {"number": 0}]
)
def test_impossible_sizes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="area"):
        ClassObjects.from_json(KNOWN.to_json() | wrong)


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="components, distance, intensity, border"):
        Separation("magic")  # type: ignore[arg-type]


def test_every_class_but_the_background_has_objects() -> None:
    assert classes_of_objects(CLASSES) == (1, 2)
    assert classes_of_objects(CLASSES, ["debris"]) == (2,)
    with pytest.raises(UsageError, match="known: Background, nucleus, debris"):
        classes_of_objects(CLASSES, ["cell"])


def test_rows_of_a_table_are_chosen_in_every_column() -> None:
    table = ObjectTable({"label": np.array([1, 2, 3]), "class": np.array(["a", "b", "a"])}, "um")
    some = table.rows(table.columns["class"] == "a")
    assert len(table) == 3
    assert len(some) == 2
    assert some.columns["label"].tolist() == [1, 3]
    assert some.unit == "um"
