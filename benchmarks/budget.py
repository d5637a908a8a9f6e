"""How near to its budget a training ends, from the call to the end of the process, also across a stop and a resume.

    python benchmarks/budget.py [--budgets 2m 5m] [--data FOLDER]

Trains as `pixelwise train --budget` does, in processes of their own: once for each budget, and once more with the first
one, stopped by SIGTERM after a third of it and resumed. The time between the two does not count. Rendered street scenes
unless --data names a folder. On a machine that does other work too the pace changes, and the plan with it.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pixelwise.scenes.render_scene import write_scenes
from pixelwise.training.recipe import Recipe
from pixelwise.training.time_budget import parse_duration, show_duration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budgets", nargs="+", default=["2m", "5m"])
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    table = Table(
        "budget", "expected at first", "took", "must", "off by", "epochs", "steps an epoch", "best mIoU", box=None
    )
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        data = arguments.data or work / "scenes"
        if arguments.data is None:
            write_scenes(data, {"train": 96, "val": 24}, height_px=256, width_px=256)
        for number, budget in enumerate(arguments.budgets):
            took_s = train(data, work / str(number), budget)
            table.add_row(budget, *describe(work / str(number), parse_duration(budget), took_s))
        budget = arguments.budgets[0]
        took_s = train(data, work / "resumed", budget, stop_after_s=parse_duration(budget) / 3)
        table.add_row(f"{budget}, resumed", *describe(work / "resumed", parse_duration(budget), took_s))
    Console(width=120).print(table)


def train(data: Path, run: Path, budget: str, stop_after_s: float | None = None) -> float:
    """Seconds of the process, or of both."""
    command = [sys.executable, "-m", "pixelwise", "train", str(data), "--out", str(run)]
    began = time.perf_counter()
    first = subprocess.Popen([*command, "--budget", budget], stdout=subprocess.DEVNULL)
    if stop_after_s is not None:
        while time.perf_counter() - began < stop_after_s or not list((run / "checkpoints").glob("step-*")):
            time.sleep(0.1)
        first.send_signal(signal.SIGTERM)
    code = first.wait()
    if stop_after_s is None:
        assert code == 0, code
    else:
        assert code == 143, code
        subprocess.run([*command, "--resume"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def describe(run: Path, budget_s: float, took_s: float) -> list[str]:
    events = [json.loads(line) for line in (run / "trace.jsonl").read_text().splitlines()]
    plan = next(event for event in events if event["event"] == "plan")
    recipe = Recipe.from_file(run / "recipe.toml")
    steps = [segment[2] for segment in recipe.plan]
    best = max(event["miou"] for event in events if event["event"] == "epoch")
    return [
        show_duration(plan["expected_s"]),
        show_duration(took_s),
        "within 10 %",
        f"{took_s / budget_s - 1:+.1%}",
        str(recipe.epochs),
        f"{min(steps)} to {max(steps)}",
        f"{best:.3f}",
    ]


if __name__ == "__main__":
    main()
