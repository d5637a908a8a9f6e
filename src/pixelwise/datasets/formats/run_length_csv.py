"""Run lengths in a table: `ImageId,EncodedPixels`, one row per object, as in Kaggle competitions.

A cell holds pairs of start and length, "3 5 17 5", from 1. An empty cell (or −1) means no object. Classes are a column
(`ClassId`, `class`, `cell_type` …) or the end of the name (`ImageId_ClassId`, `Image_Label`); without either, objects
are "foreground".

Pixels are numbered down the columns, as in most competitions; a few (Carvana, Sartorius) number along the rows. Tables
do not declare the order, but the wrong one tears objects apart, unless images are square: then columns are used, and a
note reports it. dataset.toml's `runs = "rows"` or "columns" overrides this. Images that the table does not name are
left out. Shapes: H, W of the mask.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pixelwise.datasets.dataset_toml import read_settings
from pixelwise.datasets.formats.annotated_shapes import AnnotatedImage, DrawnShape, MaskPatch, Place, Size
from pixelwise.datasets.formats.annotation_files import (
    Read,
    any_that,
    files_that,
    find_image,
    list_pictures,
    picture_mask,
    picture_objects,
    read_or_none,
    stated_size,
)
from pixelwise.datasets.formats.image_lookup import ImageFiles
from pixelwise.datasets.formats.run_lengths import numbers_in, start_length_mask
from pixelwise.datasets.listing import Listing
from pixelwise.images.decode import MaskIds
from pixelwise.images.decoder_reasons import text_reason
from pixelwise.images.files import Refusal, read_bytes

SURE = ("encodedpixels", "rle", "rlemask", "maskrle", "encoding", "encodedmask", "rleencoding")  # columns of runs
MAYBE = ("segmentation", "annotation", "mask", "pixels", "encoded")  # likewise, if they contain runs
IMAGES = ("imageid", "image", "img", "id", "imgid", "filename", "imagename", "imagefile", "file", "name")
BOTH = ("imageidclassid", "imagelabel", "imageclass", "imageclassid", "imagenamelabel", "idclass")  # image_class
CLASSES = ("classid", "class", "label", "category", "categoryid", "celltype", "classname", "labelname", "type")
NOTHING = ("", "-1", "nan", "none", "null", "[]", "0", "1 0")
RUNS = re.compile(r"\d+ \d+(?: \d+ \d+)*")
FOREGROUND = "foreground"
LONGEST_RUN = 22  # characters
MAX_CELL = 2**27  # characters
TRIED = 24  # images tested to choose between columns and rows
TORN = 0.85  # an order is right if its outline is at most this fraction of the other's


class _Columns(NamedTuple):
    """The position of each column in a table."""

    runs: int
    image: int
    kind: int | None  # the class; None: absent, or the end of the image's name
    both: bool  # whether the image's name ends with the class
    height: int | None
    width: int | None


def recognises(root: Path) -> bool:
    return any_that(root, (".csv",), _is_ours)


def list_pairs(root: Path) -> Listing:
    """Every existing image that a table names; submission tables are left out."""
    found = files_that(root, (".csv",), _is_ours)
    paths = [path for path in found if "submission" not in path.name.lower()]
    order, why = _order(root, paths)
    source = "the classes of the run lengths"
    listing = list_pictures("run-length-csv", root, paths, _reader(order), source, _declared(paths))
    listing.notes.append(f"Run lengths are numbered {_words(order)}: {why}.")
    for path in sorted(set(found) - set(paths)):
        listing.notes.append(f"Left out, as predictions to hand in: {listing.where(path)}.")
    named = {sample.image for samples in listing.splits.values() for sample in samples}
    others = {path for paths in ImageFiles(root).by_name.values() for path in paths} - named
    beside = sum(path.parent in {image.parent for image in named} for path in others)
    if beside:
        listing.notes.append(f"Left out: {beside:,} images without a row; if they hold no objects, add a row for each.")
    return listing


def mask_ids(path: Path, entry: str, size: Size) -> MaskIds:
    """The mask of one image. `entry`: from `add_drawn`."""
    order, _ = json.loads(json.loads(entry)[0])
    return picture_mask(_reader(order), path, entry, size)


def object_ids(path: Path, entry: str, size: Size) -> MaskIds:
    """As `mask_ids`, with a number for each row."""
    order, _ = json.loads(json.loads(entry)[0])
    return picture_objects(_reader(order), path, entry, size)


def _is_ours(text: str) -> bool:
    lines = text.splitlines()
    columns = _columns(lines[0]) if lines else None
    if columns is None:
        return False
    if _plain(next(csv.reader([lines[0]]))[columns.runs]) in SURE:
        return True
    cells = (row[columns.runs] for row in csv.reader(lines[1:9]) if len(row) > columns.runs)
    return any(RUNS.match(cell.strip()) for cell in cells)


def _columns(head: str) -> _Columns | None:
    """The columns of a table from its first line; None if it is not a table of run lengths."""
    try:
        names = [_plain(cell) for cell in next(csv.reader([head.lstrip("\ufeff")]))]
    except (csv.Error, StopIteration):
        return None

    def first(words: tuple[str, ...]) -> int | None:
        return next((names.index(word) for word in words if word in names), None)

    runs, both = first((*SURE, *MAYBE)), first(BOTH)
    image = both if both is not None else first(IMAGES)
    if runs is None or image is None or runs == image:
        return None
    kind = first(CLASSES) if both is None else None
    return _Columns(runs, image, kind, both is not None, first(("height",)), first(("width",)))


def _plain(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())


class _Row(NamedTuple):
    """One object, or a marker that there is none."""

    image: str
    kind: str
    runs: str  # "" for no object
    size: Size | None


def _rows(path: Path) -> Iterator[_Row]:
    """A table's rows. Raises Refusal."""
    csv.field_size_limit(MAX_CELL)
    lines = io.StringIO(read_bytes(path).decode("utf-8-sig", "replace"))
    columns = _columns(lines.readline())
    if columns is None:
        raise Refusal("annotations", "is no longer a table of images and run lengths.", "Export it again.")
    try:
        for number, row in enumerate(csv.reader(lines), start=2):
            if not row:
                continue
            if len(row) <= max(columns.runs, columns.image):
                raise Refusal("annotations", f"is cut short in line {number}.", "Copy the table again.")
            yield _row(row, columns)
    except csv.Error as error:
        raise Refusal("annotations", f"is not a table ({text_reason(error)}).", "Copy the table again.") from error


def _row(row: list[str], columns: _Columns) -> _Row:
    image, kind, runs = row[columns.image].strip(), FOREGROUND, row[columns.runs].strip()
    if columns.both:
        stem, _, kind = image.rpartition("_")
        image, kind = (stem, kind) if stem else (image, FOREGROUND)
    elif columns.kind is not None and columns.kind < len(row):
        kind = row[columns.kind].strip() or FOREGROUND
    kind = re.sub(r"\.0$", "", kind)  # pandas writes integers this way if some are missing
    sides = [row[at].strip() for at in (columns.height, columns.width) if at is not None and at < len(row)]
    whole = [int(side) for side in sides if side.isascii() and side.isdigit() and len(side) < 8]
    size = (whole[0], whole[1]) if len(whole) == 2 else None
    name = f"class {kind}" if kind.isdigit() else kind
    return _Row(image, name, "" if runs.lower() in NOTHING else runs, size)


@lru_cache(maxsize=4)
def _reader(order: str) -> Read:
    """The reader of tables in this order. Always the same function, because it is the cache key."""

    def read(path: Path) -> dict[Place, AnnotatedImage]:
        rows: defaultdict[str, list[_Row]] = defaultdict(list)
        for row in _rows(path):
            rows[row.image].append(row)
        return {json.dumps([order, image]): _picture(image, own, order) for image, own in rows.items()}

    return read


def _picture(image: str, rows: list[_Row], order: str) -> AnnotatedImage:
    sizes = {row.size for row in rows if row.size}
    figures = tuple(
        DrawnShape(row.kind, "run lengths", patch=partial(_patch, row.runs, order)) for row in rows if row.runs
    )
    return AnnotatedImage(image, figures, sizes.pop() if len(sizes) == 1 else None)


def _patch(runs: str, order: str, size: Size) -> MaskPatch:
    """The pixels of a cell on an image of this size. Raises Refusal."""
    if len(runs) > LONGEST_RUN * (size[0] * size[1] + 1):
        raise Refusal("run-lengths", "has more run lengths than its image has pixels.", "Export it again.")
    numbers = numbers_in(runs)
    starts, lengths = numbers[::2], numbers[1::2]
    sequence = sorted(zip(starts, lengths, strict=False))
    if any(start + length > after for (start, length), (after, _) in pairwise(sequence)):
        what = (
            "has run lengths that overlap: its starts are counted from the run before (as SIIM-ACR's are), or damaged."
        )
        raise Refusal("run-lengths", what, "Add them up, so that each start is counted from the first pixel, 1.")
    if starts and min(starts) == 0:
        raise Refusal("run-lengths", "has a run that starts at 0; the first pixel is 1.", "Add 1 to every start.")
    return MaskPatch(0, 0, start_length_mask(numbers, *size, down_columns=order == "columns"))


def _order(root: Path, paths: list[Path]) -> tuple[str, str]:
    """The pixel order, "columns" or "rows", and the reason."""
    said = read_settings(root).runs
    if said:
        return said, "dataset.toml states it"
    outlines = Counter[str]()
    files = ImageFiles(root)
    tried = 0
    for picture, size in islice(_oblong(paths, files), TRIED):
        masks = [_flat(picture, order, size) for order in ("columns", "rows")]
        if all(mask is not None for mask in masks):
            tried += 1
            for order, mask in zip(("columns", "rows"), masks, strict=True):
                outlines[order] += _outline(mask)
    if not tried:
        return "columns", 'as in most competitions; square images do not tell (dataset.toml: runs = "rows")'
    best, other = sorted(("columns", "rows"), key=lambda order: outlines[order])
    if outlines[best] <= TORN * outlines[other]:
        return best, f'{_words(other)} objects would be torn apart (dataset.toml: runs = "{other}")'
    return "columns", 'as in most competitions; the objects do not tell (dataset.toml: runs = "rows")'


def _oblong(paths: list[Path], files: ImageFiles) -> Iterator[tuple[AnnotatedImage, Size]]:
    """Pictures with objects whose image, or table, is not square."""
    for path in paths:
        pictures = read_or_none(_reader("columns"), path) or {}
        for picture in islice((p for p in pictures.values() if p.shapes), 10 * TRIED):
            image = find_image(files, picture, path)
            size = picture.size or (stated_size(image) if image else None)
            if size and size[0] != size[1]:
                yield picture, size


def _flat(picture: AnnotatedImage, order: str, size: Size) -> MaskIds | None:
    """All objects of a picture as one mask [H, W] of 0 and 1; None if one is damaged, reported when drawn."""
    mask = np.zeros(size, np.uint8)
    for figure in picture.shapes:
        if isinstance(figure.patch, partial):
            try:
                mask[_patch(figure.patch.args[0], order, size).mask] = 1
            except Refusal:
                return None
    return mask


def _outline(mask: MaskIds | None) -> int:
    """The number of pixel edges between 0 and 1."""
    if mask is None:
        return 0
    return int((mask[1:] != mask[:-1]).sum()) + int((mask[:, 1:] != mask[:, :-1]).sum())


def _words(order: str) -> str:
    return {"columns": "down the columns", "rows": "along the rows"}[order]


def _declared(paths: list[Path]) -> list[str]:
    """Numbered classes in numerical order."""
    kinds = {row.kind for path in paths for row in read_or_none(lambda path: list(_rows(path)), path) or []}
    numbers = {int(kind[6:]) for kind in kinds if re.fullmatch(r"class \d{1,6}", kind)}
    return [f"class {number}" for number in sorted(numbers)]
