"""What people bring, trained with all defaults: scores on held-out images, time, memory, and what was planned.

    python benchmarks/own_data.py [DATA] [--sets drive,wbc] [--budget 15m] [--repeats 1] [--fold 1/5] [--out DIR]
    python benchmarks/own_data.py [DATA] --sets drive --steps 480 [--cores 1]
    python benchmarks/own_data.py [DATA] --sets drive --evaluate-only RUN

DATA holds own/, camvid/ and nuclei/. Each set is trained by `pixelwise train SET --out RUN --budget …` and nothing but
the options that its owner must decide (benchmarks/own_sets.py says which and why), and measured by `pixelwise evaluate`
on images that training never saw: fold 1 of 5, or the owner's own validation split. Time and memory are those of the
process a user would start. Beside it: the former defaults (256×256, stretched, 20 epochs), and SMP's U-Net with a
ResNet-34 encoder from random weights on crops of 512×512 in the same time, which needs the zoo environment
(`make test-zoo` makes it; --zoo PYTHON names another). --steps ends every training after so many steps instead, so that
it can be repeated on a machine of any speed and load; --cores 1 leaves it one thread. Results are added to
OUT/results.jsonl as they come. Needs psutil.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
from own_sets import SETS, OwnSet, divided, lay_out
from rich.console import Console
from rich.table import Table

SAMPLED_S = 0.05
MUST_GB = 4.0
VALIDATIONS = 5  # of a training whose steps are set
PLANNED = "planned"
# Every default of the time when `train` planned nothing, so that it stays what it was.
FORMER = """
model = "fast"
encoder = "lite0"
pretrained = true
size = [256, 256]
policy = "stretch"
even_exposure = true
epochs = 20
small_epochs = 0.6
batch = 4
learning_rate = 0.002
encoder_rate = 0.25
weight_decay = 0.02
warmup = 0.05
class_power = 0.25
dice = 0.5
ema = 0.99
frozen_stages = 2
zoom = [0.8, 1.6]
views = 3
flip = true
turn = false
light = 1.0
workers = 0
cache_mb = 1024
"""
SMP = {"model": '"smp:Unet"', "encoder": '"resnet34"', "pretrained": "false", "size": "[512, 512]",
       "policy": '"native"', "frozen_stages": "-1", "encoder_rate": "1.0"}  # fmt: skip
NO_CHOICE = {"epochs", "plan", "last_step", "seed"}  # parts of a recipe that are its length, or no choice


@dataclass(frozen=True)
class Result:
    """One training, and its score on the held-out images."""

    set: str
    method: str  # "planned", "former" or "smp"
    seed: int
    score: float
    seconds: float = float("nan")
    peak_gb: float = float("nan")
    steps: int = 0
    choices: str = ""
    failed: str = ""  # what Pixelwise said, where there is no score


def main() -> None:
    chosen = arguments().parse_args()
    unknown = [name for name in chosen.sets if name not in SETS]
    if unknown:
        sys.exit(f"--sets {','.join(unknown)}: no such set; expected some of {','.join(SETS)}.")
    if chosen.evaluate_only and len(chosen.sets) != 1:
        sys.exit("--evaluate-only RUN needs the set that RUN was trained on: --sets NAME.")
    out = chosen.out or Path(tempfile.mkdtemp(prefix="pixelwise-own-data-"))
    out.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False, width=160)
    methods = available(chosen.beside, chosen.zoo, console)
    results: list[Result] = []
    for name in chosen.sets:
        root = chosen.data / SETS[name].folder
        if not root.is_dir():
            console.print(
                f"{name}: skipped: {root} is no folder; DATA is the folder that holds own/, camvid/, nuclei/."
            )
            continue
        train, held = divided(SETS[name].pairs(root), SETS[name].neighbours, chosen.fold)
        folders = lay_out(root, train, held, out / name)
        console.print(f"{name}: {len(train)} pairs to train on, {len(held)} held out", *owner_decides(SETS[name]))
        if chosen.evaluate_only:
            results.append(evaluated(name, PLANNED, 0, chosen.evaluate_only, folders[1]))
        else:
            for seed in range(chosen.repeats):
                for method, python in methods.items():
                    results.append(trained(name, method, seed, python, folders, chosen, out))
                    with (out / "results.jsonl").open("a") as lines:
                        lines.write(json.dumps(asdict(results[-1])) + "\n")
                    console.print("  ", shown(results[-1]))
    console.print(scores_table(results))
    console.print(choices_table(results))
    console.print(f"runs: {out}")
    if any(result.failed for result in results):
        sys.exit(1)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(SETS))
    parser.add_argument("--budget", default="15m")
    parser.add_argument("--steps", type=int, default=0, help="of each training, in place of the budget")
    parser.add_argument("--cores", type=int, default=0, help="threads of each training; 0: all cores")
    parser.add_argument("--repeats", type=int, default=1, help="trainings of each, with the seeds 0, 1 …")
    parser.add_argument("--fold", type=fold_of, default=None, metavar="k/K", help="hold out part k of K, from 1")
    parser.add_argument("--beside", default="former,smp", help="former, smp, both or none")
    parser.add_argument(
        "--zoo", type=Path, default=Path(__file__).parents[1] / ".venv-zoo/bin/python", metavar="PYTHON"
    )
    parser.add_argument("--evaluate-only", type=Path, default=None, metavar="RUN")
    parser.add_argument("--out", type=Path, default=None)
    return parser


def fold_of(text: str) -> tuple[int, int]:
    number, _, folds = text.partition("/")
    if not (number.isdigit() and folds.isdigit() and 1 <= int(number) <= int(folds) and int(folds) >= 2):
        raise argparse.ArgumentTypeError(f"{text!r}: expected k/K, such as 2/5")
    return int(number), int(folds)


def available(beside: str, zoo: Path, console: Console) -> dict[str, Path]:
    """The ways to train, each with the Python that can."""
    here = Path(sys.executable)
    methods = {PLANNED: here}
    if "former" in beside:
        methods["former"] = here
    if "smp" in beside:
        found = [python for python in (zoo, here) if python.is_file() and has_smp(python)]
        if found:
            methods["smp"] = found[0]
        else:
            console.print(f"SMP's U-Net: skipped: segmentation-models-pytorch is neither in {zoo} nor here.")
    return methods


def has_smp(python: Path) -> bool:
    if python == Path(sys.executable):
        return importlib.util.find_spec("segmentation_models_pytorch") is not None
    return subprocess.run([python, "-c", "import segmentation_models_pytorch"], capture_output=True).returncode == 0


def trained(
    name: str, method: str, seed: int, python: Path, folders: tuple[Path, Path], chosen: argparse.Namespace, out: Path
) -> Result:
    """Train as a user does, in a process of its own, then evaluate."""
    run = out / f"{name}-{method}-{seed}"
    command = [python, "-m", "pixelwise", "train", folders[0], "--out", run, "--seed", str(seed), *SETS[name].options]
    if method != PLANNED:
        recipe = out / f"{method}.toml"
        recipe.write_text(FORMER if method == "former" else with_values(FORMER, SMP))
        command += ["--recipe", recipe]
    if chosen.steps:
        command += length_of(chosen.steps)
    elif method != "former":
        command += ["--budget", chosen.budget]
    said, seconds, peak_gb, good = watched(command, run.with_suffix(".log"), chosen.cores)
    if not good:
        return Result(name, method, seed, float("nan"), seconds, peak_gb, failed=last_words(said))
    result = asdict(evaluated(name, method, seed, run, folders[1], python))
    return Result(**{**result, "seconds": seconds, "peak_gb": peak_gb})


def length_of(steps: int) -> list[str]:
    """Options for so many steps, in as many equal epochs as VALIDATIONS allows."""
    epochs = next(number for number in range(min(VALIDATIONS, steps), 0, -1) if steps % number == 0)
    return ["--set", f"plan=[[0,{epochs},{steps // epochs}]]", "--set", f"epochs={epochs}"]


def with_values(recipe: str, values: dict[str, str]) -> str:
    lines = [line.partition(" = ") for line in recipe.split("\n")]
    return "\n".join(f"{name}{equals}{values.get(name, value)}" for name, equals, value in lines)


def evaluated(name: str, method: str, seed: int, run: Path, scored: Path, python: Path | None = None) -> Result:
    """The score on the held-out images, by `pixelwise evaluate`."""
    report, rows = scored / f"{run.name}.json", scored / f"{run.name}.csv"
    own = SETS[name]
    command = [python or sys.executable, "-m", "pixelwise", "evaluate", run, scored, "--split", "test",
               "--json", report, "--csv", rows, *own.to_evaluate]  # fmt: skip
    said = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if said.returncode:
        return Result(name, method, seed, float("nan"), failed=last_words(said.stdout + said.stderr))
    images = [float(row["miou"]) for row in csv.DictReader(io.StringIO(rows.read_text())) if row["miou"]]
    measured: dict[str, Any] = {**json.loads(report.read_text()), "mean_image_miou": mean(images)}
    return Result(name, method, seed, own.score(measured), steps=steps_of(run), choices=choices_of(run))


def watched(command: Sequence[str | Path], log: Path, threads: int = 0) -> tuple[str, float, float, bool]:
    """Run a command; what it said, its seconds, the most memory of it and its children in GB, and if it succeeded.

    `threads`: of its computations; 0: as many as it likes.
    """
    limits = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    began, peak, over = time.perf_counter(), 0.0, threading.Event()
    with log.open("w") as said:
        process = subprocess.Popen([str(part) for part in command], stdout=said, stderr=subprocess.STDOUT,
                                   env={**os.environ, **limits, "COLUMNS": "160"})  # fmt: skip

        def sample() -> None:
            nonlocal peak
            while not over.wait(SAMPLED_S):
                try:
                    tree = psutil.Process(process.pid)
                    peak = max(peak, sum(one.memory_info().rss for one in (tree, *tree.children(recursive=True))))
                except psutil.Error:  # one of them has just ended
                    continue

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        good = process.wait() == 0
        over.set()
        thread.join()
    return log.read_text(errors="replace"), time.perf_counter() - began, peak / 2**30, good


def last_words(said: str) -> str:
    """The error that a command ended with: its last line that begins with the program's name, and what follows."""
    start = said.rfind("pixelwise: ")
    return " ".join(said[max(start, 0) :].split())[:300] or "it said nothing"


def steps_of(run: Path) -> int:
    events = [json.loads(line) for line in (run / "trace.jsonl").read_text().splitlines()]
    return max((event["step"] for event in events if event["event"] == "checkpoint"), default=0)


def choices_of(run: Path) -> str:
    """What the recipe has other than the former defaults."""
    former, recipe = tomllib.loads(FORMER), tomllib.loads((run / "recipe.toml").read_text())
    parts = {name: value for name, value in recipe.items() if name not in NO_CHOICE and value != former.get(name)}
    return " ".join(
        f"{name}={json.dumps(value, separators=(',', ':'))}".replace('"', "") for name, value in parts.items()
    )


def owner_decides(own: OwnSet) -> list[str]:
    return [f"({' '.join(own.options)}: {own.why})"] if own.options else []


def shown(result: Result) -> str:
    if result.failed:
        return f"{result.method}, seed {result.seed}: failed: {result.failed}"
    return (
        f"{result.method}, seed {result.seed}: {SETS[result.set].asked} {result.score:.3f}, {result.seconds:.0f} s, "
        f"{result.peak_gb:.2f} GB, {result.steps} steps"
    )


def scores_table(results: Sequence[Result]) -> Table:
    table = Table(
        "set", "asked for", "must (withheld test)", "planned", "seconds", f"peak GB (≤ {MUST_GB:.0f})", "steps",
        "former defaults", "SMP U-Net, same time", title="Held-out images",
    )  # fmt: skip
    for name in dict.fromkeys(result.set for result in results):
        own = SETS[name]
        planned = [r for r in results if r.set == name and r.method == PLANNED]
        must = f"≥ {own.must}" if own.must == own.must else "–"
        seconds, peak = (most([getattr(r, field) for r in planned]) for field in ("seconds", "peak_gb"))
        table.add_row(
            name, own.asked, must, score_of(planned), f"{seconds:.0f}", f"{peak:.2f}",
            ", ".join(str(r.steps) for r in planned),
            *(score_of([r for r in results if r.set == name and r.method == method]) for method in ("former", "smp")),
        )  # fmt: skip
    return table


def most(values: Sequence[float]) -> float:
    return max(values, default=float("nan"))


def score_of(results: Sequence[Result]) -> str:
    """The mean, and the range where there are several."""
    good = [result.score for result in results if not result.failed]
    if not good:
        return "failed" if results else "–"
    ends = f" ({min(good):.3f}–{max(good):.3f})" if len(good) > 1 else ""
    return f"{mean(good):.3f}{ends}{', some failed' if len(good) < len(results) else ''}"


def choices_table(results: Sequence[Result]) -> Table:
    table = Table("set", "the plan's choices, where they differ from the former defaults; or what failed")
    for result in results:
        if result.method == PLANNED or result.failed:
            label = result.set if result.method == PLANNED else f"{result.set}, {result.method}"
            table.add_row(label, result.failed or result.choices or "none")
    return table


if __name__ == "__main__":
    main()
