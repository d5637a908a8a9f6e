"""How long `pixelwise plan` takes: by default for 1,000 pairs of 512×512 pixels, in a process of its own each time.

    python benchmarks/planning.py [DATA] [--pairs 1000] [--size 512] [--repeats 3]

Without DATA the pairs are drawn: photos of smooth colours with noise as JPEG, masks of four classes as PNG. The load of
the machine is printed beside the seconds: a figure for the table needs one below the number of cores. Needs psutil.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import psutil

MUST_S = 20.0
CLASSES = 4
SAMPLED_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, default=None)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pixelwise-planning-") as folder:
        data = chosen.data or drawn(Path(folder), chosen.pairs, chosen.size)
        found = [planned(data) for _ in range(chosen.repeats)]
    for seconds, cpu_s, peak_gb, load in found:
        print(f"{seconds:.1f} s, {cpu_s:.1f} s of processor time, {peak_gb:.2f} GB, load {load:.1f} before")
    what = str(chosen.data) if chosen.data else f"{chosen.pairs:,} pairs of {chosen.size}×{chosen.size}"
    middle, cpu_s = median(one[0] for one in found), median(one[1] for one in found)
    print(f"{what}, {os.cpu_count()} cores: median {middle:.1f} s, processor time {cpu_s:.1f} s (must: {MUST_S:.0f} s)")


def drawn(folder: Path, pairs: int, side_px: int) -> Path:
    """A dataset of so many pairs, none equal to another."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    for number in range(pairs):
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        image = cv2.resize(coarse, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
        noise = rng.integers(0, 24, image.shape, np.uint8)
        mask = cv2.resize(coarse[:, :, 0], (side_px, side_px), interpolation=cv2.INTER_CUBIC) // (256 // CLASSES)
        cv2.imwrite(str(folder / f"images/{number:05}.jpg"), cv2.add(image, noise))
        cv2.imwrite(str(folder / f"masks/{number:05}.png"), mask)
    return folder


def planned(data: Path) -> tuple[float, float, float, float]:
    """Seconds, processor seconds, the most memory in GB and the load before, of one `pixelwise plan`."""
    load, began, peak, cpu_s = os.getloadavg()[0], time.perf_counter(), 0, 0.0
    command = [sys.executable, "-m", "pixelwise", "plan", str(data)]
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while process.poll() is None:
        try:
            times = process.cpu_times()
            cpu_s, peak = times.user + times.system, max(peak, process.memory_info().rss)
        except psutil.Error:  # it has just ended
            break
        time.sleep(SAMPLED_S)
    said, _ = process.communicate()
    if process.returncode:
        sys.exit(f"pixelwise plan {data} failed:\n{said}")
    return time.perf_counter() - began, cpu_s, peak / 2**30, load


if __name__ == "__main__":
    main()
