"""The main job of each room by keyboard alone: the focus is always seen, and is never lost or caught."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import until, watch_requests
from test_everyone import back_to, tab_to
from test_server_gone import evaluated, mislabelled, street  # noqa: F401 (fixtures)

import planted
from conftest import TOKEN, started_server
from pixelwise.bundle.bundle_file import read_bundle

pytestmark = pytest.mark.slow  # five servers, a training
NAMED = "document.activeElement.textContent.trim().startsWith('{}')"
LABELLED = "document.activeElement.getAttribute('aria-label') === '{}'"
IN = "document.activeElement.closest('{}') !== null"
OUTLINED = """(() => {
    const { activeElement } = document;
    const { outlineStyle, outlineWidth } = getComputedStyle(activeElement);
    return activeElement !== document.body && outlineStyle !== 'none' && parseFloat(outlineWidth) > 0;
})()"""


class Hands:
    """On a keyboard: no pointer, and after each step the focus can be seen."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        until(self.page, "document.activeElement !== document.body")

    def tab(self, condition: str) -> None:
        tab_to(self.page, condition)
        assert self.page.evaluate(OUTLINED), f"no outline where {condition}"

    def back(self, text: str) -> None:
        back_to(self.page, text)
        assert self.page.evaluate(OUTLINED), f"no outline at {text}"


@contextmanager
def room_by_keyboard(browser: Any, model: Path, runs: Path, hash_: str, *options: str) -> Iterator[tuple[Any, Hands]]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(120_000)
    with started_server(model, runs, options=options) as (address, _):
        wrong = watch_requests(page, address)
        page.goto(f"{address}/?token={TOKEN}{hash_}")
        page.wait_for_selector("main#content h2")
        yield page, Hands(page)
        context.close()
    assert wrong == []


def test_images(browser: Any, street: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    """A filter, an image, a finding and its repair."""
    model, root = street
    with room_by_keyboard(browser, model, tmp_path / "runs", "#room=images", "--data", str(root)) as (page, hands):
        page.wait_for_selector("select[aria-label=Finding]")
        hands.tab(LABELLED.format("Split"))
        hands.press("v")
        until(page, f"document.querySelectorAll('main li').length === {planted.VAL + 1}")
        hands.tab("document.activeElement.dataset.index === '0'")
        hands.press("ArrowRight")
        until(page, "document.activeElement.dataset.index === '1'")
        hands.press("Enter")
        page.wait_for_selector("dialog[open]")
        hands.press("ArrowLeft")
        until(page, "document.querySelector('dialog [aria-label=\\'Image before\\']').disabled")
        hands.tab(LABELLED.format("Next image"))
        for _ in range(planted.VAL):
            page.keyboard.press("Enter")
        until(page, "document.querySelector('dialog [aria-label=\\'Next image\\']').disabled")
        until(page, IN.format("dialog"))
        hands.press("Escape")
        page.wait_for_selector("dialog[open]", state="detached")
        until(page, "document.activeElement.dataset.index === '1'")
        back_to_start(page, "Findings")
        hands.press("Enter")
        page.wait_for_selector("article")
        hands.tab("document.activeElement.getAttribute('aria-label')?.startsWith('Open image')")
        hands.press("Enter")
        page.wait_for_selector("dialog[open]")
        hands.press("Escape")
        until(page, "document.activeElement.getAttribute('aria-label')?.startsWith('Open image')")
        hands.tab(NAMED.format("Fix …"))
        hands.press("Enter")
        hands.tab("document.activeElement.type === 'checkbox'")
        hands.press("Space")
        hands.tab(NAMED.format("Write the copy"))
        hands.press("Enter")
        page.wait_for_selector("text=The copy holds")
        until(page, IN.format("dialog"))
        hands.press("Escape")
        until(page, NAMED.format("Fix …"))


def test_label_errors(browser: Any, mislabelled: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    model, root = mislabelled
    with room_by_keyboard(browser, model, tmp_path / "runs", "#room=images", "--data", str(root)) as (page, hands):
        page.wait_for_selector("select[aria-label=Finding]")
        hands.tab(IN.format("main nav") + " && " + NAMED.format("Label errors"))
        hands.press("Enter")
        hands.tab(NAMED.format("Score with the model"))
        page.keyboard.press("Enter")
        page.wait_for_selector("[aria-label='Class that is right']")
        page.wait_for_selector("main [role=status]:has-text('Running')", state="detached")
        hands.tab(NAMED.format("Keep the label"))
        hands.press("Enter")
        page.wait_for_selector("text=2 of")
        hands.tab(NAMED.format("Make it void"))
        hands.press("Enter")
        page.wait_for_selector("text=3 of")
        hands.press("ArrowLeft")
        page.wait_for_selector("text=Decided: made void")


def back_to_start(page: Any, part: str) -> None:
    """Back to the parts of the Images room, whose names are followed by numbers."""
    for _ in range(120):
        if page.evaluate(f"{IN.format('main nav')} && {NAMED.format(part)}"):
            return
        page.keyboard.press("Shift+Tab")
    raise AssertionError(f"never reached by Shift+Tab: {part}")


@pytest.mark.usefixtures("no_bundles")
def test_train(browser: Any, fast_bundle: tuple[Path, Any], tiny_scenes: Path, tmp_path: Path) -> None:
    """Choose the data, set, start, stop."""
    pytest.importorskip("torch", reason="training needs torch; install pixelwise[train]")
    options = ("--data", str(tiny_scenes))
    with room_by_keyboard(browser, fast_bundle[0], tmp_path / "runs", "#room=train", *options) as (page, hands):
        page.wait_for_selector("section[aria-label=Plan]")
        hands.tab("document.activeElement.labels?.[0]?.textContent.includes('train on')")
        hands.press("r")  # rendered street scenes
        page.wait_for_selector("text=training scenes")
        hands.press("ArrowUp")
        page.wait_for_selector("section[aria-label=Plan]")
        hands.tab("document.activeElement.type === 'number'")
        page.keyboard.type("400")
        hands.tab("document.activeElement.placeholder === 'planned' && document.activeElement.type === 'text'")
        page.keyboard.type("64x64")
        hands.tab("document.activeElement.type === 'submit'")
        hands.press("Enter")
        page.wait_for_selector("[data-testid=live] [data-testid=epoch]")
        until(page, "document.activeElement.type === 'submit'")  # it was disabled for a moment
        hands.tab(NAMED.format("Stop"))
        hands.press("Enter")
        page.wait_for_selector("text=/stopped.*the last checkpoint is kept/")
        until(page, IN.format("[data-testid=live]"))


def test_evaluate(browser: Any, evaluated: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    """Choose, run, open a cell of the confusion matrix, look at an image of it."""
    model, data = evaluated
    with room_by_keyboard(browser, model, tmp_path / "runs", "#room=evaluate", "--data", str(data)) as (page, hands):
        page.wait_for_selector("form[aria-label='New evaluation'] button:enabled")
        hands.tab(NAMED.format("Evaluate") + " && document.activeElement.matches('form button')")
        hands.press("Enter")
        page.wait_for_selector("text=Report as HTML")
        until(page, "document.activeElement.matches('form button')")
        hands.tab("document.activeElement.dataset.cell === '0,0'")
        hands.press("ArrowRight", "Enter")
        until(page, "document.activeElement.dataset.cell === '0,1' && location.hash.includes('cell=')")
        assert page.evaluate(OUTLINED)
        page.wait_for_selector("[data-testid=gallery] img[alt*='predicted as']", state="attached")
        hands.tab(IN.format("[data-testid=gallery] li"))
        hands.press("Enter")
        page.wait_for_selector("dialog[open]")
        hands.tab(NAMED.format("True mask"))
        hands.press("Enter")
        page.wait_for_selector("dialog button:has-text('True mask')[aria-pressed=true]")
        hands.tab(NAMED.format("Next"))
        hands.press("Enter")
        page.wait_for_selector("dialog >> text=2 of")
        hands.press("Escape")
        page.wait_for_selector("dialog[open]", state="detached")
        until(page, IN.format("[data-testid=gallery] li"))


def test_ship(browser: Any, evaluated: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    """A web page of the model, its removal, and its card."""
    model, data = evaluated
    with room_by_keyboard(browser, model, tmp_path / "runs", "#room=ship", "--data", str(data)) as (page, hands):
        page.wait_for_selector("h3:has-text('Code that runs this file')")
        hands.tab(NAMED.format("Make a web page"))
        hands.press("Enter")
        until(page, "document.activeElement.id === 'ship-jobs'")
        page.wait_for_selector("[data-testid=job][data-state=finished]")
        hands.tab(NAMED.format("Remove"))
        hands.press("Enter")
        page.wait_for_selector("[data-testid=job]", state="detached")
        until(page, IN.format("main"))
        hands.tab(NAMED.format("Edit"))
        hands.press("Enter")
        until(page, "document.activeElement.tagName === 'TEXTAREA'")
        page.keyboard.type("Kerbs.")
        hands.tab(NAMED.format("Save into the bundle"))
        hands.press("Enter")
        until(page, NAMED.format("Edit"))
        assert read_bundle(model).metadata.card.summary == "Kerbs."
