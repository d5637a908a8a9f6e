"""What a launch would meet: damaged files, turned photos, strips, formats no browser shows, a server that goes away."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from browsing import WIDTH, open_page, until
from PIL import Image

from conftest import picture, started_server

HEIGHT = WIDTH.replace(".width", ".height")


def test_a_file_that_is_no_image_is_refused_in_words_and_nothing_is_lost(
    browser: Any, address: str, photo_file: Path, tmp_path: Path
) -> None:
    context = browser.new_context()  # its own: the console tells of the refusal, which is right
    page = context.new_page()
    open_page(page, address)
    page.set_input_files("[data-testid=file]", photo_file)
    until(page, f"{WIDTH} === 200")
    whole = photo_file.read_bytes()
    for name, body, words in (
        ("fake.jpg", b"hello", "The file is not an image"),
        ("cut.png", whole[: len(whole) // 2], "truncated or damaged"),
    ):
        (tmp_path / name).write_bytes(body)
        page.set_input_files("[data-testid=file]", tmp_path / name)
        page.wait_for_selector(f"[role=alert] >> text={words}")
        page.click("[role=alert] button")
        assert page.evaluate(WIDTH) == 200
    context.close()


def test_a_turned_photo_stands_upright(page: Any, tmp_path: Path) -> None:
    image = Image.fromarray(picture(2, 60, 90))
    turned = image.getexif()
    turned[0x0112] = 6  # the camera was held upright
    image.save(tmp_path / "phone.jpg", exif=turned)
    page.set_input_files("[data-testid=file]", tmp_path / "phone.jpg")
    until(page, f"{WIDTH} === 60 && {HEIGHT} === 90")
    assert page.evaluate(corner(0)) == pytest.approx(
        image.transpose(Image.Transpose.ROTATE_270).getpixel((0, 0)), abs=12
    )


def test_a_format_that_the_browser_cannot_show_is_shown(page: Any, tmp_path: Path) -> None:
    image = Image.fromarray(picture(5, 50, 70))
    image.save(tmp_path / "scan.tiff")
    page.set_input_files("[data-testid=file]", tmp_path / "scan.tiff")
    until(page, f"{WIDTH} === 70")
    assert page.evaluate(corner(0)) == list(image.getpixel((0, 0)))


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (1, 1)])
def test_strips_can_be_seen_and_asked(page: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.fromarray(picture(1, *size).reshape(*size, 3)).save(tmp_path / "strip.png")
    page.set_input_files("[data-testid=file]", tmp_path / "strip.png")
    until(page, f"{WIDTH} === {size[1]} && {HEIGHT} === {size[0]}")
    box = page.locator("[data-testid=stage]").bounding_box()
    assert min(box["width"], box["height"]) > 50
    for tab in ("why", "layers", "challenge", "code"):
        page.click(f"#tab-{tab}")
        page.wait_for_selector("#content h2")
        assert page.locator("text=could not be displayed").count() == 0


def corner(canvas: int) -> str:
    """JavaScript: red, green and blue of the first pixel of one of the stage's canvases."""
    return (
        f"[...document.querySelectorAll('[data-testid=stage] canvas')[{canvas}].getContext('2d')"
        ".getImageData(0, 0, 1, 1).data].slice(0, 3)"
    )


@pytest.mark.long
def test_the_server_goes_and_comes_back(browser: Any, fast_bundle: tuple[Path, Any], tmp_path: Path) -> None:
    """Nothing on the page is lost meanwhile; what was on its way arrives in the end."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    context = browser.new_context()
    page = context.new_page()
    with started_server(fast_bundle[0], tmp_path / "runs", port) as (address, _):
        open_page(page, address)
        page.wait_for_selector(".ribbon .layer")
    page.click("#tab-layers")
    page.wait_for_selector("[role=alert] >> text=The server does not respond")
    Image.fromarray(picture(4, 50, 77)).save(tmp_path / "meanwhile.png")
    page.set_input_files("[data-testid=file]", tmp_path / "meanwhile.png")
    assert page.locator("[data-testid=pixel]").is_visible()
    page.click(
        "nav[aria-label=Rooms] a[href*='room=train']"
    )  # its file was never loaded: it opens once the server is back
    with started_server(fast_bundle[0], tmp_path / "runs", port):
        until(page, "!document.querySelector('[role=alert] p')", 60)
        page.wait_for_selector("form[aria-label='New training'], #content pre")
        page.click("nav[aria-label=Rooms] a:has-text('Learn')")
        page.wait_for_selector("#tab-layers[aria-selected=true]")
        until(page, f"{WIDTH} === 77", 60)  # the file that was chosen meanwhile, without being chosen again
        page.click("#tab-layers")
        page.wait_for_selector("[data-testid=channel-map]")
        page.select_option("[aria-label='Built-in images']", index=2)
        until(page, "document.querySelector('[aria-label=\\'Built-in images\\']').selectedIndex === 2")
    context.close()
