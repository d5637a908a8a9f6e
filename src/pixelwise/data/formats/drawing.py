"""What formats of drawings have in common: JSON that may be damaged, files by name, ids for names.

A format of names (LabelMe, CVAT, Label Studio, GeoJSON) gives its classes no numbers, so ids are made from the names;
`dataset.toml` meets them by name. Shapes: H, W of one mask.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.decode import MAX_PIXELS, MaskIds
from pixelwise.data.files import Refusal, read_bytes
from pixelwise.data.layouts import IMAGE_SUFFIXES, Declared, Listing
from pixelwise.data.palettes import VOID_NAMES
from pixelwise.data.settings import dataset_toml
from pixelwise.records import VOID, ClassList, Sample

BACKGROUND = "background"
VOID_NAME = "void"
PEEK_BYTES = 4096

Result = TypeVar("Result")


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


def read_all(paths: Iterable[Path], read: Callable[[Path], Result], listing: Listing) -> Iterator[tuple[Path, Result]]:
    """(file, what `read` makes of it), one at a time; a file that it refuses is passed over and told as a problem."""
    for path in paths:
        try:
            result = read(path)
        except Refusal as refusal:
            listing.error("annotations", path, refusal.what, refusal.remedy)
        else:
            yield path, result


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

    def find(self, name: str, near: Iterable[str] = (), outside: Path | None = None) -> Path | None:
        """The file of this name: the one whose folders agree most with the name's and with the words in `near`.

        `outside`: a folder whose files are masks of the same names, and no images.
        """
        wanted = PurePosixPath(name.replace("\\", "/"))
        plain = re.sub(r"^[0-9a-f]{8}-", "", wanted.name)  # Label Studio puts eight digits before an upload's name
        candidates = self.by_name.get(wanted.name) or self.by_name.get(plain) or []
        candidates = [path for path in candidates if outside is None or not path.is_relative_to(outside)]
        words = {*wanted.parts[:-1], *near}
        return max(candidates, key=lambda path: (len(words & set(path.parts)), -len(path.parts)), default=None)


def blank_mask(height: int, width: int, top_id: int) -> MaskIds:
    """Zeros [H, W] of a kind that holds `top_id`. Raises Refusal where the size is not allowed."""
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise Refusal("too-large", f"{width}×{height} pixels are not allowed for a mask.", "Correct the annotation.")
    return np.zeros((height, width), np.uint8) if top_id < 256 else np.zeros((height, width), np.int32)


def name_ids(drawn: Iterable[str], declared: Sequence[str] = ()) -> dict[str, int]:
    """An id for every name: background is 0, then those that the format declares, in its order, then the alphabet."""
    first = list(dict.fromkeys(name for name in declared if name != BACKGROUND))
    rest = sorted({name for name in drawn if name != BACKGROUND} - set(first))
    return {BACKGROUND: 0, **{name: i for i, name in enumerate([*first, *rest], start=1)}}


def named_toml(classes: ClassList, seen: Iterable[int], declared: Sequence[str] = ()) -> str:
    """dataset.toml for a format of names. `seen`: class ids (VOID too) that are drawn; `declared`: see `name_ids`.

    Classes that are neither drawn nor declared get ids after all others. Without a class "background", what is not
    drawn is void.
    """
    ids = name_ids((VOID_NAME if c == VOID else classes.names[c] for c in seen), declared)
    for name in classes.names:
        ids.setdefault(name, len(ids))
    void = [ids[VOID_NAME]] if VOID_NAME in ids and VOID_NAME not in classes.names else []
    if BACKGROUND not in classes.names:
        void.append(0)
    return dataset_toml(classes, [ids[name] for name in classes.names], void)


def named_masks(labels: NDArray[np.uint8], names: Sequence[str]) -> Iterator[tuple[str, int, NDArray[np.bool_]]]:
    """(name, class id, where it is [H, W]) of every class on a mask; void under its name, background not at all."""
    for c in np.unique(labels).tolist():
        name = VOID_NAME if c == VOID else names[c]
        if name != BACKGROUND:
            yield name, c, labels == c


@dataclass(frozen=True)
class Drawn:
    """One image and what is drawn on it, by names."""

    path: Path  # the file of the drawing
    image: Path
    split: str
    names: frozenset[str]
    place: str | int = 0  # in a file of many drawings


def add_drawn(reader: str, drawn: Sequence[Drawn], listing: Listing, source: str, declared: Sequence[str] = ()) -> None:
    """Put drawings and the classes of their names into the listing. `source`: whose names they are, for people."""
    ids = name_ids((name for one in drawn for name in one.names), declared)
    for one in drawn:
        part = f"{reader}:" + json.dumps([one.place, ids], sort_keys=True)
        sample = Sample(listing.where(one.image.with_suffix("")), one.image, one.path, mask_part=part)
        listing.splits.setdefault(one.split, []).append(sample)
    void = frozenset(i for name, i in ids.items() if name.lower() in VOID_NAMES)
    chosen = [(name, i) for name, i in ids.items() if i not in void]
    names, own = tuple(name for name, _ in chosen), tuple(i for _, i in chosen)
    listing.declared = Declared(names, own, (None,) * len(own), void, source, by_name=True)


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
