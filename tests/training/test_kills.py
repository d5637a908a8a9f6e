"""Trainings killed at any moment, also within every call that writes, end with the same bytes as one left alone."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from faulty import Launcher

from pixelwise.trace_events import read_events
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.recipe import Recipe

CLOCK = ("seconds", "images_per_second", "used_s", "time")
TINY = Recipe(model="unet", size=(32, 32), epochs=2, batch=2, learning_rate=3e-3)  # four steps an epoch


class Kept:
    """What a run came to: all that must not depend on how often it was killed."""

    def __init__(self, run: Path) -> None:
        self.last = checkpoints(run / "checkpoints")[-1]
        tensors, state = load_checkpoint(self.last)
        self.tensors = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
        self.state = without_clock(state)
        self.best = (run / "checkpoints" / "best.safetensors").read_bytes()
        self.previews = {
            str(path.relative_to(run)): path.read_bytes() for path in sorted((run / "previews").glob("*/*"))
        }
        self.recipe = (run / "recipe.toml").read_text()
        self.epochs = [without_clock(e) for e in read_events(run / "trace.jsonl") if e["event"] == "epoch"]
        self.ended = list(read_events(run / "trace.jsonl"))[-1]["reason"]
        self.bundle = (run / "model.onnx").read_bytes() if (run / "model.onnx").exists() else b""


def without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_clock(inner) for key, inner in value.items() if key not in CLOCK}
    return [without_clock(inner) for inner in value] if isinstance(value, list) else value


def require_same(run: Path, whole: Kept, what: object) -> None:
    now = Kept(run)
    for part, value in vars(whole).items():
        if part != "last":
            assert getattr(now, part) == value, f"{part} differs after {what}"
    assert not list(run.rglob("*.part")), f"half a file is left after {what}"


class Case:
    """A training that can be started again and again."""

    def __init__(self, launcher: Launcher, scenes: Path, folder: Path, recipe: Recipe, **request: Any) -> None:
        self.launcher, self.scenes, self.folder = launcher, scenes, folder
        self.request: dict[str, Any] = {"export": False, **request}
        self.recipe = folder / "wanted.toml"
        self.recipe.write_text(recipe.to_toml())

    def go(self, run: Path, **request: Any) -> tuple[int, str, float]:
        """Start the run, or go on with it where it holds a checkpoint."""
        more = ["--resume"] if checkpoints(run / "checkpoints") else ["--recipe", self.recipe]
        return self.launcher.run("train", self.scenes, "--out", run, *more, out=run, **{**self.request, **request})

    def whole(self) -> tuple[Kept, list[str], float]:
        """The run that is left alone, the calls that it made, and how long it took."""
        run, calls = self.folder / "whole", self.folder / "calls.json"
        code, printed, seconds = self.go(run, calls=str(calls))
        assert code == 0, printed
        return Kept(run), json.loads(calls.read_text()), seconds

    def kill_at(self, calls: list[str], numbers: list[int], whole: Kept) -> None:
        for number in numbers:
            run = self.folder / f"call-{number}"
            code, printed, _ = self.go(run, fault={"call": number})
            assert code == -9, f"call {number}, {calls[number - 1]}: {printed}"
            code, printed, _ = self.go(run)
            assert code == 0, f"call {number}, {calls[number - 1]}: {printed}"
            require_same(run, whole, f"a kill at call {number}: {calls[number - 1]}")


@pytest.mark.long
def test_killed_at_every_call_of_a_checkpoint_write(launcher: Launcher, tiny_scenes: Path, tmp_path: Path) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY, save_every_s=0)
    whole, calls, _ = case.whole()
    last = [number for number, call in enumerate(calls, 1) if "step-0000008" in call]
    first, end = last[0], last[-1] + 2  # then the folder is opened and synced
    kinds = [call.partition(" ")[0] for call in calls[first - 1 : end]]
    assert kinds == ["open", "write", "fsync", "replace", "open", "fsync"]
    removals = [number for number, call in enumerate(calls, 1) if call.startswith("unlink") and number > end]
    case.kill_at(calls, [*range(first, end + 1), *removals], whole)


def test_a_killed_run_whose_progress_is_left_over_resumes_and_removes_it(
    launcher: Launcher, tiny_scenes: Path, tmp_path: Path
) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY)
    whole, _, _ = case.whole()
    run = tmp_path / "run"
    assert case.go(run, fault={"step": 6, "then": "SIGKILL"})[0] == -9
    assert json.loads((run / "progress.json").read_text())["what"] == "epoch 2"
    (run / ".progress.json.part").write_text('{"what": "epo')  # as if killed while writing it
    code, printed, _ = case.go(run)
    assert code == 0, printed
    require_same(run, whole, "killed beside its progress")
    assert not [path for path in run.iterdir() if "progress" in path.name]


def test_killed_at_random_moments_again_and_again(launcher: Launcher, tiny_scenes: Path, tmp_path: Path) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY, save_every_s=0)
    whole, _, seconds = case.whole()
    kill_again_and_again(case, whole, seconds, random.Random(0), 3)


def kill_again_and_again(case: Case, whole: Kept, seconds: float, rng: random.Random, kills: int) -> None:
    run = case.folder / f"moments-{rng.random()}"
    moments = [rng.uniform(0.2, 1) * seconds for _ in range(kills)]
    for moment in moments:
        code, printed, _ = case.go(run, kill_after_s=moment)
        assert code in (-9, 0), printed
    code, printed, _ = case.go(run)
    assert code == 0, printed
    require_same(run, whole, f"kills after {moments} s")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_in_the_middle_of_an_epoch_keeps_every_step(
    launcher: Launcher, tiny_scenes: Path, tmp_path: Path, name: str, code: int
) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY)
    whole, _, _ = case.whole()
    run = tmp_path / "run"
    got, printed, _ = case.go(run, fault={"step": 6, "then": name})
    assert got == code, printed
    assert f"pixelwise train {tiny_scenes} --out {run} --resume" in printed
    assert "Traceback" not in printed
    _, state = load_checkpoint(checkpoints(run / "checkpoints")[-1])
    assert (state["epoch"], state["step"], state["so_far"]["steps"]) == (1, 6, 2)
    stop = list(read_events(run / "trace.jsonl"))[-1]
    assert stop["event"] == "stop"
    assert stop["reason"] == {"SIGTERM": "SIGTERM", "SIGINT": "KeyboardInterrupt"}[name]
    got, printed, _ = case.go(run)
    assert got == 0, printed
    require_same(run, whole, name)


def test_a_signal_after_the_last_step_keeps_the_epoch_for_its_validation(
    launcher: Launcher, tiny_scenes: Path, tmp_path: Path
) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY)
    whole, _, _ = case.whole()
    run = tmp_path / "run"
    got, printed, _ = case.go(run, fault={"step": 4, "then": "SIGTERM"})
    assert got == 143, printed
    _, state = load_checkpoint(checkpoints(run / "checkpoints")[-1])
    assert (state["epoch"], state["so_far"]["steps"]) == (0, 4)
    assert case.go(run)[0] == 0
    require_same(run, whole, "a stop before validation")


def test_a_signal_to_the_whole_group_ends_workers_and_keeps_every_step(
    launcher: Launcher, tiny_scenes: Path, tmp_path: Path
) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY)
    whole, _, _ = case.whole()
    with_workers = tmp_path / "workers"
    with_workers.mkdir()
    workers = Case(
        launcher, tiny_scenes, with_workers, Recipe.from_toml(TINY.to_toml().replace("workers = 0", "workers = 2"))
    )
    run = tmp_path / "run"
    got, printed, _ = workers.go(run, fault={"step": 3, "then": "group"})
    assert got == 143, printed
    assert load_checkpoint(checkpoints(run / "checkpoints")[-1])[1]["step"] == 3
    assert workers.go(run)[0] == 0
    assert Kept(run).tensors == whole.tensors  # how many workers prepare batches changes nothing


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_every_call_of_a_run(launcher: Launcher, tiny_scenes: Path, tmp_path: Path, workers: int) -> None:
    recipe = Recipe.from_toml(TINY.to_toml().replace("workers = 0", f"workers = {workers}"))
    case = Case(launcher, tiny_scenes, tmp_path, recipe, save_every_s=0)
    whole, calls, _ = case.whole()
    assert len(calls) > 100
    case.kill_at(calls, list(range(1, len(calls) + 1)), whole)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_many_random_moments(launcher: Launcher, tiny_scenes: Path, tmp_path: Path, workers: int) -> None:
    recipe = Recipe.from_toml(TINY.to_toml().replace("workers = 0", f"workers = {workers}"))
    case = Case(launcher, tiny_scenes, tmp_path, recipe, save_every_s=0, export=True)
    whole, _, seconds = case.whole()
    assert whole.bundle
    for seed in range(10):
        kill_again_and_again(case, whole, seconds, random.Random(seed), 4)
