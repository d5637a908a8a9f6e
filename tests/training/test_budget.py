"""Budgets: the planner alone, with a clock that the test turns; then a real run whose plan repeats it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.data.loader import Order
from pixelwise.data.scenes import write_scenes
from pixelwise.errors import UsageError
from pixelwise.tracing.recorder import read_events
from pixelwise.training.budget import Budget, parse_duration
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.recipe import Recipe
from pixelwise.training.run import train
from pixelwise.training.state import Stopwatch


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("1h 2m 3s", 3723)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "1d", "30m1h", "-5m", "0s", "five minutes"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="30m, 90s or 1h30m"):
        parse_duration(text)


def simulate(budget: Budget, pass_steps: int, speed: list[float]) -> tuple[Recipe, float]:
    """Train by a clock: epoch `i` takes `speed[i]` times what was measured first. Returns recipe and seconds."""
    now_s = 10.0
    recipe, epoch = budget.first_plan(Recipe(), pass_steps, now_s), 0
    truth = budget
    while epoch < recipe.epochs:
        factor = speed[epoch % len(speed)]
        small = recipe.size_at(epoch) != recipe.size
        step_s = factor * (truth.small_step_s if small else truth.full_step_s)
        now_s += recipe.segment_at(epoch)[2] * step_s + factor * truth.between_s
        epoch += 1
        budget = budget.after_epoch(step_s, factor * truth.between_s, small)
        recipe = budget.replanned(recipe, epoch, now_s)
    return recipe, now_s + factor * truth.end_s


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
    budget = Budget(budget_s, small * step_s, step_s, between)
    rng = random.Random(seed)
    speed = [slower * rng.uniform(0.9, 1.1) for _ in range(101)]  # wrongly measured at first, and never steady
    if budget_s < 4 * (10 + budget.end_s + budget.between_s + 8 * step_s):
        return  # too short to be fair; what is far too short is refused, below
    recipe, took_s = simulate(budget, pass_steps, speed)
    # What the last epoch takes differs by a tenth from the one before, and is at least a step.
    last_s = budget.epochs_s(recipe, recipe.epochs - 1) * slower
    assert took_s == pytest.approx(budget_s, rel=0.05, abs=0.5 * last_s + 2 * recipe.epochs * step_s)
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_a_steady_pace_is_met_to_a_hundredth() -> None:
    _, took_s = simulate(Budget(1800, 0.2, 0.33, 9.0), 92, [1.0])
    assert took_s == pytest.approx(1800, rel=0.01)
    _, took_s = simulate(Budget(1800, 0.2, 0.33, 9.0), 92, [1.3])
    assert took_s == pytest.approx(1800, rel=0.02)


def test_the_time_decides_how_many_epochs_and_how_long_they_are() -> None:
    long = Budget(900, 0.1, 0.2, 2.0).first_plan(Recipe(), 90, 10.0)
    assert abs(long.plan[0][2] - 90) < 20  # an epoch is about one pass
    assert long.small_epochs == Recipe().small_epochs
    short = Budget(120, 0.1, 0.2, 1.0).first_plan(Recipe(), 500, 10.0)
    assert short.epochs == 8
    assert short.plan[0][2] < 500  # a part of a pass
    assert short.small_epochs == 0.8
    endless = Budget(86400, 0.01, 0.02, 0.5).first_plan(Recipe(), 10, 10.0)
    assert endless.epochs == 100
    assert endless.plan[0][2] > 10  # more than a pass


def test_a_budget_that_is_too_short_says_what_would_do() -> None:
    with pytest.raises(UsageError, match=r"a budget of 12 s is too short: .* Give at least"):
        Budget(12, 0.1, 0.2, 1.0).first_plan(Recipe(), 90, 8.0)


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
    for epoch in range(epochs):
        order = Order(samples, batch, 1, steps)
        order.epoch, order.before = epoch, epoch * steps
        batches = list(order)
        assert len(batches) == len(order) == steps
        seen += [index for keys in batches for _, index in keys]
        order.start = steps // 2
        assert list(order) == batches[steps // 2 :]
    for start in range(0, len(seen) - samples + 1, samples):
        assert sorted(seen[start : start + samples]) == list(range(samples))  # each pass sees every sample once


def test_the_stopwatch_adds_what_earlier_processes_took() -> None:
    watch = Stopwatch(100.0)
    assert watch.seconds() >= 100
    assert Stopwatch(100.0, watch.began - 50).seconds() >= 150


def test_a_budgeted_run_records_a_plan_that_repeats_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(tmp_path / "scenes", {"train": 6, "val": 2}, height_px=32, width_px=48)
    recipe = Recipe(model="unet", size=(32, 32), batch=2)
    monkeypatch.setattr("pixelwise.model.unet.WIDTH", 4)
    monkeypatch.setattr("pixelwise.training.run.export", lambda out, **_: out / "model.onnx")
    # A pace at which two epochs of a few steps fill the budget, however fast this machine is.
    monkeypatch.setattr("pixelwise.training.run.measure", lambda *_: Budget(100_000.0, 1000.0, 2000.0, 8000.0))
    monkeypatch.setattr(
        "pixelwise.training.budget.Budget.after_epoch", lambda budget, *_: replace(budget, full_step_s=1500.0)
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


def test_a_target_and_patience_end_a_run_with_its_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(tmp_path / "scenes", {"train": 4, "val": 2}, height_px=32, width_px=48)
    monkeypatch.setattr("pixelwise.model.unet.WIDTH", 4)
    tiny = Recipe(model="unet", size=(32, 32), batch=2, epochs=6)
    reached = train(tmp_path / "scenes", tmp_path / "target", replace(tiny, target_miou=1e-6))
    assert reached.ended_early is not None
    assert "1e-06 was asked for" in reached.ended_early
    assert len(reached.epochs) == reached.best_epoch < 6
    assert reached.bundle.is_file()
    stop = list(read_events(tmp_path / "target" / "trace.jsonl"))[-1]
    assert (stop["event"], stop["reason"], stop["message"]) == ("stop", "finished", reached.ended_early)
    monkeypatch.setattr("pixelwise.training.run.export", lambda out, **_: out / "model.onnx")  # seen to work above
    # No step changes anything at a rate this low: nothing gets better after the first epoch.
    waited = train(tmp_path / "scenes", tmp_path / "patience", replace(tiny, learning_rate=1e-30, ema=0.0, patience=2))
    assert len(waited.epochs) == waited.best_epoch + 2 < 6
    again = train(tmp_path / "scenes", tmp_path / "patience", resume=True)
    assert len(again.epochs) == len(waited.epochs)
