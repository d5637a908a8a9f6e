"""The folders of data that a server was started with: the only ones that the rooms of the page read.

They are those of `serve --data`, the data that the served run was trained on, and the open labelling folder. A request
names one by its key, and a folder below it by its relative path; a path that leads outside is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.images.files import real_path, shown
from pixelwise.server.error_responses import RequestError
from pixelwise.server.sample_images import data_of

MOST_LISTED = 2000  # folders of one answer


@dataclass(frozen=True)
class DataFolder:
    """A folder of data, and why this server knows it."""

    key: str  # in addresses: lower-case letters, digits and hyphens
    path: Path
    origin: str  # "data": given at start; "run": of the served model; "labels": what is being labelled

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "name": self.path.name or str(self.path),
            "path": shown(self.path),
            "from": self.origin,
        }


class DataFolders:
    """What the server was started with. The labelling folder is asked for each time, as it may change."""

    def __init__(self, given: Sequence[Path], run: Path | None, labels: Callable[[], Path | None]) -> None:
        self.given, self.run, self.labels = given, run, labels

    def all(self) -> list[DataFolder]:
        """Every folder that exists, once, in the order of their importance."""
        root = data_of(self.run).get("root")
        labels = self.labels()
        wanted = [("data", path) for path in self.given]
        wanted += [("run", Path(root))] if root else []
        wanted += [("labels", labels)] if labels else []
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
