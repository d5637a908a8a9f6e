"""The Train room on the page: a plan with its reasons, and a server that comes back with another token."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from browsing import AXE, new_page, open_page, open_room, reload, until
from test_everyone import AXE_FINDS

from conftest import started_server


def test_the_plan_is_shown_with_reasons_and_crops_and_survives_a_reload(
    browser: Any, fast_bundle: tuple[Path, Any], tiny_scenes: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="training needs torch; install pixelwise[train]")
    options = ["--data", str(tiny_scenes)]
    with (
        started_server(fast_bundle[0], tmp_path / "runs", options=options) as (address, _),
        new_page(browser, address, viewport={"width": 360, "height": 800}, bypass_csp=True) as page,
    ):
        open_room(page, "train")
        page.fill("form[aria-label='New training'] input[type=number]", "3")
        page.wait_for_selector("[aria-label='Choices of the plan'] tbody tr")
        page.wait_for_selector("img[alt='Its crop in epoch 3']")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        if AXE.is_file():
            page.evaluate(AXE.read_text(encoding="utf-8"))
            assert page.evaluate(AXE_FINDS) == []
        page.select_option("label:has-text('train on') select", value="")
        page.wait_for_selector("text=training scenes")
        reload(page)
        page.wait_for_selector("text=training scenes")
        page.go_back()
        page.wait_for_selector("section[aria-label=Plan]")


def test_a_server_that_comes_back_with_another_token_is_asked_again(
    browser: Any, fast_bundle: tuple[Path, Any], tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    context = browser.new_context()
    page = context.new_page()
    with started_server(fast_bundle[0], tmp_path, port) as (address, _):
        open_page(page, address)
    page.wait_for_selector("[role=alert] >> text=The server does not respond")
    with started_server(fast_bundle[0], tmp_path, port, ["--token", "another"]):
        page.click("nav[aria-label=Rooms] a[href*='room=train']")
        page.fill("[role=alert] input", f"{address}/?token=another#room=train")
        page.click("text=Go on with it")
        page.wait_for_selector("form[aria-label='New training'], #content pre")
        until(page, "!document.querySelector('[role=alert] p')")
    context.close()
