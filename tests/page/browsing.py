"""A real browser on a real server."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import TOKEN
from pixelwise.server.page_files import STATIC

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"


def chromium() -> str:
    """The browser's path; skips the test, saying what to do, where something is missing."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed; install pixelwise[dev]")
    found = os.environ.get("PIXELWISE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in PIXELWISE_CHROMIUM")
    if not (STATIC / "index.html").is_file():
        pytest.skip("the page is not built: python hatch_build.py")
    return found


def watch_requests(page: Any, address: str) -> list[str]:
    """Collects every request that leaves this machine, and every error of the page."""
    wrong: list[str] = []
    page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else wrong.append(r.url))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None)
    return wrong


def until(page: Any, condition: str, seconds: float = 120) -> None:
    """Wait until a JavaScript expression is true. The page's policy forbids what Playwright's own waiting does."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never true: {condition}"
        page.wait_for_timeout(25)


TABS = ("overview", "why", "pipeline", "layers", "metrics", "challenge", "review", "project", "code")


def open_page(page: Any, address: str, hash_: str = "") -> None:
    page.set_default_timeout(120_000)  # ms; other tests run beside these
    page.goto(f"{address}/?token={TOKEN}{hash_}")
    page.wait_for_selector("[data-testid=pixel]")


@contextmanager
def new_page(browser: Any, address: str, **screen: Any) -> Iterator[Any]:
    """The page on a screen of its own, in order to the end: no request left the machine, nothing failed."""
    context = browser.new_context(**screen)
    page = context.new_page()
    wrong = watch_requests(page, address)
    open_page(page, address)
    yield page
    context.close()
    assert wrong == [], wrong


def reload(page: Any) -> None:
    """Reload the page as it stands. Playwright's own reload asks the browser, which on a busy machine may not yet have
    heard of an address that the page has just written, and opens the one before."""
    with page.expect_event("load"):
        page.evaluate("void setTimeout(() => location.reload())")


def open_tab(page: Any, tab: str) -> None:
    """Open a tab and wait until nothing in it is still on its way."""
    page.click(f"#tab-{tab}")
    page.wait_for_selector(f"#tab-{tab}[aria-selected=true]")
    page.wait_for_selector("#content h2")
    until(page, "!document.querySelector('#content [aria-busy=true]')", 120)


def open_room(page: Any, room: str) -> None:
    """Go through a door of the header, and wait until the room is there."""
    page.click(f"nav[aria-label=Rooms] a[href*='room={room}']")
    page.wait_for_selector("main#content h2")
    until(page, "!document.querySelector('#content [aria-busy=true]')", 120)


WIDTH = "document.querySelector('[data-testid=stage] canvas').width"  # of the image on the stage, in its own pixels
READOUT = "document.querySelector('[data-testid=pixel]').innerText"
