"""Record the page as a looping GIF: `python docs/record_page.py`.

Serves the built-in model of street photos, drives the page in Chromium as a person would (point at pixels, ask why,
open a layer), and writes docs/page.gif. The image is rendered, so no photograph's licence is involved.
"""

from __future__ import annotations

import argparse
import io
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from pixelwise.images.image_files import encode_png
from pixelwise.scenes.render_scene import render_scene

SCENE = (71, 2002, 480, 640)  # seed, number, height, width: a scene with a tree, people and cars
OUT = Path(__file__).with_name("page.gif")
SCREEN_PX = (1100, 880)
WIDTH_PX = 900  # of the GIF
COLOURS = 128
LIMIT_BYTES = 1_500_000
MOVE_MS, READ_MS = 70, 1200  # how long a frame stands while the pointer moves, and while something is read
POINTER = """() => {
    const pointer = document.createElement('div');
    pointer.innerHTML = '<svg width="22" height="30" viewBox="0 0 11 15"><path d="M0 0v13l3-3 2 5 2-1-2-5h4z"/></svg>';
    Object.assign(pointer.style, {position: 'fixed', zIndex: 99, pointerEvents: 'none', fill: '#fff', stroke: '#000'});
    document.body.append(pointer);
    addEventListener('mousemove', (event) => {
        Object.assign(pointer.style, {left: `${event.clientX}px`, top: `${event.clientY}px`});
    });
}"""


class Film:
    """The page, a pointer that can be seen, and the frames taken so far."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.durations_ms: list[int] = []
        self.at = (SCREEN_PX[0] * 0.6, SCREEN_PX[1] * 0.6)
        page.evaluate(POINTER)
        page.mouse.move(*self.at)

    def shoot(self, duration_ms: int) -> None:
        image = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        self.frames.append(image)
        self.durations_ms.append(duration_ms)

    def move(self, x: float, y: float, steps: int = 4) -> None:
        """Glide to a place of the screen, a frame a step, then let it be read."""
        (x0, y0), self.at = self.at, (x, y)
        for step in range(1, steps + 1):
            share = step / steps
            eased = share * share * (3 - 2 * share)
            self.page.mouse.move(x0 + (x - x0) * eased, y0 + (y - y0) * eased)
            self.shoot(MOVE_MS)

    def point(self, x: float, y: float, read_ms: int = READ_MS) -> None:
        """Point at a place of the image, as shares of its width and height."""
        box = self.page.locator("[data-testid=stage]").bounding_box()
        self.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        self.page.wait_for_timeout(700)  # the explanation comes from the server
        self.shoot(read_ms)

    def click(self, selector: str, read_ms: int = READ_MS) -> None:
        box = self.page.locator(selector).first.bounding_box()
        self.move(box["x"] + min(box["width"] / 2, 60), box["y"] + box["height"] / 2)
        self.page.mouse.down()
        self.page.mouse.up()
        self.page.wait_for_timeout(1500)
        self.shoot(read_ms)

    def save(self, out: Path) -> None:
        """One palette for all frames and no dithering, so that only what changes is stored."""
        strip = Image.new("RGB", (self.frames[0].width, self.frames[0].height * len(self.frames)))
        for i, frame in enumerate(self.frames):
            strip.paste(frame, (0, i * frame.height))
        palette = strip.quantize(COLOURS, Image.Quantize.MEDIANCUT)
        images = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in self.frames]
        images[0].save(
            out, save_all=True, append_images=images[1:], duration=self.durations_ms, loop=0, optimize=True, disposal=1
        )
        size = out.stat().st_size
        seconds = sum(self.durations_ms) / 1000
        print(f"{out}: {size / 1e6:.2f} MB, {images[0].width} × {images[0].height}, {seconds:.1f} s")
        if size > LIMIT_BYTES:
            raise SystemExit(f"The GIF has {size} bytes; at most {LIMIT_BYTES} were wanted. Lower COLOURS or WIDTH_PX.")


def record(page: Any) -> Film:
    """The scenes, in order; places in the image are those of SCENE."""
    page.click("summary:has-text('Why this label')")
    page.evaluate("scrollTo(0, 0)")
    film = Film(page)
    film.shoot(READ_MS)
    page.evaluate("scrollTo(0, document.querySelector('main').offsetTop)")
    film.shoot(MOVE_MS)
    for x, y in ((0.25, 0.60), (0.40, 0.56), (0.70, 0.72)):  # a pedestrian, a car, the kerb
        film.point(x, y)
    film.click("button:has-text('entropy')", READ_MS // 2)
    film.point(0.66, 0.24)  # where leaves meet a wall
    film.click("button:has-text('mask')", MOVE_MS)
    film.click("#tab-layers", READ_MS // 2)
    film.click(".stages button:has-text('stage3')", MOVE_MS)
    page.evaluate("document.querySelector('#content h3').scrollIntoView()")
    page.evaluate("scrollBy(0, -60)")
    film.shoot(MOVE_MS)
    film.click("[data-testid=channel-map]", MOVE_MS)
    page.evaluate("document.querySelector('[data-testid=unit]').scrollIntoView({block: 'end'})")
    film.shoot(2 * READ_MS)
    return film


@contextmanager
def served(model: str, *options: str) -> Iterator[str]:
    """The address of a server of the model, with its token. `options` as for `pixelwise serve`."""
    token = secrets.token_urlsafe(8)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "PIXELWISE_TOKEN": token}
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "pixelwise", "serve", model, "--port", "0", "--runs", runs, *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert process.stdout is not None
            address = next(
                (word for line in process.stdout for word in line.split() if word.startswith("http://")), None
            )
            if address is None:
                raise SystemExit(f"The server ended with exit code {process.wait()} before it printed its address.")
            yield f"{address.partition('/?')[0]}/?token={token}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="street", help="a model of street scenes (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    chromium = os.environ.get("PIXELWISE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("No Chromium found. Install it, or name one in PIXELWISE_CHROMIUM.")
    with served(arguments.model) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        screen = {"width": SCREEN_PX[0], "height": SCREEN_PX[1]}
        page = browser.new_page(viewport=screen, device_scale_factor=WIDTH_PX / SCREEN_PX[0], color_scheme="light")
        page.goto(address)
        page.wait_for_selector("[data-testid=pixel]", timeout=120_000)
        image = {"name": "street.png", "mimeType": "image/png", "buffer": encode_png(render_scene(*SCENE)[0])}
        page.set_input_files("[data-testid=file]", image)
        page.wait_for_selector("option:has-text('street.png'):checked", state="attached", timeout=120_000)
        page.wait_for_selector(".ribbon .layer", timeout=120_000)
        page.wait_for_timeout(2000)
        film = record(page)
        browser.close()
    film.save(arguments.out)


if __name__ == "__main__":
    main()
