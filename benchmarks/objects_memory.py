"""Peak memory and time of finding, measuring and writing the objects of a large label map.

    python benchmarks/objects_memory.py --side 20000 --objects 1000000

The map holds discs in a jittered grid, many of which touch; it is made row by row, as is everything after it.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from pixelwise.objects.object_records import Separation
from pixelwise.objects.stream_objects import ObjectSource, stream_objects
from pixelwise.prediction.object_files import csv_parts, map_parts
from pixelwise.records import ClassList

CLASSES = ClassList(("background", "cell"), ((0, 0, 0), (255, 255, 255)))


def disc_rows(side: int, objects: int):
    """A function that gives rows of the label map."""
    per_side = round(objects**0.5)
    step = side / per_side
    random = np.random.default_rng(0)
    shift = random.uniform(-0.12, 0.12, (per_side, per_side, 2)).astype(np.float32) * step
    radius = random.uniform(0.38, 0.5, (per_side, per_side)).astype(np.float32) * step
    x = np.arange(side)
    column = np.minimum((x / step).astype(int), per_side - 1)

    def rows(part: slice) -> np.ndarray:
        found = np.zeros((part.stop - part.start, side), np.uint8)
        for i, y in enumerate(range(part.start, part.stop)):
            row = min(int(y / step), per_side - 1)
            for near_row in range(max(row - 1, 0), min(row + 2, per_side)):
                for offset in (-1, 0, 1):
                    at = np.clip(column + offset, 0, per_side - 1)
                    down = y - ((near_row + 0.5) * step + shift[near_row, at, 0])
                    right = x - ((at + 0.5) * step + shift[near_row, at, 1])
                    found[i] |= down**2 + right**2 <= radius[near_row, at] ** 2
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
