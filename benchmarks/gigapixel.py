"""An image of 20,000 × 20,000 pixels, from TIFF to TIFF: peak memory, and how much of the network's speed is left.

    python benchmarks/gigapixel.py [--model MODEL] [--side 20000] [--tile PX] [--compression jpeg|deflate|none]

The image is put together of street scenes and noise. It is labelled in a process of its own, whose peak memory the
system reports. The tile throughput is that of the same network on the same tiles, decoded already, one on each core, in
another process, half of it before and half after, so that a machine that changes its pace counts for both. Without
--model a network with untrained weights is used: it takes the same time, but says one class nearly everywhere, so that
tiles hardly ever disagree; a trained model (such as demo/run) is the harder case.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from rich.console import Console
from rich.table import Table

from pixelwise.scenes.render_scene import render_scene

TILE_PX = 512  # of the TIFF
MUST_GB, MUST_SHARE = 1.5, 0.85
ENDINGS = {"labels": "tif", "index": "png", "numpy": "npy", "coco": "coco.jsonl", "geojson": "geojson"}
ALONE = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from pathlib import Path
from pixelwise.images.tiff import TiffImage
from pixelwise.prediction.load_model import load

model, source, height, width, seconds = sys.argv[1:]
engine = load(model).engine
threads, engine = engine.threads, engine.one_threaded()
height, width = int(height), int(width)
with TiffImage(Path(source)) as image:
    band = image.rows(0, min(height, image.height))
tiles = [np.ascontiguousarray(band[:, left : left + width]) for left in range(0, band.shape[1] - width + 1, width)]
for tile in tiles[:3]:
    engine.run(tile)
began, cpu = time.perf_counter(), time.process_time()

def label(number):
    done = number
    while time.perf_counter() - began < float(seconds):
        engine.run(tiles[done % len(tiles)])
        done += threads
    return (done - number) // threads

with ThreadPoolExecutor(threads) as pool:
    done = sum(pool.map(label, range(threads)))
print(json.dumps([done / (time.perf_counter() - began), (time.process_time() - cpu) / done]))
"""
WHOLE = """
import json, sys, time
from pathlib import Path
from pixelwise.images.tiff import TiffImage
from pixelwise.prediction.large.tile_plan import Tiles
from pixelwise.prediction.load_model import load
from pixelwise.prediction.large.label_large import LargeResults, label_large

model, source, out, height, width, forms = sys.argv[1:]
model, source, out = load(model), Path(source), Path(out)
results = {form: out / f"large.{ending}" for form, ending in json.loads(forms).items()}
cpu = time.process_time()
facts = label_large(
    model.engine, source, TiffImage(source), LargeResults(out / "large", results),
    Tiles((int(height), int(width)), always=True),
)
(out / "took.json").write_text(json.dumps([facts["tiles"]["count"], facts["seconds"], time.process_time() - cpu]))
"""


@dataclass(frozen=True)
class Figures:
    """What labelling one large image took."""

    side_px: int
    tile: tuple[int, int]  # height, width
    tiles: int
    seconds: float
    peak_gb: float  # of the whole process
    alone_per_s: float  # tiles a second, the network on the same tiles alone
    tiled_per_s: float  # tiles a second, the whole image
    alone_cpu_s: float  # processor seconds a tile
    tiled_cpu_s: float

    @property
    def share(self) -> float:
        """How much of the tile throughput is left when all else is done too."""
        return self.tiled_per_s / self.alone_per_s

    @property
    def cpu_share(self) -> float:
        """The same by processor seconds, which other work on the machine hardly changes."""
        return self.alone_cpu_s / self.tiled_cpu_s


def write_large_image(path: Path, side_px: int, compression: str) -> None:
    """A tiled TIFF of scenes and noise: sixteen different tiles, again and again."""
    rng = np.random.default_rng(0)
    tiles = []
    for number in range(16):
        pixels = render_scene(0, number, TILE_PX, TILE_PX)[0]
        if number % 4 == 3:
            pixels = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
        tiles.append(np.ascontiguousarray(pixels))
    across = -(-side_px // TILE_PX)
    tifffile.imwrite(
        path,
        (tiles[(row * 5 + column * 3 + row * column) % 16] for row in range(across) for column in range(across)),
        shape=(side_px, side_px, 3),
        dtype=np.uint8,
        tile=(TILE_PX, TILE_PX),
        photometric="rgb",
        compression=None if compression == "none" else compression,
        compressionargs={"level": 90} if compression == "jpeg" else {},
        bigtiff=True,
        metadata=None,
    )


def measure(
    model: Path,
    folder: Path,
    side_px: int = 20_000,
    tile: str | None = None,
    compression: str = "jpeg",
    save: Sequence[str] = ("labels",),
) -> Figures:
    """Label a large image with `model` and measure. `folder` takes the image and the results."""
    source, out = folder / f"large-{side_px}.tif", folder / "labelled"
    write_large_image(source, side_px, compression)
    size = tile_of(model, tile)
    arguments = [
        sys.executable,
        "-c",
        WHOLE,
        *map(str, (model, source, out, *size)),
        json.dumps({f: ENDINGS[f] for f in save}),
    ]
    seconds = min(max(side_px / 1000, 4.0), 30.0)
    before = alone(model, source, size, seconds)
    process = os.fork()
    if not process:
        os.execv(sys.executable, arguments)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit("labelling failed")
    after = alone(model, source, size, seconds)
    count, took_s, cpu_s = json.loads((out / "took.json").read_text())
    return Figures(
        side_px=side_px,
        tile=size,
        tiles=count,
        seconds=took_s,
        peak_gb=usage.ru_maxrss * 1024 / 1e9,
        alone_per_s=2 / (1 / before[0] + 1 / after[0]),
        tiled_per_s=count / took_s,
        alone_cpu_s=(before[1] + after[1]) / 2,
        tiled_cpu_s=cpu_s / count,
    )


def tile_of(model: Path, tile: str | None) -> tuple[int, int]:
    from pixelwise.prediction.large.tile_plan import parse_tiles, tile_size
    from pixelwise.prediction.load_model import load

    return parse_tiles(tile, None).size or tile_size(load(model).metadata)[0]


def alone(model: Path, source: Path, size: tuple[int, int], seconds: float) -> tuple[float, float]:
    """Tiles a second, and processor seconds a tile, of the network alone."""
    command = [sys.executable, "-c", ALONE, *map(str, (model, source, *size, seconds))]
    rate, cpu = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return rate, cpu


def untrained_bundle(path: Path) -> Path:
    import speed

    return speed.untrained_bundle(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=None, help="a bundle or a run directory")
    parser.add_argument("--side", type=int, default=20_000, help="of the image, in pixels")
    parser.add_argument("--tile", default=None, help="PX or HEIGHTxWIDTH; by default what fits the model")
    parser.add_argument("--compression", choices=("jpeg", "deflate", "none"), default="jpeg")
    parser.add_argument(
        "--folder", type=Path, default=None, help="for the image and results; by default a temporary one"
    )
    parser.add_argument("--save", default="labels", help=f"what is written, with commas: {', '.join(ENDINGS)}")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        model = chosen.model or untrained_bundle(Path(folder) / "model.onnx")
        began = time.perf_counter()
        figures = measure(model, Path(folder), chosen.side, chosen.tile, chosen.compression, chosen.save.split(","))
    console = Console()
    console.print(table_of(figures))
    console.print(
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {time.perf_counter() - began:.0f} s in all"
    )


def table_of(figures: Figures) -> Table:
    size = f"{figures.tile[0]}×{figures.tile[1]}"
    what = f"{figures.side_px:,} × {figures.side_px:,} pixels, {figures.tiles:,} tiles of {size}"
    table = Table("what", "must", "measured", title=f"{what}, {figures.seconds:.0f} s")
    table.add_row("peak memory of the process", f"≤ {MUST_GB} GB", f"{figures.peak_gb:.2f} GB")
    table.add_row(
        "tiles a second, of those of the network alone",
        f"≥ {MUST_SHARE:.0%}",
        f"{figures.share:.0%} ({figures.tiled_per_s:.1f} of {figures.alone_per_s:.1f})",
    )
    table.add_row(
        "the same by processor time",
        "",
        f"{figures.cpu_share:.0%} ({figures.alone_cpu_s * 1e3:.1f} of {figures.tiled_cpu_s * 1e3:.1f} ms a tile)",
    )
    return table


if __name__ == "__main__":
    main()
