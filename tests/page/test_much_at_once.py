"""Much at a time: a photo of twelve megapixels, a model of thirty-three classes on a phone."""

from __future__ import annotations

import base64
import colorsys
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import READOUT, TABS, WIDTH, new_page, open_tab, until
from PIL import Image

from conftest import make_bundle, picture, started_server
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import ClassList

NAMES = (
    "animal", "archway", "bicyclist", "bridge", "building", "car", "cart-luggage-pram", "child", "column-pole",
    "fence", "lane-marking-driveable", "lane-marking-non-driveable", "misc-text", "motorcycle-scooter",
    "other-moving", "parking-block", "pedestrian", "road", "road-shoulder", "sidewalk", "sign-symbol", "sky",
    "suv-pickup-truck", "traffic-cone", "traffic-light", "train", "tree", "truck-bus", "tunnel", "vegetation-misc",
    "void-of-no-use", "wall", "water",
)  # fmt: skip
CHOICES = "section[aria-label='Show and hide classes'] button"
DROP = """(base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], 'photo.jpg', {type: 'image/jpeg'}));
    window.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer}));
}"""
PAINTED = """() => {
    const mask = document.querySelectorAll('[data-testid=stage] canvas')[1];
    const data = mask.getContext('2d').getImageData(0, 0, mask.width, mask.height).data;
    return data.filter((value, i) => i % 4 === 3 && value > 0).length / (mask.width * mask.height);
}"""
# Can it be seen and pressed where it is? What lies on top of its middle is itself or a part of it.
REACHABLE = """(element) => {
    element.scrollIntoView({block: 'center'});
    const box = element.getBoundingClientRect();
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return box.left >= 0 && box.right <= innerWidth && element.contains(top);
}"""
WHOLE = "(element) => element.scrollWidth <= element.clientWidth + 1"  # no word is cut off


def shown_probabilities(page: Any) -> list[float]:
    return [float(text) for text in page.locator("[data-testid=legend] .value").all_inner_texts()]


def test_twelve_megapixels_are_labelled_and_asked_to_the_very_corners(
    page: Any, served_model: Model, tmp_path: Path
) -> None:
    """A photo as phones take them, dropped; what is said of each corner is what the library says."""
    width, height = 4000, 3000
    buffer = io.BytesIO()
    Image.fromarray(picture(7, height, width)).save(buffer, "JPEG", quality=85)
    page.evaluate(DROP, base64.b64encode(buffer.getvalue()).decode())
    until(page, f"{WIDTH} === {width}", 120)
    until(page, "!document.querySelector('.busy')", 60)
    (tmp_path / "photo.jpg").write_bytes(buffer.getvalue())
    prediction = served_model.predict(tmp_path / "photo.jpg")
    assert page.evaluate(PAINTED) == 1
    stage = page.locator("[data-testid=stage]")
    box = stage.bounding_box()
    stage.focus()
    for right in (False, True):
        for down in (False, True):
            x, y = (width - 1) * right, (height - 1) * down
            page.mouse.move(box["x"] + (box["width"] - 1) * right, box["y"] + (box["height"] - 1) * down)
            step = width / box["width"]  # pixels of the image under one of the screen
            near = f"[...{READOUT}.matchAll(/[0-9]+/g)].slice(0, 2)"
            until(page, f"{near}.every(([text], i) => Math.abs(Number(text) - [{x}, {y}][i]) <= {2 * step})")
            for _ in range(int(2 * step / 10) + 1):
                page.keyboard.press("Shift+ArrowRight" if right else "Shift+ArrowLeft")
                page.keyboard.press("Shift+ArrowDown" if down else "Shift+ArrowUp")
            until(page, f"{READOUT}.includes('({x}, {y})')")
            assert shown_probabilities(page) == pytest.approx(list(prediction.probabilities(x, y).values()), abs=0.0006)
            label = prediction.classes.names[prediction.labels[y, x]]
            assert label in page.locator("[data-testid=pixel] strong").inner_text()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of 33 classes with long names; what it was checked on is told in more than a word."""
    path: Path = tmp_path_factory.mktemp("many") / "many.onnx"
    colours = [
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(i / 33, 0.8, 0.5 + i % 3 / 4)) for i in range(33)
    ]
    scores = {"iou": 0.5, "recall": 0.6, "precision": 0.7}
    metrics = {
        "split": "val, learnt from too,", "epoch": 7, "images": 101, "accuracy": 0.91, "miou": 0.52,
        "classes": dict.fromkeys(NAMES, scores),
    }  # fmt: skip
    make_bundle(path, "fast", classes=ClassList(NAMES, tuple(colours)), provenance={"metrics": metrics})  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def phone(browser: Any, many: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    screen = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    with (
        started_server(many, tmp_path_factory.mktemp("runs")) as (address, _),
        new_page(browser, address, **screen) as page,
    ):
        page.click("text=Classes and tools")
        yield page


def test_thirty_three_probabilities_can_be_read_on_a_phone(phone: Any, many: Path, photo_file: Path) -> None:
    phone.set_input_files("[data-testid=file]", photo_file)
    until(phone, f"{WIDTH} === 200")
    expected = load(many, threads=1).predict(photo_file).probabilities(100, 60)
    until(phone, f"{READOUT}.includes('(100, 60)')")
    assert shown_probabilities(phone) == pytest.approx(list(expected.values()), abs=0.0006)
    rows = phone.locator("[data-testid=legend] li")
    assert rows.count() == 33
    for i in range(33):
        assert rows.nth(i).evaluate(REACHABLE), NAMES[i]
        assert rows.nth(i).locator(".name").evaluate(WHOLE), NAMES[i]


def test_thirty_three_classes_are_switched_on_a_phone(phone: Any, many: Path, photo_file: Path) -> None:
    phone.set_input_files("[data-testid=file]", photo_file)
    until(phone, f"{WIDTH} === 200")
    shares = load(many, threads=1).predict(photo_file).shares
    choices = phone.locator(CHOICES)
    assert choices.count() == 33
    for i, name in enumerate(NAMES):
        assert choices.nth(i).evaluate(REACHABLE), name
        assert name in choices.nth(i).inner_text()
        choices.nth(i).tap()
    until(phone, f"({PAINTED})() === 0")
    last = max(shares, key=lambda name: shares[name])
    choices.nth(NAMES.index(last)).press("Enter")
    until(phone, f"Math.abs(({PAINTED})() - {shares[last]}) < 1e-6")
    for i in range(33):
        if NAMES[i] != last:
            choices.nth(i).press("Enter")
    until(phone, f"({PAINTED})() === 1")


def test_thirty_three_classes_fit_every_tab_of_a_phone(phone: Any) -> None:
    for tab in TABS:
        open_tab(phone, tab)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360, tab
    open_tab(phone, "overview")
    told = "On 101 images of val, learnt from too, 91.0"
    assert told in phone.locator("#content dl").inner_text()
