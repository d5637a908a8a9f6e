"""The page for everyone: axe on every tab, keyboard alone, a phone and a finger, little motion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import AXE, READOUT, TABS, WIDTH, open_page, open_tab, until, watch_requests

AXE_FINDS = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .map((row) => `${row.id}: ${row.nodes[0].html}`)"""


@pytest.mark.parametrize("width", [1280, 360])
def test_every_tab_in_both_themes(browser: Any, address: str, width: int) -> None:
    """Nothing sticks out, nothing moves, nothing is loaded from elsewhere, and axe finds nothing."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in web/")
    context = browser.new_context(viewport={"width": width, "height": 800}, reduced_motion="reduce", bypass_csp=True)
    page = context.new_page()
    wrong = watch_requests(page, address)
    open_page(page, address)
    page.wait_for_selector(".ribbon .layer")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    for tab in TABS:
        open_tab(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        assert page.evaluate("document.getAnimations().length") == 0, tab
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            assert page.evaluate(AXE_FINDS) == [], (tab, theme)
    assert wrong == []
    context.close()


def test_the_keyboard_alone_does_it(page: Any, photo_file: Path) -> None:
    """From the first Tab to a drawn mask, without a pointer."""
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    tab_to(page, "document.activeElement.textContent.trim() === 'Choose an image'")
    chosen: list[Any] = []
    page.on("filechooser", lambda chooser: chosen.append(chooser))
    for _ in range(5):  # a headless browser now and then opens none; a person would press again
        page.keyboard.press("Enter")
        page.wait_for_timeout(2000)
        if chosen:
            break
    chosen[0].set_files(photo_file)
    until(page, f"{WIDTH} === 200")
    tab_to(page, "document.activeElement.dataset.testid === 'stage'")
    before = page.locator("[data-testid=pixel] .head").inner_text()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowUp")
    until(page, f"{READOUT}.includes('(90, 59)')")
    assert page.locator("[data-testid=pixel] .head").inner_text() != before
    until(page, "document.querySelector('.hidden-text[aria-live]').textContent.startsWith('Pixel 90, 59')")
    page.keyboard.press("+")
    assert "150%" in str(page.locator("[data-testid=stage] .layers").get_attribute("style"))
    tab_to(page, "document.activeElement.id === 'tab-overview'")
    for tab in TABS[1:]:
        page.keyboard.press("ArrowRight")
        assert page.locator(f"#tab-{tab}").get_attribute("aria-selected") == "true"
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#tab-challenge").get_attribute("aria-selected") == "true"
    tab_to(page, "document.activeElement.dataset.testid === 'board'")
    page.keyboard.press("Space")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    back_to(page, "Hint (−10)")
    page.keyboard.press("Enter")
    assert page.locator("[data-testid=board] canvas").count() == 3
    tab_to(page, "document.activeElement.textContent.trim() === 'Done'")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=/has an IoU of/")


def back_to(page: Any, text: str) -> None:
    for _ in range(120):
        if page.evaluate("document.activeElement.textContent.trim()") == text:
            return
        page.keyboard.press("Shift+Tab")
    raise AssertionError(f"never reached by Shift+Tab: {text}")


def tab_to(page: Any, condition: str) -> None:
    for _ in range(120):
        if page.evaluate(condition):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"never reached by Tab: {condition}")


def test_a_finger_taps_and_drags(browser: Any, address: str, photo_file: Path) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    wrong = watch_requests(page, address)
    open_page(page, address)
    assert page.locator("button:has-text('Take a photo')").is_visible()
    page.set_input_files("[data-testid=file]", photo_file)
    until(page, f"{WIDTH} === 200")
    until(page, "!document.querySelector('.busy')")
    box = settled_box(page)
    page.touchscreen.tap(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.75)
    until(page, f"{READOUT}.match(/\\((49|50), (89|90)\\)/) !== null")
    page.locator("[aria-label='Zoom in']").tap()
    page.locator("[aria-label='Zoom in']").tap()
    layers = page.locator("[data-testid=stage] .layers")
    before, readout = layers.get_attribute("style"), page.locator("[data-testid=pixel] .head").inner_text()
    drag(page, box)
    assert layers.get_attribute("style") != before  # the image moved with the finger …
    assert page.locator("[data-testid=pixel] .head").inner_text() == readout  # … and the cursor stayed on its pixel
    page.touchscreen.tap(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.3)
    assert page.locator("[data-testid=pixel] .head").inner_text() != readout
    assert wrong == []
    context.close()


def settled_box(page: Any) -> dict[str, float]:
    """Where the image lies once nothing above it moves any more."""
    stage = page.locator("[data-testid=stage]")
    box: dict[str, float] = stage.bounding_box()
    while True:
        page.wait_for_timeout(300)
        before, box = box, stage.bounding_box()
        if box == before:
            return box


def drag(page: Any, box: dict[str, float]) -> None:
    """One finger from the middle to the left, as a touch screen reports it."""
    session = page.context.new_cdp_session(page)
    y = box["y"] + box["height"] / 2
    for step in range(6):
        kind = "touchStart" if step == 0 else "touchMove"
        point = {"x": box["x"] + box["width"] * (0.6 - 0.05 * step), "y": y}
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
