"""NIfTI volumes are labelled slice by slice, as training reads them, into volumes on the same grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from banded import FIVE, five_image
from conftest import picture
from pixelwise.datasets.list_dataset import list_dataset
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask
from pixelwise.errors import ImageError, UsageError
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.outputs import WholeImage
from pixelwise.prediction.predict import predict
from pixelwise.records import RGB, VOID
from pixelwise.tracing.trace import trace

nibabel: Any = pytest.importorskip("nibabel", reason="nibabel is not installed; install pixelwise[formats]")
AFFINE = np.array([[-0.7, 0.1, 0, 12], [0.1, 0.8, 0, -30], [0, 0, 3.5, 7], [0, 0, 0, 1.0]])


def write_volume(path: Path, slices_ZHWN: np.ndarray[Any, Any]) -> Path:
    """A volume [x, y, z] or [x, y, z, channels] of slices."""
    values = slices_ZHWN.transpose(2, 1, 0, 3)
    image = nibabel.Nifti1Image(values[..., 0] if values.shape[3] == 1 else values, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
    return path


def grey_slices(count: int = 3) -> np.ndarray[Any, Any]:
    """Values as a scanner has them, some below zero: int16 [Z, H, W, 1]."""
    return np.stack([picture(seed, 60, 90)[:, :, :1].astype(np.int16) * 9 - 1000 for seed in range(count)])


def labels_in(path: Path) -> np.ndarray[Any, Any]:
    """The labels of a volume [Z, H, W]."""
    return np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)


@pytest.fixture(scope="module")
def model() -> Model:
    return load("nuclei", threads=1)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_grey_volume_is_labelled_as_training_reads_it(model: Model, tmp_path: Path, ending: str) -> None:
    data = tmp_path / "data"
    image = write_volume(data / "imagesTr" / f"ct.1_0000{ending}", grey_slices())
    write_volume(data / "labelsTr" / f"ct.1{ending}", np.zeros((3, 60, 90, 1), np.uint8))
    summary = predict(model, [data / "imagesTr"], tmp_path / "out", save=["labels", "numpy", "confidence", "entropy"])
    assert (summary.done, summary.failures) == (1, 0)
    labels_ZHW = labels_in(tmp_path / "out" / "ct.1.nii.gz")
    splits = list_dataset(data).listing.splits.values()  # slices of a single volume are divided
    samples = sorted((sample for split in splits for sample in split), key=lambda sample: sample.name)
    assert len(samples) == 3
    expected = [model.predict(read_sample_image(sample, RGB)) for sample in samples]
    assert np.array_equal(labels_ZHW, [one.labels for one in expected])
    assert np.array_equal(np.load(tmp_path / "out" / "ct.1.npy"), labels_ZHW)
    confidence = labels_in(tmp_path / "out" / "ct.1.confidence.nii.gz")
    assert confidence.dtype == np.float32
    images = [WholeImage(picture(0, 60, 90), one, "slice") for one in expected]
    everywhere = slice(0, 60), slice(0, 90)
    assert np.array_equal(confidence, [one.confidence(*everywhere) for one in images])
    own, other = nibabel.load(image), nibabel.load(tmp_path / "out" / "ct.1.nii.gz")
    assert np.array_equal(own.affine, other.affine)
    assert own.header.get_zooms() == other.header.get_zooms()
    assert own.header.get_xyzt_units() == other.header.get_xyzt_units()
    assert other.get_data_dtype() == np.uint8
    record = json.loads((tmp_path / "out" / "predictions.jsonl").read_text("utf-8"))
    assert (record["width"], record["height"], record["slices"]) == (90, 60, 3)
    assert sum(record["shares"].values()) == pytest.approx(1, abs=1e-5)


def test_channels_of_one_file_and_of_one_each_are_bands(five_model: Model, tmp_path: Path) -> None:
    slices = np.stack([five_image(seed, 60, 90, missing=seed == 0) for seed in range(2)])
    folder, out = tmp_path / "images", tmp_path / "out"
    write_volume(folder / "whole.nii.gz", slices)
    for band in range(5):
        write_volume(folder / f"parts_{band:04}.nii.gz", slices[..., band : band + 1])
    summary = predict(five_model, [folder], out)
    assert (summary.done, summary.failures) == (2, 0)
    expected = np.stack([five_model.predict(one).labels for one in slices])
    assert (expected[0, :15, :45] == VOID).all()
    for name in ("whole", "parts"):
        assert np.array_equal(labels_in(out / f"{name}.nii.gz"), expected)
    again = predict(five_model, [folder], out)
    assert (again.done, again.before) == (0, 2)
    write_volume(folder / "parts_0003.nii.gz", slices[..., :1])
    assert predict(five_model, [folder], out).done == 1


def test_voxels_without_a_number_are_void(model: Model, tmp_path: Path) -> None:
    slices = grey_slices(2).astype(np.float32)
    slices[1, 20:30, 40:60] = np.nan
    path = write_volume(tmp_path / "pet.nii", slices)
    assert predict(model, [path], tmp_path / "out").failures == 0
    void = labels_in(tmp_path / "out" / "pet.nii.gz") == VOID
    assert void[1, 20:30, 40:60].all()
    assert void.sum() == 200


def test_voxels_without_a_number_count_nowhere_in_training_and_scores(tmp_path: Path) -> None:
    slices = grey_slices(2).astype(np.float32)
    slices[1, 20:30, 40:60] = np.nan
    slices[1, 0, 0] = np.inf
    write_volume(tmp_path / "imagesTr" / "pet_0000.nii", slices)
    write_volume(tmp_path / "labelsTr" / "pet.nii", np.ones((2, 60, 90, 1), np.uint8))
    dataset = open_dataset(tmp_path)
    samples = sorted((one for split in dataset.splits.values() for one in split), key=lambda sample: sample.name)
    masks = [read_sample_mask(sample, {1: 0}, 1) for sample in samples]
    assert [int((mask == VOID).sum()) for mask in masks] == [0, 201]
    assert (masks[1][20:30, 40:60] == VOID).all()


def test_an_output_file_goes_nowhere_else(model: Model, tmp_path: Path) -> None:
    path = write_volume(tmp_path / "ct.nii.gz", grey_slices(1))
    before = path.read_bytes()
    with pytest.raises(UsageError, match="overwrite"):
        predict(model, [path], tmp_path)
    assert path.read_bytes() == before
    assert model.predict(path).labels.shape == (60, 90)


def test_other_channels_outputs_and_damage_are_named(model: Model, five_model: Model, tmp_path: Path) -> None:
    two = write_volume(tmp_path / "in" / "two.nii.gz", np.concatenate([grey_slices(), grey_slices()], axis=3))
    message = predict(model, [two], tmp_path / "a").failed[0][1]
    assert "has 2 bands (band 1, band 2) of int16; the model or dataset takes 3 bands (red, green, blue)" in message
    message = predict(five_model, [two], tmp_path / "b").failed[0][1]
    assert "has 2 bands" in message
    assert ", ".join(FIVE.names) in message
    grey = write_volume(tmp_path / "grey.nii.gz", grey_slices())
    message = predict(model, [grey], tmp_path / "c", save=["labels", "geojson", "overlay"]).failed[0][1]
    assert "overlay, geojson can only be made from an image. Possible for volumes: labels, index, numpy" in message
    grey.write_bytes(grey.read_bytes()[:-400])
    message = predict(model, [grey], tmp_path / "d").failed[0][1]
    assert "Copy the file again" in message
    assert not list((tmp_path / "d").glob("*.nii*"))


def test_a_trace_takes_one_slice(model: Model, tmp_path: Path) -> None:
    path = write_volume(tmp_path / "ct.nii.gz", grey_slices())
    assert predict(model, [path], tmp_path / "out").failures == 0
    labels_ZHW = labels_in(tmp_path / "out" / "ct.nii.gz")
    for number, shown in ((None, 1), (2, 2)):
        found = trace(model, path, slice_number=number)
        assert str(found.file).endswith(f"ct.nii.gz, slice {shown} of 0 to 2")
        assert (found.prediction.labels == labels_ZHW[shown]).mean() > 0.99  # the traced parts round by themselves
    with pytest.raises(UsageError, match="no slice 3; its slices are 0 to 2"):
        trace(model, path, slice_number=3)
    with pytest.raises(ImageError, match=r"volume of 3 slices; expected one image.*pw\.trace takes one"):
        model.predict(path)
    with pytest.raises(UsageError, match="no volume"):
        trace(model, picture(0, 60, 90), slice_number=0)
