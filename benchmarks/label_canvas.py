"""How smoothly the labelling canvas draws, moves and zooms a photo of 12 megapixels, in Chromium.

    python benchmarks/label_canvas.py [--megapixels 12] [--width 1366 --height 768] [--frames 240]

Starts `pixelwise label` on a photo made here, and prints the time between frames as the page itself sees it: median,
95 % and the longest, in milliseconds. Four pointer events are sent for each frame. 60 frames a second are 16.7 ms.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pixelwise.images.image_files import write_png

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
STAGE = "[data-testid=label-stage]"
LARGER = 14  # presses of ] from 16 to about 370 pixels

FRAMES = """([action, frames]) => new Promise(done => {
    const stage = document.querySelector('[data-testid=label-stage]');
    const box = stage.getBoundingClientRect();
    stage.setPointerCapture = () => undefined;  // of a pointer that no browser knows
    const place = i => ({
        clientX: box.left + box.width * (0.5 + 0.33 * Math.cos(i / 23)),
        clientY: box.top + box.height * (0.5 + 0.4 * Math.sin(i / 17)),
    });
    const pointer = (type, i, button) => stage.dispatchEvent(new PointerEvent(type, {
        pointerId: 1, pointerType: 'mouse', button, bubbles: true, ...place(i),
    }));
    const button = action === 'move' ? 1 : 0;
    if (action !== 'zoom') pointer('pointerdown', 0, button);
    const times = [];
    const step = time => {
        times.push(time);
        if (action === 'zoom') {
            const deltaY = times.length % 120 < 60 ? -40 : 40;
            stage.dispatchEvent(new WheelEvent('wheel', {deltaY, bubbles: true, cancelable: true, ...place(0)}));
        } else for (let k = 0; k < 4; k++) pointer('pointermove', times.length + k / 4, -1);
        if (times.length <= frames) return requestAnimationFrame(step);
        if (action !== 'zoom') pointer('pointerup', times.length, button);
        done(times.slice(1).map((one, i) => one - times[i]));
    };
    requestAnimationFrame(step);
})"""


@contextmanager
def labelling(photos: Path) -> Iterator[str]:
    """The address of `pixelwise label`, with its token."""
    command = [sys.executable, "-m", "pixelwise", "label", str(photos), "--classes", "a,b,c", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        yield next("http://" + line.split("http://")[1].split()[0] for line in process.stdout if "http://" in line)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def measure(page: Any, frames: int) -> dict[str, list[float]]:
    """Milliseconds between frames, for each thing that is done."""

    def times(action: str) -> list[float]:
        found: list[float] = page.evaluate(FRAMES, [action, frames])
        page.wait_for_timeout(500)
        return found

    stage = page.locator(STAGE)
    stage.focus()
    found = {"brush of 16 pixels": times("draw")}
    for _ in range(LARGER):
        page.keyboard.press("]")
    page.keyboard.press("2")
    found["brush of about 370 pixels"] = times("draw")
    stage.focus()
    page.keyboard.press("o")
    found["brush, outlines only"] = times("draw")
    page.keyboard.press("o")
    page.get_by_role("button", name="Propose now").click()
    page.wait_for_timeout(15_000)
    page.keyboard.press("3")
    found["brush, a proposal shown"] = times("draw")
    found["move"] = times("move")
    found["zoom"] = times("zoom")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--width", type=int, default=1366, help="of the window, in pixels")
    parser.add_argument("--height", type=int, default=768)
    parser.add_argument("--frames", type=int, default=240, help="for each figure")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    height = round((given.megapixels * 1e6 * 3 / 4) ** 0.5)
    chromium = os.environ.get("PIXELWISE_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        coarse = np.random.default_rng(0).integers(0, 255, (height // 8 + 1, height // 6 + 1, 3)).astype(np.uint8)
        write_png(photos / "photo.png", coarse.repeat(8, 0).repeat(8, 1)[:height, : height * 4 // 3])
        with labelling(photos) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page(viewport={"width": given.width, "height": given.height})
            page.set_default_timeout(120_000)
            page.goto(address)
            page.wait_for_selector("[data-testid=label-readout]")
            page.wait_for_timeout(5000)  # tiles
            found = measure(page, given.frames)
            browser.close()
    table = Table(
        "while", "median ms", "95 % ms", "longest ms", title=f"{given.megapixels:g} MP, {os.cpu_count()} cores"
    )
    for what, times in found.items():
        row = (statistics.median(times), statistics.quantiles(times, n=20)[-1], max(times))
        table.add_row(what, *(f"{value:.1f}" for value in row))
    Console().print(table)


if __name__ == "__main__":
    main()
