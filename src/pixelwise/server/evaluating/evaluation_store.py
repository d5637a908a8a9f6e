"""Evaluations on disk, in the folder of runs: what was asked for, the counts so far, and the results.

`RUNS/.evaluations/ID/` holds `request.json`, `counts.npz`, and once it is done `result.json` and the files to download.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pixelwise.errors import OutputError
from pixelwise.images.files import write_whole

LOG = logging.getLogger(__name__)
UNREADABLE = "The evaluation %s is left out: what is kept of it cannot be read. Delete its folder."
FOLDER = ".evaluations"  # no run has such a name
ID = re.compile(r"[0-9a-f]{12}")
DOWNLOADS = {
    "report.html": "text/html; charset=utf-8",
    "images.csv": "text/csv; charset=utf-8",
    "comparison.json": "application/json",
}
OWN_FILES = ("request.json", "counts.npz", "result.json", *DOWNLOADS)


class EvaluationStore:
    """The files of evaluations. Where the folder of runs cannot be written, nothing is kept."""

    def __init__(self, runs: Callable[[], Path]) -> None:
        self.runs = runs  # the folder may change while the server runs

    def folder(self, evaluation: str) -> Path:
        return self.runs() / FOLDER / evaluation

    def write(self, evaluation: str, name: str, data: bytes) -> bool:
        """False: it cannot be written."""
        folder = self.folder(evaluation)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / name, data)
        except (OSError, OutputError) as error:
            LOG.warning("Evaluations are kept in memory only: %s", error)
            return False
        return True

    def read(self, evaluation: str, name: str) -> bytes | None:
        try:
            return (self.folder(evaluation) / name).read_bytes()
        except OSError:
            return None

    def requests(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What was asked for before, by id; damaged ones are left out, and logged."""
        folder = self.runs() / FOLDER
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        for name in names:
            text = self.read(name, "request.json") if ID.fullmatch(name) else None
            try:
                value = json.loads(text) if text else None
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict):
                yield name, value
            elif text is not None:
                LOG.warning(UNREADABLE, name)

    def forget(self, evaluation: str) -> None:
        """Delete the files that were written here, and nothing else."""
        folder = self.folder(evaluation)
        if not folder.is_dir():
            return
        try:
            for name in OWN_FILES:
                (folder / name).unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()
        except OSError as error:
            LOG.warning("The files of an evaluation cannot be deleted: %s", error)
