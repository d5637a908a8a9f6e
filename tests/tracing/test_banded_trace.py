"""A trace of an image of five bands, and the warnings that only such images can cause."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from banded import FIVE, five_image, write_tiff
from pixelwise.images.false_colour import false_colour
from pixelwise.prediction.load_model import Model
from pixelwise.tracing.prediction_checks import check_prediction
from pixelwise.tracing.trace import trace
from pixelwise.tracing.trace_page import write_trace_page


def test_a_file_is_traced_with_its_values(five_model: Model, tmp_path: Path) -> None:
    image = five_image(3, 70, 110, missing=True)
    traced = trace(five_model, write_tiff(tmp_path / "scene.tif", image), pixel=(90, 60))
    assert np.array_equal(traced.picture, false_colour(image, FIVE))
    assert traced.pixel.values == dict(zip(FIVE.names, image[60, 90].tolist(), strict=True))
    assert traced.pixel.sentences[-1].startswith(f"Its values: blue {image[60, 90, 0]:.6g}, green")
    told = json.loads(json.dumps(traced.to_json(), allow_nan=False))
    assert told["flow"][0]["shape"] == [70, 110, 5]
    write_trace_page(traced, five_model, tmp_path / "trace.html")
    assert "Its values: blue" in (tmp_path / "trace.html").read_text("utf-8")
    without = trace(five_model, image, pixel=(0, 0))
    assert json.loads(json.dumps(without.to_json(), allow_nan=False))["pixel"]["values"] == dict.fromkeys(FIVE.names)


def test_warnings_about_values(five_model: Model) -> None:
    def kinds(image: np.ndarray) -> dict[str, str]:  # type: ignore[type-arg]
        prediction = five_model.predict(image)
        return {found.kind: found.what for found in check_prediction(image, prediction, five_model.metadata)}

    image = five_image(3, 70, 110)
    assert not {"no-data", "values-outside", "flat", "grey"} & kinds(image).keys()
    assert "no-data" in kinds(five_image(3, 70, 110, missing=True))
    outside = kinds(image * np.float32(10_000))["values-outside"]
    assert "lie outside the range of the training images" in outside
    assert "so do those of" in outside
    assert "flat" in kinds(np.full((70, 110, 5), 0.2, np.float32))
