"""How near to its budget a training ends, from the call to the end of the process, also across a stop and a resume.

    python benchmarks/budget.py [--budgets 2m 5m] [--data FOLDER | --photos 50] [--busy 1]

Trains as `pixelwise train --budget` does, in processes of their own: once for each budget, and once more with the first
one, stopped by SIGTERM after a third of it and resumed. The time between the two does not count. Rendered street scenes
unless --data names a folder, or --photos asks for so many drawn photos of 12 megapixels. --busy: beside so many
processes that compute without end. On a machine that does other work too the pace changes, and the plan with it: the
load is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from busy import busy_processes
from rich.console import Console
from rich.table import Table

from pixelwise.scenes.render_scene import write_scenes
from pixelwise.training.recipe import Recipe
from pixelwise.training.time_budget import parse_duration, show_duration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budgets", nargs="+", default=["2m", "5m"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--photos", type=int, default=0)
    parser.add_argument("--busy", type=int, default=0)
    arguments = parser.parse_args()
    table = Table(
        "budget", "expected at first", "took", "must", "off by", "epochs", "steps an epoch", "best mIoU", box=None
    )
    with tempfile.TemporaryDirectory() as folder, busy_processes(arguments.busy):
        work = Path(folder)
        data = arguments.data or work / "scenes"
        if arguments.photos:
            draw_photos(data, arguments.photos)
        elif arguments.data is None:
            write_scenes(data, {"train": 96, "val": 24}, height_px=256, width_px=256)
        for number, budget in enumerate(arguments.budgets):
            took_s = train(data, work / str(number), budget)
            table.add_row(budget, *describe(work / str(number), parse_duration(budget), took_s))
        budget = arguments.budgets[0]
        took_s = train(data, work / "resumed", budget, stop_after_s=parse_duration(budget) / 3)
        table.add_row(f"{budget}, resumed", *describe(work / "resumed", parse_duration(budget), took_s))
    Console(width=120).print(table)
    print(f"load at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def draw_photos(folder: Path, count: int) -> None:
    """Photos of ground and sky with discs and thin poles."""
    height, width, rng = 3000, 4000, np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        coarse = rng.integers(60, 200, (6, 8, 3), np.uint8)
        photo = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        mask = np.zeros((height, width), np.uint8)
        horizon = int(rng.integers(height // 3, height // 2))
        photo[:horizon] = photo[:horizon] // 3 + np.array((170, 140, 110), np.uint8)
        mask[:horizon] = 1
        for _ in range(12):
            middle, radius = (int(rng.integers(width)), int(rng.integers(horizon, height))), int(rng.integers(60, 250))
            cv2.circle(photo, middle, radius, (40, 60, 210), -1)
            cv2.circle(mask, middle, radius, 2, -1)
        for _ in range(10):
            left, top = int(rng.integers(width)), int(rng.integers(height // 2))
            foot = left, top + int(rng.integers(500, 1500))
            cv2.line(photo, (left, top), foot, (30, 30, 30), 14)
            cv2.line(mask, (left, top), foot, 3, 14)
        noise = rng.integers(0, 24, (height, width // 4, 1), np.uint8)
        cv2.imwrite(str(folder / f"images/{number:03}.jpg"), cv2.add(photo, np.tile(noise, (1, 4, 3))))
        cv2.imwrite(str(folder / f"masks/{number:03}.png"), mask)


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
