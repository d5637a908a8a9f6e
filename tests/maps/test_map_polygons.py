"""Polygons in map coordinates: without gaps when simplified, bent where another CRS bends them, with true areas."""

import numpy as np
import pytest

from pixelwise.maps.grid import Grid
from pixelwise.maps.map_polygons import polygon_batches
from pixelwise.maps.polygon_files import cut_at_antimeridian, wgs84_geojson, write_geopackage
from pixelwise.maps.region_rings import region_rings
from pixelwise.records import ClassList

shapely = pytest.importorskip("shapely")
pyproj = pytest.importorskip("pyproj")
pyogrio = pytest.importorskip("pyogrio")

UTM = Grid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_400_000.0), (60, 80))
CLASSES = ClassList(("field", "forest", "water"), ((255, 255, 0), (0, 128, 0), (0, 0, 255)))


def patches(seed=0, size=(60, 80)):
    """Three classes with ragged outlines, that cover everything."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(0, 3, (6, 8)), np.ones((10, 10), int))
    rows = np.clip(np.arange(60)[:, None] + rng.integers(-1, 2, (60, 80)), 0, 59)
    return coarse[rows, np.arange(80)].astype(np.uint8)[: size[0], : size[1]]


def drawn(labels, grid, crs="", simplify_px=0.0, kept=(0, 1, 2)):
    regions = region_rings([labels], labels.shape, kept, None)
    return list(polygon_batches(regions, grid, crs, simplify_px))


def test_simplified_polygons_have_no_gaps_and_no_overlaps():
    (plain,), (simple,) = drawn(patches(), UTM), drawn(patches(), UTM, simplify_px=3)
    assert shapely.coverage_is_valid(simple.polygons)
    assert shapely.get_num_coordinates(simple.polygons).sum() < shapely.get_num_coordinates(plain.polygons).sum() / 2
    whole = shapely.union_all(simple.polygons)
    assert shapely.area(simple.polygons).sum() == pytest.approx(whole.area)
    assert len(whole.interiors) == 0
    assert (simple.areas_m2 == plain.areas_m2).all()  # those of the pixels


def test_neighbours_still_meet_in_another_crs():
    (batch,) = drawn(patches(), UTM, "EPSG:4326")
    assert shapely.coverage_is_valid(batch.polygons)


def test_long_edges_bend_with_the_crs():
    """A straight edge of 200 km in UTM is bent in degrees by 80 pixels of 10 m; a hundredth of one is allowed."""
    width = 20_000
    labels = np.zeros((1, width), np.uint8)
    grid = Grid("EPSG:32632", (10.0, 0.0, 400_000.0, 0.0, -10.0, 6_400_000.0), labels.shape)
    (batch,) = drawn(labels, grid, "EPSG:4326")
    back = pyproj.Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True)
    corners = shapely.get_coordinates(shapely.segmentize(batch.polygons, 1e-3))  # along its edges in degrees
    rows = grid.to_pixels(np.stack(back.transform(corners[:, 0], corners[:, 1]), axis=1))[:, 1]
    assert np.minimum(np.abs(rows), np.abs(rows - 1)).max() < 0.01


def test_areas_do_not_follow_a_projection_that_distorts_them():
    labels = np.zeros((50, 50), np.uint8)
    at = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform(9.0, 60.0)
    mercator = Grid("EPSG:3857", (10.0, 0.0, at[0], 0.0, -10.0, at[1]), labels.shape)
    (batch,) = drawn(labels, mercator)
    corners = pyproj.Transformer.from_crs("EPSG:3857", "EPSG:4326", always_xy=True)
    degrees = shapely.transform(batch.polygons, lambda xy: np.stack(corners.transform(xy[:, 0], xy[:, 1]), axis=1))
    expected = abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(degrees[0])[0])
    assert batch.areas_m2[0] == pytest.approx(expected, rel=1e-4)
    assert expected < 0.3 * 500 * 500


def test_feet_become_metres():
    feet = Grid("EPSG:2263", (1.0, 0.0, 980_000.0, 0.0, -1.0, 200_000.0), (30, 40))
    (batch,) = drawn(np.zeros((30, 40), np.uint8), feet)
    assert batch.areas_m2[0] == pytest.approx(30 * 40 * (1200 / 3937) ** 2)


def test_polygons_across_the_180th_meridian_are_cut_there():
    """RFC 7946, 3.1.9."""
    labels = np.zeros((10, 40), np.uint8)
    x, _ = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32660", always_xy=True).transform(179.99, 0.5)
    grid = Grid("EPSG:32660", (100.0, 0.0, x, 0.0, -100.0, 55_000.0), labels.shape)
    (batch,) = drawn(labels, grid, "EPSG:4326")
    (cut,) = cut_at_antimeridian(batch.polygons)
    assert cut.geom_type == "MultiPolygon"
    west, east = sorted(part.bounds for part in cut.geoms)
    assert west[0] == -180
    assert east[2] == 180
    area = abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(cut)[0])
    assert area == pytest.approx(batch.areas_m2[0], rel=5e-3)  # the projection's own error, at the edge of its zone
    assert b'"MultiPolygon"' in b"".join(wgs84_geojson([batch], CLASSES, "a.tif"))


def test_many_batches_become_one_layer(monkeypatch, tmp_path):
    monkeypatch.setattr("pixelwise.maps.map_polygons.AT_ONCE", 3)
    batches = drawn(patches(), UTM)
    assert len(batches) > 2
    write_geopackage(tmp_path / "a.gpkg", batches, CLASSES, UTM.crs)
    meta, _, wkb, _ = pyogrio.raw.read(tmp_path / "a.gpkg", layer="labels")
    assert len(wkb) == sum(len(batch.labels) for batch in batches)
    assert meta["geometry_type"] == "Polygon"


def test_no_polygon_at_all_is_an_empty_layer(tmp_path):
    batches = drawn(np.full((4, 5), 255, np.uint8), UTM)
    write_geopackage(tmp_path / "a.gpkg", batches, CLASSES, UTM.crs)
    meta, _, wkb, _ = pyogrio.raw.read(tmp_path / "a.gpkg", layer="labels")
    assert len(wkb) == 0
    assert "area_m2" in meta["fields"]
    assert b"".join(wgs84_geojson(batches, CLASSES, "a.tif")).endswith(b"]}\n")
