"""What the page and its server promise: from dropping a photo to a crowd ten times too large.

    python benchmarks/page.py MODEL [--seconds 60] [--only page|server]

Prints each figure beside what it must be. MODEL is a run directory or bundle. The page's figures are taken inside
Chromium by the page's own clock, from the event to the next frame drawn; the server's over the network interface.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table

from pixelwise.data.scenes import SCENE_CLASSES, render_scene
from pixelwise.prediction.image import load
from pixelwise.server.answers import from_run_lengths
from pixelwise.server.page import STATIC

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
CLIENTS = 16
Row = tuple[str, str, str]

DROP = """async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], 'photo.jpg', {type: 'image/jpeg'}));
    performance.clearMarks('mask-drawn');
    const began = performance.now();
    window.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer}));
    while (!performance.getEntriesByName('mask-drawn').length) await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return performance.now() - began;
}"""
MOVE = """async () => {
    const stage = document.querySelector('[data-testid=stage]');
    const readout = document.querySelector('[data-testid=pixel]');
    const box = stage.getBoundingClientRect();
    const times = [];
    for (let i = 0; i < 60; i++) {
        await new Promise(requestAnimationFrame);
        const began = performance.now();
        const done = new Promise((resolve) => {
            const watch = new MutationObserver(() => {
                watch.disconnect();
                readout.getBoundingClientRect();
                resolve(performance.now());
            });
            watch.observe(readout, {subtree: true, childList: true, characterData: true, attributes: true});
        });
        const x = box.left + box.width * (0.1 + 0.8 * ((i * 37) % 60) / 60);
        const y = box.top + box.height * (0.1 + i / 80);
        const moved = {clientX: x, clientY: y, pointerType: 'mouse', bubbles: true};
        stage.dispatchEvent(new PointerEvent('pointermove', moved));
        times.push((await done) - began);
    }
    return times.sort((a, b) => a - b);
}"""
SLIDE = """async () => {
    const slider = document.querySelector('[aria-label=Epoch]');
    const frames = [];
    let last = performance.now();
    for (let i = 0; i < 60; i++) {
        slider.value = String((i * 997) % 10000);
        slider.dispatchEvent(new Event('input', {bubbles: true}));
        await new Promise(requestAnimationFrame);
        frames.push(performance.now() - last);
        last = performance.now();
    }
    return frames.sort((a, b) => a - b);
}"""  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", choices=["page", "server"])
    asked = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        with serving(asked.model, runs) as (address, process):
            if asked.only != "server":
                rows += page_figures(address, runs)
            if asked.only != "page":
                rows.append(layer_trace(address))
                rows += crowd(address, asked.model, process, asked.seconds)
    table = Table("what", "must", "measured")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)


@contextmanager
def serving(model: Path, runs: Path) -> Iterator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-m", "pixelwise", "serve", str(model), "--port", "0", "--runs", str(runs)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        line = next(line for line in process.stdout if "http://" in line)
        yield "http://" + line.split("http://")[1].split()[0].rstrip("/"), psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def photo(megapixels: float = 2.0, index: int = 5) -> bytes:
    """A rendered street as a JPEG of a camera's quality."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    pixels, _ = render_scene(3, index, height, round(height * 4 / 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


# ── in the browser ──


def page_figures(address: str, runs: Path) -> list[Row]:
    import base64

    from playwright.sync_api import sync_playwright

    browser_path = os.environ.get("PIXELWISE_CHROMIUM") or shutil.which("chromium")
    packed = sum(path.stat().st_size for path in STATIC.rglob("*.gz"))
    rows: list[Row] = [("first load, gzip", "≤ 350 KB", f"{packed / 1e3:.0f} KB")]
    encoded = base64.b64encode(photo()).decode()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        opened = []
        for _ in range(5):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            page.goto(address)
            page.wait_for_selector("[data-testid=stage]")
            opened.append(page.evaluate("performance.getEntriesByName('mask-drawn')[0].startTime"))
            shell = page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
        rows.append(("opened → first image labelled", "≤ 1 s", spread(opened, f"; shell interactive {shell:.0f} ms")))
        page.wait_for_selector(".ribbon .layer")
        drops = []
        for _ in range(9):
            drops.append(page.evaluate(DROP, encoded))
            page.wait_for_timeout(1500)  # the ribbon's own work, which comes after
        rows.append(("drop a 2-megapixel photo → mask drawn", "≤ 400 ms", spread(drops[1:])))
        rows.append(("pixel cursor → all probabilities shown", "≤ 16 ms", spread(page.evaluate(MOVE))))
        rows += training_figures(page, runs)
        browser.close()
    return rows


def epoch(number: int) -> str:
    event = {
        "version": 1, "time": time.time(), "event": "epoch", "epoch": number,
        "loss": 1 / number, "val_loss": 1.2 / number, "accuracy": 1 - 1 / (number + 1), "miou": 1 - 1 / (number + 2),
        "learning_rate": 1e-3, "seconds": 1.0,
        "images_per_second": 9.0, "best": True, "observation": "improving",
        "iou": dict.fromkeys(SCENE_CLASSES.names, 0.5), "true": {}, "predicted": {},
    }  # fmt: skip
    return json.dumps(event) + "\n"


def training_figures(page: Any, runs: Path) -> list[Row]:
    """A run that is written here, line by line, as a training writes it."""
    live, long = runs / "live", runs / "long"
    for folder, count in ((long, 10_000), (live, 3)):
        folder.mkdir()
        (folder / "trace.jsonl").write_text("".join(epoch(i + 1) for i in range(count)))
    waits = []
    with (live / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        page.click("#tab-project")
        page.wait_for_selector("[data-testid=epoch]")
        for number in range(4, 24):
            time.sleep(0.13)
            began = time.perf_counter()
            with (live / "trace.jsonl").open("a") as file:
                file.write(epoch(number))
            while f"of {number}" not in page.evaluate("document.querySelector('[data-testid=epoch]').textContent"):
                time.sleep(0.002)
            waits.append((time.perf_counter() - began) * 1e3)
    page.click("button:has-text('long')")
    began = time.perf_counter()
    while "10000" not in page.evaluate("document.querySelector('[data-testid=epoch]')?.textContent ?? ''"):
        time.sleep(0.01)
    loaded = time.perf_counter() - began
    frames = page.evaluate(SLIDE)
    slow = frames[int(len(frames) * 0.95)]
    return [
        ("training event → chart updated", "≤ 300 ms", spread(waits)),
        (
            "10,000 epochs: shown after, frame while sliding",
            "smooth",
            f"{loaded:.2f} s, {statistics.median(frames):.0f} ms (95 %: {slow:.0f} ms)",
        ),
    ]


# ── over the network ──


def layer_trace(address: str) -> Row:
    body, times = photo(), []
    with httpx.Client(base_url=address, timeout=60) as client:
        for _ in range(6):
            began = time.perf_counter()
            client.post("/v1/trace", content=body).raise_for_status()
            times.append((time.perf_counter() - began) * 1e3)
    return ("full layer trace of a 2-megapixel image", "≤ 1.5 s", spread(times[1:]))


def crowd(address: str, model: Path, process: psutil.Process, seconds: float) -> list[Row]:
    """Goodput of four patient clients, then of sixteen that ask for ten times as much without patience."""
    images = [render_scene(8, i, 240, 320)[0] for i in range(CLIENTS)]
    bodies = [encode(image) for image in images]
    opened = load(model)
    expected = [opened.predict(image).labels for image in images]

    def ask(client: httpx.Client, which: int) -> int:
        answer = client.post("/v1/predict", content=bodies[which])
        if answer.status_code != 200:
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["Retry-After"]) >= 1
            return 0
        told = answer.json()
        labels = from_run_lengths(told["rle"], told["height"], told["width"])
        # Rounding may differ between threads; another image's labels would differ far more.
        return 1 if float((labels == expected[which]).mean()) > 0.99 else -1

    peak, _, _ = drive(address, 4, min(seconds / 4, 15), ask, pause=lambda: 0.0)
    memory = [process.memory_info().rss / 2**20]
    stop = threading.Event()
    health: list[float] = []

    def look() -> None:
        with httpx.Client(base_url=address, timeout=30) as client:
            while not stop.wait(0.2):
                began = time.perf_counter()
                client.get("/healthz").raise_for_status()
                health.append((time.perf_counter() - began) * 1e3)
                memory.append(process.memory_info().rss / 2**20)

    watcher = threading.Thread(target=look)
    watcher.start()
    every = CLIENTS / (10 * peak)  # seconds between one client's requests, so that all ask ten times the peak
    good, wrong, refused = drive(address, CLIENTS, seconds, ask, pause=lambda: every)
    stop.set()
    watcher.join()
    third = len(memory) // 3
    grown = statistics.mean(memory[-third:]) - statistics.mean(memory[third : 2 * third])
    slow = sorted(health)[int(len(health) * 0.99)]
    told = f"{good / peak:.0%} ({good:.1f} of {peak:.1f} a second; {good + refused:.0f} a second asked for)"
    return [
        (f"16 clients at ten times capacity, {seconds:.0f} s: goodput", "≥ 90 % of peak", told),
        ("… /healthz meanwhile", "≤ 100 ms", f"{statistics.median(health):.0f} ms (99 %: {slow:.0f} ms)"),
        ("… memory", "flat", f"{memory[-1]:.0f} MB, {grown:+.1f} MB over the last third"),
        ("… answers mixed up", "0", str(wrong)),
    ]  # fmt: skip


def drive(
    address: str, clients: int, seconds: float, ask: Callable[[httpx.Client, int], int], pause: Callable[[], float]
) -> tuple[float, int, float]:
    """Right answers a second, wrong answers, refusals a second."""
    end = time.perf_counter() + seconds
    counts = np.zeros((clients, 3), np.int64)

    def one(which: int) -> None:
        with httpx.Client(base_url=address, timeout=60) as client:
            due = time.perf_counter()
            while time.perf_counter() < end:
                counts[which, ask(client, which)] += 1  # −1 is the last column: wrong
                due = max(due + pause(), time.perf_counter() - 1)
                time.sleep(max(0.0, due - time.perf_counter()))

    threads = [threading.Thread(target=one, args=(which,)) for which in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused, good, wrong = counts.sum(axis=0)
    return float(good / seconds), int(wrong), float(refused / seconds)


def encode(image: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def spread(times: list[float], more: str = "") -> str:
    return f"{statistics.median(times):.0f} ms (fastest {min(times):.0f}, slowest {max(times):.0f}{more})"


if __name__ == "__main__":
    main()
