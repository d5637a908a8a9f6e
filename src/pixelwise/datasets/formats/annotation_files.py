"""What formats of drawings have in common: JSON that may be damaged, files by name, ids for names.

A format of names (LabelMe, CVAT, Label Studio, GeoJSON) gives its classes no numbers, so ids are made from the names;
`dataset.toml` meets them by name. Shapes: H, W of one mask.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.dataset_toml import dataset_toml
from pixelwise.datasets.formats.image_lookup import ImageFiles, files_below
from pixelwise.datasets.formats.reader_errors import refusals
from pixelwise.datasets.layouts import DeclaredClasses, Listing
from pixelwise.datasets.palettes import VOID_NAMES
from pixelwise.images.decode import MAX_PIXELS, MaskIds
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import VOID, ClassList, Sample

__all__ = ["ImageFiles", "files_below"]

BACKGROUND = "background"
VOID_NAME = "void"
PEEK_BYTES = 4096
NAMED_CLASSES = 5
LINE, POINT = "A line has no area.", "A point has no area."
WHY_NOT = {  # kinds of shapes, in the words of many formats
    **dict.fromkeys(("line", "linestrip", "polyline", "linestring", "multilinestring", "path", "vector"), LINE),
    **dict.fromkeys(("point", "points", "multipoint", "keypoint", "keypoints", "keypointlabels"), POINT),
    **dict.fromkeys(("skeleton", "cuboid", "cuboid_2d", "graph"), "It has no outline on the image."),
    **dict.fromkeys(("bbox", "box"), "Only a box is there, not the outline of the object."),
}

Result = TypeVar("Result")


def read_json(path: Path) -> Any:
    """A parsed JSON file, kept while the file is unchanged. Raises Refusal."""
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise Refusal("unreadable", f"cannot be read ({error.strerror}).", "Check the file.") from error


@lru_cache(maxsize=4)
def _parsed(path: Path, _changed_ns: int) -> Any:
    data = read_bytes(path)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refusal(
            "annotations", f"is no valid JSON ({str(error)[:100]}).", "Export the annotations again."
        ) from error


def read_all(paths: Iterable[Path], read: Callable[[Path], Result], listing: Listing) -> Iterator[tuple[Path, Result]]:
    """(file, what `read` makes of it), one at a time; a file that it cannot read is passed over, told as a problem."""
    for path in paths:
        try:
            with refusals():
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
            data = file.read(PEEK_BYTES)
    except (OSError, ValueError):  # a name that no file can have
        return ""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def blank_mask(height: int, width: int, top_id: int) -> MaskIds:
    """Zeros [H, W] of a kind that holds `top_id`. Raises Refusal where the size is not allowed."""
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise Refusal("too-large", f"{width}×{height} pixels are not allowed for a mask.", "Correct the annotation.")
    return np.zeros((height, width), np.uint8) if top_id < 256 else np.zeros((height, width), np.int32)


class SkippedShapes:
    """Shapes that are not drawn, counted so that one problem names each kind: none is dropped unsaid."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.counts: dict[tuple[str, str], Counter[str]] = {}  # by kind and reason: shapes by class
        self.places: dict[tuple[str, str], dict[Path, str]] = {}  # and the first in each annotation file

    def add(self, path: Path, kind: str, label: str, where: str, why: str = "") -> None:
        """One shape.

        Args:
            path: the annotation file.
            kind: what it is in the format's words, such as "polyline".
            label: its class.
            where: what finds it in the file, such as "image 3.png, shape 5".
            why: a sentence; where it is left out, what `WHY_NOT` says about the kind.
        """
        key = (kind, why or WHY_NOT.get(kind.lower(), "This kind of shape is not read."))
        self.counts.setdefault(key, Counter())[label] += 1
        self.places.setdefault(key, {}).setdefault(path, where)

    def report(self) -> None:
        """Put what was added into the listing, as warnings."""
        for (kind, why), labels in self.counts.items():
            places = self.places[kind, why]
            path, first = next(iter(places.items()))
            number = sum(labels.values())
            shapes = f"{number:,} shape{'s' * (number > 1)} of the kind {shown(kind)}"
            inside = f" in {len(places):,} files" if len(places) > 1 else ""
            is_not = "are" if number > 1 else "is"
            classes = ", ".join(f"{shown(label)} ({count:,})" for label, count in labels.most_common(NAMED_CLASSES))
            more = f" and {len(labels) - NAMED_CLASSES} more classes" if len(labels) > NAMED_CLASSES else ""
            what = f"{shapes}{inside} {is_not} not drawn: {classes}{more}; the first is {first}. {why}"
            self.listing.warn("not-drawn", path, what, "Draw it as a polygon or mask where it matters.")


@contextmanager
def shape_named(where: str, pass_over: bool = True) -> Iterator[None]:
    """Put the words that find a shape in front of whatever Refusal its drawing ends with.

    A polygon without an inside is passed over, unless `pass_over` is false: listing has told it
    (`polygons.judge_polygons`).
    """
    try:
        with refusals():
            yield
    except Refusal as refusal:
        if refusal.kind != "polygon-empty" or not pass_over:
            raise Refusal(refusal.kind, f"{where} {refusal.what}", refusal.remedy) from refusal


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
    listing.declared = DeclaredClasses(names, own, (None,) * len(own), void, source, by_name=True)


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
