"""Masks that exist become edits, and labels go out in other formats."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.datasets.convert import convert
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.errors import UsageError
from pixelwise.labelling.export_labels import export_labels
from pixelwise.labelling.import_masks import import_first, import_masks
from pixelwise.labelling.labelled_image import Edit
from pixelwise.labelling.patch import Patch
from pixelwise.labelling.workspace import Workspace
from pixelwise.records import Dataset
from pixelwise.scenes.render_scene import write_scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "data"
    write_scenes(folder, {"train": 3, "val": 1, "test": 1}, height_px=48, width_px=64)
    return folder


def masks_of(dataset: Dataset) -> dict[str, np.ndarray]:
    return {
        f"{split}/{sample.image.name}": read_sample_mask(sample, dataset.mask_ids, len(dataset.classes))
        for split, part in dataset.splits.items()
        for sample in part
    }


def test_a_dataset_is_taken_over_with_its_splits(scenes: Path, tmp_path: Path) -> None:
    with Workspace.open(scenes, tmp_path / "labels") as workspace:
        assert import_first(workspace).images == 5
        assert import_first(workspace).images == 0
        first = workspace.photos()[0].id
        assert int(workspace.opened(first).drawn_HW.max()) == 1
        workspace.flush()
        of_folder, original = open_dataset(workspace.out), open_dataset(scenes)
        assert of_folder.classes == original.classes
        assert {name: len(part) for name, part in of_folder.splits.items()} == {"train": 3, "val": 1, "test": 1}
        assert [p for p in of_folder.problems if p.severity == "error"] == []
        ours, theirs = masks_of(of_folder), masks_of(original)
        assert len(ours) == 5
        assert ours.keys() == theirs.keys()
        assert all((ours[name] == theirs[name]).all() for name in ours)
        workspace.opened(first).undo()
    with Workspace.open(tmp_path / "labels") as workspace:  # what was undone is not taken over again
        assert import_first(workspace).images == 0
        assert workspace.opened(first).labelled == 0


@pytest.fixture(scope="module")
def flat(scenes: Path) -> Path:
    """The same, with a name of its own for each image."""
    convert(scenes, scenes.with_name("flat"), "pairs")
    return scenes.with_name("flat")


@pytest.mark.parametrize("form", ["native", "coco", "cvat", "labelstudio", "voc"])
def test_masks_of_other_formats_are_matched_by_name(flat: Path, tmp_path: Path, form: str) -> None:
    convert(flat, tmp_path / "others", form)
    photos = tmp_path / "photos"
    photos.mkdir()
    images = {path.stem: path for path in sorted((flat / "images").iterdir())}
    for stem, path in list(images.items())[:3]:
        shutil.copy(path, photos / f"{stem}.png")
    small = list(images)[3]
    Image.new("RGB", (8, 8)).save(photos / f"{small}.png")
    with Workspace.open(photos, classes=("road",)) as workspace:
        found = import_masks(workspace, tmp_path / "others")
        assert found.images == 3
        assert found.pixels == sum(
            image.labelled for photo in workspace.photos() if (image := workspace.opened(photo.id))
        )
        assert sum("no photo has this name" in reason for reason in found.skipped) == 1
        assert sum(small in reason and "size" in reason for reason in found.skipped) == 1
        assert "road" not in found.new_classes
        assert found.new_classes
        written = export_labels(workspace, "coco", tmp_path / "out")
        assert written == 3
        assert open_dataset(tmp_path / "out").layout == "coco"
        theirs = {name.partition("/")[2]: mask for name, mask in masks_of(open_dataset(flat)).items()}
        names = open_dataset(flat).classes.names
        for photo in workspace.photos()[:3]:
            mask = workspace.opened(photo.id).mask_HW
            for i, name in enumerate(names):
                key = next((one.key for one in workspace.classes.classes if one.name == name), 254)
                assert ((mask == key) == (theirs[photo.name] == i)).all()


def test_nothing_matches_or_is_labelled(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "other.png")
    with Workspace.open(tmp_path / "photos", classes=("a",)) as workspace:
        with pytest.raises(UsageError, match="none of its 5 masks"):
            import_masks(workspace, scenes)
        with pytest.raises(UsageError, match="no pixel is labelled"):
            export_labels(workspace, "coco", tmp_path / "out")
        with pytest.raises(UsageError, match="no such folder"):
            import_masks(workspace, tmp_path / "missing")


def test_locked_classes_stay(scenes: Path, tmp_path: Path) -> None:
    with Workspace.open(scenes, tmp_path / "labels") as workspace:
        photo = workspace.photos()[0]
        workspace.lock_class(workspace.classes.keys[0])
        height, width = workspace.size(photo.id)
        mine = np.full((height, width), workspace.classes.keys[0], np.uint8)
        workspace.lock_class(workspace.classes.keys[0], locked=False)
        workspace.opened(photo.id).apply(Edit("1", "fill", 0, Patch(0, 0, mine, np.ones_like(mine, np.bool_))))
        workspace.lock_class(workspace.classes.keys[0])
        found = import_masks(workspace, scenes)
        assert any("locked classes" in reason for reason in found.skipped)
        assert (workspace.opened(photo.id).mask_HW == workspace.classes.keys[0]).all()


@pytest.mark.parametrize(("form", "pattern"), [("cvat", "*.xml"), ("labelstudio", "*.json")])
def test_exports_without_images_are_read_too(flat: Path, tmp_path: Path, form: str, pattern: str) -> None:
    convert(flat, tmp_path / "whole", form)
    exports = sorted((tmp_path / "whole").rglob(pattern))
    shutil.copytree(flat / "images", tmp_path / "photos")
    with Workspace.open(tmp_path / "photos", classes=("road",)) as workspace:
        number = 0
        for i, path in enumerate(exports):
            (tmp_path / str(i)).mkdir()
            shutil.copy(path, tmp_path / str(i))
            found = import_masks(workspace, tmp_path / str(i) if i else tmp_path / str(i) / path.name)
            assert found.skipped == ()
            number += found.images
        assert number == 5
        theirs = open_dataset(flat)
        masks = {name.partition("/")[2]: mask for name, mask in masks_of(theirs).items()}
        for photo in workspace.photos():
            mask = workspace.opened(photo.id).mask_HW
            for one in workspace.classes.classes:
                assert ((mask == one.key) == (masks[photo.name] == theirs.classes.names.index(one.name))).all()
