"""A built-in model brings its training's epochs and previews, and the page reads them as those of any run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from conftest import TOKEN, picture
from pixelwise.images.image_files import encode_png
from pixelwise.prediction import built_in_models
from pixelwise.server.app import create_app
from pixelwise.server.server_settings import ServerSettings
from pixelwise.trace_events import to_file

ROOT = Path(__file__).parents[2]
CLASSES = [{"name": name, "colour": colour} for name, colour in (("road", [90, 60, 90]), ("sky", [120, 200, 250]))]


def run_of(folder: Path, losses: list[float]) -> Path:
    """A run directory as training leaves it, with its dataset beside it."""
    folder.mkdir()
    image, mask = folder.parent / "image.png", folder.parent / "mask.png"
    image.write_bytes(encode_png(picture(3, 60, 80)))
    mask.write_bytes(encode_png(np.zeros((60, 80), np.uint8)))
    rows = [["first", str(image), str(mask)]]
    (folder / "data.json").write_text(json.dumps({"classes": CLASSES, "splits": {"train": rows, "val": rows}}))
    (folder / "recipe.toml").write_text(f"epochs = {len(losses)}\n")
    tell = to_file(folder / "trace.jsonl")
    tell({"event": "start", "run": str(folder)})
    for number, loss in enumerate(losses, 1):
        tell({"event": "epoch", "epoch": number, "loss": loss, "miou": 0.123456, "iou": {"road": 0.5}})
        previews = folder / "previews" / f"epoch-{number:04d}"
        previews.mkdir(parents=True)
        (previews / "0.png").write_bytes(encode_png(np.full((60, 80, 3), CLASSES[0]["colour"], np.uint8)))
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    runs = [run_of(tmp_path / "one", [1.0, 0.5]), run_of(tmp_path / "two", [0.25])]
    script = ROOT / "benchmarks" / "built_in_log.py"
    subprocess.run(
        [sys.executable, str(script), "street", *map(str, runs), "--out", str(tmp_path / "shipped"), "--photos"],
        check=True,
        timeout=240,
    )
    return tmp_path / "shipped"


def test_the_log_of_several_runs_is_one_training_without_a_path(log: Path, tmp_path: Path) -> None:
    folder = log / "street-training"
    events = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    assert [(event["event"], event["epoch"]) for event in events] == [
        ("epoch", 1), ("epoch", 2), ("epoch", 3), ("stop", 3),
    ]  # fmt: skip
    assert events[0]["miou"] == 0.1235
    texts = [path.read_text() for path in folder.iterdir() if path.is_file()]
    assert not any(str(tmp_path) in text for text in texts)


def test_the_page_of_a_built_in_model_shows_its_training(
    log: Path, tmp_path: Path, served_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(built_in_models, "FOLDER", log)
    (log / "street.onnx").touch()
    settings = ServerSettings(runs=tmp_path / "runs", token=TOKEN, wait_s=120.0)
    with TestClient(create_app(served_model, settings, "street"), base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        assert client.get("/v1/model").json()["has_run"] is True
        told = client.get("/v1/runs/this-model").json()
        assert (told["finished"], told["running"], told["can_resume"]) == (True, False, False)
        assert (told["previews"], told["recipe"]["epochs"]) == (["first"], 3)
        assert "event: end" in client.get("/v1/runs/this-model/events").text
        assert client.get("/v1/runs/this-model/epochs/3").json()["loss"] == 0.25
        for path in ("previews/3/0", "images/0", "truth/0"):
            answer = client.get(f"/v1/runs/this-model/{path}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), path


def test_a_built_in_model_without_a_log_says_that_it_has_none(
    tmp_path: Path, served_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(built_in_models, "FOLDER", tmp_path)
    (tmp_path / "street.onnx").touch()
    settings = ServerSettings(runs=tmp_path / "runs", token=TOKEN, wait_s=120.0)
    with TestClient(create_app(served_model, settings, "street"), base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        assert client.get("/v1/model").json()["has_run"] is False
        assert client.get("/v1/runs").json()["runs"] == []
