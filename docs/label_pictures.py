"""The pictures of tutorials/label.md: `python docs/label_pictures.py`.

Renders street photos, starts `pixelwise label` with nothing open, and does on the page, in Chromium, what the tutorial
tells: photos, classes, strokes, proposals, a training, and the model as the assistant. Strokes are put where each class
is widest, as a person would; the photos are rendered, so that this is known, and nobody's photographs are needed.
The test of the same steps is tests/page/test_label_flow.py.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from pixelwise.images.image_files import encode_png
from pixelwise.scenes.render_scene import SCENE_CLASSES, render_scene

OUT = Path(__file__).parent / "tutorials" / "label"
SCREEN_PX = {"width": 1366, "height": 768}
WIDTH_PX = 1100  # of a picture
LIMIT_BYTES = 150_000
WANTED = ("sky", "building", "road", "pavement", "tree", "car")
LEAST_PX = 60  # of a class, for a stroke
STAGE = "[data-testid=label-stage]"


@dataclass(frozen=True)
class StreetPhoto:
    """A rendered photo and its true labels uint8 [H, W], places in WANTED."""

    name: str
    png: bytes
    labels_HW: np.ndarray[Any, np.dtype[np.uint8]]


def street_photos(number: int, height_px: int, width_px: int) -> list[StreetPhoto]:
    table = np.full(256, 255, np.uint8)
    table[[SCENE_CLASSES.names.index(name) for name in WANTED]] = range(len(WANTED))
    photos = []
    for i in range(number):
        image, labels_HW = render_scene(11, i, height_px, width_px)
        photos.append(StreetPhoto(f"street_{i:02}.png", encode_png(image), table[labels_HW]))
    return photos


def stroke_of(labels_HW: np.ndarray[Any, np.dtype[np.uint8]], label: int) -> list[tuple[int, int]]:
    """The ends (x, y) of a level stroke where a class is widest; empty where there is too little of it."""
    if np.count_nonzero(labels_HW == label) < LEAST_PX:
        return []
    inside = cv2.distanceTransform(np.pad((labels_HW == label).astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = (int(place) for place in np.unravel_index(np.argmax(inside), inside.shape))
    half = max(int(inside[y, x] * 0.6) - 2, 0)
    return [(x - half, y), (x + half, y)]


class LabelTutorial:
    """What the tutorial tells, on a page that is open; each step waits for its end."""

    def __init__(self, page: Any, photos: list[StreetPhoto], shoot: Callable[[str], None] = lambda name: None) -> None:
        """
        Args:
            photos: in the order of their names.
            shoot: takes the picture of that name.
        """
        self.page, self.photos, self.shoot = page, photos, shoot

    def bring_photos(self) -> None:
        """Classes are named, and photos of this computer are chosen."""
        page = self.page
        page.get_by_label("Classes to begin with").fill(", ".join(WANTED))
        self.shoot("start")
        files = [{"name": one.name, "mimeType": "image/png", "buffer": one.png} for one in self.photos]
        page.set_input_files("[data-testid=photos]", files)
        page.wait_for_selector(f"text=/^0 of {len(self.photos)} images done/")
        page.wait_for_selector(f"ol[aria-label=Classes] >> text={WANTED[-1]}")
        self.wait_for(0)

    def wait_for(self, place: int) -> None:
        """Until the photo at that place is open."""
        self.page.wait_for_selector(f"[data-index='{place}'][aria-current=true]")
        opened = f"text=/{re.escape(self.photos[place].name)}|^Proposal in/"  # a model answers at once
        self.page.wait_for_selector(f"[data-testid=label-message] >> {opened}", state="attached")
        self.page.wait_for_selector(f"{STAGE}[aria-busy=false]")

    def scribble(self, place: int, name: str = "") -> None:
        """A stroke in each class of the photo; the assistant proposes the rest."""
        page, labels_HW = self.page, self.photos[place].labels_HW
        page.locator(STAGE).focus()
        page.keyboard.press("s")
        page.get_by_label("Size in pixels").fill("4")
        page.locator(STAGE).focus()
        for label in range(len(WANTED)):
            if ends := stroke_of(labels_HW, label):
                page.keyboard.press(str(label + 1))
                self.draw(ends, labels_HW.shape)
        page.wait_for_selector("text=/^Proposes/")
        self.quiet()
        if name:
            self.shoot(name)

    def quiet(self) -> None:
        """Until the assistant has answered the last stroke."""
        self.page.wait_for_timeout(400)  # it waits for a next stroke itself
        self.page.wait_for_selector("button:has-text('Propose now')")

    def draw(self, places: list[tuple[int, int]], size: tuple[int, ...]) -> None:
        """Drag from place to place of the image, all of which is in sight."""
        box = self.page.locator(STAGE).bounding_box()
        scale = min(box["width"] / size[1], box["height"] / size[0])
        left, top = box["x"] + (box["width"] - size[1] * scale) / 2, box["y"] + (box["height"] - size[0] * scale) / 2
        on_screen = [(left + (x + 0.5) * scale, top + (y + 0.5) * scale) for x, y in places]
        self.page.mouse.move(*on_screen[0])
        self.page.mouse.down()
        for place in on_screen[1:]:
            self.page.mouse.move(*place, steps=5)
        self.page.mouse.up()

    def accept(self) -> None:
        self.page.keyboard.press("Shift+Enter")
        self.page.wait_for_selector("[data-testid=label-message] >> text=accepted", state="attached")

    def done(self, number: int) -> None:
        """Done, and on to the next photo: so many are done then."""
        self.page.keyboard.press("Control+Enter")
        self.page.wait_for_selector(f"text=/^{number} of {len(self.photos)} images done/")

    def train(self, budget: str, picture_after_s: float = 0) -> None:
        """On what is labelled; `budget` is one of those that the page offers. The picture follows the first epoch."""
        page = self.page
        page.locator("label:has-text('Time') select").select_option(budget)
        page.get_by_role("button", name="Train", exact=True).click()
        page.wait_for_selector("text=/^Epoch [0-9]+/", timeout=600_000)
        page.wait_for_timeout(picture_after_s * 1000)
        self.shoot("training")
        page.wait_for_selector("button:has-text('Use it as the assistant')", timeout=3_600_000)

    def use_model(self) -> None:
        """The trained model assists: it labels what is not done, in the background."""
        page = self.page
        page.get_by_role("button", name="Use it as the assistant").click()
        page.wait_for_selector("text=/Labelling the images that are not done/", state="detached", timeout=600_000)
        page.wait_for_selector("[data-index] >> text=proposed", timeout=600_000)

    def export(self, form: str) -> None:
        page = self.page
        page.get_by_role("button", name="Export").click()
        page.get_by_label("Format").select_option(form)
        page.get_by_role("dialog").get_by_role("button", name="Export").click()
        page.wait_for_selector("text=/^Written:/")
        self.shoot("export")
        page.keyboard.press("Escape")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server that labels in `folder`, nothing open, with its token."""
    token = secrets.token_urlsafe(8)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "PIXELWISE_TOKEN": token}
    command = [sys.executable, "-m", "pixelwise", "label", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder)
    try:
        assert process.stdout is not None
        address = next((word for line in process.stdout for word in line.split() if word.startswith("http://")), None)
        if address is None:
            raise SystemExit(f"The server ended with exit code {process.wait()} before it printed its address.")
        yield f"{address.partition('/label')[0]}/label?token={token}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def save_picture(png: bytes, path: Path) -> None:
    """As WebP, as good as LIMIT_BYTES allow."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture = picture.resize((WIDTH_PX, WIDTH_PX * picture.height // picture.width), Image.Resampling.LANCZOS)
    for quality in range(90, 30, -10):
        picture.save(path, quality=quality, method=6)
        if path.stat().st_size <= LIMIT_BYTES:
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
            return
    raise SystemExit(f"{path} has {path.stat().st_size} bytes; at most {LIMIT_BYTES} were wanted. Lower WIDTH_PX.")


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--budget", default="5m", help="of the training (default: %(default)s)")
    parser.add_argument("--labelled", type=int, default=8, help="photos before the training (default: %(default)s)")
    asked = parser.parse_args()
    chromium = os.environ.get("PIXELWISE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("No Chromium found. Install it, or name one in PIXELWISE_CHROMIUM.")
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SCREEN_PX, color_scheme="light")
        page.set_default_timeout(120_000)
        page.goto(address)
        tutorial = LabelTutorial(
            page, street_photos(50, 240, 320), lambda name: save_picture(page.screenshot(), asked.out / f"{name}.webp")
        )
        tutorial.bring_photos()
        for place in range(asked.labelled):
            tutorial.wait_for(place)
            tutorial.scribble(place, "proposal" if place == 1 else "")
            tutorial.accept()
            tutorial.done(place + 1)
        tutorial.train(asked.budget, 20)
        tutorial.use_model()
        place = asked.labelled
        tutorial.wait_for(place)
        page.wait_for_selector("text=/^Proposes/")
        page.wait_for_timeout(1000)  # the mask is drawn
        tutorial.shoot("model")
        tutorial.accept()
        tutorial.done(place + 1)
        tutorial.export("coco")
        browser.close()


if __name__ == "__main__":
    main()
