"""Trainings from the outside: what a run directory holds, what stops a run, what resumes it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import pixelwise as pw
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.errors import (
    BundleError,
    DatasetError,
    DivergedError,
    OutputError,
    RunLockedError,
    TrainingError,
    UsageError,
)
from pixelwise.scenes.render_scene import write_scenes
from pixelwise.trace_events import Event, read_events
from pixelwise.training import step
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.export_run import export, price
from pixelwise.training.recipe import Recipe
from pixelwise.training.run_directory import locked
from pixelwise.training.train import train

TINY = Recipe(model="unet", size=(64, 64), epochs=2, batch=4, learning_rate=3e-3)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, {"train": 8, "val": 4, "test": 4}, height_px=64, width_px=80)
    return folder


@pytest.fixture(scope="session")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train(scenes, out, TINY)
    return out


def copy_of(scenes: Path, to: Path) -> Path:
    import shutil

    return Path(shutil.copytree(scenes, to))


def untimed(state: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds beside its tensors, without what the clock said."""
    clock = ("seconds", "images_per_second", "used_s")
    history = [{key: value for key, value in event.items() if key not in clock} for event in state["history"]]
    return {**{key: value for key, value in state.items() if key not in clock}, "history": history}


def test_a_run_directory_holds_what_the_design_says(run: Path) -> None:
    assert Recipe.from_file(run / "recipe.toml") == TINY
    events = list(read_events(run / "trace.jsonl"))
    assert [e["event"] for e in events if e["event"] != "flow"] == [
        "data", "epoch", "checkpoint", "epoch", "checkpoint", "export", "stop",
    ]  # fmt: skip
    flows = [e for e in events if e["event"] == "flow"]
    assert [e["stage"] for e in flows] == ["input image", "preprocess", "model", "pixel-wise classification"]
    assert [e["shape"] for e in flows] == [[64, 80, 3], [64, 64, 3], [64, 64, 9], [64, 64]]
    assert len(checkpoints(run / "checkpoints")) == 2
    assert sorted(p.name for p in (run / "previews").iterdir()) == ["epoch-0001", "epoch-0002"]
    assert len(list((run / "previews" / "epoch-0001").glob("*.png"))) == 4
    bundle = read_bundle(run / "model.onnx")
    assert bundle.metadata.classes.names[0] == "sky"
    epochs = [e for e in events if e["event"] == "epoch"]
    best = max(epochs, key=lambda e: e["miou"])
    assert bundle.metadata.provenance["metrics"]["epoch"] == best["epoch"]
    assert bundle.metadata.provenance["metrics"]["miou"] == pytest.approx(best["miou"])
    assert bundle.metadata.provenance["data"]["image_size"] == [64, 80]  # how large tiles of a larger image should be


def test_every_epoch_says_what_people_ask_for(run: Path) -> None:
    for event in (e for e in read_events(run / "trace.jsonl") if e["event"] == "epoch"):
        for key in ("loss", "val_loss", "accuracy", "miou", "seconds", "images_per_second", "learning_rate"):
            assert event[key] > 0, key
        assert set(event["iou"]) == set(event["true"])
        assert event["observation"]


@pytest.mark.usefixtures("no_bundles")
def test_training_learns(scenes: Path, tmp_path: Path) -> None:
    done = train(scenes, tmp_path / "run", replace(TINY, epochs=12, light=0.0))
    assert done.epochs[-1]["loss"] < 0.75 * done.epochs[0]["loss"]
    commonest = max(done.epochs[-1]["true"].values())
    assert done.epochs[-1]["accuracy"] > commonest + 0.1  # better than "the commonest class everywhere"


@pytest.mark.usefixtures("no_bundles")
def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(scenes: Path, tmp_path: Path, run: Path) -> None:
    train(scenes, tmp_path / "again", TINY)
    train(scenes, tmp_path / "other", replace(TINY, seed=1))
    first, again, other = (
        load_file(checkpoints(folder / "checkpoints")[-1]) for folder in (run, tmp_path / "again", tmp_path / "other")
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.usefixtures("no_bundles")
@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.long)])
def test_a_killed_run_resumes_to_the_same_bytes(scenes: Path, tmp_path: Path, workers: int) -> None:
    recipe = replace(TINY, epochs=4, workers=workers)
    train(scenes, tmp_path / "whole", recipe)
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    command = [
        sys.executable, "-m", "pixelwise", "train", str(scenes), "--out", str(tmp_path / "killed"),
        "--recipe", str(tmp_path / "recipe.toml"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    while not checkpoints(tmp_path / "killed" / "checkpoints") and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "model.onnx").exists()
    train(scenes, tmp_path / "killed", resume=True)
    whole, resumed = (checkpoints(tmp_path / name / "checkpoints")[-1] for name in ("whole", "killed"))
    tensors, state = load_checkpoint(whole)
    again, state_again = load_checkpoint(resumed)
    assert tensors.keys() == again.keys()
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)
    assert untimed(state) == untimed(state_again)


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(replace(TINY, epochs=500).to_toml())
    command = [sys.executable, "-m", "pixelwise", "train", str(scenes), "--out", str(tmp_path / "run"),
               "--recipe", str(tmp_path / "recipe.toml")]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not checkpoints(tmp_path / "run" / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert list(read_events(tmp_path / "run" / "trace.jsonl"))[-1]["event"] == "stop"


def test_a_finished_run_is_not_overwritten_and_an_empty_one_not_resumed(
    scenes: Path, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--resume"):
        train(scenes, run, TINY)
    with pytest.raises(UsageError, match="no checkpoint"):
        train(scenes, tmp_path / "nothing", resume=True)
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(UsageError, match="epochs"):
        train(scenes, run, replace(TINY, epochs=9), resume=True)


@pytest.mark.usefixtures("no_bundles")
def test_changed_data_are_noticed_on_resume(scenes: Path, tmp_path: Path) -> None:
    data = copy_of(scenes, tmp_path / "data")
    train(data, tmp_path / "run", replace(TINY, epochs=1))
    image = next((data / "train" / "images").iterdir())
    Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    with pytest.raises(UsageError, match="changed"):
        train(data, tmp_path / "run", resume=True)


@pytest.mark.usefixtures("no_bundles")
def test_two_trainings_in_one_directory(scenes: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(RunLockedError, match="another training"):
        train(scenes, tmp_path / "run", TINY)
    train(scenes, tmp_path / "run", replace(TINY, epochs=1))  # the lock is gone with its holder


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = step.segmentation_loss
    calls = 0

    def fails_in_the_second_epoch(*arguments: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        loss: torch.Tensor = real(*arguments)  # type: ignore[arg-type]
        return loss * float("nan") if calls == 4 else loss

    monkeypatch.setattr(step, "segmentation_loss", fails_in_the_second_epoch)
    with pytest.raises(DivergedError, match=r"epoch 2, step 4.*learning rate"):
        train(scenes, tmp_path / "run", TINY)
    _, state = load_checkpoint(checkpoints(tmp_path / "run" / "checkpoints")[-1])
    assert state["epoch"] == 1
    assert list(read_events(tmp_path / "run" / "trace.jsonl"))[-1]["reason"] == "DivergedError"
    assert not (tmp_path / "run" / "model.onnx").exists()


@pytest.mark.usefixtures("no_bundles")
def test_every_problem_of_the_data_is_named_at_once(scenes: Path, tmp_path: Path) -> None:
    data = copy_of(scenes, tmp_path / "data")
    masks = sorted((data / "train" / "masks").iterdir())
    masks[0].unlink()
    masks[1].write_bytes(b"")
    Image.fromarray(np.full((64, 80), 77, np.uint8)).save(masks[2])
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(masks[3])
    with pytest.raises(DatasetError) as caught:
        train(data, tmp_path / "run", TINY)
    for mask in masks[1:4]:
        assert mask.name in str(caught.value)
    assert masks[0].stem in str(caught.value)
    assert not (tmp_path / "run" / "recipe.toml").exists()
    done = train(data, tmp_path / "skipped", replace(TINY, epochs=1), skip_bad=True)
    data_event = next(e for e in read_events(done.run / "trace.jsonl") if e["event"] == "data")
    assert data_event["pairs"]["train"] == 4


@pytest.mark.usefixtures("no_bundles")
def test_a_class_that_shrinks_away_is_warned_about_by_name(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "masks"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for index in range(count):
            mask = np.zeros((256, 256), np.uint8)
            mask[:, 128:] = 1
            mask[5, 5] = 2  # one pixel, which a 32×32 network does not see
            image = np.random.default_rng(index).integers(0, 255, (256, 256, 3), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "data" / split / "images" / f"{index}.png")
            Image.fromarray(mask).save(tmp_path / "data" / split / "masks" / f"{index}.png")
    (tmp_path / "data" / "dataset.toml").write_text(
        "".join(f'[[classes]]\nname = "{n}"\n' for n in ("left", "right", "speck"))
    )
    events = []
    train(tmp_path / "data", tmp_path / "run", replace(TINY, size=(32, 32), epochs=1), tell=events.append)
    (data_event,) = (e for e in events if e["event"] == "data")
    assert any("speck" in warning for warning in data_event["warnings"])
    assert data_event["pixels"]["speck"] == 0


def test_an_output_folder_that_cannot_be_written(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Choose another --out"):
        train(scenes, tmp_path / "file" / "run", TINY)


def test_a_damaged_checkpoint_is_named(tmp_path: Path, run: Path) -> None:
    whole = checkpoints(run / "checkpoints")[-1].read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("foreign", b"hello" * 100)):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(TrainingError, match="not a complete checkpoint"):
            load_checkpoint(path)


def test_export_writes_the_same_bundle_again(run: Path, tmp_path: Path) -> None:
    again = export(run, tmp_path / "again.onnx")
    assert read_bundle(again).digest == read_bundle(run / "model.onnx").digest
    with pytest.raises(UsageError, match="not a run directory"):
        export(tmp_path, tmp_path / "x.onnx")


@pytest.mark.usefixtures("no_bundles")
def test_no_val_split_holds_out_a_recorded_part(scenes: Path, tmp_path: Path) -> None:
    import shutil

    data = copy_of(scenes, tmp_path / "data")
    shutil.rmtree(data / "val")
    done = train(data, tmp_path / "run", replace(TINY, epochs=1))
    recorded = json.loads((done.run / "data.json").read_text())
    names = [{name for name, *_ in recorded["splits"][split]} for split in ("train", "val")]
    assert names[0]
    assert names[1]
    assert not names[0] & names[1]
    assert any("held out" in note or "split" in note.lower() for note in recorded["notes"])


def test_export_measures_what_it_ships(run: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    out = export(run, tmp_path / "small.onnx", weights="int8", max_drop=100, tell=events.append)
    facts = read_bundle(out).metadata.provenance
    assert facts["reduced"]["weights"] == "int8"
    assert facts["metrics"]["miou"] == pytest.approx(facts["reduced"]["miou_after"], abs=1e-4)
    assert events[-1]["reduced"] == facts["reduced"]
    full = read_bundle(run / "model.onnx").metadata.provenance["metrics"]["miou"]
    assert facts["reduced"]["miou_before"] == pytest.approx(full, abs=1e-4)
    assert out.stat().st_size < (run / "model.onnx").stat().st_size / 3
    pw.load(out, threads=1)  # the golden labels are those of the small weights


@pytest.mark.parametrize("policy", [pytest.param("fit", marks=pytest.mark.slow), "native"])
def test_small_weights_where_the_size_follows_the_image(scenes: Path, tmp_path: Path, policy: str) -> None:
    done = train(scenes, tmp_path / "run", replace(TINY, epochs=1, policy=policy))  # type: ignore[arg-type]
    out = export(done.run, tmp_path / "small.onnx", weights="int8", max_drop=100)
    facts = read_bundle(out).metadata.provenance
    assert facts["metrics"]["miou"] == pytest.approx(facts["reduced"]["miou_before"], abs=0.05)
    assert facts["metrics"]["miou"] == pytest.approx(pw.evaluate(out, scenes, split="val").to_json()["miou"], abs=0.01)


def test_a_drop_past_the_limit_is_refused_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"loses 1.00 points of mean IoU .* at most 0.5 .* --max-drop"):
        price(0.70, 0.69, 0.5)
    assert price(0.70, 0.71, 0.0)["drop_points"] == -1.0
    with pytest.raises(BundleError, match="nan"):
        price(0.7, float("nan"), 0.5)
    with pytest.raises(BundleError, match="loses"):
        export(run, tmp_path / "small.onnx", weights="int8", max_drop=-200)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="float32, float16, int8"):
        export(run, tmp_path / "small.onnx", weights="int4")  # type: ignore[arg-type]


def test_int8_is_calibrated_on_training_images_and_measured(run: Path, tmp_path: Path) -> None:
    out = export(run, tmp_path / "int8.onnx", int8=True, max_drop=100)
    facts = read_bundle(out).metadata.provenance
    assert facts["reduced"]["computes"] == "int8"
    assert facts["reduced"]["calibration_images"] == 8
    assert facts["metrics"]["miou"] == pytest.approx(facts["reduced"]["miou_after"], abs=1e-4)
    pw.load(out, threads=1)  # the golden labels are those of the int8 graph
    with pytest.raises(UsageError, match="leave out weights='float16', or int8"):
        export(run, tmp_path / "both.onnx", int8=True, weights="float16")
