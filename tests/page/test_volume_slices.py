"""A volume on the page: a slider chooses its slice, by keyboard too; the address keeps it, and the answers follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import AXE, WIDTH, new_page, open_page, open_tab, reload, until, watch_requests
from numpy.typing import NDArray

from conftest import picture

nibabel: Any = pytest.importorskip("nibabel", reason="needs the extra formats")
tifffile: Any = pytest.importorskip("tifffile")
COUNT = 5
SLIDER = "document.querySelector('[data-testid=slice]')"
SAID = "document.querySelector('[aria-live=polite].hidden-text').innerText"
PIXELS = """() => {
    const canvas = document.querySelector('[data-testid=stage] canvas');
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return [...data].filter((_, i) => i % 4 === 0).join();
}"""


def slices() -> NDArray[np.uint8]:
    """Grey pictures that differ, [COUNT, 48, 80]."""
    return np.stack([picture(seed, 48, 80)[:, :, 0] for seed in range(COUNT)])


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    """By its own range, so that each value stays as it is."""
    values = slices().copy()
    values[:, 0, 0], values[:, 0, 1] = 0, 255
    path = tmp_path / "ct.nii.gz"
    nibabel.Nifti1Image(values.transpose(2, 1, 0).astype(np.int16), np.eye(4)).to_filename(path)
    return path


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, slices(), photometric="minisblack", metadata=None)
    return path


def shows(page: Any, number: int) -> None:
    """Wait until this slice, from 1, is on the stage and in the address, with its labels announced."""
    until(page, f"{SAID}.startsWith('Slice {number} of {COUNT}. Labelled.')")
    until(page, f"/[#&]slice={number}(&|$)/.test(location.hash)")
    assert page.get_by_text(f"Slice {number} of {COUNT}", exact=True).is_visible()
    shown = np.array(page.evaluate(PIXELS).split(","), np.uint8).reshape(48, 80)
    expected = slices()[number - 1]
    assert np.array_equal(shown[1:], expected[1:]), number


def test_the_slider_shows_a_slice_and_the_address_keeps_it(browser: Any, address: str, nifti: Path) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    wrong = watch_requests(page, address)
    open_page(page, address)
    assert not page.evaluate(f"!!{SLIDER}")  # a sample is an image
    page.set_input_files("[data-testid=file]", nifti)
    until(page, f"{WIDTH} === 80")
    shows(page, 3)
    before = page.evaluate("document.querySelector('[data-testid=pixel]').innerText")
    page.focus("[data-testid=slice]")
    for key, number in (("End", 5), ("ArrowLeft", 4), ("Home", 1), ("ArrowRight", 2)):
        page.keyboard.press(key)
        shows(page, number)
    page.focus("[data-testid=stage]")
    for key, number in (("PageDown", 3), ("PageUp", 2), ("PageUp", 1), ("PageUp", 1)):
        page.keyboard.press(key)
        shows(page, number)
    assert page.evaluate("document.querySelector('[data-testid=pixel]').innerText") != before
    with page.expect_download() as download:
        page.get_by_role("button", name="mask (PNG)").click()
    assert download.value.suggested_filename == "ct-slice-1-mask.png"
    open_tab(page, "layers")
    reload(page)
    page.wait_for_selector("[data-testid=pixel]")
    shows(page, 1)
    for key in ("End", "Home", "End", "ArrowLeft"):  # faster than slices come: the last one counts
        page.locator("[data-testid=slice]").press(key)
    shows(page, 4)
    page.evaluate("location.hash = location.hash.replace('slice=4', 'slice=2')")
    shows(page, 2)
    page.evaluate("location.hash = location.hash.replace('slice=2', 'slice=9')")
    until(page, f"{SAID}.startsWith('Slice 2 of {COUNT}')")
    assert wrong == [], wrong
    context.close()


def test_a_slice_that_is_not_there_is_said(browser: Any, address: str, nifti: Path) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    open_page(page, address)
    page.set_input_files("[data-testid=file]", nifti)
    shows(page, 3)
    page.evaluate("history.replaceState(null, '', location.hash.replace('slice=3', 'slice=40'))")
    reload(page)
    page.get_by_text("This file has no slice 40.").wait_for()
    until(page, f"{SAID}.startsWith('Slice 3 of {COUNT}')")
    context.close()


def test_the_pages_of_a_tiff_on_a_phone(browser: Any, address: str, pages: Path) -> None:
    for colours in ("light", "dark"):
        with new_page(browser, address, viewport={"width": 360, "height": 740}, color_scheme=colours) as page:
            page.set_input_files("[data-testid=file]", pages)
            until(page, f"{WIDTH} === 80")
            shows(page, 1)
            page.focus("[data-testid=slice]")
            page.keyboard.press("ArrowRight")
            shows(page, 2)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            assert page.locator("[data-testid=slice]").bounding_box()["width"] > 100
            if AXE.is_file():
                page.evaluate(AXE.read_text("utf-8"))
                found = page.evaluate(
                    "axe.run('section[aria-label=Workbench]').then((r) => r.violations.map((v) => v.id))"
                )
                assert found == []
