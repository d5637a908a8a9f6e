"""What formats of drawings have in common: JSON that may be damaged, files by name, ids for names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pixelwise.data.decode import MAX_PIXELS, MaskIds
from pixelwise.data.files import Refusal, read_bytes
from pixelwise.data.layouts import IMAGE_SUFFIXES
from pixelwise.data.palettes import VOID_NAMES

BACKGROUND = "background"
PEEK_BYTES = 4096


def read_json(path: Path) -> Any:
    """A parsed JSON file, kept while the file is unchanged. Raises Refusal."""
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise Refusal("unreadable", f"cannot be read ({error.strerror}).", "Check the file.") from error


@lru_cache(maxsize=4)
def _parsed(path: Path, _changed_ns: int) -> Any:
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise Refusal(
            "annotations", f"is no valid JSON ({str(error)[:100]}).", "Export the annotations again."
        ) from error


def peek(path: Path) -> str:
    """The first few kilobytes of a file as text; "" where it cannot be read or is no file."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(PEEK_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def files_below(root: Path, suffixes: tuple[str, ...], depth: int = 4) -> list[Path]:
    """Files with these suffixes, in order; hidden ones and links to folders are passed over."""
    found = []
    for parent, folders, names in os.walk(root):
        deep = len(Path(parent).relative_to(root).parts) >= depth
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(names) if name.lower().endswith(suffixes) and name[0] != "."]
    return found


class ImageFiles:
    """The image files below a root, found by the ends of their paths, as annotations name them."""

    def __init__(self, root: Path) -> None:
        self.by_name: dict[str, list[Path]] = {}
        for path in files_below(root, IMAGE_SUFFIXES):
            self.by_name.setdefault(path.name, []).append(path)

    def find(self, name: str, near: Iterable[str] = ()) -> Path | None:
        """The file of this name: the one whose folders agree most with the name's and with the words in `near`."""
        wanted = PurePosixPath(name.replace("\\", "/"))
        plain = re.sub(r"^[0-9a-f]{8}-", "", wanted.name)  # Label Studio puts eight digits before an upload's name
        candidates = self.by_name.get(wanted.name) or self.by_name.get(plain) or []
        words = {*wanted.parts[:-1], *near}
        return max(candidates, key=lambda path: (len(words & set(path.parts)), -len(path.parts)), default=None)


def blank_mask(height: int, width: int, top_id: int) -> MaskIds:
    """Zeros [H, W] of a kind that holds `top_id`. Raises Refusal where the size is not allowed."""
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise Refusal("too-large", f"{width}×{height} pixels are not allowed for a mask.", "Correct the annotation.")
    return np.zeros((height, width), np.uint8) if top_id < 256 else np.zeros((height, width), np.int32)


def name_ids(names: Iterable[str]) -> dict[str, int]:
    """An id from 1 for every name, in the order of the names; background is 0."""
    rest = sorted({name for name in names if name != BACKGROUND})
    return {BACKGROUND: 0, **{name: i for i, name in enumerate(rest, start=1)}}


def split_of(path: Path, root: Path) -> str:
    """The split that a path's words name, or "all"."""
    words = re.findall(r"[a-z]+", str(path.relative_to(root)).lower())
    for split, those in {
        "train": ("train", "training"),
        "val": ("val", "valid", "validation"),
        "test": ("test",),
    }.items():
        if any(word in those for word in words):
            return split
    return "all"


def void_names(ids: Mapping[str, int]) -> frozenset[int]:
    return frozenset(i for name, i in ids.items() if name.lower() in VOID_NAMES)
