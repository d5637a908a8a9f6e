"""A training, started and followed on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browsing import new_page, open_room, reload, until

from conftest import started_server


@pytest.mark.long
@pytest.mark.timeout(900)  # two trainings start torch, which takes long on a busy machine
def test_a_training_is_started_watched_stopped_and_goes_on(page: Any) -> None:
    """It survives a reload; after Stop it goes on where it was; in the end its model labels the image."""
    pytest.importorskip("torch", reason="training needs torch; install pixelwise[train]")
    open_room(page, "train")
    page.fill("input[placeholder=try-1]", "small")
    page.fill("form input[type=number] >> nth=0", "8")
    page.fill("form input[type=number] >> nth=1", "8")
    page.click("button:has-text('Train')")
    page.wait_for_selector("[data-testid=live] button:has-text('Stop')")
    reload(page)
    page.wait_for_selector("[data-testid=live] [data-testid=epoch]", timeout=240_000)
    page.click("[data-testid=live] button:has-text('Stop')")
    page.wait_for_selector("text=/stopped.*the last checkpoint is kept/", timeout=120_000)
    done = told(page, "small")
    assert not done["finished"]
    assert done["can_resume"]
    page.click("button:has-text('Resume')")
    page.wait_for_selector("[data-testid=live] >> text=finished", timeout=240_000)
    assert "epoch 8 of 8" in page.locator("[data-testid=epoch]").inner_text()
    observation = page.locator(".summary").inner_text().split(": ", 1)[1].split(". Loss")[0]
    assert observation in " ".join(page.locator("[data-testid=note] tspan").all_text_contents())
    assert told(page, "small")["finished"]
    page.click("text=Look into this model")
    until(page, "document.querySelector('[data-testid=legend]')?.innerText.includes('pavement')", 60)


@pytest.mark.usefixtures("no_bundles")
def test_two_trainings_are_compared_with_every_setting_in_which_they_differ(
    browser: Any, fast_bundle: tuple[Path, Any], tiny_scenes: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="training needs torch; install pixelwise[train]")
    from pixelwise.training.recipe import Recipe
    from pixelwise.training.train import train

    for name, rate in (("slow", 1e-3), ("quick", 4e-3)):
        recipe = Recipe(model="unet", size=(32, 32), epochs=1, small_epochs=0.0, learning_rate=rate)
        train(tiny_scenes, tmp_path / name, recipe)
    with started_server(fast_bundle[0], tmp_path) as (address, _), new_page(browser, address) as page:
        open_room(page, "train")
        rows = page.locator("[aria-label='Two runs compared'] tbody tr")
        rows.first.wait_for()
        first = rows.first.locator("th, td").all_inner_texts()
        assert first[0] == "learning_rate"
        assert set(first[1:]) == {"0.001", "0.004"}
        assert rows.nth(1).locator("th").inner_text() == "training images"  # nothing else differs


def told(page: Any, name: str) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(page.evaluate(f"fetch('/v1/runs/{name}').then((answer) => answer.text())"))
    return run
