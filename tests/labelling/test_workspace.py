"""A labelling folder: edits, undo and classes, on disk and across reopening."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.errors import ImageError, UsageError
from pixelwise.labelling.labelled_image import Edit
from pixelwise.labelling.patch import Patch
from pixelwise.labelling.upload_photos import add_photo
from pixelwise.labelling.workspace import Workspace


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    pixels = np.random.default_rng(0)
    for name in ("a.jpg", "a.png", "b.png", "sub/c.png"):
        Image.fromarray(pixels.integers(0, 255, (30, 40, 3), np.uint8)).save(folder / name)
    return folder


def stroke(edit_id: str, key: int, x: int, y: int, w: int, h: int, **more: object) -> Edit:
    values = np.full((h, w), key, np.uint8)
    return Edit(edit_id, "brush", key, Patch(x, y, values, np.ones((h, w), np.bool_)), **more)  # type: ignore[arg-type]


def test_edits_and_undo_last(photos: Path) -> None:
    with Workspace.open(photos, classes=("sky", "road")) as workspace:
        image_id = workspace.photos()[0].id
        image = workspace.opened(image_id)
        image.apply(stroke("1", 0, 0, 0, 10, 10))
        image.apply(stroke("2", 1, 5, 5, 10, 10))
        assert image.apply(stroke("2", 1, 5, 5, 10, 10)).version == 2
        after = image.mask_HW.copy()
        patch = image.undo()
        assert patch is not None
        assert (patch.x, patch.y, patch.pixels) == (5, 5, 100)
    with Workspace.open(photos) as workspace:
        image = workspace.opened(image_id)
        assert (image.state.version, image.state.undo, image.state.redo) == (3, 1, 1)
        assert int(image.counts[0]) == 100
        image.redo()
        assert (image.mask_HW == after).all()
        assert int(image.drawn_HW.sum()) == 175
        image.undo()
        image.undo()
        assert image.labelled == 0
        assert image.undo() is None


def test_the_folder_is_a_dataset(photos: Path) -> None:
    with Workspace.open(photos, classes=("sky", "road", "car")) as workspace:
        for photo in workspace.photos():
            workspace.opened(photo.id).apply(stroke("1", 0, 0, 0, 10, 10))
            workspace.opened(photo.id).apply(stroke("2", 2, 20, 0, 10, 10))
        workspace.reorder_classes([2, 1, 0])
        workspace.flush()
        dataset = open_dataset(workspace.out)
        assert dataset.classes.names == ("car", "road", "sky")
        samples = [sample for part in dataset.splits.values() for sample in part]
        assert sorted(sample.name for sample in samples) == ["images/a", "images/a-png", "images/b", "images/sub/c"]
        labels = read_sample_mask(samples[0], dataset.mask_ids, 3)
        assert {value: int((labels == value).sum()) for value in (0, 2, 255)} == {0: 100, 2: 100, 255: 1000}
        for photo in workspace.photos():
            workspace.opened(photo.id).undo()
            workspace.opened(photo.id).undo()
        workspace.flush()
        assert not list((workspace.out / "masks").rglob("*.png"))
        assert not list((workspace.out / "images").rglob("*.*"))


def test_the_photos_are_not_changed_nor_labels_put_among_them(photos: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in photos.rglob("*")}
    with Workspace.open(photos, classes=("sky",)) as workspace:
        workspace.opened(workspace.photos()[0].id).apply(stroke("1", 0, 0, 0, 10, 10))
    assert {path: path.stat().st_mtime_ns for path in photos.rglob("*")} == before
    with pytest.raises(UsageError, match="inside the photos"):
        Workspace.open(photos, photos / "labels")


def test_uploads(tmp_path: Path, photos: Path) -> None:
    data = (photos / "a.png").read_bytes()
    with Workspace.open(None, tmp_path / "labels", ("sky",)) as workspace:
        assert workspace.photos() == []
        first = add_photo(workspace, "../../x/é<b>.jpeg", data)
        assert (first.name, first.path.parent) == ("é_b_.png", tmp_path / "labels" / "photos")
        assert add_photo(workspace, "é<b>.png", data) == first
        second = add_photo(workspace, "é<b>.png", (photos / "b.png").read_bytes())
        assert second.name == "é_b_-2.png"
        workspace.opened(first.id).apply(stroke("1", 0, 0, 0, 10, 10))
        with pytest.raises(ImageError):
            add_photo(workspace, "c.png", b"no image")
    with Workspace.open(None, tmp_path / "labels") as workspace:
        assert [photo.id for photo in workspace.photos()] == [second.id, first.id]
        assert workspace.status(first.id).state == "started"
        assert open_dataset(workspace.out).problems == ()
