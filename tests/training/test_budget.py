"""Budgets: the planner alone, with a clock that the test turns; then a real run whose plan repeats it."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.errors import UsageError
from pixelwise.records import Sample
from pixelwise.scenes.render_scene import write_scenes
from pixelwise.trace_events import read_events
from pixelwise.training import loop
from pixelwise.training.batch_order import Order
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.loader import Pairs
from pixelwise.training.opening_time import OpeningTime
from pixelwise.training.recipe import Recipe
from pixelwise.training.throughput import affordable_images
from pixelwise.training.time_budget import Budget, TooShortError, parse_duration, require_time
from pixelwise.training.train import train
from pixelwise.training.training_state import Stopwatch, Training


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("1h 2m 3s", 3723)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "1d", "30m1h", "-5m", "0s", "five minutes"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="30m, 90s or 1h30m"):
        parse_duration(text)


def test_validation_of_an_epoch_takes_a_small_part_of_the_time() -> None:
    assert affordable_images(Recipe(), 0.1, 90, 300.0) == 0, "all"
    assert affordable_images(Recipe(), 3.0, 9, 300.0) == 3
    assert affordable_images(Recipe(), 400.0, 9, 300.0) == 1
    assert affordable_images(Recipe(val_images=2), 3.0, 9, 300.0) == 2, "as it is set"


@pytest.mark.parametrize(("count", "names"), [(0, "abcdefg"), (7, "abcdefg"), (9, "abcdefg"), (3, "bdf"), (1, "d")])
def test_a_part_of_the_pairs_is_evenly_spaced(count: int, names: str) -> None:
    pairs = Pairs([Sample(name, Path(name), Path(name)) for name in "abcdefg"], {}, 2, 1)
    pairs.kept = {index: (np.zeros((1, 1, 3), np.uint8), np.full((1, 1), index, np.uint8)) for index in range(7)}
    few = pairs.spaced(count)
    assert "".join(sample.name for sample in few.samples) == names
    assert ["abcdefg"[few[index][1][0, 0]] for index in range(len(few))] == list(names), "decoded once"


EXPORT_S = 5.0


def simulate(
    budget: Budget, pass_steps: int, pace: Callable[[float], float], truth: Budget | None = None
) -> tuple[Recipe, float]:
    """Train as the loop does, on a machine on which at every second everything takes `pace(second)` times what was
    measured first, or what is the `truth`. Returns recipe and seconds."""
    truth, now_s = truth or budget, 10.0
    recipe = budget.first_plan(Recipe(), pass_steps, now_s)
    epoch = step = 0
    while epoch < recipe.epochs and not recipe.last_step:
        small = recipe.size_at(epoch) != recipe.size
        planned, done, began_s = recipe.segment_at(epoch)[2], 0, now_s
        at_once = max(planned // 30, 1)  # steps that are simulated as one
        expected_s = budget.small_step_s if small else budget.full_step_s
        newest_s = expected_s
        while done < planned and not (done and budget.is_over(now_s, newest_s / expected_s)):
            steps = min(at_once, planned - done)
            newest_s = pace(now_s) * (truth.small_step_s if small else truth.full_step_s)
            now_s += steps * newest_s
            done += steps
        step, step_s, trained_s = step + done, (now_s - began_s) / done, now_s
        now_s += pace(now_s) * truth.between_s
        epoch += 1
        budget = budget.after_epoch(step_s, now_s - trained_s, small)
        full = done < planned or (epoch < recipe.epochs and budget.is_full(now_s))
        recipe = replace(recipe, last_step=step) if full else budget.replanned(recipe, epoch, now_s)
    for part_s in (truth.between_s, truth.export_s):
        now_s += pace(now_s) * part_s
    return recipe, now_s


def wavering(around: float, seed: int) -> Callable[[float], float]:
    """A pace that is wrongly measured at first and never steady: each minute goes up to a tenth faster or slower."""
    return lambda now_s: around * random.Random(f"{seed} {int(now_s // 60)}").uniform(0.9, 1.1)


def busy(from_s: float, for_s: float, factor: float) -> Callable[[float], float]:
    """Somebody else uses the machine for a while, and then not any more."""
    return lambda now_s: factor if from_s <= now_s < from_s + for_s else 1.0


def too_short_to_be_fair(budget: Budget) -> bool:
    return budget.seconds < 4 * (10 + budget.end_s + budget.between_s + 8 * budget.full_step_s)


@settings(max_examples=100, deadline=None)
@given(
    budget_s=st.floats(90, 86400),
    step_s=st.floats(0.005, 3),
    small=st.floats(0.4, 1),
    between=st.floats(0.1, 60),
    pass_steps=st.integers(1, 100_000),
    slower=st.floats(0.7, 1.5),
    seed=st.integers(0, 1000),
)
def test_a_plan_ends_in_time_at_any_pace(
    budget_s: float, step_s: float, small: float, between: float, pass_steps: int, slower: float, seed: int
) -> None:
    budget = Budget(budget_s, small * step_s, step_s, between, EXPORT_S)
    if too_short_to_be_fair(budget):
        return  # what is far too short is refused, below
    recipe, took_s = simulate(budget, pass_steps, wavering(slower, seed))
    # The end cannot be made good any more: validation and export, and one step on the way to them.
    end_s = slower * (budget.end_s + budget.between_s)
    assert took_s == pytest.approx(budget_s, abs=0.05 * budget_s + 0.2 * end_s + 3 * step_s)
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_a_run_of_few_epochs_ends_in_time_too() -> None:
    for budget, slower in (  # the second of two epochs, or the only one, makes good what the first showed
        (Budget(120.0, 0.125, 0.125, 7.0, EXPORT_S), 0.75),
        (Budget(270.0, 0.043, 0.062, 24.6, EXPORT_S), 0.74),
        (Budget(292.0, 0.453, 0.729, 17.45, EXPORT_S), 1.33),
    ):
        _, took_s = simulate(budget, 1000, lambda now_s, slower=slower: slower)
        assert took_s == pytest.approx(budget.seconds, rel=0.07), budget


@settings(max_examples=200, deadline=None)
@given(
    budget_s=st.floats(600, 86400),
    step_s=st.floats(0.01, 1),
    small=st.floats(0.5, 1),
    between_share=st.floats(0.0005, 0.01),
    pass_steps=st.integers(10, 100_000),
    begins=st.floats(0, 1),
    lasts=st.floats(0.01, 1),
    factor=st.floats(0.5, 2),
)
def test_a_machine_that_is_busy_for_a_while_ends_within_a_tenth(
    budget_s: float,
    step_s: float,
    small: float,
    between_share: float,
    pass_steps: int,
    begins: float,
    lasts: float,
    factor: float,
) -> None:
    budget = Budget(budget_s, small * step_s, step_s, between_share * budget_s, EXPORT_S)
    _, took_s = simulate(budget, pass_steps, busy(begins * budget_s, lasts * budget_s, factor))
    assert took_s == pytest.approx(budget_s, rel=0.1)


@pytest.mark.parametrize("begins_s", range(0, 1800, 100))
def test_half_an_hour_of_which_a_third_goes_at_half_the_speed(begins_s: int) -> None:
    _, took_s = simulate(Budget(1800, 0.2, 0.33, 9.0, EXPORT_S), 92, busy(begins_s, 600, 2.0))
    assert took_s == pytest.approx(1800, rel=0.03)


@pytest.mark.parametrize("wrong", [0.67, 1.5])
def test_what_was_measured_of_full_size_may_be_wrong_by_half(wrong: float) -> None:
    """It is measured within a second, and first seen at work when more than half of the time is over."""
    truth = Budget(1800, 0.2, 0.33, 9.0, EXPORT_S)
    _, took_s = simulate(replace(truth, full_step_s=wrong * truth.full_step_s), 92, lambda _: 1.0, truth)
    assert took_s == pytest.approx(1800, rel=0.02)


@pytest.mark.parametrize("factor", [3, 10, 30])
@pytest.mark.parametrize("lasts_s", [0.5, 2, 8])
@pytest.mark.parametrize("begins_s", [20, 40, 60])
def test_a_hiccup_does_not_end_a_run_long_before_its_time(factor: float, lasts_s: float, begins_s: float) -> None:
    """A few seconds at a thirtieth of the speed are no reason to believe that the export will go as slowly."""
    for budget_s, step_s, between_s in ((120, 0.02, 0.1), (120, 0.1, 0.4), (300, 0.02, 2.0)):
        budget = Budget(budget_s, 0.6 * step_s, step_s, between_s, 8.0)
        for pass_steps in (4, 30, 300):
            _, took_s = simulate(budget, pass_steps, busy(begins_s, lasts_s, factor))
            assert took_s == pytest.approx(budget_s, rel=0.1)


def test_a_steady_pace_is_met_to_a_hundredth() -> None:
    for pace in (1.0, 1.3, 0.8):
        _, took_s = simulate(Budget(1800, 0.2, 0.33, 9.0, EXPORT_S), 92, busy(0, 1e9, pace))
        assert took_s == pytest.approx(1800, rel=0.01)


def test_an_epoch_that_goes_slower_than_thought_ends_where_its_time_is_over() -> None:
    budget = Budget(300, 0.2, 0.33, 3.0, EXPORT_S)
    recipe, took_s = simulate(budget, 1000, lambda now_s: 1.0)
    assert took_s == pytest.approx(300, rel=0.02)
    assert not recipe.last_step
    steps = sum(recipe.segment_at(epoch)[2] for epoch in range(recipe.epochs))
    recipe, took_s = simulate(budget, 1000, busy(270, 15, 3.0))
    assert took_s == pytest.approx(300, rel=0.02)
    assert 0.9 * steps < recipe.last_step < steps


def test_the_time_decides_how_many_epochs_and_how_long_they_are() -> None:
    long = Budget(900, 0.1, 0.2, 2.0, EXPORT_S).first_plan(Recipe(), 90, 10.0)
    assert abs(long.plan[0][2] - 90) < 20  # an epoch is about one pass
    assert long.small_epochs == Recipe().small_epochs
    short = Budget(120, 0.1, 0.2, 1.0, EXPORT_S).first_plan(Recipe(), 500, 10.0)
    assert short.epochs == 8
    assert short.plan[0][2] < 500  # a part of a pass
    assert short.small_epochs == 0.75  # two of full size
    endless = Budget(86400, 0.01, 0.02, 0.5, EXPORT_S).first_plan(Recipe(), 10, 10.0)
    assert endless.epochs == 100
    assert endless.plan[0][2] > 10  # more than a pass


def test_a_budget_that_is_too_short_says_what_would_do() -> None:
    with pytest.raises(UsageError, match=r"a budget of 12 s is too short: .* Give at least"):
        Budget(12, 0.1, 0.2, 1.0, EXPORT_S).first_plan(Recipe(), 90, 8.0)


def test_a_budget_that_is_used_up_before_the_first_step_is_refused_there() -> None:
    require_time(120, 59)
    with pytest.raises(UsageError, match=r"reading the data .* took 61 s already. Give at least 6.1 min"):
        require_time(120, 61)


def test_time_for_validation_and_export_is_kept_at_the_pace_of_the_newest_steps() -> None:
    budget = Budget(100, 0.1, 0.2, between_s=4.0, export_s=6.0)
    assert [budget.is_over(used_s) for used_s in (85, 86)] == [False, True]  # 4 + 6 + 4 are left
    assert [budget.is_over(used_s, 1.5) for used_s in (78, 79)] == [False, True]
    assert not budget.is_over(85, 0.5), "a faster step ends no later"
    assert not budget.is_over(71, 50.0), "one stray step counts no more than twice"


def test_reading_the_data_ends_when_its_pace_shows_that_it_takes_half_of_the_budget() -> None:
    now_s, seen = 0.0, []
    watched = OpeningTime(100.0, 0.0, lambda *progress: seen.append(progress), lambda: now_s)
    for done in range(1, 31):  # 30 images of 1 s each
        now_s += 1.0
        watched("checking the data", done, 30)
    now_s += 1.0
    watched("loading images", 1, 30)
    for done in (2, 3):
        now_s += 1.0
        watched("loading images", done, 30)
    now_s += 1.0
    with pytest.raises(TooShortError, match=r"a budget of 1\.7 min is too short: .* \(4 of 30\) ends after 60 s"):
        watched("loading images", 4, 30)
    assert seen[-1] == ("loading images", 4, 30)


def test_reading_that_fits_into_its_part_of_the_budget_is_left_alone() -> None:
    now_s = 0.0
    watched = OpeningTime(100.0, 0.0, lambda *progress: None, lambda: now_s)
    for done in range(1, 50):
        now_s += 1.0 if done > 1 else 0.0
        watched("checking the data", done, 49)
    assert now_s == 48


def test_what_lies_behind_keeps_its_schedule_when_the_plan_changes() -> None:
    plain = Recipe(epochs=10)
    changed = replace(plain, epochs=8, plan=((0, 10, 20), (4, 8, 15)))
    assert [changed.share_at(epoch) for epoch in (0, 2, 4)] == [plain.share_at(epoch) for epoch in (0, 2, 4)]
    rest = [changed.share_at(epoch) for epoch in (4, 5, 6, 7, 8)]
    assert rest == pytest.approx([0.4, 0.55, 0.7, 0.85, 1.0])
    assert changed.size_at(4) != changed.size  # 8 epochs × 0.6 are 5
    assert changed.size_at(5) == changed.size


@pytest.mark.parametrize(
    "plan", ["[[1, 20, 5]]", "[[0, 19, 5]]", "[[0, 20, 0]]", "[[0, 20, 5], [0, 20, 6]]", "[[0, 20]]", "3"]
)
def test_a_plan_that_makes_no_sense_is_refused(plan: str) -> None:
    with pytest.raises(UsageError, match="plan"):
        Recipe.from_toml(f"plan = {plan}")


def test_other_epochs_drop_a_plan_made_for_these() -> None:
    planned = Recipe(epochs=8, plan=((0, 8, 5),))
    assert planned.with_values({"epochs": 3}) == Recipe(epochs=3)
    assert planned.with_values({"batch": 3}).plan == planned.plan


@settings(max_examples=50, deadline=None)
@given(samples=st.integers(1, 30), batch=st.integers(1, 7), steps=st.integers(1, 20), epochs=st.integers(1, 5))
def test_epochs_of_a_plan_go_on_where_the_one_before_ended(samples: int, batch: int, steps: int, epochs: int) -> None:
    seen: list[int] = []
    cropped: list[tuple[int, int]] = []
    for epoch in range(epochs):
        order = Order(samples, batch, 1, steps)
        order.epoch, order.before = epoch, epoch * steps
        batches = list(order)
        assert len(batches) == len(order) == steps
        seen += [key.sample for keys in batches for key in keys]
        cropped += [(key.sample, key.passes) for keys in batches for key in keys]
        order.start = steps // 2
        assert list(order) == batches[steps // 2 :]
    for start in range(0, len(seen) - samples + 1, samples):
        assert sorted(seen[start : start + samples]) == list(range(samples))  # each pass sees every sample once
    assert len(set(cropped)) == len(cropped)  # and crops it in its own way, also where an epoch has many passes


def test_the_stopwatch_adds_what_earlier_processes_took() -> None:
    watch = Stopwatch(100.0)
    assert watch.seconds() >= 100
    assert Stopwatch(100.0, watch.began - 50).seconds() >= 150


def test_a_budgeted_run_records_a_plan_that_repeats_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(tmp_path / "scenes", {"train": 6, "val": 2}, height_px=32, width_px=48)
    recipe = Recipe(model="unet", size=(32, 32), batch=2)
    monkeypatch.setattr("pixelwise.model.unet.WIDTH", 4)
    monkeypatch.setattr("pixelwise.training.train.export", lambda out, **_: out / "model.onnx")
    # A pace at which two epochs of a few steps fill the budget, however fast this machine is.
    monkeypatch.setattr(
        "pixelwise.training.train.measure", lambda *_: (Budget(100_000.0, 1000.0, 2000.0, 8000.0, 5.0), 0)
    )
    monkeypatch.setattr(
        "pixelwise.training.time_budget.Budget.after_epoch", lambda budget, *_: replace(budget, full_step_s=1500.0)
    )
    done = train(tmp_path / "scenes", tmp_path / "run", recipe, budget_s=100_000.0)
    own = Recipe.from_file(tmp_path / "run" / "recipe.toml")
    assert own.epochs == len(done.epochs)
    assert len(own.plan) >= 2  # the pace changed, and the plan with it
    plans = [e for e in read_events(tmp_path / "run" / "trace.jsonl") if e["event"] == "plan"]
    assert plans[0]["budget_s"] == 100_000
    assert plans[-1]["steps"] == own.plan[-1][2]
    train(tmp_path / "scenes", tmp_path / "again", own)
    (one, state), (two, state_two) = (
        load_checkpoint(checkpoints(tmp_path / name / "checkpoints")[-1]) for name in ("run", "again")
    )
    assert all(one[name].equal(two[name]) for name in one)
    assert [e["miou"] for e in state["history"]] == [e["miou"] for e in state_two["history"]]
    assert state["step"] == sum(own.segment_at(epoch)[2] for epoch in range(own.epochs))


@pytest.mark.parametrize("in_the_last_epoch", [False, True])
def test_a_run_whose_time_is_over_in_an_epoch_records_the_step_and_the_recipe_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_the_last_epoch: bool
) -> None:
    write_scenes(tmp_path / "scenes", {"train": 6, "val": 2}, height_px=32, width_px=48)
    monkeypatch.setattr("pixelwise.model.unet.WIDTH", 4)
    monkeypatch.setattr("pixelwise.training.train.export", lambda out, **_: out / "model.onnx")
    monkeypatch.setattr(
        "pixelwise.training.train.measure", lambda *_: (Budget(100_000.0, 1000.0, 2000.0, 2000.0, 5.0), 0)
    )
    monkeypatch.setattr("pixelwise.training.time_budget.Budget.after_epoch", lambda budget, *_: budget)
    real = loop.is_over

    def is_over(training: Training, newest_s: Collection[float]) -> bool:
        if training.recipe.last_step:
            return real(training, newest_s)
        return training.epoch == (training.recipe.epochs - 1 if in_the_last_epoch else 2)

    monkeypatch.setattr(loop, "is_over", is_over)
    recipe = Recipe(model="unet", size=(32, 32), batch=2)
    done = train(tmp_path / "scenes", tmp_path / "run", recipe, budget_s=100_000.0)
    own = Recipe.from_file(tmp_path / "run" / "recipe.toml")
    assert (len(done.epochs) == own.epochs) == in_the_last_epoch
    assert done.ended_early == f"the time budget ended at step {own.last_step}"
    steps = [own.segment_at(epoch)[2] for epoch in range(len(done.epochs))]
    assert sum(steps[:-1]) < own.last_step < sum(steps)
    train(tmp_path / "scenes", tmp_path / "again", own)
    (one, state), (two, state_two) = (
        load_checkpoint(checkpoints(tmp_path / name / "checkpoints")[-1]) for name in ("run", "again")
    )
    assert state["step"] == state_two["step"] == own.last_step
    assert all(one[name].equal(two[name]) for name in one)
    resumed = train(tmp_path / "scenes", tmp_path / "run", resume=True)  # nothing is left to be done
    assert len(resumed.epochs) == len(done.epochs)
    assert Recipe(last_step=7).with_values({"epochs": 3}) == Recipe(epochs=3)


def test_a_target_and_patience_end_a_run_with_its_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(tmp_path / "scenes", {"train": 4, "val": 2}, height_px=32, width_px=48)
    monkeypatch.setattr("pixelwise.model.unet.WIDTH", 4)
    tiny = Recipe(model="unet", size=(32, 32), batch=2, epochs=6)
    reached = train(tmp_path / "scenes", tmp_path / "target", replace(tiny, target_miou=1e-6))
    assert reached.ended_early is not None
    assert "reached the target of 1e-06" in reached.ended_early
    assert len(reached.epochs) == reached.best_epoch < 6
    assert reached.bundle.is_file()
    stop = list(read_events(tmp_path / "target" / "trace.jsonl"))[-1]
    assert (stop["event"], stop["reason"], stop["message"]) == ("stop", "finished", reached.ended_early)
    monkeypatch.setattr("pixelwise.training.train.export", lambda out, **_: out / "model.onnx")  # seen to work above
    # No step changes anything at a rate this low: nothing gets better after the first epoch.
    waited = train(tmp_path / "scenes", tmp_path / "patience", replace(tiny, learning_rate=1e-30, ema=0.0, patience=2))
    assert len(waited.epochs) == waited.best_epoch + 2 < 6
    again = train(tmp_path / "scenes", tmp_path / "patience", resume=True)
    assert len(again.epochs) == len(waited.epochs)
