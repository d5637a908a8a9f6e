"""Scores of models of five bands on data sets of these bands, and of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from banded import FIVE, five_image, write_tiff
from conftest import THREE, picture
from pixelwise.datasets.dataset_toml import dataset_toml
from pixelwise.errors import DataError
from pixelwise.evaluation.compare import compare
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.evaluation.match_bands import are_there
from pixelwise.images.image_files import encode_label_png, write_png
from pixelwise.prediction.load_model import Model
from pixelwise.records import RGB, Bands


def dataset(root: Path, model: Model, *, names: tuple[str, ...] = FIVE.names) -> Path:
    """Three images in test/, whose masks are the model's own labels, wrong where the images have no data."""
    for folder in ("images", "masks"):
        (root / "test" / folder).mkdir(parents=True)
    for seed in range(3):
        image = five_image(seed, 64, 96, missing=True)
        labels = model.predict(image).labels.copy()
        labels[:16, :48] = (labels[:16, :48] + 1) % 3
        write_tiff(root / f"test/images/{seed}.tif", image[:, :, : len(names)].copy(), names)
        (root / f"test/masks/{seed}.png").write_bytes(encode_label_png(labels, THREE))
    (root / "dataset.toml").write_text(dataset_toml(THREE))
    return root


def test_pixels_without_data_count_in_no_score(five_model: Model, tmp_path: Path) -> None:
    report = evaluate(five_model, dataset(tmp_path / "data", five_model), html=tmp_path / "report.html")
    assert report.accuracy == 1
    assert report.miou == 1
    assert "<html" in (tmp_path / "report.html").read_text("utf-8")
    compared = compare(five_model, five_model, tmp_path / "data")
    assert compared.miou.difference == 0


def test_a_data_set_of_other_bands_names_both(five_model: Model, tiny_bundle: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", five_model, names=("a", "b", "c", "d"))
    with pytest.raises(DataError, match=r"4 bands \(a, b, c, d\).*5 bands \(blue, green, red, nir, swir\)"):
        evaluate(five_model, data)
    with pytest.raises(DataError, match=r"4 bands \(a, b, c, d\).*3 bands \(red, green, blue\) of uint8"):
        evaluate(tiny_bundle, data)
    photos = tmp_path / "photos"
    for folder in ("images", "masks"):
        (photos / "test" / folder).mkdir(parents=True)
    write_png(photos / "test/images/a.png", np.ascontiguousarray(picture(1, 40, 60)))
    (photos / "test/masks/a.png").write_bytes(encode_label_png(np.zeros((40, 60), np.uint8), THREE))
    (photos / "dataset.toml").write_text(dataset_toml(THREE))
    with pytest.raises(DataError, match=r"3 bands \(red, green, blue\).*5 bands"):
        evaluate(five_model, photos)
    with pytest.raises(DataError, match="Compare models that take the same bands"):
        compare(five_model, tiny_bundle, dataset(tmp_path / "five", five_model))


def test_which_bands_fit() -> None:
    deep = Bands(("band 1",), "float32", (0.0,), (65535.0,))
    two = Bands(("nir", "red"), "float32", (0.0, 0.0), (1.0, 1.0))
    assert are_there(RGB, RGB)
    assert are_there(RGB, deep)  # reduced to 8 bits, as it always was
    assert not are_there(RGB, two)
    assert are_there(two, FIVE)
    assert not are_there(FIVE, two)
    assert not are_there(Bands(("red",), "uint8", (0.0,), (255.0,)), two)
