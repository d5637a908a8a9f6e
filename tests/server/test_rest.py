"""The REST interface says what the library says."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import re
import shutil
from dataclasses import replace
from html import unescape
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from fastapi.testclient import TestClient
from PIL import Image
from serving import png, unpack

from conftest import THREE, picture
from pixelwise.images.image_files import decode_mask_ids, write_png
from pixelwise.prediction import built_in_models
from pixelwise.prediction.large import tile_plan
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import ClassList
from pixelwise.server import responses
from pixelwise.server.app import create_app
from pixelwise.server.responses import from_run_lengths, run_length_blocks, run_lengths
from pixelwise.server.sample_images import Samples
from pixelwise.server.server_settings import ServerSettings

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
    assert both["sha256"] == asked.headers["x-image-sha256"] == hashlib.sha256(body).hexdigest()
    assert asked.headers["content-type"] == "image/png"
    assert np.array_equal(decode_mask_ids(asked.content, "mask"), expected.labels)
    _, (labels, scores) = unpack(client.post("/v1/predict?answer=page", content=body).content)
    assert np.array_equal(labels, expected.labels)
    assert np.array_equal(scores, expected.scores)
    assert {row["name"]: row["share"] for row in both["classes"]} == expected.shares


def test_probabilities_come_as_a_tiff_whose_argmax_is_the_labels(
    client: TestClient, served_model: Model, photo: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client.post("/v1/predict?answer=probabilities", content=png(photo))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/tiff")
    assert answer.headers["x-image-sha256"] == hashlib.sha256(png(photo)).hexdigest()
    with tifffile.TiffFile(io.BytesIO(answer.content)) as file:
        probability_CHW = file.asarray().astype(np.float32)
    labels = served_model.predict(photo).labels
    assert probability_CHW.shape == (len(served_model.classes), *labels.shape)
    own = np.take_along_axis(probability_CHW, labels[None].astype(int), axis=0)[0]
    assert (probability_CHW.max(axis=0) - own).max() < 1e-3
    monkeypatch.setattr(responses, "PROBABILITY_PIXELS", 10)
    refused = client.post("/v1/predict?answer=probabilities", content=png(photo))
    assert refused.status_code == 413
    assert "--save probabilities" in refused.text


def test_predict_takes_a_form_and_ignores_the_file_name(client: TestClient, photo: Picture) -> None:
    answer = client.post("/v1/predict", files={"image": ("../../etc/passwd", png(photo))})
    assert answer.status_code == 200
    assert answer.json()["width"] == photo.shape[1]


@pytest.mark.parametrize("labels", [np.zeros((3, 4)), np.eye(5), np.arange(12).reshape(3, 4), np.full((1, 1), 7)])
def test_run_lengths_are_undone(labels: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    labels = labels.astype(np.uint8)
    assert np.array_equal(from_run_lengths(run_lengths(labels), *labels.shape), labels)
    monkeypatch.setattr("pixelwise.server.responses.BLOCK_PIXELS", 7)  # the same, as a large image's are written
    assert "".join(run_length_blocks(labels)) == ",".join(map(str, run_lengths(labels)))


def test_pixel_is_what_the_library_says(client: TestClient, served_model: Model, photo: Picture) -> None:
    told = client.post("/v1/pixel?x=31&y=22", content=png(photo)).json()
    expected = served_model.predict(photo).probabilities(31, 22)
    assert told["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert told["probability"] == pytest.approx(max(expected.values()), abs=1e-6)
    assert told["sentences"]
    assert client.post("/v1/pixel?x=110&y=0", content=png(photo)).status_code == 422


def test_large_images_are_labelled_in_tiles_and_not_inspected(
    client: TestClient, served_model: Model, photo: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for policy in tile_plan.WHOLE_PIXELS:
        monkeypatch.setitem(tile_plan.WHOLE_PIXELS, policy, photo.shape[0] * photo.shape[1] - 1)
    answer = client.post("/v1/predict", content=png(photo)).json()
    labels = from_run_lengths(answer["rle"], answer["height"], answer["width"])
    assert np.array_equal(labels, served_model.predict(photo).labels)
    for route in ("/v1/trace", "/v1/pixel?x=3&y=2"):
        refused = client.post(route, content=png(photo))
        assert refused.status_code == 413
        assert refused.json()["error"]["kind"] == "too-large-inside"
        assert "Labelling is not affected." in refused.json()["error"]["message"]


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
    lines = re.findall(r">(curl .*)</pre>", unescape(html))
    assert "curl 'http://127.0.0.1/v1/pixel?x=212&y=140' --data-binary @photo.jpg" in lines
    (unit,) = [line for line in lines if "/IMAGE/unit?" in line]
    assert all(part in unit for part in ("x=212", "y=140", "layer=stem", "channel=6"))
    assert any(line.endswith("""-d '{"epochs": 8, "name": "first-try"}'""") and "Bearer" in line for line in lines)
    assert "`" not in html
    assert "[360, 480, 3]" in html
    assert 'rel="icon"' in html
    assert not re.search(r"(src|href)=\"(https?:)?//", html)


def outline(value: Any) -> Any:
    """What an answer is made of: names and kinds, no values. Of a list, its first element."""
    if isinstance(value, dict):
        return {key: outline(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [outline(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def agrees(example: Any, real: Any, where: str) -> None:
    """Every name in the example is in the answer, and means the same kind of thing. Names of classes may differ."""
    if isinstance(example, dict) and isinstance(real, dict):
        if where.endswith(("probabilities", "scores.classes", "provenance", "licence", "recipe", "iou", "true")):
            return
        for key, inner in example.items():
            assert key in real, f"{where}.{key}"
            agrees(inner, real[key], f"{where}.{key}")
    elif isinstance(example, list) and isinstance(real, list):
        if example and real:
            agrees(example[0], real[0], f"{where}[]")
    else:
        assert example == real or "NoneType" in (example, real), f"{where}: {example}, really {real}"


def test_every_route_has_an_example(client: TestClient) -> None:
    documentation = client.get("/docs").text
    for path, methods in client.get("/v1/openapi.json").json()["paths"].items():
        for method, facts in methods.items():
            good = next(facts["responses"][code] for code in ("200", "201", "202") if code in facts["responses"])
            assert good["content"], (method, path)
            for media, content in good["content"].items():
                assert content["example"], (method, path, media)
            assert facts["responses"]["default"]["content"]["application/json"]["example"]["error"]["remedy"]
            body = facts.get("requestBody", {}).get("content", {})
            assert all(kind != "application/json" or "schema" in content for kind, content in body.items())
            assert f"<code>{path}</code>" in documentation


def test_examples_look_like_real_answers(client: TestClient, seen: str, photo: Picture, tmp_path: Any) -> None:
    examples = {
        (method, path): content["application/json"]["example"]
        for path, methods in client.get("/v1/openapi.json").json()["paths"].items()
        for method, facts in methods.items()
        for code in ("200", "201", "202")
        if code in facts["responses"] and (content := facts["responses"][code]["content"])
        if "application/json" in content
    }
    run = tmp_path / "runs" / "first-try"
    run.mkdir(parents=True)
    epoch = {"event": "epoch", "epoch": 3, "loss": 1.0, "observation": "improving"}
    (run / "trace.jsonl").write_text(json.dumps({**examples["get", "/v1/runs/{name}/epochs/{epoch}"], **epoch}) + "\n")
    rows = [["val/images/0000", "/gone/0.png", "/gone/1.png"]]
    data = {"classes": THREE.to_json(), "notes": [], "splits": {"train": rows, "val": rows}}
    (run / "data.json").write_text(json.dumps(data))
    queries = {"unit": "?layer=stem&channel=0&x=3&y=2", "influence": "?x=3&y=2&row=0&grid=2", "pixel": "?x=3&y=2"}
    started = {("post", "/v1/runs"), ("post", "/v1/runs/{name}/stop"), ("post", "/v1/runs/{name}/resume")}
    rooms = ("/v1/label", "/v1/data", "/v1/evaluations", "/v1/train", "/v1/ship")  # see the tests of each
    for method, path in examples:
        if path.startswith(rooms):
            continue
        if (method, path) in started:  # as GET /v1/runs/{name}; see the tests that train
            assert outline(examples[method, path]) == outline(examples["get", "/v1/runs/{name}"])
            continue
        query = queries.get(path.rpartition("/")[2], "") + ("?answer=json" if path.endswith("labels") else "")
        address = path.format(image=seen, name="first-try", epoch=3) + query
        body = png(np.zeros(photo.shape[:2], np.uint8) if path.endswith("/mask-values") else photo)
        real = client.post(address, content=body) if method == "post" else client.get(address)
        assert real.status_code == 200, (path, real.text)
        agrees(outline(examples[method, path]), outline(real.json()), path)


def test_a_wrong_scale_is_run_for_real(client: TestClient, seen: str, served_model: Model, photo: Picture) -> None:
    from pixelwise.bundle.onnx_graph import parse, with_outputs
    from pixelwise.tracing.activations import InspectedModel, wrongly_scaled

    inspected = InspectedModel(served_model)
    right = inspected.run(photo)[inspected.first]
    graph = parse(wrongly_scaled(inspected.graph, inspected.first, served_model.metadata))
    session = served_model.open_session(with_outputs(graph, [f"{inspected.first} wrong"], ()))
    (wrong,) = session.run([f"{inspected.first} wrong"], {"image": photo})
    mean, std = (np.array(v).reshape(3, 1, 1) for v in (served_model.metadata.mean, served_model.metadata.std))
    np.testing.assert_allclose(wrong[0], (255 * (right * std + mean) - mean) / std, rtol=1e-4, atol=1e-3)
    told = client.get(f"/v1/images/{seen}/wrong-scale").json()
    assert told["changed_share"] == pytest.approx(
        float((inspected.wrongly_scaled(photo) != served_model.predict(photo).labels).mean())
    )
    assert told["commonest"]["class"] in served_model.classes.names


def test_a_sample_is_compared_with_its_own_mask(served_model: Model, tmp_path: Any) -> None:
    with TestClient(create_app(served_model, ServerSettings(runs=tmp_path)), base_url="http://127.0.0.1") as client:
        name = client.get("/v1/samples").json()[0]["name"]
        body = client.get(f"/v1/samples/{name}/image").content
        image = unpack(client.post("/v1/predict?answer=page", content=body).content)[0]["image"]
        header, (labels,) = unpack(client.get(f"/v1/images/{image}/truth?sample={name}").content)
        expected = np.asarray(Image.open(io.BytesIO(client.get(f"/v1/samples/{name}/truth").content)))
        assert np.array_equal(labels, expected)
        known = expected != 255
        predicted = served_model.predict(np.asarray(Image.open(io.BytesIO(body)))).labels
        assert header["scores"]["accuracy"] == pytest.approx((predicted == expected)[known].mean())
        other = client.get("/v1/samples").json()[1]["name"]
        assert client.get(f"/v1/images/{image}/truth?sample={other}").status_code == 422


def test_held_out_images_of_a_run_are_samples_whatever_their_masks_ids(fast_bundle: Any, tmp_path: Any) -> None:
    """The run's masks may hold any ids: here 7, 8 and 9 for the classes and 3 for void."""
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(fast_bundle[0], run / "model.onnx")
    pixels, ids = picture(2, 40, 60), np.full((40, 60), 3, np.uint8)
    ids[:20], ids[20:, :30], ids[20:, 30:50] = 7, 8, 9
    write_png(run / "image.png", pixels)
    write_png(run / "mask.png", ids)
    row = ["val/image", str(run / "image.png"), str(run / "mask.png")]
    mask_ids = {"7": 0, "8": 1, "9": 2, "3": 255}
    data = {"classes": THREE.to_json(), "mask_ids": mask_ids, "splits": {"train": [], "val": [row]}}
    (run / "data.json").write_text(json.dumps(data))
    app = create_app(load(run, threads=1), ServerSettings(runs=tmp_path / "runs", token="sesame"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert "held-out-0" not in client.get("/v1/samples").text
        assert client.get("/v1/samples/held-out-0/image").status_code == 401
        client.headers["Authorization"] = "Bearer sesame"
        assert client.get("/v1/samples").json()[0]["name"] == "held-out-0"
        assert client.get("/v1/models").json()[0]["title"] == "run"
        body = client.get("/v1/samples/held-out-0/image").content
        image = unpack(client.post("/v1/predict?answer=page", content=body).content)[0]["image"]
        header, (own,) = unpack(client.get(f"/v1/images/{image}/truth?sample=held-out-0").content)
        given, (sent,) = unpack(client.post(f"/v1/images/{image}/truth", content=png(ids)).content)
    assert np.array_equal(own, sent)
    assert header == given
    assert set(np.unique(own)) == {0, 1, 2, 255}


def test_a_model_without_run_or_streets_brings_its_own_image(
    served_model: Model, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its classes are none of the street's: there is nothing to judge it on, and it says so."""
    monkeypatch.setattr(built_in_models, "FOLDER", tmp_path)  # as if it came without a log of its training
    (tmp_path / "nuclei.onnx").touch()
    names = ClassList(("nucleus", "background", "debris"), THREE.colours)
    bundle = served_model.engine.bundle
    strange = replace(bundle, metadata=replace(bundle.metadata, classes=names))
    model = Model(copy.copy(served_model.engine))
    model.engine.bundle = strange
    with TestClient(create_app(model, ServerSettings(runs=tmp_path), "nuclei"), base_url="http://127.0.0.1") as client:
        first = client.get("/v1/samples").json()[0]
        assert (first["name"], first["has_truth"]) == ("golden", False)
        assert client.get("/v1/samples/golden/image").status_code == 200
        assert client.get("/v1/judged").json() is None
        told = client.get("/v1/model").json()
        assert (told["title"], told["opens"], told["has_run"]) == ("nuclei", "nuclei", False)


def test_objects_are_those_of_the_labels(client: TestClient, served_model: Model, photo: Picture) -> None:
    body, query = png(photo), "separate=components&min_area=3"
    found = client.post(f"/v1/objects?{query}", content=body).json()
    labels = served_model.predict(photo).labels
    assert sum(row["area"] for row in found["objects"]) <= labels.size
    assert found["number"] == {
        name: sum(row["class"] == name for row in found["objects"]) for name in served_model.classes.names
    }
    assert all(row["area"] >= 3 for row in found["objects"])
    row = found["objects"][0]
    inside = labels[row["bbox-0"] : row["bbox-2"], row["bbox-1"] : row["bbox-3"]]
    assert (inside == served_model.classes.names.index(row["class"])).sum() >= row["area"]
    table = client.post(f"/v1/objects?{query}&answer=csv", content=body)
    assert table.headers["content-type"].startswith("text/csv")
    assert json.loads(table.headers["X-Objects-Excluded"]) == found["excluded"]
    assert len(table.text.splitlines()) == len(found["objects"]) + 1
    polygons = client.post(f"/v1/objects?{query}&answer=geojson", content=body).json()
    assert len(polygons["features"]) == len(found["objects"])
    assert client.post(f"/v1/objects?{query}&answer=map", content=body).content[:2] == b"II"
    header, _ = unpack(client.post("/v1/predict?answer=page", content=body).content)
    sent_before = f"/v1/images/{header['image']}/objects?{query}"
    assert client.get(sent_before).json() == found
    assert client.get(f"{sent_before}&answer=csv").text == table.text
    assert client.get(f"{sent_before}&separate=magic").json()["error"]["kind"] == "objects"
    assert client.post("/v1/objects?separate=magic", content=body).status_code == 422
    sized = io.BytesIO()
    tifffile.imwrite(sized, photo, photometric="rgb", resolution=(20_000, 20_000), resolutionunit=3)
    found = client.post(f"/v1/objects?{query}", content=sized.getvalue()).json()
    assert (found["pixel"]["height"], found["pixel"]["unit"]) == (pytest.approx(5e-7), "m")
    assert all(row["area_um2"] == pytest.approx(row["area"] / 4) for row in found["objects"])
    assert "learned no border" in client.post("/v1/objects?separate=border", content=body).json()["error"]["message"]


def test_a_mask_of_other_values_is_compared_by_what_they_are_said_to_mean(
    client: TestClient, seen: str, served_model: Model, photo: Picture
) -> None:
    ids = served_model.predict(photo).labels + np.uint8(100)
    ids[:10] = 77
    rows = client.post(f"/v1/images/{seen}/mask-values", content=png(ids)).json()
    assert {row["value"] for row in rows} == set(np.unique(ids).tolist())
    assert all(row["class"] is None for row in rows)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert client.post(f"/v1/images/{seen}/truth", content=png(ids)).status_code == 422  # not guessed
    said = ",".join(f"{row['value']}:{255 if row['value'] == 77 else row['value'] - 100}" for row in rows)
    header, (labels,) = unpack(client.post(f"/v1/images/{seen}/truth?ids={said}", content=png(ids)).content)
    assert header["scores"]["accuracy"] == 1
    assert (labels[:10] == 255).all()
    assert (
        client.post(f"/v1/images/{seen}/truth?ids=77:254", content=png(ids)).json()["error"]["kind"] == "class-unknown"
    )


@pytest.mark.parametrize(("names", "fits"), [(("sky", "road"), True), (("background", "nucleus"), False)])
def test_samples_fit_the_model(served_model: Model, names: tuple[str, ...], fits: bool) -> None:
    """Street scenes are not offered to a model that knows none of their classes: their masks would be all void."""
    classes = ClassList(names, ((0, 0, 0), (9, 9, 9)))
    model: Any = SimpleNamespace(classes=classes, metadata=served_model.metadata, engine=served_model.engine)
    offered = [row["name"] for row in Samples(model, None).to_json()]
    assert ("scene-4" in offered) == fits
    assert ("golden" in offered) != fits
