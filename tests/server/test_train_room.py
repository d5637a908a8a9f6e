"""The Train room: planned trainings, the queue, notes, what is running now, and the plan as it arrives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pixelwise.server.app import create_app
from pixelwise.server.error_responses import RequestError
from pixelwise.server.routes.run_routes import checked_reading
from pixelwise.server.run_list import Runs, note_of, progress_of, write_note
from pixelwise.server.server_settings import ServerSettings
from pixelwise.server.training_job import arguments
from pixelwise.trace_events import to_file
from pixelwise.training.progress_file import progress_written


class QuietRuns(Runs):
    """Runs whose trainings are only said to run."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, None)
        self.now = ""

    def launch(self, name: str, request: dict[str, Any]) -> None:
        self.now = name
        (self.folder(name) / "page.json").write_text(json.dumps({"request": request}))

    def is_running(self, name: str) -> bool:
        return name == self.now


def test_trainings_wait_for_one_another_and_for_a_server_that_is_restarted(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch; install pixelwise[train]")
    runs = QuietRuns(tmp_path)
    runs.start("a", {"epochs": 1}, queue=True)  # nothing runs: at once
    assert runs.now == "a"
    with pytest.raises(RequestError, match="is running"):
        runs.start("b", {})
    for name in ("b", "c", "d"):
        runs.start(name, {"epochs": 2}, queue=True)
    assert runs.queued() == ["b", "c", "d"]
    assert runs.describe("b")["queued"]
    runs.forget_queued("c")
    assert not (tmp_path / "c").exists()
    with pytest.raises(RequestError, match="not in the queue"):
        runs.forget_queued("a")
    runs.start_next()
    assert runs.now == "a"  # it still runs
    again = QuietRuns(tmp_path)
    assert again.queued() == ["b", "d"]
    again.start_next()
    assert (again.now, again.queued()) == ("b", ["d"])
    assert again.describe("b")["request"] == {"epochs": 2}


def test_a_planned_training_keeps_what_was_set_and_starts_from_a_run(tmp_path: Path) -> None:
    request = {"settings": {"epochs": 3, "size": [64, 96], "flip": False, "encoder": "lite1"}, "budget": "5m",
               "start_folder": "/runs/older",
               "reading": checked_reading(["kerb=1", "road=2,#ff0000"], "0,9", "fine", "nir,red")}  # fmt: skip
    words = arguments(tmp_path, tmp_path / "run", request)
    assert words[:4] == ["train", str(tmp_path), "--out", str(tmp_path / "run")]
    from pixelwise.cli.train_options import recipe_values

    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert recipe_values(sets, {}) == request["settings"]
    at = words.index("--class")
    assert words[at : at + 10] == [
        "--class", "kerb=1", "--class", "road=2,#ff0000", "--void", "0,9", "--masks", "fine", "--bands", "nir,red",
    ]  # fmt: skip
    assert words[-4:] == ["--budget", "5m", "--start-from", "/runs/older"]


def test_a_note_is_kept_and_an_empty_one_is_deleted(tmp_path: Path) -> None:
    write_note(tmp_path, "  twice the light, größer\n")
    assert note_of(tmp_path) == "twice the light, größer"
    write_note(tmp_path, " ")
    assert note_of(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_progress_is_readable_from_outside_until_the_training_ends(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    with progress_written(tmp_path, lambda *row: told.append(row)) as progress:
        progress("epoch 1", 1, 9)
        now = progress_of(tmp_path)
        assert (now["what"], now["done"], now["total"]) == ("epoch 1", 1, 9)
        progress("exporting and checking the model", 0, 0)
        assert progress_of(tmp_path)["what"].startswith("exporting")
    assert told == [("epoch 1", 1, 9), ("exporting and checking the model", 0, 0)]
    assert list(tmp_path.iterdir()) == []


def test_progress_that_cannot_be_written_stops_no_training(tmp_path: Path) -> None:
    told: list[int] = []
    with progress_written(tmp_path / "gone", lambda what, done, total: told.append(done)) as progress:
        progress("epoch 1", 3, 9)
    assert told == [3]


def test_what_runs_now_is_told_to_who_has_the_token(served_model: Any, tmp_path: Path) -> None:
    run = tmp_path / "runs/first"
    run.mkdir(parents=True)
    to_file(run / "trace.jsonl")({"event": "epoch", "epoch": 2, "seconds": 7.5, "loss": 1.0})
    (run / "recipe.toml").write_text("epochs = 20\n")
    progress = {"what": "epoch 3", "done": 40, "total": 92, "seconds": 31.5}
    (run / "progress.json").write_text(json.dumps(progress))
    settings = ServerSettings(runs=tmp_path / "runs", token="sesame", data=(tmp_path / "runs",))
    app = create_app(served_model, settings)
    runs = QuietRuns(tmp_path / "runs")
    runs.now = "first"
    app.state.pixelwise.runs = runs
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/v1/training").json() == {"proven": False, "run": None, "queued": [], "job": None}
        assert client.put("/v1/train/notes/first", json={"note": "x"}).status_code == 401
        client.headers["Authorization"] = "Bearer sesame"
        told = client.get("/v1/training").json()
        assert told["run"] == {"name": "first", **progress, "epochs_done": 2, "epochs": 20, "epoch_seconds": [7.5]}
        assert client.put("/v1/train/notes/first", json={"note": " x "}).json() == {"note": "x"}
        assert client.get("/v1/runs/first").json()["note"] == "x"
        assert client.put("/v1/train/notes/gone", json={"note": "x"}).status_code == 404
        wrong = {"name": "new", "data": "runs", "settings": {"epoch": 3}}
        assert client.post("/v1/runs", json=wrong).json()["error"]["kind"] == "recipe-invalid"
        wrong = {"name": "new", "data": "runs", "classes": ["kerb"]}
        assert client.post("/v1/runs", json=wrong).json()["error"]["kind"] == "values-invalid"
        asked = client.get("/v1/train/plan", params={"data": "runs", "void": "x"})
        assert asked.json()["error"]["kind"] == "values-invalid"
        outside = {"name": "new", "data": "runs", "below": "../..", "settings": {}}
        assert client.post("/v1/runs", json=outside).json()["error"]["kind"] == "folder-missing"
        asked = client.get("/v1/train/plan", params={"data": "runs", "settings": "[1]"})
        assert asked.status_code == 422
        assert client.get("/v1/train/plan", params={"data": "gone"}).status_code == 404


def test_a_plan_comes_with_its_reasons_and_crops_of_ones_own_images(tiny_scenes: Path, capsys: Any) -> None:
    pytest.importorskip("torch", reason="crops need torch; install pixelwise[train]")
    from pixelwise.server.plan_job import main
    from pixelwise.training.plan import plan

    main(tiny_scenes, {"epochs": 3}, {"void": ["0"]})
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    planned = next(row for row in rows if row["event"] == "plan")
    assert planned["choices"] == plan(tiny_scenes, {"epochs": 3}, void="0").to_json()["choices"]
    assert planned["recipe"]["epochs"] == 3
    crops = [row for row in rows if row["event"] == "crops"]
    assert crops
    for row in crops:
        assert [crop["epoch"] for crop in row["crops"]] == [1, 2, 2, 3]
        assert len({crop["image"] for crop in row["crops"]}) > 1
        assert all(crop["labels"].startswith("data:image/") for crop in row["crops"])


def test_data_that_cannot_be_read_end_the_plan_in_words(tmp_path: Path, capsys: Any) -> None:
    from pixelwise.server.plan_job import main

    main(tmp_path, {}, {})
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert row["event"] == "error"
    assert row["message"]
