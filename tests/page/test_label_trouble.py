"""Labelling when things go wrong: kills, folders that vanish or fill up, two people on one image, hostile names."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from browsing import FLAGS, chromium, until
from labelling_page import (
    PROOF,
    STAGE,
    Stage,
    given_back,
    image_id,
    images,
    labelled,
    labelling_page,
    open_labelling,
    said,
    started_labelling,
)
from PIL import Image

from pixelwise.images.image_files import write_png

WIDTH, HEIGHT = 160, 120
SCREEN = {"viewport": {"width": 1366, "height": 768}}
CLASSES = ("--classes", "road,sky")


def photos_in(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(80, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        write_png(folder / name, pixels)
    return folder


@contextmanager
def tab(browser: Any, address: str, **screen: Any) -> Iterator[Any]:
    """A page of which requests may fail."""
    context = browser.new_context(**{**SCREEN, **screen})
    page = context.new_page()
    open_labelling(page, address)
    yield page
    context.close()


def test_a_killed_server_is_started_again_and_the_page_goes_on(browser: Any, tmp_path: Path) -> None:
    """SIGKILL between strokes: what was drawn before is there, and what is drawn meanwhile follows."""
    photos = photos_in(tmp_path / "photos", "a.png", "b.png")
    with started_labelling(photos, CLASSES) as (address, server), tab(browser, address) as page:
        image, stage = image_id(address), Stage(page, WIDTH, HEIGHT)
        stage.drag((20, 20), (60, 20))
        drawn = labelled(address, image, 0)
        server.kill()
        server.wait()
        page.keyboard.press("2")
        stage.drag((20, 80), (60, 80))
        page.wait_for_selector("text=not saved")
        with started_labelling(photos, CLASSES, int(address.rsplit(":", 1)[1])):
            found = labelled(address, image, 1)
            assert found[80, 20:61].all()
            assert (labelled(address, image, 0) == drawn).all()
            until(page, "!document.body.innerText.includes('not saved')")
            page.keyboard.press("Control+z")
            labelled(address, image, 1, 0)
            page.keyboard.press("Control+z")  # of the server that was killed
            labelled(address, image, 0, 0)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="kills a group of processes")
def test_a_killed_browser_loses_nothing_and_frees_the_image(browser: Any, tmp_path: Path) -> None:
    """The next one waits until the lock of the first has lapsed, half a minute, and opens the image by itself."""
    photos = photos_in(tmp_path / "photos", "a.png")
    with started_labelling(photos, CLASSES) as (address, _):
        command = [chromium(), "--headless", *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]
        command += ["--remote-debugging-port=0", "about:blank"]
        killed = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert killed.stderr is not None
        ends = next(line.split()[-1] for line in killed.stderr if line.startswith("DevTools listening on "))
        page = browser.browser_type.connect_over_cdp(ends).contexts[0].new_page()
        page.set_viewport_size(SCREEN["viewport"])
        open_labelling(page, address)
        Stage(page, WIDTH, HEIGHT).drag((20, 20), (60, 20))
        drawn = labelled(address, image_id(address), 0)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        with tab(browser, address) as page:
            assert (labelled(address, image_id(address), 0) == drawn).all()
            page.keyboard.press("Control+z")
            labelled(address, image_id(address), 0, 0)


def test_the_second_tab_sees_who_has_the_image_and_gets_it_when_it_is_free(browser: Any, tmp_path: Path) -> None:
    photos = photos_in(tmp_path / "photos", "a.png", "b.png")
    with (
        started_labelling(photos, (*CLASSES, "--user", "Ada")) as (address, _),
        tab(browser, address) as first,
    ):
        said(first, "a.png")
        second = browser.new_page(**SCREEN)
        open_labelling(second, address)
        said(second, "b.png")  # the first one that is free
        second.wait_for_selector("[data-index='0'] >> text=Ada")
        second.click("[data-index='0']")
        second.wait_for_selector("text=/being labelled|has this|open at/ >> visible=true")
        first.keyboard.press("PageDown")
        said(first, "b.png")
        said(second, "a.png")
        Stage(second, WIDTH, HEIGHT).drag((20, 20), (60, 20))
        labelled(address, image_id(address), 0)


def test_a_page_that_ends_before_it_can_say_goodbye_frees_its_image(browser: Any, tmp_path: Path) -> None:
    """A browser ends a page of which the last handler does not begin within half a second."""
    photos = photos_in(tmp_path / "photos", "a.png", "b.png")
    with started_labelling(photos, CLASSES) as (address, _), tab(browser, address) as page:
        said(page, "a.png")
        busy = "() => { for (const end = Date.now() + 3000; Date.now() < end; ); }"
        page.evaluate(f"addEventListener('beforeunload', () => setTimeout({busy}))")
        page.evaluate("addEventListener('pagehide', (event) => event.stopImmediatePropagation(), true)")
        page.goto("about:blank")
        given_back(address)


def test_a_page_that_was_asked_to_close_and_stays_keeps_its_image(browser: Any, tmp_path: Path) -> None:
    photos = photos_in(tmp_path / "photos", "a.png", "b.png")
    with started_labelling(photos, CLASSES) as (address, _), tab(browser, address) as page:
        said(page, "a.png")
        page.evaluate(
            "for (let timer = 0; timer < 9999; timer++) clearInterval(timer)"
        )  # no heartbeat comes in between
        with page.expect_response(lambda answer: answer.url.endswith("/open")):
            page.evaluate("dispatchEvent(new Event('beforeunload', { cancelable: true }))")
        assert images(address)[0]["locked_by"]
        Stage(page, WIDTH, HEIGHT).drag((20, 20), (60, 20))
        labelled(address, image_id(address), 0)


@pytest.mark.parametrize("slow", ["open", "close"])
def test_a_page_that_goes_amid_opening_the_next_image_keeps_none(browser: Any, tmp_path: Path, slow: str) -> None:
    """Whichever request is on its way: none is sent, or taken, after the one that says that the page is gone."""
    from playwright.sync_api import Error

    photos = photos_in(tmp_path / "photos", "a.png", "b.png")
    with started_labelling(photos, CLASSES) as (address, _), tab(browser, address) as page:
        said(page, "a.png")
        Stage(page, WIDTH, HEIGHT).drag((20, 20), (60, 20))
        labelled(address, image_id(address), 0)

        def leave_meanwhile(route: Any) -> None:
            page.evaluate("void setTimeout(() => (location.href = 'about:blank'), 0)")
            page.wait_for_timeout(300)
            with suppress(Error):  # the request went with its page
                route.continue_()

        page.route(f"**/{slow}", leave_meanwhile)
        page.get_by_role("button", name="Done, next").click(no_wait_after=True)
        page.wait_for_url("about:blank")
        page.wait_for_timeout(500)
        given_back(address)


def test_two_servers_on_one_folder_share_it(browser: Any, tmp_path: Path) -> None:
    photos = photos_in(tmp_path / "photos", "a.png", "b.png")
    with (
        started_labelling(photos, (*CLASSES, "--user", "Ada")) as (one, _),
        started_labelling(photos, ("--user", "Grace")) as (two, _),
        tab(browser, one) as page,
    ):
        Stage(page, WIDTH, HEIGHT).drag((20, 20), (60, 20))
        drawn = labelled(one, image_id(one), 0)
        answer = httpx.post(
            f"{two}/v1/label/images/{image_id(two)}/open", json={"client": "grace"}, headers=PROOF, timeout=60
        )
        assert answer.status_code == 409
        assert "Ada" in answer.text
        page.keyboard.press("PageDown")
        said(page, "b.png")
        with tab(browser, two) as other:
            assert (labelled(two, image_id(two), 0) == drawn).all()
            Stage(other, WIDTH, HEIGHT).drag((20, 80), (60, 80))
            assert labelled(two, image_id(two), 0)[80, 20:61].all()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights of files are POSIX's")
def test_a_read_only_folder_is_shown_and_says_so(browser: Any, tmp_path: Path) -> None:
    photos = photos_in(tmp_path / "photos", "a.png")
    out = tmp_path / "labels"
    with started_labelling(photos, (*CLASSES, "--out", str(out))) as (address, _), tab(browser, address) as page:
        Stage(page, WIDTH, HEIGHT).drag((20, 20), (60, 20))
        drawn = labelled(address, image_id(address), 0)
    subprocess.run(["mount", "--bind", str(out), str(out)], check=False, stderr=subprocess.DEVNULL)
    try:
        if subprocess.run(["mount", "-o", "remount,ro,bind", str(out)], check=False, capture_output=True).returncode:
            if os.geteuid() == 0:
                pytest.skip("root writes everywhere, and nothing can be mounted here")
            for path in (out, *out.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
        with started_labelling(photos, ("--out", str(out))) as (address, _), tab(browser, address) as page:
            page.wait_for_selector("text=read-only")
            assert (labelled(address, image_id(address), 0) == drawn).all()
            Stage(page, WIDTH, HEIGHT).drag((20, 80), (60, 80))
            said(page, "read-only")
            assert (labelled(address, image_id(address), 0) == drawn).all()
    finally:
        subprocess.run(["umount", str(out)], check=False, stderr=subprocess.DEVNULL)
        for path in (out, *out.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_folder_that_vanishes_while_drawing_and_comes_back(browser: Any, tmp_path: Path) -> None:
    photos = photos_in(tmp_path / "photos", "a.png")
    out = tmp_path / "photos-labels"
    with started_labelling(photos, CLASSES) as (address, _), tab(browser, address) as page:
        stage = Stage(page, WIDTH, HEIGHT)
        stage.drag((20, 20), (60, 20))
        labelled(address, image_id(address), 0)
        page.wait_for_timeout(1500)  # until its files are written
        out.rename(tmp_path / "away")
        stage.drag((20, 80), (60, 80))
        page.wait_for_selector("[role=alert] >> text=Nothing can be saved")
        page.wait_for_selector("[role=alert] >> text=/photos-labels/")
        assert not out.exists()  # half a folder would be taken for all of it
        (tmp_path / "away").rename(out)
        page.wait_for_selector("text=Nothing can be saved", state="detached")
        assert labelled(address, image_id(address), 0)[80, 20:61].all()
    assert np.array(Image.open(out / "masks" / "a.png"))[[20, 80], 40].tolist() == [0, 0]


def test_a_full_disk_is_named_and_saving_goes_on_when_there_is_room(browser: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    photos = photos_in(tmp_path / "photos", "a.png")
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        options = (*CLASSES, "--out", str(disk / "labels"))
        with started_labelling(photos, options) as (address, _), tab(browser, address) as page:
            stage = Stage(page, WIDTH, HEIGHT)
            stage.drag((20, 20), (60, 20))
            first = labelled(address, image_id(address), 0)
            page.wait_for_timeout(1500)  # until its files are written
            free = os.statvfs(disk)
            (disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize))
            stage.drag((20, 40), (140, 40))
            page.wait_for_selector("[role=alert] >> text=No space left")
            stage = Stage(page, WIDTH, HEIGHT)  # below the alert
            for row in (60, 80, 100):
                stage.drag((20, row), (140, row))
            assert labelled(address, image_id(address), 0)[first].all()
            (disk / "ballast").unlink()
            until(page, "!document.body.innerText.includes('No space left')", 60)
            until(page, "!document.body.innerText.includes('not saved')", 60)
            found = labelled(address, image_id(address), 0)
            assert found[[40, 60, 80, 100], 20:141].all()
        assert ((np.array(Image.open(disk / "labels/masks/a.png")) == 0) == found).all()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


HOSTILE = (b"caf\xe9 \xff.png", b"<img src=x onerror=alert(1)>.png", "日本語 #?&%00.png".encode(), b"-rf.png")


def test_names_with_any_bytes_and_classes_with_markup(browser: Any, tmp_path: Path) -> None:
    photos = photos_in(tmp_path / "photos")
    for name in HOSTILE:
        one = tmp_path / "one.png"
        write_png(one, np.full((HEIGHT, WIDTH, 3), 99, np.uint8))
        with suppress(OSError):  # a file system of Unicode names
            one.rename(photos / os.fsdecode(name))
    names = len(list(photos.iterdir()))
    evil = "<b onclick=alert(1)>&amp;<script>"
    with started_labelling(photos, CLASSES) as (address, _), labelling_page(browser, address, **SCREEN) as page:
        page.on("dialog", lambda dialog: pytest.fail(f"the page ran a name: {dialog.message}"))
        page.get_by_label("Name of a new class").fill(evil)
        page.get_by_role("button", name="Add", exact=True).click()
        page.locator(f"text={evil}").first.wait_for()
        page.locator("button.name", has_text=evil).click()
        for place in range(names):
            page.click(f"[data-index='{place}']")
            image = image_id(address, place)
            until(page, f"location.hash.includes('{image}')")
            page.wait_for_selector(f"{STAGE}[aria-busy=false]")
            page.wait_for_selector("[data-testid=label-readout]")
            Stage(page, WIDTH, HEIGHT).drag((20, 20), (60, 20))
            labelled(address, image, 2)
        page.get_by_role("button", name="Done, next").click()
        assert page.locator("b[onclick], img[src=x]").count() == 0
    masks = list((tmp_path / "photos-labels" / "masks").iterdir())
    assert len(masks) == names
    assert evil in (tmp_path / "photos-labels" / "dataset.toml").read_text(encoding="utf-8").replace('\\"', '"')


def test_a_thousand_images(browser: Any, tmp_path: Path) -> None:
    """The strip holds only what is in sight; search, the last image and the keyboard are as quick as with ten."""
    photos = photos_in(tmp_path / "photos", "0.png")
    for number in range(1, 1000):
        os.link(photos / "0.png", photos / f"{number}.png")
    with started_labelling(photos, CLASSES) as (address, _), labelling_page(browser, address, **SCREEN) as page:
        page.wait_for_selector("text=/0 of 1.000 images done/")
        assert page.locator("[data-index]").count() < 40
        page.locator("[data-index='0']").focus()
        page.keyboard.press("End")
        page.wait_for_selector("[data-index='999']:focus")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=1000 of 1000")
        page.get_by_label("Search images by name").fill("77")
        page.wait_for_selector("[aria-setsize='19']")
        page.click("[data-index='0']")
        said(page, "77.png")
        Stage(page, WIDTH, HEIGHT).drag((20, 20), (60, 20))
        page.get_by_role("button", name="Done, next").click()
        page.wait_for_selector("text=/^1 of 1.000 images done/")
        assert page.locator("[data-index]").count() < 40


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_megapixels_are_opened_zoomed_and_drawn_on(browser: Any, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    height, width = 6000, 8400
    rows, columns = np.mgrid[:height, :width].astype(np.uint16)
    pixels = np.stack([rows // 32, columns // 40, (rows + columns) // 64], axis=-1).astype(np.uint8)
    write_png(photos / "large.png", pixels)
    with started_labelling(photos, CLASSES) as (address, server), tab(browser, address) as page:
        said(page, f"{width} by {height} pixels")
        page.get_by_label("Size in pixels").fill("300")
        Stage(page, width, height).drag((1000, 1000), (3000, 1000))
        found = labelled(address, image_id(address), 0)
        assert found[1000, 1000:3000].all()
        assert not found[3000:].any()
        page.get_by_role("button", name="1:1").click()
        page.get_by_label("Size in pixels").fill("1")
        page.locator(STAGE).focus()
        page.keyboard.press("2")
        box = page.locator(STAGE).bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        labelled(address, image_id(address), 1, 1)
        status = Path(f"/proc/{server.pid}/status")
        if status.exists():
            peak_kb = next(int(row.split()[1]) for row in status.read_text().splitlines() if row.startswith("VmHWM"))
            assert peak_kb < 3_000_000  # the photo, its smaller copies and the mask: no more for every request
