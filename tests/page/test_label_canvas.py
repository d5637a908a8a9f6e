"""Labelling on the page by mouse, finger and keyboard; what is drawn is on the server, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import AXE, chromium, reload, until
from labelling_page import (
    STAGE,
    Stage,
    image_id,
    images,
    labelled,
    labelling_page,
    mask_of,
    open_labelling,
    said,
    started_labelling,
)

from pixelwise.images.image_files import write_png

WIDTH, HEIGHT = 160, 120
SQUARE = (slice(30, 70), slice(40, 90))  # of another colour: rows 30–69, columns 40–89
SCREEN = {"viewport": {"width": 1366, "height": 768}}
VOID = 255


def photo(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 100, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    pixels[SQUARE] = (200, 40, 40)
    return pixels


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    chromium()
    photos = tmp_path_factory.mktemp("labelling") / "photos"
    photos.mkdir()
    for number in range(8):
        write_png(photos / f"{number}.png", photo(number))
    with started_labelling(photos, ("--classes", "road,sky,car")) as (found, _):
        yield found


def brush(page: Any, size: int) -> None:
    page.keyboard.press("b")
    page.get_by_label("Size", exact=False).first.fill(str(size))
    page.locator(STAGE).focus()


def disc(x: float, y: float, size: float) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return np.hypot(columns - x, rows - y) <= size / 2


def test_a_stroke_is_saved_exactly_and_undone_after_a_reload(browser: Any, address: str) -> None:
    image = image_id(address, 0)
    with labelling_page(browser, address, image, **SCREEN) as page:
        stage = Stage(page, WIDTH, HEIGHT)
        brush(page, 7)
        stage.click(20, 20)
        first = labelled(address, image, 0)
        assert (first == disc(20.5, 20.5, 7)).all()
        page.keyboard.press("2")
        stage.drag((60, 90), (110, 90))
        both = labelled(address, image, 1)
        assert both[87:94, 60:111].all()
        assert not both[:86].any()
        assert mask_of(address, image)[1].max() == 1
        reload(page)
        page.wait_for_selector("[data-testid=label-readout]")
        page.locator(STAGE).focus()
        page.keyboard.press("Control+z")
        said(page, "Undone")
        assert not labelled(address, image, 0, int(first.sum()))[60:].any()
        assert (mask_of(address, image)[0] != 1).all()
        page.keyboard.press("Control+z")
        labelled(address, image, 0, 0)
        page.keyboard.press("Control+Shift+z")
        page.keyboard.press("Control+y")
        assert (labelled(address, image, 1) == both).all()
        assert images(address)[0]["state"] == "started"


def test_everything_by_keyboard(browser: Any, address: str) -> None:
    image = image_id(address, 1)
    with labelling_page(browser, address, image, **SCREEN) as page:
        brush(page, 1)
        page.keyboard.press("ArrowUp")  # from the middle of the image
        page.keyboard.press("Space")
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+ArrowDown")
        page.keyboard.press("Space")
        said(page, "16 pixels: road")
        found = labelled(address, image, 0, 16)
        assert found[59, 80:86].all()
        assert found[59:70, 85].all()
        # a polygon, three corners and Enter
        page.keyboard.press("p")
        page.keyboard.press("3")
        page.locator(STAGE).focus()
        for keys in (["Shift+ArrowLeft"] * 6, ["Shift+ArrowUp"] * 3, ["Shift+ArrowRight"] * 3):
            for key in keys:
                page.keyboard.press(key)
            page.keyboard.press("Space")
        said(page, "Corner 3 of 3")
        page.keyboard.press("Enter")
        assert abs(int(labelled(address, image, 2).sum()) - 30 * 30 / 2) <= 30
        # Escape leaves nothing of what was begun
        before = mask_of(address, image)[0].copy()
        page.keyboard.press("b")
        page.locator(STAGE).focus()
        page.keyboard.press("Space")
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("Escape")
        said(page, "Cancelled")
        page.keyboard.press("i")
        said(page, "Class: ")
        assert (mask_of(address, image)[0] == before).all()


def test_polygon_corners_are_moved_added_and_deleted_before_enter(browser: Any, address: str) -> None:
    image = image_id(address, 2)
    with labelling_page(browser, address, image, **SCREEN) as page:
        stage = Stage(page, WIDTH, HEIGHT)
        page.keyboard.press("p")
        for corner in ((10, 10), (50, 10), (50, 50), (30, 80)):
            stage.click(*corner)
        page.keyboard.press("Backspace")  # the last one, at the cursor
        said(page, "Corner deleted; 3 left")
        stage.drag((50, 50), (60, 50))
        stage.drag((35, 30), (10, 50))  # a new corner on the side that closes the outline
        page.keyboard.press("Enter")
        found = labelled(address, image, 0)
        rows, columns = np.nonzero(found)
        assert (rows.min(), columns.min(), rows.max()) == (10, 10, 49) or abs(int(columns.max()) - 59) <= 1
        assert abs(int(found.sum()) - (40 + 50) / 2 * 40) <= 60


def test_flood_pick_rectangle_and_a_locked_class(browser: Any, address: str) -> None:
    image = image_id(address, 3)
    with labelling_page(browser, address, image, **SCREEN) as page:
        stage = Stage(page, WIDTH, HEIGHT)
        page.keyboard.press("f")
        page.keyboard.press("2")
        stage.click(60, 50)
        square = labelled(address, image, 1)
        wanted = np.zeros((HEIGHT, WIDTH), bool)
        wanted[SQUARE] = True
        assert (square ^ wanted).sum() <= 0.1 * wanted.sum()  # the tiles are JPEGs
        page.keyboard.press("1")
        page.mouse.move(*stage.at(60, 50))
        page.keyboard.press("i")
        said(page, "Class: sky")
        page.keyboard.press("Shift+L")  # locks the class that was picked
        page.wait_for_selector("[data-testid=label-readout] >> text=sky")
        page.keyboard.press("3")
        page.keyboard.press("r")
        stage.drag((30, 45), (99, 54))
        said(page, "of locked classes stay as they are")
        box = labelled(address, image, 2)
        assert (mask_of(address, image)[0] == 1)[square].all()
        assert box.sum() == 70 * 10 - square[45:55, 30:100].sum()
        page.keyboard.press("2")
        stage.drag((100, 100), (120, 110))
        said(page, "sky is locked")
        page.keyboard.press("Shift+L")  # as it was, for the other tests


def test_zoom_to_a_pixel_and_paint_it(browser: Any, address: str) -> None:
    image = image_id(address, 4)
    with labelling_page(browser, address, image, **SCREEN) as page:
        stage = Stage(page, WIDTH, HEIGHT)
        brush(page, 1)
        page.mouse.move(*stage.at(33, 77))
        for _ in range(30):
            page.mouse.wheel(0, -240)
        page.wait_for_selector("text=6400 %")
        page.wait_for_selector("[data-testid=label-readout] >> text=33, 77")
        page.mouse.down()
        page.mouse.up()
        found = labelled(address, image, 0, 1)
        assert found[77, 33]
        # nearest neighbour: the square of the pixel is one colour, in the mask's canvas
        colours = page.evaluate(
            """([x, y]) => {
                const canvas = document.querySelectorAll('[data-testid=label-stage] canvas')[1];
                const box = canvas.getBoundingClientRect();
                const at = canvas.getContext('2d').getImageData(x - box.left - 20, y - box.top - 20, 40, 40).data;
                return [...new Set(new Uint32Array(at.buffer))].length;
            }""",
            list(stage.at(33, 77)),
        )
        assert colours == 1


def test_one_finger_draws_and_two_zoom(browser: Any, address: str) -> None:
    image = image_id(address, 5)
    screen = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "device_scale_factor": 2}
    with labelling_page(browser, address, image, **screen) as page:
        stage = Stage(page, WIDTH, HEIGHT)
        touch = page.context.new_cdp_session(page)

        def send(kind: str, *points: tuple[float, float]) -> None:
            fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

        send("touchStart", stage.at(20, 60))
        for x in range(25, 100, 5):
            send("touchMove", stage.at(x, 60))
        send("touchEnd")
        found = labelled(address, image, 0)
        assert found[60, 20:96].all()
        before = found.sum()
        middle = stage.at(80, 60)
        page.wait_for_timeout(50)
        fingers = [(middle[0] - 20, middle[1]), (middle[0] + 20, middle[1])]
        send("touchStart", fingers[0])
        send("touchStart", *fingers)
        for step in range(1, 6):
            send("touchMove", (middle[0] - 20 - 8 * step, middle[1]), (middle[0] + 20 + 8 * step, middle[1]))
        send("touchEnd")
        until(page, "parseInt(document.querySelector('.zoom .chip').innerText) > 600")
        assert labelled(address, image, 0).sum() == before  # the first of two fingers did not draw


def test_strokes_lead_to_a_proposal_of_which_a_region_is_accepted(browser: Any, address: str) -> None:
    image = image_id(address, 7)
    with labelling_page(browser, address, image, **SCREEN) as page:
        stage = Stage(page, WIDTH, HEIGHT)
        page.keyboard.press("s")
        page.keyboard.press("1")
        stage.drag((50, 40), (80, 60))
        page.keyboard.press("2")
        stage.drag((10, 100), (150, 110))
        said(page, "Proposal in")
        page.wait_for_selector("button:has-text('Accept area')")
        page.mouse.move(*stage.at(45, 65))
        page.wait_for_timeout(500)  # a second proposal, for both strokes
        said(page, "Proposal in")
        before = mask_of(address, image)[0].copy()
        page.keyboard.press("a")
        said(page, "pixels: accepted")
        keys = labelled(address, image, 0, at=(65, 45))
        drawn = mask_of(address, image)[1]
        assert keys[SQUARE].mean() > 0.8
        assert (drawn[keys & (before == VOID)] == 2).all()
        assert (drawn[before != VOID] == 1).all()  # strokes stay the person's
        page.keyboard.press("u")
        page.mouse.move(*stage.at(100, 20))
        page.keyboard.press("3")
        stage.click(100, 20)
        area = labelled(address, image, 2, at=(20, 100))
        assert 9 < area.sum() < 5000


def test_what_the_server_has_not_yet_outlives_the_tab(browser: Any, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    write_png(photos / "only.png", photo(1))
    context = browser.new_context(**SCREEN)
    page = context.new_page()
    options = ("--classes", "road,sky")
    with started_labelling(photos, options) as (address, process):
        open_labelling(page, address)
        said(page, "only.png")
        stage = Stage(page, WIDTH, HEIGHT)
        process.kill()
        process.wait()
        stage.drag((20, 20), (50, 20))
        page.wait_for_selector("[data-testid=label-unsaved]")
        stage.drag((20, 60), (50, 60))
        page.wait_for_timeout(500)
        page.close(run_before_unload=False)  # the tab is gone, too
    port = int(address.rsplit(":", 1)[1])
    with started_labelling(photos, options, port) as (again, _):
        assert again == address
        page = context.new_page()
        open_labelling(page, address)
        until(page, "!document.querySelector('[data-testid=label-unsaved]')")
        found = labelled(address, image_id(address), 0, at=(60, 50))
        assert found[20, 20:51].all()
        assert found[60, 20:51].all()
    context.close()


def test_axe_finds_nothing_on_the_canvas(browser: Any, address: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in web/")
    for scheme in ("light", "dark"):
        with labelling_page(browser, address, image_id(address, 6), **SCREEN, color_scheme=scheme) as page:
            page.evaluate(AXE.read_text(encoding="utf-8"))
            found = page.evaluate("axe.run('.frame').then(result => result.violations.map(row => row.id))")
            assert found == []
