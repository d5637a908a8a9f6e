"""From nothing to a trained model that labels, without leaving the page, by the steps of docs/label_pictures.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import reload, until
from labelling_page import Stage, images, labelled, mask_of, started_labelling
from PIL import Image

from conftest import TOKEN
from pixelwise.datasets.open_dataset import open_dataset

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

from label_pictures import SCREEN_PX, WANTED, LabelTutorial, street_photos

HEIGHT, WIDTH = 96, 128
PHOTOS = 7


def begin(browser: Any, address: str, photos: int) -> LabelTutorial:
    """The page of a server with nothing open."""
    page = browser.new_page(viewport=SCREEN_PX)
    page.set_default_timeout(120_000)  # ms; other tests run beside these
    page.goto(f"{address}/label?token={TOKEN}")
    page.wait_for_selector("h2:has-text('Label photos')")
    return LabelTutorial(page, street_photos(photos, HEIGHT, WIDTH))


def pairs_in(folder: Path) -> int:
    return sum(len(part) for part in open_dataset(folder).splits.values())


def states(address: str) -> list[str]:
    return [row["state"] for row in images(address)]


def test_photos_strokes_a_proposal_and_an_export_without_leaving_the_page(browser: Any, tmp_path: Path) -> None:
    with started_labelling(None, folder=tmp_path) as (address, _):
        tutorial = begin(browser, address, 2)
        page = tutorial.page
        tutorial.bring_photos()
        tutorial.scribble(0)
        image = images(address)[0]["id"]
        strokes = mask_of(address, image)[0]
        tutorial.accept()
        drawn = labelled_by(address, image)
        assert drawn[1] == (strokes != 255).sum()  # what a person drew is not replaced
        assert drawn[2] > 20 * drawn[1]
        reload(page)
        page.wait_for_selector("[data-testid=label-readout]")
        tutorial.wait_for(0)
        page.keyboard.press("Control+z")  # the proposal that was accepted before the reload
        until_mask(page, address, image, strokes)
        page.keyboard.press("Control+Shift+z")
        labelled(address, image, 0)
        tutorial.done(1)
        tutorial.wait_for(1)
        Stage(page, WIDTH, HEIGHT).drag((20, 50), (90, 50))
        tutorial.done(2)
        tutorial.export("coco")
        page.close()
    assert pairs_in(tmp_path / "labels-coco") == 2
    rows = [json.loads(row) for row in (tmp_path / "labels/labels.jsonl").read_text().splitlines()]
    assert {row["tool"] for row in rows} >= {"scribble", "accept", "brush"}


def labelled_by(address: str, image: str) -> dict[int, int]:
    drawn = mask_of(address, image)[1]
    return {by: int((drawn == by).sum()) for by in (1, 2)}


def until_mask(page: Any, address: str, image: str, expected: np.ndarray) -> None:
    for _ in range(200):
        if (mask_of(address, image)[0] == expected).all():
            return
        page.wait_for_timeout(50)
    raise AssertionError("undo did not bring back what was there before the proposal was accepted")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_empty_folder_becomes_a_model_that_labels(browser: Any, tmp_path: Path) -> None:
    with started_labelling(None, folder=tmp_path) as (address, _):
        tutorial = begin(browser, address, PHOTOS)
        page = tutorial.page
        tutorial.bring_photos()
        for place in range(4):
            tutorial.wait_for(place)
            tutorial.scribble(place)
            tutorial.accept()
            tutorial.done(place + 1)
        tutorial.train("5m")
        page.wait_for_selector("text=/4 images, .* min: mIoU/")
        tutorial.use_model()
        until(page, "!document.body.innerText.includes('untouched · ')")
        assert states(address)[:4] == ["done"] * 4
        assert states(address)[5:] == ["model"] * (PHOTOS - 5)
        for place in range(4, PHOTOS):
            tutorial.wait_for(place)
            page.wait_for_selector("text=/^Proposes/")
            tutorial.accept()
            tutorial.done(place + 1)
        tutorial.export("coco")
        page.close()
    assert open_dataset(tmp_path / "labels").classes.names == WANTED
    assert pairs_in(tmp_path / "labels") == pairs_in(tmp_path / "labels-coco") == PHOTOS
    for photo in tutorial.photos:
        mask = np.array(Image.open(tmp_path / "labels/masks" / photo.name))
        assert (mask != 255).mean() > 0.9
