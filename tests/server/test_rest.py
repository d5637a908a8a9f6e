"""The REST interface says what the library says."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving import png, unpack

from pixelwise.data.images import decode_mask_ids
from pixelwise.prediction.image import Model
from pixelwise.server.answers import from_run_lengths, run_lengths

Picture = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture
def seen(client: TestClient, photo: Picture) -> str:
    """The name of an image that the server remembers."""
    header, _ = unpack(client.post("/v1/predict?answer=page", content=png(photo)).content)
    return str(header["image"])


def test_every_answer_of_predict_holds_the_same_labels(client: TestClient, served_model: Model, photo: Picture) -> None:
    expected = served_model.predict(photo)
    body = png(photo)
    both = client.post("/v1/predict?answer=both", content=body).json()
    assert np.array_equal(from_run_lengths(both["rle"], both["height"], both["width"]), expected.labels)
    assert np.array_equal(decode_mask_ids(base64.b64decode(both["mask_png"]), "mask"), expected.labels)
    asked = client.post("/v1/predict", content=body, headers={"Accept": "image/png"})
    assert asked.headers["content-type"] == "image/png"
    assert np.array_equal(decode_mask_ids(asked.content, "mask"), expected.labels)
    _, (labels, scores) = unpack(client.post("/v1/predict?answer=page", content=body).content)
    assert np.array_equal(labels, expected.labels)
    assert np.array_equal(scores, expected.scores)
    assert {row["name"]: row["share"] for row in both["classes"]} == expected.shares


def test_predict_takes_a_form_and_ignores_the_file_name(client: TestClient, photo: Picture) -> None:
    answer = client.post("/v1/predict", files={"image": ("../../etc/passwd", png(photo))})
    assert answer.status_code == 200
    assert answer.json()["width"] == photo.shape[1]


@pytest.mark.parametrize("labels", [np.zeros((3, 4)), np.eye(5), np.arange(12).reshape(3, 4), np.full((1, 1), 7)])
def test_run_lengths_are_undone(labels: np.ndarray[Any, Any]) -> None:
    labels = labels.astype(np.uint8)
    assert np.array_equal(from_run_lengths(run_lengths(labels), *labels.shape), labels)


def test_pixel_is_what_the_library_says(client: TestClient, served_model: Model, photo: Picture) -> None:
    told = client.post("/v1/pixel?x=31&y=22", content=png(photo)).json()
    expected = served_model.predict(photo).probabilities(31, 22)
    assert told["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert told["probability"] == pytest.approx(max(expected.values()), abs=1e-6)
    assert told["sentences"]
    assert client.post("/v1/pixel?x=110&y=0", content=png(photo)).status_code == 422


def test_trace_has_four_stages_and_every_layer(client: TestClient, served_model: Model, photo: Picture) -> None:
    told = client.post("/v1/trace", content=png(photo)).json()
    assert told["flow"][0]["shape"][:2] == list(photo.shape[:2])
    assert len(told["flow"]) == 4
    assert [layer["name"] for layer in told["layers"]] == [stage.name for stage in served_model.metadata.stages]


def test_arithmetic_of_any_value_gives_that_value(client: TestClient, seen: str) -> None:
    generator = np.random.default_rng(5)
    for layer in client.get(f"/v1/images/{seen}/layers").json():
        _, (values,) = unpack(client.get(f"/v1/images/{seen}/layers/{layer['name']}").content)
        channel, y, x = (int(generator.integers(side)) for side in values.shape)
        query = f"layer={layer['name']}&channel={channel}&x={x}&y={y}"
        unit = client.get(f"/v1/images/{seen}/unit?{query}").json()
        assert unit["value"] == pytest.approx(float(values[channel, y, x]), rel=1e-6)
        assert unit["steps"][-1]["result"] == pytest.approx(unit["value"], rel=1e-4, abs=1e-4)
        for step in unit["steps"]:
            if step["step"] == "convolution":
                total = sum(p["product"] for p in step["products"]) + step["rest"] + step["bias"]
                assert total == pytest.approx(step["computed"], rel=1e-3, abs=1e-3)


def test_skips_change_labels_only_when_switched_off(
    client: TestClient, seen: str, served_model: Model, photo: Picture
) -> None:
    names = client.get("/v1/model").json()["skips"]
    assert names == ["up16", "up8", "up4"]
    header, (labels, _) = unpack(client.get(f"/v1/images/{seen}/skips?off=").content)
    assert header["changed_share"] == 0
    assert np.array_equal(labels, served_model.predict(photo).labels)
    header, _ = unpack(client.get(f"/v1/images/{seen}/skips?off=up4,up8,up16").content)
    assert header["changed_share"] > 0
    assert client.get(f"/v1/images/{seen}/skips?off=nothing").status_code == 422


def test_truth_counts_void_nowhere(client: TestClient, seen: str, served_model: Model, photo: Picture) -> None:
    truth = served_model.predict(photo).labels.copy()
    truth[:10] = 255
    header, (labels,) = unpack(client.post(f"/v1/images/{seen}/truth", content=png(truth)).content)
    assert header["scores"]["accuracy"] == 1
    assert header["scores"]["pixels"] == truth.size - 10 * truth.shape[1]
    assert np.array_equal(labels, truth)
    assert client.post(f"/v1/images/{seen}/truth", content=png(truth[:20])).status_code == 422


def test_influence_is_zero_where_nothing_changes(client: TestClient) -> None:
    flat = np.full((64, 96, 3), 90, np.uint8)
    header, _ = unpack(client.post("/v1/predict?answer=page", content=png(flat)).content)
    told = client.get(f"/v1/images/{header['image']}/influence?x=4&y=4&row=1&grid=4").json()
    assert told["drop"] == pytest.approx([0] * len(told["drop"]), abs=1e-6)


def test_report_needs_nothing_else(client: TestClient, seen: str) -> None:
    html = client.get(f"/v1/images/{seen}/report?x=5&y=6").text
    assert "Every pixel of this image" in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert "<script" not in html


def test_samples_come_with_masks_in_the_models_classes(client: TestClient, served_model: Model) -> None:
    names = [sample["name"] for sample in client.get("/v1/samples").json()]
    assert names
    image = Image.open(io.BytesIO(client.get(f"/v1/samples/{names[0]}/image").content))
    truth = np.asarray(Image.open(io.BytesIO(client.get(f"/v1/samples/{names[0]}/truth").content)))
    assert truth.shape == (image.height, image.width)
    assert set(np.unique(truth)) <= {*range(len(served_model.classes)), 255}
    assert client.get("/v1/samples/scene-999999/image").status_code == 404


def test_health_and_counts(client: TestClient, photo: Picture) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    client.post("/v1/predict", content=png(photo))
    text = client.get("/metrics").text
    assert 'pixelwise_requests_total{route="/v1/predict",status="200"} 1' in text
    assert "pixelwise_predict_seconds_count 1" in text


def test_the_documentation_loads_nothing_from_elsewhere(client: TestClient) -> None:
    html = client.get("/docs").text
    assert "/v1/predict" in html
    assert not re.search(r"(src|href)=\"(https?:)?//", html)
    assert client.get("/v1/openapi.json").json()["paths"]["/v1/predict"]["post"]["responses"]["200"]["content"][
        "application/json"
    ]["example"]
