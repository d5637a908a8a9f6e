"""How much slower the same work is on a machine that is busy with something else.

    python benchmarks/busy.py [--busy 0 1 2 4] [--rounds 5] [--seconds 4] [--work training folder serve]

Training steps of the default recipe, a folder of images through `predict`, and requests to `serve street`, alone and
beside processes that compute without end; with Pixelwise's settings and with the defaults of PyTorch's OpenMP and of
ONNX Runtime, whose idle threads keep a core busy while they wait. All of them are started first, and take turns for a
few seconds each, so that whatever else the machine does slows all alike. Printed is the median over the rounds, and how
many times longer that is than alone. Beside N processes on C cores, fair shares of the processor alone make it
(C + N) / C times.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

LIBGOMP_SPINS = "300000"  # what GNU's OpenMP takes if nothing is set: several milliseconds
SETTINGS = ("Pixelwise's", "defaults")
BUSY = "while True: pass"
IMAGES = 24  # of the folder
UNITS = {"training": "a step", "folder": "an image", "serve": "a request"}
Work = Callable[[], int]  # does some work; returns how many units


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--work", nargs="+", choices=tuple(UNITS), default=list(UNITS))
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        answer_turns(*arguments.worker)
    elif arguments.serve:
        serve_street(arguments.serve)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the processes end with this one
        compare(arguments.work, arguments.busy, arguments.rounds, arguments.seconds)


def compare(works: list[str], busy: list[int], rounds: int, seconds: float) -> None:
    chosen = [(work, settings) for work in works for settings in SETTINGS]
    times: dict[tuple[str, str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        write_data(Path(folder))
        workers = [stack.enter_context(started(work, settings, Path(folder))) for work, settings in chosen]
        for _ in range(rounds):
            for others in busy:
                with busy_processes(others):
                    for (work, settings), worker in zip(chosen, workers, strict=True):
                        times.setdefault((work, settings, others), []).append(turn(worker, seconds))
    table = Table("work", "settings", *(f"beside {n}" if n else "alone" for n in busy), box=None)
    for work, settings in chosen:
        medians = [statistics.median(times[work, settings, others]) for others in busy]
        cells = [f"{1e3 * median:.0f} ms  {median / medians[0]:.2f} ×" for median in medians]
        table.add_row(f"{work}, {UNITS[work]}", settings, *cells)
    Console(width=140).print(table)


def write_data(folder: Path) -> None:
    from pixelwise.scenes.render_scene import write_scenes

    write_scenes(folder / "scenes", {"train": 24, "val": 4}, height_px=256, width_px=256)
    write_scenes(folder / "photos", {"test": IMAGES}, height_px=480, width_px=640)


@contextmanager
def started(work: str, settings: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for its turns."""
    environment = dict(os.environ)
    if settings == "defaults":
        environment["GOMP_SPINCOUNT"] = LIBGOMP_SPINS
    command = [sys.executable, __file__, "--worker", work, settings, str(folder)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n", f"{work} did not start"
        yield worker
    finally:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()


def turn(worker: subprocess.Popen[str], seconds: float) -> float:
    """Let a process work for some seconds. Returns the seconds that one unit took."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{seconds}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


# ── in the processes that take turns ──


def answer_turns(work: str, settings: str, folder: str) -> None:
    if settings == "defaults":
        let_sessions_spin()
    with WORKS[work](settings, Path(folder)) as units:
        units()  # what only the first time needs
        print("ready", flush=True)
        for line in sys.stdin:
            began, done = time.perf_counter(), 0
            while time.perf_counter() - began < float(line):
                done += units()
            print((time.perf_counter() - began) / done, flush=True)


def let_sessions_spin() -> None:
    """Give ONNX Runtime's own default back to every session."""
    import onnxruntime

    class Spinning(onnxruntime.SessionOptions):
        def add_session_config_entry(self, key: str, value: str) -> None:
            if not key.endswith("allow_spinning"):
                super().add_session_config_entry(key, value)

    onnxruntime.SessionOptions = Spinning


@contextmanager
def training_steps(settings: str, folder: Path) -> Iterator[Work]:
    from pixelwise.datasets.open_dataset import open_dataset
    from pixelwise.training.disk_copies import DiskCopies
    from pixelwise.training.prepare import check_data, prepare
    from pixelwise.training.recipe import Recipe
    from pixelwise.training.throughput import timed_steps

    checked = check_data(open_dataset(folder / "scenes"), False, lambda what, done, total: None)
    recipe = Recipe(small_epochs=0.0)
    copies = DiskCopies(folder / settings)
    training, data = prepare(checked, recipe, copies, lambda event: None, lambda what, done, total: None)
    steps = timed_steps(recipe, data, next(training.network.parameters()).device)

    def step() -> int:
        next(steps)
        return 1

    yield step


@contextmanager
def folder_of_images(settings: str, folder: Path) -> Iterator[Work]:
    import pixelwise as pw

    def label() -> int:
        with tempfile.TemporaryDirectory(prefix=settings, dir=folder) as out:
            return pw.predict("street", [folder / "photos" / "test" / "images"], out).done

    yield label


@contextmanager
def requests(settings: str, folder: Path) -> Iterator[Work]:
    command = [sys.executable, __file__, "--serve", settings]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
    assert server.stdout is not None
    connection = http.client.HTTPConnection("127.0.0.1", int(server.stdout.readline()))
    photo = next((folder / "photos" / "test" / "images").iterdir()).read_bytes()

    def request() -> int:
        connection.request("POST", "/v1/predict?answer=png", photo)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        return 1

    try:
        yield request
    finally:
        connection.close()
        server.terminate()
        server.wait()


def serve_street(settings: str) -> None:
    from pixelwise.server.serve import serve
    from pixelwise.server.server_settings import ServerSettings

    if settings == "defaults":
        let_sessions_spin()
    port_in = lambda addresses: print(addresses[0].partition("/?")[0].rpartition(":")[2], flush=True)  # noqa: E731
    serve("street", ServerSettings(port=0), ready=port_in)


WORKS = {"training": training_steps, "folder": folder_of_images, "serve": requests}

if __name__ == "__main__":
    main()
