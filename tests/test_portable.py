"""Every verb runs where Python has no POSIX modules; locks and files are as on Windows, as far as that shows here."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import picture
from pixelwise import locks
from pixelwise.errors import RunLockedError
from pixelwise.heap import peak_bytes
from pixelwise.images.files import write_whole
from pixelwise.images.image_files import write_png
from pixelwise.training.run_directory import locked

HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in {"fcntl", "resource", "termios", "pwd", "grp", "tty", "pty", "syslog"}:
            raise ImportError(f"{name} is hidden")

sys.meta_path.insert(0, Hidden())
for name in ("fcntl", "resource", "termios", "pwd", "grp", "tty", "pty", "syslog"):
    sys.modules.pop(name, None)
"""
PROGRAM = HIDDEN + "from pixelwise.__main__ import main\nmain()\n"
WARM = Path(__file__).parents[1] / "docs" / "warm_python.py"
FORKING = HIDDEN + f"import runpy\nrunpy.run_path({str(WARM)!r}, run_name='__main__')\n"


@pytest.fixture(scope="module")
def verb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., None]]:
    """Runs one command in a process without the POSIX modules, which were hidden before anything was imported."""
    if sys.platform != "linux":  # nowhere else is it safe to fork a process that has loaded so many libraries

        def in_a_new_process(*words: object) -> None:
            command = [sys.executable, "-c", PROGRAM, *map(str, words)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Traceback" not in done.stderr

        yield in_a_new_process
        return
    folder = tmp_path_factory.mktemp("warm")
    output = folder / "output"
    command = [sys.executable, "-c", FORKING, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as warm:
        assert warm.stdin is not None
        assert warm.stdout is not None

        def in_a_fork(*words: object) -> None:
            output.write_bytes(b"")
            asked = {"arguments": [*map(str, words)], "program": "", "folder": str(folder), "output": str(output)}
            print(json.dumps(asked), file=warm.stdin, flush=True)
            code, printed = warm.stdout.readline().strip(), output.read_text(encoding="utf-8")
            assert code == "0", printed
            assert "Traceback" not in printed

        yield in_a_fork
        warm.stdin.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("portable") / "data"
    for number in range(6):
        split = "train" if number < 4 else "val"
        image = picture(number, 64, 64)
        for kind, pixels in (("images", image), ("masks", (image[:, :, 0] > 127).astype("uint8"))):
            (root / split / kind).mkdir(parents=True, exist_ok=True)
            write_png(root / split / kind / f"{number}.png", pixels)
    return root


@pytest.fixture(scope="module")
def run(data: Path, verb: Callable[..., None]) -> Path:
    out = data.parent / "run"
    verb("train", data, "--out", out, "--epochs", 1, "--size", 64, "--model", "unet", "--set", "pretrained=false")
    return out


def test_train_holds_its_run_directory_and_lets_it_go(run: Path) -> None:
    assert (run / "model.onnx").is_file()
    assert not locks.is_locked(run / "lock")


def test_verbs_of_data(data: Path, tmp_path: Path, verb: Callable[..., None]) -> None:
    verb("check", data, "--fix", tmp_path / "fixed", "--html", tmp_path / "check.html")
    verb("convert", data, tmp_path / "coco", "--to", "coco")
    verb("models")


def test_verbs_of_a_model(run: Path, data: Path, tmp_path: Path, verb: Callable[..., None]) -> None:
    photos = data / "val" / "images"
    verb("evaluate", run, data, "--html", tmp_path / "report.html")
    verb("compare", run, run, data)
    verb("predict", run, photos, "--out", tmp_path / "labels")
    assert len(list((tmp_path / "labels").glob("*.png"))) == 2
    verb("predict", run, photos, "--out", tmp_path / "tiled", "--tile", "32")  # a store of labels is locked
    verb("trace", run, photos / "4.png", "--html", tmp_path / "trace.html")
    verb("export", run, "--out", tmp_path / "again.onnx")
    verb("suggest", run, photos, "-n", 2, "--out", tmp_path / "tasks")


@pytest.mark.slow
def test_train_find_lr(data: Path, tmp_path: Path, verb: Callable[..., None]) -> None:
    start = ("--size", 64, "--model", "unet", "--set", "pretrained=false")
    verb("train", data, "--out", tmp_path / "rates", "--find-lr", *start)


def test_serve(run: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", PROGRAM, "serve", str(run), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for _ in range(600):
            assert server.poll() is None, server.stdout and server.stdout.read()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as answer:
                    assert answer.status == 200
                break
            except OSError:
                time.sleep(0.1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            assert b"pixelwise_peak_memory_bytes" in answer.read()
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) is not None


HOLDER = """
import sys, time
from pathlib import Path
from pixelwise.locks import hold
file = hold(Path(sys.argv[1]))
print("held" if file else "not held", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("hidden", ["", HIDDEN], ids=["flock", "neither flock nor msvcrt"])
def test_a_lock_is_free_when_its_process_was_killed(tmp_path: Path, hidden: str) -> None:
    """Held by a process that is then killed at once: by flock, and where only the name in the file can tell."""
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", hidden + HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        assert json.loads(path.read_text())["pid"] == holder.pid
        ask = hidden + "import sys\nfrom pathlib import Path\nfrom pixelwise.locks import hold, is_locked\n"
        ask += "print(is_locked(Path(sys.argv[1])), hold(Path(sys.argv[1])) is None)"
        asked = [sys.executable, "-c", ask, str(path)]
        assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "True True\n"
    finally:
        holder.kill()
        holder.wait()
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "False False\n"


def test_two_trainings_in_one_folder(tmp_path: Path) -> None:
    with locked(tmp_path, ()), pytest.raises(RunLockedError, match="another training"), locked(tmp_path, ()):
        pass
    with locked(tmp_path, ()):
        assert locks.is_alive(locks.identity_in(tmp_path / "lock"))
    assert locks.identity_in(tmp_path / "lock") is None


def test_a_file_that_another_program_has_open_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to rename over an open file; a virus scanner has many open."""
    path, refusals = tmp_path / "file", [PermissionError(13, "in use")] * 3
    replace = Path.replace

    def in_use(self: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", in_use)
    monkeypatch.setattr("pixelwise.images.files.WINDOWS", True)
    write_whole(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_peak_memory_is_in_bytes() -> None:
    assert 10_000_000 < peak_bytes() < 100_000_000_000
