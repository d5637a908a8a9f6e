"""Pictures of the page: `python docs/page_pictures.py`; all of them, to look at: `--all --out FOLDER`.

Serves a built-in model and a folder of images, opens each room and tab in Chromium, and writes one WebP each to
docs/page/. A view is an address of the page, what to click and what to wait for; those of KEPT are committed. All
images are rendered: no photograph, no licence.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from record_page import SCENE, served

import pixelwise as pw
from pixelwise.datasets.dataset_toml import dataset_toml
from pixelwise.images.image_files import encode_png, write_png
from pixelwise.records import VOID
from pixelwise.scenes.render_scene import SCENE_CLASSES, render_scene, write_scenes

OUT = Path(__file__).with_name("page")
SCREENS = {"laptop": (1366, 768), "phone": (360, 800)}
THEMES = ("light", "dark")
LIMIT_BYTES = 2_000_000  # of all kept pictures together
QUALITY = 60


@dataclass(frozen=True)
class View:
    """A room or tab as its address names it."""

    name: str
    hash: str
    click: str = ""  # a selector of what is pressed first
    ready: str = ""  # a selector that appears when it is whole
    scroll_to: str = ""  # a selector that is brought to the top


SCENES = {"train": 24, "val": 8}  # of the folder
TABS = ("overview", "why", "pipeline", "layers", "metrics", "challenge", "review", "project", "code")
VIEWS = (
    *(View(tab, f"tab={tab}") for tab in TABS),
    *(View(f"pipeline-{part}", f"tab=pipeline&part={part}") for part in (2, 3, 4)),
    View("why-instances", "tab=why", ready="[data-testid=touching]", scroll_to="[data-testid=touching]"),
    View("room-images", "room=images", ready="main button .frame img"),
    View("room-train", "room=train"),
    View("room-evaluate", "room=evaluate", "form[aria-label='New evaluation'] button", "text=Report as HTML"),
    View("room-ship", "room=ship"),
)
PINNED = "pixel=256,288"  # a car
KEPT = tuple(
    (view.name, screen, theme)
    for view in VIEWS
    if view.name in TABS or view.name.startswith("room-")
    for screen, theme in (("laptop", "light"), ("phone", "dark"))
)


def shoot(page: Any, view: View) -> bytes:
    """The view as PNG, once nothing in it is still on its way."""
    here = view.hash if view.hash.startswith("room") else f"{view.hash}&{PINNED}"
    page.evaluate("(hash) => { location.hash = hash; }", here)
    page.wait_for_timeout(600)
    if view.click:
        page.click(view.click)
    if view.ready:
        page.wait_for_selector(view.ready, timeout=60_000)
    for _ in range(100):
        if not page.evaluate("!!document.querySelector('main [aria-busy=true]')"):
            break
        page.wait_for_timeout(200)
    page.evaluate("(to) => (to ? document.querySelector(to).scrollIntoView() : scrollTo(0, 0))", view.scroll_to)
    page.mouse.move(2, 2)  # no tooltip
    page.wait_for_timeout(300)
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    if wide > 0:
        print(f"{view.name}: {wide} px wider than the screen")
    picture: bytes = page.screenshot()
    return picture


@contextmanager
def folder_of_scenes(model: str) -> Iterator[Path]:
    """Rendered streets, their masks in the model's classes."""
    classes = pw.load(model).classes
    ids = np.array([classes.names.index(name) for name in SCENE_CLASSES.names] + [VOID] * 256, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "my_streets"
        write_scenes(data, SCENES, height_px=360, width_px=480)
        for path in data.glob("*/masks/*.png"):
            with Image.open(path) as mask:
                write_png(path, ids[np.asarray(mask)])
        (data / "dataset.toml").write_text(dataset_toml(classes), encoding="utf-8")
        yield data


def open_scene(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("[data-testid=pixel]", timeout=120_000)
    image = {"name": "street.png", "mimeType": "image/png", "buffer": encode_png(render_scene(*SCENE)[0])}
    page.set_input_files("[data-testid=file]", image)
    page.wait_for_selector("option:has-text('street.png'):checked", state="attached", timeout=120_000)
    page.wait_for_selector(".ribbon .layer", state="attached", timeout=120_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="street", help="a model of street scenes (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=OUT, help="default: docs/page")
    parser.add_argument("--all", action="store_true", help="every view on every screen in both themes")
    parser.add_argument("--views", help="only these, separated by commas, on the screens and in the themes asked for")
    parser.add_argument("--screens", default=",".join(SCREENS))
    parser.add_argument("--themes", default=",".join(THEMES))
    chosen = parser.parse_args()
    chromium = os.environ.get("PIXELWISE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("No Chromium found. Install it, or name one in PIXELWISE_CHROMIUM.")
    names = chosen.views.split(",") if chosen.views else [view.name for view in VIEWS]
    if unknown := set(names) - {view.name for view in VIEWS}:
        raise SystemExit(
            f"No such view: {', '.join(sorted(unknown))}. Views: {', '.join(view.name for view in VIEWS)}."
        )
    every = chosen.all or bool(chosen.views)
    chosen.out.mkdir(parents=True, exist_ok=True)
    with (
        folder_of_scenes(chosen.model) as data,
        served(chosen.model, "--data", str(data)) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for screen in chosen.screens.split(","):
            width, height = SCREENS[screen]
            for theme in chosen.themes.split(","):
                here = [v for v in VIEWS if v.name in names and (every or (v.name, screen, theme) in KEPT)]
                if not here:
                    continue
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce",
                    has_touch=screen == "phone", is_mobile=screen == "phone",
                )  # fmt: skip
                page = context.new_page()
                open_scene(page, address)
                for view in here:
                    path = chosen.out / f"{view.name}-{screen}-{theme}.webp"
                    Image.open(io.BytesIO(shoot(page, view))).save(path, "WEBP", quality=QUALITY, method=6)
                context.close()
        browser.close()
    size = sum(path.stat().st_size for path in chosen.out.glob("*.webp"))
    print(f"{chosen.out}: {len(list(chosen.out.glob('*.webp')))} pictures, {size / 1e6:.2f} MB")
    if not every and size > LIMIT_BYTES:
        raise SystemExit(f"The pictures have {size} bytes; at most {LIMIT_BYTES} were wanted. Lower QUALITY.")


if __name__ == "__main__":
    main()
