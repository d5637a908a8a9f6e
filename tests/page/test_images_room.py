"""The Images room in a real browser: by mouse, by keyboard, over a reload, in both themes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import AXE, new_page, reload, until, watch_requests

import planted
from conftest import TOKEN, picture, started_server
from pixelwise.images.image_files import write_png

TOTAL = planted.TRAIN + planted.VAL + 1


@pytest.fixture(scope="module")
def room(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[tuple[str, Path]]:
    """A server with a dataset of which one image is in both splits."""
    assert browser
    root = planted.sound(tmp_path_factory.mktemp("data") / "scenes")
    planted.FAULTS["a copy in val"][1](root)
    with started_server(tiny_bundle, root.parent / "runs", options=["--data", str(root)]) as (address, _):
        yield address, root


@pytest.fixture
def seen(browser: Any, room: tuple[str, Path]) -> Iterator[Any]:
    """The room, with its check ended."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(120_000)
    wrong = watch_requests(page, room[0])
    page.goto(f"{room[0]}/?token={TOKEN}#room=images")
    page.wait_for_selector("select[aria-label=Finding]")
    until(page, "[...document.querySelectorAll('main li img')].some((one) => one.naturalWidth > 0)")
    yield page
    context.close()
    assert wrong == []


def axe(page: Any) -> None:
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        "async () => (await axe.run()).violations.map((one) => [one.id, one.nodes.map((n) => n.html)])"
    )
    assert found == [], json.dumps(found, indent=1)


def test_filters_keyboard_and_a_reload_keep_what_was_chosen(seen: Any) -> None:
    status = seen.locator("main [role=status]").last
    assert f"{TOTAL} images" in status.inner_text()
    seen.select_option("select[aria-label=Split]", "val")
    until(seen, f"document.querySelectorAll('main li').length === {planted.VAL + 1}")
    reload(seen)
    seen.wait_for_selector("select[aria-label=Finding]")
    until(seen, f"document.querySelectorAll('main li').length === {planted.VAL + 1}")
    axe(seen)
    seen.focus("main li button[tabindex='0']")
    seen.keyboard.press("ArrowRight")
    until(seen, "document.activeElement.dataset.index === '1'")
    seen.keyboard.press("Enter")
    seen.wait_for_selector("dialog img")
    until(seen, "document.querySelector('dialog img').naturalWidth > 0")
    axe(seen)
    seen.keyboard.press("Escape")
    until(seen, "!document.querySelector('dialog')")
    seen.click("text=Clear filters")
    until(seen, f"document.querySelectorAll('main li').length === {TOTAL}")


def test_a_finding_is_fixed_in_a_copy(seen: Any, room: tuple[str, Path]) -> None:
    seen.click("nav >> text=Findings")
    seen.wait_for_selector("article")
    seen.evaluate("document.documentElement.dataset.theme = 'dark'")
    axe(seen)
    seen.click("text=Fix …")
    seen.check("text=Yes")
    axe(seen)
    seen.click("text=Write the copy")
    seen.wait_for_selector("text=The copy holds")
    copy = room[1].parent / "runs/scenes_repaired"
    assert len(list((copy / "train/images").iterdir())) + len(list((copy / "val/images").iterdir())) == TOTAL - 1
    seen.click("text=Show the copy")
    until(seen, "location.hash.includes('data=scenes-repaired')")
    until(seen, f"document.querySelectorAll('main li').length === {TOTAL - 1}")
    seen.wait_for_selector("select[aria-label=Finding]")
    shutil.rmtree(copy)


def test_several_photos_stay_over_a_reload_and_downloads_have_their_names(seen: Any, tmp_path: Path) -> None:
    for number in range(2):
        write_png(tmp_path / f"street {number}.png", picture(number, 60, 90))
    seen.click("nav >> text=Opened photos")
    seen.set_input_files("[data-testid=photos]", [str(tmp_path / f"street {number}.png") for number in range(2)])
    until(seen, "document.querySelectorAll('main article img').length === 2")
    axe(seen)
    with seen.expect_download() as download:
        seen.click("[aria-label='Download the mask of street 1.png']")
    assert download.value.suggested_filename == "street-1-mask.png"
    reload(seen)
    until(seen, "document.querySelectorAll('main article img').length === 2")
    seen.set_viewport_size({"width": 360, "height": 700})
    assert seen.evaluate("document.documentElement.scrollWidth") <= 360
    seen.click("nav[aria-label=Rooms] a:has-text('Learn')")  # the same photos, wherever an image is chosen
    seen.focus("[data-testid=shelf]")
    seen.keyboard.press("Enter")
    until(seen, "document.querySelectorAll('header article img').length === 2")
    axe(seen)
    assert seen.evaluate("document.documentElement.scrollWidth") <= 360
    with seen.expect_download() as download:
        seen.click("header [aria-label='Download the mask of street 0.png']")
    assert download.value.suggested_filename == "street-0-mask.png"
    seen.keyboard.press("Escape")
    until(seen, "document.activeElement.dataset.testid === 'shelf'")
    seen.keyboard.press("Enter")
    seen.click("header li:has-text('street 0.png') a")
    until(seen, "document.querySelector('[data-testid=stage] canvas')?.width === 90")
    until(seen, "!document.querySelector('header article')")


@pytest.mark.parametrize("width", [360, 1280, 1920])
def test_nothing_moves_when_the_first_photo_opens(
    browser: Any, room: tuple[str, Path], photo_file: Path, width: int
) -> None:
    """The strip's button has its place in the header from the start."""
    with new_page(browser, room[0], viewport={"width": width, "height": 768}) as page:
        page.wait_for_selector("[data-testid=stage]")
        assert page.locator("[data-testid=shelf]").is_hidden()
        before = page.locator("header").bounding_box()
        page.set_input_files("[data-testid=file]", photo_file)
        page.wait_for_selector("[data-testid=shelf]")
        assert page.locator("header").bounding_box() == before
