"""Two processes against one: images a second of each, at the same threads each and the same images a step each.

    python benchmarks/distributed.py [--threads 1] [--share 4] [--rounds 3] [--size 256]

Each round trains on built-in scenes once alone, twice side by side without a word between them, and with two processes
that torchrun brings together. The second shows what two processes on one machine cost each other by sharing its memory
and caches, whatever they say to each other; the difference between the second and the third is what talking costs.

Every process needs cores of its own, and nothing else may run: on a busy machine this measures the neighbours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pixelwise.data.scenes import write_scenes
from pixelwise.training.recipe import Recipe

EPOCHS = 4  # the first of them, in which memory is taken and code is chosen, is not counted
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start(data: Path, run: Path, recipe: Recipe, threads: int, launcher: list[str]) -> subprocess.Popen[bytes]:
    run.mkdir(parents=True)
    (run / "wanted.toml").write_text(recipe.to_toml())
    command = [sys.executable, *launcher, "-m", "pixelwise", "train", str(data), "--out", str(run / "run"),
               "--recipe", str(run / "wanted.toml"), "--device", "cpu"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def images_per_second(process: subprocess.Popen[bytes], run: Path) -> float:
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(errors.decode())
    events = map(json.loads, (run / "run" / "trace.jsonl").read_text().splitlines())
    return statistics.median([e["images_per_second"] for e in events if e["event"] == "epoch"][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--share", type=int, default=4, help="images a step and process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    chosen = parser.parse_args()
    alone: list[float] = []
    beside: list[float] = []
    together: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "scenes"
        write_scenes(data, {"train": 16 * chosen.share, "val": 2}, height_px=chosen.size, width_px=chosen.size)
        one = Recipe(size=(chosen.size, chosen.size), epochs=EPOCHS, small_epochs=0.0, batch=chosen.share)
        two = Recipe(size=(chosen.size, chosen.size), epochs=EPOCHS, small_epochs=0.0, batch=2 * chosen.share)
        for number in range(chosen.rounds):
            runs = [Path(folder) / f"{number}-{name}" for name in ("alone", "left", "right", "together")]
            alone.append(images_per_second(start(data, runs[0], one, chosen.threads, []), runs[0]))
            pair = [start(data, run, one, chosen.threads, []) for run in runs[1:3]]
            beside += [images_per_second(process, run) for process, run in zip(pair, runs[1:3], strict=True)]
            together.append(images_per_second(start(data, runs[3], two, chosen.threads, TORCHRUN), runs[3]) / 2)
    table = Table("processes", "images/s each", "share of one alone", "must", title=f"{chosen.threads} thread(s) each")
    for name, speeds, must in (
        ("one alone", alone, ""),
        ("two that do not talk", beside, ""),
        ("two that train together", together, "≥ 0.9"),
    ):
        shares = statistics.median(speeds) / statistics.median(alone)
        table.add_row(name, f"{statistics.median(speeds):.2f}", f"{shares:.2f}", must)
    Console().print(table)
    Console().print(
        "each round, together over alone: " + ", ".join(f"{b / a:.2f}" for a, b in zip(alone, together, strict=True))
    )


if __name__ == "__main__":
    main()
