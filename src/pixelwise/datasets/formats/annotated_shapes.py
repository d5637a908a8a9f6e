"""Pictures with figures on them: what formats of drawings read in common, from a file to a mask.

A format's module says how its file becomes pictures; here they meet their images, what cannot be drawn is reported by
kind and class, and figures become pixels. Figures are drawn in their order, later ones over earlier ones.

Shapes: H, W of the mask; N corners of a ring, each (x, y), from the image's top left corner along the pixels' edges.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.datasets.formats.annotation_files import (
    WHY_NOT,
    Drawn,
    ImageFiles,
    SkippedShapes,
    add_drawn,
    blank_mask,
    files_below,
    peek,
    read_all,
    shape_named,
    split_of,
)
from pixelwise.datasets.formats.field_checks import number, number_text, same_size
from pixelwise.datasets.formats.polygons import Polygon, inside, judge_polygons, polygon_of
from pixelwise.datasets.formats.reader_errors import refusals
from pixelwise.datasets.formats.shape_outlines import box_of, ellipse_of
from pixelwise.datasets.layouts import IMAGE_SUFFIXES, Listing
from pixelwise.images.decode import MaskIds, stored_turn
from pixelwise.images.files import Refusal, shown

PEEKED = 8  # files of one folder that are looked into to recognise a format
MISSING_NAMED = 5  # images of one file that are reported by name
OBJECT = "object"  # the class of figures that name none

Size = tuple[int, int]  # H, W


@dataclass(frozen=True)
class MaskPatch:
    """Pixels of a figure: a mask [h, w] and where its top left pixel lies."""

    top: int
    left: int
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class DrawnShape:
    """One figure of a drawing: rings (even-odd: a ring inside a ring is a hole), pixels, or why it has neither."""

    name: str  # its class
    kind: str  # the format's own word for it: "polygon", "polyline", "bitmap"
    rings: tuple[Polygon, ...] = ()
    stamp: Callable[[Size], MaskPatch] | None = None  # of the image's (H, W); raises Refusal
    undrawn: str = ""  # a sentence: "A line has no area."


@dataclass(frozen=True)
class AnnotatedImage:
    """One image as a file of drawings names it, with its figures."""

    image: str  # its name or path, as the format writes it
    figures: tuple[DrawnShape, ...]
    size: Size | None = None  # of the image, where the file says it
    at: Path | None = None  # the image, where the format's folders tell where it lies
    split: str = "all"


Read = Callable[
    [Path], dict[str, AnnotatedImage]
]  # the pictures of a file by a name that finds each again; raises Refusal


def some_below(root: Path, suffixes: tuple[str, ...], says: Callable[[str], bool], depth: int = 4) -> bool:
    """Whether a file with these suffixes begins as `says` tells; of each folder a few are looked into."""
    looked: Counter[Path] = Counter()
    for path in files_below(root, suffixes, depth):
        looked[path.parent] += 1
        if looked[path.parent] <= PEEKED and says(peek(path)):
            return True
    return False


def list_pictures(
    reader: str,
    root: Path,
    paths: Iterable[Path],
    read: Read,
    source: str,
    declared: Sequence[str] = (),
) -> Listing:
    """The listing of files of drawings: every picture whose image is there, once.

    Args:
        reader: the reader's name in `data.sources`.
        source: whose names the classes are, for people.
        declared: classes that the format names, in its order, whether they are drawn or not.
    """
    listing, files = Listing(root), ImageFiles(root)
    undrawn, drawn = SkippedShapes(listing), list[Drawn]()
    taken: dict[Path, tuple[Path, AnnotatedImage]] = {}
    repeated: Counter[tuple[Path, Path]] = Counter()
    missing: Counter[Path] = Counter()
    bare = 0  # pictures on which nothing is drawn
    for path, pictures in read_all(paths, lambda path: pictures_of(read, path), listing):
        own_split = split_of(path if len(pictures) > 1 else path.parent, root)
        near = path.parent.relative_to(root).parts
        for place, picture in pictures.items():
            image = picture.at or find_image(files, picture.image, near, path.parent, own_split)
            if image is None:
                missing[path] += 1
                if missing[path] <= MISSING_NAMED:
                    listing.error("image-missing", path, files.missing(picture.image), "Add it, or correct the name.")
                continue
            first, other = taken.setdefault(image, (path, picture))
            if other is not picture and _alike(other, picture):
                repeated[path, first] += 1
                continue
            _judge(path, picture, image, listing, undrawn)
            bare += all(figure.undrawn for figure in picture.figures)
            names = frozenset(figure.name for figure in picture.figures if not figure.undrawn)
            split = picture.split if picture.split != "all" else _split_of(path, image, root, len(pictures))
            drawn.append(Drawn(path, image, split, names, place))
    for path, count in missing.items():
        if count > MISSING_NAMED:
            message = f"names {count - MISSING_NAMED:,} more images that are not there."
            listing.error("image-missing", path, message, "Add them, or correct the names.")
    for (path, first), count in repeated.items():
        listing.notes.append(f"{listing.where(path)} repeats {count:,} drawings of {listing.where(first)}: left out.")
    if bare:
        listing.notes.append(f"Nothing is drawn on {bare:,} images: all of each is background.")
    if {"all"} < {one.split for one in drawn}:  # beside splits, what is in none of them is trained on
        lone = [one for one in drawn if one.split == "all"]
        drawn = [replace(one, split="train") if one.split == "all" else one for one in drawn]
        listing.notes.append(f"In train, for their folders name no split: {len(lone):,} images.")
    undrawn.report()
    add_drawn(reader, drawn, listing, source, declared)
    return listing


def find_image(
    files: ImageFiles, name: str, near: Sequence[str] = (), base: Path | None = None, split: str = "all"
) -> Path | None:
    """The image of a name, also of one without its suffix; of several alike, the one in a folder of this split."""
    names = [name, *(() if name.lower().endswith(IMAGE_SUFFIXES) else (f"{name}{suffix}" for suffix in IMAGE_SUFFIXES))]
    for one in names:
        if image := files.find(one, near, base=base):
            return image
    if split != "all":  # train_images/ and test_images/ are alike to `find`
        found = [
            path for one in names for path in files.by_name.get(one, []) if split_of(path.parent, files.root) == split
        ]
        return found[0] if len(found) == 1 else None
    return None


def picture_ids(read: Read, path: Path, entry: str, size: Size) -> MaskIds:
    """The mask [H, W] of one picture. `entry`: as `add_drawn` writes it. Raises Refusal."""
    place, ids = json.loads(entry)
    picture = pictures_of(read, path).get(place)
    if picture is None:
        raise Refusal("annotations", f"draws no longer on {shown(str(place))!r}.", "Run the check again.")
    same_size(picture.size, size)
    mask = blank_mask(*size, max(ids.values(), default=0))
    for i, figure in enumerate(picture.figures):
        if figure.undrawn:
            continue
        if figure.name not in ids:
            raise Refusal("annotations", "has changed since it was listed.", "Run the check again.")
        with shape_named(_where(picture, i, figure)):
            draw(mask, figure, ids[figure.name])
    return mask


def draw(mask: MaskIds, figure: DrawnShape, value: int) -> None:
    """Write `value` into the pixels of `mask` [H, W] that a figure covers. Raises Refusal."""
    if figure.stamp is not None:
        stamp = figure.stamp((mask.shape[0], mask.shape[1]))
        top, left = max(stamp.top, 0), max(stamp.left, 0)
        own = stamp.mask[top - stamp.top :, left - stamp.left :]
        place = mask[top : top + own.shape[0], left : left + own.shape[1]]
        place[own[: place.shape[0], : place.shape[1]]] = value
        return
    parts = [part for ring in figure.rings if (part := inside(ring, *mask.shape)) is not None]
    if not parts:
        return
    top, bottom = min(rows.start for rows, _, _ in parts), max(rows.stop for rows, _, _ in parts)
    left, right = min(columns.start for _, columns, _ in parts), max(columns.stop for _, columns, _ in parts)
    covered = np.zeros((bottom - top, right - left), bool)
    for rows, columns, filled in parts:
        covered[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] ^= filled
    mask[top:bottom, left:right][covered] = value


def pictures_of(read: Read, path: Path) -> dict[str, AnnotatedImage]:
    """What a file draws, kept while it is unchanged. Raises Refusal, whatever is wrong with the file."""
    with refusals():
        return _pictures(read, path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _pictures(read: Read, path: Path, _changed_ns: int) -> dict[str, AnnotatedImage]:
    return read(path)


def not_drawn(name: str, kind: str) -> DrawnShape:
    """A figure of a kind that has no area, or that is not read."""
    return DrawnShape(name, kind, undrawn=WHY_NOT.get(kind.lower(), "This kind of shape is not read."))


def polygon(name: str, kind: str, rings: Iterable[Any]) -> DrawnShape:
    """A figure of rings, each a list of pairs or of numbers in turn; one that cannot be drawn says why."""
    try:
        return DrawnShape(name, kind, tuple(polygon_of(ring) for ring in rings))
    except Refusal as refusal:
        return DrawnShape(name, kind, undrawn=f"It {refusal.what}")


def rectangle(name: str, kind: str, *sides: Any, turned: Any = 0) -> DrawnShape:
    """A figure from left, top, right, bottom; `turned` in degrees, clockwise, about its centre."""
    numbers = _finite(*sides, turned)
    if len(numbers) != 5:
        return DrawnShape(name, kind, undrawn="Its sides are not four finite numbers.")
    if numbers[0] == numbers[2] or numbers[1] == numbers[3]:
        return DrawnShape(name, kind, undrawn="It has no area.")
    return DrawnShape(name, kind, (box_of(*numbers),))


def ellipse(name: str, kind: str, *numbers: Any, turned: Any = 0) -> DrawnShape:
    """A figure from the centre x, y and the radii x, y; `turned` in degrees, clockwise, about its centre."""
    own = _finite(*numbers, turned)
    if len(own) != 5:
        return DrawnShape(name, kind, undrawn="Its centre and radii are not four finite numbers.")
    return (
        DrawnShape(name, kind, (ellipse_of(*own),))
        if own[2] and own[3]
        else DrawnShape(name, kind, undrawn="It has no area.")
    )


def _finite(*values: Any) -> list[float]:
    """Values as numbers, those that are none left out."""
    return [number for value in values if (number := number_of(value)) is not None]


def number_of(value: Any) -> float | None:
    """A finite number out of a file, also where it is there as text; None where it is none."""
    try:
        return number(value, "number") if not isinstance(value, str) else number_text(value, "number")
    except Refusal:
        return None


def _where(picture: AnnotatedImage, i: int, figure: DrawnShape) -> str:
    return f"{shown(picture.image)}, shape {i} ({shown(figure.kind)} {shown(figure.name)})"


def _judge(path: Path, picture: AnnotatedImage, image: Path, listing: Listing, undrawn: SkippedShapes) -> None:
    """Report figures that are not drawn, and rings that cross themselves or leave the image."""
    rings = []
    for i, figure in enumerate(picture.figures):
        where = _where(picture, i, figure)
        if figure.undrawn:
            undrawn.add(path, figure.kind, figure.name, where, figure.undrawn)
        rings += [(where, ring) for ring in figure.rings]
    if rings:
        size = picture.size or stated_size(image)  # None: the image is damaged, which is reported where it is read
        judge_polygons(
            rings, size, lambda kind, where, what, remedy: listing.warn(kind, path, f"{where} {what}", remedy)
        )


def stated_size(image: Path) -> Size | None:
    """(H, W) of an image after its EXIF orientation, as its header says; None where the header cannot be read."""
    if not image.is_file():
        return None  # to open a pipe would wait for ever
    try:
        with Image.open(image) as opened:
            width, height = opened.size
            turned = opened.format != "PNG" and stored_turn(opened) >= 5  # a PNG would be decoded to tell
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return (width, height) if turned else (height, width)


def _alike(one: AnnotatedImage, other: AnnotatedImage) -> bool:
    """Whether two files draw the same on an image, as projects and their exports do."""

    def seen(picture: AnnotatedImage) -> list[tuple[Any, ...]]:
        drawn = [figure for figure in picture.figures if not figure.undrawn]
        pixels = [f.stamp.args if isinstance(f.stamp, partial) else f.stamp for f in drawn]
        return [(f.name, [ring.tolist() for ring in f.rings], own) for f, own in zip(drawn, pixels, strict=True)]

    return seen(one) == seen(other)


def _split_of(path: Path, image: Path, root: Path, pictures: int) -> str:
    """The split that folders of the drawing or of the image name, or the name of a file that draws on many images."""
    for folder in (path.parent, image.parent):
        split = split_of(folder, root)
        if split != "all":
            return split
    return split_of(Path(root, path.stem), root) if pictures > 1 else "all"
