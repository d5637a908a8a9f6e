"""Models of other bands than red, green and blue label files that have these bands, whole and in tiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from banded import FIVE, GREY_16, five_image, grey_image, write_tiff
from pixelwise.errors import ImageError, OtherBandsError, UsageError
from pixelwise.images.false_colour import false_colour
from pixelwise.images.image_files import read_image
from pixelwise.prediction.large import tile_plan
from pixelwise.prediction.large.tile_plan import Tiles, is_cut, is_large, most_pixels
from pixelwise.prediction.load_model import Model
from pixelwise.prediction.overlay import overlay
from pixelwise.prediction.predict import predict
from pixelwise.prediction.video.label_video import predict_video
from pixelwise.records import VOID, Prediction


def labels_in(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image)


def records_in(out: Path) -> dict[str, dict[str, Any]]:
    lines = (out / "predictions.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {Path(row["file"]).name: row for row in rows if "file" in row}


def test_a_folder_of_files_with_these_bands(five_model: Model, tmp_path: Path) -> None:
    folder, out = tmp_path / "scenes", tmp_path / "out"
    folder.mkdir()
    first, second = five_image(3, 70, 110, missing=True), five_image(4, 64, 96)
    order = ("swir", "red", "green", "thermal", "blue", "nir")
    stored = np.dstack(
        [first[:, :, FIVE.names.index(name)] if name in FIVE.names else first[:, :, 0] for name in order]
    )
    write_tiff(folder / "a.tif", stored, order)
    np.save(folder / "b.npy", second)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / "c.png")
    summary = predict(five_model, [folder], out, save=["labels", "overlay"])
    assert (summary.done, summary.failures) == (2, 1)

    expected = five_model.predict(first).labels.copy()
    expected[:17, :55] = VOID
    assert np.array_equal(labels_in(out / "a.png"), expected)
    assert np.array_equal(labels_in(out / "b.png"), five_model.predict(second).labels)
    picture = overlay(false_colour(first, FIVE), expected, five_model.classes)
    assert np.array_equal(read_image(out / "a.overlay.png"), picture)

    records = records_in(out)
    assert records["a.tif"]["notes"] == [{"kind": "unused-channels", "message": "the band thermal is not used."}]
    assert sum(records["a.tif"]["shares"].values()) == pytest.approx(1, abs=1e-5)
    error = records["c.png"]["error"]
    assert "3 bands (red, green, blue) of uint8" in error
    assert "5 bands (blue, green, red, nir, swir) of float32" in error


def test_16_bit_grey(grey_model: Model, tmp_path: Path) -> None:
    grey = grey_image(5, 80, 90)
    cv2.imwrite(str(tmp_path / "cells.png"), grey)
    predict(grey_model, [tmp_path / "cells.png"], tmp_path / "out")
    expected = grey_model.predict(grey[:, :, None].astype(np.float32)).labels
    assert np.array_equal(labels_in(tmp_path / "out/cells.png"), expected)
    assert np.array_equal(grey_model.predict(tmp_path / "cells.png").labels, expected)
    assert len(np.unique(expected)) > 1


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (48, 64), "compression": "deflate"},
        {"rowsperstrip": 7},
        {"rowsperstrip": 300, "compression": "deflate"},
        {"planarconfig": "separate", "tile": (64, 64)},
    ],
)
def test_tiles_of_a_tiff_are_those_of_the_array(five_model: Model, tmp_path: Path, options: dict[str, Any]) -> None:
    image = five_image(6, 230, 190, missing=True)
    stored = image.transpose(2, 0, 1) if options.get("planarconfig") == "separate" else image
    write_tiff(tmp_path / "scene.tif", np.ascontiguousarray(stored), **options)
    np.save(tmp_path / "array.npy", image)
    tiles = Tiles((64, 64), 16, always=True)
    save = ["labels", "index"][:1]
    summary = predict(
        five_model, [tmp_path / "scene.tif", tmp_path / "array.npy"], tmp_path / "out", save=save, tiles=tiles
    )
    assert summary.failures == 0, summary.failed
    labels = labels_in(tmp_path / "out/scene.tif")
    assert np.array_equal(labels, labels_in(tmp_path / "out/array.png"))
    assert (labels[:57, :95] == VOID).all()
    assert not (labels[57:] == VOID).any()
    assert not (labels[:, 95:] == VOID).any()
    facts = json.loads((tmp_path / "out/scene.json").read_text())
    assert facts["void"] == 57 * 95
    assert np.array_equal(
        read_image(tmp_path / "out/scene.overlay.png"), read_image(tmp_path / "out/array.overlay.png")
    )


def test_what_a_file_leaves_out_is_void(five_model: Model, tmp_path: Path) -> None:
    image = five_image(7, 128, 128)
    image[:64, 64:] = 0
    tifffile = pytest.importorskip("tifffile")
    path = write_tiff(tmp_path / "sparse.tif", image, tile=(64, 64))
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts, offsets = tiff.pages[0].tags["TileByteCounts"], tiff.pages[0].tags["TileOffsets"]
        for tag in (counts, offsets):
            tag.overwrite([0 if place == 1 else value for place, value in enumerate(tag.value)])
    predict(five_model, [path], tmp_path / "out", tiles=Tiles((64, 64), 16, always=True))
    labels = labels_in(tmp_path / "out/sparse.tif")
    assert (labels[:64, 64:] == VOID).all()
    assert int((labels == VOID).sum()) == 64 * 64


@pytest.mark.parametrize("always", [False, True])
def test_an_rgb_model_names_both_bands(tiny_bundle: Path, tmp_path: Path, always: bool) -> None:
    path = write_tiff(tmp_path / "scene.tif", five_image(1, 70, 80))
    summary = predict(tiny_bundle, [path], tmp_path / "out", tiles=Tiles((64, 64), always=always))
    message = summary.failed[0][1]
    assert "5 bands (blue, green, red, nir, swir)" in message
    assert "3 bands (red, green, blue) of uint8" in message


def test_a_model_of_bands_names_both_bands_of_a_large_file(five_model: Model, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "scene.tif", five_image(1, 70, 80)[:, :, :4].copy(), ("a", "b", "c", "d"))
    summary = predict(five_model, [path], tmp_path / "out", tiles=Tiles((64, 64), always=True))
    assert "4 bands (a, b, c, d)" in summary.failed[0][1]
    assert "5 bands (blue, green, red, nir, swir)" in summary.failed[0][1]
    with pytest.raises(OtherBandsError, match=r"4 bands \(a, b, c, d\)"):
        five_model.predict(path)
    with pytest.raises(ImageError, match="5 bands"):
        predict(five_model, [path], tmp_path / "strict", strict=True)


def test_arrays_are_images_only_to_models_of_other_bands(five_model: Model, tiny_bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", five_image(4, 64, 96))
    with pytest.raises(UsageError, match=r"1 file of other kinds \(.npy\)"):
        predict(tiny_bundle, [tmp_path], tmp_path / "out")
    assert predict(five_model, [tmp_path], tmp_path / "out").done == 1


@pytest.mark.parametrize("tta", ["flip", "0.75", "1.5,flip"])
def test_variants_of_an_image_of_many_bands(five_model: Model, tta: str) -> None:
    image = five_image(8, 70, 110, missing=True)
    prediction = five_model.predict(image, tta=tta)
    assert isinstance(prediction, Prediction)
    assert np.isfinite(prediction.scores).all()
    same = float((prediction.labels == five_model.predict(image).labels).mean())
    assert same > 0.4  # of three classes; an untrained network is not the same on a mirrored image


def test_a_single_band_keeps_its_axis(grey_model: Model) -> None:
    image = grey_image(5, 80, 90)[:, :, None].astype(np.float32)
    assert grey_model.predict(image, tta="0.75,flip").labels.shape == (80, 90)


def test_tiles_in_memory_are_those_of_the_verb(
    five_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = five_image(9, 150, 170)
    np.save(tmp_path / "scene.npy", image)
    monkeypatch.setattr(tile_plan, "WHOLE_PIXELS", dict.fromkeys(tile_plan.WHOLE_PIXELS, 10_000))
    monkeypatch.setattr(tile_plan, "PIECEWISE_PIXELS", 10_000)
    predict(five_model, [tmp_path / "scene.npy"], tmp_path / "out")
    assert np.array_equal(labels_in(tmp_path / "out/scene.png"), five_model.predict(image).labels)


def test_images_of_many_bands_are_cut_earlier() -> None:
    assert most_pixels(32_000_000, GREY_16) == 32_000_000
    assert most_pixels(32_000_000, FIVE) == 19_200_000
    assert is_cut((4500, 4500), "stretch", FIVE)
    assert not is_cut((4500, 4500), "stretch")
    assert is_large((4500, 4500), Tiles(), FIVE)


def test_a_video_is_refused(five_model: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"3 bands \(red, green, blue\).*5 bands \(blue, green, red, nir, swir\)"):
        predict_video(five_model, tmp_path / "clip.mp4", tmp_path / "out")
