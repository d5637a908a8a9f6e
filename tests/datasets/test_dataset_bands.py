"""Which bands a dataset's images have: decided from all headers, chosen by --bands, read in full depth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pixelwise.datasets.class_values import Values, parse_values
from pixelwise.datasets.convert import convert
from pixelwise.datasets.image_copy import tiff_with_names
from pixelwise.datasets.listing import shown_sample
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_image
from pixelwise.doctor.findings import find_problems
from pixelwise.errors import DatasetError, ImageError, UsageError
from pixelwise.images.banded_image import BandedImage
from pixelwise.images.image_files import read_image
from pixelwise.records import RGB, Bands, Dataset, Sample

SHAPE = (24, 32)


def values(bands: int, dtype: Any = np.uint8, seed: int = 0) -> NDArray[Any]:
    high = {np.uint8: 250, np.uint16: 60000, np.int16: 3000}.get(dtype, 2)
    return np.random.default_rng(seed).uniform(0, high, (*SHAPE, bands)).astype(dtype)


def write(path: Path, pixels: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".tif":
        several: dict[str, Any] = {"planarconfig": "contig"} if pixels.shape[2] > 1 else {}
        tifffile.imwrite(path, np.squeeze(pixels), photometric="minisblack", **several)
    else:
        Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[:, :, 0]).save(path)
    return path


def mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = np.zeros(SHAPE, np.uint8)
    ids[6:18, 8:24] = 1
    Image.fromarray(ids).save(path)


def pairs(root: Path, images: list[NDArray[Any]], suffix: str = ".tif") -> Path:
    for i, pixels in enumerate(images):
        write(root / "images" / f"p{i}q{suffix}", pixels)
        mask(root / "masks" / f"p{i}q.png")
    return root


def samples(dataset: Dataset) -> list[Sample]:
    return sorted((sample for part in dataset.splits.values() for sample in part), key=lambda sample: sample.name)


def first_image(dataset: Dataset) -> NDArray[Any]:
    return np.asarray(read_sample_image(samples(dataset)[0], dataset.bands))


def notes(dataset: Dataset) -> str:
    return " ".join(dataset.notes)


# ── RGB stays RGB ──


def test_grey_colour_palette_and_constant_alpha_are_rgb(tmp_path: Path) -> None:
    opaque = np.dstack([values(3), np.full(SHAPE, 255, np.uint8)])
    root = pairs(tmp_path, [values(1), values(3, seed=1), opaque], ".png")
    Image.fromarray(values(3, seed=2)).quantize(16).save(root / "images/p3q.png")
    mask(root / "masks/p3q.png")
    dataset = open_dataset(root)
    assert dataset.bands == RGB
    assert "the image is constant (255): it is alpha, and not used" in notes(dataset)
    for sample in samples(dataset):
        assert np.array_equal(read_sample_image(sample, dataset.bands), read_image(sample.image))


def test_a_few_deep_images_among_8_bit_ones_are_reduced_and_named(tmp_path: Path) -> None:
    root = pairs(tmp_path, [values(1, seed=i) for i in range(4)], ".png")
    write(root / "images/p9q.png", values(1, np.uint16))
    mask(root / "masks/p9q.png")
    dataset = open_dataset(root)
    assert dataset.bands == RGB
    assert "1 of 5 images hold 16-bit values, such as images/p9q.png: they are reduced" in notes(dataset)


# ── any other bands ──


@pytest.mark.parametrize(
    ("bands", "dtype", "suffix", "high"),
    [
        (12, np.int16, ".tif", 32767.0),
        (1, np.uint16, ".png", 65535.0),
        (4, np.uint16, ".tif", 65535.0),
        (2, np.float32, ".tif", 1.0),
        (6, np.float32, ".npy", 1.0),
    ],
)
def test_images_of_other_bands_or_depth_are_read_in_full(
    bands: int, dtype: Any, suffix: str, high: float, tmp_path: Path
) -> None:
    written = values(bands, dtype)
    dataset = open_dataset(pairs(tmp_path, [written, values(bands, dtype, 1), values(bands, dtype, 2)], suffix))
    assert dataset.bands.names == tuple(f"band {i + 1}" for i in range(bands))
    assert dataset.bands.dtype == "float32"
    assert set(dataset.bands.high) == {high}
    read = first_image(dataset)
    assert read.dtype == np.float32
    assert np.array_equal(read, written.astype(np.float32))
    assert "read in full depth" in notes(dataset)


def test_a_fourth_channel_that_varies_is_a_band_of_8_bits(tmp_path: Path) -> None:
    root = pairs(tmp_path, [values(4, seed=i) for i in range(4)], ".png")
    dataset = open_dataset(root)
    assert dataset.bands.names == ("red", "green", "blue", "alpha")
    assert dataset.bands.dtype == "uint8"
    assert (dataset.bands.low, dataset.bands.high) == ((0.0,) * 4, (255.0,) * 4)
    assert "it is a band, 'alpha'. To leave it out: --bands red,green,blue." in notes(dataset)
    assert np.array_equal(first_image(dataset), values(4))
    assert open_dataset(root, bands="red,green,blue").bands == RGB


@pytest.mark.parametrize("asked", ["4,2", ["band 4", 2], "band 4, band 2"])
def test_bands_are_chosen_and_ordered_by_names_or_numbers(tmp_path: Path, asked: Any) -> None:
    root = pairs(tmp_path, [values(4, np.uint16, seed=i) for i in range(3)])
    dataset = open_dataset(root, bands=asked)
    assert dataset.bands.names == ("band 4", "band 2")
    assert np.array_equal(first_image(dataset), values(4, np.uint16)[:, :, [3, 1]])


def test_all_bands_in_another_order(tmp_path: Path) -> None:
    root = pairs(tmp_path, [values(2, np.uint16, seed=i) for i in range(3)])
    dataset = open_dataset(root, bands="2,1")
    assert np.array_equal(first_image(dataset), values(2, np.uint16)[:, :, ::-1])


def test_one_band_of_8_bit_colour_images(tmp_path: Path) -> None:
    dataset = open_dataset(pairs(tmp_path, [values(3, seed=i) for i in range(3)], ".png"), bands="green")
    assert dataset.bands == Bands(("green",), "uint8", (0.0,), (255.0,))
    assert np.array_equal(first_image(dataset), values(3)[:, :, 1:2])


def test_bands_that_are_not_there_are_named(tmp_path: Path) -> None:
    root = pairs(tmp_path, [values(4, np.uint16, seed=i) for i in range(3)])
    with pytest.raises(UsageError, match="no band '5'; they have 4 bands: band 1 to band 4"):
        open_dataset(root, bands="5")
    with pytest.raises(UsageError, match="each band once"):
        open_dataset(root, bands="1,1")
    with pytest.raises(UsageError, match="same band twice"):
        open_dataset(root, bands="1,band 1")


# ── names ──


def test_dataset_toml_names_and_chooses_bands(tmp_path: Path) -> None:
    root = pairs(tmp_path, [values(4, np.uint16, seed=i) for i in range(3)])
    (root / "dataset.toml").write_text('[bands]\nnames = ["blue", "green", "red", "nir"]\nuse = ["nir", 3]\n')
    dataset = open_dataset(root)
    assert dataset.bands.names == ("nir", "red")
    assert np.array_equal(first_image(dataset), values(4, np.uint16)[:, :, [3, 2]])
    assert open_dataset(root, bands="green").bands.names == ("green",)
    (root / "dataset.toml").write_text('[bands]\nnames = ["blue", "green"]\n')
    with pytest.raises(DatasetError, match=r"names has 2 names, but images/p0q\.tif has 4 bands"):
        open_dataset(root)
    (root / "dataset.toml").write_text('[bands]\nuse = ["ir"]\n')
    with pytest.raises(DatasetError, match="no band 'ir'"):
        open_dataset(root)
    (root / "dataset.toml").write_text('[bands]\nnames = ["a", "A"]\n')
    with pytest.raises(DatasetError, match="a name occurs twice"):
        open_dataset(root)


def test_the_options_of_a_run_hold_its_bands() -> None:
    chosen = parse_values([], [], bands="nir, 3")
    assert chosen.bands == ("nir", "3")
    assert chosen.options() == "--bands nir,3"
    assert Values.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen
    assert chosen
    assert not Values()


# ── sets of several kinds ──


def test_images_that_lack_a_band_are_errors_of_their_own(tmp_path: Path) -> None:
    images = [values(4, np.uint16, seed=i) for i in range(9)] + [values(3, np.uint16)]
    dataset = open_dataset(pairs(tmp_path, images))
    assert len(dataset.bands) == 4
    (problem,) = [problem for problem in dataset.problems if problem.severity == "error"]
    assert (problem.kind, problem.where) == ("bands-differ", "images/p9q.tif")
    assert "has 3 bands" in problem.message
    assert "most images have 4 bands (band 1 to band 4)" in problem.message
    assert len(samples(dataset)) == 9


def test_an_image_of_another_depth_is_an_error_of_its_own(tmp_path: Path) -> None:
    images = [values(4, np.uint16, seed=i) for i in range(9)] + [values(4, np.uint8)]
    dataset = open_dataset(pairs(tmp_path, images))
    (problem,) = [problem for problem in dataset.problems if problem.severity == "error"]
    assert (problem.kind, problem.where) == ("depth-differs", "images/p9q.tif")
    assert "holds uint8 values; 9 other images hold uint16 values" in problem.message


def test_half_with_a_fourth_band_and_half_without_are_read_by_what_all_have(tmp_path: Path) -> None:
    images = [values(4 if i % 2 else 3, seed=i) for i in range(6)]
    dataset = open_dataset(pairs(tmp_path, images, ".png"))
    assert dataset.bands == RGB
    (problem,) = [problem for problem in dataset.problems if problem.kind == "bands-differ"]
    assert "3 images have 3 bands (red, green, blue)" in problem.message
    assert "3 images have 4 bands (red, green, blue, alpha)" in problem.message
    assert "alpha" in problem.remedy
    assert "it is a band" not in notes(dataset)
    assert len(samples(dataset)) == 6


def test_an_image_that_changed_since_is_refused_with_both_bands(tmp_path: Path) -> None:
    dataset = open_dataset(pairs(tmp_path, [values(4, np.uint16, seed=i) for i in range(3)]))
    write(samples(dataset)[0].image, values(2, np.uint16))
    with pytest.raises(ImageError, match=r"2 bands .* takes 4 bands"):
        first_image(dataset)


def pages(path: Path, count: int, dtype: Any = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.moveaxis(values(count, dtype), 2, 0), photometric="minisblack", metadata=None)


def test_pages_of_equal_number_are_bands(tmp_path: Path) -> None:
    for i in range(3):
        pages(tmp_path / f"images/p{i}q.tif", 5, np.uint16)
        mask(tmp_path / f"masks/p{i}q.png")
    dataset = open_dataset(tmp_path)
    assert len(dataset.bands) == 5
    assert np.array_equal(first_image(dataset), values(5, np.uint16))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_of_pages_in_various_numbers_the_first_is_used_and_said(dtype: Any, tmp_path: Path) -> None:
    for i in range(4):
        pages(tmp_path / f"images/p{i}q.tif", 3 + i, dtype)
        mask(tmp_path / f"masks/p{i}q.png")
    dataset = open_dataset(tmp_path)
    assert first_image(dataset)[:, :, 0].tolist() == values(3, dtype)[:, :, 0].tolist()
    found = find_problems(dataset)
    assert not found.errors
    assert [problem.kind for problem in found.problems if "pages" in problem.kind] == ["more-pages"]


def test_names_that_differ_in_every_image_are_numbers(tmp_path: Path) -> None:
    for i in range(4):
        image = BandedImage(values(3, np.uint16, i), tuple(f"{band}_{i}" for band in ("B4", "B3", "B8")))
        path = tmp_path / f"images/p{i}q.tif"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tiff_with_names(image))
        mask(tmp_path / f"masks/p{i}q.png")
    dataset = open_dataset(tmp_path, bands="3,1")
    assert dataset.bands.names == ("band 3", "band 1")
    assert np.array_equal(first_image(dataset), values(3, np.uint16)[:, :, [2, 0]])
    assert "names differ between the images (B4_0, B3_0, B8_0 and B4_1, B3_1, B8_1)" in notes(dataset)


# ── one file a channel ──


def nnunet(root: Path, i: int, red: NDArray[Any], nir: NDArray[Any]) -> None:
    write(root / f"imagesTr/case_{i:03}_0000.tif", red)
    write(root / f"imagesTr/case_{i:03}_0001.tif", nir)
    mask(root / f"labelsTr/case_{i:03}.png")
    table = {"channel_names": {"0": "red", "1": "nir"}, "labels": {"background": 0, "cell": 1}, "file_ending": ".tif"}
    (root / "dataset.json").write_text(json.dumps(table))


def a_folder_an_image(root: Path, i: int, red: NDArray[Any], nir: NDArray[Any]) -> None:
    write(root / f"s{i}/red.tif", red)
    write(root / f"s{i}/nir.tif", nir)
    mask(root / f"s{i}/mask.png")


def names_at_the_end(root: Path, i: int, red: NDArray[Any], nir: NDArray[Any]) -> None:
    write(root / f"images/p{i}_red.tif", red)
    write(root / f"images/p{i}_nir.tif", nir)
    mask(root / f"masks/p{i}.png")


def a_folder_an_image_below_images(root: Path, i: int, red: NDArray[Any], nir: NDArray[Any]) -> None:
    write(root / f"images/p{i}/red.tif", red)
    write(root / f"images/p{i}/nir.tif", nir)
    mask(root / f"masks/p{i}.png")


def a_folder_a_band(root: Path, i: int, red: NDArray[Any], nir: NDArray[Any]) -> None:
    write(root / f"images/red/p{i}.tif", red)
    write(root / f"images/nir/p{i}.tif", nir)
    mask(root / f"masks/p{i}.png")


LAYOUTS = (nnunet, a_folder_an_image, a_folder_an_image_below_images, names_at_the_end, a_folder_a_band)


@pytest.mark.parametrize("build", LAYOUTS)
def test_one_file_a_channel(build: Callable[[Path, int, Any, Any], None], tmp_path: Path) -> None:
    for i in range(5):
        build(tmp_path / "data", i, values(1, np.uint16, i), values(1, np.uint16, 10 + i))
    dataset = open_dataset(tmp_path / "data")
    assert not [problem for problem in dataset.problems if problem.severity == "error"]
    assert len(samples(dataset)) == 5
    assert dataset.bands.names == ("red", "nir")
    expected = np.dstack([values(1, np.uint16, 0), values(1, np.uint16, 10)])
    assert np.array_equal(first_image(dataset), expected)
    assert "{" not in shown_sample(samples(dataset)[0], dataset.root, mask=False)
    assert "[" not in shown_sample(samples(dataset)[0], dataset.root, mask=True)
    chosen = open_dataset(tmp_path / "data", bands="nir")
    assert np.array_equal(first_image(chosen), expected[:, :, 1:])
    written = convert(tmp_path / "data", tmp_path / "out", "native")
    assert written.bands == dataset.bands
    before, after = (
        {read_sample_image(sample, one.bands).tobytes() for sample in samples(one)} for one in (dataset, written)
    )
    assert before == after


def test_an_image_without_one_of_its_channels_is_named(tmp_path: Path) -> None:
    for i in range(6):
        names_at_the_end(tmp_path, i, values(1, np.uint16, i), values(1, np.uint16, 10 + i))
    (tmp_path / "images/p3_nir.tif").unlink()
    dataset = open_dataset(tmp_path)
    assert "the image p3 has no nir; the others have red, nir" in " ".join(str(p) for p in dataset.problems)
    assert len(samples(dataset)) == 5


def test_channels_of_different_sizes_are_refused(tmp_path: Path) -> None:
    for i in range(3):
        names_at_the_end(tmp_path, i, values(1, np.uint16, i), values(1, np.uint16, 10 + i))
    write(tmp_path / "images/p0_nir.tif", values(1, np.uint16)[:20])
    dataset = open_dataset(tmp_path)
    with pytest.raises(ImageError, match=r"its band p0_nir\.tif is 32×20, the first is 32×24"):
        first_image(dataset)


def test_photos_and_a_band_beside_them(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"images/p{i}_rgb.png", values(3, seed=i))
        write(tmp_path / f"images/p{i}_thermal.png", values(1, seed=10 + i))
        mask(tmp_path / f"masks/p{i}.png")
    dataset = open_dataset(tmp_path)
    assert dataset.bands.names == ("red", "green", "blue", "thermal")
    assert dataset.bands.dtype == "uint8"
    assert np.array_equal(first_image(dataset), np.dstack([values(3), values(1, seed=10)]))
