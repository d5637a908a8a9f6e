"""Strokes that a simulated annotator needs: the assistant against ilastik's pixel classification as published.

    python benchmarks/labelling.py [--images 2] [--most 60] [--sets camvid nuclei …] [--model M.onnx] [--csv FILE]

Strokes until 0.85 mIoU, or IoU 0.75 of the class of a binary set; the first ones, one for each class, count. Both
methods work on the same images with the same annotator (simulated_annotator.py), each image by itself: nothing is kept
from one to the next. Images at their own size, up to a megapixel; of retinas, pavements and aerial photos the 320×320
pixels with the most of the class, as a person zooms in. ">" means not reached with this many strokes; where only the
forest does not reach it, the ratio is an upper bound. --model also starts from that model's labels.

Then the time from a stroke to the mask of a whole image of one megapixel, and one pass of the encoder.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ilastik_forest import Forest
from labelling_sets import DATA, SETS, Labelled, LabelSet
from rich.console import Console
from rich.table import Table
from simulated_annotator import Keys, Progress, annotate

import pixelwise as pw
from pixelwise.labelling.assistant import Assistant
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.prediction.load_model import Model
from pixelwise.records import RGB, VOID

MUST, MUST_WITH_MODEL, MUST_MS = 0.6, 0.4, 300
Row = tuple[str, str, str, int, float, bool]  # set, image, method, strokes, score, reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=2, help="of each set")
    parser.add_argument("--most", type=int, default=60, help="strokes on an image")
    parser.add_argument("--sets", nargs="+", default=[one.name for one in SETS])
    parser.add_argument("--model", help="a bundle of the sets' classes")
    parser.add_argument("--without", nargs="+", default=[], help="methods to leave out: forest, assistant")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    chosen = parser.parse_args()
    console, rows = Console(width=130), list[Row]()
    model = pw.load(chosen.model) if chosen.model else None
    for one in (one for one in SETS if one.name in chosen.sets):
        for image in one.images(chosen.images, chosen.data):
            for method, steps in methods(one, image, model, chosen.most, chosen.without).items():
                rows.append((one.name, image.name, method, steps[-1].strokes, steps[-1].score,
                             steps[-1].score >= one.goal))  # fmt: skip
                console.print(*rows[-1])
    if chosen.csv:
        with chosen.csv.open("w", newline="") as file:
            csv.writer(file).writerows([("set", "image", "method", "strokes", "score", "reached"), *rows])
    console.print(table_of(rows))
    console.print(timings())


def methods(
    one: LabelSet, image: Labelled, model: Model | None, most: int, without: list[str]
) -> dict[str, list[Progress]]:
    """Method → its scores after each stroke."""

    def steps(propose: Callable[[Keys], Keys], start_HW: Keys | None = None) -> list[Progress]:
        score = lambda result_HW: one.score(result_HW, image.truth_HW)  # noqa: E731
        return list(annotate(image.truth_HW, image.classes, propose, score, one.goal, most, start_HW))

    found = {}
    if "forest" not in without:
        found["forest"] = steps(Forest(image.image_HW3))
    if "assistant" not in without:
        found["assistant"] = steps(with_assistant(Assistant(), image))
    if model is not None and len(model.classes) == image.classes:
        propose = with_assistant(Assistant(model=model), image)
        found["with model"] = steps(propose, propose(np.full_like(image.truth_HW, VOID)))
    return found


def with_assistant(assistant: Assistant, image: Labelled) -> Callable[[Keys], Keys]:
    def propose(drawn_HW: Keys) -> Keys:
        by_person_HW = (drawn_HW != VOID).astype(np.uint8)
        keys = range(image.classes)
        found = assistant.propose(image.name, image.image_HW3, RGB, drawn_HW, by_person_HW, keys)
        return np.where(drawn_HW != VOID, drawn_HW, found.labels_hw)

    return propose


def table_of(rows: list[Row]) -> Table:
    table = Table("set", "images", "forest", "assistant", "ratio", f"must ≤ {MUST}", "with model", "ratio",
                  f"must ≤ {MUST_WITH_MODEL}", title="strokes to the goal, median", box=None)  # fmt: skip
    for name in [*dict.fromkeys(row[0] for row in rows), ""]:
        of_set = [row for row in rows if name in ("", row[0])]
        medians = {method: median(of_set, method) for method in ("forest", "assistant", "with model")}
        cells = [name or "all", str(len({row[:2] for row in of_set})), shown(medians["forest"])]
        for method, other, must in (("assistant", "forest", MUST), ("with model", "assistant", MUST_WITH_MODEL)):
            mine, theirs = medians[method], medians[other]
            ratio = mine[0] / theirs[0] if mine and theirs and mine[1] else None
            cells.append(shown(mine))
            cells += ["–", "–"] if ratio is None or not theirs else [
                f"{'' if theirs[1] else '≤ '}{ratio:.2f}", "yes" if ratio <= must else "no"
            ]  # fmt: skip
        table.add_row(*cells)
    return table


def median(rows: list[Row], method: str) -> tuple[float, bool] | None:
    """The median of strokes, and whether the goal was reached with as many."""
    of_method = [row for row in rows if row[2] == method]
    if not of_method:
        return None
    strokes = float(np.median([row[3] for row in of_method]))
    return strokes, float(np.median([row[3] if row[5] else np.inf for row in of_method])) < np.inf


def shown(found: tuple[float, bool] | None) -> str:
    return "–" if found is None else f"{'' if found[1] else '> '}{found[0]:g}"


def timings(side_px: int = 1000, strokes: int = 30) -> Table:
    """From a stroke to the mask, on rendered shapes with as many strokes before."""
    rng = np.random.default_rng(0)
    image_HW3 = rng.integers(0, 256, (side_px, side_px, 3), np.uint8)
    keys_HW = np.full((side_px, side_px), VOID, np.uint8)
    assistant, session = Assistant(), FeatureSession()
    took = []
    for number in range(strokes):
        y, x = rng.integers(0, side_px - 100, 2)
        keys_HW[y : y + 5, x : x + 100] = number % 5
        drawn_HW = (keys_HW != VOID).astype(np.uint8)
        took.append(assistant.propose("one", image_HW3, RGB, keys_HW, drawn_HW, range(5)).ms)
    passes = []
    for _ in range(6):
        began = time.perf_counter()
        session.maps(image_HW3)
        passes.append((time.perf_counter() - began) * 1000)
    stroke, forward = float(np.median(took[1:])), float(np.median(passes[1:]))
    table = Table("what", "median", "must", title="one megapixel, five classes, 30 strokes", box=None)
    table.add_row("stroke → mask of the whole image", f"{stroke:.0f} ms", f"≤ {MUST_MS} ms on 2 cores")
    table.add_row("the first stroke, with features", f"{took[0]:.0f} ms", "–")
    table.add_row("one pass of the encoder", f"{forward:.0f} ms", "–")
    table.add_row("stroke / encoder", f"{stroke / forward:.2f}", "reported")
    return table


if __name__ == "__main__":
    main()
