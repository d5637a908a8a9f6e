"""Objects of finished label maps: masks of a dataset, and what `predict` wrote."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

import pixelwise as pw
from conftest import picture
from pixelwise.datasets import streamed_pairs
from pixelwise.errors import UsageError
from pixelwise.images.image_files import write_png
from pixelwise.prediction.label_maps import has_label_classes

GEO = [
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 400000.0, 5800000.0, 0.0), True),
    (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
]
PLACES = ((20, 20), (60, 25), (30, 60), (75, 70))
COLOURS = np.array([(0, 0, 0), (250, 40, 40)], np.uint8)


def discs() -> np.ndarray:
    mask = np.zeros((96, 112), np.uint8)
    for x, y in PLACES:
        cv2.circle(mask, (x, y), 9, 1, -1)
    return mask


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Two images with coloured masks, of which one states the size of a pixel."""
    root = tmp_path / "cells"
    for folder in ("images", "masks"):
        (root / "train" / folder).mkdir(parents=True)
    for number in range(2):
        mask = discs()
        image = np.where(mask[:, :, None], (40, 90 + number, 200), (10, 10, 10)).astype(np.uint8)
        options = {"resolution": (20_000, 20_000), "resolutionunit": 3} if number else {}
        tifffile.imwrite(root / f"train/images/{number}.tif", image, photometric="rgb", **options)
        Image.fromarray(COLOURS[mask]).save(root / f"train/masks/{number}.png")
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_masks_of_a_dataset_are_measured_with_their_images(cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = pw.count_objects(cells, [cells / "train/masks"], out, separate="components", save=["csv", "map", "coco"])
    assert found.labelled.done == 2
    assert str(found).startswith("2 images measured in")
    (cell,) = found.counts
    assert cell.number == 2 * len(PLACES)
    plain, sized = rows_of(out / "0.objects.csv"), rows_of(out / "1.objects.csv")
    assert {row["intensity_mean-green"] for row in plain} == {"90"}
    assert {row["intensity_mean-green"] for row in sized} == {"91"}
    assert "confidence_mean" not in plain[0]
    area = int((discs() == 1).sum())
    assert sum(int(row["area"]) for row in sized) == area
    assert sum(float(row["area_um2"]) for row in sized) == pytest.approx(area * 0.25)  # the pixel is 0.5 µm wide
    numbers = tifffile.imread(out / "0.objects.tif")
    np.testing.assert_array_equal(numbers > 0, discs() > 0)
    assert len(json.loads((out / "objects.coco.json").read_text())["annotations"]) == 2 * len(PLACES)
    again = pw.count_objects(cells, [cells / "train/masks"], out, separate="components", save=["csv", "map", "coco"])
    assert (again.labelled.done, again.labelled.before) == (0, 2)
    assert [one.area for one in again.counts] == [cell.area]


def test_labels_that_predict_wrote_have_the_objects_that_predict_measures(tiny_bundle: Path, tmp_path: Path) -> None:
    image, mapped = tmp_path / "scan.tif", tmp_path / "mapped"
    tifffile.imwrite(image, picture(1, 120, 150), photometric="rgb", extratags=GEO)
    pw.count_objects(tiny_bundle, [image], mapped, separate="components", save=["labels", "geojson"])
    assert has_label_classes(mapped)
    pw.count_objects(mapped, [mapped / "scan.tif"], tmp_path / "counted", separate="components", save=["geojson"])
    whole, finished = rows_of(mapped / "scan.objects.csv"), rows_of(tmp_path / "counted/scan.objects.csv")
    assert len(whole) == len(finished) > 1
    assert "area_m2" in finished[0]
    for expected, row in zip(whole, finished, strict=True):
        assert {name: expected[name] for name in row} == row
    places = [
        [feature["geometry"] for feature in json.loads((folder / "scan.objects.geojson").read_text())["features"]]
        for folder in (mapped, tmp_path / "counted")
    ]
    assert places[0] == places[1]


def test_a_large_map_is_read_by_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cells/masks").mkdir(parents=True)
    (tmp_path / "cells/images").mkdir()
    write_png(tmp_path / "cells/masks/a.png", discs())
    write_png(tmp_path / "cells/images/a.png", picture(1, *discs().shape))
    large = tmp_path / "large.tif"
    tifffile.imwrite(large, discs(), tile=(32, 32))
    counted = []
    for name in ("whole", "rows"):
        pw.count_objects(tmp_path / "cells", [large], tmp_path / name, separate="components")
        counted.append((tmp_path / name / "large.objects.csv").read_bytes())
        monkeypatch.setattr(streamed_pairs, "MAX_PIXELS", 1000)
    assert counted[0] == counted[1]
    assert len(counted[0].splitlines()) == 1 + len(PLACES)


def test_a_damaged_map_costs_one_file(cells: Path, tmp_path: Path) -> None:
    (cells / "train/masks/1.png").write_bytes((cells / "train/masks/0.png").read_bytes()[:90])
    masks = [cells / "train/masks/0.png", cells / "train/masks/1.png"]
    found = pw.count_objects(cells, masks, tmp_path / "out", separate="components")
    assert (found.labelled.done, found.labelled.failures, found.exit_code) == (1, 1, 1)
    assert "1 image could not be measured" in str(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"save": ["labels"]}, "label maps are finished"),
        ({"min_confidence": 0.5}, "label maps have no confidence"),
        ({"separate": "border"}, "label maps have no learned border"),
    ],
)
def test_what_only_a_model_knows_is_refused(cells: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pw.count_objects(cells, [cells / "train/masks"], tmp_path / "out", **options)


def test_a_map_without_its_image_cannot_be_separated_by_intensity(cells: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="separates touching objects; install pixelwise[objects]")
    write_png(tmp_path / "other.png", discs())
    found = pw.count_objects(cells, [tmp_path / "other.png"], tmp_path / "out", separate="intensity")
    assert "no image of it is known" in found.labelled.failed[0][1]
