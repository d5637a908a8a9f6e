"""A process that runs `pixelwise` commands and lets faults happen to them, each command in a fork of its own.

Started once, it imports torch once; a command then costs what it does, not what starting costs. It reads one request a
line from standard input, as JSON, and answers with one line. Nothing in the product knows of it: calls of the operating
system are counted, cut short or refused here, by standing in for `os.open`, `os.fsync` and their like.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = ("open", "write", "fsync", "mkdir")  # what a full or read-only disk refuses

PROGRESS = "progress.json"


class Faults:
    """Counts the calls that touch files below `out`, and lets one happen at the call or step asked for."""

    def __init__(self, out: str, wanted: dict[str, Any]) -> None:
        self.out, self.wanted = out, wanted
        self.calls: list[str] = []
        self.files: dict[int, str] = {}
        self.steps = 0

    def count(self, kind: str, path: str, half: Callable[[], object] | None = None) -> None:
        if not path.startswith(self.out) or path.endswith((PROGRESS, f"{PROGRESS}.part")):
            return  # progress is written by the clock: its calls have no fixed numbers
        self.calls.append(f"{kind} {path[len(self.out) + 1 :]}")
        at, then = self.wanted.get("call"), self.wanted.get("then", "kill")
        if at is None or len(self.calls) < at:
            return
        if then == "kill":
            if half is not None:
                half()
            os.kill(os.getpid(), signal.SIGKILL)
        elif then == "vanish" and len(self.calls) == at:
            Path(self.out).rename(self.out + ".gone")
        elif then in ("ENOSPC", "EROFS") and kind in WRITING:  # and so does every call that follows
            if half is not None and then == "ENOSPC":
                half()
            number = getattr(errno, then)
            raise OSError(number, os.strerror(number), path)

    def install(self) -> None:
        real = {name: getattr(os, name) for name in ("open", "fsync", "replace", "unlink", "mkdir")}
        real_path_open, real_open_file = Path.open, builtins.open

        def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            self.count("open", str(path))
            number: int = real["open"](path, flags, *rest, **named)
            self.files[number] = str(path)
            return number

        def fsync(number: int) -> None:
            self.count("fsync", self.files.get(number, ""))
            real["fsync"](number)

        def named(name: str) -> Callable[..., Any]:
            def call(path: Any, *rest: Any, **more: Any) -> Any:
                self.count(name, str(path))
                return real[name](path, *rest, **more)

            return call

        def open_file(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            file = real_open_file(path, mode, *rest, **more)
            return Writing(self, file, str(path)) if mode == "x+b" else file

        def path_open(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
            file = real_path_open(path, mode, *rest, **more)
            return Writing(self, file, str(path)) if mode == "ab" else file

        os.open, os.fsync, builtins.open = open_, fsync, open_file  # type: ignore[assignment]
        os.replace, os.unlink, os.mkdir = named("replace"), named("unlink"), named("mkdir")
        Path.open = path_open  # type: ignore[method-assign,assignment]

    def after_step(self) -> None:
        """Called by the training after each step."""
        self.steps += 1
        if self.steps != self.wanted.get("step"):
            return
        what = self.wanted["then"]
        if what == "workers":  # note who they are, then die without a word
            pids = [worker.pid for worker in multiprocessing.active_children()]
            Path(self.wanted["note"]).write_text(json.dumps(pids))
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "kill a worker":
            workers = multiprocessing.active_children()
            assert workers[0].pid
            os.kill(workers[0].pid, signal.SIGKILL)
            if self.wanted.get("again"):
                self.steps -= 1
        elif what == "group":
            os.killpg(0, signal.SIGTERM)
        else:
            os.kill(os.getpid(), getattr(signal, what))


class Writing:
    """A file whose writes are counted."""

    def __init__(self, faults: Faults, file: Any, path: str) -> None:
        self.faults, self.file, self.path = faults, file, path

    def write(self, data: bytes) -> int:
        self.faults.count("write", self.path, lambda: self.through(data[: len(data) // 2]))
        return self.through(data)

    def through(self, data: bytes) -> int:
        written = int(self.file.write(data))
        self.file.flush()
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def child(request: dict[str, Any]) -> None:
    """Run one command to its end, as `pixelwise` would."""
    from pixelwise.training import loop, train

    os.setpgid(0, 0)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faults = Faults(request["out"], request.get("fault", {}))
    loop.SAVE_EVERY_S = request.get("save_every_s", loop.SAVE_EVERY_S)
    if not request.get("export", True):
        train.export = lambda out, **_: out / "model.onnx"  # type: ignore[assignment]
    if request.get("clock_goes_back"):
        start = time.time()
        time.time = lambda: start - time.perf_counter()
    real = loop.learn_or_say

    def learn_or_say(*arguments: Any) -> Any:
        result = real(*arguments)
        faults.after_step()
        return result

    loop.learn_or_say = learn_or_say
    if "memory_for" in request:
        hold_at_most(request["memory_for"])
    for name, limit in request.get("limits", {}).items():
        kind = getattr(resource, f"RLIMIT_{name}")
        resource.setrlimit(kind, (limit, limit))
    faults.install()
    sys.argv = ["pixelwise", *request["argv"]]
    code = 0
    try:
        importlib.import_module("pixelwise.__main__").main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    if "calls" in request:
        Path(request["calls"]).write_text(json.dumps(faults.calls))
    os._exit(code)


def hold_at_most(images: int) -> None:
    """Let a step with more images ask torch for more memory than any machine has: its allocator's own error.

    A limit on the process's address space would do the same less surely: under it native libraries crash, or fail at
    every size, depending on the processor.
    """
    import torch

    from pixelwise.training import step

    real = step.learn

    def learn(training: Any, lesson: Any, images_Bhw3: Any, *others: Any) -> None:
        if len(images_Bhw3) > images:
            torch.empty(1 << 50, dtype=torch.uint8)
        real(training, lesson, images_Bhw3, *others)

    step.learn = learn


def serve() -> None:
    # All that a command would import one by one, the optimizer's share of torch above all: seconds for each fork.
    for name in ("torch._dynamo", "torch.onnx", "onnx", "onnxruntime", "rich.live", "pixelwise.cli",
                 "pixelwise.cli.terminal", "pixelwise.training.find_learning_rate"):  # fmt: skip
        importlib.import_module(name)
    from pixelwise.model import unet

    unet.WIDTH = 4  # a checkpoint of a megabyte
    for line in sys.stdin:
        request = json.loads(line)
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            child(request)
        kill_after_s = request.get("kill_after_s")
        while True:
            done, status = os.waitpid(pid, os.WNOHANG if kill_after_s is not None else 0)
            if done:
                break
            if time.monotonic() - began > kill_after_s:
                os.kill(pid, signal.SIGKILL)
                kill_after_s = float("inf")
            time.sleep(0.002)
        code = os.waitstatus_to_exitcode(status)
        sys.stdout.write(json.dumps({"code": code, "seconds": time.monotonic() - began}) + "\n")
        sys.stdout.flush()


class Launcher:
    """The other side: what tests call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *argv: object, out: Path, **request: Any) -> tuple[int, str, float]:
        """Exit code (negative: ended by that signal), what was printed, and seconds."""
        assert self.process.stdin
        assert self.process.stdout
        log = self.folder / "log"
        whole = {**request, "argv": [str(part) for part in argv], "out": str(out), "log": str(log)}
        self.process.stdin.write(json.dumps(whole) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["code"], log.read_text(), answer["seconds"]

    def close(self) -> None:
        self.process.kill()  # closing the pipe would not do: forks of the tests' process may hold copies of it
        self.process.wait()


if __name__ == "__main__":
    serve()
