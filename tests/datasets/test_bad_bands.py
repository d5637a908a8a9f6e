"""Bands that differ, tell nothing or hold nothing: each is named, with a remedy, and a training still ends well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import pixelwise as pw

Change = Callable[[int, np.ndarray], np.ndarray]


def write_fields(folder: Path, change: Change, pairs: int = 10, bands: int = 5) -> Path:
    """Images of `bands` bands of int16 values, in which every band is a little higher where the mask is 1."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(pairs):
        rng = np.random.default_rng(number)
        mask = np.zeros((48, 48), np.uint8)
        mask[8 + number : 30, 10:34] = 1
        values = rng.normal(1000, 150, (48, 48, bands)) + 150 * mask[:, :, None]
        image = change(number, values.astype(np.int16))
        tifffile.imwrite(folder / "images" / f"{number:02}.tif", image, photometric="minisblack", planarconfig="contig")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02}.png")
    return folder


def found(data: Path, kind: str) -> list[Any]:
    findings = pw.check(data).findings
    return [problem for problem in (*findings.errors, *findings.warnings) if problem.kind == kind]


def test_bands_that_only_some_images_have_are_named_and_not_used(tmp_path: Path) -> None:
    half = write_fields(tmp_path / "half", lambda number, image: image if number % 2 else image[:, :, :4])
    assert pw.open_dataset(half).bands.names == ("band 1", "band 2", "band 3", "band 4")
    (problem,) = found(half, "bands-differ")
    assert problem.severity == "warning"
    assert "band 5" in problem.remedy
    assert "5 images have 5 bands" in problem.message


def test_one_image_that_lacks_a_band_is_an_error_that_names_it_and_both(tmp_path: Path) -> None:
    data = write_fields(tmp_path, lambda number, image: image if number != 3 else image[:, :, :4])
    (problem,) = found(data, "bands-differ")
    assert problem.severity == "error"
    assert problem.where.endswith("03.tif")
    assert "4 bands (band 1 to band 4)" in problem.message
    assert "5 bands (band 1 to band 5)" in problem.message
    assert "--skip-bad" in problem.remedy
    assert sum(map(len, pw.open_dataset(data).splits.values())) == 9


def test_one_image_that_lacks_a_page_costs_no_other_its_pages(tmp_path: Path) -> None:
    data = write_fields(tmp_path, lambda _, image: image)
    for path in sorted((data / "images").iterdir()):
        pages = np.moveaxis(tifffile.imread(path), -1, 0)
        tifffile.imwrite(path, pages[:4] if path.name == "03.tif" else pages, photometric="minisblack")
    (problem,) = found(data, "bands-differ")
    assert (problem.severity, problem.where.endswith("03.tif")) == ("error", True)
    assert pw.open_dataset(data).bands.names == ("band 1", "band 2", "band 3", "band 4", "band 5")


@pytest.mark.parametrize(("dtype", "severity"), [("uint8", "error"), ("float32", "warning")])
def test_one_image_of_another_depth_is_named(tmp_path: Path, dtype: str, severity: str) -> None:
    data = write_fields(tmp_path, lambda number, image: image if number != 3 else (image // 8).astype(dtype))
    (problem,) = found(data, "depth-differs")
    assert problem.severity == severity
    assert problem.where.endswith("03.tif")
    assert dtype in problem.message
    assert "int16" in problem.message


def set_band(value: float) -> Change:
    def change(_number: int, image: np.ndarray) -> np.ndarray:
        changed = image.astype(np.float32 if np.isnan(value) else np.int16)
        changed[:, :, 2] = value
        return changed

    return change


@pytest.mark.parametrize(("value", "kind"), [(7, "band-constant"), (np.nan, "band-empty")])
def test_a_band_of_one_value_or_of_none_is_named_and_can_be_left_out(tmp_path: Path, value: float, kind: str) -> None:
    data = write_fields(tmp_path, set_band(value))
    (problem,) = found(data, kind)
    assert problem.where == "band 3"
    assert "--bands 1,2,4,5" in problem.remedy
    assert not found(data, "near-copy-across-splits")  # what is shown of the images is not the empty band
    assert pw.open_dataset(data, bands=["1", "2", "4", "5"]).bands.names == ("band 1", "band 2", "band 4", "band 5")


def no_data(numbers: range) -> Change:
    def change(number: int, image: np.ndarray) -> np.ndarray:
        return np.full(image.shape, np.nan, np.float32) if number in numbers else image.astype(np.float32)

    return change


def test_an_image_without_any_data_is_an_error_and_is_left_out_of_a_copy(tmp_path: Path) -> None:
    data = write_fields(tmp_path / "data", no_data(range(2, 3)))
    (problem,) = found(data, "no-data")
    assert problem.severity == "error"
    assert problem.where.endswith("02.tif")
    pw.check(data, fix=tmp_path / "copy")
    assert not list((tmp_path / "copy").rglob("02.*"))


def test_images_without_any_data_at_all_are_listed_and_cannot_be_planned(tmp_path: Path) -> None:
    data = write_fields(tmp_path, no_data(range(10)))
    assert len(found(data, "no-data")) == 10
