"""A whole trace: its numbers against the prediction's, its words, and how it is shown."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from conftest import picture
from pixelwise.errors import UsageError
from pixelwise.images.image_files import write_png
from pixelwise.model.label_strips import labels_of_scores
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.stages import Stages, denormalised
from pixelwise.tracing.trace import Trace, trace
from pixelwise.tracing.trace_page import write_trace_page


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=2)


@pytest.fixture(scope="module")
def traced(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    write_png(path, picture(8, 70, 90))
    return trace(model, path, (12, 34))


def test_the_stages_together_are_the_model(model: Model) -> None:
    for height, width in ((70, 90), (1, 1), (13, 200)):
        image = picture(height, height, width)
        passed, whole = Stages(model).run(image), model.predict(image)
        np.testing.assert_allclose(passed.scores, whole.scores, atol=1e-4)
        assert (passed.labels == whole.labels).mean() > 0.999
        assert (labels_of_scores(passed.scores, (height, width)) == whole.labels).mean() > 0.999


def test_the_flow_has_the_shapes_that_passed(traced: Trace) -> None:
    shapes = [event["shape"] for event in traced.flow]
    assert shapes == [[70, 90, 3], [64, 96, 3], [64, 96, 3], [70, 90]]
    preprocess, scores, labels = traced.flow[1], traced.flow[2], traced.flow[3]
    assert 0 <= preprocess["unit_range"][0] < preprocess["unit_range"][1] <= 1
    assert scores["minimum"] == pytest.approx(float(traced.prediction.scores.min()), abs=1e-4)
    assert labels["classes_present"] == len(np.unique(traced.prediction.labels))
    assert all(event["milliseconds"] > 0 and event["thumbnail"].startswith("data:image/png") for event in traced.flow)


def test_denormalising_undoes_normalising() -> None:
    unit = np.random.default_rng(0).random((3, 5, 7), dtype=np.float32)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    seen = (unit - np.float32(mean).reshape(3, 1, 1)) / np.float32(std).reshape(3, 1, 1)
    np.testing.assert_allclose(denormalised(seen, mean, std), unit, atol=1e-6)


def test_the_pixels_story_is_computed(traced: Trace) -> None:
    story, prediction = traced.pixel, traced.prediction
    assert (story.x, story.y, story.chosen) == (12, 34, "as requested")
    assert story.probabilities == prediction.probabilities(12, 34)
    assert sum(story.probabilities.values()) == pytest.approx(1)
    assert story.label == prediction.classes.names[prediction.labels[34, 12]]
    ordered = sorted(story.probabilities.values(), reverse=True)
    assert story.margin == pytest.approx(ordered[0] - ordered[1], abs=1e-4)
    assert story.colour == tuple(traced.image[34, 12])
    around = prediction.labels[30:39, 8:17]
    expected = ((around == prediction.labels[34, 12]).sum() - 1) / 80
    assert story.neighbourhood.get(story.label, 0.0) == pytest.approx(expected)
    assert [answer.layer for answer in story.answers] == [layer.name for layer in traced.layers]


def test_without_a_pixel_the_least_sure_is_told(model: Model) -> None:
    image = picture(9, 50, 60)
    story = trace(model, image).pixel
    assert story.chosen == "where the model is least certain"
    prediction = model.predict(image)
    margins = []
    for x, y in [(5, 5), (30, 25), (55, 45), (10, 40)]:
        ordered = sorted(prediction.probabilities(x, y).values(), reverse=True)
        margins.append(ordered[0] - ordered[1])
    assert story.margin <= min(margins) + 0.05


@pytest.mark.parametrize("pixel", [(90, 0), (0, 70), (-1, 5)])
def test_a_pixel_outside_is_refused(model: Model, pixel: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="outside the image of 90×70 pixels"):
        trace(model, picture(8, 70, 90), pixel)


def test_a_flat_image_is_remarked_on(model: Model) -> None:
    found = trace(model, np.full((20, 30, 3), 90, np.uint8)).findings
    assert any("single flat colour" in str(finding) for finding in found)
    large = trace(model, np.zeros((400, 30, 3), np.uint8)).findings
    assert any("reduced 6.2 times" in str(finding) for finding in large)


def test_json_holds_everything(traced: Trace) -> None:
    value = json.loads(json.dumps(traced.to_json(), allow_nan=False))
    assert {"flow", "layers", "pixel", "findings", "shares", "model", "timing"} <= set(value)
    assert len(value["layers"]) == len(traced.layers)
    assert value["pixel"]["probabilities"].keys() == value["shares"].keys()


def test_shown_with_pictures_in_a_terminal_and_as_text_elsewhere(traced: Trace) -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    Console(file=plain, width=100).print(traced.to_rich())
    Console(file=coloured, width=100, force_terminal=True, color_system="truecolor").print(traced.to_rich())
    assert "▀" not in plain.getvalue()
    assert "\x1b" not in plain.getvalue()
    assert "▀" in coloured.getvalue()
    for said in ("Data flow", "Layers", "Pixel (12, 34)", "upsampling", "MACs"):
        assert said in plain.getvalue()
    assert max(map(len, plain.getvalue().splitlines())) <= 100


def test_the_page_stands_alone_and_names_no_folder(model: Model, traced: Trace, tmp_path: Path) -> None:
    write_trace_page(traced, model, tmp_path / "trace.html")
    html = (tmp_path / "trace.html").read_text(encoding="utf-8")
    assert "pixel (12, 34)" in html
    assert all(f">{layer.name}<" in html for layer in traced.layers)
    assert "<script" not in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert str(Path(traced.file or "").parent) not in html
    assert str(model.path.parent) not in html
