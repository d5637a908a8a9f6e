"""Evaluations through REST: the numbers of `pixelwise evaluate` and `compare`, jobs that stop and go on, images."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from test_rest import agrees, outline

from conftest import THREE, make_bundle, picture
from pixelwise.evaluation.compare import compare
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.images.image_files import write_png
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import VOID
from pixelwise.server.app import create_app
from pixelwise.server.evaluating.evaluation_work import EvaluationWork
from pixelwise.server.evaluation_examples import EVALUATION, IMAGE
from pixelwise.server.server_settings import ServerSettings

IMAGES = 6
ROOT = "/v1/evaluations"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("served") / "model.onnx"
    make_bundle(path, "unet")
    return load(path, threads=1)


@pytest.fixture(scope="module")
def folder(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A val split whose masks are what the model says, moved more from image to image."""
    root = tmp_path_factory.mktemp("data") / "moved"
    for part in ("images", "masks"):
        (root / "val" / part).mkdir(parents=True)
    for i in range(IMAGES):
        image = picture(i, 48, 60)
        mask = np.roll(model.predict(image).labels, 2 * i, axis=1)
        mask[:4, :9] = VOID
        write_png(root / "val/images" / f"{i}.png", image)
        write_png(root / "val/masks" / f"{i}.png", mask)
    classes = (f'[[classes]]\nid = {i}\nname = "{name}"\n' for i, name in enumerate(THREE.names))
    (root / "dataset.toml").write_text("".join(classes))
    return root


@contextmanager
def served(model: Model, runs: Path, *data: Path) -> Iterator[TestClient]:
    settings = ServerSettings(runs=runs, data=data, token="sesame", wait_s=120.0)
    headers = {"Authorization": "Bearer sesame"}
    with TestClient(create_app(model, settings), base_url="http://127.0.0.1", headers=headers) as client:
        yield client


def ended(client: TestClient, evaluation: str) -> dict[str, Any]:
    end = time.monotonic() + 120
    while True:
        found: dict[str, Any] = client.get(f"{ROOT}/{evaluation}").json()
        if found["state"] not in ("waiting", "running"):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.05)


def asked(client: TestClient, **more: Any) -> dict[str, Any]:
    answer = client.post(ROOT, json={"data": "moved", "split": "val", **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def pixels(body: bytes) -> np.ndarray[Any, Any]:
    return np.array(Image.open(io.BytesIO(body)).convert("RGB")).astype(int)


def test_the_report_is_that_of_the_command_line(model: Model, folder: Path, tmp_path: Path) -> None:
    whole = evaluate(model, folder, split="val")
    with served(model, tmp_path / "runs", folder) as client:
        splits = client.get(f"{ROOT}/splits?data=moved").json()
        assert splits == {"splits": [{"name": "val", "images": IMAGES}]}
        started = asked(client)
        agrees(outline(EVALUATION), outline(started), "evaluation")
        found = ended(client, started["id"])
        assert (found["state"], found["error"], found["done"], found["kept"]) == ("done", None, IMAGES, True)
        result = {**found["result"], "milliseconds": 0.0}
        result.pop("class_rows")
        assert result == json.loads(json.dumps({**whole.to_json(), "milliseconds": 0.0}))
        assert asked(client)["state"] == "done"  # the same request: nothing is computed twice
        html = client.get(f"{ROOT}/{started['id']}/files/report.html")
        assert "attachment" in html.headers["content-disposition"]
        assert "Confusion" in html.text
        assert client.get(f"{ROOT}/{started['id']}/files/images.csv").text.count("\n") == IMAGES + 1
        assert client.get(f"{ROOT}/{started['id']}/files/comparison.json").status_code == 404


def test_a_cell_opens_the_images_that_have_most_of_its_pixels(model: Model, folder: Path, tmp_path: Path) -> None:
    with served(model, tmp_path / "runs", folder) as client:
        started = asked(client)
        matrix = np.array(ended(client, started["id"])["result"]["matrix"])
        wrong = matrix - np.diag(np.diag(matrix))
        true, predicted = (int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
        images = f"{ROOT}/{started['id']}/images"
        cell = f"true={true}&predicted={predicted}"
        found = client.get(f"{images}?order=cell&{cell}&limit=200").json()
        agrees(outline(IMAGE), outline(found["images"][0]), "image")
        counts = [row["pixels"] for row in found["images"]]
        assert counts == sorted(counts, reverse=True)
        assert sum(counts) == matrix[true, predicted]
        first = found["images"][0]
        shown = pixels(client.get(f"{images}/{first['index']}?show=cell&{cell}").content)
        assert shown.shape == (48, 60, 3)
        marked = int((shown[:, :, 0] - shown[:, :, 1] > 60).sum())
        assert 0.5 * first["pixels"] <= marked <= 1.5 * first["pixels"] + 20  # WebP mixes colours at edges
        worst = client.get(f"{images}?limit=2").json()
        assert worst["total"] == IMAGES
        assert worst["images"][0]["miou"] <= worst["images"][1]["miou"]
        assert client.get(f"{images}?order=best").json()["images"][0]["name"] == "val/images/0"
        for show in ("photo", "truth", "model", "errors"):
            assert client.get(f"{images}/0?show={show}&px=32").headers["content-type"] == "image/webp"
        assert client.get(f"{images}/{IMAGES}").status_code == 404
        assert client.get(f"{images}/0?side=b").status_code == 404
        assert client.get(f"{images}?order=better").status_code == 422


def test_two_models_are_compared_as_on_the_command_line(model: Model, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "runs/other/model.onnx"
    other.parent.mkdir(parents=True)
    make_bundle(other, "fast")
    (other.parent / "trace.jsonl").write_text("")
    whole = compare(model, load(other), folder, split="val").to_json()
    with served(model, tmp_path / "runs", folder) as client:
        started = asked(client, against="other")
        found = ended(client, started["id"])
        assert (found["state"], found["error"], found["titles"]) == ("done", None, ["model", "run other"])
        result = found["result"]
        for part in ("whole", "classes", "regions", "per_image"):
            assert result[part] == json.loads(json.dumps(whole[part]))
        assert result["better"] + result["worse"] + result["unchanged"] == IMAGES
        worse = client.get(f"{ROOT}/{started['id']}/images?order=worse").json()
        assert worse["total"] == result["worse"] > 0  # the masks are what A says
        assert worse["images"][0]["difference"] == min(row["difference"] for row in result["per_image"])
        picture_of = f"{ROOT}/{started['id']}/images/{worse['images'][0]['index']}?show=errors&side="
        assert client.get(f"{picture_of}a").content != client.get(f"{picture_of}b").content
        assert client.post(ROOT, json={"data": "moved", "split": "val", "against": "main"}).status_code == 422


def slowly(monkeypatch: pytest.MonkeyPatch, gate: list[bool]) -> None:
    """Evaluations wait after their second image until the gate opens."""
    steps = EvaluationWork.steps

    def gated(work: EvaluationWork) -> Iterator[None]:
        for _ in steps(work):
            yield
            end = time.monotonic() + 120
            while work.done >= 2 and not gate and time.monotonic() < end:
                time.sleep(0.01)

    monkeypatch.setattr(EvaluationWork, "steps", gated)


def until_second_image(client: TestClient, evaluation: str) -> dict[str, Any]:
    """The report of the first two images; it is not made anew at every request."""
    end = time.monotonic() + 120
    while True:
        found: dict[str, Any] = client.get(f"{ROOT}/{evaluation}").json()
        if found["result"] and found["result"]["images"] == 2:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.02)


def test_a_stopped_evaluation_shows_what_it_has_and_resumes(
    model: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate: list[bool] = []
    slowly(monkeypatch, gate)
    with served(model, tmp_path / "runs", folder) as client:
        started = asked(client)
        live = until_second_image(client, started["id"])
        assert (live["state"], live["done"]) == ("running", 2)
        assert live["seconds_left"] > 0
        assert client.post(f"{ROOT}/{started['id']}/remove").status_code == 409
        assert client.post(f"{ROOT}/{started['id']}/stop").status_code == 200
        gate.append(True)
        stopped = ended(client, started["id"])
        assert (stopped["state"], stopped["done"]) == ("stopped", 3)
        client.post(f"{ROOT}/{started['id']}/resume")
        found = ended(client, started["id"])
        assert (found["state"], found["result"]["images"]) == ("done", IMAGES)
        assert found["result"]["miou"] == evaluate(model, folder, split="val").miou
        assert client.post(f"{ROOT}/{started['id']}/resume").status_code == 409


def test_an_evaluation_goes_on_after_a_restart_of_the_server(
    model: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate: list[bool] = []
    slowly(monkeypatch, gate)
    with served(model, tmp_path / "runs", folder) as client:
        started = asked(client)
        until_second_image(client, started["id"])
        client.app.state.pixelwise.stopping.set()  # type: ignore[attr-defined]
        gate.append(True)
        counts = tmp_path / "runs/.evaluations" / started["id"] / "counts.npz"
        end = time.monotonic() + 60
        while not counts.is_file() and time.monotonic() < end:
            time.sleep(0.02)
    with served(model, tmp_path / "runs", folder) as client:
        found = ended(client, started["id"])
        assert (found["state"], found["error"]) == ("done", None)
        assert found["result"]["miou"] == evaluate(model, folder, split="val").miou
    with served(model, tmp_path / "runs", folder) as client:  # a finished one is read from disk, its images too
        assert client.get(f"{ROOT}/{started['id']}").json()["result"]["images"] == IMAGES
        assert client.get(f"{ROOT}/{started['id']}/images").json()["total"] == IMAGES
        assert client.get(f"{ROOT}/{started['id']}/images/1?show=errors").status_code == 200
        assert client.post(f"{ROOT}/{started['id']}/remove").json() == {"id": started["id"]}
        assert client.get(ROOT).json() == []
        assert not counts.parent.exists()


def test_evaluations_that_cannot_be_read_are_left_out_by_name(
    model: Model, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text in (("0123456789ab", '{"id": "0123456789ab"}'), ("ba9876543210", "{")):
        (kept := tmp_path / ".evaluations" / name).mkdir(parents=True)
        (kept / "request.json").write_text(text)
    with served(model, tmp_path, folder) as client:
        assert client.get(ROOT).json() == []
    assert sum("left out" in record.message for record in caplog.records) == 2
    assert all(name in caplog.text for name in ("0123456789ab", "ba9876543210"))


def test_what_the_server_was_not_started_with_is_not_shown(model: Model, folder: Path, tmp_path: Path) -> None:
    with served(model, tmp_path / "runs", folder) as client:
        done = ended(client, asked(client)["id"])
        assert client.post(ROOT, json={"data": "elsewhere", "split": "val"}).status_code == 404
        assert client.post(ROOT, json={"data": "moved", "below": "../..", "split": "val"}).status_code == 404
        assert client.post(ROOT, json={"data": "moved", "split": "val", "model": "gone"}).status_code == 404
        client.headers.pop("Authorization")
        assert client.get(ROOT).status_code == 401
        assert client.get(f"{ROOT}/{done['id']}/images/0").status_code == 401
    with served(model, tmp_path / "runs") as client:
        assert client.get(ROOT).json() == []
        assert client.get(f"{ROOT}/{done['id']}").status_code == 404
        assert client.get(f"{ROOT}/{done['id']}/images/0").status_code == 404


def test_broken_pairs_are_reported_and_can_be_left_out(model: Model, folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "moved"
    shutil.copytree(folder, broken)
    (broken / "val/images/3.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing else")
    with served(model, tmp_path / "runs", broken) as client:
        found = ended(client, asked(client)["id"])
        assert found["state"] == "failed"
        assert "3.png" in found["error"]["message"]
        found = ended(client, asked(client, skip_bad=True)["id"])
        assert (found["state"], found["images"]) == ("done", IMAGES - 1)


def test_without_a_place_to_write_results_last_as_long_as_the_server(
    model: Model, folder: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.write_text("a file, in which no folder can be made")
    with served(model, runs, folder) as client:
        found = ended(client, asked(client)["id"])
        assert (found["state"], found["kept"]) == ("done", False)
        assert found["result"]["images"] == IMAGES
        assert client.get(f"{ROOT}/{found['id']}/images").json()["total"] == IMAGES
        assert "Confusion" in client.get(f"{ROOT}/{found['id']}/files/report.html").text
