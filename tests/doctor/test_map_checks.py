"""check: GeoTIFF masks that lie elsewhere than their images are named, with how far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.doctor.check import check
from pixelwise.doctor.map_checks import map_problems

pytest.importorskip("rasterio", reason="needs the extra geo to write test files")

from synthetic_maps import SIZE, UTM, Affine, write_raster


def dataset(folder: Path, transform: Any = UTM, crs: str | None = "EPSG:32632") -> Path:
    """Two images, and masks at another place."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    random = np.random.default_rng(0)
    for i in range(2):
        write_raster(folder / "images" / f"{i}.tif", pixels=random.integers(0, 256, (3, *SIZE), np.uint8))
        mask = random.integers(0, 2, (1, *SIZE), np.uint8)
        write_raster(folder / "masks" / f"{i}.tif", transform, crs, mask)
    return folder


@pytest.mark.parametrize(
    ("transform", "crs", "kind", "words"),
    [
        (
            UTM @ Affine.translation(2.5, -1),
            "EPSG:32632",
            "map-shifted",
            "2.50 pixels beside its image (on average +2.50 to the right, -1.00 down)",
        ),
        (UTM @ Affine.scale(1.01, 1), "EPSG:32632", "map-shifted", "lies up to 1.20 pixels"),
        (UTM @ Affine.translation(500, 0), "EPSG:32632", "map-elsewhere", "do not overlap on the earth"),
        (UTM, "EPSG:32633", "map-crs", "is in EPSG:32633 (metres, by its coordinates); its image in EPSG:32632"),
        (Affine(1e-5, 0, 9, 0, -1e-5, 48), "EPSG:4326", "map-crs", "is in EPSG:4326 (degrees, by its coordinates)"),
        (Affine(1e-5, 0, 9, 0, -1e-5, 48), None, "map-crs", "is in degrees, by its coordinates; its image in metres"),
    ],
)
def test_a_mask_at_another_place(tmp_path: Path, transform: Any, crs: str | None, kind: str, words: str) -> None:
    (problem,) = map_problems(open_dataset(dataset(tmp_path, transform, crs)))
    assert problem.kind == kind
    assert words in problem.message
    assert "2 masks" in problem.message
    assert problem.where == "masks/0.tif"


def test_masks_in_place_and_masks_without_a_place_are_fine(tmp_path: Path) -> None:
    root = dataset(tmp_path, UTM @ Affine.translation(0.01, 0))
    assert map_problems(open_dataset(root)) == []


def test_scales_that_differ(tmp_path: Path) -> None:
    import rasterio

    root = dataset(tmp_path)
    with rasterio.open(root / "images" / "1.tif", "r+") as file:
        file.scales, file.offsets = (0.1,) * 3, (-1.0,) * 3
    (problem,) = map_problems(open_dataset(root))
    assert problem.kind == "map-scale"
    assert "has scale 0.1 and offset -1, but 0.tif has scale 1 and offset 0" in problem.message


def test_check_reports_it(tmp_path: Path) -> None:
    found = check(dataset(tmp_path, UTM @ Affine.translation(3, 0))).findings.problems
    assert "map-shifted" in {problem.kind for problem in found}
