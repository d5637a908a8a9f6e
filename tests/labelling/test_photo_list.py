"""The photos of a folder: any kind of image, any name, and what is said of those that differ."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from test_workspace import stroke

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.errors import ImageError, UsageError
from pixelwise.labelling.photo_list import find_photos, photo_id
from pixelwise.labelling.workspace import Workspace

FIVE = ("band 1", "band 2", "band 3", "band 4", "band 5")


def five_bands(path: str, seed: int = 0) -> None:
    values = np.random.default_rng(seed).integers(0, 60000, (20, 30, 5), np.uint16)
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_of_any_bytes_in_16_bits_and_five_bands(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    names = [b"a\xe9.tif", b"s\xffb/b\n.tif", b"c\"'<x>.tif", "日本.tif".encode(), b"d .x.tif", b"e.TIFF"]
    for i, name in enumerate(names):
        path = os.fsencode(photos) + b"/" + name
        Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
        five_bands(os.fsdecode(path), i)
    with Workspace.open(photos, classes=("x", "y")) as workspace:
        found = workspace.photos()
        assert {os.fsencode(photo.name) for photo in found} == set(names)
        assert len({photo.id for photo in found}) == len(names)
        assert all(photo.id == photo_id(photo.name) for photo in found)
        assert workspace.bands.names == FIVE
        for photo in found:
            assert workspace.pixels(photo.id).pixels.dtype == np.uint16
            assert workspace.raster(photo.id).shape == (20, 30, 5)
            workspace.opened(photo.id).apply(stroke("1", 0, 0, 0, 9, 9))
            workspace.opened(photo.id).apply(stroke("2", 1, 10, 0, 9, 9))
    with Workspace.open(workspace.out) as workspace:
        assert [photo.id for photo in workspace.photos()] == [photo.id for photo in found]
        assert all(workspace.status(photo.id).labelled == 162 / 600 for photo in found)
        assert (workspace.out / "labels.jsonl").read_text(encoding="utf-8").count("\n") == 2 * len(names)
        dataset = open_dataset(workspace.out)
        assert dataset.bands.names == FIVE
        assert dataset.problems == ()
        assert sum(len(part) for part in dataset.splits.values()) == len(names)


def test_notes_name_no_options_and_the_photos_that_differ(tmp_path: Path) -> None:
    for i in range(6):
        five_bands(str(tmp_path / f"{i}.tif"), i)
    Image.new("RGB", (30, 20)).save(tmp_path / "other.png")
    found = find_photos(tmp_path, tmp_path / "labels")
    assert found.bands.names == FIVE
    assert any(note.startswith("other.png: has 3 bands") for note in found.notes)
    assert any(note == "Images have 5 bands of 16-bit values (band 1 to band 5), read in full depth: all are used."
               for note in found.notes)  # fmt: skip
    assert not any("--" in note for note in found.notes)
    assert len(found.photos) == 7


def test_pages(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    tifffile.imwrite(tmp_path / "photos" / "stack.tif", np.zeros((7, 20, 30), np.uint8))
    Image.new("RGB", (30, 20)).save(tmp_path / "photos" / "plain.png")
    with Workspace.open(tmp_path / "photos", classes=("x",)) as workspace:
        assert any("stack.tif (7 pages): the first is labelled" in note for note in workspace.notes)


def test_same_stems_and_upper_case(tmp_path: Path) -> None:
    for name in ("in/a.jpg", "in/a.png", "in/A.bmp", "in/deep/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    first = find_photos(tmp_path, tmp_path / "labels").photos
    assert {photo.name: photo.stem for photo in first} == {
        "in/A.bmp": "A",
        "in/a.jpg": "a-jpg",
        "in/a.png": "a-png",
        "in/deep/a.jpg": "deep/a",
    }
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")  # one more: the others stay where they are
    again = find_photos(tmp_path, tmp_path / "labels", first).photos
    assert {photo.name: photo.stem for photo in again if photo.name != "0.png"} == {p.name: p.stem for p in first}


def test_a_dataset_without_some_masks_has_them_all_as_photos(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{i}.png")
        if i < 3:
            Image.fromarray(np.tile(np.uint8([0, 1]), (8, 4))).save(tmp_path / "masks" / f"{i}.png")
    found = find_photos(tmp_path, tmp_path / "labels")
    assert [photo.name for photo in found.photos] == [f"images/{i}.png" for i in range(5)]
    assert [photo.stem for photo in found.photos] == list("01234")
    assert len(found.samples) == 3


def test_what_is_no_folder_of_photos(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        Workspace.open(tmp_path / "missing")
    with pytest.raises(UsageError, match="name the folder"):
        Workspace.open(None, None)
    (tmp_path / "photos").mkdir()
    with Workspace.open(tmp_path / "photos") as workspace:
        assert workspace.photos() == []
        with pytest.raises(UsageError, match="no photo has the id"):
            workspace.opened("../../x")


def test_a_photo_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "good.png")
    with Workspace.open(tmp_path / "photos", classes=("x",)) as workspace:
        broken, good = workspace.photos()
        for refused in (workspace.opened, workspace.size, workspace.pixels, workspace.raster):
            with pytest.raises(ImageError, match=r"broken\.png"):
                refused(broken.id)
        assert workspace.status(broken.id).state == "untouched"
        assert workspace.size(good.id) == (8, 8)


def test_a_labelling_folder_and_its_photos_moved_together(tmp_path: Path) -> None:
    (tmp_path / "one" / "photos").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "photos" / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "photos" / "b.png")
    with Workspace.open(tmp_path / "one" / "photos", classes=("x",)) as workspace:
        workspace.opened(workspace.photos()[0].id).apply(stroke("1", 0, 0, 0, 4, 4))
    shutil.move(tmp_path / "one", tmp_path / "two")
    with Workspace.open(tmp_path / "two" / "photos-labels") as workspace:
        assert workspace.notes == []
        assert [photo.path.parent for photo in workspace.photos()] == [tmp_path / "two" / "photos"] * 2
        assert workspace.opened(workspace.photos()[0].id).labelled == 16
