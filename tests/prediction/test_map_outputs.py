"""From a GeoTIFF to rasters and polygons on a map: places against GDAL's own, colours and names as GIS reads them."""

import json
import shutil
import sqlite3
import subprocess
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest

from conftest import make_bundle
from pixelwise import errors
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.prediction import map_outputs
from pixelwise.prediction.large.tile_plan import Tiles
from pixelwise.prediction.load_model import find_bundle, load
from pixelwise.prediction.predict import predict

rasterio = pytest.importorskip("rasterio")
pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")
pyproj = pytest.importorskip("pyproj")
rasterio_features = pytest.importorskip("rasterio.features")

GRIDS = {  # transform (a, b, c, d, e, f) and CRS
    "utm": ((0.5, 0, 500_000.25, 0, -0.5, 5_400_000.75), "EPSG:32632"),
    "rotated": ((0.4, 0.3, 500_000, 0.3, -0.4, 5_400_000), "EPSG:32632"),
    "south_up": ((10, 0, 500_000, 0, 10, 5_400_000), "EPSG:32632"),
    "degrees": ((1e-4, 0, 8.5, 0, -1e-4, 47.5), "EPSG:4326"),
}
SAVED = ["labels", "geojson", "geopackage"]


@pytest.fixture(scope="module")
def model():
    return load("nuclei", threads=1)


@pytest.fixture(scope="module")
def image():
    golden = read_bundle(find_bundle("nuclei")).golden.image
    return np.tile(golden, (2, 2, 1))


def write(path, image, grid):
    transform, crs = GRIDS[grid]
    kinds = {"driver": "GTiff", "count": 3, "dtype": "uint8", "photometric": "RGB"}
    size = {"height": image.shape[0], "width": image.shape[1]}
    with rasterio.open(path, "w", **kinds, **size, crs=crs, transform=rasterio.Affine(*transform)) as file:
        file.write(image.transpose(2, 0, 1))
    return path


@pytest.fixture(scope="module")
def results(model, image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    paths = [write(folder / f"{grid}.tif", image, grid) for grid in GRIDS]
    summary = predict(model, paths, folder / "out", save=SAVED)
    assert summary.failures == 0, str(summary)
    return folder / "out"


@pytest.mark.parametrize("grid", GRIDS)
def test_labels_are_a_raster_on_the_images_grid(results, model, image, grid):
    transform, crs = GRIDS[grid]
    expected = model.predict(image).labels
    with rasterio.open(results / f"{grid}.tif") as file:
        assert tuple(file.transform)[:6] == pytest.approx(transform, abs=1e-9)
        assert file.crs == rasterio.CRS.from_string(crs)
        assert file.nodata == 255
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert [file.colormap(1)[number][:3] for number in range(2)] == list(model.classes.colours)
        assert (file.read(1) == expected).all()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("ending", ["gpkg", "geojson"])
def test_corners_of_polygons_are_corners_of_pixels(results, model, image, grid, ending):
    """To a hundredth of a pixel, and the polygons cover exactly the pixels of their class."""
    transform, crs = GRIDS[grid]
    meta, _, wkb, fields = pyogrio.raw.read(results / f"{grid}.{ending}", layer=0)
    polygons = shapely.from_wkb(wkb)
    assert rasterio.CRS.from_string(meta["crs"]) == rasterio.CRS.from_string(crs if ending == "gpkg" else "EPSG:4326")
    back = pyproj.Transformer.from_crs(meta["crs"], crs, always_xy=True)
    to_pixels = ~rasterio.Affine(*transform)

    def in_pixels(points):
        x, y = back.transform(points[:, 0], points[:, 1])
        return np.stack(
            [to_pixels.a * x + to_pixels.b * y + to_pixels.c, to_pixels.d * x + to_pixels.e * y + to_pixels.f], 1
        )

    placed = shapely.transform(polygons, in_pixels)
    corners = shapely.get_coordinates(placed)
    assert len(corners) > 100
    assert np.abs(corners - np.round(corners)).max() < 0.01
    labels = model.predict(image).labels
    drawn = rasterio_features.rasterize(list(placed), labels.shape)
    assert (drawn == (labels == 1)).all()
    names = dict(zip(meta["fields"], fields, strict=True))
    assert set(names["class"]) == {"nucleus"}
    assert 0.5 <= names["confidence_mean"].min() <= names["confidence_mean"].max() <= 1


def test_areas_are_in_square_metres(results):
    for grid in GRIDS:
        meta, _, wkb, fields = pyogrio.raw.read(results / f"{grid}.gpkg", layer="labels")
        areas = dict(zip(meta["fields"], fields, strict=True))["area_m2"]
        polygons = shapely.from_wkb(wkb)
        if grid == "degrees":
            geod = pyproj.Geod(ellps="WGS84")
            expected = [abs(geod.geometry_area_perimeter(one)[0]) for one in polygons]
        else:
            expected = shapely.area(polygons)
        assert areas == pytest.approx(expected, rel=1e-5)


def test_geojson_is_as_rfc_7946_demands(results):
    for grid in GRIDS:
        collection = json.loads((results / f"{grid}.geojson").read_text())
        assert "crs" not in collection
        for feature in collection["features"]:
            outer, *holes = feature["geometry"]["coordinates"]
            assert shapely.is_ccw(shapely.linearrings(outer))
            assert not any(shapely.is_ccw(shapely.linearrings(hole)) for hole in holes)
            assert all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in outer)


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="GDAL's programs are not installed")
@pytest.mark.parametrize("grid", GRIDS)
def test_gdals_own_programs_read_place_colours_and_names(results, model, grid):
    transform, _ = GRIDS[grid]
    a, b, c, d, e, f = transform
    found = json.loads(run("gdalinfo", "-json", results / f"{grid}.tif"))
    assert found["geoTransform"] == pytest.approx([c, a, b, f, d, e], abs=1e-9)
    band = found["bands"][0]
    assert band["noDataValue"] == 255
    assert [tuple(one[:3]) for one in band["colorTable"]["entries"][:2]] == list(model.classes.colours)
    text = run("gdalinfo", results / f"{grid}.tif")
    assert "1: nucleus" in text
    assert "<F>nucleus</F>" in text  # in the attribute table
    layer = run("ogrinfo", "-so", results / f"{grid}.gpkg", "labels")
    assert f"Feature Count: {len(pyogrio.raw.read(results / f'{grid}.gpkg', layer='labels')[2])}\n" in layer
    assert "area_m2: Real" in layer
    assert "Geometry: Polygon" in run("ogrinfo", "-so", "-al", results / f"{grid}.geojson")


def run(*command):
    return subprocess.run([str(one) for one in command], check=True, capture_output=True, text=True).stdout


def test_a_style_for_qgis_lies_beside_and_inside(results, model):
    root = ElementTree.parse(results / "utm.qml").getroot()
    entries = root.findall("./pipe/rasterrenderer/colorPalette/paletteEntry")
    assert [(one.get("value"), one.get("label")) for one in entries] == [("0", "background"), ("1", "nucleus")]
    red, green, blue = model.classes.colours[1]
    assert entries[1].get("color") == f"#{red:02x}{green:02x}{blue:02x}"
    renderer = root.find("./renderer-v2")
    assert renderer.get("attr") == "class"
    symbols = {one.get("name") for one in renderer.findall("./symbols/symbol")}
    assert all(one.get("symbol") in symbols for one in renderer.findall("./categories/category"))
    with sqlite3.connect(results / "utm.gpkg") as database:  # the question that QGIS asks
        (stored,) = database.execute(
            "SELECT styleQML FROM layer_styles WHERE f_table_schema = '' AND f_table_name = 'labels' AND "
            "f_geometry_column = 'geom' AND useAsDefault = 1"
        ).fetchone()
    assert stored == (results / "utm.qml").read_text()


def test_an_image_in_tiles_gives_the_same_kinds_of_files(results, model, image, tmp_path):
    """Labels from the disk, polygons in another CRS, without gaps where simplified."""
    path = write(tmp_path / "utm.tif", image, "utm")
    options = {"tiles": Tiles((96, 96), always=True), "crs": "EPSG:3035", "simplify_px": 1.0}
    summary = predict(model, [path], tmp_path / "out", save=[*SAVED, "numpy"], **options)
    assert summary.failures == 0, str(summary)
    labels = np.load(tmp_path / "out/utm.npy")
    with rasterio.open(tmp_path / "out/utm.tif") as file, rasterio.open(path) as source:
        assert file.transform == source.transform
        assert (file.read(1) == labels).all()
    meta, _, wkb, fields = pyogrio.raw.read(tmp_path / "out/utm.gpkg", layer="labels")
    assert rasterio.CRS.from_string(meta["crs"]).to_epsg() == 3035
    assert shapely.coverage_is_valid(shapely.from_wkb(wkb))
    measured = dict(zip(meta["fields"], fields, strict=True))
    assert measured["area_m2"].sum() == pytest.approx((labels == 1).sum() * 0.25)  # of the pixels, not of the outline
    whole = pyogrio.raw.read(results / "utm.gpkg", layer="labels")[2]
    assert len(b"".join(wkb)) < len(b"".join(whole))
    assert summary.notes == ()


def test_labels_on_a_map_are_masks_like_others(model, image, tmp_path):
    """With overviews, names and a style beside them."""
    (tmp_path / "images").mkdir()
    large = np.tile(image, (5, 5, 1))[:560, :640]
    write(tmp_path / "images/scene.tif", large, "utm")
    write(tmp_path / "images/other.tif", large[::-1], "utm")
    predict(model, [tmp_path / "images"], tmp_path / "masks")
    with rasterio.open(tmp_path / "masks/scene.tif") as file:
        assert file.overviews(1)
    shutil.move(tmp_path / "masks/dataset.toml", tmp_path / "dataset.toml")
    dataset = open_dataset(tmp_path)
    assert [str(one) for one in dataset.problems] == []
    assert evaluate(model, tmp_path, split="train").accuracy == 1


def test_a_world_file_places_an_image_of_any_format(model, image, tmp_path):
    """It states no CRS, so polygons have no area, and GeoJSON stays in pixels."""
    PIL.Image.fromarray(image).save(tmp_path / "photo.png")
    (tmp_path / "photo.pgw").write_text("0.5\n0\n0\n-0.5\n1000.25\n1999.75\n")  # the centre of the first pixel
    summary = predict(model, [tmp_path / "photo.png"], tmp_path / "out", save=SAVED)
    assert summary.failures == 0, str(summary)
    with rasterio.open(tmp_path / "out/photo.tif") as file:
        assert tuple(file.transform)[:6] == (0.5, 0, 1000, 0, -0.5, 2000)
        assert file.crs is None
    meta, _, wkb, _ = pyogrio.raw.read(tmp_path / "out/photo.gpkg", layer="labels")
    assert "area_m2" not in meta["fields"]
    left, _, _, top = shapely.total_bounds(shapely.from_wkb(wkb))
    assert left >= 1000
    assert top <= 2000
    x, _ = json.loads((tmp_path / "out/photo.geojson").read_text())["features"][0]["geometry"]["coordinates"][0][0]
    assert float(x).is_integer()


def test_without_the_extra_labels_keep_their_place(monkeypatch, model, image, tmp_path):
    monkeypatch.setattr(map_outputs, "has_geo", lambda: False)
    path = write(tmp_path / "rotated.tif", image, "rotated")
    summary = predict(model, [path], tmp_path / "out", save=["labels", "geojson"])
    assert "polygons are in pixels" in str(summary)
    with rasterio.open(tmp_path / "out/rotated.tif") as file, rasterio.open(path) as source:
        assert (file.transform, file.crs) == (source.transform, source.crs)
    x, y = json.loads((tmp_path / "out/rotated.geojson").read_text())["features"][0]["geometry"]["coordinates"][0][0]
    assert float(x).is_integer()
    assert float(y).is_integer()


def test_geopackages_without_the_extra_name_it(monkeypatch, model, tmp_path):
    monkeypatch.setattr("pixelwise.maps.map_polygons.find_spec", lambda _name: None)
    with pytest.raises(errors.MissingExtraError, match=r"pip install 'pixelwise\[geo\]'"):
        predict(model, [tmp_path], tmp_path / "out", save=["geopackage"])


def test_a_scale_that_is_not_applied_is_reported(model, image, tmp_path):
    path = write(tmp_path / "scaled.tif", image, "utm")
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.5, 0.5, 0.5), (3.0, 3.0, 3.0)
    summary = predict(model, [path], tmp_path / "out")
    assert [note.kind for note in summary.notes] == ["scale"]
    assert "scale 0.5 and offset 3 of its bands are not applied" in str(summary)
    assert predict(model, [write(tmp_path / "plain.tif", image, "utm")], tmp_path / "other").notes == ()


def test_an_image_without_a_place_keeps_its_png(model, image, tmp_path):
    PIL.Image.fromarray(image).save(tmp_path / "photo.png")
    predict(model, [tmp_path / "photo.png"], tmp_path / "out", save=["labels"])
    assert sorted(one.suffix for one in (tmp_path / "out").glob("photo*")) == [".png"]
    summary = predict(model, [tmp_path / "photo.png"], tmp_path / "other", save=["geopackage"])
    assert "does not say where on the earth it lies" in str(summary)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crs": "EPSG:4326"}, "add --save geopackage"),
        ({"simplify_px": 2.0}, "add --save geopackage or geojson"),
        ({"crs": "moon", "save": ["geopackage"]}, "--crs moon: expected a coordinate reference system"),
        ({"simplify_px": -1.0, "save": ["geojson"]}, "--simplify -1: expected 0 to 1000 pixels"),
    ],
)
def test_options_that_cannot_hold_are_refused_at_once(model, tmp_path, options, message):
    with pytest.raises(errors.UsageError, match=message):
        predict(model, [tmp_path], tmp_path / "out", **options)


def test_a_map_larger_than_the_training_images_keeps_their_scale(tmp_path, image):
    """A photo of more pixels shows the same in more detail, and is resized; a map shows more of the same."""
    bundle = tmp_path / "chips.onnx"
    make_bundle(bundle, "fast", provenance={"data": {"image_size": [64, 96]}})
    model = load(bundle, threads=1)
    on_map = write(tmp_path / "map.tif", image[:200, :300], "utm")
    photo = tmp_path / "photo.png"
    PIL.Image.fromarray(image[:200, :300]).save(photo)
    small = write(tmp_path / "small.tif", image[:90, :140], "utm")
    summary = predict(model, [on_map, photo, small], tmp_path / "out")
    assert summary.failures == 0
    assert "tiles of 64×96 pixels, the size of the training images" in str(summary)
    predict(model, [on_map], tmp_path / "tiled", tiles=Tiles((64, 96), always=True))
    with rasterio.open(tmp_path / "out/map.tif") as found, rasterio.open(tmp_path / "tiled/map.tif") as expected:
        assert np.array_equal(found.read(1), expected.read(1))
    labels = np.asarray(PIL.Image.open(tmp_path / "out/photo.png"))
    assert np.array_equal(labels, model.predict(image[:200, :300]).labels)
    with rasterio.open(tmp_path / "out/small.tif") as found:
        assert np.array_equal(found.read(1), model.predict(image[:90, :140]).labels)
    predict(model, [on_map], tmp_path / "flipped", tta="flip")  # not possible with tiles
    with rasterio.open(tmp_path / "flipped/map.tif") as found:
        assert np.array_equal(found.read(1), model.predict(image[:200, :300], tta="flip").labels)


@pytest.mark.parametrize("grid", GRIDS)
def test_objects_lie_on_the_map(model, image, tmp_path, grid):
    transform, crs = GRIDS[grid]
    path = write(tmp_path / "cells.tif", image, grid)
    predict(model, [path], tmp_path / "out", save=["objects", "objects-geojson"])
    found = json.loads((tmp_path / "out/cells.objects.geojson").read_text("utf-8"))["features"]
    to_grid = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    assert len(found) > 10
    for feature in found:
        on_earth = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert all(ring.is_ccw for part in shapely.get_parts(on_earth) for ring in [part.exterior])

        def pixels(degrees):
            at = np.stack(to_grid.transform(degrees[:, 0], degrees[:, 1]), axis=1)
            return np.stack(rasterio.transform.rowcol(rasterio.Affine(*transform), *at.T, op=lambda x: x)[::-1], axis=1)

        in_pixels, measured = shapely.transform(on_earth, pixels), feature["properties"]
        assert in_pixels.area == pytest.approx(measured["area"], rel=1e-3)
        centre = measured["centroid-1"] + 0.5, measured["centroid-0"] + 0.5  # of pixels, whose middles are at 0.5
        assert np.hypot(in_pixels.centroid.x - centre[0], in_pixels.centroid.y - centre[1]) < 0.01
