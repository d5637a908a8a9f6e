"""The doctor on images of any bands: values of every band, bands that tell nothing, and bands that leak the labels."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.doctor.check import check
from pixelwise.doctor.check_page import page_of
from pixelwise.doctor.check_report import CheckReport
from pixelwise.doctor.findings import find_problems
from pixelwise.errors import DatasetError
from pixelwise.records import Problem

OWN = Path(__file__).parents[2].parent / "shared" / "data" / "own"
SIZE = 48
COUNT = 6
Fill = Callable[[NDArray[Any], NDArray[np.uint8], int], None]  # changes the bands of an image, given its mask


def data(root: Path, fill: Fill = lambda _bands, _mask, _i: None, count: int = COUNT) -> Path:
    """Images of four noisy float bands and a rectangle to find, which shows faintly in the first."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for i in range(count):
        rng = np.random.default_rng(i)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        top, left = rng.integers(2, 20, 2)
        mask[top : top + 20, left : left + 18] = 1
        bands = rng.normal(100, 10, (SIZE, SIZE, 4)).astype(np.float32)
        bands[:, :, 0] += 8 * mask
        fill(bands, mask, i)
        tifffile.imwrite(root / f"images/{i}x.tif", bands, photometric="minisblack", planarconfig="contig")
        Image.fromarray(mask).save(root / f"masks/{i}x.png")
    return root


def told(report: CheckReport, kind: str) -> list[Problem]:
    return [problem for problem in report.findings.problems if problem.kind == kind]


def test_every_band_is_shown_with_its_values(tmp_path: Path) -> None:
    def fill(bands: NDArray[Any], _mask: NDArray[np.uint8], _i: int) -> None:
        bands[:12, :, 1] = np.nan

    report = check(data(tmp_path, fill))
    assert report.sound
    rows = report.to_json()["bands"]
    assert [row["name"] for row in rows] == ["band 1", "band 2", "band 3", "band 4"]
    assert rows[2]["low"] < rows[2]["p1"] < 95 < rows[2]["median"] < 105 < rows[2]["p99"] < rows[2]["high"]
    assert [row["missing"] for row in rows] == [0, 0.25, 0, 0]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(report)
    printed = console.export_text()
    assert "band 2" in printed
    assert "25.00%" in printed
    page = page_of(report)
    assert "Values of each band" in page
    assert "25.00%" in page
    json.dumps(report.to_json(), allow_nan=False)


def test_rgb_images_have_no_bands_in_the_report(tmp_path: Path) -> None:
    data(tmp_path)
    for path in (tmp_path / "images").iterdir():
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8)).save(path)
    report = check(tmp_path)
    assert "bands" not in report.to_json()


def test_a_band_made_from_the_masks_is_named_with_its_score(tmp_path: Path) -> None:
    def fill(bands: NDArray[Any], mask: NDArray[np.uint8], _i: int) -> None:
        bands[:, :, 2] = 50 + 900.0 * mask + bands[:, :, 3] / 10

    report = check(data(tmp_path, fill))
    (problem,) = told(report, "band-leaks")
    assert problem.where == "band 3"
    assert "alone predicts 'foreground': IoU 1.000 with values from" in problem.message
    assert "--bands 1,2,4." in problem.remedy
    assert report.sound
    assert not told(check(tmp_path, bands="1,2,4"), "band-leaks")
    train = find_problems(open_dataset(tmp_path), ["train", "val"])
    assert "band-leaks" in {found.kind for found in train.problems}


def test_a_map_of_others_that_knows_part_of_a_class_is_named(tmp_path: Path) -> None:
    def fill(bands: NDArray[Any], mask: NDArray[np.uint8], _i: int) -> None:
        half = mask.copy()
        half[:, SIZE // 3 :] = 0
        bands[:, :, 1] = np.where(half == 1, 80, np.where(np.arange(SIZE)[:, None] > 20, 10, 30))

    (problem,) = told(check(data(tmp_path, fill)), "band-is-a-map")
    assert problem.where == "band 2"
    assert "3 values" in problem.message
    assert "Where it is 80, 100.0% of the pixels are 'foreground'" in problem.message


def test_noise_leaks_nothing(tmp_path: Path) -> None:
    report = check(data(tmp_path))
    assert not told(report, "band-leaks")
    assert not told(report, "band-is-a-map")


def constant(bands: NDArray[Any], _mask: NDArray[np.uint8], _i: int) -> None:
    bands[:, :, 3] = 7


def empty(bands: NDArray[Any], _mask: NDArray[np.uint8], _i: int) -> None:
    bands[:, :, 3] = np.nan


def sometimes_empty(bands: NDArray[Any], _mask: NDArray[np.uint8], i: int) -> None:
    if i == 2:
        bands[:, :, 3] = np.nan


@pytest.mark.parametrize(
    ("fill", "kind", "message"),
    [
        (constant, "band-constant", "is 7 in every pixel of the 6 images"),
        (empty, "band-empty", "holds no data in any of the 6 images"),
        (sometimes_empty, "band-gaps", "holds no data in 1 of 6 images, such as images/2x.tif"),
    ],
)
def test_a_band_that_tells_nothing_is_named(fill: Fill, kind: str, message: str, tmp_path: Path) -> None:
    report = check(data(tmp_path, fill))
    (problem,) = told(report, kind)
    assert problem.where == "band 4"
    assert message in problem.message
    assert "--bands 1,2,3." in problem.remedy
    assert report.sound


def test_an_image_without_any_data_is_an_error_and_left_out_of_the_copy(tmp_path: Path) -> None:
    def fill(bands: NDArray[Any], _mask: NDArray[np.uint8], i: int) -> None:
        if i == 4:
            bands[:] = np.nan

    report = check(data(tmp_path / "data", fill), fix=tmp_path / "out", bands="1,3,4")
    (problem,) = report.findings.errors
    assert (problem.kind, problem.where) == ("no-data", "images/4x.tif")
    assert "holds no data: every value of every band is missing" in problem.message
    copy = open_dataset(tmp_path / "out")
    assert copy.bands.names == ("band 1", "band 3", "band 4")
    assert sum(map(len, copy.splits.values())) == COUNT - 1
    assert not find_problems(copy).errors


def test_one_image_of_another_depth_is_an_error_of_that_image(tmp_path: Path) -> None:
    data(tmp_path)
    odd = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 4), np.uint8)
    tifffile.imwrite(tmp_path / "images/3x.tif", odd, photometric="minisblack", planarconfig="contig")
    report = check(tmp_path)
    (problem,) = report.findings.errors
    assert (problem.kind, problem.where) == ("depth-differs", "images/3x.tif")
    assert "holds uint8 values; 5 other images hold float32 values" in problem.message


def test_one_pair_alone_is_too_few(tmp_path: Path) -> None:
    report = check(data(tmp_path, count=1))
    assert [problem.kind for problem in report.findings.errors] == ["one-image"]
    assert "only one pair of image and mask" in report.findings.errors[0].message


def test_images_of_two_pixels_are_named(tmp_path: Path) -> None:
    for i in range(4):
        for folder, values in (("images", np.random.default_rng(i).integers(0, 255, (1, 2, 3))), ("masks", [[0, 1]])):
            path = tmp_path / folder / f"{i}x.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.array(values, np.uint8)).save(path)
    report = check(tmp_path)
    (problem,) = told(report, "tiny-images")
    assert "2×1 pixels, and the other 3 images are about as small" in problem.message


@pytest.mark.skipif(not OWN.is_dir(), reason="the public sets are not at ../shared/data/own beside the repository")
def test_maps_of_water_among_the_bands_of_water_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    report = check(OWN / "water12")
    assert report.sound
    assert report.pairs == 77
    assert len(report.bands) == 12
    named = {problem.where: problem for problem in told(report, "band-is-a-map")}
    assert {"band 11", "band 12"} <= set(named)
    assert not set(named) & {f"band {i}" for i in (1, 2, 3, 4, 5, 6, 7, 9, 10)}
    assert "Where it is 80, 99" in named["band 11"].message
    assert capfd.readouterr().err == "", "a decoder wrote to the terminal"


@pytest.mark.skipif(not OWN.is_dir(), reason="the public sets are not at ../shared/data/own beside the repository")
@pytest.mark.parametrize(
    ("name", "pairs", "classes"),
    [("drive", 20, 2), ("isbi2012", 20, 2), ("wbc", 150, 3), ("mass_roads", 6, 2)],
)
def test_public_sets_open_as_they_are_published(name: str, pairs: int, classes: int) -> None:
    dataset = open_dataset(OWN / name)
    assert sum(map(len, dataset.splits.values())) == pairs
    assert len(dataset.classes) == classes
    assert not [problem for problem in dataset.problems if problem.severity == "error"]
    if name == "drive":
        assert {sample.mask.parent.name for sample in dataset.splits["val"] if sample.mask} == {"1st_manual"}
        assert any("a field of view" in note and "--masks mask" in note for note in dataset.notes)


def test_all_bands_left_out_is_refused(tmp_path: Path) -> None:
    (data(tmp_path) / "dataset.toml").write_text('[bands]\nuse = ["swir"]\n')
    with pytest.raises(DatasetError, match="no band 'swir'; they have 4 bands"):
        open_dataset(tmp_path)
