"""The folders of data that a server was started with: the only ones that the rooms of the page read.

They are those of `serve --data`, the data that the served run was trained on, the open labelling folder, and the
repaired copies of these in the folder of runs. A request names one by its key, and a folder below it by its relative
path; a path that leads outside is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.doctor.fix import LIST_NAME
from pixelwise.images.files import real_path, shown
from pixelwise.server.error_responses import RequestError
from pixelwise.server.sample_images import data_of

REPAIRED = "_repaired"  # in the name of a copy in the folder of runs; names of runs have no underscore
MOST_LISTED = 2000  # folders of one answer


@dataclass(frozen=True)
class DataFolder:
    """A folder of data, and why this server knows it."""

    key: str  # in addresses: lower-case letters, digits and hyphens
    path: Path
    origin: (
        str  # "data": given at start; "run": of the served model; "labels": what is being labelled; "copy": repaired
    )

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "name": self.path.name or str(self.path),
            "path": shown(self.path),
            "from": self.origin,
        }


class DataFolders:
    """What the server was started with. The labelling folder is asked for each time, as it may change."""

    def __init__(
        self,
        given: Sequence[Path],
        run: Path | None,
        labels: Callable[[], Path | None],
        runs: Callable[[], Path | None] = lambda: None,
    ) -> None:
        """
        Args:
            runs: the folder of runs, where repaired copies lie.
        """
        self.given, self.run, self.labels, self.runs = given, run, labels, runs

    def all(self) -> list[DataFolder]:
        """Every folder that exists, once, in the order of their importance."""
        root = data_of(self.run).get("root")
        labels = self.labels()
        wanted = [("data", path) for path in self.given]
        wanted += [("run", Path(root))] if root else []
        wanted += [("labels", labels)] if labels else []
        wanted += [("copy", path) for path in copies_of([path for _, path in wanted], self.runs())]
        found: dict[Path, DataFolder] = {}
        keys: set[str] = set()
        for origin, path in wanted:
            real = real_path(path)
            if real in found or not real.is_dir():
                continue
            key = unused(key_of(real), keys)
            keys.add(key)
            found[real] = DataFolder(key, real, origin)
        return list(found.values())

    def folder(self, key: str, below: str = "") -> Path:
        """A folder by its key, or one below it by its relative path. Raises RequestError: there is none."""
        root = next((one.path for one in self.all() if one.key == key), None)
        if root is None:
            raise RequestError(404, "data-unknown", "This server has no such folder of data.", "List: GET /v1/data.")
        if "\0" in below:
            raise missing()
        try:
            path = real_path(root / below)
            if path.is_relative_to(root) and path.is_dir():
                return path
        except (OSError, ValueError):  # a name too long
            pass
        raise missing()

    def below(self, key: str, below: str = "") -> list[str]:
        """Names of the folders in a folder: no hidden ones, no links that lead outside. Raises RequestError."""
        folder, root = self.folder(key, below), self.folder(key)
        try:
            names = [
                path.name
                for path in folder.iterdir()
                if not path.name.startswith(".") and path.is_dir() and real_path(path).is_relative_to(root)
            ]
        except OSError as error:
            message = f"This folder cannot be listed: {error.strerror}."
            raise RequestError(409, "folder-unreadable", message, "Check who may read it.") from error
        return sorted(names)[:MOST_LISTED]


def copies_of(sources: Sequence[Path], runs: Path | None) -> list[Path]:
    """The repaired copies of these folders that the Images room wrote, and copies of copies, the oldest first."""
    if runs is None or not runs.is_dir():
        return []
    known = {shown(path) for one in sources for path in (one, real_path(one))}
    lists = sorted(runs.glob(f"*{REPAIRED}*/{LIST_NAME}"), key=lambda path: path.stat().st_mtime)
    found = []
    for path in lists:
        if source_of(path) in known:
            known |= {shown(path.parent), shown(real_path(path.parent))}
            found.append(path.parent)
    return found


def source_of(repairs: Path) -> str:
    """The folder that a copy was made of, from the first line of its repairs.jsonl; "" where it does not say."""
    try:
        with repairs.open(encoding="utf-8") as file:
            summary = json.loads(file.readline(1 << 22))
    except (OSError, ValueError):
        return ""
    return str(summary.get("source", "")) if isinstance(summary, dict) else ""


def key_of(path: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-")[:40] or "data"


def unused(key: str, keys: set[str]) -> str:
    number = 2
    wanted = key
    while wanted in keys:
        wanted, number = f"{key}-{number}", number + 1
    return wanted


def missing() -> RequestError:
    return RequestError(404, "folder-missing", "There is no such folder in this data.", "Choose one that is listed.")
