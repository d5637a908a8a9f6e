"""Trainings that start from another run's weights, and trainings that learn from the val split too."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.errors import StoppedError, UsageError
from pixelwise.model.build_network import build
from pixelwise.model.network import ModelConfig
from pixelwise.scenes.render_scene import write_scenes
from pixelwise.trace_events import Event, read_events
from pixelwise.training.bundle_weights import folded_weights, unfold
from pixelwise.training.recipe import Recipe
from pixelwise.training.train import train

TINY = Recipe(model="unet", size=(64, 64), epochs=2, batch=4, learning_rate=3e-3)
FAST = Recipe(model="fast", size=(64, 64), small_epochs=0.0, epochs=1, batch=4)
STILL = replace(TINY, epochs=1, learning_rate=1e-12, weight_decay=0.0)  # weights stay where they began


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, {"train": 8, "val": 4}, height_px=64, width_px=80)
    return folder


@pytest.fixture(scope="module")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train(scenes, out, TINY)
    return out


def best_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "best.safetensors")


@pytest.mark.usefixtures("no_bundles")
def test_a_training_starts_from_another_runs_best_weights_and_says_so(run: Path, scenes: Path, tmp_path: Path) -> None:
    heard: list[Event] = []
    train(scenes, tmp_path / "b", STILL, start_from=run, tell=heard.append)
    theirs, ours = best_of(run), best_of(tmp_path / "b")
    for name in theirs:
        if name.endswith(("weight", "bias")):
            assert torch.allclose(theirs[name], ours[name], atol=1e-6), name
    start = next(event for event in heard if event["event"] == "start")
    assert start["run"] == str(run.resolve())
    assert start["anew"] == []
    assert json.loads((tmp_path / "b" / "data.json").read_text())["start"]["sha256"] == start["sha256"]


@pytest.mark.usefixtures("no_bundles")
def test_other_classes_start_anew_and_everything_else_is_taken(run: Path, scenes: Path, tmp_path: Path) -> None:
    other = tmp_path / "three"
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (other / split).mkdir(parents=True, exist_ok=True)
            (other / split / kind).symlink_to(scenes / split / kind)
    described = (scenes / "dataset.toml").read_text().split("[[classes]]")
    (other / "dataset.toml").write_text("[[classes]]".join([*described, '\nname = "cloud"\ncolour = [1, 2, 3]\n']))
    heard: list[Event] = []
    train(other, tmp_path / "b", STILL, start_from=run, tell=heard.append)
    start = next(event for event in heard if event["event"] == "start")
    assert start["anew"]
    assert all("classifier" in name for name in start["anew"])


@pytest.mark.usefixtures("no_bundles")
def test_a_resumed_run_keeps_its_own_start(run: Path, scenes: Path, tmp_path: Path) -> None:
    def stop_after_one(event: Event) -> None:
        if event["event"] == "checkpoint" and event["epoch"] == 1:
            raise KeyboardInterrupt

    out = tmp_path / "b"
    with pytest.raises(StoppedError):
        train(scenes, out, TINY, start_from=run, tell=stop_after_one)
    with pytest.raises(UsageError, match=r"started from .*not from"):
        train(scenes, out, resume=True, start_from=tmp_path)
    train(scenes, out, resume=True, start_from=run)
    whole = tmp_path / "whole"
    train(scenes, whole, TINY, start_from=run)
    assert (out / "checkpoints" / "best.safetensors").read_bytes() == (
        whole / "checkpoints" / "best.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("wrong", ["nothing", "bundle", "network"])
def test_what_is_no_start_is_refused_before_anything_is_made(
    wrong: str, run: Path, scenes: Path, tmp_path: Path
) -> None:
    start = {"nothing": tmp_path / "no", "bundle": run / "model.onnx", "network": run}[wrong]
    recipe = replace(TINY, model="fast", pretrained=False) if wrong == "network" else TINY
    words = {
        "network": "its model is unet",
        "bundle": "its network is unet.*Start from the run",
        "nothing": "to start from",
    }
    with pytest.raises(UsageError, match=words[wrong]):
        train(scenes, tmp_path / "out", recipe, start_from=start)
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_a_training_starts_from_a_built_in_model_and_goes_on_from_what_it_knows(tmp_path: Path, scenes: Path) -> None:
    first = train(scenes, tmp_path / "a", replace(FAST, epochs=4, learning_rate=2e-3))
    heard: list[Event] = []
    still = replace(FAST, learning_rate=1e-12, weight_decay=0.0, ema=0.0)
    train(scenes, tmp_path / "b", still, start_from=first.bundle, tell=heard.append)
    theirs, ours = (build(ModelConfig("fast", "lite0", 9)) for _ in range(2))
    theirs.load_state_dict(best_of(tmp_path / "a"))
    images = torch.rand(3, 4, 3, 64, 64).unbind()
    assert unfold(ours, folded_weights(first.bundle, "fast"), images) == []
    with torch.no_grad():
        assert torch.allclose(theirs.eval()(images[0]), ours.eval()(images[0]), atol=1e-4)
        scores = ours.train()(torch.cat(images))
    assert (scores.argmax(1) == theirs(torch.cat(images)).argmax(1)).float().mean() > 0.9, "in training too"
    start = next(event for event in heard if event["event"] == "start")
    assert (start["anew"], start["run"]) == ([], str(first.bundle.resolve()))
    train(scenes, tmp_path / "c", replace(still, size=(96, 96)), start_from="street", tell=heard.append)
    start = [event for event in heard if event["event"] == "start"][-1]
    assert start["anew"] == ["classifier.bias", "classifier.weight"]  # it has other classes
    assert start["run"].endswith("street.onnx")
    licence = read_bundle(tmp_path / "c" / "model.onnx").metadata.licence
    assert "CamVid" in licence["weights"]


@pytest.mark.parametrize("name", ["street-int8"])
def test_a_bundle_without_float_weights_is_no_start(name: str, scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="computes in int8"):
        train(scenes, tmp_path / "run", FAST, start_from=name)


def test_learning_from_val_too_sees_all_pairs_keeps_the_last_epoch_and_a_held_out_temperature(
    run: Path, scenes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "all"
    done = train(scenes, out, replace(TINY, also_val=True), start_from=run)
    assert done.trained_on_val
    assert done.best_epoch == TINY.epochs
    events = list(read_events(out / "trace.jsonl"))
    data = next(event for event in events if event["event"] == "data")
    alone = next(event for event in read_events(run / "trace.jsonl") if event["event"] == "data")
    assert sum(data["pixels"].values()) == pytest.approx(1.5 * sum(alone["pixels"].values()), rel=0.05)
    assert any("Trained on too" in note for note in data["notes"])
    metadata = read_bundle(out / "model.onnx").metadata
    assert metadata.temperature == read_bundle(run / "model.onnx").metadata.temperature
    before = read_bundle(run / "model.onnx").metadata.provenance["metrics"]
    assert metadata.provenance["metrics"] == {**before, "split": "val (before learning from it)"}
    assert set(metadata.provenance["start"]) == {"sha256", "epoch"}  # no path of this machine


def test_a_split_that_is_learnt_from_stops_nothing_early() -> None:
    with pytest.raises(UsageError, match="also_val"):
        replace(TINY, also_val=True, patience=3)
