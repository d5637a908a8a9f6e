"""Two processes against one: images a second of each, at the same threads each and the same images a step each.

    python benchmarks/distributed.py [--threads 1] [--share 4] [--rounds 3] [--size 256]
    python benchmarks/distributed.py --talk        what two processes say to each other in a step, on a busy machine too

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
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch.distributed as dist
from rich.console import Console
from rich.table import Table

from pixelwise.scenes.render_scene import write_scenes
from pixelwise.training import distributed, loop, train
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


def talk(size: int, share: int) -> None:
    """Print how often, and how much, two processes say to each other in a step."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "scenes"
        write_scenes(data, {"train": 8 * share, "val": 2}, height_px=size, width_px=size)
        inside = [__file__, "--inside", str(data), "--size", str(size), "--share", str(share)]
        subprocess.run([sys.executable, *TORCHRUN, *inside], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def count_talk(data: Path, size: int, share: int) -> None:
    """In each of the processes: train for an epoch, and count."""
    said: list[int] = []  # bytes of every collective
    steps: list[tuple[int, int]] = []  # how many were said in each step, and their bytes
    networks: list[Any] = []

    def counted(collective: Callable[..., Any]) -> Callable[..., Any]:
        def call(tensor: Any, *rest: Any, **named: Any) -> Any:
            said.append(tensor.numel() * tensor.element_size())
            return collective(tensor, *rest, **named)

        return call

    def stepped(*arguments: Any) -> Any:
        before = len(said)
        result = learn(*arguments)
        distributed.largest(0)  # as the loop asks after each step whether a signal came
        steps.append((len(said) - before, sum(said[before:])))
        return result

    def remembered(network: Any) -> Any:
        networks.append(parallel(network))
        return networks[-1]

    learn, parallel = loop.learn_or_say, distributed.parallel
    with (
        patch.object(dist, "all_reduce", counted(dist.all_reduce)),
        patch.object(dist, "broadcast", counted(dist.broadcast)),
        patch.object(loop, "learn_or_say", stepped),
        patch.object(distributed, "parallel", remembered),
        patch.object(train, "export", lambda out, **_: out / "model.onnx"),
    ):
        train.train(data, data.parent / "run", Recipe(size=(size, size), epochs=1, small_epochs=0.0, batch=2 * share))
    if distributed.is_first():
        times, content = steps[-1]
        buckets = networks[0]._get_ddp_logging_data()["rebuilt_bucket_sizes"]
        print(f"a step: {times} collectives of {content:,} bytes in all, and gradients in buckets of {buckets} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--share", type=int, default=4, help="images a step and process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--talk", action="store_true")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        count_talk(chosen.inside, chosen.size, chosen.share)
        return
    if chosen.talk:
        talk(chosen.size, chosen.share)
        return
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
