"""The server is killed in any state of any room, and started again: the page says so, a person goes on meanwhile, and
then the page goes on by itself, with what was typed, drawn and chosen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import READOUT, TABS, WIDTH, until
from labelling_page import STAGE, Stage, image_id, labelled, open_labelling, started_labelling

import planted
from conftest import THREE, TOKEN, make_bundle, picture, started_server
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.images.image_files import write_png
from pixelwise.prediction.load_model import load

pytestmark = pytest.mark.slow  # thirty starts of a server
SAYS = "[role=alert] >> text=The server does not respond"
SETTLED = "!document.querySelector('main [aria-busy=true]')"
SHOWN = "[...document.querySelectorAll('{}')].filter((one) => one.complete && one.naturalWidth > 0).length"
SCREEN = {"viewport": {"width": 1366, "height": 768}}


class Mortal:
    """A server that is killed, and started again at the same port. `start` gives its address and process."""

    def __init__(self, start: Any) -> None:
        self.begin, self.port, self.stack = start, 0, ExitStack()
        self.start()

    def start(self) -> None:
        started: AbstractContextManager[tuple[str, Any]] = self.begin(self.port)
        self.address, self.process = self.stack.enter_context(started)
        self.port = int(self.address.rpartition(":")[2])

    @contextmanager
    def gone(self, page: Any) -> Iterator[None]:
        """Killed before, back after; the page says so meanwhile, and is the same page in the end."""
        page.evaluate("window.same = true")
        self.process.kill()
        self.process.wait(60)
        yield
        page.wait_for_selector(SAYS)
        self.start()
        page.wait_for_selector(SAYS, state="detached")
        assert page.evaluate("window.same === true"), "the page was loaded again"


@contextmanager
def mortal(browser: Any, model: Path, runs: Path, hash_: str, *options: str) -> Iterator[tuple[Mortal, Any]]:
    """A server that may be killed, and a page at an address of it, of which requests may fail, but nothing else."""
    server = Mortal(lambda port: started_server(model, runs, port, options))
    context = browser.new_context(**SCREEN)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(60_000)
    page.goto(f"{server.address}/?token={TOKEN}{hash_}")
    with server.stack:
        yield server, page
        context.close()
    assert errors == []


def test_learn_with_an_own_image_and_a_pinned_pixel(
    browser: Any, fast_bundle: tuple[Path, Any], photo_file: Path, tmp_path: Path
) -> None:
    """Each tab is opened while the server is gone, and is whole when it is back."""
    with mortal(browser, fast_bundle[0], tmp_path / "runs", "#tab=overview") as (server, page):
        page.wait_for_selector("[data-testid=pixel]")
        page.set_input_files("[data-testid=file]", photo_file)
        until(page, f"{WIDTH} === 200")
        page.locator("[data-testid=stage]").click(position={"x": 60, "y": 50})
        page.wait_for_selector(".ribbon .layer")
        pinned = page.locator("[data-testid=pixel] .head").inner_text().splitlines()[:2]
        for tab in TABS[1:]:
            with server.gone(page):
                page.click(f"#tab-{tab}")
                page.wait_for_selector(f"#tab-{tab}[aria-selected=true]")
                page.keyboard.press("Tab")
            page.wait_for_selector("#content h2")
            until(page, "!document.querySelector('#content [aria-busy=true]')", 240)
            assert page.locator("#content >> text=could not be displayed").count() == 0, tab
            assert page.locator("[role=alert] p").count() == 0, (tab, page.locator("[role=alert]").inner_text())
            assert page.evaluate(WIDTH) == 200, tab
            assert page.locator("[data-testid=pixel] .head").inner_text().splitlines()[:2] == pinned, tab
        page.click("#tab-layers")
        with server.gone(page):
            page.locator(".ribbon .layer").nth(1).click()
            page.set_input_files("[data-testid=truth]", photo_file)
        page.wait_for_selector("[data-testid=channel-map]")
        assert pinned[0] in page.evaluate(READOUT)


@pytest.fixture
def street(tmp_path: Path) -> tuple[Path, Path]:
    """A model, and a dataset in which one image is in both splits."""
    root = planted.sound(tmp_path / "data" / "scenes")
    planted.FAULTS["a copy in val"][1](root)
    model = tmp_path / "street.onnx"
    make_bundle(model, "fast")
    return model, root


def test_images_filtered_opened_checked_and_repaired(browser: Any, street: tuple[Path, Path], tmp_path: Path) -> None:
    model, root = street
    with mortal(browser, model, tmp_path / "runs", "#room=images", "--data", str(root)) as (server, page):
        page.wait_for_selector("select[aria-label=Finding]")
        page.select_option("select[aria-label=Split]", "val")
        until(page, f"document.querySelectorAll('main li').length === {planted.VAL + 1}")
        with server.gone(page):
            page.fill("input[aria-label='Search images by name']", "1")
            until(page, "location.hash.includes('search=1')")
        until(page, "[...document.querySelectorAll('main li button')].every((one) => one.title.includes('1'))")
        until(page, f"{SHOWN.format('main li img')} > 0")
        assert page.input_value("select[aria-label=Split]") == "val"
        page.fill("input[aria-label='Search images by name']", "")
        until(page, f"document.querySelectorAll('main li').length === {planted.VAL + 1}")
        page.locator("main li button").first.click()
        until(page, f"{SHOWN.format('dialog img')} === 1")
        with server.gone(page):  # an image that was never fetched
            page.keyboard.press("ArrowRight")
            until(page, "location.hash.includes('image=')")
        until(page, f"{SHOWN.format('dialog img')} === 1")
        page.keyboard.press("Escape")
        with server.gone(page):
            page.click("nav >> text=Findings")
        page.wait_for_selector("article")
        until(page, f"{SHOWN.format('article img')} > 0")
        page.click("text=Fix …")
        page.check("text=Yes")
        with server.gone(page):
            page.click("text=Write the copy")
        page.wait_for_selector("text=The copy holds")
        assert (tmp_path / "runs/scenes_repaired").is_dir()


@pytest.fixture
def mislabelled(tmp_path: Path) -> tuple[Path, Path]:
    """A model that is sure of what it says, and a dataset that says the same but for one mask."""
    model, root = tmp_path / "sure.onnx", tmp_path / "data" / "scenes"
    make_bundle(model, "fast", temperature=0.005)
    sure = load(model, threads=1)
    for i in range(4):
        image = picture(i, 480, 600)
        mask = sure.predict(image).labels.copy()
        if i == 0:
            mask[10:-10, 10:-10] = (mask[10:-10, 10:-10] + 1) % len(THREE)
        for part, array in (("images", image), ("masks", mask)):
            folder = root / ("val" if i < 2 else "train") / part
            folder.mkdir(parents=True, exist_ok=True)
            write_png(folder / f"{i}.png", array)
    classes = (f'[[classes]]\nid = {i}\nname = "{name}"\n' for i, name in enumerate(THREE.names))
    (root / "dataset.toml").write_text("".join(classes))
    return model, root


def test_images_scored_and_label_errors_decided(browser: Any, mislabelled: tuple[Path, Path], tmp_path: Path) -> None:
    model, root = mislabelled
    with mortal(browser, model, tmp_path / "runs", "#room=images", "--data", str(root)) as (server, page):
        page.wait_for_selector("select[aria-label=Finding]")  # the check has ended
        page.click("nav >> text=Label errors")
        with server.gone(page):
            page.click("button:has-text('Score with the model')")
            page.click("button:has-text('Score with the model')")
        page.wait_for_selector("[aria-label='Class that is right']")
        with server.gone(page):  # the scores, which the server keeps in memory, are found again
            page.wait_for_selector(SAYS)
        page.wait_for_selector("main [role=status]:has-text('Running')", state="detached")
        until(page, f"{SHOWN.format('figure img')} === 3")
        with server.gone(page):
            page.keyboard.press("v")
        until(page, "location.hash.includes('suspect=2')")  # decided, and the next one is shown
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("text=Decided: made void")
        until(page, f"{SHOWN.format('figure img')} === 3")


@pytest.mark.usefixtures("no_bundles")
def test_train_with_the_form_filled_in_and_a_training(
    browser: Any, fast_bundle: tuple[Path, Any], tiny_scenes: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="training needs torch; install pixelwise[train]")
    runs = tmp_path / "runs"
    with mortal(browser, fast_bundle[0], runs, "#room=train", "--data", str(tiny_scenes)) as (server, page):
        page.wait_for_selector("section[aria-label=Plan]")
        page.fill("form input[type=number]", "400")
        with server.gone(page):
            page.fill("label:has-text('input size') input", "64x64")
            page.fill("label:has-text('note') input", "small images")
        page.wait_for_selector("[aria-label='Choices of the plan'] tbody tr:has-text('64')")
        with server.gone(page):
            page.click("button:has-text('Train')")
            page.wait_for_selector("button:has-text('Starting …')")
        page.wait_for_selector("[data-testid=live] button:has-text('Stop')")
        assert [one.name for one in runs.iterdir() if not one.name.startswith(".")] == ["try-1"]
        page.wait_for_selector("[data-testid=live] [data-testid=epoch]")
        note = page.locator("[data-testid=live] textarea")
        assert note.input_value() == "small images"
        with server.gone(page):  # the training goes on
            note.fill("small images, many epochs")
            page.keyboard.press("Tab")
            page.click("[data-testid=live] button:has-text('Stop')")
        page.wait_for_selector("text=/stopped.*the last checkpoint is kept/")
        page.wait_for_selector("td.note:has-text('many epochs')")
        assert note.input_value() == "small images, many epochs"


@pytest.fixture
def evaluated(fast_bundle: tuple[Path, Any], tmp_path: Path) -> tuple[Path, Path]:
    """A model, and a val split of many images on which it is partly wrong."""
    shutil.copy(fast_bundle[0], tmp_path / "served.onnx")
    model = load(fast_bundle[0], threads=1)
    for i in range(60):
        image = picture(i, 240, 320)
        mask = np.roll(model.predict(image).labels, 3, axis=1)
        for part, array in (("images", image), ("masks", mask)):
            (tmp_path / "moved/val" / part).mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / "moved/val" / part / f"{i:02}.png", array)
    classes = (f'[[classes]]\nid = {i}\nname = "{name}"\n' for i, name in enumerate(THREE.names))
    (tmp_path / "moved/dataset.toml").write_text("".join(classes))
    return tmp_path / "served.onnx", tmp_path / "moved"


def test_evaluate_amid_an_evaluation_and_with_its_report(
    browser: Any, evaluated: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = evaluated
    with mortal(browser, model, tmp_path / "runs", "#room=evaluate", "--data", str(data)) as (server, page):
        page.wait_for_selector("form[aria-label='New evaluation'] button:enabled")
        with server.gone(page):
            page.click("form[aria-label='New evaluation'] button")
        page.wait_for_selector("[data-testid=score-miou]")
        with server.gone(page):  # in the middle, on most machines; it goes on
            page.locator("input[type=range]").focus()
            page.keyboard.press("End")
        page.wait_for_selector("text=Report as HTML")
        assert "0.99" in page.inner_text("output")
        assert page.locator("[aria-labelledby=evaluations] li").count() == 1
        with server.gone(page):
            page.locator("[data-cell='0,1']").focus()
            page.keyboard.press("Enter")
        page.wait_for_selector("[data-testid=gallery] img[alt*='predicted as']", state="attached")
        page.locator("[data-testid=gallery] button").first.click()
        until(page, f"{SHOWN.format('dialog img')} === 1")
        with server.gone(page):
            page.click("dialog button:has-text('True mask')")
        until(page, f"{SHOWN.format('dialog img')} === 1")
        page.keyboard.press("Escape")
        with server.gone(page):
            page.click("button:has-text('Remove')")
        page.wait_for_selector("[aria-labelledby=evaluations] li", state="detached")


def test_ship_amid_jobs_and_with_a_card_being_edited(
    browser: Any, evaluated: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = evaluated
    with mortal(browser, model, tmp_path / "runs", "#room=ship", "--data", str(data)) as (server, page):
        summary = "section.card textarea >> nth=0"
        page.click("section.card button:has-text('Edit')")
        page.fill(summary, "Kerbs.")
        with server.gone(page):
            page.click("button:has-text('Label the images')")
            page.click("button:has-text('Label the images')")
            page.locator(summary).press_sequentially(" And roads.")
        page.wait_for_selector("[data-testid=job]")
        with server.gone(page):  # the job is a process of its own
            page.fill(summary, "Kerbs and roads.")
        page.wait_for_selector("[data-testid=job][data-state=finished]")
        page.wait_for_selector("text=/[0-9]+ images labelled/")
        assert page.locator("[data-testid=job]").count() == 1
        with server.gone(page):
            page.click("button:has-text('Time the engines')")
            page.click("button:has-text('Save into the bundle')")
        page.wait_for_selector("section.card button:has-text('Edit')")
        page.wait_for_selector("[data-testid=job]:has-text('Speed')[data-state=finished] td:has-text('ms')")
        assert read_bundle(model).metadata.card.summary == "Kerbs and roads."
        with server.gone(page):
            page.locator("[data-testid=job] button:has-text('Remove')").first.click()
        until(page, "document.querySelectorAll('[data-testid=job]').length === 1")


def test_label_with_an_outline_begun_a_class_typed_and_a_dialog_open(browser: Any, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(2):
        write_png(photos / f"{i}.png", picture(i, 120, 160))

    def start(port: int, options: Sequence[str] = ("--classes", "road,sky")) -> Any:
        return started_labelling(photos, options, port)

    server = Mortal(start)
    context = browser.new_context(**SCREEN)
    page = context.new_page()
    with server.stack:
        open_labelling(page, server.address)
        image, stage = image_id(server.address), Stage(page, 160, 120)
        page.keyboard.press("p")
        for corner in ((10, 10), (90, 10), (90, 90)):
            stage.click(*corner)
        with server.gone(page):
            page.wait_for_selector(SAYS)
            stage.click(10, 90)
            page.locator(STAGE).press("Enter")
            page.wait_for_selector("text=not saved")
        assert abs(int(labelled(server.address, image, 0).sum()) - 80 * 80) <= 200
        with server.gone(page):
            page.get_by_label("Name of a new class").fill("car")
            page.keyboard.press("Enter")
        page.wait_for_selector("ol[aria-label=Classes] >> text=car")
        page.get_by_role("button", name="Export").click()
        page.fill("dialog input", str(tmp_path / "coco"))
        with server.gone(page):
            page.click("dialog button:has-text('Export')")
            page.wait_for_selector("dialog >> text=The server does not respond")
        page.wait_for_selector("dialog >> text=Written:")
        assert (tmp_path / "coco").is_dir()
        page.keyboard.press("Escape")
        thumbnails = "[data-index] img"
        until(page, f"{SHOWN.format(thumbnails)} === 2")
        context.close()
