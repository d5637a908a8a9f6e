"""Which object a pixel belongs to: files beside the masks, drawn shapes, and masks of object numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.datasets.instances import class_objects, has_instances, instances_of
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.errors import MaskError
from pixelwise.records import Dataset, Sample

# Two touching objects of one class on 12×16 pixels: 1 on the left, 2 on the right.
NUMBERS = np.zeros((12, 16), np.uint16)
NUMBERS[3:9, 2:7] = 1
NUMBERS[3:9, 7:13] = 2


def native(root: Path, objects: str = "instances") -> Path:
    for split in ("train", "val"):
        for folder, pixels in (("images", np.full((12, 16, 3), 90, np.uint8)), ("masks", np.uint8(NUMBERS > 0))):
            (root / split / folder).mkdir(parents=True)
            Image.fromarray(pixels).save(root / split / folder / "a.png")
        if objects:
            (root / split / objects).mkdir()
            Image.fromarray(NUMBERS * 40).save(root / split / objects / "a.png")
    return root


def only(dataset: Dataset) -> Sample:
    return next(sample for part in dataset.splits.values() for sample in part)


def test_numbers_beside_the_masks_are_read_and_numbered_without_gaps(tmp_path: Path) -> None:
    sample = only(open_dataset(native(tmp_path)))
    found = instances_of(sample)
    assert has_instances(sample)
    assert found is not None
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, NUMBERS)


def test_a_file_an_object_may_stand_for_the_numbers(tmp_path: Path) -> None:
    folder = native(tmp_path, "") / "train/instances/a"
    folder.mkdir(parents=True)
    for number in (1, 2):
        Image.fromarray(np.uint8(number == NUMBERS) * 255).save(folder / f"{number}.png")
    found = instances_of(open_dataset(tmp_path).splits["train"][0])
    np.testing.assert_array_equal(found, NUMBERS)


def test_more_objects_than_a_byte_counts(tmp_path: Path) -> None:
    folder = native(tmp_path, "") / "train/instances/a"
    folder.mkdir(parents=True)
    for number in range(300):
        one = np.zeros((12, 16), np.uint8)
        one.flat[number % 192] = 255
        Image.fromarray(one).save(folder / f"{number:03}.png")
    found = instances_of(open_dataset(tmp_path).splits["train"][0])
    assert found is not None
    assert len(np.unique(found)) == 192


def test_without_numbers_there_are_none(tmp_path: Path) -> None:
    sample = only(open_dataset(native(tmp_path, "")))
    assert not has_instances(sample)
    assert instances_of(sample) is None


def test_objects_of_another_size_are_refused_by_name(tmp_path: Path) -> None:
    native(tmp_path)
    Image.fromarray(NUMBERS[:, :10]).save(tmp_path / "train/instances/a.png")
    with pytest.raises(MaskError, match=r"instances.a\.png: its objects are 10×12 pixels, but the image is 16×12"):
        instances_of(open_dataset(tmp_path).splits["train"][0])


def test_polygons_of_coco_are_one_object_each_and_a_crowd_is_none(tmp_path: Path) -> None:
    Image.fromarray(np.full((12, 16, 3), 90, np.uint8)).save(tmp_path / "a.png")
    boxes = {1: (2, 3, 7, 9), 2: (7, 3, 13, 9), 3: (14, 0, 16, 2)}
    rows = [
        {"id": i, "image_id": 1, "category_id": 1, "iscrowd": int(i == 3), "area": 9, "bbox": [0, 0, 1, 1],
         "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}
        for i, (x0, y0, x1, y1) in boxes.items()
    ]  # fmt: skip
    images = [{"id": 1, "file_name": "a.png", "height": 12, "width": 16}]
    table = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "nucleus"}]}
    (tmp_path / "instances.json").write_text(json.dumps(table))
    sample = only(open_dataset(tmp_path))
    np.testing.assert_array_equal(instances_of(sample), NUMBERS)


def test_shapes_of_labelme_are_one_object_each(tmp_path: Path) -> None:
    Image.fromarray(np.full((12, 16, 3), 90, np.uint8)).save(tmp_path / "a.png")
    shapes = [
        {"label": "nucleus", "shape_type": "polygon", "points": [[x0, 3], [x1, 3], [x1, 9], [x0, 9]]}
        for x0, x1 in ((2, 7), (7, 13))
    ]
    (tmp_path / "a.json").write_text(json.dumps({"imagePath": "a.png", "shapes": shapes, "version": "5"}))
    np.testing.assert_array_equal(instances_of(only(open_dataset(tmp_path))), NUMBERS)


def test_lines_of_yolo_are_one_object_each(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.full((12, 16, 3), 90, np.uint8)).save(tmp_path / "images/a.png")
    lines = [
        f"0 {x0 / 16} {3 / 12} {x1 / 16} {3 / 12} {x1 / 16} {9 / 12} {x0 / 16} {9 / 12}" for x0, x1 in ((2, 7), (7, 13))
    ]
    (tmp_path / "labels/a.txt").write_text("\n".join(lines))
    (tmp_path / "data.yaml").write_text("names: [nucleus]\n")
    np.testing.assert_array_equal(instances_of(only(open_dataset(tmp_path))), NUMBERS)


def test_masks_of_one_file_an_object_give_their_objects(tmp_path: Path) -> None:
    for case in ("a", "b", "c"):
        for folder in ("images", "masks"):
            (tmp_path / case / folder).mkdir(parents=True)
        Image.fromarray(np.full((12, 16, 3), 90, np.uint8)).save(tmp_path / case / "images" / f"{case}.png")
        for number in (1, 2):
            Image.fromarray(np.uint8(number == NUMBERS) * 255).save(tmp_path / case / "masks" / f"{number}.png")
    np.testing.assert_array_equal(instances_of(only(open_dataset(tmp_path))), NUMBERS)


def test_a_mask_of_class_and_object_numbers_is_its_own_source(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for stem in ("a", "b", "c", "d"):
        Image.fromarray(np.full((12, 16, 3), 90, np.uint8)).save(tmp_path / "images" / f"{stem}.png")
        Image.fromarray(np.where(NUMBERS > 0, NUMBERS + 1000, 0).astype(np.uint16)).save(tmp_path / f"masks/{stem}.png")
    np.testing.assert_array_equal(instances_of(only(open_dataset(tmp_path))), NUMBERS)


def test_the_objects_of_a_class_leave_out_others_and_count_what_nobody_numbered() -> None:
    labels = np.uint8(NUMBERS > 0)
    labels[3, 2:7] = 2  # another class on part of object 1
    labels[0, 0] = labels[11, 15] = 1  # two pixels under no instance
    found = class_objects(labels, NUMBERS.astype(np.uint32), 1)
    assert not found[3, 2:7].any()
    assert (found[4:9, 2:7] == 1).all()
    assert (found[3:9, 7:13] == 2).all()
    assert {found[0, 0], found[11, 15]} == {3, 4}
    assert class_objects(labels, None, 1).max() == 3  # the touching ones are one component
