"""Training on images of other bands than red, green and blue: from files to a bundle that labels them alike."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="install pixelwise[train]")

import tifffile
import torch

import pixelwise as pw
from pixelwise.errors import ImageError, UsageError
from pixelwise.images.no_data import labels_with_data
from pixelwise.images.tiff_windows import TiffWindows
from pixelwise.model.preprocess import labels_from_scores, scaled
from pixelwise.prediction.load_model import load
from pixelwise.records import RGB, VOID, Bands, ClassList, Dataset, Raster, Sample
from pixelwise.training import loader, loop
from pixelwise.training.augment_bands import relight_bands
from pixelwise.training.band_ranges import measured_ranges, range_of, with_ranges
from pixelwise.training.disk_copies import DiskArray, DiskCopies
from pixelwise.training.export_run import export, load_best_epoch
from pixelwise.training.initial_weights import InitialWeights, take_weights
from pixelwise.training.loader import Augmentation, Pairs, augment
from pixelwise.training.prepare import CheckedData, dataset_from_manifest, prepare
from pixelwise.training.recipe import Recipe
from pixelwise.training.run_directory import describe_data
from pixelwise.training.training_state import start

TWO = ClassList(("land", "water"), ((90, 70, 50), (40, 80, 220)))
FIVE = Bands(("blue", "green", "red", "nir", "swir"), "float32", (0.0,) * 5, (1.0,) * 5)
FOUR = Bands(("red", "green", "blue", "nir"), "uint8", (0.0,) * 4, (255.0,) * 4)
GREY = Bands(("band 1",), "float32", (0.0,), (65535.0,))


def image_and_mask(kind: str, seed: int) -> tuple[Raster, np.ndarray[Any, np.dtype[np.uint8]]]:
    """Water is dark in the last band. Float images miss values: in a corner in all bands, along an edge in one."""
    rng = np.random.default_rng(seed)
    height, width = 40 + seed, 56
    mask = np.zeros((height, width), np.uint8)
    mask[rng.integers(4, 16) :, : rng.integers(20, 40)] = 1
    bands = {"five": 5, "four": 4, "grey": 1}[kind]
    unit = rng.normal(0.5, 0.05, (height, width, bands))
    unit[:, :, -1] -= 0.3 * mask
    if kind == "four":
        return (255 * unit).clip(0, 255).astype(np.uint8), mask
    if kind == "grey":
        return (9000 * unit + 300).astype(np.uint16), mask
    values = (unit * np.array([0.1, 0.1, 0.2, 4000, 900])).astype(np.float32)
    values[-6:, -8:] = np.nan
    values[:, 0, 1] = np.inf
    return values, mask


def dataset_of(folder: Path, kind: str) -> Dataset:
    """A dataset on disk, of 4 training pairs and 2 to validate on."""
    bands = {"five": FIVE, "four": FOUR, "grey": GREY}[kind]
    samples = []
    for seed in range(6):
        image, mask = image_and_mask(kind, seed)
        np.save(folder / f"{seed}.npy", image)
        cv2.imwrite(str(folder / f"{seed}.png"), mask)
        samples.append(Sample(str(seed), folder / f"{seed}.npy", folder / f"{seed}.png"))
    splits = {"train": tuple(samples[:4]), "val": tuple(samples[4:])}
    return Dataset(folder, "native", TWO, splits, {0: 0, 1: 1}, bands=bands)


def trained_run(folder: Path, dataset: Dataset, recipe: Recipe) -> Path:
    """Train and export as `train` does, for a dataset that is already open. Returns the run directory."""
    import json

    run = folder / "run"
    for part in ("checkpoints", "previews"):
        (run / part).mkdir(parents=True)
    dataset = with_ranges(dataset)
    (run / "data.json").write_text(json.dumps(describe_data(dataset, dataset.splits)))
    (run / "recipe.toml").write_text(recipe.to_toml())
    events: list[dict[str, Any]] = []
    training, data = prepare(
        CheckedData(dataset, []), recipe, DiskCopies(run / "cache"), events.append, lambda what, done, total: None
    )
    loop.run_epochs(training, data, run, events.append)
    export(run)
    return run


@pytest.mark.parametrize(
    ("kind", "model", "policy"),
    [
        pytest.param("five", "unet", "fit", marks=pytest.mark.slow),
        ("four", "fast", "stretch"),
        ("grey", "unet", "native"),
    ],
)
def test_a_bundle_trained_on_any_bands_labels_as_torch_does(tmp_path: Path, kind: str, model: str, policy: Any) -> None:
    dataset = dataset_of(tmp_path, kind)
    recipe = Recipe(
        model=model, policy=policy, size=(64, 64), batch=2, epochs=2, pretrained=False, small_epochs=0.0, seed=1
    )
    run = trained_run(tmp_path, dataset, recipe)
    best, bundle = load_best_epoch(run), load(run)
    assert bundle.metadata.bands == best.bands == with_ranges(dataset).bands
    for seed in range(4, 6):
        image, _ = image_and_mask(kind, seed)
        with torch.inference_mode():
            scores = best.network(best.preprocess(torch.from_numpy(image)[None]))
            expected = labels_with_data(image, labels_from_scores(scores, image.shape[:2])[0].numpy())
        assert (bundle.predict(image).labels != expected).mean() <= 2e-3
    if kind == "five":
        for how in ({"weights": "float16"}, {"int8": True}):
            small = load(export(run, tmp_path / "small.onnx", max_drop=100.0, **how))  # type: ignore[arg-type]
            assert small.metadata.bands == best.bands
            assert (small.predict(image).labels == bundle.predict(image).labels).mean() > 0.9


def test_a_folder_of_float_images_is_trained_on_resumed_and_its_bundle_wants_its_bands(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for seed in range(6):
        image, mask = image_and_mask("five", seed)
        tifffile.imwrite(folder / "images" / f"{seed}.tif", image, photometric="minisblack", planarconfig="contig")
        cv2.imwrite(str(folder / "masks" / f"{seed}.png"), mask)
    recipe = Recipe(model="unet", size=(32, 32), batch=2, epochs=1, small_epochs=0.0, even_exposure=False)
    done = pw.train(folder, tmp_path / "run", recipe)
    model = pw.load(done.bundle)
    assert model.metadata.bands.names == tuple(f"band {number}" for number in range(1, 6))
    by_path = model.predict(folder / "images/5.tif").labels
    assert np.array_equal(by_path, model.predict(image_and_mask("five", 5)[0]).labels)
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ImageError, match=r"red, green, blue.*band 1"):
        model.predict(tmp_path / "photo.png")
    first = done.bundle.read_bytes()
    done.bundle.unlink()
    assert pw.train(folder, tmp_path / "run", resume=True).bundle.read_bytes() == first


def test_a_run_describes_its_bands(tmp_path: Path) -> None:
    dataset = with_ranges(dataset_of(tmp_path, "five"))
    assert dataset_from_manifest(describe_data(dataset, dataset.splits)).bands == dataset.bands


def test_ranges_are_percentiles_of_the_values_there_are(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, "five")
    bands = with_ranges(dataset).bands
    values = np.concatenate([image_and_mask("five", seed)[0].reshape(-1, 5) for seed in range(4)])
    for band in range(5):
        known = values[np.isfinite(values[:, band]), band]
        assert bands.low[band] == pytest.approx(np.percentile(known, 0.5), rel=1e-5)
        assert bands.high[band] == pytest.approx(np.percentile(known, 99.5), rel=1e-5)
    assert with_ranges(dataset_of(tmp_path, "four")).bands == FOUR


def test_the_range_of_a_band_without_spread_or_values_is_still_one() -> None:
    assert range_of(np.full(5, 7, np.float32)) == (7.0, 8.0)
    assert range_of(np.full(5, np.nan, np.float32)) == (0.0, 1.0)
    assert range_of(np.array([0.0] * 999 + [3.0], np.float32)) == (0.0, 3.0)
    assert measured_ranges((), FIVE, lambda sample: np.zeros((1, 1, 5), np.float32)) is None


def test_pixels_without_any_value_are_unlabelled(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, "five")
    image, mask = Pairs(dataset.splits["train"], dataset.mask_ids, 2, 64, bands=dataset.bands)[1]
    nowhere = ~np.isfinite(image).any(axis=2)
    assert nowhere.any()
    assert (mask[nowhere] == VOID).all()
    assert (mask[~nowhere] == image_and_mask("five", 1)[1][~nowhere]).all()


@pytest.mark.parametrize("bands", [FIVE, FOUR])
def test_a_crop_is_scaled_as_a_bundle_scales_and_grey_outside(bands: Bands) -> None:
    image, mask = image_and_mask("five" if bands is FIVE else "four", 2)
    how = Augmentation((32, 32), "stretch", (0.3, 0.3), flip=False, light=0.0, seed=3, bands=bands)
    crop, labels = augment(image, mask, how, 0, 0)
    assert crop.dtype == np.float32
    assert crop.shape == (32, 32, len(bands))
    known = scaled(torch.from_numpy(image), bands).numpy()
    assert known.min() - 1e-3 <= crop.min() <= crop.max() <= known.max() + 1e-3
    outside = labels == VOID
    assert outside.any()
    assert np.abs(crop[0, 0] - 127.25).max() <= 0.3  # zoomed out: the image lies in the middle


@pytest.mark.parametrize("tiled", [True, False])
def test_a_large_image_is_read_in_windows_with_the_same_crops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiled: bool
) -> None:
    image = np.concatenate([image_and_mask("five", 3)[0]] * 6, axis=1)[:, :320]
    mask = np.concatenate([image_and_mask("five", 3)[1]] * 6, axis=1)[:, :320]
    more: dict[str, Any] = {"tile": (16, 16), "photometric": "minisblack"}
    if tiled:
        tifffile.imwrite(tmp_path / "large.tif", image, planarconfig="contig", **more)
    else:
        np.save(tmp_path / "large.npy", image)
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    sample = Sample("large", tmp_path / ("large.tif" if tiled else "large.npy"), tmp_path / "mask.png")
    monkeypatch.setattr(loader, "LARGE_PIXELS", 100)
    in_memory = Pairs([sample], {0: 0, 1: 1}, 2, 64, bands=FIVE)
    in_windows = Pairs([sample], {0: 0, 1: 1}, 2, 0, DiskCopies(tmp_path / "copies"), FIVE)
    how = Augmentation((32, 32), "native", (0.5, 2.0), flip=True, light=1.0, seed=3, bands=FIVE)
    assert isinstance(in_windows[0][0], TiffWindows if tiled else DiskArray)
    for epoch in range(5):
        crop, labels = augment(*in_windows[0], how, epoch, 0)
        expected, expected_labels = augment(*in_memory[0], how, epoch, 0)
        assert np.array_equal(crop, expected)
        assert np.array_equal(labels, expected_labels)


def test_light_moves_bands_apart_a_little_and_stays_in_range() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (50, 70, 12)).astype(np.float32)
    changed = [relight_bands(np.random.default_rng(seed), image.copy(), 1.0) for seed in range(20)]
    for one in changed:
        assert one.dtype == np.float32
        assert one.shape == image.shape
        assert -128 <= one.min() <= one.max() <= 383
    shifts = np.array([(one - image).mean(axis=(0, 1)) for one in changed])
    assert np.abs(shifts).max() > 10
    assert shifts.std(axis=1).mean() < np.abs(shifts).mean()
    assert relight_bands(np.random.default_rng(0), image, 0.0) is image


def test_stains_are_of_rgb_images(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, "four")
    with pytest.raises(UsageError, match="stain = 1 changes the colours of RGB images, but these have 4 bands: red"):
        prepare(CheckedData(dataset, []), Recipe(stain=1.0), DiskCopies(tmp_path), print, print)


def test_the_first_filters_are_trained_where_they_were_not_made_for_the_bands() -> None:
    recipe = Recipe(size=(64, 64))
    for bands, learns in ((RGB, False), (GREY, False), (FOUR, True)):
        stem = start(recipe, 2, bands=bands).network.encoder.stem.conv.weight  # type: ignore[union-attr]
        assert stem.shape[1] == len(bands)
        assert stem.requires_grad == learns  # type: ignore[union-attr]


def test_only_the_first_filters_start_untrained_from_a_run_on_other_bands() -> None:
    recipe = Recipe(model="unet", size=(32, 32))
    theirs = start(replace(recipe, seed=5), 2).network.state_dict()
    training = start(recipe, 2, bands=FOUR)
    before = training.network.state_dict()["down.0.0.weight"].clone()
    assert take_weights(training, InitialWeights(dict(theirs), {}), ()) == ["down.0.0.weight"]
    now = training.network.state_dict()
    assert torch.equal(now["down.0.0.weight"], before)
    assert torch.equal(now["classifier.weight"], theirs["classifier.weight"])
