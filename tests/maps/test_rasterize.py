"""Polygons in any CRS → pixels: equal to GDAL's own tools, to the pixel, and in place to 0.01 pixel."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
pytest.importorskip("pyogrio", reason="needs the extra geo")
shapely = pytest.importorskip("shapely", reason="needs the extra geo")

from pixelwise.errors import DataError  # noqa: E402
from pixelwise.maps.grid import grid_of  # noqa: E402
from pixelwise.maps.rasterize import burn  # noqa: E402
from pixelwise.maps.shapes_on_grid import overlaps_and_touches, to_grid, why_outside  # noqa: E402
from pixelwise.maps.vectors import read_map_shapes  # noqa: E402
from synthetic_maps import SIZE, UTM, Affine, blobs, write_raster, write_shapes  # noqa: E402

needs_gdal = pytest.mark.skipif(shutil.which("gdal_rasterize") is None, reason="needs GDAL's tools (gdal-bin)")
TURNED = UTM @ Affine.rotation(25) @ Affine.shear(8, 3)


def placed(raster: Path, labels: Path, **options: Any) -> tuple[Any, Any]:
    grid = grid_of(raster)
    assert grid is not None
    shapes = read_map_shapes(labels, **options)
    return to_grid(shapes, grid, raster), shapes


@needs_gdal
@pytest.mark.parametrize("transform", [UTM, TURNED], ids=["upright", "turned and sheared"])
@pytest.mark.parametrize("all_touched", [False, True], ids=["centre", "all touched"])
def test_burnt_as_gdal_rasterize_does(tmp_path: Path, transform: Any, all_touched: bool) -> None:
    shapes = blobs(40, transform)
    labels = write_shapes(tmp_path / "a.gpkg", shapes, number=list(range(1, 41)))
    raster = write_raster(tmp_path / "a.tif", transform)
    write_raster(tmp_path / "gdal.tif", transform, pixels=np.zeros((1, *SIZE), np.uint8))
    options = ["-at"] if all_touched else []
    subprocess.run(
        ["gdal_rasterize", "-q", *options, "-a", "number", str(labels), str(tmp_path / "gdal.tif")], check=True
    )
    with rasterio.open(tmp_path / "gdal.tif") as file:
        expected = file.read(1)
    on_grid, read = placed(raster, labels, attribute="number")
    values = np.array([int(name) for name in read.classes])
    whole = burn(on_grid.polygons, values, (0, 0, *SIZE), 0, all_touched=all_touched)
    np.testing.assert_array_equal(whole, expected)
    part = burn(on_grid.polygons, values, (31, 17, 40, 50), 0, all_touched=all_touched)
    np.testing.assert_array_equal(part, expected[31:71, 17:67])


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:25833", "EPSG:3857"])
@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".geojson"])
def test_labels_in_another_crs_lie_where_gdal_places_them(tmp_path: Path, crs: str, suffix: str) -> None:
    from rasterio.warp import transform as gdals_transform

    here = blobs(6)
    there = [
        shapely.transform(one, lambda p: np.stack(gdals_transform("EPSG:32632", crs, p[:, 0], p[:, 1]), axis=1))
        for one in here
    ]
    labels = write_shapes(tmp_path / f"a{suffix}", there, crs, label=list("abcabc"))
    on_grid, shapes = placed(write_raster(tmp_path / "a.tif"), labels)
    assert shapes.classes == tuple("abcabc")
    for found, expected in zip(on_grid.polygons, here, strict=True):
        columns, rows = ~UTM @ shapely.get_coordinates(expected).T
        back = shapely.get_coordinates(found)
        order = [int(np.argmin(np.hypot(columns - x, rows - y))) for x, y in back]  # a Shapefile turns its rings
        np.testing.assert_allclose(back, np.stack([columns, rows], 1)[order], atol=0.01)


def test_the_class_column(tmp_path: Path) -> None:
    shapes = blobs(3)
    one = write_shapes(tmp_path / "a.gpkg", shapes, code=[3, 5, 3], Label=["a", "", "b"])
    found = read_map_shapes(one)
    assert found.classes == ("a", "void", "b")
    assert any("1 polygons have no class" in note for note in found.notes)
    assert read_map_shapes(one, attribute="code").classes == ("3", "5", "3")
    assert read_map_shapes(one, one_class="roof").classes == ("roof",) * 3
    with pytest.raises(DataError, match="its columns: code, Label"):
        read_map_shapes(one, attribute="kind")
    unclear = write_shapes(tmp_path / "b.gpkg", shapes, code=[3, 5, 3], height=[1.0, 2.0, 3.0])
    with pytest.raises(DataError, match=r"which column holds the class.*--one-class"):
        read_map_shapes(unclear)


def test_what_is_no_polygon_is_counted(tmp_path: Path) -> None:
    shapes = [*blobs(2), shapely.Point(500_010, 5_299_990), shapely.LineString([(0, 0), (1, 1)]), None]
    found = read_map_shapes(write_shapes(tmp_path / "a.gpkg", shapes, label=list("abcde")))
    assert found.classes == ("a", "b")
    assert "Left out, because they are no polygons: 1 Point, 1 LineString." in found.notes
    assert "Left out, because they have no geometry: 1 features." in found.notes


def test_several_layers(tmp_path: Path) -> None:
    import pyogrio.raw

    path = write_shapes(tmp_path / "a.gpkg", blobs(2), label=["a", "b"])
    pyogrio.raw.write(
        path, shapely.to_wkb(blobs(1)), [np.array(["x"], object)], ["label"], layer="more", append=False,
        geometry_type="Polygon", crs="EPSG:32632", driver="GPKG", dataset_options={}, layer_options={},
    )  # fmt: skip
    with pytest.raises(DataError, match="--layer"):
        read_map_shapes(path)
    assert read_map_shapes(path, layer="more").classes == ("x",)


def outside(raster: Path, labels: Path, crs: str = "") -> str:
    grid = grid_of(raster)
    assert grid is not None
    shapes = read_map_shapes(labels)
    assert not to_grid(shapes, grid, raster, crs).on_raster.any()
    return str(why_outside(shapes, grid, raster, crs))


def test_a_file_that_states_the_wrong_crs(tmp_path: Path) -> None:
    labels = write_shapes(tmp_path / "a.gpkg", blobs(3), "EPSG:32633", label=list("abc"))
    words = outside(write_raster(tmp_path / "a.tif"), labels)
    assert "UTM zone 33N, EPSG:32633, in metres; the raster in WGS 84 / UTM zone 32N" in words
    assert "--labels-crs EPSG:32632" in words


def test_metres_in_a_geojson_that_states_none(tmp_path: Path) -> None:
    labels = tmp_path / "a.geojson"
    rows = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(one)} for one in blobs(3)]
    import json

    labels.write_text(json.dumps({"type": "FeatureCollection", "features": rows}))
    raster = write_raster(tmp_path / "a.tif")
    grid = grid_of(raster)
    assert grid is not None
    with pytest.raises(DataError, match=r"is not defined"):
        to_grid(read_map_shapes(labels), grid, raster)
    assert to_grid(read_map_shapes(labels), grid, raster, "EPSG:32632").on_raster.all()


def test_latitude_before_longitude(tmp_path: Path) -> None:
    one = shapely.box(48.0, 8.9999, 47.9, 9.01)  # latitude first
    raster = write_raster(tmp_path / "a.tif", Affine(0.0005, 0, 8.99, 0, -0.0005, 48.01), "EPSG:4326")
    words = outside(raster, write_shapes(tmp_path / "a.gpkg", [one], "EPSG:4326", label=["a"]))
    assert "exchanged" in words


def test_a_polygon_across_the_antimeridian(tmp_path: Path) -> None:
    one = shapely.box(-179.9, 10, 179.9, 11)
    raster = write_raster(tmp_path / "a.tif", crs="EPSG:32601")
    grid = grid_of(raster)
    assert grid is not None
    shapes = read_map_shapes(write_shapes(tmp_path / "a.gpkg", [one], "EPSG:4326", label=["a"]))
    with pytest.raises(DataError, match="antimeridian"):
        to_grid(shapes, grid, raster)


def test_a_shapefile_without_prj(tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "a.tif")
    grid = grid_of(raster)
    assert grid is not None
    labels = write_shapes(tmp_path / "a.shp", blobs(3), label=list("abc"))
    (tmp_path / "a.prj").unlink()
    found = to_grid(read_map_shapes(labels), grid, raster)
    assert found.on_raster.all()
    assert "states no CRS; its coordinates fit" in found.notes[0]
    far = write_shapes(tmp_path / "b.shp", [shapely.box(9, 48, 9.1, 48.1)], label=["a"])
    (tmp_path / "b.prj").unlink()
    with pytest.raises(DataError, match=r"degrees, by their size.*--labels-crs"):
        to_grid(read_map_shapes(far), grid, raster)


@pytest.mark.parametrize(
    "content", [b"<OGRVRTDataSource/>", b'{"type": "gdal_streamed_alg", "command_line": "x"}', b"PGDUMP", b""]
)
def test_formats_that_run_commands_or_ask_servers_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.geojson").write_bytes(content)
    with pytest.raises(DataError, match="none of the formats"):
        read_map_shapes(tmp_path / "a.geojson")


def test_overlaps_and_touches_are_counted() -> None:
    boxes = [
        shapely.box(0, 0, 10, 10),
        shapely.box(8, 0, 20, 10),
        shapely.box(20, 0, 30, 10),
        shapely.box(50, 0, 60, 9),
    ]
    assert overlaps_and_touches(np.array(boxes), np.array([0, 1, 1, 0])) == (1, 20.0, 1)
