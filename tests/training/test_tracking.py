"""What the trackers wrote, read back with their own readers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwise.errors import TrainingError, UsageError
from pixelwise.scenes.render_scene import write_scenes
from pixelwise.trace_events import read_events
from pixelwise.training.checkpoint import checkpoints
from pixelwise.training.experiment_trackers import SCALARS, TrackedRun, tracked
from pixelwise.training.recipe import Recipe
from pixelwise.training.train import train

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="install pixelwise[tracking]"
)
SummaryWriter = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
mlflow = pytest.importorskip("mlflow", reason="install pixelwise[tracking]")

TINY = Recipe(model="unet", size=(64, 64), epochs=2, batch=4, learning_rate=3e-3)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, {"train": 8, "val": 2}, height_px=64, width_px=80)
    return folder


@pytest.fixture(scope="module")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "followed"
    train(scenes, out, TINY, track=["tensorboard", "mlflow"])
    return out


def told(run: Path) -> list[dict[str, float]]:
    return [e for e in read_events(run / "trace.jsonl") if e["event"] == "epoch"]


def tensorboard_of(run: Path) -> "event_accumulator.EventAccumulator":
    reader = event_accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    return reader.Reload()


def mlflow_of(run: Path) -> tuple["mlflow.MlflowClient", str]:
    note = json.loads((run / "tracking.json").read_text())["mlflow"]
    return mlflow.MlflowClient(tracking_uri=note["uri"]), note["run_id"]


def test_tensorboard_reads_the_scores_previews_and_recipe(run: Path) -> None:
    reader = tensorboard_of(run)
    for tag, key in (("val/miou", "miou"), ("train/loss", "loss"), ("val/accuracy", "accuracy")):
        points = reader.Scalars(tag)
        assert [p.step for p in points] == [1, 2]
        assert [p.value for p in points] == pytest.approx([e[key] for e in told(run)], rel=1e-6)
    assert "iou/road" in reader.Tags()["scalars"]
    pictures = reader.Images("previews/0")
    assert [p.step for p in pictures] == [1, 2]
    shown = np.asarray(Image.open(BytesIO(pictures[-1].encoded_image_string)).convert("RGB"))
    kept = np.asarray(Image.open(run / "previews" / "epoch-0002" / "0.png").convert("RGB"))
    assert (shown == kept).all()
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    started = reader.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    content = HParamsPluginData.FromString(started)
    assert content.session_start_info.hparams["learning_rate"].number_value == TINY.learning_rate
    assert content.session_start_info.hparams["model"].string_value == "unet"


def test_mlflow_reads_the_scores_previews_and_recipe(run: Path) -> None:
    client, run_id = mlflow_of(run)
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == run.name
    assert found.data.params["learning_rate"] == str(TINY.learning_rate)
    assert set(found.data.params) == set(vars(TINY))
    for name, key in (("val/miou", "miou"), ("train/loss", "loss")):
        points = sorted(client.get_metric_history(run_id, name), key=lambda p: p.step)
        assert [p.step for p in points] == [1, 2]
        assert [p.value for p in points] == pytest.approx([e[key] for e in told(run)])
    pictures = [f.path for f in client.list_artifacts(run_id, "images") if f.path.endswith(".png")]
    assert len(pictures) == 2 * 2  # epochs × held-out images
    assert (run.parent / "mlflow.db").is_file()


@pytest.mark.slow
def test_a_killed_and_resumed_run_is_one_tracked_run_without_duplicates(scenes: Path, tmp_path: Path) -> None:
    recipe = replace(TINY, epochs=4)
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    out = tmp_path / "killed"
    command = [
        sys.executable, "-m", "pixelwise", "train", str(scenes), "--out", str(out),
        "--recipe", str(tmp_path / "recipe.toml"), "--track", "tensorboard", "--track", "mlflow",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 240
    while len(checkpoints(out / "checkpoints")) < 1 and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "model.onnx").exists()
    _, before = mlflow_of(out)
    done = train(scenes, out, resume=True)  # without naming the trackers: the run remembers them
    client, after = mlflow_of(out)
    assert before == after
    history = [e["miou"] for e in done.epochs]
    assert len(history) == 4
    points = tensorboard_of(out).Scalars("val/miou")
    assert [p.step for p in points] == [1, 2, 3, 4]
    assert [p.value for p in points] == pytest.approx(history, rel=1e-6)
    assert [p.step for p in tensorboard_of(out).Images("previews/1")] == [1, 2, 3, 4]
    logged = sorted(client.get_metric_history(after, "val/miou"), key=lambda p: p.step)
    assert [p.step for p in logged] == [1, 2, 3, 4]
    assert [p.value for p in logged] == pytest.approx(history)
    pictures = [f.path for f in client.list_artifacts(after, "images") if f.path.endswith(".png")]
    assert len(pictures) == 4 * 2
    assert client.get_run(after).info.status == "FINISHED"
    assert len(client.search_runs([client.get_run(after).info.experiment_id])) == 1


def epochs_of(run: Path, count: int) -> list[dict[str, Any]]:
    """The events of a training that never was, and its previews."""
    write_whole_preview = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    for epoch in range(1, count + 1):
        (run / "previews" / f"epoch-{epoch:04d}").mkdir(parents=True, exist_ok=True)
        write_whole_preview.save(run / "previews" / f"epoch-{epoch:04d}" / "0.png")
    numbers = dict.fromkeys(SCALARS, 0.5)
    return [
        {"event": "epoch", "epoch": e, **numbers, "miou": e / 10, "iou": {"road": e / 20, "car & van": float("nan")}}
        for e in range(1, count + 1)
    ]


def steps(run: Path, tracker: str, name: str) -> list[int]:
    if tracker == "tensorboard":
        return [p.step for p in tensorboard_of(run).Scalars(name)]
    client, run_id = mlflow_of(run)
    return [p.step for p in client.get_metric_history(run_id, name)]


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_what_a_tracker_missed_is_logged_on_resume_and_nothing_twice(tracker: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    events = epochs_of(run, 4)
    (run / "data.json").write_text(json.dumps({"root": "somewhere", "sha256": "0" * 64}))
    with tracked([tracker], TrackedRun(run, TINY, [])) as (tell,):
        tell(events[0])
    # The second epoch was saved, but the process died before the tracker heard of it; then it died within the third.
    with tracked([tracker], TrackedRun(run, TINY, events[:2])) as (tell,):
        tell(events[1])  # as from a checkpoint before
    if tracker == "tensorboard":
        torn = SummaryWriter(str(run / "tensorboard"))
        torn.add_scalar("iou/road", 0.99, 3)
        torn.add_image("previews/0", np.zeros((4, 4, 3), np.uint8), 3, dataformats="HWC")
        torn.close()
    else:
        client, run_id = mlflow_of(run)
        client.log_image(run_id, np.zeros((4, 4, 3), np.uint8), key="previews/0", step=3)
    with tracked([], TrackedRun(run, TINY, events[:2])) as (tell,):
        for event in events[2:]:
            tell(event)
        tell({"event": "stop", "reason": "finished"})
    assert steps(run, tracker, "val/miou") == [1, 2, 3, 4]
    assert steps(run, tracker, "iou/road") == [1, 2, 3, 4]
    if tracker == "tensorboard":
        assert [p.value for p in tensorboard_of(run).Scalars("iou/road")] == pytest.approx([0.05, 0.1, 0.15, 0.2])
        assert [p.step for p in tensorboard_of(run).Images("previews/0")] == [1, 2, 3, 4]
    else:
        pictures = [f.path for f in client.list_artifacts(run_id, "images") if f.path.endswith(".png")]
        assert sorted(re.search(r"step\+(\d+)", path)[1] for path in pictures) == ["1", "2", "3", "4"]  # type: ignore[index]
        assert client.get_run(run_id).info.status == "FINISHED"


def test_a_first_epoch_that_tensorboard_has_in_part_is_logged_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "data.json").write_text(json.dumps({"root": "somewhere", "sha256": "0" * 64}))
    events = epochs_of(run, 2)
    with tracked(["tensorboard"], TrackedRun(run, TINY, [])):
        torn = SummaryWriter(str(run / "tensorboard"))
        torn.add_scalar("iou/road", 0.99, 1)
        torn.close()
    with tracked([], TrackedRun(run, TINY, events)):
        pass
    assert [(p.step, p.value) for p in tensorboard_of(run).Scalars("iou/road")] == [
        (1, pytest.approx(0.05)),
        (2, pytest.approx(0.1)),
    ]


def test_an_unknown_tracker_is_refused_before_anything_is_made(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tensorboard, mlflow"):
        train(scenes, tmp_path / "run", TINY, track=["wandb"])
    assert not (tmp_path / "run").exists()


def test_a_store_that_cannot_be_written_says_how_to_go_on(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/no/such/folder/mlflow.db")
    (tmp_path / "no").write_text("a file where a folder should be")
    with pytest.raises(TrainingError, match=r"MLflow at sqlite.*--resume"):
        train(scenes, tmp_path / "run", replace(TINY, epochs=1), track=["mlflow"])
