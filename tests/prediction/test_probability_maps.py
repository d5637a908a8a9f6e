"""Probabilities on disk: of whole images, of tiled ones and of TTA's averages; their argmax is the labels.

Shapes: C classes; H, W the image's size.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from conftest import THREE, picture
from pixelwise.errors import MissingExtraError, UsageError
from pixelwise.images.image_files import read_mask, write_png
from pixelwise.prediction import probability_maps
from pixelwise.prediction.confidence_maps import rows_of
from pixelwise.prediction.large import tile_plan
from pixelwise.prediction.large.tile_plan import Tiles
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.predict import predict
from pixelwise.prediction.probability_maps import NO_DATA_8, STEPS, ProbabilityOptions, stored_values

GEO = [
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 400000.0, 5800000.0, 0.0), True),
    (34735, 3, 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633), True),
]
CUT = Tiles((512, 640), 64, always=True)


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


def probabilities_of(path: Path) -> Any:
    """Probabilities float32 [C, H, W] and class names, from any of the formats."""
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return archive["probabilities"].astype(np.float32) * float(archive["scale"]), list(archive["classes"])
    if path.suffix == ".zip":
        zarr = pytest.importorskip("zarr")
        with zarr.storage.ZipStore(path, mode="r") as store:
            array = zarr.open_group(store, mode="r")["probabilities"]
            assert array.chunks == (1, 512, 512)
            return array[:].astype(np.float32) * array.attrs["scale_factor"], array.attrs["classes"]
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        values = page.asarray()
        text = page.tags[42112].value
        names = [part.split("<")[0] for part in text.split('role="description">')[1:]]
        scale = 1 / STEPS if values.dtype == np.uint8 else 1
        values = values if values.ndim == 3 else values[None]
        return values.astype(np.float32) * np.float32(scale), names


def agrees(probability_CHW: Any, labels_HW: Any, step: float) -> bool:
    """Whether the argmax is the labels, except where the two highest probabilities round to the same."""
    own = np.take_along_axis(probability_CHW, labels_HW[None].astype(int), axis=0)[0]
    return bool((probability_CHW.max(axis=0) - own).max() <= step)


@pytest.mark.parametrize("key", ["probabilities", "probabilities-npz", "probabilities-zarr"])
@pytest.mark.parametrize("tiles", [Tiles(), CUT])
def test_probabilities_of_an_image_in_every_format(model: Model, tmp_path: Path, key: str, tiles: Tiles) -> None:
    """Whole, and in tiles: the argmax is the labels, and the sum is one."""
    if key.endswith("zarr"):
        pytest.importorskip("zarr")
    pixels = picture(1, 530, 700)
    write_png(tmp_path / "a.png", pixels)
    summary = predict(model, [tmp_path / "a.png"], tmp_path / "out", save=["labels", key], tiles=tiles)
    assert (summary.done, summary.failed) == (1, ())
    labels = read_mask(tmp_path / "out" / "a.png", {}, 3)
    (path,) = (tmp_path / "out").glob("a.probabilities.*")
    probability_CHW, names = probabilities_of(path)
    assert names == list(THREE.names)
    assert probability_CHW.shape == (3, 530, 700)
    assert np.abs(probability_CHW.sum(axis=0) - 1).max() < 2e-3
    assert agrees(probability_CHW, labels, 5e-4)
    assert (probability_CHW.argmax(axis=0) == labels).mean() > 0.99
    if tiles == Tiles():
        exact = rows_of(model.predict(pixels))(slice(0, 530))
        assert np.abs(probability_CHW - exact).max() < 5e-4
    record = json.loads((tmp_path / "out" / "predictions.jsonl").read_text())
    assert path.name in record["saved"]
    assert predict(model, [tmp_path / "a.png"], tmp_path / "out", save=["labels", key], tiles=tiles).before == 1


@pytest.mark.parametrize("tiles", [Tiles(), CUT])
def test_a_tiff_keeps_its_place_and_names_its_bands(model: Model, tmp_path: Path, tiles: Tiles) -> None:
    """Chosen classes in their order, as 8 bits; what a value means is in the file."""
    source = tmp_path / "scan.tif"
    tifffile.imwrite(source, picture(1, 300, 620), tile=(64, 64), photometric="rgb", extratags=GEO, metadata=None)
    chosen = [THREE.names[2], THREE.names[0]]
    predict(
        model, [source], tmp_path / "out", save=["probabilities"], probability_type="uint8",
        probability_classes=chosen, tiles=tiles,
    )  # fmt: skip
    path = tmp_path / "out" / "scan.probabilities.tif"
    probability_CHW, names = probabilities_of(path)
    assert names == chosen
    assert probability_CHW.shape == (2, 300, 620)
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        for code, _, _, value, _ in GEO:
            assert page.tags[code].value == value
        assert (page.dtype, page.is_tiled, page.tags[42113].value) == (np.uint8, True, "255")
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(path) as raster:
        assert raster.descriptions == tuple(chosen)
        assert (raster.nodata, raster.scales, raster.crs.to_epsg()) == (255, (1 / 254,) * 2, 32633)
        assert tuple(raster.transform)[:6] == (0.5, 0.0, 400000.0, 0.0, -0.5, 5800000.0)
        assert np.allclose(raster.read() / 254, probability_CHW)


def test_one_class_and_half_precision_open_in_gdal(model: Model, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    write_png(tmp_path / "a.png", picture(1, 90, 80))
    name = THREE.names[1]
    predict(model, [tmp_path / "a.png"], tmp_path / "out", save=["probabilities"], probability_classes=[name])
    with rasterio.open(tmp_path / "out" / "a.probabilities.tif") as raster:
        found = raster.read()
        assert raster.descriptions == (name,)
        assert np.isnan(raster.nodata)
    exact = rows_of(model.predict(picture(1, 90, 80)))(slice(0, 90))
    assert np.abs(found[0] - exact[1]).max() < 5e-4


def test_an_image_that_the_network_labels_in_tiles_gives_the_probabilities_of_its_labels(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those of scores put together at a lower resolution, although the image fits into memory."""
    monkeypatch.setitem(tile_plan.WHOLE_PIXELS, model.metadata.policy, 40_000)
    write_png(tmp_path / "a.png", picture(2, 300, 400))
    predict(model, [tmp_path / "a.png"], tmp_path / "out", save=["labels", "probabilities"])
    labels = read_mask(tmp_path / "out" / "a.png", {}, 3)
    assert (labels == model.predict(picture(2, 300, 400)).labels).all()
    probability_CHW, _ = probabilities_of(tmp_path / "out" / "a.probabilities.tif")
    assert agrees(probability_CHW, labels, 5e-4)


def test_with_tta_they_are_the_average_whose_argmax_is_the_labels(model: Model, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(2, 120, 200))
    predict(model, [tmp_path / "a.png"], tmp_path / "out", save=["labels", "probabilities-npz"], tta="flip,1.5")
    labels = read_mask(tmp_path / "out" / "a.png", {}, 3)
    probability_CHW, _ = probabilities_of(tmp_path / "out" / "a.probabilities.npz")
    assert agrees(probability_CHW, labels, 5e-4)
    assert np.abs(probability_CHW.sum(axis=0) - 1).max() < 2e-3
    plain = rows_of(model.predict(picture(2, 120, 200)))(slice(0, 120))
    assert np.abs(probability_CHW - plain).max() > 1e-2


def test_where_the_image_has_no_data_there_is_no_probability() -> None:
    probability = np.array([[[0.25, 1.0]], [[0.75, 0.0]]], np.float32)
    is_void = np.array([[False, True]])
    halves = stored_values(probability, is_void, "<f2")
    assert halves[:, 0, 0].tolist() == [0.25, 0.75]
    assert np.isnan(halves[:, 0, 1]).all()
    assert stored_values(probability, is_void, "|u1")[:, 0].tolist() == [[64, NO_DATA_8], [191, NO_DATA_8]]


def test_a_large_run_that_is_stopped_resumes_with_the_same_probabilities(model: Model, tmp_path: Path) -> None:
    """Stopped after one row of squares is stored; the next run labels the rest only."""
    source = tmp_path / "scan.tif"
    tifffile.imwrite(source, picture(7, 1200, 300), tile=(64, 64), photometric="rgb", metadata=None)
    tiles = Tiles((256, 300), 32, always=True)

    def stop(done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(model, [source], tmp_path / "out", save=["probabilities"], tiles=tiles, tile_progress=stop)
    for out in ("out", "at once"):
        assert predict(model, [source], tmp_path / out, save=["probabilities"], tiles=tiles).done == 1
    assert json.loads((tmp_path / "out" / "scan.json").read_text())["resumed_at_row"] == 512
    path = "scan.probabilities.tif"
    assert (tmp_path / "out" / path).read_bytes() == (tmp_path / "at once" / path).read_bytes()


def test_wrong_options_are_refused_before_anything_is_written(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png(tmp_path / "a.png", picture(1, 20, 20))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"probability_classes": ["boat"]}, "the model has no class 'boat'; its classes: "),
        ({"probability_classes": [THREE.names[0]] * 2}, "named twice"),
        ({"probability_type": "float32"}, "known: float16, uint8"),
        ({"probability_type": "uint8", "save": ["labels"]}, "--save names no probabilities"),
    ]
    for options, says in wrong:
        with pytest.raises(UsageError, match=says):
            predict(model, [tmp_path / "a.png"], tmp_path / "out", **{"save": ["probabilities"], **options})
    monkeypatch.setattr(probability_maps.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pixelwise\[zarr\]"):
        predict(model, [tmp_path / "a.png"], tmp_path / "out", save=["probabilities-zarr"])
    assert not (tmp_path / "out").exists()


def test_other_probabilities_in_one_folder_are_refused(model: Model, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(1, 20, 20))
    predict(model, [tmp_path / "a.png"], tmp_path / "out", save=["probabilities"])
    with pytest.raises(UsageError, match="probabilities was "):
        predict(model, [tmp_path / "a.png"], tmp_path / "out", save=["probabilities"], probability_type="uint8")


def test_classes_with_any_name_make_a_valid_file() -> None:
    maps = probability_maps.ProbabilityMaps((1, 1), ("<tree> & größe",), "<f2", lambda *_: b"", 0, {}, None)
    assert "&lt;tree&gt; &amp; gr&#246;&#223;e" in probability_maps.gdal_metadata(maps)
    assert ProbabilityOptions().ids(("a", "b")) == (0, 1)
    assert ProbabilityOptions(classes=("b", "a")).ids(("a", "b")) == (1, 0)


def test_an_archive_is_an_ordinary_zip(model: Model, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(1, 20, 20))
    predict(model, [tmp_path / "a.png"], tmp_path / "out", save=["probabilities-npz"])
    with zipfile.ZipFile(tmp_path / "out" / "a.probabilities.npz") as archive:
        assert archive.namelist() == ["probabilities.npy", "classes.npy", "scale.npy"]
        assert archive.testzip() is None
