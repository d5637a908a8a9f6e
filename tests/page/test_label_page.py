"""The labelling page around the canvas: start screen, images, classes, keys; on screens of all sizes, for everyone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import AXE, chromium, reload, until, watch_requests
from labelling_page import Stage, image_id, labelled, labelling_page, started_labelling
from PIL import Image

from conftest import TOKEN
from pixelwise.datasets.convert import WRITERS
from pixelwise.images.image_files import write_png

IMAGES = 1000
MARKUP = "<img src=x onerror=alert(1)>"
SCREEN = {"viewport": {"width": 1366, "height": 768}, "reduced_motion": "reduce"}
ROWS = "document.querySelectorAll('[data-index]').length"
ACTIVE = "document.activeElement"
AXE_FINDS = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .map((row) => `${row.id}: ${row.nodes[0].html}`)"""


def photo(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = np.full((24, 32, 3), rng.integers(60, 200, 3), np.uint8)
    pixels[8:16, 8:24] = rng.integers(0, 255, 3)
    return pixels


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a thousand photos and two classes, one of them with markup in its name."""
    chromium()
    photos = tmp_path_factory.mktemp("label-page") / "photos"
    for place in range(IMAGES):
        folder = photos / ("<b>street<b>" if place % 2 else "yard")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(place % 7)).save(folder / f"photo-{place:04}.png")
    with started_labelling(photos, ("--classes", f"road,{MARKUP}")) as (found, _):
        yield found


def finds_nothing(page: Any, where: str) -> None:
    """Axe, in both themes; and nothing sticks out."""
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width, where
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        assert page.evaluate(AXE_FINDS) == [], (where, theme)


@pytest.mark.parametrize("width", [1366, 360])
def test_axe_finds_nothing(browser: Any, address: str, width: int) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in web/")
    screen = {"viewport": {"width": width, "height": 768}, "reduced_motion": "reduce", "bypass_csp": True}
    with labelling_page(browser, address, **screen) as page:
        page.evaluate(AXE.read_text(encoding="utf-8"))
        if width < 900:
            page.get_by_role("button", name="Images", exact=True).click()
            finds_nothing(page, "images")
            page.get_by_role("button", name="Classes and training").click()
        page.get_by_role("button", name="Edit road").click()
        finds_nothing(page, "a class")
        for opens in ("Keys", "Import", "Export", "Tidy up …"):
            page.get_by_role("button", name=opens, exact=True).click()
            finds_nothing(page, opens)
            page.keyboard.press("Escape")
            until(page, "!document.querySelector('dialog')")


def test_a_thousand_images_are_few_rows(browser: Any, address: str) -> None:
    with labelling_page(browser, address, **SCREEN) as page:
        page.wait_for_selector("text=0 of 1\u202f000 images done")
        assert 5 < page.evaluate(ROWS) < 40
        page.locator("[data-index='0']").focus()
        page.keyboard.press("End")
        until(page, f"{ACTIVE}.dataset.index === '{IMAGES - 1}'")
        assert 5 < page.evaluate(ROWS) < 40
        page.wait_for_selector("text=photo-0998.png")  # of the folder yard, the last in order
        page.keyboard.press("Enter")
        page.wait_for_selector(f"text={IMAGES} of {IMAGES}")
        page.keyboard.press("/")
        page.keyboard.type("photo-012")
        until(page, f"document.querySelector('[aria-setsize]')?.getAttribute('aria-setsize') === '10' && {ROWS} === 10")
        page.get_by_label("Show images that are").select_option("done")
        page.wait_for_selector("text=No image matches.")


def test_names_are_never_markup(browser: Any, address: str) -> None:
    with labelling_page(browser, address, **SCREEN) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        page.get_by_role("button", name=f"Edit {MARKUP}").click()
        assert page.get_by_label("Name", exact=True).input_value() == MARKUP
        page.fill("#image-search", "<b>street<b>/photo-0001")
        page.wait_for_selector("[title='<b>street<b>/photo-0001.png']")
        assert page.locator("ol[aria-label=Classes] img, ul[aria-label=Images] b").count() == 0


def test_keys_alone_label_an_image_and_go_on(browser: Any, address: str) -> None:
    """From the first Tab: to the image, a stroke of each class, undone and redone, done, and on to the next."""
    with labelling_page(browser, address, **SCREEN) as page:
        image = page.evaluate("location.hash").partition("=")[2]
        place = page.evaluate("document.querySelector('[data-index][aria-current]').dataset.index")
        reload(page)  # the focus is where a person has it who has just come
        page.wait_for_selector("[data-testid=label-readout]")
        page.keyboard.press("Tab")
        assert page.evaluate(f"{ACTIVE}.textContent") == "Skip to the image"
        page.keyboard.press("Enter")
        page.keyboard.press("b")
        for key, moves in (("1", 4), ("2", 8)):
            page.keyboard.press(key)
            page.keyboard.press("Space")
            for _ in range(moves):
                page.keyboard.press("ArrowRight")
            page.keyboard.press("Space")
            pixels = int(labelled(address, image, int(key) - 1).sum())
        page.keyboard.press("Control+z")
        labelled(address, image, 1, 0)
        page.keyboard.press("Control+Shift+z")
        labelled(address, image, 1, pixels)
        page.wait_for_selector(f"[data-index='{place}'] >> text=started")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(f"text={int(place) + 2} of 1000")
        page.wait_for_selector("text=1 of 1\u202f000 images done")
        page.keyboard.press("PageUp")
        page.wait_for_selector(f"text={int(place) + 1} of 1000 · done")
        page.keyboard.press("?")
        sheet = page.locator("dialog")
        assert "done, and on to the next image" in sheet.inner_text()
        page.keyboard.press("Escape")


def test_classes_are_changed_by_keys(browser: Any, address: str) -> None:
    with labelling_page(browser, address, **SCREEN) as page:
        names = "[...document.querySelectorAll('ol[aria-label=Classes] .text')].map((one) => one.textContent).join()"
        page.get_by_label("Name of a new class").fill("car")
        page.keyboard.press("Enter")
        until(page, f"{names} === 'road,{MARKUP},car'")
        page.get_by_role("button", name="car", exact=False).first.focus()
        page.keyboard.press("Alt+ArrowUp")
        until(page, f"{names} === 'road,car,{MARKUP}'")
        page.get_by_role("button", name="Edit car").click()
        page.get_by_label("Name", exact=True).fill("lorry")
        page.keyboard.press("Enter")
        until(page, f"{names} === 'road,lorry,{MARKUP}'")
        page.get_by_role("button", name="Delete …").click()
        page.wait_for_selector("text=No pixel of any image has this class.")
        page.get_by_role("button", name="Delete", exact=True).click()
        until(page, f"{names} === 'road,{MARKUP}'")


def test_every_format_that_convert_writes_is_offered(browser: Any, address: str) -> None:
    with labelling_page(browser, address, **SCREEN) as page:
        page.get_by_role("button", name="Export").click()
        offered = page.evaluate("[...document.querySelectorAll('dialog option')].map((one) => one.value)")
        assert set(offered) == set(WRITERS)


def test_nothing_yet_then_photos_are_dropped(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder at all: classes are named, photos dropped, and the first one labelled."""
    chromium()
    monkeypatch.chdir(tmp_path)
    with started_labelling(None) as (address, _):
        context = browser.new_context(**SCREEN, bypass_csp=True)
        page = context.new_page()
        wrong = watch_requests(page, address)
        page.set_default_timeout(60_000)
        page.goto(f"{address}/label?token={TOKEN}")
        page.wait_for_selector("text=Classes to begin with")
        if AXE.is_file():
            page.evaluate(AXE.read_text(encoding="utf-8"))
            finds_nothing(page, "start")
        page.get_by_label("Folder", exact=True).fill(str(tmp_path / "missing"))
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert] >> text=missing")
        wrong.clear()  # the browser reports the refusal, too
        page.get_by_label("Classes to begin with").fill("wall, door")
        files = []
        for place in range(2):
            write_png(tmp_path / f"photo {place}.png", photo(place))
            files.append(tmp_path / f"photo {place}.png")
        page.set_input_files("[data-testid=photos]", files)
        page.wait_for_selector("[data-testid=label-readout]")
        page.wait_for_selector("text=0 of 2 images done")
        until(page, "document.querySelectorAll('ol[aria-label=Classes] li').length === 2")
        page.keyboard.press("r")
        Stage(page, 32, 24).drag((4, 4), (12, 10))
        labelled(address, image_id(address), 0)
        assert wrong == []
        context.close()


def test_without_the_token_it_says_what_to_do(browser: Any, address: str) -> None:
    context = browser.new_context(**SCREEN)
    page = context.new_page()
    page.goto(f"{address}/label")
    page.wait_for_selector("text=This page needs the server’s token")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-testid=label-readout]")
    context.close()
