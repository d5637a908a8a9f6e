"""The web page of a single model, from a plain host of files, in a real browser: the labels are the server's."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import AXE, until
from PIL import Image

from conftest import picture
from pixelwise.images.image_files import read_image, read_mask_ids
from pixelwise.prediction.load_model import load
from pixelwise.prediction.web_export import BUILT, export_web

SAME = 0.999  # of all pixels: where two classes are nearly equal, rounding decides
AXE_FINDS = "async () => (await axe.run()).violations.map((row) => `${row.id}: ${row.nodes[0].html}`)"
STREET_PHOTO = Path(__file__).parents[2] / "examples/street.jpg"


class QuietHost(http.server.SimpleHTTPRequestHandler):
    """What `python -m http.server` runs."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def hosted(folder: Path) -> Iterator[tuple[str, http.server.ThreadingHTTPServer]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHost, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def exported(fast_bundle: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A bundle and its web page."""
    if not (BUILT / "standalone.html").is_file():
        pytest.skip("the page is not built: python hatch_build.py")
    folder = tmp_path_factory.mktemp("web") / "page"
    export_web(fast_bundle[0], folder)
    return fast_bundle[0], folder


@contextmanager
def opened(browser: Any, address: str, **screen: Any) -> Iterator[Any]:
    """The page, ready; nothing left for another address, and nothing failed."""
    context = browser.new_context(bypass_csp=True, **screen)  # for axe
    page = context.new_page()
    page.set_default_timeout(120_000)  # ms; other tests run beside these
    wrong: list[str] = []
    page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else wrong.append(r.url))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.goto(address)
    page.wait_for_selector("[data-testid=done]")
    yield page
    context.close()
    assert wrong == []


def labelled(page: Any, photo: Path, folder: Path) -> Any:
    """The mask that the page offers for a photo."""
    page.set_input_files("input[type=file]", photo)
    until(page, f"document.querySelector('[data-testid=done] strong')?.innerText === {json.dumps(photo.name)}", 120)
    with page.expect_download() as download:
        page.click("text=Download mask")
    assert download.value.suggested_filename == f"{photo.stem}-mask.png"
    download.value.save_as(folder / "mask.png")
    return read_mask_ids(folder / "mask.png")


def photos_of_every_kind(folder: Path) -> Sequence[Path]:
    """What decoders differ on: orientation, alpha, palette, 16 bits, and a colour profile in each kind of file."""
    image = Image.fromarray(picture(3, 90, 140))
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(folder / "turned.jpg", exif=turned, quality=90)
    image.save(folder / "turned.webp", exif=turned, quality=90)
    image.save(folder / "turned.png", exif=turned)
    alpha = np.linspace(0, 255, 90 * 140).astype(np.uint8).reshape(90, 140)
    Image.merge("RGBA", (*image.split(), Image.fromarray(alpha))).save(folder / "alpha.png")
    image.quantize(16).save(folder / "palette.png")
    Image.fromarray(np.asarray(image)[:, :, 0].astype(np.uint16) * 250).save(folder / "deep.png")
    return sorted(folder.iterdir())


def test_labels_are_those_of_pixelwise_for_photos_of_every_kind(
    browser: Any, exported: tuple[Path, Path], tmp_path: Path
) -> None:
    bundle, folder = exported
    model = load(bundle)
    (tmp_path / "photos").mkdir()
    same = pixels = 0
    with hosted(folder) as (address, _), opened(browser, address) as page:
        for photo in photos_of_every_kind(tmp_path / "photos"):
            found, expected = labelled(page, photo, tmp_path), model.predict(photo).labels
            assert found.shape == read_image(photo).shape[:2], photo.name
            same += int((found == expected).sum())
            pixels += expected.size
    assert same / pixels >= SAME


def test_it_checks_itself_and_runs_on_threads_from_any_host(browser: Any, exported: tuple[Path, Path]) -> None:
    with hosted(exported[1]) as (address, _), opened(browser, address) as page:
        assert "of the reference image’s pixels have the recorded labels" in page.inner_text("footer")
        assert page.evaluate("crossOriginIsolated")  # this host sends no header for it


def test_it_works_offline_once_it_was_opened(
    browser: Any, exported: tuple[Path, Path], photo_file: Path, tmp_path: Path
) -> None:
    with hosted(exported[1]) as (address, server), opened(browser, address) as page:
        server.shutdown()
        server.server_close()
        page.reload()
        page.wait_for_selector("[data-testid=done]")
        assert labelled(page, photo_file, tmp_path).shape == (120, 200)


def test_it_is_usable_by_keyboard_and_says_what_it_cannot_open(
    browser: Any, exported: tuple[Path, Path], photo_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("not an image")
    with hosted(exported[1]) as (address, _), opened(browser, address, viewport={"width": 360, "height": 800}) as page:
        labelled(page, photo_file, tmp_path)
        page.focus("[role=application]")
        page.keyboard.press("ArrowRight")
        until(page, "document.querySelector('[data-testid=here]').innerText.startsWith('(101, 60)')")
        first = page.locator("section[aria-label=Classes] li button").first
        first.focus()
        page.keyboard.press("Space")
        assert first.get_attribute("aria-pressed") == "false"
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.add_script_tag(path=str(AXE))
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            assert page.evaluate(AXE_FINDS) == []
        page.set_input_files("input[type=file]", tmp_path / "text.jpg")
        page.wait_for_selector("[data-testid=failure] >> text=text.jpg is not an image that this browser can open")
        assert labelled(page, photo_file, tmp_path).shape == (120, 200)  # and goes on


@pytest.mark.slow
def test_street_labels_ten_photos_as_the_server_does(browser: Any, tmp_path: Path) -> None:
    if not (BUILT / "standalone.html").is_file():
        pytest.skip("the page is not built: python hatch_build.py")
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the photos; install pixelwise[dev]")
    export_web("street", tmp_path / "page")
    (tmp_path / "photos").mkdir()
    for name in ("astronaut", "chelsea", "coffee", "rocket"):  # those that need no download; a person is among them
        image = Image.fromarray(getattr(data, name)())
        image.save(tmp_path / f"photos/{name}.jpg", quality=90)
        image.resize((960, 720)).save(tmp_path / f"photos/{name}-wide.png")
    street = Image.open(STREET_PHOTO)
    street.save(tmp_path / "photos/street.jpg", quality=95)
    street.resize((4000, 3000)).save(tmp_path / "photos/street-12-megapixels.jpg", quality=88)
    model = load("street")
    same = pixels = 0
    with hosted(tmp_path / "page") as (address, _), opened(browser, address) as page:
        for photo in sorted((tmp_path / "photos").iterdir()):
            found, expected = labelled(page, photo, tmp_path), model.predict(photo).labels
            same += int((found == expected).sum())
            pixels += expected.size
    assert same / pixels >= SAME
