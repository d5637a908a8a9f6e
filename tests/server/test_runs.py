"""Runs: what is told of them, and what the page's wishes become on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from fastapi.testclient import TestClient

from pixelwise.server import training_job
from pixelwise.server.error_responses import RequestError
from pixelwise.server.held_out_scores import held_out_scores
from pixelwise.server.run_list import Runs, read_from
from pixelwise.server.sample_images import Samples
from pixelwise.trace_events import to_file


def epoch(number: int) -> dict[str, Any]:
    return {"event": "epoch", "epoch": number, "loss": 1.0 / number, "iou": {"road": 0.5}, "observation": "improving"}


def test_only_whole_lines_are_read_and_epochs_are_slim(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    to_file(trace)(epoch(1))
    whole = trace.stat().st_size
    with trace.open("a") as file:
        file.write('{"event": "epo')
    events, offset = read_from(trace, 0)
    assert [event["epoch"] for event in events] == [1]
    assert "iou" not in events[0]
    assert offset == whole
    assert read_from(trace, offset) == ([], offset)
    with trace.open("a") as file:
        file.write('ch", "epoch": 2}\n')
    assert [event["epoch"] for event in read_from(trace, offset)[0]] == [2]


def test_a_finished_run_is_streamed_and_ends(client: TestClient, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    tell = to_file(run / "trace.jsonl")
    for number in (1, 2, 3):
        tell(epoch(number))
    text = client.get("/v1/runs/one/events").text
    first = next(line for line in text.splitlines() if line.startswith("data: "))
    assert [event["epoch"] for event in json.loads(first.removeprefix("data: "))] == [1, 2, 3]
    assert "event: end" in text
    place = next(line for line in text.splitlines() if line.startswith("id: ")).removeprefix("id: ")
    again = client.get("/v1/runs/one/events", headers={"Last-Event-ID": place}).text
    assert "event: trace" not in again
    assert client.get("/v1/runs/one/epochs/2").json()["iou"] == {"road": 0.5}
    assert client.get("/v1/runs/one/epochs/9").status_code == 404


def test_ten_thousand_epochs_are_one_message_of_bearable_size(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    line = json.dumps({**epoch(1), "predicted": {f"class {i}": 0.1 for i in range(30)}})
    trace.write_text(f"{line}\n" * 10_000)
    events, _ = read_from(trace, 0)
    assert len(events) == 10_000
    assert len(json.dumps(events)) < 2_000_000


def test_a_wish_becomes_a_command_line(tmp_path: Path) -> None:
    request = {"size": [64, 96], "encoder": "unet", "epochs": 3, "augmentation": False}
    arguments = training_job.arguments(tmp_path / "data", tmp_path / "run", request)
    assert arguments[:4] == ["train", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    assert arguments[arguments.index("--size") + 1] == "64x96"
    assert arguments[arguments.index("--model") + 1] == "unet"
    assert "pretrained=false" in arguments
    assert "flip=false" in arguments
    timed = training_job.arguments(tmp_path / "data", tmp_path / "run", {**request, "budget": "90s"})
    assert timed == ["train", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--budget", "90s"]
    again = training_job.arguments(tmp_path / "data", tmp_path / "run", {**request, "resume": True})
    assert again == ["train", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--resume"]


def test_only_what_was_stopped_can_go_on(client: TestClient, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    to_file(run / "trace.jsonl")(epoch(1))
    assert client.post("/v1/runs/one/resume").status_code == 409
    assert client.get("/v1/runs/one").json()["can_resume"] is False


def test_one_training_at_a_time_and_no_foreign_folder(client: TestClient) -> None:
    missing = client.post("/v1/runs", json={"name": "one", "folder": "/no/such/folder"})
    assert missing.status_code == 422
    assert "/no/such" not in missing.text
    assert client.post("/v1/runs", json={"name": "one", "size": [100, 100]}).status_code == 422
    timeless = client.post("/v1/runs", json={"name": "one", "budget": "soon"})
    assert timeless.status_code == 422
    assert "such as 30m" in timeless.json()["error"]["message"]
    assert client.post("/v1/runs/one/stop").status_code == 404
    assert client.get("/v1/runs").json()["runs"] == []


def test_scores_on_rendered_scenes_add_up(served_model: Any, tmp_path: Path) -> None:
    found = held_out_scores(served_model, Samples(served_model, None))
    assert found is not None
    matrix = found["matrix"]
    total = sum(map(sum, matrix))
    assert found["scores"]["pixels"] == total
    assert found["boundary"]["pixels"] + found["boundary"]["interior_pixels"] == total
    right = sum(matrix[i][i] for i in range(len(matrix)))
    near = found["boundary"]["accuracy"] * found["boundary"]["pixels"]
    far = found["boundary"]["interior_accuracy"] * found["boundary"]["interior_pixels"]
    assert abs(near + far - right) < 1
    assert Runs(tmp_path, None).names() == []


def test_without_torch_the_page_says_what_to_install(client: TestClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    told = client.get("/v1/runs").json()
    assert told["can_train"] is False
    assert told["install"] == "pip install 'pixelwise[train]'"
    refused = client.post("/v1/runs", json={"name": "one"})
    assert refused.status_code == 409
    assert refused.json()["error"]["kind"] == "torch-missing"
    assert client.get("/v1/runs").json()["runs"] == []


def test_what_is_told_names_no_folder_and_what_is_not_known_passes(tmp_path: Path) -> None:
    tell = to_file(tmp_path / "trace.jsonl")
    tell({"event": "start", "run": "/srv/runs/older", "epoch": 3, "sha256": "0" * 64, "temperature": 1.2, "anew": []})
    tell({"event": "data", "root": "/srv/data", "warnings": ["class car has no pixels"], "problems": [{"sample": "a"}]})
    tell({"event": "of-a-later-version", "value": 7})
    tell(
        {
            "event": "stop",
            "reason": "DatasetError",
            "message": "/srv/data/train/a b.png: 3 and/or 4 in ./x. See http://x/y",
        }
    )
    start, data, later, stop = read_from(tmp_path / "trace.jsonl", 0)[0]
    assert start["run"] == "older"
    assert start["says"] == "Initialised with the weights of the run older after epoch 3."
    assert data["warnings"] == ["class car has no pixels"]
    assert later["value"] == 7
    assert stop["message"] == "a b.png: 3 and/or 4 in ./x. See http://x/y"
    assert "/srv" not in json.dumps([start, data, later, stop])


def test_of_a_training_that_a_signal_ended_its_trace_tells_and_not_its_log(tmp_path: Path) -> None:
    """Whatever it printed last is no reason then."""
    runs = Runs(tmp_path, None)
    (tmp_path / "one").mkdir()
    (tmp_path / "one/page.log").write_text("3 warnings\nno training pairs in /srv/data/train\n")
    for ending, told in (
        ("kill -TERM $$", None),
        ("kill -KILL $$", None),
        ("exit 143", None),
        ("exit 1", "no training pairs in train"),
    ):
        runs.started["one"] = subprocess.Popen(["sh", "-c", ending])
        runs.started["one"].wait()
        assert runs.failure("one") == told, ending


def process_that_waits() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_stale_number_of_a_process_is_never_signalled(client: TestClient, tmp_path: Path) -> None:
    """Its training has ended, and the number is another process's now."""
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "trace.jsonl").touch()
    with process_that_waits() as other:
        for told in (
            {"pid": other.pid},
            {"process": {"pid": other.pid, "started": psutil.Process(other.pid).create_time() - 100}},
            {"process": {"pid": other.pid, "started": "x"}},
            {"process": {"pid": -1, "started": 0}},
            {"process": [other.pid]},
        ):
            (run / "page.json").write_text(json.dumps(told))
            (run / "lock").write_text(json.dumps({"pid": other.pid, "started": 1.0}))
            assert client.get("/v1/runs/one").json()["running"] is False
            assert client.post("/v1/runs/one/stop").status_code == 409
        assert other.poll() is None
        other.kill()


def test_a_training_that_another_server_started_is_stopped_by_what_its_lock_says(
    client: TestClient, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "trace.jsonl").touch()
    code = (
        "import sys, time; from pathlib import Path; from pixelwise.training.run_directory import locked\n"
        "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(run)], stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        assert training.stdout.readline() == "locked\n"
        assert client.get("/v1/runs/one").json()["running"] is True
        assert client.post("/v1/runs", json={"name": "two"}).json()["error"]["kind"] == "training-already"
        assert client.post("/v1/runs/one/stop").status_code == 200
        assert training.wait(60) != 0
    assert client.get("/v1/runs/one").json()["running"] is False


def test_of_many_that_start_a_training_at_once_one_does(tmp_path: Path, monkeypatch: Any) -> None:
    """Within one server, and between two that share a folder."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(_: list[str], **options: Any) -> subprocess.Popen[bytes]:
        started.append(real([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return started[-1]

    monkeypatch.setattr("pixelwise.server.run_list.subprocess.Popen", popen)
    servers = Runs(tmp_path / "runs", None), Runs(tmp_path / "runs", None)

    def start(number: int) -> str:
        try:
            servers[number % 2].start(f"run-{number}", {})
        except RequestError as refused:
            return refused.kind
        return "started"

    with ThreadPoolExecutor(8) as pool:
        told = sorted(pool.map(start, range(8)))
    for process in started:
        process.kill()
        process.wait()
    assert told == ["started", *["training-already"] * 7]
    assert len(started) == 1
