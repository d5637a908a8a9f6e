"""Where masks or shapes of two classes overlap, the check says which class hides how many pixels of which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import picture
from pixelwise.datasets.inspect_pair import inspect_pair
from pixelwise.datasets.overlaps import paint, recording_overlaps, stay_below
from pixelwise.doctor.check import check
from pixelwise.images.image_files import write_png

CELL, NUCLEUS, OVERLAP = 20 * 30, 10 * 12, 10 * 8


def overlap_warnings(data: Path) -> list[Any]:
    return [problem for problem in check(data).findings.problems if problem.kind == "overlapping-classes"]


def rectangle(top: int, left: int, height: int, width: int) -> Any:
    mask = np.zeros((60, 80), np.uint8)
    mask[top : top + height, left : left + width] = 255
    return mask


def one_file_a_class(data: Path, *, apart: bool = False) -> None:
    """A nucleus that reaches out of its cell by a third, or lies beside it."""
    for number in range(4):
        write_png(data / "images" / f"{number}.png", picture(number, 60, 80))
        write_png(data / "masks" / "cell" / f"{number}.png", rectangle(5, 5, 20, 30))
        write_png(data / "masks" / "nucleus" / f"{number}.png", rectangle(10, 60 if apart else 27, 10, 12))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("images", "masks/cell", "masks/nucleus"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def test_files_of_two_classes_that_overlap_are_reported_once(data: Path) -> None:
    one_file_a_class(data)
    (problem,) = overlap_warnings(data)
    assert problem.severity == "warning"
    assert f"'nucleus' hides {4 * OVERLAP} pixels of 'cell' in 4 masks" in problem.message
    assert "masks/cell/0.png" in problem.message
    assert "docs/how-to/overlapping-classes.md" in problem.remedy
    assert (Path(__file__).parents[2] / "docs" / "how-to" / "overlapping-classes.md").is_file()


def test_files_that_do_not_overlap_are_not(data: Path) -> None:
    one_file_a_class(data, apart=True)
    assert overlap_warnings(data) == []


def coco(data: Path, boxes: list[tuple[int, tuple[int, int, int, int]]]) -> None:
    """COCO polygons: (category, (left, top, width, height)) on each of four images."""
    (data / "masks").rename(data / "not masks")
    images, annotations = [], []
    for number in range(4):
        write_png(data / "images" / f"{number}.png", picture(number, 60, 80))
        images.append({"id": number, "file_name": f"{number}.png", "height": 60, "width": 80})
        for category, (x, y, w, h) in boxes:
            corners = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": category, "segmentation": [corners],
                "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0,
            })  # fmt: skip
    categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": "nucleus"}]
    table = {"images": images, "annotations": annotations, "categories": categories}
    (data / "annotations.json").write_text(json.dumps(table))


@pytest.mark.parametrize("nucleus_first", [False, True])
def test_of_coco_the_smaller_object_is_on_top_whichever_comes_first(data: Path, nucleus_first: bool) -> None:
    boxes = [(1, (5, 5, 30, 20)), (2, (27, 10, 12, 10))]
    coco(data, boxes[::-1] if nucleus_first else boxes)
    (problem,) = overlap_warnings(data)
    assert f"'nucleus' hides {4 * OVERLAP} pixels of 'cell' in 4 masks" in problem.message


def test_objects_of_one_class_hide_nothing(data: Path) -> None:
    coco(data, [(1, (5, 5, 30, 20)), (1, (27, 10, 12, 10)), (2, (60, 40, 5, 5))])
    assert overlap_warnings(data) == []


def test_what_is_painted_does_not_depend_on_whether_overlaps_are_counted() -> None:
    def painted() -> Any:
        mask = np.zeros((4, 4), np.uint8)
        paint(mask[:3, :3], np.ones((3, 3), bool), 1)
        paint(mask[2:, 2:], np.ones((2, 2), bool), 2)
        stay_below(mask, mask == 2, 3)
        return mask

    with recording_overlaps() as hidden:
        counted = painted()
    assert (painted() == counted).all()
    assert hidden == {(1, 2): 1, (3, 2): 4}
    with recording_overlaps() as hidden:
        pass
    assert not hidden


def test_training_hears_of_them_too(data: Path) -> None:
    """Its own inspection, which is less thorough, counts them as well."""
    from pixelwise.datasets.open_dataset import open_dataset
    from pixelwise.doctor.findings import find_problems

    one_file_a_class(data)
    dataset = open_dataset(data)
    sample = next(iter(dataset.splits["train"]))
    look = inspect_pair(sample)
    assert look.mask is not None
    assert sum(look.mask.overlaps.values()) == OVERLAP
    assert any(problem.kind == "overlapping-classes" for problem in find_problems(dataset).warnings)
