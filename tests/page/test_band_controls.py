"""The page of a model of five bands: which bands are shown and in which window, by keyboard too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import AXE, WIDTH, open_page, until, watch_requests

from banded import FIVE, five_image
from conftest import picture, started_server
from pixelwise.images.false_colour import false_colour
from pixelwise.images.image_files import write_png
from pixelwise.prediction.load_model import Model

PIXEL = """([x, y]) => {
    const canvas = document.querySelector('[data-testid=stage] canvas');
    return Array.from(canvas.getContext('2d').getImageData(x, y, 1, 1).data).slice(0, 3);
}"""


@pytest.fixture(scope="module")
def bands_address(five_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from browsing import chromium

    chromium()
    with started_server(five_model.path, tmp_path_factory.mktemp("runs")) as (found, _):
        yield found


def shows(page: Any, image: Any, **view: Any) -> None:
    """Wait until the stage shows these bands."""
    expected = false_colour(image, FIVE, **view)
    for x, y in ((100, 10), (40, 60), (110, 70)):
        until(page, f"({PIXEL})([{x}, {y}]).join() === '{','.join(map(str, expected[y, x]))}'")


def test_bands_and_window_are_chosen(browser: Any, bands_address: str, tmp_path: Path) -> None:
    image = five_image(3, 80, 120, missing=True)
    np.save(tmp_path / "scene.npy", image)
    write_png(tmp_path / "photo.png", np.ascontiguousarray(picture(1, 20, 30)))
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    wrong = watch_requests(page, bands_address)
    open_page(page, bands_address)
    page.set_input_files("[data-testid=file]", tmp_path / "scene.npy")
    until(page, f"{WIDTH} === 120")
    shows(page, image)

    page.get_by_label("Band shown as red").select_option(label="nir")
    page.get_by_label("Band shown as blue").select_option(label="swir")
    shows(page, image, choose=(3, 1, 4))
    page.get_by_label("Values shown from").fill("0.1")
    page.get_by_label("Values shown to").fill("0.3")
    page.keyboard.press("Tab")
    shows(page, image, choose=(3, 1, 4), window=(0.1, 0.3))
    page.get_by_label("Values shown from").fill("0.5")
    page.wait_for_selector("[data-testid=bands] >> text=The second value must be higher")
    page.get_by_role("button", name="Model’s range").focus()
    page.keyboard.press("Enter")
    shows(page, image, choose=(3, 1, 4))
    page.get_by_role("button", name="Auto").focus()
    page.keyboard.press("Space")
    known = [image[:, :, band][np.isfinite(image[:, :, band])] for band in (3, 1, 4)]
    ranges = [np.percentile(values, (2, 98)) for values in known]
    window = float(min(low for low, _ in ranges)), float(max(high for _, high in ranges))
    shows(page, image, choose=(3, 1, 4), window=window)

    assert wrong == []
    if AXE.is_file():
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run('[data-testid=bands]').then(result => result.violations.map(row => row.id))")
        assert found == []
    page.set_input_files("[data-testid=file]", tmp_path / "photo.png")
    page.wait_for_selector("[role=alert] >> text=5 bands (blue, green, red, nir, swir) of float32")
    assert page.evaluate(WIDTH) == 120  # nothing is lost
    context.close()


def test_photos_have_no_such_controls(page: Any) -> None:
    assert page.locator("[data-testid=bands]").count() == 0
