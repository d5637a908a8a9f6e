"""A built-in model brings its training's epochs and previews, and the page reads them as those of any run."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from conftest import TOKEN, picture
from pixelwise.images.image_files import encode_png
from pixelwise.prediction import built_in_models
from pixelwise.prediction.built_in_models import BuiltIn, models
from pixelwise.server.app import create_app
from pixelwise.server.sample_images import Samples
from pixelwise.server.server_settings import ServerSettings
from pixelwise.trace_events import read_events, to_file

ROOT = Path(__file__).parents[2]
CLASSES = [{"name": name, "colour": colour} for name, colour in (("road", [90, 60, 90]), ("sky", [120, 200, 250]))]


def run_of(folder: Path, losses: list[float]) -> Path:
    """A run directory as training leaves it, begun with the weights of another one, with its dataset beside it."""
    folder.mkdir()
    image, mask = folder.parent / "image.png", folder.parent / "mask.png"
    image.write_bytes(encode_png(picture(3, 60, 80)))
    mask.write_bytes(encode_png(np.zeros((60, 80), np.uint8)))
    rows = [[name, str(image), str(mask)] for name in ("first", "second", "third")]
    (folder / "data.json").write_text(json.dumps({"classes": CLASSES, "splits": {"train": rows, "val": rows}}))
    (folder / "recipe.toml").write_text(f"epochs = {len(losses)}\n")
    tell = to_file(folder / "trace.jsonl")
    tell({"event": "start", "run": str(folder)})
    for number, loss in enumerate(losses, 1):
        tell({"event": "epoch", "epoch": number, "loss": loss, "miou": 0.123456, "iou": {"road": 0.5}})
        previews = folder / "previews" / f"epoch-{number:04d}"
        previews.mkdir(parents=True)
        for index in range(len(rows)):
            colours = np.full((60, 80, 3), CLASSES[0]["colour"], np.uint8)
            (previews / f"{index}.png").write_bytes(encode_png(colours))
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
    assert [(event["event"], event.get("epoch")) for event in events] == [
        ("start", None), ("epoch", 1), ("epoch", 2), ("epoch", 3), ("stop", 3),
    ]  # fmt: skip
    assert events[1]["miou"] == 0.1235
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
        assert (told["previews"], told["photos"], told["recipe"]["epochs"]) == (["first", "second"], True, 3)
        told = client.get("/v1/runs/this-model/events").text
        assert "event: end" in told
        assert "went on from earlier weights" in told
        assert client.get("/v1/runs/this-model/epochs/3").json()["loss"] == 0.25
        paths = [f"{kind}/{index}" for kind in ("previews/3", "images", "truth") for index in (0, 1)]
        for path in paths:
            answer = client.get(f"/v1/runs/this-model/{path}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), path
        del client.headers["Authorization"]  # its images are open to everyone, as its file is
        samples = client.get("/v1/samples").json()
        assert [(row["name"], row["source"]) for row in samples[:2]] == [
            ("validation-0", "held out during training"), ("validation-1", "held out during training"),
        ]  # fmt: skip
        for part, expected in (("image", picture(3, 60, 80)), ("truth", np.zeros((60, 80), np.uint8))):
            shown = np.asarray(Image.open(io.BytesIO(client.get(f"/v1/samples/validation-1/{part}").content)))
            assert np.array_equal(shown, expected), part
        assert client.get("/v1/judged").json()["source"] == "2 images held out during training"
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        shutil.rmtree(log / "street-training" / "images")  # as where the licence permits no copies
        assert client.get("/v1/runs/this-model").json()["photos"] is False


def test_images_that_a_training_also_used_are_not_called_held_out(tmp_path: Path, served_model: Any) -> None:
    run = run_of(tmp_path / "one", [1.0])
    (run / "recipe.toml").write_text("also_val = true\n")
    samples = Samples(served_model, run)
    assert {row["source"] for row in samples.to_json() if row["name"].startswith("held-out")} == {
        "also used for training"
    }
    labelled = samples.labelled(8)
    assert labelled is not None
    assert labelled[0] == "3 images also used for training"


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


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_the_log_of_a_built_in_model_is_that_of_its_weights(model: BuiltIn) -> None:
    """The epoch that its file records has these very scores, and every picture that the page asks for is there."""
    folder = model.training_log
    assert folder is not None
    assert not [part for part in ("images", "masks", "truth") if (folder / part).exists()], "data of the training set"
    metrics = model.metadata.provenance["metrics"]
    events = [event for event in read_events(folder / "trace.jsonl") if event["event"] == "epoch"]
    if metrics["split"] == "val":  # otherwise measured before a last training, whose epochs these are
        kept = next(event for event in events if event["epoch"] == metrics["epoch"])
        assert kept["best"]
        assert kept["miou"] == pytest.approx(metrics["miou"], abs=2e-4)
    data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in data["classes"]] == list(model.metadata.classes.names)
    wanted = [f"previews/epoch-{event['epoch']:04d}" for event in events]
    missing = [f"{part}/{i}.png" for part in wanted for i in range(data["previews"])]
    assert [path for path in missing if not (folder / path).is_file()] == []
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1.5e6
