"""Recipe searches: resumed after a kill they make the trials that they would have made, and end with a run."""

import csv
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pixelwise.errors import DivergedError, TrainingError, UsageError
from pixelwise.prediction.load_model import load
from pixelwise.scenes.render_scene import write_scenes
from pixelwise.trace_events import read_events
from pixelwise.training.checkpoint import checkpoints
from pixelwise.training.recipe import Recipe
from pixelwise.training.train import Trained

optuna = pytest.importorskip("optuna", reason="install pixelwise[search]")
from pixelwise.cli.train_search import trials_table  # noqa: E402
from pixelwise.training.search import recipe_search as module  # noqa: E402
from pixelwise.training.search.recipe_search import SearchResult, search  # noqa: E402
from pixelwise.training.search.search_space import SPACE, SearchRange, params_of, recipe_of, space_of  # noqa: E402
from pixelwise.training.search.trials_report import TrialRow  # noqa: E402

TINY = Recipe(model="unet", size=(32, 32), epochs=2, small_epochs=0.0)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, {"train": 6, "val": 2, "test": 2}, height_px=32, width_px=48)
    return folder


class FakeTraining:
    """Stands in for `train`: the score is a known function of the recipe, an epoch takes no time but what it claims."""

    def __init__(self, dies_in: tuple[int, int] | None = None) -> None:
        self.recipes: list[Recipe] = []
        self.dies_in = dies_in  # (trial, epoch) in which the process is stopped

    def __call__(self, data: Path, out: Path, recipe: Recipe, *, tell: Any, **_more: object) -> Trained:
        self.recipes.append(recipe)
        out.mkdir(parents=True, exist_ok=True)
        (out / "data.json").write_text(json.dumps({"sha256": data.name}))
        events = []
        for epoch in range(1, recipe.epochs + 1):
            if self.dies_in == (len(self.recipes), epoch):
                raise KeyboardInterrupt
            if recipe.learning_rate > 7e-3:
                raise DivergedError("too fast")
            far = abs(math.log(recipe.learning_rate / 3e-3)) + 0.1 * abs(recipe.dice - 0.3)
            events.append({"event": "epoch", "epoch": epoch, "seconds": 1.0, "miou": 0.8 - 0.2 * far / epoch})
            tell(events[-1])
        (out / "checkpoints").mkdir(exist_ok=True)
        (out / "model.onnx").write_bytes(b"")
        best = max(e["miou"] for e in events)
        return Trained(out, out / "model.onnx", 1, best, tuple(events), 1.0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    stand_in = FakeTraining()
    monkeypatch.setattr(module, "train", stand_in)
    return stand_in


@pytest.mark.long
def test_a_real_search_ends_with_a_run_a_recipe_a_table_and_a_page(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    done = search(scenes, out, TINY, trials=2, fixed=["batch"])
    assert [row.number for row in done.trials] == [0, 1]
    best = max((row for row in done.trials if row.state == "done"), key=lambda row: row.miou)
    assert done.miou == best.miou
    assert (out / "best").resolve().name == f"{best.number:04d}"
    assert Recipe.from_file(out / "recipe.toml") == Recipe.from_file(out / "best" / "recipe.toml") == done.recipe
    metrics = load(out / "best").metadata.provenance["metrics"]
    assert metrics["miou"] == pytest.approx(done.miou)
    first = Recipe.from_file(out / "trials" / "0000" / "recipe.toml")
    assert first == TINY  # the recipe that was given is the first trial
    rows = list(csv.DictReader((out / "trials.csv").open()))
    assert [row["trial"] for row in rows] == ["0000", "0001"]
    assert float(rows[0]["learning_rate"]) == TINY.learning_rate
    assert "batch" not in rows[0]
    page = (out / "search.html").read_text()
    assert "<svg" in page
    assert "://" not in re.sub(r"data:[^\"]*", "", page)  # opens offline
    loser = out / "trials" / f"{1 - best.number:04d}"
    assert not (loser / "checkpoints").exists()
    assert (loser / "trace.jsonl").exists()
    with pytest.raises(UsageError, match="--resume"):
        search(scenes, out, TINY, trials=2)
    with pytest.raises(UsageError, match="different: epochs"):
        search(scenes, out, Recipe(model="unet", size=(32, 32), small_epochs=0.0), trials=2, resume=True)


@pytest.mark.long
def test_a_killed_search_goes_on_in_the_middle_of_its_trial(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    (tmp_path / "recipe.toml").write_text(Recipe(model="unet", size=(32, 32), epochs=6, small_epochs=0.0).to_toml())
    command = [sys.executable, "-m", "pixelwise", "train", str(scenes), "--out", str(out), "--recipe",
               str(tmp_path / "recipe.toml"), "--search", "1"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 240
    while not checkpoints(out / "trials" / "0000" / "checkpoints") and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "best").exists()
    (out / "trials" / "0000" / "witness").touch()  # a trial that is begun anew starts with an empty folder
    done = search(scenes, out, trials=1, resume=True)
    (row,) = done.trials
    assert (row.number, row.state, row.epochs) == (0, "done", 6)
    assert (out / "trials" / "0000" / "witness").exists()
    told = [e["epoch"] for e in read_events(out / "trials" / "0000" / "trace.jsonl") if e["event"] == "epoch"]
    assert told == [1, 2, 3, 4, 5, 6]
    assert load(out / "best").metadata.provenance["recipe"]["epochs"] == 6


@pytest.mark.parametrize("dies_in", [(1, 2), (8, 1)])
def test_a_search_that_died_makes_the_trials_that_it_would_have_made(
    dies_in: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(epochs=3)
    whole, died, again = FakeTraining(), FakeTraining(dies_in), FakeTraining()
    monkeypatch.setattr(module, "train", whole)
    first = search(tmp_path / "data", tmp_path / "whole", recipe, trials=9)
    monkeypatch.setattr(module, "train", died)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "data", tmp_path / "died", recipe, trials=9)
    monkeypatch.setattr(module, "train", again)
    second = search(tmp_path / "data", tmp_path / "died", trials=9, resume=True)
    assert whole.recipes == died.recipes[:-1] + again.recipes
    assert died.recipes[-1] == again.recipes[0]
    without_time = [(row.number, row.state, row.miou, row.epochs, row.params) for row in first.trials]
    assert without_time == [(row.number, row.state, row.miou, row.epochs, row.params) for row in second.trials]
    assert first.recipe == second.recipe


@pytest.mark.usefixtures("fake")
def test_it_finds_what_is_better_stops_what_is_not_and_says_what_mattered(tmp_path: Path) -> None:
    start = Recipe(epochs=4, learning_rate=6e-4)
    heard: list[str] = []
    done = search(tmp_path / "data", tmp_path / "out", start, trials=20, tell_trial=lambda row: heard.append(row.state))
    assert done.miou > 0.79 > done.trials[0].miou
    assert abs(math.log(done.recipe.learning_rate / 3e-3)) < 0.5
    assert len(heard) == len(done.trials) == 20
    assert heard.count("stopped early") > 1
    assert all(0 < row.epochs < 4 for row in done.trials if row.state == "stopped early")
    assert next(iter(done.importances)) == "learning_rate"
    assert sum(done.importances.values()) == pytest.approx(1)
    assert "learning_rate" in (tmp_path / "out" / "search.html").read_text()
    kept = [path.parent.name for path in (tmp_path / "out" / "trials").glob("*/model.onnx")]
    assert kept == [(tmp_path / "out" / "best").resolve().name]
    more = search(tmp_path / "data", tmp_path / "out", trials=21, resume=True)  # a search goes on with more trials
    assert len(more.trials) == 21
    assert more.trials[:20] == done.trials


class FakeTime:
    """A clock that an epoch moves on by ten seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 10
        return self.now


@pytest.mark.usefixtures("fake")
def test_a_budget_ends_the_search_and_a_larger_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", FakeTime())
    done = search(tmp_path / "data", tmp_path / "out", Recipe(epochs=4), trials=50, budget_s=150)
    assert 100 < done.seconds <= 150
    assert 1 < len(done.trials) < 50
    states = {row.state for row in done.trials}
    assert "done" in states
    more = search(tmp_path / "data", tmp_path / "out", trials=50, budget_s=250, resume=True)
    assert 200 < more.seconds <= 250
    assert len(more.trials) > len(done.trials)
    finished = [row for row in done.trials if row.state != "unfinished"]
    assert list(more.trials[: len(finished)]) == finished


@pytest.mark.usefixtures("fake")
def test_where_every_trial_diverges_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="every trial diverged"):
        search(tmp_path / "data", tmp_path / "out", Recipe(learning_rate=0.1), trials=1)
    assert "diverged" in (tmp_path / "out" / "trials.csv").read_text()


@pytest.mark.slow
def test_a_budget_that_ends_in_the_first_trial_still_leaves_a_run(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "short"
    done = search(
        scenes, out, Recipe(model="unet", size=(32, 32), epochs=50, small_epochs=0.0), trials=9, budget_s=0.05
    )
    (row,) = done.trials
    assert row.state == "unfinished"
    assert row.epochs == 1
    assert load(out / "best").metadata.provenance["metrics"]["miou"] == pytest.approx(done.miou)


@pytest.mark.usefixtures("fake")
def test_other_data_on_resume_are_noticed(tmp_path: Path) -> None:
    search(tmp_path / "data", tmp_path / "out", Recipe(epochs=2), trials=1)
    with pytest.raises(UsageError, match="other data"):
        search(tmp_path / "others", tmp_path / "out", trials=2, resume=True)


def test_the_space_holds_the_recipe_that_it_starts_from_and_leaves_out_what_is_fixed() -> None:
    start = Recipe(learning_rate=0.1, ema=0.5, zoom=(0.2, 4.0))
    space = space_of(start, ["dice", "batch"])
    assert set(SPACE) - set(space) == {"dice", "batch"}
    assert space["learning_rate"].high == 0.1  # type: ignore[attr-defined]
    assert 0.5 in space["ema"].choices  # type: ignore[attr-defined]
    assert (space["zoom_smallest"].low, space["zoom_largest"].high) == (0.2, 4.0)  # type: ignore[attr-defined]
    assert "zoom_smallest" not in space_of(start, ["zoom"])
    assert "encoder_rate" not in space_of(Recipe(model="unet"), [])
    assert recipe_of(start, {name: params_of(start)[name] for name in space}) == start
    for name, choices in SPACE.items():  # every corner of the space is a recipe
        for value in (choices.low, choices.high) if isinstance(choices, SearchRange) else choices:
            recipe_of(Recipe(), {name: value})
    with pytest.raises(UsageError, match="Leave at least one free"):
        space_of(start, list(vars(start)))
    with pytest.raises(UsageError, match="no search to resume"):
        search("data", "nothing-here", resume=True)


def test_the_table_of_trials_fits_the_terminal_and_cuts_no_number() -> None:
    params = {**params_of(Recipe()), "learning_rate": 0.00123, "weight_decay": 0.0456}
    rows = tuple(TrialRow(number, "stopped early", 0.25, 1, 39.0, params) for number in range(3))
    done = SearchResult(Path("out"), Path("out/best"), Recipe(), 0.25, rows, {"learning_rate": 0.9, "dice": 0.1}, 117.0)
    for width in (60, 80, 200):
        printed = io.StringIO()
        Console(file=printed, width=width).print(trials_table(done, width))
        lines = printed.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        assert "…" not in printed.getvalue()
        assert all("0.00123" in line for line in lines if "stopped early" in line)
        assert ("0.0456" in printed.getvalue()) == (width > 60)
        assert "weight_decay" in printed.getvalue()  # there, or among those that are left out
