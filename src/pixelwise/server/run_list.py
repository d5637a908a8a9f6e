"""Training runs that the page shows, starts, stops and resumes. Each training is a process of its own.

All information comes from the files that training writes: trace.jsonl, data.json, recipe.toml and previews/. A training
continues when the page is closed, or even when the server stops.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixelwise.datasets.dataset_toml import parse_toml
from pixelwise.images.files import real_path, write_whole
from pixelwise.locks import exclusively, identity_in, identity_of, interrupt, is_alive, is_locked
from pixelwise.server.error_responses import RequestError
from pixelwise.training.observations import origin
from pixelwise.training.progress_file import PROGRESS

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
NOTE = "note.txt"  # in a run: what a person has written about it
MOST_NOTE = 4000  # letters
LOG = logging.getLogger(__name__)
OWN = "this-model"  # the run that the loaded model came from
SLIM = (
    "version", "time", "event", "epoch", "loss", "val_loss", "accuracy", "train_accuracy", "miou", "learning_rate",
    "seconds", "images_per_second", "best", "observation",
)  # fmt: skip
HERE_ONLY = ("root", "path", "problems")  # not sent: paths on this machine, and details that the page does not show
FOLDERS = re.compile(r"(?<![\w./])/(?:[^\s/:'\"]+/)+(?=[^\s/:'\"])")


class Runs:
    """The folder of runs, and the run of the loaded model."""

    def __init__(self, root: Path, own: Path | None) -> None:
        self.root, self.own = root, own
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        self.starting = threading.Lock()
        self.waiting = self.waiting_before()

    def move_to(self, root: Path) -> None:
        """Show and start runs in another folder. A training that is running there or here goes on."""
        with self.starting:
            if real_path(root) != real_path(self.root):
                self.root, self.started = root, {}
                self.waiting = self.waiting_before()

    def folder(self, name: str) -> Path:
        """The folder of a run. Raises RequestError for an invalid name."""
        if name == OWN and self.own is not None:
            return self.own
        if not NAME.fullmatch(name):
            raise unknown()
        return self.root / name

    def existing(self, name: str) -> Path:
        folder = self.folder(name)
        if not any((folder / file).is_file() for file in ("trace.jsonl", "page.json")):
            raise unknown()
        return folder

    def names(self) -> list[str]:
        """The loaded model's run first, then the newest."""
        own = [OWN] if self.own is not None and (self.own / "trace.jsonl").is_file() else []
        if not self.root.is_dir():
            return own
        found = [
            folder
            for folder in self.root.iterdir()
            if NAME.fullmatch(folder.name)
            and real_path(folder) != (real_path(self.own) if self.own else None)
            and ((folder / "trace.jsonl").is_file() or (folder / "page.json").is_file())
        ]
        return own + [folder.name for folder in sorted(found, key=lambda f: f.stat().st_mtime, reverse=True)]

    def describe(self, name: str) -> dict[str, Any]:
        folder = self.existing(name)
        data = read_json(folder / "data.json")
        return {
            "name": name,
            "running": self.is_running(name),
            "finished": (folder / "model.onnx").is_file() or name == OWN,  # its model is the one that is served
            "can_resume": name != OWN and any((folder / "checkpoints").glob("step-*")),
            "recipe": read_toml(folder / "recipe.toml"),
            "request": read_json(folder / "page.json").get("request"),
            "classes": data.get("classes", []),
            "data": {"notes": data.get("notes", []), **{k: len(v) for k, v in data.get("splits", {}).items()}},
            "previews": [row[0] for row in data.get("splits", {}).get("val", [])[: data.get("previews", 4)]],
            "photos": "previews" not in data or (folder / "images").is_dir(),  # a shipped log may have only previews
            "failure": self.failure(name),
            "note": note_of(folder),
            "queued": name in self.queued(),
        }

    def is_running(self, name: str) -> bool:
        process = self.started.get(name)
        if process is not None and process.poll() is None:
            return True
        return self.identity(name) is not None or is_locked(self.folder(name) / "lock")

    def identity(self, name: str) -> dict[str, Any] | None:
        """The process of a running training: from its lock, or as recorded by the server that started it. Both have pid
        and start time, because a pid may be reused."""
        folder = self.folder(name)
        holder = identity_in(folder / "lock") if is_locked(folder / "lock") else None
        return next((one for one in (holder, read_json(folder / "page.json").get("process")) if is_alive(one)), None)

    def failure(self, name: str) -> str | None:
        """The last line printed by a training that ended with an error. Ends by signal are in its trace."""
        process = self.started.get(name)
        if process is None or process.poll() is None or not 0 < process.returncode <= 128:
            return None
        try:
            lines = (self.folder(name) / "page.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return without_folders(lines[-1] if lines else f"exit code {process.returncode}")[:500]

    def start(self, name: str, request: dict[str, Any], *, queue: bool = False) -> None:
        """Start a training in a process of its own. One at a time, because two would slow each other down.

        With `queue`, it waits for its turn where one is running or waiting: `start_next`.
        """
        folder = self.folder(name)
        with self.one_at_a_time():
            waits = queue and (self.running() is not None or bool(self.queued()))
            if waits:
                require_torch()
            else:
                self.require_free()
            if folder.exists():
                raise RequestError(409, "run-exists", f"A run named {name} exists already.", "Choose another name.")
            folder.mkdir()
            if waits:
                page = {"queued": time.time(), "request": request}
                write_whole(folder / "page.json", json.dumps(page).encode())
                self.waiting.add(name)
            else:
                self.launch(name, request)

    def queued(self) -> list[str]:
        """The trainings that wait for their turn, the next one first."""
        pages = {name: read_json(self.folder(name) / "page.json") for name in list(self.waiting)}
        times = {name: float(page["queued"]) for name, page in pages.items() if page.get("queued")}
        return sorted(times, key=lambda name: times[name])

    def start_next(self) -> None:
        """Start the training that has waited longest, if none is running."""
        if not self.queued() or self.running() is not None:
            return
        try:
            with self.one_at_a_time():
                waiting = self.queued()
                if waiting and self.running() is None:
                    request = read_json(self.folder(waiting[0]) / "page.json")["request"]
                    self.waiting.discard(waiting[0])
                    self.launch(waiting[0], request)
        except RequestError as error:  # another server is starting one: it is this one's turn later
            LOG.info("The next training waits: %s", error)

    def forget_queued(self, name: str) -> None:
        """Take a training out of the queue. Raises RequestError: it does not wait there."""
        with self.starting:
            if name not in self.queued():
                raise RequestError(409, "not-queued", "This training is not in the queue.")
            self.waiting.discard(name)
            folder = self.folder(name)
            for file in ("page.json", NOTE):
                (folder / file).unlink(missing_ok=True)
            folder.rmdir()

    def waiting_before(self) -> set[str]:
        """Trainings that were queued when a server of these runs ended."""
        if not self.root.is_dir():
            return set()
        found = (path.parent for path in self.root.glob("*/page.json"))
        return {one.name for one in found if NAME.fullmatch(one.name) and read_json(one / "page.json").get("queued")}

    def running(self) -> str | None:
        """The training that is running here, if one is."""
        return next((name for name in self.names() if self.is_running(name)), None)

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Check and start as one step, across all requests to this server and others that share the folder of runs."""
        with self.starting:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                with exclusively(self.root / ".starting") as held:
                    if not held:
                        raise RequestError(
                            409,
                            "training-already",
                            "Another server is starting a training.",
                            "Try again in a few seconds.",
                        )
                    yield
            except OSError as error:
                message = f"The folder of runs is not writable: {error.strerror}."
                raise RequestError(409, "runs-unwritable", message, "Start the server with another --runs.") from error

    def require_free(self) -> None:
        """Raises RequestError if no training can be started now."""
        require_torch()
        if self.running() is not None:
            raise RequestError(409, "training-already", "A training is running.", "Stop it, or wait until it ends.")

    def resume(self, name: str) -> None:
        """Resume a stopped training from its last checkpoint."""
        folder = self.existing(name)
        data = read_json(folder / "data.json").get("root")
        if (folder / "model.onnx").is_file() or not data or not any((folder / "checkpoints").glob("step-*")):
            raise RequestError(409, "nothing-to-resume", "This run has finished, or has no checkpoint to resume from.")
        request = read_json(folder / "page.json").get("request")
        with self.one_at_a_time():
            self.require_free()
            self.launch(name, {**(request if isinstance(request, dict) else {}), "folder": data, "resume": True})

    def launch(self, name: str, request: dict[str, Any]) -> None:
        folder = self.folder(name)
        command = [sys.executable, "-m", "pixelwise.server.training_job", str(folder), json.dumps(request)]
        with (folder / "page.log").open("wb") as log:
            process = subprocess.Popen(  # its own group: Ctrl-C in the server's terminal must not stop it
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )  # fmt: skip
        self.started[name] = process
        page = {"process": identity_of(process.pid), "request": request}
        write_whole(folder / "page.json", json.dumps(page).encode())

    def stop(self, name: str) -> None:
        """Interrupt a training as Ctrl-C does, whoever started it; its last checkpoint is kept."""
        self.existing(name)
        identity = self.identity(name)
        if identity is None or not interrupt(identity):
            raise RequestError(409, "not-running", "This training is not running.")


def require_torch() -> None:
    """Raises RequestError: this machine cannot train."""
    if importlib.util.find_spec("torch") is None:
        raise RequestError(
            409, "torch-missing", "Training needs torch, which is not installed.", "pip install 'pixelwise[train]'"
        )


def progress_of(run: Path) -> dict[str, Any]:
    """What a running training is doing: what, done, total, seconds. Empty where it has not said."""
    return read_json(run / PROGRESS)


def note_of(run: Path) -> str:
    """What a person has written about a run."""
    try:
        return (run / NOTE).read_text(encoding="utf-8", errors="replace")[:MOST_NOTE]
    except OSError:
        return ""


def write_note(run: Path, text: str) -> None:
    """Keep a note with a run; an empty one is deleted. Raises OutputError."""
    if text.strip():
        write_whole(run / NOTE, text.strip().encode())
    elif (run / NOTE).is_file():
        (run / NOTE).unlink()


def unknown() -> RequestError:
    return RequestError(404, "run-unknown", "This run does not exist.", "GET /v1/runs lists the runs.")


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def slim(event: dict[str, Any]) -> dict[str, Any]:
    """An event as the page needs it: without per-class numbers, which it requests for a single epoch, and without paths
    on this machine."""
    kind = event.get("event")
    if kind == "epoch":
        return {key: event[key] for key in SLIM if key in event}
    sent = {key: value for key, value in event.items() if key not in HERE_ONLY}
    if kind == "start":
        sent |= {"run": without_folders(str(event.get("run"))), "says": origin(event)}
    if "message" in sent:
        sent["message"] = without_folders(str(sent["message"]))
    return sent


def without_folders(text: str) -> str:
    """A message with absolute paths reduced to their last part."""
    return FOLDERS.sub("", text)


def read_from(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """The complete lines after `offset`, slimmed, and the offset after them."""
    try:
        with path.open("rb") as file:
            if offset > os.fstat(file.fileno()).st_size:
                offset = 0  # another run has taken this name
            file.seek(offset)
            chunk = file.read()
    except OSError:
        return [], offset
    whole, newline, _ = chunk.rpartition(b"\n")
    events = []
    for line in whole.split(b"\n") if newline else []:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):  # an incomplete line of a killed training
            continue
        if isinstance(event, dict):
            events.append(slim(event))
    return events, offset + len(whole) + len(newline)
