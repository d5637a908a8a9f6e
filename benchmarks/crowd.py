"""What honest clients get while others misbehave: `python benchmarks/crowd.py [--seconds 60] [--model street]`.

A server is started, honest clients (as many as it has places) ask for labels one after the other, and beside them runs
each kind of attack in turn. Printed is what the honest get of what they get alone, how long /healthz takes, and the
server's memory before and after; then how long the server takes to be gone when it is told to stop in each state.
Everything stays on 127.0.0.1, and is bounded in count and time.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import psutil
from PIL import Image

PLACES = 9  # one at work and eight waiting
BAD_UPLOADS = 1000
HALF_REQUESTS = 300
HONEST = 4  # clients
MB = 2**20
Attack = Callable[["Target", Event, Any], None]  # (whom, until when, how many images it was labelled)
TOKEN = "a-token-for-the-benchmark"


def photo(seed: int, height: int = 480, width: int = 640) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times more."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((2000, 2000, 3), 90, np.uint8)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    begin = data.rindex(b"\xff\xda")
    return data[:-2] + data[begin:-2] * count + b"\xff\xd9"


@dataclass
class Target:
    """A server's address, as an attack is told of it, which runs in a process of its own."""

    address: str
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@dataclass
class Served(Target):
    process: subprocess.Popen[str]

    def rss_mb(self) -> float:
        server = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in (server, *server.children(recursive=True))) / MB


@contextmanager
def server(model: str) -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "pixelwise", "serve", model, "--port", "0", "--runs", runs]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "PIXELWISE_TOKEN": TOKEN}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http://" in line)
        address = "http://" + line.split("http://")[1].split()[0].partition("/?")[0]
        try:
            yield Served(address, int(address.rpartition(":")[2]), process)
        finally:
            process.kill()
            process.wait()


@dataclass
class Honest:
    """Clients that ask for labels one after the other, and one that asks whether the server lives."""

    served: Served
    seconds: float
    clients: int = HONEST
    done: int = 0
    refused: int = 0
    health_s: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def label(self, seed: int) -> None:
        body = photo(seed)
        with httpx.Client(timeout=60) as client:
            while not self.stop.is_set():
                try:
                    answer = client.post(f"{self.served.address}/v1/predict?answer=png", content=body)
                except httpx.HTTPError:  # cut off: as a person would, it tries again
                    self.refused += 1
                    continue
                if answer.status_code == 200:
                    self.done += 1
                else:
                    self.refused += 1
                    time.sleep(0.1)

    def look(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self.stop.is_set():
                began = time.perf_counter()
                with contextlib.suppress(httpx.HTTPError):
                    client.get(f"{self.served.address}/healthz")
                self.health_s.append(time.perf_counter() - began)
                time.sleep(0.02)

    def run(self, attack: Attack | None) -> int:
        """Returns how many images the attack was labelled."""
        threads = [threading.Thread(target=self.label, args=(seed,)) for seed in range(self.clients)]
        threads.append(threading.Thread(target=self.look))
        spawn = multiprocessing.get_context("spawn")
        ended, labelled = spawn.Event(), spawn.Value("i", 0)
        target = Target(self.served.address, self.served.port)
        beside = None if attack is None else spawn.Process(target=attack, args=(target, ended, labelled))
        if beside is not None:
            beside.start()
            time.sleep(3)  # until it has begun
        for one in threads:
            one.start()
        before = labelled.value
        time.sleep(self.seconds)
        found = labelled.value - before
        self.stop.set()
        ended.set()
        for one in threads:
            one.join()
        if beside is not None:
            beside.join(60)
            beside.kill()
        return int(found)

    @property
    def rate(self) -> float:
        return self.done / self.seconds

    @property
    def health_ms(self) -> float:
        return float(np.quantile(self.health_s, 0.99) * 1e3)


# ── attacks: each goes on until told to stop ──


def endless_headers(served: Target, stop: Event, _: Any) -> None:
    """One socket after the other sends a header without end, as fast as it is taken."""
    piece = b"a" * 65_536
    while not stop.is_set():
        with served.connect() as one, contextlib.suppress(OSError):
            one.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\na: ")
            while not stop.is_set():
                one.sendall(piece)
        stop.wait(0.05)


def half_requests(served: Target, stop: Event, _: Any) -> None:
    """So many sockets with half a request each, opened again when they are cut off."""
    kinds = (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA",
        b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n" + b"0" * 500,
        b"",
    )
    held: list[socket.socket] = []
    while not stop.is_set():
        while len(held) < HALF_REQUESTS and not stop.is_set():
            one = served.connect()
            one.sendall(kinds[len(held) % len(kinds)])
            one.setblocking(False)
            held.append(one)
        stop.wait(0.2)
        for one in list(held):
            try:
                over = one.recv(4096) == b""
            except BlockingIOError:
                over = False
            except OSError:
                over = True
            if over:
                one.close()
                held.remove(one)
    for one in held:
        one.close()


def endless_scans(served: Target, stop: Event, _: Any) -> None:
    """A JPEG of 20,000 scans, again and again, from two clients."""
    body = jpeg_of_scans(20_000)

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                with contextlib.suppress(httpx.HTTPError):
                    client.post(f"{served.address}/v1/predict", content=body)
                stop.wait(0.05)

    both(ask)


def bad_uploads(served: Target, stop: Event, _: Any) -> None:
    """So many uploads that are no images, damaged, or far too large, spread over the time."""
    rng = np.random.default_rng(0)
    whole = photo(9)
    kinds = (
        b"no image",
        whole[: len(whole) // 2],
        b"\x89PNG\r\n\x1a\n" + rng.bytes(2000),
        b"\xff\xd8\xff" + rng.bytes(5000),
    )
    with httpx.Client(timeout=60) as client:
        for i in range(BAD_UPLOADS):
            if stop.wait(0.005):
                return
            with contextlib.suppress(httpx.HTTPError):
                client.post(f"{served.address}/v1/predict", content=kinds[i % len(kinds)])


def crowd(served: Target, stop: Event, labelled: Any) -> None:
    """Ten times as many clients as there are places; each comes back when it was told to."""
    body = photo(5)

    def ask() -> None:
        while not stop.is_set():
            client = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
            try:
                client.request("POST", "/v1/predict?answer=png", body)
                answer = client.getresponse()
                answer.read()
            except OSError:
                stop.wait(1)
                continue
            finally:
                client.close()
            if answer.status == 200:
                with labelled.get_lock():
                    labelled.value += 1
            stop.wait(float(answer.getheader("retry-after", "0")))

    many = [threading.Thread(target=ask) for _ in range(10 * PLACES)]
    for one in many:
        one.start()
    for one in many:
        one.join()


def both(ask: Callable[[], None]) -> None:
    second = threading.Thread(target=ask)
    second.start()
    ask()
    second.join()


ATTACKS: dict[str, Attack] = {
    "endless headers": endless_headers,
    "300 half requests": half_requests,
    "JPEG of 20,000 scans": endless_scans,
    "1,000 bad uploads": bad_uploads,
    "10 × capacity": crowd,
}


# ── stopping ──


def idle(_: Served) -> list[socket.socket]:
    return []


def predicting(served: Served) -> list[socket.socket]:
    body = photo(3, 1500, 2000)
    head = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    one = served.connect()
    one.sendall(head + body)
    time.sleep(0.3)
    return [one]


def decoding(served: Served) -> list[socket.socket]:
    body = jpeg_of_scans(200)
    head = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    one = served.connect()
    one.sendall(head + body)
    time.sleep(0.3)
    return [one]


def half_open(served: Served) -> list[socket.socket]:
    found = [served.connect() for _ in range(50)]
    for i, one in enumerate(found):
        one.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"Content-Length: 9\r\n\r\n" * (i % 2))
    return found


def large(served: Served) -> list[socket.socket]:
    body = photo(3, 5000, 7000)
    head = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    one = served.connect()
    one.sendall(head + body)
    time.sleep(2)
    return [one]


STATES: dict[str, Callable[[Served], list[socket.socket]]] = {
    "idle": idle,
    "predicting": predicting,
    "decoding": decoding,
    "50 half requests": half_open,
    "predicting 35 megapixels": large,
}


def seconds_to_end(model: str, state: Callable[[Served], list[socket.socket]], times: int) -> tuple[float, bool]:
    """How long it takes to be gone, and whether what was asked got an answer."""
    with server(model) as served:
        httpx.post(f"{served.address}/v1/predict", content=photo(1), timeout=60).raise_for_status()
        held = state(served)
        began = time.monotonic()
        for _ in range(times):
            served.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        served.process.wait(30)
        took = time.monotonic() - began
        answered = True
        for one in held[:1]:
            one.settimeout(1)
            with contextlib.suppress(OSError):
                answered = one.recv(100).startswith(b"HTTP/1.1")
        return took, answered


def measure(model: str, seconds: float, attacks: dict[str, Attack]) -> list[list[str]]:
    rows = []
    with server(model) as served:
        Honest(served, 3).run(None)
        alone = Honest(served, seconds)
        alone.run(None)
        rows.append(["honest clients alone", f"{alone.rate:.1f}", "100 %", f"{alone.health_ms:.0f}", "", ""])
        for name, attack in attacks.items():
            time.sleep(3)
            before = served.rss_mb()
            beside = Honest(served, seconds)
            labelled = beside.run(attack)
            time.sleep(5)  # what is given back is given back within seconds
            served_all = beside.done + labelled  # a crowd asks as honestly as the others do
            share = served_all / seconds / alone.rate
            after = served.rss_mb()
            row = [
                name,
                f"{served_all / seconds:.1f}",
                f"{share:.0%}",
                f"{beside.health_ms:.0f}",
                f"{before:.0f}",
                f"{after:.0f}",
            ]
            rows.append(row)
            print("  ".join(row), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--model", default="street")
    arguments = parser.parse_args()
    model = arguments.model if not Path(arguments.model).exists() else str(Path(arguments.model).resolve())
    rows = measure(model, arguments.seconds, ATTACKS)
    print("\n| beside honest clients | images a second | of those alone | healthz, p99, ms | MB before | after |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print("\n| told to stop while | once, s | twice, s | answered |\n|---|---|---|---|")
    for name, state in STATES.items():
        once, answered = seconds_to_end(model, state, 1)
        twice, _ = seconds_to_end(model, state, 2)
        print(f"| {name} | {once:.1f} | {twice:.1f} | {'yes' if answered else 'no'} |", flush=True)


if __name__ == "__main__":
    main()
