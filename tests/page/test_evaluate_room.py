"""The Evaluate room in a real browser: a report, the pixels behind a cell, two models, a server that is restarted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import AXE, chromium, reload, until, watch_requests

from conftest import THREE, TOKEN, make_bundle, picture, started_server
from pixelwise.images.image_files import write_png
from pixelwise.prediction.load_model import load

IMAGES = 4
AXE_FINDS = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .map((row) => `${row.id}: ${row.nodes[0].html}`)"""
MOST_WRONG = """(() => { const cells = [...document.querySelectorAll('[data-testid=cells] [data-cell]')]
    .filter((one) => one.ariaDisabled !== 'true' && one.dataset.cell.split(',')[0] !== one.dataset.cell.split(',')[1]);
    return cells[0].dataset.cell })()"""


@pytest.fixture(scope="module")
def evaluated(fast_bundle: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A model, a folder of runs with another model, and a val split on which both are partly wrong."""
    root = tmp_path_factory.mktemp("evaluated")
    model = load(fast_bundle[0], threads=1)
    for i in range(IMAGES):
        image = picture(i, 60, 80)
        mask = np.roll(model.predict(image).labels, 3 + i, axis=1)
        for part, array in (("images", image), ("masks", mask)):
            (root / "moved/val" / part).mkdir(parents=True, exist_ok=True)
            write_png(root / "moved/val" / part / f"{i}.png", array)
    classes = (f'[[classes]]\nid = {i}\nname = "{name}"\n' for i, name in enumerate(THREE.names))
    (root / "moved/dataset.toml").write_text("".join(classes))
    (root / "runs/other").mkdir(parents=True)
    make_bundle(root / "runs/other/model.onnx", "unet")
    (root / "runs/other/trace.jsonl").touch()
    shutil.copy(fast_bundle[0], root / "served.onnx")
    return root / "served.onnx", root / "runs", root / "moved"


@pytest.fixture(scope="module")
def room_address(evaluated: tuple[Path, Path, Path]) -> Iterator[str]:
    chromium()
    model, runs, data = evaluated
    with started_server(model, runs, options=["--data", str(data)]) as (address, _):
        yield address


@contextmanager
def evaluating(browser: Any, address: str, hash_: str = "", **screen: Any) -> Iterator[Any]:
    """The room with its form ready; nothing failed and no request left the machine."""
    context = browser.new_context(**screen)
    page = context.new_page()
    page.set_default_timeout(120_000)
    wrong = watch_requests(page, address)
    page.goto(f"{address}/?token={TOKEN}#room=evaluate{hash_}")
    page.wait_for_selector("form[aria-label='New evaluation'] button:enabled")
    yield page
    assert wrong == []
    context.close()


def report(page: Any) -> None:
    page.wait_for_selector("text=Report as HTML")
    page.wait_for_selector("[data-testid=score-miou]")


def test_a_cell_opens_its_pixels_by_mouse_and_keyboard_and_a_reload_keeps_all(browser: Any, room_address: str) -> None:
    with evaluating(browser, room_address, viewport={"width": 1280, "height": 900}) as page:
        page.click("form[aria-label='New evaluation'] button")
        report(page)
        cell = page.evaluate(MOST_WRONG)
        page.click(f"[data-cell='{cell}']")
        page.wait_for_selector("[data-testid=gallery] img[alt*='predicted as']", state="attached")
        first = page.locator("[data-testid=gallery] button").first
        first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog[open] img")
        page.click("dialog[open] button:has-text('True mask')")
        reload(page)
        page.wait_for_selector("dialog[open] button:has-text('True mask')[aria-pressed=true]")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog[open]", state="detached")
        assert page.locator(f"[data-cell='{cell}']").get_attribute("aria-pressed") == "true"
        page.locator(f"[data-cell='{cell}']").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        moved = page.evaluate("document.activeElement.dataset.cell")
        assert moved != cell
        page.go_back()
        page.wait_for_selector(f"[data-cell='{cell}'][aria-pressed=true]")
        slider = page.locator("input[type=range]")
        slider.focus()
        page.keyboard.press("End")
        page.wait_for_selector("output:has-text('0.99')")


def test_two_models_are_compared_image_by_image(browser: Any, room_address: str) -> None:
    with evaluating(browser, room_address, viewport={"width": 1280, "height": 900}) as page:
        page.select_option("form label:has-text('Compare with') select", "other")
        page.click("form button:has-text('Compare')")
        page.wait_for_selector("text=Comparison as JSON")
        assert "images got better" in page.locator("[data-testid=claim]").inner_text()
        page.wait_for_selector("[data-testid=gallery] img[alt*='model B']", state="attached")


@pytest.mark.parametrize("width", [1280, 360])
def test_the_room_fits_and_axe_finds_nothing(browser: Any, room_address: str, width: int) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in web/")
    screen = {"viewport": {"width": width, "height": 800}, "bypass_csp": True, "reduced_motion": "reduce"}
    with evaluating(browser, room_address, **screen) as page:
        page.click("form[aria-label='New evaluation'] button")
        report(page)
        page.wait_for_selector("[data-testid=gallery] img", state="attached")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            assert page.evaluate(AXE_FINDS) == [], theme
        page.locator("[data-testid=gallery] button").first.click()
        page.wait_for_selector("dialog[open] img")
        assert page.evaluate(AXE_FINDS) == []


def test_the_report_stays_while_the_server_is_restarted(browser: Any, evaluated: tuple[Path, Path, Path]) -> None:
    model, runs, data = evaluated
    options = ["--data", str(data)]
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    with started_server(model, runs, options=options) as (address, process):
        page.goto(f"{address}/?token={TOKEN}#room=evaluate")
        page.wait_for_selector("form[aria-label='New evaluation'] button:enabled")
        page.click("form[aria-label='New evaluation'] button")
        report(page)
        score = page.locator("[data-testid=score-miou]").inner_text()
        process.kill()
        process.wait(30)
    page.click("button:has-text('Best first')")
    page.wait_for_selector("text=The server does not respond")
    port = int(address.rpartition(":")[2])
    with started_server(model, runs, port, options):
        page.wait_for_selector("text=The server does not respond", state="detached")
        page.wait_for_selector("button:has-text('Best first')[aria-pressed=true]")
        until(page, "document.querySelectorAll('[data-testid=gallery] li').length === 4")
        reload(page)
        report(page)
        assert page.locator("[data-testid=score-miou]").inner_text() == score
    context.close()


def test_without_data_the_room_says_what_to_start(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}/?token={TOKEN}#room=evaluate")
    page.wait_for_selector("pre:has-text('pixelwise serve')")
    assert "--data FOLDER" in page.locator("pre").inner_text()
    context.close()
