"""Nuclei told apart: a model that learned their borders, scored object by object on images that training never saw.

    python benchmarks/nuclei_objects.py DATA --out DIR [--budget 15m] [--compare] [--test FOLDER]

DATA is a folder with {train,val}/{images,masks,instances}/, such as the Data Science Bowl 2018's. Trains with all
defaults and `--separate nucleus` (unless DIR holds a finished run), labels val/ or FOLDER (images/ and instances/
inside), separates what touches by the learned border, and matches the objects with the true ones: F1 at an IoU of 0.5,
and the mean over IoU 0.5 … 0.95 of true positives / (true + false positives + false negatives); pooled over all
objects, the mean of the images, and each image in DIR/objects.csv. --compare adds connected components and the shape's
distance, from the same labels. Needs the extra `objects`.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import pixelwise as pw
from pixelwise.datasets.instances import whole_numbers
from pixelwise.metrics.object_matching import match_objects
from pixelwise.metrics.object_scores import ObjectCounts, headline, object_counts
from pixelwise.objects.object_records import ClassObjects, Separation
from pixelwise.objects.separate import Evidence, find_objects, separation_for
from pixelwise.prediction.confidence_maps import scores_of_rows
from pixelwise.prediction.load_model import Model
from pixelwise.training.time_budget import parse_duration

CLASS = "nucleus"
MUST = {"f1": 0.85, "mean_average_precision": 0.50}


def separations(known: ClassObjects | None, compare: bool) -> dict[str, Separation]:
    """Ways to separate, by name; the learned border first."""
    ways = {"border": separation_for(known, has_border=True)}
    return {**ways, "distance": separation_for(known), "components": Separation()} if compare else ways


def counts_of_image(model: Model, image: Path, truth: Path, ways: Mapping[str, Separation]) -> dict[str, ObjectCounts]:
    """The counts of one image by each way to separate."""
    prediction = model.predict(image)
    class_id = prediction.classes.names.index(CLASS)
    height, width = prediction.labels.shape
    assert prediction.borders is not None
    border_HW = scores_of_rows(prediction.borders, (height, width), slice(0, height))[0]
    true_HW = whole_numbers(truth)
    found = {}
    for name, separation in ways.items():
        objects = find_objects(prediction.labels, {class_id: separation}, Evidence({class_id: border_HW}))
        found[name] = object_counts(match_objects(objects.objects_HW, true_HW))
    return found


def scores_of(counts: list[ObjectCounts]) -> dict[str, float]:
    """Pooled scores, and the means of the images' (those with objects)."""
    pooled = headline(sum(counts, ObjectCounts.zero()).vector())
    each = headline(np.stack([one.vector() for one in counts]))
    names = (*MUST, "precision", "recall", "aji")
    return {name: float(pooled[name]) for name in names} | {
        f"{name}, mean of images": float(np.nanmean(each[name])) for name in MUST
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", default="15m")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--test", type=Path)
    options = parser.parse_args()
    console, began = Console(), time.perf_counter()
    if not (options.out / "model.onnx").exists():
        done = pw.train(
            options.data, options.out, settings={"separate": [CLASS]}, budget_s=parse_duration(options.budget)
        )
        console.print(
            f"trained: epoch {done.best_epoch}, mIoU {done.best_miou:.3f}, {time.perf_counter() - began:.0f} s"
        )
    model = pw.load(options.out)
    ways = separations(model.metadata.objects.get(CLASS), options.compare)
    folder = options.test or options.data / "val"
    rows = {}
    for image in sorted((folder / "images").iterdir()):
        rows[image.stem] = counts_of_image(model, image, folder / "instances" / f"{image.stem}.png", ways)
    with (options.out / "objects.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "way", "true", "predicted", "f1", "mean_average_precision"])
        for name, by_way in rows.items():
            for way, counts in by_way.items():
                each = headline(counts.vector())
                table.writerow([name, way, counts.true, counts.predicted, *(f"{each[score]:.4f}" for score in MUST)])
    shown = Table("score", *ways, title=f"{len(rows)} images of {folder}")
    found = {way: scores_of([by_way[way] for by_way in rows.values()]) for way in ways}
    for name in found["border"]:
        must = f" (≥ {MUST[name]:g})" if name in MUST else ""
        shown.add_row(f"{name}{must}", *(f"{found[way][name]:.3f}" for way in ways))
    console.print(shown)


if __name__ == "__main__":
    main()
