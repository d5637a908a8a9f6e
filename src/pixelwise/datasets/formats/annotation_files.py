"""Find and read annotation files, and list them with their images.

Formats with class names only (LabelMe, CVAT, Label Studio …) have no ids: this module assigns them, and `dataset.toml`
refers to classes by name. Skipped shapes are reported by kind and class. Shapes: H, W of one mask.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.datasets.dataset_toml import dataset_toml
from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES, split_of
from pixelwise.datasets.formats.annotated_shapes import (
    WHY_NOT,
    AnnotatedImage,
    Place,
    Size,
    mask_of,
    objects_of,
    where_of,
)
from pixelwise.datasets.formats.image_lookup import ImageFiles, files_below
from pixelwise.datasets.formats.polygons import judge_polygons
from pixelwise.datasets.formats.reader_errors import refusals
from pixelwise.datasets.listing import DeclaredClasses, Listing
from pixelwise.datasets.palettes import VOID_NAMES
from pixelwise.images.decode import MaskIds, stored_turn
from pixelwise.images.decoder_reasons import text_reason
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import VOID, ClassList, Sample

BACKGROUND = "background"
VOID_NAME = "void"
PEEK_BYTES = 4096
PEEKED = 8  # files opened per folder to recognise a format
NAMED_CLASSES = 5
MISSING_NAMED = 5  # missing images per file that are reported by name

Result = TypeVar("Result")
Read = Callable[[Path], Mapping[Place, AnnotatedImage]]  # the pictures of a file; raises Refusal


def read_json(path: Path) -> Any:
    """A parsed JSON file, cached while the file is unchanged. Raises Refusal."""
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
            "annotations", f"is not valid JSON ({text_reason(error)}).", "Export the annotations again."
        ) from error


def read_all(paths: Iterable[Path], read: Callable[[Path], Result], listing: Listing) -> Iterator[tuple[Path, Result]]:
    """(file, result of `read`), one at a time; an unreadable file becomes a problem and is skipped."""
    for path in paths:
        try:
            with refusals():
                result = read(path)
        except Refusal as refusal:
            listing.error("annotations", path, refusal.what, refusal.remedy)
        else:
            yield path, result


def read_or_none(read: Callable[[Path], Result], path: Path) -> Result | None:
    """The result of `read` for a file; None if it is unreadable, which the listing reports."""
    try:
        with refusals():
            return read(path)
    except Refusal:
        return None


def peek(path: Path) -> str:
    """The first few kilobytes of a file as text; "" if it is unreadable or not a file."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            data = file.read(PEEK_BYTES)
    except (OSError, ValueError):  # an invalid file name
        return ""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def files_that(root: Path, suffixes: tuple[str, ...], says: Callable[[str], bool], depth: int = 4) -> list[Path]:
    """The files below a root with these suffixes whose first kilobytes `says` recognises."""
    return [path for path in files_below(root, suffixes, depth) if says(peek(path))]


def any_that(root: Path, suffixes: tuple[str, ...], says: Callable[[str], bool], depth: int = 4) -> bool:
    """Whether `files_that` would find a file; opens only a few files per folder."""
    peeked: Counter[Path] = Counter()
    for path in files_below(root, suffixes, depth):
        peeked[path.parent] += 1
        if peeked[path.parent] <= PEEKED and says(peek(path)):
            return True
    return False


class SkippedShapes:
    """Counts of shapes that are not drawn, reported as one problem per kind: none is dropped silently."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.counts: dict[tuple[str, str], Counter[str]] = {}  # by kind and reason: shapes by class
        self.places: dict[tuple[str, str], dict[Path, str]] = {}  # and the first shape in each annotation file

    def add(self, path: Path, kind: str, label: str, where: str, why: str = "") -> None:
        """Count one shape.

        Args:
            path: the annotation file.
            kind: the format's own term, such as "polyline".
            label: its class.
            where: its position in the file, such as "image 3.png, shape 5".
            why: the reason, as a sentence; defaults to that of `WHY_NOT` for the kind.
        """
        key = (kind, why or WHY_NOT.get(kind.lower(), "This kind of shape is not read."))
        self.counts.setdefault(key, Counter())[label] += 1
        self.places.setdefault(key, {}).setdefault(path, where)

    def report(self) -> None:
        """Add the counted shapes to the listing as warnings."""
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
            self.listing.warn("not-drawn", path, what, "Draw it as a polygon or mask if it matters.")


def name_ids(drawn: Iterable[str], declared: Sequence[str] = ()) -> dict[str, int]:
    """An id per name: background is 0, then declared names in the format's order, then the rest alphabetically."""
    first = list(dict.fromkeys(name for name in declared if name != BACKGROUND))
    rest = sorted({name for name in drawn if name != BACKGROUND} - set(first))
    return {BACKGROUND: 0, **{name: i for i, name in enumerate([*first, *rest], start=1)}}


def named_toml(classes: ClassList, seen: Iterable[int], declared: Sequence[str] = ()) -> str:
    """dataset.toml for a format with class names. `seen`: drawn class ids, VOID included; `declared`: see `name_ids`.

    Classes that are neither drawn nor declared get ids after all others. Without a class "background", undrawn pixels
    are void.
    """
    ids = name_ids((VOID_NAME if c == VOID else classes.names[c] for c in seen), declared)
    for name in classes.names:
        ids.setdefault(name, len(ids))
    void = [ids[VOID_NAME]] if VOID_NAME in ids and VOID_NAME not in classes.names else []
    if BACKGROUND not in classes.names:
        void.append(0)
    return dataset_toml(classes, [ids[name] for name in classes.names], void)


def named_masks(
    labels: NDArray[np.uint8], names: Sequence[str], *, background: bool = False
) -> Iterator[tuple[str, int, NDArray[np.bool_]]]:
    """(name, class id, pixels [H, W]) of every class in a mask, and void; background only on request."""
    for c in np.unique(labels).tolist():
        name = VOID_NAME if c == VOID else names[c]
        if background or name != BACKGROUND:
            yield name, c, labels == c


@dataclass(frozen=True)
class _Drawn:
    """One image and the class names drawn on it."""

    path: Path  # the annotation file
    image: Path
    split: str
    names: frozenset[str]
    place: Place


def list_pictures(
    reader: str,
    root: Path,
    paths: Iterable[Path],
    read: Read,
    source: str,
    declared: Sequence[str] = (),
    *,
    uploaded: bool = False,
) -> Listing:
    """The listing of annotation files: every picture whose image exists, once.

    Args:
        reader: the reader's name in `read_sample.MASK_READERS`.
        source: a description of the class names for users.
        declared: classes that the format declares, in its order, drawn or not.
        uploaded: see `ImageFiles.find`.
    """
    lister = _Lister(root, uploaded)
    listing = lister.listing
    for path, pictures in read_all(paths, lambda path: pictures_of(read, path), listing):
        for place, picture in pictures.items():
            lister.add(path, place, picture, alone=len(pictures) == 1)
    lister.report()
    drawn = lister.drawn
    if {"all"} < {one.split for one in drawn}:  # if there are splits, images in none of them go to train
        lone = sum(one.split == "all" for one in drawn)
        drawn = [replace(one, split="train") if one.split == "all" else one for one in drawn]
        listing.notes.append(f"In train, as their folders name no split: {lone:,} images.")
    ids = name_ids((name for one in drawn for name in one.names), declared)
    for one in drawn:
        part = f"{reader}:" + json.dumps([one.place, ids], sort_keys=True)
        sample = Sample(listing.where(one.image.with_suffix("")), one.image, one.path, mask_part=part)
        listing.splits.setdefault(one.split, []).append(sample)
    void = frozenset(i for name, i in ids.items() if name.lower() in VOID_NAMES)
    names = tuple(name for name, i in ids.items() if i not in void)
    own_ids = tuple(ids[name] for name in names)
    listing.declared = DeclaredClasses(names, own_ids, (None,) * len(names), void, source, by_name=True)
    return listing


class _Lister:
    """Collects pictures one by one and counts their problems."""

    def __init__(self, root: Path, uploaded: bool) -> None:
        self.listing = Listing(root)
        self.files = ImageFiles(root)
        self.uploaded = uploaded
        self.undrawn = SkippedShapes(self.listing)
        self.drawn: list[_Drawn] = []
        self.first: dict[Path, tuple[Path, AnnotatedImage]] = {}  # per image: its first picture, and the file of it
        self.repeated: Counter[tuple[Path, Path]] = Counter()  # pictures found in two files
        self.missing: Counter[Path] = Counter()  # missing images, by the file that names them
        self.bare = 0  # pictures with nothing drawn

    def add(self, path: Path, place: Place, picture: AnnotatedImage, alone: bool) -> None:
        """Add a picture of a file; `alone`: it is the file's only one."""
        if picture.damaged:
            what = f"{shown(picture.image)}: {picture.damaged.what}"
            self.listing.error(picture.damaged.kind, path, what, picture.damaged.remedy)
            return
        image = picture.at or find_image(self.files, picture, path, alone=alone, uploaded=self.uploaded)
        if image is None:
            self.missing[path] += 1
            if self.missing[path] <= MISSING_NAMED:
                what = self.files.missing(picture.image)
                self.listing.error("image-missing", path, what, "Add it, or correct the name.")
            return
        first, other = self.first.setdefault(image, (path, picture))
        if other is not picture and _alike(other, picture):
            self.repeated[path, first] += 1
            return
        report_shapes(path, picture, image, self.listing, self.undrawn)
        self.bare += not picture.drawn
        split = picture.split if picture.split != "all" else _split_of(path, image, self.listing.root, alone)
        names = frozenset(shape.name for shape in picture.drawn)
        self.drawn.append(_Drawn(path, image, split, names, place))

    def report(self) -> None:
        """Add the counted problems to the listing."""
        listing = self.listing
        for path, count in self.missing.items():
            if count > MISSING_NAMED:
                message = f"names {count - MISSING_NAMED:,} more images that are not there."
                listing.error("image-missing", path, message, "Add them, or correct the names.")
        for (path, first), count in self.repeated.items():
            where = listing.where(first)
            listing.notes.append(f"{listing.where(path)} repeats {count:,} annotations of {where}: left out.")
        if self.bare:
            listing.notes.append(f"{self.bare:,} images have no annotations: all of their pixels are background.")
        self.undrawn.report()


def find_image(
    files: ImageFiles, picture: AnnotatedImage, path: Path, *, alone: bool = False, uploaded: bool = False
) -> Path | None:
    """The image of a picture in an annotation file, even if its name has no suffix.

    Of several matches, the one in a folder of the picture's or the file's split. `alone`: see `_Lister.add`.
    """
    near = [*path.parent.relative_to(files.root).parts, *([picture.split] if picture.split != "all" else [])]
    suffixes = ("",) if picture.image.lower().endswith(IMAGE_SUFFIXES) else ("", *IMAGE_SUFFIXES)
    names = [picture.image + suffix for suffix in suffixes]
    for one in names:
        if image := files.find(one, near, base=path.parent, uploaded=uploaded):
            return image
    split = split_of(path.parent if alone else path, files.root)
    if split == "all":  # `find` cannot tell train_images/ from test_images/
        return None
    alike = [path for one in names for path in files.by_name.get(one, []) if split_of(path.parent, files.root) == split]
    return alike[0] if len(alike) == 1 else None


def picture_mask(read: Read, path: Path, entry: str, size: Size) -> MaskIds:
    """The mask [H, W] of one picture. `entry`: from `list_pictures`. Raises Refusal."""
    place, ids = json.loads(entry)
    return mask_of(_picture_at(read, path, place), ids, size)


def picture_objects(read: Read, path: Path, entry: str, size: Size) -> MaskIds:
    """As `picture_mask`, with a number from 1 for each shape instead of its class's id."""
    place, _ = json.loads(entry)
    return objects_of(_picture_at(read, path, place), size)


def _picture_at(read: Read, path: Path, place: Place) -> AnnotatedImage:
    """Raises Refusal: it is no longer there."""
    picture = pictures_of(read, path).get(place)
    if picture is None:
        raise Refusal("annotations", f"has no annotations of {shown(str(place))!r} any more.", "Run the check again.")
    return picture


def pictures_of(read: Read, path: Path) -> Mapping[Place, AnnotatedImage]:
    """The pictures of a file, cached while it is unchanged. Raises Refusal for any error in the file."""
    with refusals():
        return _pictures(read, path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _pictures(read: Read, path: Path, _changed_ns: int) -> Mapping[Place, AnnotatedImage]:
    return read(path)


def report_shapes(path: Path, picture: AnnotatedImage, image: Path, listing: Listing, undrawn: SkippedShapes) -> None:
    """Report skipped shapes, and rings that cross themselves or leave the image."""
    for i, shape in enumerate(picture.shapes):
        if shape.undrawn:
            undrawn.add(path, shape.kind, shape.name, where_of(picture, i), shape.undrawn)
    outlined = [i for i, one in enumerate(picture.shapes) if not one.undrawn and (one.rings or one.outline)]
    size = (picture.size or stated_size(image)) if outlined else None  # None: damaged, reported when read
    if size is not None:
        rings = [(where_of(picture, i), ring) for i in outlined for ring in picture.shapes[i].rings_on(size)]
        judge_polygons(
            rings, size, lambda kind, where, what, remedy: listing.warn(kind, path, f"{where} {what}", remedy)
        )


def stated_size(image: Path) -> Size | None:
    """(H, W) of an image from its header, after EXIF orientation; None if the header is unreadable."""
    if not image.is_file():
        return None  # opening a pipe would block forever
    try:
        with Image.open(image) as opened:
            width, height = opened.size
            turned = opened.format != "PNG" and stored_turn(opened) >= 5  # for a PNG this would decode the pixels
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return (width, height) if turned else (height, width)


def _alike(one: AnnotatedImage, other: AnnotatedImage) -> bool:
    """Whether two files draw the same shapes on an image, as projects and their exports do."""

    def plain(made: object) -> object:
        return made.args if isinstance(made, partial) else made

    def comparable(picture: AnnotatedImage) -> list[tuple[Any, ...]]:
        return [(f.name, [r.tolist() for r in f.rings], plain(f.outline), plain(f.patch)) for f in picture.drawn]

    return comparable(one) == comparable(other)


def _split_of(path: Path, image: Path, root: Path, alone: bool) -> str:
    """The split named by folders of the annotation file or image, or by the name of a file for many images."""
    for folder in (path.parent, image.parent):
        split = split_of(folder, root)
        if split != "all":
            return split
    return "all" if alone else split_of(Path(root, path.stem), root)
