"""Peak memory of scoring the objects of a large image: found, matched with the true ones, and counted.

    python benchmarks/evaluation_objects.py [--side 10000] [--objects 250000]

Discs, many of which touch, are the labels of a prediction and, drawn one by one, the truth; `evaluate` does the same
after it has labelled an image. What the labels, the scores and the true objects take is reported on its own.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from objects_memory import disc_rows

from pixelwise.evaluation.measure_objects import ObjectPlan, mean_confidence, predicted_objects
from pixelwise.heap import peak_bytes
from pixelwise.metrics.object_matching import match_objects
from pixelwise.metrics.object_scores import headline, object_counts
from pixelwise.objects.object_records import Separation
from pixelwise.objects.separate import components
from pixelwise.records import ClassList, Prediction


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=10_000, help="pixels")
    parser.add_argument("--objects", type=int, default=250_000)
    parser.add_argument("--method", default="distance", choices=("components", "distance"))
    asked = parser.parse_args()
    labels_HW = disc_rows(asked.side, asked.objects)(slice(0, asked.side))
    true_HW = components(disc_rows(asked.side, asked.objects, apart=True)(slice(0, asked.side)))[0].astype(np.uint32)
    scores = np.zeros((2, asked.side // 4, asked.side // 4), np.float32)
    prediction = Prediction(labels_HW, scores, ClassList(("background", "cell"), ((0, 0, 0), (255, 0, 0))))
    plan = ObjectPlan({"cell": 1}, {"cell": 1}, {"cell": Separation(asked.method, smooth_px=1.0)}, {1: 400.0})
    before, began = peak_bytes(), time.perf_counter()
    predicted_HW = predicted_objects(plan, "cell", prediction)
    found, peak = time.perf_counter(), peak_bytes()
    counts = object_counts(match_objects(predicted_HW, true_HW, None, mean_confidence(prediction, predicted_HW)))
    matched, measured = time.perf_counter(), headline(counts.vector())
    scored = ", ".join(f"{name} {float(measured[name]):.3f}" for name in ("f1", "aji"))
    print(
        f"{asked.side:,}² px, {counts.true:,} true and {counts.predicted:,} predicted objects: {scored}\n"
        f"peak memory: inputs {before / 2**30:.2f} GiB, with the objects found {peak / 2**30:.2f} GiB, matched "
        f"{peak_bytes() / 2**30:.2f} GiB; found in {found - began:.0f} s, matched in {matched - found:.0f} s"
    )


if __name__ == "__main__":
    main()
