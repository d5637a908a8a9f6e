"""`predict` of a folder that is a dataset: its masks are no images, and photos stay what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import picture
from pixelwise.datasets import list_dataset
from pixelwise.errors import UsageError
from pixelwise.images.image_files import write_png
from pixelwise.prediction.find_images import find, images_once, survey
from pixelwise.prediction.load_model import load
from pixelwise.prediction.masks_left_out import MasksLeftOut, masks_in_words
from pixelwise.prediction.predict import predict


def drawn(path: Path, value: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask: Any = np.zeros((12, 16), np.uint8)
    mask[3:9, 4:12] = value
    write_png(path, mask)


def photo(path: Path, seed: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, picture(seed, 12, 16))


def pairs(root: Path, images: str, masks: str, number: int = 3, ending: str = "") -> None:
    for i in range(number):
        photo(root / images / f"a{i}.png", i)
        drawn(root / masks / f"a{i}{ending}.png")


def labelled(*named: Path) -> tuple[list[str], dict[str, int]]:
    """The images found in folders, below the first one, and what is left out."""
    out = named[0].parent / "out"
    masks = MasksLeftOut(named)
    found = sorted({str(one.image.relative_to(named[0])) for one in find(named, out, masks=masks)})
    assert survey(named, out, ("labels",), masks=masks).total == len(found)
    return found, {str(Path(where).relative_to(named[0])): count for where, count in masks.counts.items()}


NAMES = [f"a{i}.png" for i in range(3)]
LAYOUTS = {  # images and masks of each pair of folders
    "native": [("train/images", "train/masks"), ("val/images", "val/masks")],
    "pairs": [("images", "masks")],
    "camvid": [("train", "trainannot"), ("val", "valannot")],
    "other words": [("training/images", "training/1st_manual")],
    "folders of places": [("north/Raw_images", "north/Masks"), ("south/Raw_images", "south/Masks")],
    "wrapped": [("inside/images", "inside/labels")],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_datasets_images_are_labelled_and_its_masks_are_not(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for images, masks in LAYOUTS[layout]:
        pairs(root, images, masks)
    found, left_out = labelled(root)
    assert found == sorted(f"{images}/{name}" for images, _ in LAYOUTS[layout] for name in NAMES)
    assert left_out == {masks: 3 for _, masks in LAYOUTS[layout]}


def test_masks_of_another_split_and_object_numbers_are_left_out_and_images_without_masks_are_not(
    tmp_path: Path,
) -> None:
    root = tmp_path / "data"
    pairs(root, "train/images", "train/masks")
    pairs(root, "train/images", "train/instances")
    drawn(root / "val" / "masks" / "b.png")  # its images are missing
    photo(root / "test" / "images" / "c.png")  # not labelled yet
    found, left_out = labelled(root)
    assert found == ["test/images/c.png", *(f"train/images/{name}" for name in NAMES)]
    assert left_out == {"train/instances": 3, "train/masks": 3, "val/masks": 1}


def test_folders_of_bands_keep_every_band(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for band in ("red", "nir"):
        for i in range(3):
            photo(root / band / f"a{i}.png", i)
    pairs(root, "red", "truth")
    found, left_out = labelled(root)
    assert found == [*(f"nir/{name}" for name in NAMES), *(f"red/{name}" for name in NAMES)]
    assert left_out == {"truth": 3}


def test_masks_beside_their_images_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "data"
    pairs(root, ".", ".", ending="_mask")
    photo(root / "unlabelled.png")
    assert labelled(root) == ([*NAMES, "unlabelled.png"], {"a0_mask.png": 3})


def test_masks_in_a_folder_of_their_images_each_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("001", "002"):
        photo(root / name / "image.png", int(name))
        drawn(root / name / "mask.png")
    left_out = {"001/mask.png": 1, "002/mask.png": 1}
    assert labelled(root) == (["001/image.png", "002/image.png"], left_out)


def test_masks_known_by_what_is_in_them_are_left_out(tmp_path: Path) -> None:
    from PIL import Image

    root = tmp_path / "data"
    for i in range(4):
        drawn(root / f"{i:03}.png")
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (12, 16, 3), np.uint8)).save(root / f"{i:03}.bmp")
    found, left_out = labelled(root)
    assert found == [f"{i:03}.bmp" for i in range(4)]
    assert left_out == {"000.png": 4}


def test_what_is_named_is_labelled(tmp_path: Path) -> None:
    root = tmp_path / "data"
    pairs(root, "train/images", "train/masks")
    found, left_out = labelled(root, root / "train" / "masks")
    assert len(found) == 6
    assert left_out == {}
    assert labelled(root / "train" / "masks") == (NAMES, {})
    pattern = root / "train" / "m*"
    assert len(list(find([pattern], tmp_path / "out", masks=MasksLeftOut([pattern])))) == 3


@pytest.mark.parametrize(
    "files",
    [
        ["a.jpg", "day 1/b.jpg", "day 1/c/d.jpg"],
        ["one/a.jpg", "labels/x.jpg", "labels/y.jpg"],  # photos of labels: none has another's name
        ["face_mask_1.jpg", "face_mask_2.jpg", "face_mask_3.jpg"],
        ["a.heic", "a.jpg", "b.heic", "b.jpg"],
        ["a.jpg", "b.jpg", "my mask.jpg"],
        ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "my mask.jpg", "his target.jpg"],
        ["target/a.jpg", "target/b.jpg"],
    ],
)
def test_photos_are_all_labelled(files: list[str], tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for number, name in enumerate(files):
        photo(root / name, number)
    assert labelled(root) == (sorted(files), {})


def test_an_ordinary_folder_is_not_looked_at_as_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_root: Path) -> None:
        raise AssertionError("listed as a dataset")

    monkeypatch.setattr(list_dataset, "pairs_below", never)
    root = tmp_path / "photos"
    for number in range(40):
        photo(root / f"day {number % 3}" / f"IMG_{number:04}.png", number)
    assert len(labelled(root)[0]) == 40


def test_a_dataset_that_cannot_be_read_is_a_folder_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_root: Path) -> None:
        raise UsageError("an extra is missing")

    pairs(tmp_path / "data", "images", "masks")
    monkeypatch.setattr(list_dataset, "pairs_below", broken)
    assert len(labelled(tmp_path / "data")[0]) == 6


def test_a_folder_that_is_left_with_no_image_says_why(tmp_path: Path) -> None:
    root = tmp_path / "data"
    pairs(root, "images", "masks")
    masks = MasksLeftOut([root])
    assert len(images_once([root], tmp_path / "out", masks=masks)) == 3
    with pytest.raises(UsageError, match=r"3 masks of a dataset are left out: .*masks \(3\)\. To label them too"):
        survey([root], root / "images", ("labels",), masks=masks)


def test_the_summary_says_so_in_one_line(tiny_bundle: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    pairs(root, "images", "masks")
    summary = predict(load(tiny_bundle, threads=1), [root], tmp_path / "out")
    assert (summary.done, summary.failures) == (3, 0)
    where = str(root / "masks")
    assert summary.to_json()["masks_left_out"] == {where: 3}
    (line,) = (line for line in str(summary).splitlines() if "masks" in line)
    assert line == masks_in_words({where: 3})
    assert line.startswith(f"3 masks of a dataset are left out: {where} (3). To label them too, name their folders")
