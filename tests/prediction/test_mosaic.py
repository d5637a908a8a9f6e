"""Many images on one grid, labelled as one: without seams, with void where there is no image."""

import numpy as np
import pytest

from pixelwise import errors
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.maps.mosaic import plan_mosaic
from pixelwise.prediction import map_outputs
from pixelwise.prediction.large.tile_plan import Tiles
from pixelwise.prediction.load_model import find_bundle, load
from pixelwise.prediction.predict import predict

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("shapely")

UTM = (0.5, 0.0, 500_000.25, 0.0, -0.5, 5_400_000.75)
ROTATED = (0.4, 0.3, 500_000.0, 0.3, -0.4, 5_400_000.0)
CUT = Tiles((64, 64), always=True)


@pytest.fixture(scope="module")
def model():
    return load("nuclei", threads=1)


@pytest.fixture(scope="module")
def image():
    golden = read_bundle(find_bundle("nuclei")).golden.image
    return np.tile(golden, (2, 3, 1))


def write(path, image, transform, crs="EPSG:32632", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"driver": "GTiff", "count": image.shape[2], "dtype": "uint8", "photometric": "RGB"}
    size = {"height": image.shape[0], "width": image.shape[1]}
    grid = {"crs": crs, "transform": rasterio.Affine(*transform)}
    with rasterio.open(path, "w", **kinds, **size, **grid, **options) as file:
        file.write(image.transpose(2, 0, 1))
    return path


def part(folder, image, transform, rows, columns):
    """One file of a part of an image, in a folder of its own, so that names repeat."""
    a, b, c, d, e, f = transform
    x, y = a * columns.start + b * rows.start + c, d * columns.start + e * rows.start + f
    return write(folder / f"{rows.start}/{columns.start}.tif", image[rows, columns], (a, b, x, d, e, y))


@pytest.mark.parametrize("transform", [UTM, ROTATED])
@pytest.mark.parametrize("has_geo", [True, False])
def test_labels_are_those_of_the_image_in_one_file(monkeypatch, model, image, tmp_path, transform, has_geo):
    """One corner is missing, and the files are in any order."""
    monkeypatch.setattr(map_outputs, "has_geo", lambda: has_geo)
    height, width = image.shape[:2]
    y, x = height // 2 + 3, width // 2 - 5
    whole = write(tmp_path / "whole.tif", image, transform)
    for rows, columns in [
        (slice(y, height), slice(0, x + 9)),
        (slice(0, y), slice(x, width)),
        (slice(0, y), slice(0, x)),
    ]:
        part(tmp_path / "parts", image, transform, rows, columns)
    predict(model, [whole], tmp_path / "one", tiles=CUT)
    summary = predict(model, [tmp_path / "parts"], tmp_path / "many", tiles=CUT, mosaic="city")
    assert (summary.done, summary.failures) == (1, 0), str(summary)
    with rasterio.open(tmp_path / "one/whole.tif") as one, rasterio.open(tmp_path / "many/city.tif") as many:
        assert tuple(many.transform) == pytest.approx(tuple(one.transform), abs=1e-9)
        assert (many.crs, many.shape) == (one.crs, one.shape)
        expected, found = one.read(1), many.read(1)
    assert (found[y:, x + 9 :] == 255).all()
    assert (found[:y] != 255).all()
    safe = np.ones(found.shape, bool)
    safe[y - 64 :, x - 64 :] = False  # within reach of the missing corner
    assert (found[safe] == expected[safe]).all()
    assert predict(model, [tmp_path / "parts"], tmp_path / "many", tiles=CUT, mosaic="city").before == 1


def test_each_image_is_read_once_and_closed(model, image, tmp_path, monkeypatch):
    from pixelwise.prediction.large import banded_rows

    opened, closed = [], []
    real = banded_rows.rgb_rows

    def counted(path):
        rows = real(path)
        opened.append(path)
        close = rows.close
        rows.close = lambda: (closed.append(path), close())
        return rows

    monkeypatch.setattr(banded_rows, "rgb_rows", counted)
    for top in range(0, 144, 36):
        part(tmp_path / "parts", image, UTM, slice(top, top + 36), slice(0, 216))
    predict(model, [tmp_path / "parts"], tmp_path / "out", tiles=CUT, mosaic="city")
    assert len(opened) == len(set(opened)) == 4
    assert sorted(closed) == sorted(opened)


def test_what_lies_on_another_grid_is_refused_with_the_remedy(image, tmp_path):
    first = write(tmp_path / "a.tif", image, UTM)
    a, b, c, d, e, f = UTM
    cases = {
        "0.4 pixels off": (a, b, c + 0.2, d, e, f),
        "pixels of another size": (a * 1.01, b, c, d, e, f),
    }
    for number, (message, transform) in enumerate(cases.items()):
        other = write(tmp_path / f"{number}.tif", image, transform)
        with pytest.raises(errors.UsageError, match=message) as refused:
            plan_mosaic([first, other])
        assert "gdalwarp" in str(refused.value)
    other = write(tmp_path / "crs.tif", image, UTM, crs="EPSG:32633")
    with pytest.raises(errors.UsageError, match="has EPSG:32633, but"):
        plan_mosaic([first, other])


def test_names_and_folders_that_cannot_be_are_refused(model, image, tmp_path):
    write(tmp_path / "a.tif", image, UTM)
    with pytest.raises(errors.UsageError, match="without a folder"):
        predict(model, [tmp_path], tmp_path / "out", mosaic="a/b")
    with pytest.raises(errors.UsageError, match="lies in --out itself"):
        predict(model, [tmp_path / "a.tif"], tmp_path, mosaic="city")
    with pytest.raises(errors.UsageError, match="no images were named"):
        predict(model, [], tmp_path / "out", mosaic="city")


def test_declared_no_data_hides_no_other_image_and_is_void(model, image, tmp_path):
    """As map services cut their tiles: each on a rectangle, with a collar of the declared value."""
    height, width = image.shape[:2]
    pixels = image.clip(1)
    whole = write(tmp_path / "whole.tif", pixels, UTM)
    hole = np.zeros((height, width), bool)
    hole[30:45, 20:60] = hole[100:110, :20] = True  # in no image
    for name, edge in (("a", np.arange(width) < 120), ("b", np.arange(width) >= 100)):  # 20 columns in both
        own = pixels.copy()
        own[:, ~edge] = 0  # both are as large as the map: each hides the other, but for its collar
        own[hole] = 0
        write(tmp_path / "parts" / f"{name}.tif", own, UTM, nodata=0)
    predict(model, [whole], tmp_path / "one", tiles=CUT)
    summary = predict(model, [tmp_path / "parts"], tmp_path / "many", tiles=CUT, mosaic="city")
    assert (summary.done, summary.failures) == (1, 0), str(summary)
    with rasterio.open(tmp_path / "one/whole.tif") as one, rasterio.open(tmp_path / "many/city.tif") as many:
        expected, found = one.read(1), many.read(1)
    assert np.array_equal(found == 255, hole)
    far = np.ones(hole.shape, bool)
    far[:, : 60 + 64] = False  # in a tile with a hole, perhaps
    assert far.any()
    assert (found[far] == expected[far]).all()
