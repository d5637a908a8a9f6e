"""Pictures with figures on them: what formats of drawings read in common, from a file to a mask.

A format's module says how its file becomes pictures; here they meet their images, what cannot be drawn is reported by
kind and class, and figures become pixels. Figures are drawn in their order, later ones over earlier ones.

Shapes: H, W of the mask; N corners of a ring, each (x, y), from the image's top left corner along the pixels' edges.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.data.decode import MaskIds, stored_turn
from pixelwise.data.files import Refusal, shown
from pixelwise.data.formats.drawing import Drawn, ImageFiles, add_drawn, blank_mask, files_below, peek, split_of
from pixelwise.data.formats.polygons import Polygon, inside, judge_polygons, polygon_of
from pixelwise.data.layouts import Listing

ELLIPSE_CORNERS = 64
PEEKED = 8  # files of one folder that are looked into to recognise a format
NO_AREA = "has no area"  # of points and lines
OBJECT = "object"  # the class of figures that name none

Size = tuple[int, int]  # H, W


@dataclass(frozen=True)
class Stamp:
    """Pixels of a figure: a mask [h, w] and where its top left pixel lies."""

    top: int
    left: int
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Figure:
    """One figure of a drawing: rings (even-odd: a ring inside a ring is a hole), pixels, or why it has neither."""

    name: str  # its class
    kind: str  # the format's own word for it: "polygon", "polyline", "bitmap"
    rings: tuple[Polygon, ...] = ()
    stamp: Callable[[Size], Stamp] | None = None  # of the image's (H, W); raises Refusal
    undrawn: str = ""  # as the end of a sentence: "has no area"


@dataclass(frozen=True)
class Picture:
    """One image as a file of drawings names it, with its figures."""

    image: str  # its name or path, as the format writes it
    figures: tuple[Figure, ...]
    size: Size | None = None  # of the image, where the file says it
    at: Path | None = None  # the image, where the format's folders tell where it lies
    split: str = "all"


Read = Callable[[Path], dict[str, Picture]]  # the pictures of a file by a name that finds each again; raises Refusal


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
    drawn: list[Drawn] = []
    taken: dict[Path, tuple[Path, Picture]] = {}
    repeated: Counter[tuple[Path, Path]] = Counter()
    for path in paths:
        try:
            pictures = pictures_of(read, path)
        except Refusal as refusal:
            listing.error("annotations", path, refusal.what, refusal.remedy)
            continue
        report_undrawn(path, (figure for picture in pictures.values() for figure in picture.figures), listing)
        for place, picture in pictures.items():
            image = picture.at or files.find(picture.image, near=path.parent.parts)
            if image is None:
                report_missing(path, picture.image, files, listing)
                continue
            if image in taken:
                first, other = taken[image]
                if _alike(other, picture):
                    repeated[path, first] += 1
                else:
                    message = f"draws on {listing.where(image)}, which {listing.where(first)} draws on otherwise."
                    listing.error("drawn-twice", path, message, "Keep one of the two; the first is read.")
                continue
            taken[image] = path, picture
            _judge(path, picture, image, listing)
            names = frozenset(figure.name for figure in picture.figures if not figure.undrawn)
            split = picture.split if picture.split != "all" else _split_of(path, image, root)
            drawn.append(Drawn(path, image, split, names, place))
    for (path, first), count in repeated.items():
        listing.notes.append(f"{listing.where(path)} repeats {count:,} drawings of {listing.where(first)}: left out.")
    add_drawn(reader, drawn, listing, source, declared)
    return listing


def picture_ids(read: Read, path: Path, entry: str, size: Size) -> MaskIds:
    """The mask [H, W] of one picture. `entry`: as `add_drawn` writes it. Raises Refusal."""
    place, ids = json.loads(entry)
    picture = pictures_of(read, path).get(place)
    if picture is None:
        raise Refusal("annotations", f"draws no longer on {shown(str(place))!r}.", "Run the check again.")
    if picture.size and picture.size != size:
        was, now = (f"{width}×{height}" for height, width in (picture.size, size))
        what = f"was drawn on an image of {was} pixels, but {shown(picture.image)} has {now}."
        raise Refusal("size-mismatch", what, "Draw on the image as it is, or add the one that was drawn on.")
    mask = blank_mask(*size, max(ids.values(), default=0))
    for i, figure in enumerate(picture.figures):
        if figure.undrawn:
            continue
        try:
            draw(mask, figure, ids[figure.name])
        except Refusal as refusal:
            what = f"figure {i} of {shown(picture.image)} ({figure.kind}, {shown(figure.name)}) {refusal.what}"
            raise Refusal(refusal.kind, what, refusal.remedy) from refusal
        except KeyError as error:
            raise Refusal("annotations", "has changed since it was listed.", "Run the check again.") from error
    return mask


def draw(mask: MaskIds, figure: Figure, value: int) -> None:
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


def pictures_of(read: Read, path: Path) -> dict[str, Picture]:
    """What a file draws, kept while it is unchanged. Raises Refusal, whatever is wrong with the file."""
    try:
        return _pictures(read, path, path.stat().st_mtime_ns)
    except OSError as error:
        raise Refusal("unreadable", f"cannot be read ({error.strerror}).", "Check the file.") from error


@lru_cache(maxsize=4)
def _pictures(read: Read, path: Path, _changed_ns: int) -> dict[str, Picture]:
    try:
        return read(path)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        what = f"is not what its format asks for ({type(error).__name__}: {shown(str(error)[:80])})."
        raise Refusal("annotations", what, "Export the annotations again.") from error


def polygon(name: str, kind: str, rings: Iterable[Any]) -> Figure:
    """A figure of rings, each a list of pairs or of numbers in turn; one that cannot be drawn says why."""
    try:
        return Figure(name, kind, tuple(polygon_of(ring) for ring in rings)) if rings else _empty(name, kind)
    except (Refusal, TypeError, ValueError) as error:
        return Figure(name, kind, undrawn=getattr(error, "what", "is no list of numbers.").rstrip("."))


def rectangle(name: str, kind: str, *sides: Any, turned: Any = 0) -> Figure:
    """A figure from left, top, right, bottom; `turned` in degrees, clockwise, about its centre."""
    try:
        left, top, right, bottom = (float(side) for side in sides)
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        return _turned(name, kind, corners, float(turned))
    except (TypeError, ValueError):
        return Figure(name, kind, undrawn="has sides that are no numbers")


def ellipse(name: str, kind: str, *numbers: Any, turned: Any = 0) -> Figure:
    """A figure from the centre x, y and the radii x, y; `turned` in degrees, clockwise, about its centre."""
    try:
        x, y, rx, ry = (float(number) for number in numbers)
        angles = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)
        corners = np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)
        return _turned(name, kind, corners, float(turned))
    except (TypeError, ValueError):
        return Figure(name, kind, undrawn="has a centre or radii that are no numbers")


def _turned(name: str, kind: str, corners: Polygon, degrees: float) -> Figure:
    if not np.isfinite(corners).all() or not np.isfinite(degrees):
        return Figure(name, kind, undrawn="has corners that are no finite numbers")
    if not np.ptp(corners, axis=0).all():
        return Figure(name, kind, undrawn=NO_AREA)
    if degrees:
        centre, angle = (corners.min(axis=0) + corners.max(axis=0)) / 2, np.deg2rad(degrees)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners = (corners - centre) @ turn + centre
    return Figure(name, kind, (corners,))


def _empty(name: str, kind: str) -> Figure:
    return Figure(name, kind, undrawn="has no corners")


def report_undrawn(path: Path, figures: Iterable[Figure], listing: Listing) -> None:
    """Warn of figures that are not drawn: their kind, class, reason and number."""
    counts = Counter((f.kind, f.name, f.undrawn) for f in figures if f.undrawn)
    for (kind, name, why), count in counts.items():
        which = f"1 {kind}" if count == 1 else f"{count:,} of kind {kind}"
        message = f"{which} of class {shown(name)} {'is not drawn: it' if count == 1 else 'are not drawn: each'} {why}."
        listing.warn("not-drawn", path, message, "Draw it as a polygon or a mask if its pixels matter.")


def report_missing(path: Path, name: str, files: ImageFiles, listing: Listing) -> None:
    """An error that names the image that is not there, and the file whose name is nearest."""
    short = PurePosixPath(name.replace("\\", "/")).name
    near = difflib.get_close_matches(short, list(files.by_name)[:2000], 1, 0.6)
    message = f"names {shown(name)!r}, which is not there" + (f"; the nearest is {shown(near[0])!r}." if near else ".")
    listing.error("image-missing", path, message, "Add it, or correct the name.")


def _judge(path: Path, picture: Picture, image: Path, listing: Listing) -> None:
    """Warn of rings that cross themselves or leave the image, whose size the drawing or the image's header says."""
    size = picture.size or stated_size(image)
    if size is None:
        return  # the image is damaged, which is reported where it is read
    rings = [
        (f"{shown(picture.image)}: {figure.kind} {i} ({shown(figure.name)})", ring)
        for i, figure in enumerate(picture.figures)
        for ring in figure.rings
    ]
    judge_polygons(rings, size, lambda kind, where, what, remedy: listing.warn(kind, path, f"{where} {what}", remedy))


def stated_size(image: Path) -> Size | None:
    """(H, W) of an image after its EXIF orientation, as its header says; None where the header cannot be read."""
    try:
        with Image.open(image) as opened:
            width, height = opened.size
            turned = opened.format != "PNG" and stored_turn(opened) >= 5  # a PNG would be decoded to tell
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return (width, height) if turned else (height, width)


def _alike(one: Picture, other: Picture) -> bool:
    """Whether two files draw the same on an image, as projects and their exports do."""

    def seen(picture: Picture) -> list[tuple[str, str, list[list[list[float]]]]]:
        return [(f.name, f.kind, [ring.tolist() for ring in f.rings]) for f in picture.figures]

    return seen(one) == seen(other)


def _split_of(path: Path, image: Path, root: Path) -> str:
    """The split that the folders of the drawing or of the image name; a file of one drawing is named as its image."""
    for folder in (path.parent, image.parent):
        split = split_of(folder, root)
        if split != "all":
            return split
    return "all" if image.stem in path.name else split_of(Path(root, path.stem), root)
