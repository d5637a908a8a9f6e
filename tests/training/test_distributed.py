"""Several processes: real ones, started by torchrun, that talk over the loopback."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from several import train_in_float64

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.prediction.load_model import load
from pixelwise.scenes.render_scene import write_scenes
from pixelwise.trace_events import read_events
from pixelwise.training.batch_order import Order
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.recipe import Recipe

TINY = Recipe(model="unet", size=(64, 64), epochs=2, batch=4, learning_rate=3e-3)
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
DEADLINE_S = 1500  # only so that nothing waits for ever: a busy machine takes minutes to start a process


@pytest.fixture(scope="session")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of which some are void for the most part, so that processes' shares of a batch weigh differently."""
    folder = tmp_path_factory.mktemp("uneven")
    write_scenes(folder, {"train": 8, "val": 6}, height_px=64, width_px=80)
    for number, path in enumerate(sorted((folder / "train" / "masks").iterdir())):
        if number % 3:
            with Image.open(path) as mask:
                ids = np.array(mask)
            ids[: 60 if number % 3 == 1 else 63] = 255
            Image.fromarray(ids).save(path)
    return folder


def recipe_file(folder: Path, recipe: Recipe) -> Path:
    path = folder / "recipe.toml"
    path.write_text(recipe.to_toml())
    return path


def pixelwise_train(data: Path, out: Path, recipe: Path, *launcher: str) -> list[str]:
    return [*launcher, "-m", "pixelwise", "train", str(data), "--out", str(out), "--recipe", str(recipe)]


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A torchrun that does not outlive a test that fails."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as torchrun:
        try:
            yield torchrun
        finally:
            if torchrun.poll() is None:
                torchrun.terminate()  # it ends its processes


def wait_for_a_checkpoint(run: Path, torchrun: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not checkpoints(run / "checkpoints"):
        assert torchrun.poll() is None, torchrun.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def epochs_of(run: Path) -> list[dict[str, Any]]:
    return [event for event in read_events(run / "trace.jsonl") if event["event"] == "epoch"]


def test_every_sample_is_learnt_from_once_whatever_the_number_of_processes() -> None:
    for parts in (1, 2, 3, 4):
        orders = [Order(24, 12, seed=5), *(Order(24, 12, 5, part=part, parts=parts) for part in range(parts))]
        for order in orders:
            order.epoch = 3
        for whole, *shares in zip(*orders, strict=True):
            assert sorted(whole) == sorted(key for share in shares for key in share)
            assert {len(share) for share in shares} == {12 // parts}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "model", [pytest.param("unet", marks=pytest.mark.long), pytest.param("fast", marks=pytest.mark.slow)]
)
def test_two_processes_learn_what_one_learns(uneven: Path, tmp_path: Path, model: str) -> None:
    recipe = recipe_file(tmp_path, replace(TINY, model=model))
    script = str(Path(__file__).with_name("several.py"))
    train_in_float64(uneven, tmp_path / "one", recipe)
    subprocess.run([*TWO, script, str(uneven), str(tmp_path / "two"), str(recipe)], check=True, timeout=DEADLINE_S)
    (one, state_one), (two, state_two) = (
        load_checkpoint(checkpoints(tmp_path / name / "checkpoints")[-1]) for name in ("one", "two")
    )
    assert one.keys() == two.keys()
    for name, expected in one.items():
        assert torch.allclose(two[name].double(), expected.double(), rtol=1e-6, atol=1e-9), name
    assert state_one["step"] == state_two["step"] == 4
    for expected_epoch, epoch in zip(epochs_of(tmp_path / "one"), epochs_of(tmp_path / "two"), strict=True):
        for key in ("loss", "val_loss", "train_accuracy", "accuracy", "miou"):
            assert epoch[key] == pytest.approx(expected_epoch[key], rel=1e-9), key
    previews = [sorted((tmp_path / name / "previews").rglob("*.png")) for name in ("one", "two")]
    assert len(previews[0]) == len(previews[1]) == 8
    for expected_preview, preview in zip(*previews, strict=True):
        assert preview.read_bytes() == expected_preview.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_killed_worker_is_started_again_and_the_training_goes_on(uneven: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = pixelwise_train(uneven, run, recipe_file(tmp_path, replace(TINY, epochs=6)), *TWO, "--max-restarts", "1")
    with started(command) as torchrun:
        wait_for_a_checkpoint(run, torchrun)
        second = next(p for p in psutil.Process(torchrun.pid).children() if p.environ().get("RANK") == "1")
        second.kill()
        out, errors = torchrun.communicate(timeout=DEADLINE_S)
    assert torchrun.returncode == 0, errors
    events = list(read_events(run / "trace.jsonl"))
    assert [e["epoch"] for e in events if e["event"] == "epoch"][-1] == 6
    assert len([e for e in events if e["event"] == "data"]) == 2  # it was started twice
    first_again = [n for n, e in enumerate(events) if e["event"] == "data"][1]
    assert next(e for e in events[first_again:] if e["event"] == "epoch")["epoch"] > 1  # and did not begin anew
    assert events[-1]["reason"] == "finished"
    assert read_bundle(run / "model.onnx").metadata.provenance["metrics"]["images"] == 6
    assert load(run).predict(next((uneven / "val" / "images").iterdir())).labels.shape == (64, 80)
    assert out.count("best epoch") == 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_an_error_in_one_process_ends_all_with_one_message(uneven: Path, tmp_path: Path) -> None:

    data = Path(shutil.copytree(uneven, tmp_path / "data"))
    run = tmp_path / "run"
    recipe = recipe_file(tmp_path, replace(TINY, epochs=500, cache_mb=0))  # each image is read anew every time
    with started(pixelwise_train(data, run, recipe, *TWO)) as torchrun:
        wait_for_a_checkpoint(run, torchrun)
        lost = next((data / "train" / "images").iterdir())
        lost.unlink()
        _, errors = torchrun.communicate(timeout=DEADLINE_S)
    assert torchrun.returncode == 1
    ours = [line for line in errors.splitlines() if line.startswith("pixelwise: ")]
    assert len(ours) == 1, errors
    assert lost.name in ours[0]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sigterm_stops_all_after_the_same_step_and_resume_goes_on(uneven: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = recipe_file(tmp_path, replace(TINY, epochs=16))
    with started(pixelwise_train(uneven, run, recipe, *TWO)) as torchrun:
        wait_for_a_checkpoint(run, torchrun)
        second = next(p for p in psutil.Process(torchrun.pid).children() if p.environ().get("RANK") == "1")
        second.send_signal(signal.SIGTERM)  # only to one of them: all agree
        _, errors = torchrun.communicate(timeout=DEADLINE_S)
    assert len([line for line in errors.splitlines() if "--resume" in line]) == 1, errors
    last = list(read_events(run / "trace.jsonl"))[-1]
    assert last["reason"] == "SIGTERM"
    _, state = load_checkpoint(checkpoints(run / "checkpoints")[-1])
    assert state["step"] == last["step"]
    resumed = subprocess.run(
        [*pixelwise_train(uneven, run, recipe, *TWO), "--resume"], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert resumed.returncode == 0, resumed.stderr
    assert [event["epoch"] for event in epochs_of(run)] == list(range(1, 17))
    assert (run / "model.onnx").exists()
