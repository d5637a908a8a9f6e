"""The page, driven as people drive it, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import AXE, FLAGS, chromium, until, watch_requests

from conftest import picture, started_server
from pixelwise.data.images import write_png
from pixelwise.prediction.image import Model

TABS = ("overview", "why", "pipeline", "layers", "metrics", "challenge", "review", "project", "code")


@pytest.fixture(scope="module")
def address(fast_bundle: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    chromium()
    with started_server(fast_bundle[0], tmp_path_factory.mktemp("runs")) as (found, _):
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    wrong = watch_requests(page, address)
    open_page(page, address)
    yield page
    context.close()
    assert wrong == []


def open_page(page: Any, address: str, hash_: str = "") -> None:
    page.goto(f"{address}/{hash_}")
    page.wait_for_selector("[data-testid=pixel]", timeout=30_000)


@pytest.fixture(scope="session")
def photo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    write_png(path, np.ascontiguousarray(picture(9, 120, 200)))
    return path


def test_a_first_image_is_labelled_when_the_page_opens(page: Any) -> None:
    drawn = page.evaluate("""() => {
        const mask = document.querySelectorAll('[data-testid=stage] canvas')[1];
        const data = mask.getContext('2d').getImageData(0, 0, mask.width, mask.height).data;
        return data.filter((value, i) => i % 4 === 3 && value > 0).length / (mask.width * mask.height);
    }""")
    assert drawn == 1
    assert page.locator(".ribbon .layer").first.wait_for() is None


def test_an_upload_is_labelled_and_every_pixel_can_be_asked(page: Any, photo_file: Path, served_model: Model) -> None:
    page.set_input_files("[data-testid=file]", photo_file)
    until(page, "document.querySelector('[data-testid=stage] canvas').width === 200")
    prediction = served_model.predict(photo_file)
    box = page.locator("[data-testid=stage]").bounding_box()
    for x, y in ((0, 0), (37, 81), (150, 20), (199, 119)):
        page.mouse.move(box["x"] + (x + 0.5) / 200 * box["width"], box["y"] + (y + 0.5) / 120 * box["height"])
        until(page, f"document.querySelector('[data-testid=pixel]').innerText.includes('({x}, {y})')")
        shown = [float(text) for text in page.locator("[data-testid=pixel] .value").all_inner_texts()]
        expected = list(prediction.probabilities(x, y).values())
        assert shown == pytest.approx(expected, abs=0.0006)
    assert "truth" not in page.locator("[data-testid=pixel]").inner_text()  # the sample's mask is not this image's


def test_the_address_restores_what_was_chosen(page: Any, address: str) -> None:
    open_page(page, address, "#tab=layers&pixel=12,34&layer=stage2&view=entropy")
    page.wait_for_selector("h3:has-text('stage2')")
    assert "(12, 34)" in page.locator("[data-testid=pixel]").inner_text()
    page.click("#tab-why")
    until(page, "location.hash.includes('tab=why') && location.hash.includes('pixel=12,34')")


def test_layers_end_in_arithmetic(page: Any) -> None:
    page.click("#tab-layers")
    page.wait_for_selector("[data-testid=channel-map]")
    page.click("[data-testid=channel-map]", position={"x": 40, "y": 40})
    text = page.locator("[data-testid=unit]").inner_text()
    assert re.search(r"bias .* = ", text)
    page.uncheck("text=skip into up4")
    page.wait_for_selector("text=/without up4: .* of the pixels/")


def test_iou_by_hand_is_what_it_says(page: Any) -> None:
    page.click("#tab-metrics")
    page.locator("[data-testid=stage]").hover(position={"x": 380, "y": 12})  # sky, which this model knows
    text = page.locator("[data-testid=iou]").inner_text()
    both, either, shown = re.search(r"= (\d+) / (\d+) = (\d\.\d+)", text).groups()  # type: ignore[union-attr]
    assert float(shown) == pytest.approx(int(both) / int(either), abs=0.0006)
    page.wait_for_selector("[data-testid=confusion]", timeout=60_000)


def test_the_quiz_gives_reasons(page: Any) -> None:
    page.click("#tab-pipeline")
    page.wait_for_selector(".ribbon .layer")
    assert page.locator("#quiz li").count() >= 9
    page.check("text=To blur the background")
    page.wait_for_selector("text=says exactly where")
    page.check("text=To know the exact location of objects")
    assert "1 of 1 right" in page.locator("[data-testid=score]").inner_text()


def test_the_keyboard_alone_does_it(page: Any) -> None:
    page.locator("#tab-overview").focus()
    for tab in TABS[1:]:
        page.keyboard.press("ArrowRight")
        assert page.locator(f"#tab-{tab}").get_attribute("aria-selected") == "true"
    page.locator("[data-testid=stage]").focus()
    before = page.locator("[data-testid=pixel] .head").inner_text()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert page.locator("[data-testid=pixel] .head").inner_text() != before
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    page.locator("#tab-challenge").focus()
    page.keyboard.press("Enter")
    board = page.locator("[data-testid=board]")
    board.focus()
    page.keyboard.press("Space")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.click("text=Done")
    page.wait_for_selector("text=/has an IoU of/")


def test_the_report_opens_from_the_disk(page: Any, browser: Any, tmp_path: Path) -> None:
    with page.expect_download() as started:
        page.click("text=whole story (HTML)")
    path = tmp_path / "story.html"
    started.value.save_as(path)
    context = browser.new_context(offline=True)
    alone = context.new_page()
    wrong = watch_requests(alone, path.as_uri())
    alone.goto(path.as_uri())
    assert alone.locator("h1").inner_text() == "Every pixel of this image, labelled"
    assert alone.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert wrong == []
    context.close()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
def test_every_tab_for_everyone(browser: Any, address: str, theme: str, width: int) -> None:
    """Nothing sticks out, nothing is loaded from elsewhere, and axe finds nothing."""
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=theme, reduced_motion="reduce", bypass_csp=True
    )
    page = context.new_page()
    wrong = watch_requests(page, address)
    open_page(page, address)
    page.wait_for_selector(".ribbon .layer")
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in web/")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    for tab in TABS:
        page.click(f"#tab-{tab}")
        page.wait_for_selector(f"#tab-{tab}[aria-selected=true]")
        page.wait_for_selector("#content h2")
        until(page, "!document.querySelector('#content [aria-busy=true]')")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(row["id"], row["nodes"][0]["html"]) for row in found] == [], tab
    assert wrong == []
    context.close()


def test_a_training_is_started_watched_and_survives_a_reload(page: Any) -> None:
    pytest.importorskip("torch", reason="training needs torch; install pixelwise[train]")
    page.click("#tab-project")
    page.fill("input[placeholder=try-1]", "small")
    page.fill("form input[type=number] >> nth=0", "2")
    page.fill("form input[type=number] >> nth=1", "8")
    page.click("button:has-text('Train')")
    page.wait_for_selector("[data-testid=live] button:has-text('Stop')", timeout=30_000)
    page.reload()
    page.wait_for_selector("[data-testid=live] [data-testid=epoch]", timeout=120_000)
    page.wait_for_selector("[data-testid=live] >> text=finished", timeout=120_000)
    assert "epoch 2 of 2" in page.locator("[data-testid=epoch]").inner_text()
    told = json.loads(page.evaluate("fetch('/v1/runs/small').then((answer) => answer.text())"))
    assert told["finished"]
    page.click("text=Use this model in the workbench")
    page.wait_for_selector("button:has-text('In the workbench')", timeout=30_000)
    until(page, "document.querySelector('[data-testid=pixel]').innerText.includes('pavement')")
