"""A program that labels and is killed at one call of a file function; `test_killed_saves` looks at what it left.

    python killed_saves.py PHOTOS FOLDER NUMBER …

For each number, a child labels into FOLDER/NUMBER and is killed by SIGKILL at the call of that number, a write after
its first half; 0: at none. FOLDER/NUMBER.txt tells what it did, line by line, and "calls N" if it came to the end.
"""

from __future__ import annotations

import builtins
import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.labelling.labelled_image import Edit
from pixelwise.labelling.patch import Patch
from pixelwise.labelling.workspace import Workspace

WATCHED = ("open", "write", "fsync", "replace", "rename", "unlink", "remove", "mkdir", "ftruncate", "rmdir")
CLASSES = ("one", "two", "three")


def edit_of(number: int) -> Edit:
    """The edits that the program makes are the same each time."""
    random = np.random.default_rng(number)
    x, y = (int(random.integers(0, 20)) for _ in "xy")
    values = random.choice([0, 1, 2, 255], (15, 18)).astype(np.uint8)
    return Edit(f"edit-{number}", "brush", 0, Patch(x, y, values, random.random((15, 18)) < 0.7), 0.5)


STEPS = ["edit", "edit", "undo", "redo", "undo", "edit", "edit", "undo", "undo", "undo", "redo", "edit"]


def label(photos: Path, out: Path, tell: Callable[[str], None]) -> None:
    """Label two images, with an operation on the classes between, and reopen in the middle."""
    numbers = itertools.count()
    for half, classes in ((STEPS[:6], CLASSES), (STEPS[6:], ())):
        with Workspace.open(photos, out, classes) as workspace:
            for step in half:
                for photo in workspace.photos()[:2]:
                    image = workspace.opened(photo.id)
                    if step == "edit":
                        number = next(numbers)
                        tell(f"edit {photo.id} {number}")
                        image.apply(edit_of(number))
                    else:
                        tell(f"{step} {photo.id}")
                        _ = image.undo() if step == "undo" else image.redo()
                workspace.flush()
                for photo in workspace.photos()[:2]:
                    tell(f"durable {photo.id} {workspace.opened(photo.id).durable}")
            tell("done")
            workspace.set_done(workspace.photos()[0].id, done=True)
            tell("durable-done")
            tell(f"merge {len(workspace.classes)}")
            workspace.merge_class(workspace.classes.keys[-1], 0)
            tell(f"durable-merge {len(workspace.classes)}")


class Counted:
    """File functions that count their calls, and kill this process at one of them."""

    def __init__(self, at: int) -> None:
        self.at, self.calls = at, 0
        self.write, self.open = os.write, builtins.open

    def count(self) -> bool:
        self.calls += 1
        return self.calls == self.at

    def install(self) -> None:
        for name in WATCHED:
            setattr(os, name, self.watched(name, getattr(os, name)))
        builtins.open = self.opened  # type: ignore[assignment]

    def watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if self.count():
                if name == "write":
                    data = memoryview(arguments[1])
                    self.write(arguments[0], data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **more)

        return call

    def opened(self, *arguments: Any, **more: Any) -> Any:
        file = self.open(*arguments, **more)
        mode = arguments[1] if len(arguments) > 1 else more.get("mode", "r")
        return HalfWritten(file, self) if "x" in mode else file


class HalfWritten:
    """A file of which the write that is the last one reaches the disk by half."""

    def __init__(self, file: Any, counted: Counted) -> None:
        self.file, self.counted = file, counted

    def write(self, data: bytes) -> int:
        if self.counted.count():
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return int(self.file.write(data))

    def __enter__(self) -> HalfWritten:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def run(photos: Path, folder: Path, at: int) -> None:
    """Label in a child process. The parent has started no thread."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    code = 1
    try:
        told = os.open(folder / f"{at}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        counted = Counted(at)
        counted.install()
        label(photos, folder / str(at), lambda line: counted.write(told, line.encode() + b"\n"))
        counted.write(told, f"calls {counted.calls}\n".encode())
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    for argument in sys.argv[3:]:
        run(Path(sys.argv[1]), Path(sys.argv[2]), int(argument))
