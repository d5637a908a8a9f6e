"""Images that few tools expect: each ends with a trained model, or with a message that names what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import pixelwise as pw
from pixelwise.errors import DatasetError, UsageError
from pixelwise.model.preprocess import network_size
from pixelwise.training.batch_order import CropKey
from pixelwise.training.data_summary import pixels_as_seen
from pixelwise.training.loader import Augmentation, CropDataset, Pairs
from pixelwise.training.loop import rare_classes
from pixelwise.training.validation_split import with_validation

SHORT = {"epochs": 1, "size": (32, 32), "policy": "fit", "model": "unet", "batch": 2, "mirrors": 1}


def write_pairs(folder: Path, pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> Path:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number, (image, mask) in enumerate(pairs):
        Image.fromarray(image).save(folder / "images" / f"{number:02}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02}.png")
    return folder


def noisy(mask: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """An RGB image that is brighter where the mask is higher."""
    noise = np.random.default_rng(number).integers(0, 50, (*mask.shape, 3))
    return np.asarray(mask[:, :, None] * 80 + noise, np.uint8)


def discs(pairs: int, side_px: int = 96) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    found = []
    for number in range(pairs):
        mask = np.zeros((side_px, side_px), np.uint8)
        cv2.circle(mask, (30 + 5 * number, 50), 20, 1, -1)
        found.append((noisy(mask, number), mask))
    return found


@pytest.mark.long
def test_images_of_two_pixels_a_side_are_planned_trained_and_labelled(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [1, 0]], np.uint8)
    data = write_pairs(tmp_path / "data", [(noisy(mask, number), mask) for number in range(5)])
    assert pw.plan(data).recipe.policy == "fit", "they are enlarged"
    done = pw.train(data, tmp_path / "run", settings=SHORT)
    assert pw.load(done.bundle).predict(noisy(mask, 9)).labels.shape == (2, 2)


def test_one_training_image_is_enough_to_train_on_and_the_plan_says_that_it_is_one(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", discs(2))
    planned = pw.plan(data)
    assert planned.fingerprint.train == planned.fingerprint.val == 1
    assert any(warning.startswith("1 training image:") for warning in planned.warnings)
    assert sum(epochs * steps for _, epochs, steps in planned.recipe.segments) >= 1000, "steps, not passes"
    assert pw.train(data, tmp_path / "run", settings=SHORT).bundle.is_file()


def test_a_single_pair_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    data = write_pairs(tmp_path, discs(1))
    with pytest.raises(DatasetError, match="1 pair is too few: at least one to train on and one to validate on"):
        pw.plan(data)


def specks(pairs: int) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Large images with a thin line, and a speck of 6×6 pixels in a corner: crops at random never meet it."""
    found = []
    for number in range(pairs):
        mask = np.zeros((900, 900), np.uint8)
        cv2.line(mask, (0, 100 + 20 * number), (899, 700), 1, 3)
        mask[880:886, 20:26] = 2
        found.append((noisy(mask, number), mask))
    return found


def test_a_class_that_random_crops_never_meet_gets_crops_of_its_own(tmp_path: Path) -> None:
    data = write_pairs(tmp_path, specks(4))
    recipe = pw.plan(data).recipe
    assert (recipe.policy, recipe.rare_share) == ("native", 0.5)
    dataset = with_validation(pw.open_dataset(data), recipe.seed)
    pairs = Pairs(dataset.splits["train"], dataset.mask_ids, 3, 100)
    pixels_C = pixels_as_seen(pairs, recipe, 3, lambda *_: None)
    shown = []
    for rare_share in (recipe.rare_share, 0.0):
        how = Augmentation(
            recipe.size, recipe.policy, recipe.zoom, recipe.flip, 0.0, 0, crops=1,
            rare=rare_classes(pixels_C), rare_share=rare_share,
        )  # fmt: skip
        crops = CropDataset(pairs, how)
        labels = [crops[CropKey(epoch, index, epoch)][1] for epoch in range(10) for index in range(len(pairs))]
        shown.append(sum(bool((crop == 2).any()) for crop in labels) / len(labels))
    assert shown[0] > 0.15, f"the class is in {shown[0]:.0%} of the crops"
    assert shown[0] > 3 * shown[1]


def test_a_class_that_no_training_image_has_is_named(tmp_path: Path) -> None:
    data = tmp_path
    for split, value in (("train", 1), ("val", 2)):
        write_pairs(data / split, [(image, np.where(mask == 1, value, mask)) for image, mask in discs(4)])
    warnings = pw.plan(data).warnings
    assert any("class 2 occurs in none of the 4 training images" in warning for warning in warnings), warnings


def hairs(pairs: int) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Large images with lines of one pixel."""
    found = []
    for number in range(pairs):
        mask = np.zeros((1200, 1200), np.uint8)
        for column in range(40 + number, 1200, 200):
            mask[:, column] = 1
        found.append((noisy(mask, number), mask))
    return found


def test_lines_of_a_pixel_are_planned_at_full_resolution_and_a_size_that_loses_them_is_named(tmp_path: Path) -> None:
    data = write_pairs(tmp_path, hairs(3))
    planned = pw.plan(data)
    assert (planned.recipe.policy, planned.recipe.stride) == ("native", 1)
    assert not any("less than a pixel" in warning for warning in planned.warnings)
    small = pw.plan(data, {"size": (256, 256)})
    assert network_size(1200, 1200, small.recipe.size, small.recipe.policy) == (256, 256)
    assert any("foreground is 0.2 px wide" in warning and "--policy native" in warning for warning in small.warnings), (
        small.warnings
    )


def test_a_training_that_cannot_fit_the_memory_ends_before_its_first_step(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", discs(3))
    too_much = {"size": (4096, 4096), "batch": 512}
    with pytest.raises(UsageError, match=r"needs about .* GB .*--batch \d+.* fits"):
        pw.plan(data, too_much)
    with pytest.raises(UsageError, match="needs about"):
        pw.train(data, tmp_path / "run", settings=too_much)
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def write_fields(folder: Path, values: dict[int, float]) -> Path:
    """Five images of four int16 or float32 bands; `values`: bands that have one value everywhere."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(5):
        mask = np.zeros((48, 48), np.uint8)
        mask[8 + number : 30, 10:34] = 1
        noise = np.random.default_rng(number).normal(1000, 150, (48, 48, 4))
        image = (noise + 150 * mask[:, :, None]).astype(np.float32 if np.nan in values.values() else np.int16)
        for band, value in values.items():
            image[:, :, band] = value
        tifffile.imwrite(folder / "images" / f"{number}.tif", image, photometric="minisblack", planarconfig="contig")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    return folder


def test_bands_of_one_value_or_of_none_do_no_harm_to_a_training(tmp_path: Path) -> None:
    data = write_fields(tmp_path / "data", {1: np.nan, 2: 7})
    done = pw.train(data, tmp_path / "run", settings=SHORT)
    assert all(np.isfinite(epoch["loss"]) and np.isfinite(epoch["val_loss"]) for epoch in done.epochs)
    model = pw.load(done.bundle)
    assert len(model.metadata.bands) == 4
    image = np.full((20, 30, 4), np.nan, np.float32)
    image[:, :, 0] = 1000
    found = model.predict(image)
    assert found.labels.shape == (20, 30)
    assert np.isfinite(found.scores).all()


def test_images_without_any_data_cannot_be_planned_or_trained_on(tmp_path: Path) -> None:
    data = write_fields(tmp_path / "data", dict.fromkeys(range(4), np.nan))
    for work in (lambda: pw.plan(data), lambda: pw.train(data, tmp_path / "run", settings=SHORT)):
        with pytest.raises(DatasetError, match=r"no data|none of 4 training pairs"):
            work()
