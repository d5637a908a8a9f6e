"""Labels in plain white or black areas: one class in training where they are structure, kept where they are of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.datasets.blank_areas import labels_without_structure_in_blanks
from pixelwise.records import Labels, Pixels

ROADS = Path(__file__).parents[3] / "shared/data/own/mass_roads"


def aerial(value: int = 255, *, height: int = 120, width: int = 200) -> tuple[Pixels, Labels]:
    """A photo whose right half is missing, and a mask whose road crosses all of it."""
    image = np.random.default_rng(0).integers(1, 255, (height, width, 3), np.uint8)
    image[:, width // 2 :] = value
    mask = np.zeros((height, width), np.uint8)
    mask[50:60] = 1
    return image, mask


@pytest.mark.parametrize("value", [0, 255])
def test_structure_in_a_blank_area_becomes_its_most_frequent_class(value: int) -> None:
    image, mask = aerial(value)
    labels, share = labels_without_structure_in_blanks(image, mask)
    assert (labels[:, 100:] == 0).all()
    assert np.array_equal(labels[:, :100], mask[:, :100])
    assert share == 0.5
    assert mask[55, 150] == 1, "the given mask is not changed"


def test_a_saturated_sky_and_the_black_around_a_field_keep_their_labels() -> None:
    image, mask = aerial()
    mask[:, 100:] = 2
    mask[:, 98:102] = 1  # the outline of what lies beside it is sloppy
    labels, share = labels_without_structure_in_blanks(image, mask)
    assert labels is mask
    assert share == 0


def test_each_area_counts_alone_and_small_ones_do_not() -> None:
    image, mask = aerial()
    image[:, 145:150] = 90  # two areas: only the left one has a road
    mask[:, 150:] = 1
    labels, _ = labels_without_structure_in_blanks(image, mask)
    assert (labels[:, 100:145] == 0).all()
    assert (labels[:, 150:] == 1).all()
    image, mask = aerial()
    image[:, 100:] = 90
    image[52:58, 120:160] = 255  # a reflection of 1 % of the image, all road but for its edge
    image[30:40, 120:140] = 255
    mask[35, 125:135] = 1
    assert labels_without_structure_in_blanks(image, mask)[1] == 0


def test_plain_but_not_white_or_black_and_other_depths_are_left_alone() -> None:
    image, mask = aerial(128)
    assert labels_without_structure_in_blanks(image, mask)[0] is mask
    image, mask = aerial(255)
    assert labels_without_structure_in_blanks(image.astype(np.float32), mask)[0] is mask
    image[:, 100:, 1] = 254  # one band differs
    assert labels_without_structure_in_blanks(image, mask)[0] is mask


@pytest.mark.usefixtures("no_bundles")
def test_check_and_train_report_it(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(4):
        image, mask = aerial() if number % 2 else (aerial(90)[0], aerial()[1])
        Image.fromarray(image).save(tmp_path / f"data/images/{number}.png")
        Image.fromarray(mask).save(tmp_path / f"data/masks/{number}.png")
    found = [one for one in pw.check(tmp_path / "data").findings.problems if one.kind == "labels-on-blank"]
    assert [one.where for one in found] == ["images/1.png"]
    assert found[0].message.startswith("50% of the image is plain white or black")
    assert "2 of the 4 images" in found[0].message

    events: list[Any] = []
    pw.train(
        tmp_path / "data", tmp_path / "run",
        settings={"epochs": 1, "size": (64, 64), "policy": "native", "batch": 2, "model": "unet", "mirrors": 1},
        tell=events.append,
    )  # fmt: skip
    (data,) = (event for event in events if event["event"] == "data")
    (note,) = (note for note in data["notes"] if note.startswith("Plain white or black"))
    assert "1.png (50%)" in note or "3.png (50%)" in note


@pytest.mark.skipif(not ROADS.is_dir(), reason=f"needs the data set in {ROADS}")
def test_the_missing_parts_of_aerial_photos_are_found() -> None:
    for path in sorted((ROADS / "images").iterdir()):
        with Image.open(path) as image, Image.open(ROADS / "masks" / path.name) as mask:
            pixels, labels = np.asarray(image), (np.asarray(mask) > 0).astype(np.uint8)
        white = (pixels == 255).all(axis=2)
        found, share = labels_without_structure_in_blanks(pixels, labels)
        assert white.mean() - 0.02 < share <= white.mean(), path.name
        assert not found[white].sum() > 0.002 * labels[white].sum(), path.name
        assert np.array_equal(found[~white], labels[~white]), path.name
