"""How a recipe does on sequences that it never saw: each is held out of training in turn.

    python benchmarks/sequences.py [DATA] [--hold 0001TP 0006R0] [--seeds 0 1] [--recipe FILE] [--set NAME=VALUE …]

CamVid's own val neighbours its train frames, so it flatters. A frame's sequence is the start of its name. Scores are
those of `pixelwise evaluate`, at each image's own size; val is scored beside, for the price in daylight.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import pixelwise as pw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared/data/camvid")
    parser.add_argument("--hold", nargs="+", default=["0001TP", "0006R0", "0016E5"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--recipe", type=Path, default=None)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    chosen = parser.parse_args()
    if not chosen.data.is_dir():
        sys.exit(f"{chosen.data}: no such folder; name the folder with CamVid in SegNet's layout.")
    console = Console(highlight=False)
    table = Table("held out", "seed", "frames", "accuracy", "mIoU", "val accuracy", "val mIoU", "minutes")
    held_mious = []
    for sequence in chosen.hold:
        for seed in chosen.seeds:
            with tempfile.TemporaryDirectory(prefix="pixelwise-sequence-") as folder:
                frames = divide(chosen.data, sequence, Path(folder) / "data")
                began = time.perf_counter()
                held, val = train_and_score(Path(folder), seed, chosen.recipe, chosen.set)
                minutes = (time.perf_counter() - began) / 60
            held_mious.append(held["miou"])
            figures = (held["accuracy"], held["miou"], val["accuracy"], val["miou"])
            table.add_row(sequence, str(seed), str(frames), *(f"{figure:.3f}" for figure in figures), f"{minutes:.1f}")
            console.print(table)
    if len(held_mious) > 1:
        console.print(f"mean mIoU on what was held out: {statistics.mean(held_mious):.3f}")


def divide(camvid: Path, sequence: str, target: Path) -> int:
    """CamVid again, of links, with `sequence` as its test split and not in train. Returns the frames held out."""
    held = 0
    for split in ("train", "val"):
        for image in sorted((camvid / split).glob("*.png")):
            moved = image.name.startswith(sequence)
            if moved and split == "val":
                continue  # neighbours of what is held out would be scored twice
            into = "test" if moved else split
            for kind in ("", "annot"):
                link = target / f"{into}{kind}" / image.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((camvid / f"{split}{kind}" / image.name).resolve())
            held += moved
    if not held:
        sys.exit(f"{sequence}: no frame in {camvid}/train begins so.")
    if not (target / "val").exists():  # all of val is of this sequence: what is held out is validated on instead
        (target / "val").symlink_to(target / "test")
        (target / "valannot").symlink_to(target / "testannot")
    return held


def train_and_score(folder: Path, seed: int, recipe: Path | None, settings: list[str]) -> tuple[dict, dict]:  # type: ignore[type-arg]
    options = [option for setting in settings for option in ("--set", setting)]
    if recipe:
        options += ["--recipe", str(recipe)]
    subprocess.run(
        [sys.executable, "-m", "pixelwise", "train", folder / "data", "--out", folder / "run", "--seed", str(seed),
         *options],
        check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    reports = [pw.evaluate(folder / "run", folder / "data", split=split) for split in ("test", "val")]
    return reports[0].to_json(), reports[1].to_json()


if __name__ == "__main__":
    main()
