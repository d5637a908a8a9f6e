"""Datasets with a folder for each band beside the masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from banded import FIVE, five_image
from banded import write_tiff as write_banded_tiff
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask
from pixelwise.doctor.check import check
from pixelwise.prediction.load_model import Model
from pixelwise.prediction.predict import predict
from pixelwise.records import RGB

tifffile: Any = pytest.importorskip("tifffile")
SIZE = (24, 36)
LAYOUTS = {  # the file of a band, and of the mask, of image {k}
    "folders": ("{b}/a{k}.tif", "masks/a{k}.png"),
    "38-Cloud": ("train_{b}/{b}_patch_{k}.TIF", "train_gt/gt_patch_{k}.TIF"),
    "splits above": ("train/{b}/a{k}.tif", "train/masks/a{k}.png"),
    "splits at the end": ("{b}_train/a{k}_{b}.tif", "label_train/a{k}_label.png"),
    "masks named otherwise": ("{b}/a{k}.tif", "all_labels/a{k}_mask.png"),
    "a folder below": ("scene/{b}/a{k}.tif", "scene/gt/a{k}.png"),
}


def pixels_of(k: int, bands: int, dtype: Any = np.uint16) -> NDArray[Any]:
    return np.random.default_rng(k).integers(0, 250, (*SIZE, bands)).astype(dtype)


def mask_of(k: int) -> NDArray[np.uint8]:
    mask = np.zeros(SIZE, np.uint8)
    mask[:, 10 + k :] = 1
    return mask


def write(
    root: Path, layout: str, bands: tuple[str, ...], numbers: range = range(6), dtype: Any = np.uint16
) -> tuple[str, str]:
    of_band, of_mask = LAYOUTS[layout]
    for k in numbers:
        pixels = pixels_of(k, len(bands), dtype)
        for place, band in enumerate(bands):
            path = root / of_band.format(b=band, k=k)
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, pixels[:, :, place], metadata=None)
        path = root / of_mask.format(k=k)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask_of(k)).save(path)
    return of_band, of_mask


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bands_are_in_a_natural_order_and_pairs_fit(tmp_path: Path, layout: str) -> None:
    bands = ("nir", "red", "blue", "green")
    write(tmp_path, layout, bands)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "band-folders"
    assert not dataset.problems
    assert dataset.bands.names == ("red", "green", "blue", "nir")
    samples = [sample for part in dataset.splits.values() for sample in part]
    assert len(samples) == len({sample.name for sample in samples}) == 6
    for sample in samples:
        k = int(next(letter for letter in reversed(sample.image.stem) if letter.isdigit()))
        expected = pixels_of(k, 4)[:, :, [1, 3, 2, 0]]
        assert np.array_equal(read_sample_image(sample, dataset.bands), expected.astype(np.float32))
        assert np.array_equal(read_sample_mask(sample, dataset.mask_ids, 2, SIZE), mask_of(k))
    notes = " ".join(dataset.notes)
    assert "red, green, blue, nir, for 6 images" in notes


@pytest.mark.parametrize(
    ("bands", "order"),
    [
        (("B10", "B2", "B8A", "B3"), ("B2", "B3", "B8A", "B10")),
        (("swir1", "nir", "coastal"), ("nir", "coastal", "swir1")),
        (("vv", "vh"), ("vh", "vv")),
        (("red", "nir"), ("red", "nir")),
    ],
)
def test_names_that_are_bands(tmp_path: Path, bands: tuple[str, ...], order: tuple[str, ...]) -> None:
    write(tmp_path, "folders", bands)
    assert open_dataset(tmp_path).bands.names == order
    picked = open_dataset(tmp_path, bands=[order[-1], order[0]])
    assert picked.bands.names == (order[-1], order[0])


def test_8_bit_red_green_and_blue_are_read_as_rgb(tmp_path: Path) -> None:
    write(tmp_path, "folders", ("blue", "red", "green"), dtype=np.uint8)
    dataset = open_dataset(tmp_path)
    assert dataset.bands == RGB
    sample = dataset.splits["train"][0]
    k = int(sample.image.stem[1:])
    assert np.array_equal(read_sample_image(sample, dataset.bands), pixels_of(k, 3, np.uint8)[:, :, [1, 2, 0]])
    assert check(tmp_path).sound


def test_splits_are_those_of_the_folders(tmp_path: Path) -> None:
    write(tmp_path / "train", "folders", ("red", "nir"))
    write(tmp_path / "val", "folders", ("red", "nir"), range(6, 9))
    dataset = open_dataset(tmp_path)
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 6, "val": 3}
    names = [sample.name for part in dataset.splits.values() for sample in part]
    assert names[0] == "train/a0"
    assert names[-1] == "val/a8"


@pytest.mark.parametrize("layout", ["folders", "38-Cloud"])
def test_what_is_missing_is_named_all_at_once(tmp_path: Path, layout: str) -> None:
    of_band, of_mask = write(tmp_path, layout, ("red", "green", "nir"), range(9))
    (tmp_path / of_band.format(b="nir", k=2)).unlink()
    for band in ("red", "green"):
        (tmp_path / of_band.format(b=band, k=3)).unlink()
    (tmp_path / of_mask.format(k=5)).unlink()
    dataset = open_dataset(tmp_path)
    said = [str(problem) for problem in dataset.problems]
    assert len(said) == 3
    assert any("2 has no nir; the others have red, green, nir" in one for one in said)
    assert any("3 has no red, green; the others have red, green, nir" in one for one in said)
    assert any("has no mask" in one and "5" in one for one in said)
    assert sum(len(samples) for samples in dataset.splits.values()) == 6
    assert not check(tmp_path).sound


def test_a_band_of_another_size_is_an_error_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, "folders", ("red", "nir"))
    tifffile.imwrite(tmp_path / "nir/a4.tif", pixels_of(0, 1)[:12, :, 0], metadata=None)
    report = check(tmp_path)
    assert not report.sound
    assert "a4.tif" in str(report)


def test_two_files_of_one_band_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "folders", ("red", "nir"))
    Image.fromarray(pixels_of(0, 1)[:, :, 0]).save(tmp_path / "nir/a4.png")
    (problem,) = open_dataset(tmp_path).problems
    assert problem.kind == "duplicate-stem"
    assert "nir" in problem.message


def test_folders_of_colours_of_things_are_no_bands(tmp_path: Path) -> None:
    """Photos of red and of green apples share no names."""
    for k, colour in enumerate(("red", "green")):
        (tmp_path / colour).mkdir()
        for number in range(4):
            Image.fromarray(pixels_of(number, 3, np.uint8)).save(tmp_path / colour / f"{colour[0]}{k}{number}.png")
    (tmp_path / "masks").mkdir()
    for path in tmp_path.glob("*/*.png"):
        Image.fromarray(mask_of(0)).save(tmp_path / "masks" / path.name)
    assert open_dataset(tmp_path).layout != "band-folders"


@pytest.mark.parametrize("pattern", ["{b}/a{k}.tif", "test_{b}/{b}_a{k}.tif", "{b}_test/a{k}_{b}.tif"])
def test_images_in_band_folders_are_labelled(five_model: Model, tmp_path: Path, pattern: str) -> None:
    pixels = {k: five_image(k, 60, 90) for k in range(2)}
    for k, image in pixels.items():
        for place, band in enumerate(FIVE.names):
            path = tmp_path / "data" / pattern.format(b=band, k=k)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_banded_tiff(path, image[:, :, place], names=())
    for number, named in enumerate((tmp_path / "data", tmp_path / "data" / pattern.format(b="nir", k=0))):
        out = tmp_path / f"out{number}"
        summary = predict(five_model, [named], out)
        assert (summary.done, summary.failures) == (2 - number, 0), str(summary)
        (found,) = out.rglob("a0.png")
        assert np.array_equal(np.asarray(Image.open(found)), five_model.predict(pixels[0]).labels)


def test_a_split_with_a_folder_of_one_band_is_named(tmp_path: Path) -> None:
    write(tmp_path, "38-Cloud", ("red", "nir"))
    (tmp_path / "val_red").mkdir()
    tifffile.imwrite(tmp_path / "val_red" / "red_patch_9.TIF", pixels_of(9, 1)[:, :, 0], metadata=None)
    notes = " ".join(open_dataset(tmp_path).notes)
    assert "Left out, as no folder of another band is beside it: val_red/." in notes


@pytest.mark.parametrize("word", ["truth", "second", "second_truth"])
def test_masks_are_chosen_among_several_folders(tmp_path: Path, word: str) -> None:
    write(tmp_path, "folders", ("red", "nir"))
    (tmp_path / "masks").rename(tmp_path / "truth")
    for k in range(6):
        (tmp_path / "second_truth").mkdir(exist_ok=True)
        Image.fromarray(1 - mask_of(k)).save(tmp_path / "second_truth" / f"a{k}.png")
    data = open_dataset(tmp_path, masks=word)
    assert (data.layout, data.bands.names) == ("band-folders", ("red", "nir"))
    (sample,) = (one for part in data.splits.values() for one in part if one.name.endswith("a2"))
    assert sample.mask is not None
    assert sample.mask.parent.name == ("truth" if word == "truth" else "second_truth")


def test_a_word_for_masks_of_no_band_folders_still_chooses(tmp_path: Path) -> None:
    for folder in ("images", "truth", "other"):
        (tmp_path / folder).mkdir()
        for k in range(3):
            pixels = pixels_of(k, 3, np.uint8) if folder == "images" else mask_of(k)
            Image.fromarray(pixels).save(tmp_path / folder / f"a{k}.png")
    assert open_dataset(tmp_path, masks="other").layout == "folders"
