"""How a recipe does on kinds of microscope image that it never saw: each is held out of training in turn.

    python benchmarks/nuclei_kinds.py [DATA] [--kinds bright …] [--seeds 0 1] [--recipe FILE] [--set NAME=VALUE …]

Images of train and val are grouped by brightness (mean above 100 of 255), colour (mean saturation above 25) and the
median size of their nuclei (over 30 pixels across): a random split would show every kind in training. A kind of fewer
than LEAST images is not held out. Scores at each image's own size: IoU of the nuclei, of all pixels of the kind
together, for the last epoch; choosing the best one by what is held out would flatter.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

import pixelwise as pw
from pixelwise.datasets.dataset_toml import parse_toml
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.records import Dataset, Sample
from pixelwise.training.recipe import Recipe

BRIGHT, COLOURED, LARGE_PX = 100, 25, 30
LEAST = 5


def kind_of(sample: Sample) -> str:
    image_HW3 = cv2.imread(str(sample.image), cv2.IMREAD_COLOR)
    brightness = "bright" if image_HW3.mean() > BRIGHT else "dark"
    colour = "colour" if cv2.cvtColor(image_HW3, cv2.COLOR_BGR2HSV)[:, :, 1].mean() > COLOURED else "grey"
    numbers_HW = cv2.imread(str(sample.image.parents[1] / "instances" / sample.image.name), cv2.IMREAD_UNCHANGED)
    areas = np.bincount(numbers_HW.ravel())[1:]
    across_px = math.sqrt(4 / math.pi * float(np.median(areas[areas > 0]))) if areas.any() else 0.0
    return f"{brightness} {colour} {'large' if across_px > LARGE_PX else 'small'}"


def without(held: tuple[Sample, ...]) -> Callable[[Dataset], Dataset]:
    """The dataset trained on all but `held`, which are its val split."""

    def split(dataset: Dataset) -> Dataset:
        names = {sample.name for sample in held}
        every = dataset.splits["train"] + dataset.splits["val"]
        return replace(dataset, splits={"train": tuple(one for one in every if one.name not in names), "val": held})

    return split


def settings_of(given: list[str]) -> Mapping[str, object]:
    return parse_toml("\n".join(setting.replace("=", " = ", 1) for setting in given))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared/data/nuclei")
    parser.add_argument("--kinds", nargs="+", default=[], help="only kinds with one of these words in their name")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "recipes/nuclei.toml")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    chosen = parser.parse_args()
    if not (chosen.data / "train/instances").is_dir():
        sys.exit(f"{chosen.data}: no train/instances/ here; name the folder with the nuclei.")
    dataset = open_dataset(chosen.data)
    kinds: dict[str, list[Sample]] = defaultdict(list)
    for sample in dataset.splits["train"] + dataset.splits["val"]:
        kinds[kind_of(sample)].append(sample)
    recipe = Recipe.from_file(chosen.recipe).with_values({"keep": "last", **settings_of(chosen.set)})
    console, table = Console(highlight=False), Table("held out", "images", "seed", "IoU of nuclei")
    found = []
    for kind, samples in sorted(kinds.items()):
        if len(samples) < LEAST or not (not chosen.kinds or set(chosen.kinds) & set(kind.split())):
            console.print(f"not held out: {kind}, {len(samples)} images")
            continue
        for seed in chosen.seeds:
            with tempfile.TemporaryDirectory(prefix="pixelwise-kinds-") as folder:
                held = without(tuple(samples))
                done = pw.train(chosen.data, Path(folder) / "run", replace(recipe, seed=seed), splits=held)
            found.append(done.epochs[-1]["iou"][list(done.epochs[-1]["iou"])[1]])
            table.add_row(kind, str(len(samples)), str(seed), f"{found[-1]:.3f}")
            console.print(table)
    if found:
        console.print(f"mean {statistics.mean(found):.3f}, least {min(found):.3f}")


if __name__ == "__main__":
    main()
