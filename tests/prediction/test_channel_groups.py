"""Images with one file a channel are labelled as the image of all channels is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from banded import FIVE, five_image
from banded import write_tiff as write_banded_tiff
from conftest import picture
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.predict import predict

LAYOUTS = {
    "numbers": [f"{{}}_{number:04}.tif" for number in range(5)],
    "names": [f"{{}}_{name}.tif" for name in FIVE.names],
    "folder an image": [f"{{}}/{name}.tif" for name in FIVE.names],
    "folder a band": [f"{name}/{{}}.tif" for name in FIVE.names],
}


def write_channels(folder: Path, layout: str, name: str, pixels_HWN: np.ndarray) -> list[Path]:
    files = [folder / pattern.format(name) for pattern in LAYOUTS[layout]]
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_banded_tiff(file, pixels_HWN[:, :, number], names=())
    return files


def labels_in(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_of_channels(five_model: Model, tmp_path: Path, layout: str) -> None:
    images = {name: five_image(seed, 60, 90) for seed, name in enumerate(("a", "b.c"))}
    folder, out = tmp_path / "images", tmp_path / "out"
    for name, pixels in images.items():
        write_channels(folder, layout, name, pixels)
    write_banded_tiff(folder / "whole.tif", images["a"])
    summary = predict(five_model, [folder], out)
    assert (summary.done, summary.failures) == (3, 0)
    for name, pixels in {**images, "whole": images["a"]}.items():
        assert np.array_equal(labels_in(out / f"{name}.png"), five_model.predict(pixels).labels)
    again = predict(five_model, [folder], out)
    assert (again.done, again.before) == (0, 3)
    changed = write_channels(folder, layout, "a", images["b.c"])
    assert predict(five_model, [folder], out).done == 1
    records = [json.loads(line) for line in (out / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert records[-1]["channels"] == [str(path) for path in changed]
    assert records[-1]["bytes"] == sum(path.stat().st_size for path in changed)


def test_any_of_its_files_names_the_image(five_model: Model, tmp_path: Path) -> None:
    files = write_channels(tmp_path / "images", "names", "a", five_image(0, 60, 90))
    summary = predict(five_model, files[2:4], tmp_path / "out")
    assert (summary.done, summary.failures) == (1, 0)
    assert np.array_equal(labels_in(tmp_path / "out" / "a.png"), five_model.predict(five_image(0, 60, 90)).labels)


RGB_LAYOUTS = {
    "names": ["{}_red.png", "{}_green.png", "{}_blue.png"],
    "folder an image": ["{}/red.png", "{}/green.png", "{}/blue.png"],
    "folder a band": ["red/{}.png", "green/{}.png", "blue/{}.png"],
}


@pytest.mark.parametrize("layout", RGB_LAYOUTS)
def test_red_green_and_blue_of_a_file_each(tmp_path: Path, layout: str) -> None:
    model, photo = load("nuclei", threads=1), picture(3, 60, 90)
    for channel, pattern in enumerate(RGB_LAYOUTS[layout]):
        path = tmp_path / "images" / pattern.format("a.1")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo[:, :, channel]).save(path)
    summary = predict(model, [tmp_path / "images"], tmp_path / "out")
    assert (summary.done, summary.failures) == (1, 0)
    assert np.array_equal(labels_in(tmp_path / "out" / "a.1.png"), model.predict(photo).labels)
    assert predict(model, [tmp_path / "images"], tmp_path / "out").before == 1


def test_photos_named_after_colours_and_frames_stay_alone(tmp_path: Path) -> None:
    names = [*(f"car_{colour}" for colour in ("red", "green", "blue")), *(f"frame_{number:04}" for number in range(3))]
    (tmp_path / "images").mkdir()
    for number, name in enumerate(names):
        photo = picture(number, 60, 90)
        Image.fromarray(photo if "car" in name else photo[:, :, 0]).save(tmp_path / "images" / f"{name}.png")
    summary = predict("nuclei", [tmp_path / "images"], tmp_path / "out")
    assert (summary.done, summary.failures) == (6, 0)
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.png")) == sorted(names)


def test_what_is_missing_or_of_another_size_is_named(five_model: Model, tmp_path: Path) -> None:
    pixels = five_image(0, 60, 90)
    few, other, more = (write_channels(tmp_path / "in", "numbers", name, pixels) for name in ("few", "other", "more"))
    few[3].unlink()
    write_banded_tiff(other[4], five_image(0, 30, 90)[:, :, 4], names=())
    write_banded_tiff(more[0].with_name("more_0005.tif"), pixels[:, :, 0], names=())
    summary = predict(five_model, [tmp_path / "in"], tmp_path / "out")
    said = str(summary.failed)
    assert "other_0000.tif" in said
    assert "its band other_0004.tif is 90×30, the first is 90×60" in said
    assert "few_0000.tif" in said
    assert "more_0005.tif" in said
    assert summary.failures == 4 + 1 + 6
