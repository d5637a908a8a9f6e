"""The objects of the open image: outlines and table point each other out, by pointer and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import AXE, WIDTH, new_page, until

from conftest import THREE
from pixelwise.prediction.load_model import Model

MARKED = "[...document.querySelectorAll('tr[aria-current=true]')].map(row => row.dataset.label).join()"
OUTLINED = "document.querySelector('[data-object]')?.dataset.object"
AXE_FINDS = "async () => (await axe.run('main')).violations.map((row) => `${row.id}: ${row.nodes[0].html}`)"
SIZE = 200, 120


def move_to(page: Any, x: int, y: int) -> None:
    box = page.locator("[data-testid=stage]").bounding_box()
    page.mouse.move(box["x"] + (x + 0.5) / SIZE[0] * box["width"], box["y"] + (y + 0.5) / SIZE[1] * box["height"])


@pytest.fixture
def listed(browser: Any, address: str, photo_file: Path) -> Iterator[Any]:
    """The page with a photo and the table of its objects."""
    with new_page(browser, address, viewport={"width": 1280, "height": 900}, bypass_csp=True) as page:
        page.set_input_files("[data-testid=file]", photo_file)
        until(page, f"{WIDTH} === 200")
        page.wait_for_selector(".ribbon .layer")
        page.click("summary:has-text('Objects')")
        page.wait_for_selector("tr[data-label]")
        yield page


def test_table_and_image_point_each_other_out(listed: Any, photo_file: Path, served_model: Model) -> None:
    page = listed
    page.click("th button:has-text('area')")  # the largest first
    rows = page.locator("tr[data-label]")
    label = rows.first.get_attribute("data-label")
    areas = [
        int(text.replace("\u202f", "")) for text in page.locator("tr[data-label] td:nth-child(3)").all_inner_texts()
    ]
    assert areas == sorted(areas, reverse=True)
    rows.first.hover()
    until(page, f"{OUTLINED} === '{label}' && {MARKED} === '{label}'")

    labels = served_model.predict(photo_file).labels
    names = []
    for x, y in ((10, 10), (190, 110), (10, 110)):
        move_to(page, x, y)
        until(page, f"document.querySelector('[data-testid=pixel]').innerText.includes('({x}, {y})')")
        until(page, f"({OUTLINED} ?? '') === {MARKED}")
        name = page.evaluate("document.querySelector('tr[aria-current=true] td:nth-child(2)')?.innerText.trim()")
        assert name in (None, THREE.names[labels[y, x]])
        names.append(name)
    assert any(names)

    rows.nth(0).get_by_role("button").focus()
    page.keyboard.press("ArrowDown")
    second = rows.nth(1).get_attribute("data-label")
    until(page, f"{OUTLINED} === '{second}' && {MARKED} === '{second}'")
    if AXE.is_file():
        page.evaluate(AXE.read_text(encoding="utf-8"))
        assert page.evaluate(AXE_FINDS) == []
    page.click("summary:has-text('Objects')")
    until(page, "!document.querySelector('[data-testid=outlines]')")  # closed: the image is as before


def test_the_table_downloads_under_the_photos_name(listed: Any, photo_file: Path) -> None:
    with listed.expect_download() as started:
        listed.click("text=Download the table (CSV)")
    assert started.value.suggested_filename == f"{photo_file.stem}-objects.csv"
    lines = Path(started.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("label,class,")
    assert len(lines) - 1 >= listed.locator("tr[data-label]").count()
