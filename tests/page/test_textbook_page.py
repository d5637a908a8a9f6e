"""The textbook's page on a run with the epochs of a built-in model: trace, previews, questions, images; and on that
model itself, whose log has previews alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browsing import chromium, new_page, open_tab, until

from conftest import started_server
from pixelwise.images.image_files import write_png
from pixelwise.prediction.built_in_models import built_in

HEADING = "document.querySelector('#training h4[aria-busy]')"
EPOCHS = (
    "[" + HEADING + ".innerText.match(/epoch (\\d+)/)[1],"
    "document.querySelector('[data-testid=epoch]').innerText.match(/epoch (\\d+)/)[1],"
    "[...document.querySelectorAll('.masks figcaption')][1].innerText.match(/epoch (\\d+)/)[1]]"
)


def run_with_images(folder: Path) -> Path:
    """A run directory with the epochs of `nuclei` and drawn cells as its held-out images."""
    model = built_in("nuclei")
    assert model.training_log is not None
    shutil.copytree(model.training_log, folder)
    shutil.copyfile(model.path, folder / "model.onnx")
    rows = []
    for number, size in enumerate(((320, 320), (239, 320))):
        mask = np.zeros(size, np.uint8)
        for x, y in ((60, 60), (150, 120), (240, 180)):
            cv2.circle(mask, (x, y), 24 + 4 * number, 1, -1)
        image = cv2.GaussianBlur(mask * np.uint8(150) + np.uint8(20), (0, 0), 2)
        write_png(folder / f"cells-{number}.png", np.ascontiguousarray(np.stack([image] * 3, axis=2)))
        write_png(folder / f"mask-{number}.png", mask)
        rows.append([f"val/cells-{number}", *(str(folder / f"{kind}-{number}.png") for kind in ("cells", "mask"))])
    data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    del data["previews"]  # which only the log of a built-in model has
    data["splits"]["val"] = rows
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    chromium()
    run = run_with_images(tmp_path_factory.mktemp("trained") / "run")
    with started_server(run, tmp_path_factory.mktemp("runs")) as (found, _):
        yield found


@pytest.fixture
def training(browser: Any, nuclei: str) -> Iterator[Any]:
    """The part Training of the pipeline, with its pictures."""
    with new_page(browser, nuclei, viewport={"width": 1366, "height": 768}) as page:
        open_tab(page, "pipeline")
        page.click(".parts button >> nth=1")
        page.wait_for_selector("[data-testid=landmarks]")
        until(page, f"{HEADING}?.getAttribute('aria-busy') === 'false'")
        until(page, "document.querySelectorAll('.masks img').length === 3")
        until(page, "[...document.querySelectorAll('.masks img')].every((one) => one.naturalWidth > 0)")
        yield page


def test_epochs_stand_beside_the_textbooks_and_nothing_is_cut_off(training: Any) -> None:
    rows = training.locator("[data-testid=landmarks] tbody tr").all()
    assert [row.locator("td").first.inner_text().split()[0] for row in rows] == ["1", "5", "10", "15", "20"]
    assert all(len(row.locator("td").last.inner_text()) > 4 for row in rows)
    region = training.locator("[aria-label='Epochs 1, 5, 10, 15 and 20 beside a textbook’s']")
    assert region.evaluate("(element) => element.scrollWidth <= element.clientWidth")
    assert "ImageNet" in training.locator("#training").inner_text()  # what its first epochs owe to earlier training
    assert "held-out images" in training.locator("#training").inner_text()


def test_texts_of_a_chart_do_not_overprint_each_other(training: Any) -> None:
    overprinted = """(chart) => {
        const boxes = [...chart.querySelectorAll('text.note, text.label')].map((text) => text.getBoundingClientRect());
        return boxes.some((p, i) => boxes.some((q, k) => i < k &&
            p.left < q.right && q.left < p.right && p.top + 3 < q.bottom && q.top + 3 < p.bottom));
    }"""
    chart = training.locator("svg[aria-label^='Accuracy and mean IoU']")
    assert chart.locator("text.note").count() == 1
    for step in (49, 40, 30, 0):
        training.locator("input[aria-label=Epoch]").fill(str(step))
        training.wait_for_timeout(50)
        assert not chart.evaluate(overprinted), step


def test_the_slider_drives_every_number_and_the_large_mask(training: Any) -> None:
    training.locator("input[aria-label=Epoch]").fill("0")
    until(training, f"{HEADING}.getAttribute('aria-busy') === 'false' && {EPOCHS}.every((one) => one === '1')")
    training.wait_for_selector("[data-testid=epoch-mask] >> text=labels after epoch 1")
    training.click("button:has-text('Play')")
    for _ in range(15):
        shown = training.evaluate(f"{HEADING}.getAttribute('aria-busy') === 'true' ? null : {EPOCHS}")
        assert shown is None or len(set(shown)) == 1, shown
        training.wait_for_timeout(60)


def test_its_questions_are_asked_and_only_a_wrong_answer_is_struck_through(training: Any) -> None:
    best = training.locator("fieldset:has-text('Which epoch’s weights')")
    best.locator("label:has-text('epoch 1')").click()
    best.get_by_text("✗ incorrect").wait_for()
    assert best.locator(".wrong .text").evaluate("(one) => getComputedStyle(one).textDecorationLine") == "line-through"
    for mark in best.locator(".mark").all():
        assert mark.evaluate("(one) => getComputedStyle(one).textDecorationLine") == "none"
    best.locator("xpath=..").get_by_text("Epoch 42 has the highest mIoU on the validation images: 0.927.").wait_for()


def test_its_own_images_have_true_masks_and_the_grids_of_a_patch_line_up(browser: Any, nuclei: str) -> None:
    with new_page(browser, nuclei, viewport={"width": 1366, "height": 768}) as page:
        assert page.locator("[aria-label='Built-in images'] option").all_inner_texts()[1:] == [
            "cells-0 (held out)", "cells-1 (held out)",
        ]  # fmt: skip
        assert page.locator("[data-testid=diagnosis]:has-text('no colour')").count() == 0
        open_tab(page, "metrics")
        page.wait_for_selector(".boards")
        sides = "[...document.querySelectorAll('.board > span')].map((one) => one.getBoundingClientRect().height)"
        heights = page.evaluate(sides)
        assert max(heights) - min(heights) < 1.5
        tops = page.evaluate("[...document.querySelectorAll('.board')].map((one) => one.getBoundingClientRect().top)")
        assert max(tops) - min(tops) < 1
        assert "2 images held out during training" in page.locator("#content").inner_text()


def test_the_built_in_model_shows_its_previews_and_says_that_the_images_do_not_come_with_it(
    browser: Any, tmp_path: Path
) -> None:
    with started_server(Path("nuclei"), tmp_path) as (address, _), new_page(browser, address) as page:
        open_tab(page, "pipeline")
        page.click(".parts button >> nth=1")
        page.wait_for_selector("[data-testid=landmarks]")
        page.get_by_text("The images and their true masks do not come with this model.").wait_for()
        until(page, "[...document.querySelectorAll('.masks img')].every((one) => one.naturalWidth > 0)")
        assert page.locator(".masks figcaption").all_inner_texts() == ["labels after epoch 50"]
