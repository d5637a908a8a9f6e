"""The jobs of the Ship room: list, start, stop, remove. Each is a folder RUNS/.ship/NUMBER and a process of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pixelwise.locks import identity_of, interrupt, is_alive
from pixelwise.server.error_responses import RequestError
from pixelwise.server.run_list import read_json, without_folders
from pixelwise.server.shipping.ship_request import PROGRESS, REQUEST, RESULT, ShipRequest, write_json

FOLDER = ".ship"  # in the folder of runs
NUMBER = re.compile(r"[1-9][0-9]{0,5}")
PROCESS = "process.json"
LOG = "job.log"


class ShipJobs:
    """The jobs below the folder of runs, which may become another one."""

    def __init__(self, runs: Callable[[], Path]) -> None:
        self.runs = runs
        self.started: dict[Path, subprocess.Popen[bytes]] = {}
        self.starting = threading.Lock()

    @property
    def root(self) -> Path:
        return self.runs() / FOLDER

    def existing(self, number: str) -> Path:
        """The folder of a job. Raises RequestError."""
        folder = self.root / number
        if not NUMBER.fullmatch(number) or not (folder / REQUEST).is_file():
            raise RequestError(404, "job-unknown", "This job does not exist.", "GET /v1/ship/jobs lists the jobs.")
        return folder

    def all(self) -> list[dict[str, Any]]:
        """Every job, the newest first."""
        found = (
            [folder for folder in self.root.iterdir() if NUMBER.fullmatch(folder.name)] if self.root.is_dir() else []
        )
        newest = sorted(found, key=lambda folder: int(folder.name), reverse=True)
        return [self.describe(folder.name) for folder in newest if (folder / REQUEST).is_file()]

    def running(self) -> dict[str, Any] | None:
        """The job that runs now, if any."""
        return next((job for job in self.all() if job["state"] == "running"), None)

    def describe(self, number: str) -> dict[str, Any]:
        folder = self.existing(number)
        running = self.is_running(folder)  # before the result is read, so that an end in between is seen
        result, request = read_json(folder / RESULT), read_json(folder / REQUEST)
        state = "running" if running else result.get("state", "failed")  # only then can it be removed
        if not result and not running:
            result = {"message": f"It ended unexpectedly: {self.last_line(folder)}"}
        if "message" in result:
            result["message"] = without_folders(str(result["message"]))[:1000]
        shown = {key: request.get(key) for key in ("work", "title", "form", "shown")}
        return {"number": number, **shown, "state": state, "progress": read_json(folder / PROGRESS), "result": result}

    def is_running(self, folder: Path) -> bool:
        if (folder / RESULT).is_file():
            return False  # its result is the last thing that a job writes; its process may take a moment to end
        process = self.started.get(folder)
        if process is not None:
            return process.poll() is None
        return is_alive(read_json(folder / PROCESS))

    def last_line(self, folder: Path) -> str:
        try:
            lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "its process was killed, perhaps for lack of memory, or the machine went down."

    def start(self, request: ShipRequest) -> dict[str, Any]:
        """Start a job. One at a time: two would slow each other down, and spoil a benchmark."""
        with self.starting:
            if self.running() is not None:
                raise RequestError(409, "job-already", "Another job is running.", "Stop it, or wait until it ends.")
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                last = max((int(one.name) for one in self.root.iterdir() if NUMBER.fullmatch(one.name)), default=0)
                folder = self.root / str(last + 1)
                folder.mkdir()
                write_json(folder / REQUEST, request.to_json())
                self.launch(folder)
            except OSError as error:
                message = f"The folder of runs is not writable: {error.strerror}."
                raise RequestError(409, "runs-unwritable", message, "Start the server with another --runs.") from error
        return self.describe(folder.name)

    def launch(self, folder: Path) -> None:
        command = [sys.executable, "-m", "pixelwise.server.shipping.ship_job", str(folder)]
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(  # its own group: Ctrl-C in the server's terminal must not stop it
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )  # fmt: skip
        self.started[folder] = process
        write_json(folder / PROCESS, identity_of(process.pid) or {})

    def stop(self, number: str) -> dict[str, Any]:
        """Interrupt a job as Ctrl-C does."""
        folder = self.existing(number)
        if not self.is_running(folder) or not interrupt(read_json(folder / PROCESS)):
            raise RequestError(409, "not-running", "This job is not running.")
        return self.describe(number)

    def remove(self, number: str) -> None:
        """Delete a job that has ended, with its files."""
        folder = self.existing(number)
        if self.is_running(folder):
            raise RequestError(409, "job-already", "This job is running.", "Stop it first.")
        shutil.rmtree(folder)

    def file(self, number: str) -> Path:
        """What a finished job made. Raises RequestError."""
        folder = self.existing(number)
        name = read_json(folder / RESULT).get("file")
        if not isinstance(name, str) or "/" in name or not (folder / name).is_file():
            raise RequestError(404, "file-missing", "This job made no file.")
        return folder / name
