"""The Ship room in a real browser: its code runs, its jobs survive a reload, nothing is wrong with it for anybody."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import AXE, new_page, open_page, reload, until
from PIL import Image

from conftest import started_server
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.images.image_files import read_mask_ids
from pixelwise.prediction.load_model import Model

AXE_FINDS = "async () => (await axe.run('main')).violations.map((row) => `${row.id}: ${row.nodes[0].html}`)"
IN_VIEW = "((part) => part.getBoundingClientRect().top >= 0 && part.getBoundingClientRect().bottom <= innerHeight)"
CODE = "(document.querySelector('[data-testid=code]')?.innerText ?? '')"


def open_ship(page: Any, keys: str = "") -> None:
    page.evaluate(f"location.hash = '#room=ship{keys}'")
    page.wait_for_selector("h3:has-text('Code that runs this file')")


def test_the_code_on_the_page_runs_and_labels_as_the_server(
    page: Any, served_model: Model, photo_file: Path, tmp_path: Path
) -> None:
    open_ship(page)
    with page.expect_download() as download:
        page.click("a:has-text('Download')")
    download.value.save_as(tmp_path / download.value.suggested_filename)
    Image.open(photo_file).save(tmp_path / "photo.jpg", quality=95)
    (tmp_path / "label.py").write_text(page.evaluate(CODE), encoding="utf-8")
    done = subprocess.run([sys.executable, "label.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = served_model.predict(tmp_path / "photo.jpg").labels
    assert np.array_equal(read_mask_ids(tmp_path / "labels.png"), expected)
    first = served_model.classes.names[0]
    assert done.stdout.startswith(f"{first}: {(expected == 0).mean():.1%}\n")


def test_language_and_model_stay_over_reload_and_back(page: Any) -> None:
    open_ship(page)
    page.focus("button:has-text('C++')")
    page.keyboard.press("Enter")
    until(page, f"{CODE}.includes('#include <onnxruntime_cxx_api.h>')")
    page.select_option("main select", "other")
    until(page, f"{CODE}.includes('other.onnx')")
    reload(page)
    page.wait_for_selector("[data-testid=code]")
    until(page, f"{CODE}.includes('other.onnx') && {CODE}.includes('#include')")
    page.go_back()
    until(page, f"!{CODE}.includes('other.onnx')")


def test_a_job_goes_on_over_a_reload_and_its_end_is_shown(page: Any) -> None:
    open_ship(page)
    page.click("button:has-text('Time the engines')")
    page.wait_for_selector("[data-testid=job]")
    until(page, "document.activeElement.id === 'ship-jobs'")
    until(page, f"{IN_VIEW}(document.querySelector('[data-testid=job]'))")
    assert "Speed" in page.inner_text("header [data-testid=shipping]")
    reload(page)
    page.wait_for_selector("[data-testid=job][data-state=finished] td:has-text('ms')")
    page.click("button:has-text('Remove')")
    until(page, "!document.querySelector('[data-testid=job]')")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wrong_for_anybody(browser: Any, address: str, theme: Any) -> None:
    screen = {"viewport": {"width": 360, "height": 800}, "bypass_csp": True, "color_scheme": theme}
    with new_page(browser, address, **screen) as page:
        open_ship(page)
        page.add_script_tag(path=str(AXE))
        assert page.evaluate(AXE_FINDS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_javascript_that_is_shown_is_javascript(page: Any, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node here")
    open_ship(page, "&code=javascript")
    until(page, f"{CODE}.includes('onnxruntime-node')")
    (tmp_path / "label.mjs").write_text(page.evaluate(CODE), encoding="utf-8")
    subprocess.run([node, "--check", "label.mjs"], cwd=tmp_path, check=True, capture_output=True)


SUMMARY = "section.card textarea >> nth=0"
MARKUP = "Kerbs <img src=x onerror='window.ran = 1'> & <script>window.ran = 1</script>"


def test_a_card_is_edited_kept_over_a_killed_server_and_saved(
    browser: Any, fast_bundle: tuple[Path, Any], tmp_path: Path
) -> None:
    """Whatever is typed is text; it survives a reload and a server that is killed, and is saved when that is back."""
    model = Path(shutil.copy(fast_bundle[0], tmp_path / "kerbs.onnx"))
    plain = model.read_bytes()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    context = browser.new_context(viewport={"width": 360, "height": 800}, color_scheme="dark", bypass_csp=True)
    page = context.new_page()
    with started_server(model, tmp_path / "runs", port) as (address, _):
        open_page(page, address, "#tab=overview")
        open_ship(page)
        page.focus("section.card button:has-text('Edit')")
        page.keyboard.press("Enter")
        until(page, "document.activeElement.tagName === 'TEXTAREA'")
        page.keyboard.insert_text(MARKUP)
        until(page, "document.querySelector('[data-testid=card] p').innerText.includes('<script>')")
        page.add_script_tag(path=str(AXE))
        assert page.evaluate(AXE_FINDS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        reload(page)
        page.wait_for_selector(SUMMARY)
        assert page.input_value(SUMMARY) == MARKUP
    assert model.read_bytes() == plain
    page.click("button:has-text('Save into the bundle')")
    page.wait_for_selector("[role=alert] >> text=The server does not respond")
    page.wait_for_selector("text=Saved as soon as the server is back")
    with started_server(model, tmp_path / "runs", port):
        page.wait_for_selector("section.card button:has-text('Edit')")
        assert page.inner_text("[data-testid=card] p") == MARKUP
        reload(page)
        page.wait_for_selector("section.card button:has-text('Edit')")  # saved: there is no draft any more
        assert page.inner_text("[data-testid=card] p") == MARKUP
    assert page.evaluate("window.ran ?? 0") == 0
    assert read_bundle(model).metadata.card.summary == MARKUP
    context.close()
