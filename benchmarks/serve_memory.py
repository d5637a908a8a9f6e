"""What a server holds while it labels many photos of mixed sizes, one after the other.

    python benchmarks/serve_memory.py [--photos 1000] [--model street] [--answer png] [--seed 0]

Photos have 0.1 to 12 megapixels, drawn evenly on a logarithmic scale, landscape or upright; their pixels are
windows of one image. --answer page is what the page asks for: labels and scores, which the server keeps for a while.
A row a tenth of the photos: what the server and its children hold, and the most so far. Must: 700 MB, and no growth
from the first tenth to the last. Needs psutil.
"""

from __future__ import annotations

import argparse
import math
import random
import time
import urllib.request

import cv2
import numpy as np
from memory import PATIENCE_S, Watch, server, tree_mb
from rich.console import Console
from rich.table import Table

MUST_MB = 700
MEGAPIXELS = (0.1, 12.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--model", default="street")
    parser.add_argument("--answer", choices=["png", "page"], default="png")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    table = Table("photos", "held, MB", "peak, MB", "s", title=f"serve {chosen.model}, {chosen.answer}")
    draw, large = random.Random(chosen.seed), large_image()
    with server(chosen.model) as (port, process):
        watch, began = Watch(process.pid), time.perf_counter()
        table.add_row("0", f"{tree_mb(watch.process):.0f}", "", "")
        step = max(chosen.photos // 10, 1)
        for number in range(1, chosen.photos + 1):
            ask(port, photo(large, draw), chosen.answer)
            if number % step == 0:
                held, took = tree_mb(watch.process), time.perf_counter() - began
                table.add_row(str(number), f"{held:.0f}", f"{watch.peak:.0f}", f"{took:.0f}")
        peak = watch.stop()
    Console().print(table)
    Console().print(f"peak {peak:.0f} MB (must: {MUST_MB})")


def large_image() -> cv2.typing.MatLike:
    """Smooth noise of 24 megapixels, which compresses about as a photo does."""
    coarse = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    return cv2.resize(coarse, (6000, 4000), interpolation=cv2.INTER_CUBIC)


def photo(large: cv2.typing.MatLike, draw: random.Random) -> bytes:
    """A window of it as JPEG, of a size drawn by chance."""
    pixels = math.exp(draw.uniform(*map(math.log, MEGAPIXELS))) * 1e6
    ratio = draw.choice([4 / 3, 3 / 2, 16 / 9, 3 / 4, 2 / 3])
    width, height = min(int(math.sqrt(pixels * ratio)), 6000), min(int(math.sqrt(pixels / ratio)), 4000)
    x, y = draw.randint(0, 6000 - width), draw.randint(0, 4000 - height)
    window = np.ascontiguousarray(large[y : y + height, x : x + width])
    return bytes(cv2.imencode(".jpg", window, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def ask(port: int, image: bytes, answer: str) -> None:
    address = f"http://127.0.0.1:{port}/v1/predict?answer={answer}"
    request = urllib.request.Request(address, image, {"Content-Type": "image/jpeg"}, method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        response.read()


if __name__ == "__main__":
    main()
