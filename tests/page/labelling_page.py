"""The labelling page in a real browser, on a server of its own."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from browsing import watch_requests

from conftest import TOKEN

PROOF = {"Authorization": f"Bearer {TOKEN}"}
STAGE = "[data-testid=label-stage]"
MESSAGE = "[data-testid=label-message]"


@contextmanager
def started_labelling(
    photos: Path | None, options: Sequence[str] = (), port: int = 0, folder: Path | None = None
) -> Iterator[tuple[str, Any]]:
    """`pixelwise label [PHOTOS]`, in a folder; gives its address and its process."""
    command = [sys.executable, "-m", "pixelwise", "label", *([str(photos)] if photos else []), "--port", str(port)]
    command += options
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "PIXELWISE_TOKEN": TOKEN}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=folder
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "http://" in line:
                yield "http://" + line.split("http://")[1].split("/")[0], process
                break
        else:
            raise AssertionError(f"the server did not start: exit code {process.wait()}")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def open_labelling(page: Any, address: str, image: str = "") -> None:
    """The page with an image open: the first one, unless another is named."""
    page.set_default_timeout(120_000)  # ms; other tests run beside these
    page.goto(f"{address}/label?token={TOKEN}" + (f"#image={image}" if image else ""))
    page.wait_for_selector("[data-testid=label-readout]")
    page.wait_for_selector(f"{STAGE}[aria-busy=false]")
    page.locator(STAGE).focus()


@contextmanager
def labelling_page(browser: Any, address: str, image: str = "", **screen: Any) -> Iterator[Any]:
    """The page on a screen of its own; in the end, no request left the machine and nothing failed."""
    context = browser.new_context(**screen)
    page = context.new_page()
    wrong = watch_requests(page, address)
    try:
        open_labelling(page, address, image)
        yield page
        page.goto("about:blank")
        given_back(address)
    finally:
        context.close()
    assert [one for one in wrong if one != "about:blank"] == []


def given_back(address: str, seconds: float = 25) -> None:
    """Wait until no image is open any more: whoever closes the page lets others in, before the lock lapses (30 s)."""
    end = time.monotonic() + seconds
    while any(row["locked_by"] for row in images(address)):
        assert time.monotonic() < end, "the page is closed, but its image is still locked"
        time.sleep(0.05)


def images(address: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = httpx.get(f"{address}/v1/label/images", headers=PROOF, timeout=60).json()["images"]
    return rows


def image_id(address: str, place: int = 0) -> str:
    return str(images(address)[place]["id"])


def mask_of(address: str, image: str) -> tuple[np.ndarray, np.ndarray]:
    """Keys and who drew them, as the server has them: [H, W] each."""
    body = httpx.get(f"{address}/v1/label/images/{image}/mask", headers=PROOF, timeout=60).content
    (length,) = struct.unpack("<I", body[:4])
    rows = json.loads(body[4 : 4 + length])["arrays"]
    keys, drawn = (
        np.frombuffer(body, np.uint8, int(np.prod(row["shape"])), 4 + length + row["offset"]).reshape(row["shape"])
        for row in rows
    )
    return keys, drawn


def labelled(
    address: str, image: str, key: int, pixels: int | None = None, at: tuple[int, int] | None = None
) -> np.ndarray:
    """Wait until the server has this class: somewhere, on as many pixels as named, or at a row and column. Where it is,
    bool [H, W]."""
    end = time.monotonic() + 120
    while True:
        found = mask_of(address, image)[0] == key
        if found[at] if at else found.any() if pixels is None else found.sum() == pixels:
            return found
        assert time.monotonic() < end, f"class {key} has {found.sum()} pixels"
        time.sleep(0.05)


def said(page: Any, words: str) -> None:
    """Wait until the canvas has said this."""
    page.wait_for_selector(f"{MESSAGE} >> text={words}", state="attached")


class Stage:
    """Places of the image on the screen, as long as all of it is shown."""

    def __init__(self, page: Any, width: int, height: int) -> None:
        box = page.locator(STAGE).bounding_box()
        self.page, self.scale = page, min(box["width"] / width, box["height"] / height)
        self.left = box["x"] + (box["width"] - width * self.scale) / 2
        self.top = box["y"] + (box["height"] - height * self.scale) / 2

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The middle of a pixel, in pixels of the screen."""
        return self.left + (x + 0.5) * self.scale, self.top + (y + 0.5) * self.scale

    def click(self, x: float, y: float, **options: Any) -> None:
        self.page.mouse.click(*self.at(x, y), **options)

    def drag(self, *places: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(*places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(*place), steps=4)
        self.page.mouse.up()
