"""YOLO polygons: one text file per image, one line per object: class x y x y …, as fractions of width and height.

Oriented boxes (four corners) are read as polygons. Reported as not drawn: boxes (five numbers), poses. Class names come
from data.yaml's `names`. A mask value is the class number plus one, and 0 where nothing is drawn. Later lines are drawn
over earlier ones.

Format: docs.ultralytics.com/datasets/segment.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES, split_of
from pixelwise.datasets.formats.annotated_shapes import blank_mask, shape_named
from pixelwise.datasets.formats.annotation_files import BACKGROUND, SkippedShapes, peek, read_all
from pixelwise.datasets.formats.field_checks import whole_text
from pixelwise.datasets.formats.image_lookup import files_below
from pixelwise.datasets.formats.polygons import Polygon, fill, outlines, polygon_of
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.listing import DeclaredClasses, Listing
from pixelwise.datasets.name_tables import yaml_rows
from pixelwise.datasets.palettes import VOID_NAMES
from pixelwise.images.decode import MaskIds
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import Sample

OBJECT = re.compile(r"[ \t]*\d{1,7}[ \t]+[-+.\deE \t]+")
NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
BOX_NUMBERS = 5  # in a line: class, centre x and y, width, height
TOP_CLASS = 2**16


def label_files(root: Path) -> list[Path]:
    """Text files below a folder "labels" whose first line is an object, and empty ones."""
    return [path for path in files_below(root, (".txt",)) if "labels" in path.relative_to(root).parts]


def recognises(root: Path) -> bool:
    return any(_is_object((peek(path).splitlines() or [""])[0]) for path in label_files(root)[:50])


def list_pairs(root: Path) -> Listing:
    """Every image under "images" with the text file of the same name under "labels"."""
    listing = Listing(root)
    undrawn = SkippedShapes(listing)
    images: dict[Path, list[Path]] = {}
    for image in files_below(root, IMAGE_SUFFIXES):
        images.setdefault(image.with_suffix(""), []).append(image)
    names, top = names_of(root, listing), 0
    used: set[Path] = set()
    for path, lines in read_all(label_files(root), _lines, listing):
        parts = list(path.relative_to(root).parts)
        parts[parts.index("labels")] = "images"
        stem = root.joinpath(*parts).with_suffix("")
        found = images.get(stem, [])
        used.add(stem)
        if len(found) != 1:
            what = f"is for {len(found)} images of one name" if found else "has no image of the same name"
            kind = "duplicate-stem" if found else "image-missing"
            listing.error(kind, path, f"{what}, {listing.where(stem)}.", "Add it, or remove the labels.")
            continue
        with problems_of(listing, path):
            top = max([top, *_judge(path, lines, names, listing, undrawn)])
            sample = Sample(listing.where(stem), found[0], path, mask_part="yolo:")
            listing.splits.setdefault(split_of(path, root), []).append(sample)
    undrawn.report()
    alone = [stem for stem in images if stem not in used and "images" in stem.relative_to(root).parts]
    if alone:
        what = f"{len(alone):,} images without a text file, such as {listing.where(alone[0])}"
        listing.notes.append(f"Left out: {what}; an empty file means that the image holds no objects.")
    listing.declared = _declared(names or tuple(f"class {i}" for i in range(top + 1)))
    return listing


def _declared(names: tuple[str, ...]) -> DeclaredClasses:
    void = frozenset(i + 1 for i, name in enumerate(names) if name.lower() in VOID_NAMES)
    chosen = [(name, i + 1) for i, name in enumerate(names) if i + 1 not in void]
    if BACKGROUND in names:
        void |= {0}
    else:
        chosen = [(BACKGROUND, 0), *chosen]
    return DeclaredClasses(
        tuple(name for name, _ in chosen), tuple(i for _, i in chosen), (None,) * len(chosen), void, "data.yaml's names"
    )


def mask_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask that a text file draws on an image of this size (H, W). Raises Refusal."""
    del entry
    drawn = []
    for number, line in _objects(_lines(path)):
        with shape_named(f"line {number}"):
            drawn.append((number, _class(line), line))
    return _drawn(drawn, size)


def object_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """As `mask_ids`, with a number for each line instead of its class."""
    del entry
    return _drawn([(number, number, line) for number, line in _objects(_lines(path))], size)


def _drawn(drawn: list[tuple[int, int, str]], size: tuple[int, int]) -> MaskIds:
    """The polygons of lines, each (line number, value, line). Raises Refusal."""
    ids = blank_mask(*size, max((value for _, value, _ in drawn), default=0))
    for number, value, line in drawn:
        with shape_named(f"line {number}"):
            fill(ids, _corners(line) * [size[1], size[0]], value)
    return ids


def _lines(path: Path) -> list[str]:
    """Raises Refusal."""
    return read_bytes_or_empty(path).decode("utf-8-sig", "replace").splitlines()


def _objects(lines: list[str]) -> Iterator[tuple[int, str]]:
    """(number, line) of each line with a polygon."""
    for number, line in enumerate(lines, start=1):
        if _is_object(line) and len(line.split(maxsplit=BOX_NUMBERS + 1)) > BOX_NUMBERS + 1:
            yield number, line


def _is_object(line: str) -> bool:
    """Whether a line is a class followed by at least four numbers."""
    head = line[:200].split()[:BOX_NUMBERS]
    whole = OBJECT.fullmatch(line) is not None and len(head) == BOX_NUMBERS
    return whole and head[0].isdigit() and all(NUMBER.fullmatch(word) for word in head[1:-1])


def _class(line: str) -> int:
    """The mask value of a line's class. Raises Refusal."""
    return whole_text(line.split(maxsplit=1)[0], "class", 0, TOP_CLASS) + 1


def _corners(line: str) -> Polygon:
    """A line's corners [N, 2], as fractions of width and height. Raises Refusal: an odd count, no numbers."""
    numbers = np.array([], np.float64)
    text = line.split(maxsplit=1)[1].rstrip()
    words = text.count(" ") + text.count("\t") + 1  # upper bound
    if words <= 4096:
        numbers = np.array([float(word) if NUMBER.fullmatch(word) else np.nan for word in text.split()])
    else:  # no string per number: a line may have millions
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # for text after the numbers, caught below
            numbers = np.fromstring(text, np.float64, sep=" ")
        if len(numbers) != sum(1 for _ in re.finditer(r"\S+", text)):
            raise Refusal("polygon", "has coordinates that are not numbers.", "Export it again.")
    if len(numbers) % 2:
        raise Refusal("polygon", f"has {len(numbers)} coordinates, an odd number.", "Export it again.")
    return polygon_of(numbers)


def read_bytes_or_empty(path: Path) -> bytes:
    """The bytes of a file, which may be empty: an empty text file is an image without objects, not an error."""
    return b"" if path.is_file() and path.stat().st_size == 0 else read_bytes(path)


def yolo_lines(labels: NDArray[np.uint8], void: int) -> str:
    """The text file of a mask [H, W]: every piece of every class; void is not drawn."""
    height, width = labels.shape
    lines = []
    for c in np.unique(labels):
        if c != void:
            for polygon in outlines(labels == c):
                numbers = " ".join(f"{x:.17g} {y:.17g}" for x, y in polygon / [width, height])
                lines.append(f"{int(c)} {numbers}\n")
    return "".join(lines)


def names_of(root: Path, listing: Listing) -> tuple[str, ...]:
    """`names` of data.yaml; () if it has none. An unreadable file is reported."""
    for path in files_below(root, (".yaml", ".yml"), depth=1):
        try:
            names = tuple(row.name for row in yaml_rows(read_bytes(path).decode("utf-8-sig", "replace")))
        except Refusal as refusal:
            report = listing.warn if refusal.kind == "names" else listing.error
            report(refusal.kind, path, refusal.what, refusal.remedy)
            continue
        if names:
            return names
    return ()


def _judge(path: Path, lines: list[str], names: tuple[str, ...], listing: Listing, undrawn: SkippedShapes) -> list[int]:
    """The classes of the drawn objects; all other objects are reported. Raises Refusal: a line is damaged."""
    classes = []
    polygons = dict(_objects(lines))
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if number not in polygons:
            if _is_object(line) and len(line.split()) == BOX_NUMBERS:
                label = _class(line) - 1
                name = names[label] if label < len(names) else f"class {label}"
                undrawn.add(path, "box", name, f"{path.name}, line {number}")
            else:
                what = f"line {number} is not a class with a polygon: {shown(line[:40])}."
                listing.warn("polygon-empty", path, what, "It is skipped; draw it, or remove it.")
            continue
        with shape_named(f"line {number}"):
            label = _class(line) - 1
            classes.append(label)
            try:
                corners = _corners(line)
            except Refusal as refusal:
                if refusal.kind != "polygon-empty":
                    raise
                listing.warn(refusal.kind, path, f"line {number} {refusal.what}", "It is skipped; draw it again.")
                continue
            if corners.min() < -0.01 or corners.max() > 1.01:
                listing.warn("polygon-outside", path, f"line {number} leaves 0 to 1.", "What is outside is cut off.")
    return classes
