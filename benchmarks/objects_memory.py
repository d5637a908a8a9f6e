"""Peak memory and time of finding, measuring and writing the objects of a large label map.

    python benchmarks/objects_memory.py --side 20000 --objects 1000000

The map holds discs in a jittered grid, many of which touch; it is made row by row, as is everything after it.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import cv2
import numpy as np

from pixelwise.objects.object_records import Separation
from pixelwise.objects.stream_objects import ObjectSource, stream_objects
from pixelwise.prediction.object_files import csv_parts, map_parts
from pixelwise.records import ClassList

SUB_BITS = 4  # of coordinates: sixteenths of a pixel
SUB = 1 << SUB_BITS
CLASSES = ClassList(("background", "cell"), ((0, 0, 0), (255, 255, 255)))


def disc_rows(side: int, objects: int, *, apart: bool = False) -> Callable[[slice], np.ndarray]:
    """A function that gives rows of a map of discs: 1 inside, 0 outside. `apart`: none of them touch."""
    per_side = round(objects**0.5)
    step = side / per_side
    random = np.random.default_rng(0)
    away, low, high = (0.02, 0.3, 0.42) if apart else (0.12, 0.38, 0.5)
    shift = random.uniform(-away, away, (per_side, per_side, 2)) * step
    radius = np.rint(random.uniform(low, high, (per_side, per_side)) * step * SUB).astype(int)
    middle = (np.arange(per_side) + 0.5) * step
    x = np.rint((middle[None, :] + shift[:, :, 1]) * SUB).astype(int)
    y = np.rint((middle[:, None] + shift[:, :, 0]) * SUB).astype(int)

    def rows(part: slice) -> np.ndarray:
        found = np.zeros((part.stop - part.start, side), np.uint8)
        first, last = int(part.start / step) - 1, int(part.stop / step) + 2
        for row in range(max(first, 0), min(last, per_side)):
            places = zip(x[row].tolist(), (y[row] - part.start * SUB).tolist(), radius[row].tolist(), strict=True)
            for right, down, px in places:
                cv2.circle(found, (right, down), px, 1, -1, shift=SUB_BITS)
        return found

    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20_000, help="pixels")
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--method", default="distance", choices=("components", "distance"))
    asked = parser.parse_args()
    labels = disc_rows(asked.side, asked.objects)
    source = ObjectSource(
        (asked.side, asked.side),
        CLASSES,
        labels,
        lambda rows: labels(rows)[:, :, None],
        ("grey",),
        lambda rows: labels(rows).astype(np.float32),
    )
    began = time.perf_counter()
    with stream_objects(source, {1: Separation(asked.method, smooth_px=1.0)}, around_px=64) as found:
        measured = time.perf_counter()
        table = sum(len(part) for part in csv_parts(found.table))
        numbers = sum(len(part) for part in map_parts(found, None))
        ended = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{asked.side:,}² px, {len(found.table):,} objects ({asked.objects:,} drawn), {asked.method}: measured in "
            f"{measured - began:.0f} s, CSV of {table / 1e6:.0f} MB and map of {numbers / 1e6:.0f} MB written in "
            f"{ended - measured:.0f} s; peak memory {peak:.2f} GiB"
        )


if __name__ == "__main__":
    main()
