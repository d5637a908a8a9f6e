"""What a model says of its objects reaches their separation: learned borders, and typical sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pixelwise.bundle.metadata import Metadata
from pixelwise.errors import UsageError
from pixelwise.objects.object_options import ObjectOptions
from pixelwise.objects.object_records import ClassObjects
from pixelwise.prediction.objects_once import ObjectsOnce, check_objects
from pixelwise.records import ClassList

CLASSES = ClassList(("background", "rod"), ((0, 0, 0), (255, 255, 255)))


class Bar:
    """A bar without a neck, with a border across its middle."""

    classes, size = CLASSES, (40, 120)

    def labels(self, rows: slice, columns: slice) -> np.ndarray[Any, Any]:
        bar = np.zeros(self.size, np.uint8)
        bar[14:26, 10:110] = 1
        return bar[rows, columns]

    def borders(self, rows: slice, columns: slice) -> np.ndarray[Any, Any]:
        border = np.zeros((1, *self.size), np.float32)
        border[:, :, 58:62] = 0.9
        return border[:, rows, columns]

    def confidence(self, rows: slice, columns: slice) -> np.ndarray[Any, Any]:
        return np.full(self.size, 0.8, np.float32)[rows, columns]

    def image_rows(self, rows: slice) -> np.ndarray[Any, Any]:
        return np.zeros((*self.size, 3), np.uint8)[rows]


def metadata(**facts: Any) -> Metadata:
    third = (0.5, 0.5, 0.5)
    return Metadata(CLASSES, (64, 64), "native", 2, third, third, 1.0, (), **facts)


@pytest.mark.parametrize(("separate", "number"), [("auto", 2), ("components", 1), ("distance", 1)])
def test_a_learned_border_separates_unless_another_way_is_chosen(separate: str, number: int) -> None:
    pytest.importorskip("skimage", reason="separates touching objects; install pixelwise[objects]")
    with ObjectsOnce(ObjectOptions(separate=separate), metadata(separate=("rod",))) as once:
        assert len(once.of(Bar()).table) == number
        assert once.record["objects"]["number"] == {"rod": number}


def test_what_training_measured_is_said() -> None:
    pytest.importorskip("skimage", reason="separates touching objects; install pixelwise[objects]")
    known = {"rod": ClassObjects(1200.0, 900.0, 1500.0, 0.4, 30)}
    with ObjectsOnce(ObjectOptions(), metadata(objects=known)) as once:
        once.of(Bar())
        assert once.facts["separated"]["rod"].startswith("components: connected pixels: a typical object's roundness")


def test_a_border_that_was_not_learned_is_refused_beforehand() -> None:
    with pytest.raises(UsageError, match="learned no border of 'rod'"):
        check_objects(ObjectOptions(separate="border"), ["objects"], metadata())
    check_objects(ObjectOptions(separate="border"), ["labels"], metadata())
