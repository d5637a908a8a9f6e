"""What the page and its server promise: from dropping a photo to a crowd ten times too large.

    python benchmarks/page.py MODEL [--seconds 60] [--only page|server]

Prints each figure beside what it must be. MODEL is a run directory or bundle. The page's figures are taken inside
Chromium by the page's own clock, from the event to the next frame drawn; the server's over the network interface.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table

from pixelwise.scenes.render_scene import SCENE_CLASSES, render_scene

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
TOKEN = "benchmark-of-the-page"
CLIENTS = 16
TIMES = 10  # as much as the server can do is what the crowd asks for
TURNS = 6
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
# Bytes of the page's own files, as they were sent; the images and what is computed from them come after.
LOADED = """[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter((one) => one.entryType === 'navigation' || /[.](js|css|woff2|svg)$/.test(new URL(one.name).pathname))
    .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
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
                rows += crowd(address, process, asked.seconds)
    table = Table("what", "must", "measured")
    for row in rows:
        table.add_row(*row)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    table.caption = f"{os.cpu_count()} cores; load of the machine in the last 1, 5, 15 minutes: {load}"
    Console(width=160).print(table)


@contextmanager
def serving(model: Path, runs: Path) -> Iterator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-m", "pixelwise", "serve", str(model), "--port", "0", "--runs", str(runs)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "PIXELWISE_TOKEN": TOKEN}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        line = next(line for line in process.stdout if "http://" in line)
        yield "http://" + line.split("http://")[1].split("/")[0], psutil.Process(process.pid)
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
    rows: list[Row] = []
    encoded = base64.b64encode(photo()).decode()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        opened = []
        for _ in range(5):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            page.goto(f"{address}/?token={TOKEN}")
            page.wait_for_selector("[data-testid=stage]")
            opened.append(page.evaluate("performance.getEntriesByName('mask-drawn')[0].startTime"))
            shell = page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
        rows.append(("first load, gzip", "≤ 400 KB", f"{page.evaluate(LOADED) / 1e3:.0f} KB"))
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
        page.click("nav[aria-label=Rooms] a[href*='room=train']")
        page.wait_for_selector("[data-testid=epoch]")
        for number in range(4, 24):
            time.sleep(0.13)
            began = time.perf_counter()
            with (live / "trace.jsonl").open("a") as file:
                file.write(epoch(number))
            while f"of {number}" not in page.evaluate("document.querySelector('[data-testid=epoch]').textContent"):
                time.sleep(0.002)
            waits.append((time.perf_counter() - began) * 1e3)
    page.click("[aria-label=Runs] button:has-text('long')")
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


def crowd(address: str, process: psutil.Process, seconds: float) -> list[Row]:
    """Goodput of a few patient clients, then of sixteen that together ask for ten times as much without patience.

    Clients share this machine's cores with the server. They give way to it, as clients on other machines would take
    none of its cores; what they still take is a part of the figure.
    """
    os.nice(10)  # this process alone: the server was started before
    images = [encode(render_scene(8, i, 240, 320)[0]) for i in range(CLIENTS)]
    alone = [labelled(address, image) for image in images]  # what each image is labelled when nobody else asks

    def patient(clients: int, for_s: float) -> Tally:
        return drive(address, clients, for_s, images, alone, every_s=0.0)

    tried = {clients: patient(clients, max(seconds / 12, 2)).good for clients in (1, 2, 4, 8)}
    best = max(tried, key=lambda clients: tried[clients])
    memory, health = [process.memory_info().rss / 2**20], list[float]()
    crowded, stop = threading.Event(), threading.Event()

    def look() -> None:
        with httpx.Client(base_url=address, timeout=30) as client:
            while not stop.wait(0.2):
                if crowded.is_set():
                    began = time.perf_counter()
                    client.get("/healthz").raise_for_status()
                    health.append((time.perf_counter() - began) * 1e3)
                    memory.append(process.memory_info().rss / 2**20)

    watcher = threading.Thread(target=look)
    watcher.start()
    peaks, crowds = list[Tally](), list[Tally]()
    for _ in range(TURNS):  # in turns: the machine itself is faster at one time than at another
        peaks.append(patient(best, seconds / TURNS / 2))
        crowded.set()
        every_s = CLIENTS / (TIMES * peaks[-1].good)
        crowds.append(drive(address, CLIENTS, seconds / TURNS, images, alone, every_s))
        crowded.clear()
    stop.set()
    watcher.join()
    peak, good = (statistics.mean(tally.good for tally in tallies) for tallies in (peaks, crowds))
    asked = good + statistics.mean(tally.refused for tally in crowds)
    third = len(memory) // 3
    grown = statistics.mean(memory[-third:]) - statistics.mean(memory[third : 2 * third])
    slow = sorted(health)[int(len(health) * 0.99)]
    wrong, answers = sum(tally.wrong for tally in crowds), sum(tally.answers for tally in crowds)
    return [
        (
            f"{CLIENTS} clients ask {asked / peak:.1f} times the peak for {seconds:.0f} s: goodput",
            "≥ 90 % of peak",
            f"{good / peak:.0%}: {good:.1f} a second, where {best} patient clients get {peak:.1f}",
        ),
        ("… /healthz meanwhile", "≤ 100 ms", f"{statistics.median(health):.0f} ms (99 %: {slow:.0f} ms)"),
        ("… memory", "flat", f"{memory[-1]:.0f} MB, {grown:+.1f} MB over the last third"),
        ("… answers mixed up", "0", f"{wrong} of {answers}"),
    ]  # fmt: skip


@dataclass
class Tally:
    """Right answers and refusals a second; wrong answers in all."""

    good: float
    refused: float
    wrong: int
    answers: int


class Answer(NamedTuple):
    """An answer of /v1/predict but for its milliseconds, which are all that may differ from one time to the next."""

    before: bytes  # size, classes and their shares, SHA-256 of the image
    rle: bytes


class Client:
    """Sends one image over and over on one connection, with as little work as can be: it shares the server's cores."""

    def __init__(self, address: str, image: bytes) -> None:
        host = address.removeprefix("http://")
        self.image = image
        self.request = (
            f"POST /v1/predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(image)}\r\n\r\n".encode() + image
        )
        name, port = host.split(":")
        self.socket = socket.create_connection((name, int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> Answer | None:
        """None where the server said no, with a time to come back."""
        self.socket.sendall(self.request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self.receive()
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(header(head, b"content-length"))
        parts, missing = [body], length - len(body)
        while missing > 0:
            parts.append(self.receive())
            missing -= len(parts[-1])
        if head.startswith(b"HTTP/1.1 503"):
            assert int(header(head, b"retry-after")) >= 1
            return None
        body = b"".join(parts)
        assert head.startswith(b"HTTP/1.1 200"), body
        before, _, after = body.partition(b'"milliseconds"')
        return Answer(before, after.partition(b'"rle"')[2])

    def receive(self) -> bytes:
        received = self.socket.recv(1 << 18)
        assert received, "the server closed the connection"
        return received

    def close(self) -> None:
        self.socket.close()


def header(head: bytes, name: bytes) -> bytes:
    return head.lower().split(name + b": ")[1].split(b"\r\n")[0]


def labelled(address: str, image: bytes) -> Answer:
    client = Client(address, image)
    answer = client.ask()
    client.close()
    assert answer is not None
    assert hashlib.sha256(image).hexdigest().encode() in answer.before
    assert answer.rle
    return answer


def drive(
    address: str, clients: int, seconds: float, images: list[bytes], alone: list[Answer], every_s: float
) -> Tally:
    """Each client sends its own image, every `every_s` seconds or as soon as it has its answer.

    A client that had to wait for an answer sends what it owes right after it, so that as many requests come as were
    meant to: waiting makes no crowd smaller.
    """
    counts = np.zeros((clients, 3), np.int64)  # refused, right, wrong
    connected = [Client(address, images[which]) for which in range(clients)]
    began = time.perf_counter()

    def one(which: int) -> None:
        client = connected[which]
        due = began + every_s * which / clients  # not all in the same moment
        while (now := time.perf_counter()) < began + seconds:
            if due > now:
                time.sleep(due - now)
            answer = client.ask()
            counts[which, 0 if answer is None else 1 if answer == alone[which] else 2] += 1
            due += every_s
        client.close()

    threads = [threading.Thread(target=one, args=(which,)) for which in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    refused, good, wrong = (int(value) for value in counts.sum(axis=0))
    return Tally(good / took, refused / took, wrong, good + wrong)


def encode(image: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def spread(times: list[float], more: str = "") -> str:
    return f"{statistics.median(times):.0f} ms (fastest {min(times):.0f}, slowest {max(times):.0f}{more})"


if __name__ == "__main__":
    main()
