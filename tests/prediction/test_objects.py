"""Objects of predictions on disk: tables, polygons, run lengths and maps, the same for whole images and tiled ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import pixelwise as pw
from conftest import THREE, blobs
from pixelwise.errors import MissingExtraError, UsageError
from pixelwise.images.image_files import read_mask_ids, write_png
from pixelwise.objects.object_options import ObjectOptions
from pixelwise.objects.object_records import Separation
from pixelwise.objects.stream_objects import ObjectSource, stream_objects
from pixelwise.prediction.large.tile_plan import Tiles
from pixelwise.prediction.object_files import coco_parts, csv_parts, geojson_parts, map_parts, parquet_parts

LABELS = blobs(4, 3, 70, 90)


@pytest.fixture
def measured() -> Any:
    source = ObjectSource(LABELS.shape, THREE, lambda rows: LABELS[rows])
    with stream_objects(source, {1: Separation(), 2: Separation()}) as found:
        yield found


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(data.decode().splitlines()))


def test_csv_and_parquet_hold_the_table(measured: Any, tmp_path: Path) -> None:
    rows = rows_of(b"".join(csv_parts(measured.table)))
    assert len(rows) == len(measured.table) > 10
    assert [float(row["centroid-1"]) for row in rows] == pytest.approx(measured.table.columns["centroid-1"], rel=1e-7)
    assert {row["touches_edge"] for row in rows} == {"true", "false"}
    parquet = pytest.importorskip("pyarrow.parquet", reason="reads Parquet; install pixelwise[objects]")
    (tmp_path / "t.parquet").write_bytes(b"".join(parquet_parts(measured.table)))
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == list(measured.table.columns)
    assert table["area"].to_pylist() == measured.table.columns["area"].tolist()
    assert table.schema.metadata[b"pixelwise.unit"] == b"px"


def test_polygons_cover_the_pixels_of_their_object(measured: Any) -> None:
    table = json.loads(b"".join(geojson_parts(measured, THREE, "folder/photo.png")))
    assert table["image"] == "photo.png"
    assert len(table["features"]) == len(measured.table)
    for feature, area in zip(table["features"], measured.table.columns["area"], strict=True):
        geometry = feature["geometry"]
        polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        holes = sum(abs(shoelace(ring)) for polygon in polygons for ring in polygon[1:])
        assert sum(abs(shoelace(polygon[0])) for polygon in polygons) - holes == area
        assert feature["properties"]["area"] == area
    names = {feature["properties"]["classification"]["name"] for feature in table["features"]}
    assert names == {"road", "car"}


def shoelace(ring: list[list[int]]) -> float:
    x, y = np.array(ring, float).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def test_run_lengths_are_those_of_each_object(measured: Any) -> None:
    image, *rows = [json.loads(line) for line in b"".join(coco_parts(measured, THREE, "photo.png")).splitlines()]
    assert image == {"file_name": "photo.png", "height": 70, "width": 90}
    numbers = measured.rows(0, 70)
    for number, row in enumerate(rows, start=1):
        counts = row["segmentation"]["counts"]
        drawn = np.repeat(np.arange(len(counts)) % 2, counts).reshape(90, 70).T
        np.testing.assert_array_equal(drawn == 1, numbers == number)
        assert row["area"] == int((numbers == number).sum())
        assert row["iscrowd"] == 0


def test_the_map_holds_the_numbers(measured: Any, tmp_path: Path) -> None:
    (tmp_path / "map.tif").write_bytes(b"".join(map_parts(measured, None)))
    stored = tifffile.imread(tmp_path / "map.tif")
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, measured.rows(0, 70))


def test_a_tiled_image_has_the_objects_of_the_whole_one(tiny_bundle: Path, tmp_path: Path) -> None:
    """Of the labels that were saved: those of a whole image and of tiles may differ in a few pixels."""
    image = np.random.default_rng(1).integers(0, 256, (150, 130, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "scan.tif", image, resolution=(20000, 20000), resolutionunit="CENTIMETER")
    options = ObjectOptions(separate="components", min_area_px=4)
    save = ["labels", "objects", "objectmap", "objects-coco", "objects-geojson"]
    summary = pw.predict(
        tiny_bundle,
        [tmp_path / "scan.tif"],
        tmp_path / "out",
        save=save,
        objects=options,
        tiles=Tiles((64, 96)),
        threads=1,
    )
    assert not summary.failures, summary
    labels, numbers = read_mask_ids(tmp_path / "out/scan.png"), tifffile.imread(tmp_path / "out/scan.objects.tif")
    rows = rows_of((tmp_path / "out/scan.objects.csv").read_bytes())
    source = ObjectSource(labels.shape, THREE, lambda rows: labels[rows], lambda rows: image[rows], ("r", "g", "b"))
    with stream_objects(source, dict.fromkeys(range(3), Separation())) as whole:
        kept = whole.only(whole.table.columns["area"] >= 4)
        np.testing.assert_array_equal(numbers, kept.rows(0, 150))
        green = kept.table.columns["intensity_mean-g"]
    assert [float(row["intensity_mean-green"]) for row in rows] == pytest.approx(green, rel=1e-6)
    assert {row["class"] for row in rows} <= set(THREE.names)
    assert all(0.3 < float(row["confidence_mean"]) <= 1 for row in rows)
    assert [float(row["area_um2"]) for row in rows] == pytest.approx([int(row["area"]) / 4 for row in rows])
    facts = json.loads((tmp_path / "out/predictions.jsonl").read_text().splitlines()[-1])["objects"]
    assert sum(facts["number"].values()) == len(rows)
    small = whole.table.columns["class"][whole.table.columns["area"] < 4]
    expected = {f"{name} smaller than 4 px": int((small == name).sum()) for name in THREE.names}
    assert facts["excluded"] == {reason: number for reason, number in expected.items() if number}
    coco = json.loads((tmp_path / "out/objects.coco.json").read_text())
    assert [one["area"] for one in coco["annotations"]] == [int(row["area"]) for row in rows]
    assert {one["isthing"] for one in coco["categories"]} == {1}


def test_a_folder_is_counted_and_summed_up(tiny_bundle: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    (tmp_path / "in").mkdir()
    for name in "ab":
        write_png(tmp_path / f"in/{name}.png", random.integers(0, 256, (60, 80, 3)).astype(np.uint8))
    options: dict[str, Any] = {"classes": ["car"], "separate": "components", "threads": 1}
    found = pw.count_objects(tiny_bundle, [tmp_path / "in"], tmp_path / "out", **options)
    (car,) = found.counts
    tables = [rows_of((tmp_path / f"out/{name}.objects.csv").read_bytes()) for name in "ab"]
    assert car.number == sum(map(len, tables)) > 0
    areas = [int(row["area"]) for table in tables for row in table]
    assert car.area[2] == pytest.approx(np.median(areas))
    assert car.per_megapixel == pytest.approx(car.number / 9600 * 1e6)
    assert {row["class"] for table in tables for row in table} == {"car"}
    summary = rows_of((tmp_path / "out/objects_summary.csv").read_bytes())
    assert [row["file"] for row in summary] == ["all files", "a", "b"]
    assert int(summary[0]["number"]) == int(summary[1]["number"]) + int(summary[2]["number"])
    page = (tmp_path / "out/objects.html").read_text()
    assert "<svg" in page
    assert f"{car.number:,}" in page
    again = pw.count_objects(tiny_bundle, [tmp_path / "in"], tmp_path / "out", **options)
    assert (again.labelled.done, again.counts) == (0, found.counts)


def test_what_cannot_be_done_is_said_before_the_first_image(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png(tmp_path / "a.png", np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(UsageError, match="known: csv, parquet"):
        pw.count_objects(tiny_bundle, [tmp_path / "a.png"], tmp_path / "out", save=["xls"])
    with pytest.raises(UsageError, match="'bus' is not a class"):
        pw.count_objects(tiny_bundle, [tmp_path / "a.png"], tmp_path / "out", classes=["bus"])
    with pytest.raises(UsageError, match="learned no border"):
        pw.count_objects(tiny_bundle, [tmp_path / "a.png"], tmp_path / "out", separate="border")
    monkeypatch.setitem(__import__("sys").modules, "skimage.segmentation", None)
    with pytest.raises(MissingExtraError, match=r"pixelwise\[objects\]"):
        pw.count_objects(tiny_bundle, [tmp_path / "a.png"], tmp_path / "out", separate="distance")
    assert not (tmp_path / "out").exists()
