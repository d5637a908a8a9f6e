"""A click pins the pixel that every tab uses; what a reload, Back and Forward keep; masks, downloads and a phone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import READOUT, WIDTH, new_page, open_page, reload, until, watch_requests
from PIL import Image

from conftest import TOKEN
from pixelwise.images.image_files import write_png
from pixelwise.prediction.load_model import Model

STAGE = "[data-testid=stage]"
SAMPLES = "[aria-label='Built-in images']"


def click_at(page: Any, x: int, y: int, width: int = 200, height: int = 120) -> None:
    box = page.locator(STAGE).bounding_box()
    page.mouse.click(box["x"] + (x + 0.5) / width * box["width"], box["y"] + (y + 0.5) / height * box["height"])


def open_photo(page: Any, photo_file: Path) -> None:
    page.set_input_files("[data-testid=file]", photo_file)
    until(page, f"{WIDTH} === 200")
    until(page, "!document.querySelector('.busy')")


def test_a_click_pins_the_pixel_that_every_tab_uses(page: Any, photo_file: Path) -> None:
    open_photo(page, photo_file)
    click_at(page, 37, 81)
    page.wait_for_selector("text=pinned")
    for tab, words in (
        ("layers", "Measure for pixel (37, 81)"),
        ("challenge", "This one: (37, 81)"),
        ("code", "x=37, y=81"),
    ):
        page.click(f"#tab-{tab}")  # on its way there, the pointer crosses the image
        page.mouse.move(300, 400)
        if tab == "challenge":
            page.click("#content button:has-text('Start') >> nth=0")
            click_at(page, 37, 81)
        page.locator("#content").get_by_text(words).first.wait_for()
        assert "(37, 81)" in page.locator("[data-testid=pixel]").inner_text()
    click_at(page, 150, 20)  # another pixel: the pin moves
    until(page, f"{READOUT}.includes('(150, 20)') && {READOUT}.includes('pinned')")
    click_at(page, 150, 20)  # the same: it is freed
    until(page, f"!{READOUT}.includes('pinned')")
    click_at(page, 10, 10)
    page.keyboard.press("Escape")
    until(page, f"!{READOUT}.includes('pinned')")
    page.locator(STAGE).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    until(page, f"{READOUT}.includes('(11, 10)') && {READOUT}.includes('pinned')")


@pytest.mark.parametrize("by", ["mouse", "finger", "keyboard"])
def test_a_pixel_pinned_by_any_means_is_that_of_every_tab(browser: Any, address: str, by: str) -> None:
    with new_page(browser, address, viewport={"width": 1366, "height": 768}, has_touch=by == "finger") as page:
        stage = page.locator(STAGE)
        box = stage.bounding_box()
        at = (box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
        if by == "mouse":
            page.mouse.click(*at)
        elif by == "finger":
            page.touchscreen.tap(*at)
        else:
            stage.focus()
            for _ in range(3):
                page.keyboard.press("ArrowRight")
            page.keyboard.press("Enter")
        until(page, f"{READOUT}.includes('pinned')")
        place = page.evaluate(f"{READOUT}.match(/\\(\\d+, \\d+\\)/)[0]")
        page.mouse.move(box["x"] + 20, box["y"] + 20)  # over the image, as on the way to a tab
        for tab, words in (
            ("pipeline", "At pixel {}"),
            ("layers", "passes over the pixels around {}"),
            ("layers", "Measure for pixel {}"),
            ("metrics", "pixels around {}"),
            ("code", "x={}, y={}"),
        ):
            page.click(f"#tab-{tab}")
            if tab == "pipeline":
                page.click(".parts button >> nth=3")
            numbers = [place] if "x=" not in words else place.strip("()").split(", ")
            page.locator("#content").get_by_text(words.format(*numbers)).first.wait_for()
            assert place in page.locator("[data-testid=pixel]").inner_text(), tab


def test_a_cell_of_the_confusion_matrix_opens_its_pixels(page: Any) -> None:
    page.click("#tab-metrics")
    page.wait_for_selector("[data-testid=confusion]")
    said = page.locator("[data-testid=cell]")
    for cell in page.locator("[data-testid=confusion] tbody tr").all():
        name = cell.locator("th").inner_text().strip()
        button = cell.locator("button.own")
        if not button.inner_text():
            continue  # no true pixel of this class
        button.click()
        until(page, "document.querySelector('[data-testid=cell]').innerText.includes('The open image')")
        if "no pixel" not in said.inner_text():
            until(page, f"{READOUT}.includes('true label: {name}') && {READOUT}.includes('pinned')")
            assert page.locator("[data-testid=pixel] strong").inner_text().strip().startswith(name)
            button.press("ArrowRight")
            until(page, "document.activeElement.dataset.cell !== undefined")
            return
    raise AssertionError("no class of this model is in the open image")


def test_a_cell_clicked_before_the_true_mask_has_come_is_answered_once_it_is_there(page: Any) -> None:
    held: list[Any] = []
    page.route("**/truth?*", lambda route: held.append(route))  # Playwright marks its handlers, which a method forbids
    page.select_option(SAMPLES, index=2)  # another sample, whose true mask does not come yet
    page.click("#tab-metrics")
    page.wait_for_selector("[data-testid=confusion]")
    until(page, "document.querySelector('[data-testid=stage]') && location.hash.includes('scene')")
    button = page.locator("[data-testid=confusion] button.own").first
    deadline = time.monotonic() + 60
    while not held and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert held, "the true mask was never asked for"
    button.click()
    until(page, "document.querySelector('[data-testid=cell]').innerText !== ''")
    assert "The open image" not in page.locator("[data-testid=cell]").inner_text()
    held.pop().continue_()
    until(page, "document.querySelector('[data-testid=cell]').innerText.includes('The open image')")


def test_the_tooltip_names_the_class_and_the_three_most_likely(
    page: Any, photo_file: Path, served_model: Model
) -> None:
    open_photo(page, photo_file)
    box = page.locator(STAGE).bounding_box()
    page.mouse.move(box["x"] + 50.5 / 200 * box["width"], box["y"] + 60.5 / 120 * box["height"])
    prediction = served_model.predict(photo_file)
    likely = sorted(prediction.probabilities(50, 60).items(), key=lambda item: -item[1])[:3]
    rows = page.locator("[data-testid=tip] > span").all_inner_texts()
    assert [float(row.split()[-1]) for row in rows] == pytest.approx([p for _, p in likely], abs=0.006)
    assert prediction.classes.names[prediction.labels[60, 50]] in page.locator("[data-testid=tip] b").inner_text()


def test_a_reload_back_and_forward_keep_image_pixel_and_tab(page: Any, photo_file: Path) -> None:
    open_photo(page, photo_file)
    click_at(page, 37, 81)
    page.click("#tab-code")
    reload(page)  # at once: a click is in the address before the next event
    until(page, f"document.querySelector('[data-testid=pixel]') && {WIDTH} === 200")
    assert "(37, 81)" in page.locator("[data-testid=pixel]").inner_text()
    assert page.get_attribute("#tab-code", "aria-selected") == "true"
    page.select_option(SAMPLES, index=1)
    until(page, f"{WIDTH} !== 200 && !location.hash.includes('image=own')")
    page.go_back()
    until(page, f"{WIDTH} === 200 && {READOUT}.includes('(37, 81)')")
    page.go_forward()
    until(page, f"{WIDTH} !== 200")
    page.wait_for_timeout(400)  # the address settles; nothing more than these steps was written
    page.go_back()
    until(page, f"{WIDTH} === 200")
    page.go_back()
    until(page, "location.hash.includes('tab=overview')")


def test_steps_back_and_forward_that_overtake_each_other_write_nothing(page: Any, photo_file: Path) -> None:
    open_photo(page, photo_file)
    page.click("#tab-code")
    page.select_option(SAMPLES, index=1)
    until(page, f"{WIDTH} !== 200 && !location.hash.includes('image=own')")
    before = page.evaluate("history.length")
    for pause in (0, 20, 60, 150, 300):  # ms: before, while and after an image comes
        for step in ("back", "forward", "back", "forward"):
            page.evaluate(f"history.{step}()")
            page.wait_for_timeout(pause)
    page.evaluate("history.back()")
    until(page, f"{WIDTH} === 200 && location.hash.includes('image=own')")
    page.wait_for_timeout(500)  # nothing that was on its way comes after it
    assert page.evaluate(f"{WIDTH} === 200 && history.length") == before
    page.go_forward()
    until(page, f"{WIDTH} !== 200")
    page.wait_for_timeout(500)
    assert page.evaluate(f"{WIDTH} !== 200 && history.length") == before


def test_an_address_that_names_what_is_gone_opens_what_there_is(browser: Any, address: str) -> None:
    context = browser.new_context()  # its own: the console tells of the missing model, which is right
    page = context.new_page()
    open_page(page, address, "#tab=why&model=deleted-run&image=own-none&pixel=3,4")
    page.wait_for_selector("[role=alert] >> text=/deleted-run|no longer has your image/")
    assert page.locator("header select").first.locator("option").count() >= 2  # the menu of models is there
    assert "(3, 4)" not in page.locator("[data-testid=pixel]").inner_text()  # a pixel of another image
    context.close()


@pytest.mark.parametrize("size", [(1366, 768), (1440, 900)])
def test_image_readout_and_legend_fit_on_a_laptop_screen(browser: Any, address: str, size: tuple[int, int]) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    wrong = watch_requests(page, address)
    open_page(page, address)
    page.wait_for_selector(".ribbon .layer")
    stage, legend = page.locator(STAGE).bounding_box(), page.locator("[data-testid=legend] ul").bounding_box()
    assert stage["height"] > 300
    assert legend["y"] + legend["height"] <= size[1]
    assert wrong == []
    context.close()


def test_on_a_phone_the_image_leaves_room_and_a_tap_says_its_class(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 800}, has_touch=True, is_mobile=True)
    page = context.new_page()
    open_page(page, address)
    page.wait_for_selector(".ribbon .layer")
    assert page.locator(".tabs").bounding_box()["y"] < 300
    for tab in ("overview", "metrics"):
        page.click(f"#tab-{tab}")
        page.mouse.wheel(0, 900)
        page.wait_for_timeout(300)
        box = page.locator(".sticky").bounding_box()
        assert box["height"] < 0.45 * 800, tab
        stage = page.locator(STAGE).bounding_box()
        page.touchscreen.tap(stage["x"] + stage["width"] / 3, stage["y"] + stage["height"] / 3)
        named = page.locator("[data-testid=tip] b").inner_text().strip()
        assert named in page.locator("[data-testid=pixel]").inner_text()
        page.locator("[data-testid=pixel] .pinned").tap()
    context.close()


def test_a_mask_of_other_values_is_asked_about_and_then_seen(
    page: Any, photo_file: Path, served_model: Model, tmp_path: Path
) -> None:
    open_photo(page, photo_file)
    truth = served_model.predict(photo_file).labels.copy()
    truth[:30] = 77
    write_png(tmp_path / "ids.png", truth)
    page.set_input_files("[data-testid=truth]", tmp_path / "ids.png")
    page.wait_for_selector("dialog >> text=1 value of this mask is no class of this model")
    assert page.locator("[aria-label='Value 77 means']").input_value() == "255"  # void, unless a person says otherwise
    page.click("dialog button:has-text('Compare')")
    page.wait_for_selector("[data-testid=claim] >> text=/100.0.%.*of the 18.000 labelled pixels/")
    assert page.locator("button:has-text('errors')").get_attribute("aria-pressed") == "true"
    page.click("button:has-text('What its values mean')")
    page.select_option("[aria-label='Value 77 means']", "0")
    page.click("dialog button:has-text('Compare')")
    page.wait_for_selector("[data-testid=claim] >> text=/of the 24.000 labelled pixels/")


def test_downloads_are_named_after_the_photo(page: Any, photo_file: Path) -> None:
    open_photo(page, photo_file)
    for text, name in (("mask (PNG)", "photo-mask.png"), ("labels (JSON)", "photo-labels.json")):
        with page.expect_download() as started:
            page.click(f"text={text}")
        assert started.value.suggested_filename == name


def test_answers_of_the_quiz_are_kept(page: Any) -> None:
    page.click("#tab-pipeline")
    page.check("text=To know the exact location of objects")
    page.click("#tab-why")
    page.click("#tab-pipeline")
    assert "1 of 1 correct" in page.locator("[data-testid=score]").inner_text()
    reload(page)
    page.wait_for_selector("[data-testid=score]")
    assert "1 of 1 correct" in page.locator("[data-testid=score]").inner_text()


def test_the_challenge_hides_what_gives_the_answer_away(page: Any) -> None:
    opacity = "getComputedStyle(document.querySelectorAll('[data-testid=stage] canvas')[1]).opacity"
    page.click("#tab-challenge")
    until(page, f"{opacity} === '0'")
    page.wait_for_selector("button:has-text('errors')")  # the sample's true mask has arrived
    assert "hidden" in page.locator("[data-testid=pixel]").inner_text()
    assert page.locator("[data-testid=stage] .name").count() == 0
    box = page.locator("[data-testid=board]").bounding_box()
    page.locator("[data-testid=board]").click(position={"x": box["width"] / 2, "y": 20})
    page.click("button:has-text('Done')")
    page.wait_for_selector("[data-testid=outcome]")
    assert page.evaluate(opacity) != "0"
    page.wait_for_selector("[data-testid=truth-map]")  # the sample has a true mask
    assert page.locator("button:has-text('errors')").get_attribute("aria-pressed") == "true"
    page.click("#tab-why")
    assert page.evaluate(opacity) != "0"


def test_warnings_are_in_sight(page: Any, tmp_path: Path) -> None:
    Image.fromarray(np.full((90, 160, 3), 90, np.uint8)).save(tmp_path / "flat.png")
    page.set_input_files("[data-testid=file]", tmp_path / "flat.png")
    page.wait_for_selector("[data-testid=diagnosis] >> text=single flat colour")
    assert page.locator("[data-testid=diagnosis]").bounding_box()["y"] < 900
    page.wait_for_selector("[data-testid=care] >> text=single flat colour")


def test_the_rest_page_has_an_icon_and_its_own_address(page: Any, address: str) -> None:
    page.goto(f"{address}/docs?token={TOKEN}")
    assert page.locator("link[rel=icon]").count() == 1
    text = page.locator("main, body").first.inner_text()
    assert address in text
    assert ":8000" not in text.replace(address, "")
    assert "`" not in text
    assert "/v1/pixel?x=" in text
