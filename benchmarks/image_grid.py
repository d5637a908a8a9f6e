"""The Images room with a large dataset: how long the first thumbnails take, and how smoothly the grid scrolls.

    python benchmarks/image_grid.py MODEL [--images 5000] [--data FOLDER]

MODEL is a run directory or bundle. Without --data, street scenes are rendered into a temporary folder. Chromium opens
the room of a server that has just started; the clock runs from the navigation until every thumbnail in view is drawn.
Then the page is scrolled by the wheel's usual step at every frame for some seconds, and the frames are counted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from pixelwise.datasets.dataset_toml import FILE_NAME, dataset_toml
from pixelwise.images.image_files import encode_label_png
from pixelwise.scenes.render_scene import SCENE_CLASSES, render_scene

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
TOKEN = "benchmark"
SCENES, SCENE_PX, WINDOW_PX = 24, (540, 720), (360, 480)
MOST_FIRST_S, LEAST_FRAMES = 1.0, 50.0
FIRST = """async () => {
    const seen = () => [...document.querySelectorAll('main li')].filter((tile) => {
        const box = tile.getBoundingClientRect();
        return box.top < innerHeight && box.bottom > 0;
    });
    const drawn = (tile) => (tile.querySelector('img')?.naturalWidth ?? 0) > 0;
    while (!seen().length || !seen().every(drawn)) await new Promise(requestAnimationFrame);
    return performance.now() / 1000;
}"""
SCROLL = """async ([pixels, seconds]) => {
    const frames = [];
    const began = performance.now();
    let before = began, way = 1;
    while (before - began < seconds * 1000) {
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        frames.push(now - before);
        before = now;
        if (scrollY + innerHeight >= document.documentElement.scrollHeight - 1) way = -1;
        scrollBy(0, way * pixels);
    }
    return frames;
}"""


def write_images(folder: Path, number: int) -> None:
    """Windows of rendered scenes, mirrored and relit at random, so that no two are the same."""
    rng = np.random.default_rng(0)
    scenes = [render_scene(5, i, *SCENE_PX) for i in range(SCENES)]
    for i in range(number):
        split = "val" if i % 5 == 4 else "train"
        for part in ("images", "masks"):
            (folder / split / part).mkdir(parents=True, exist_ok=True)
        pixels, labels = scenes[int(rng.integers(SCENES))]
        top, left = (int(rng.integers(0, most - side + 1)) for most, side in zip(SCENE_PX, WINDOW_PX, strict=True))
        part_of = slice(top, top + WINDOW_PX[0]), slice(left, left + WINDOW_PX[1])
        step = 1 if rng.random() < 0.5 else -1
        lit = np.clip(pixels[part_of][:, ::step] * rng.uniform(0.6, 1.3), 0, 255).astype(np.uint8)
        Image.fromarray(lit).save(folder / split / f"images/{i:05}.jpg", quality=88)
        mask = encode_label_png(np.ascontiguousarray(labels[part_of][:, ::step]), SCENE_CLASSES)
        (folder / split / f"masks/{i:05}.png").write_bytes(mask)
    (folder / FILE_NAME).write_text(dataset_toml(SCENE_CLASSES))


def measure(model: str, data: Path) -> list[tuple[str, str, str]]:
    """Each figure beside what it must be."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "pixelwise", "serve", model, "--port", "0", "--data", str(data)]
    environment = {**os.environ, "PIXELWISE_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    with tempfile.TemporaryDirectory() as runs, sync_playwright() as playwright:
        server = subprocess.Popen([*command, "--runs", runs], stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert server.stdout is not None
            address = next(line for line in server.stdout if "http://" in line).split("http://")[1].split("/")[0]
            path = os.environ.get("PIXELWISE_CHROMIUM") or shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            page = browser.new_page(viewport={"width": 1366, "height": 768})
            page.set_default_timeout(600_000)
            page.goto(f"http://{address}/?token={TOKEN}#room=learn")
            page.wait_for_load_state("networkidle")
            rows = figures(page, f"http://{address}")
            browser.close()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    return rows


def figures(page: Any, address: str) -> list[tuple[str, str, str]]:
    page.goto("about:blank")
    page.goto(f"{address}/#room=images")
    first_s = page.evaluate(FIRST)
    rows = [("first thumbnails drawn", f"{first_s:.2f} s", f"≤ {MOST_FIRST_S:g} s")]
    page.wait_for_selector("select[aria-label=Finding]")  # the check has ended
    for words, pixels in (("wheel", 100), ("a quarter of the view a frame", 190)):
        frames = page.evaluate(SCROLL, [pixels, 5])
        rate = 1000 * len(frames) / sum(frames)
        slow = statistics.quantiles(frames, n=20)[-1]
        rows.append(
            (f"scrolling, {words}", f"{rate:.0f} frames/s, 95 % within {slow:.0f} ms", f"≥ {LEAST_FRAMES:g} frames/s")
        )
    tiles = page.evaluate("document.querySelectorAll('main li').length")
    rows.append(("thumbnails in the page", str(tiles), "≤ 100"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = given.data or Path(folder) / "scenes"
        if given.data is None:
            write_images(data, given.images)
        rows = measure(given.model, data)
    table = Table(title=f"Images room, {data.name}")
    for column in ("what", "measured", "must be"):
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
