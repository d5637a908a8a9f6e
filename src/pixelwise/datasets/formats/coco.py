"""COCO: one JSON file for many images, with polygons, run lengths, or (panoptic) PNGs of segment numbers.

Reads instances and stuff (`segmentation` as polygons, compressed or plain run lengths) and panoptic files, wherever the
JSON lies below the root. COCO defines no drawing order, so objects are drawn from large to small. Mask values are COCO
category ids, all shifted up by one if a category has id 0. Pixels under no object are 0: background, unless
dataset.toml declares 0 void. Objects with only a box are reported as not drawn.

Format: cocodataset.org/#format-data. Run lengths are decoded here, not by pycocotools, whose C code trusts its input;
tests compare the two.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.file_kinds import split_of
from pixelwise.datasets.formats.annotated_shapes import blank_mask, shape_named
from pixelwise.datasets.formats.annotation_files import BACKGROUND, SkippedShapes, peek, read_all, read_json
from pixelwise.datasets.formats.field_checks import colour_of, rows_of, same_size, size_of, table_of, text_of, whole
from pixelwise.datasets.formats.image_lookup import ImageFiles, below, files_below
from pixelwise.datasets.formats.polygons import inside_rings, judge_polygons, polygon_of
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.formats.run_lengths import coco_mask
from pixelwise.datasets.listing import DeclaredClasses, Listing
from pixelwise.datasets.overlaps import paint, stay_below
from pixelwise.datasets.palettes import VOID_NAMES
from pixelwise.images.decode import MaskIds, image_pixels
from pixelwise.images.files import Refusal, is_file, read_bytes, shown
from pixelwise.records import Sample

KEYS = ("images", "annotations", "categories")
TOP_CATEGORY = 2**20
Row = dict[str, Any]
Part = tuple[slice, slice, NDArray[np.bool_]]  # rows and columns of the image, and the object's pixels within them


def annotation_files(root: Path) -> list[Path]:
    """The COCO files below a root: JSON files with COCO's keys."""
    found = []
    for path in files_below(root, (".json",), depth=3):
        text = peek(path)
        if not text.lstrip().startswith("{") or not any(f'"{key}"' in text for key in (*KEYS, "info", "licenses")):
            continue
        try:
            table = read_json(path)
        except Refusal:
            if "annotations" in path.name or "coco" in path.name or "instances" in path.name:
                found.append(path)  # truncated: listed so that it is reported
            continue
        if isinstance(table, dict) and all(key in table for key in KEYS):
            found.append(path)
    return found


def recognises(root: Path) -> bool:
    return bool(annotation_files(root))


def list_pairs(root: Path) -> Listing:
    """Every image that a JSON file names; the file's name or folder gives the split."""
    listing, files = Listing(root), ImageFiles(root)
    categories: dict[int, Row] = {}
    undrawn = SkippedShapes(listing)
    panoptic = []
    for path, table in read_all(annotation_files(root), _table, listing):
        with problems_of(listing, path):
            shift = _shift(table)
            for row in table["categories"]:
                _declare(row, shift, categories)
            panoptic.append(_is_panoptic(table))
            _list_file(path, table, listing, files, undrawn)
    undrawn.report()
    listing.declared = _declared(categories, void_is_0=bool(panoptic) and all(panoptic))
    return listing


def mask_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask of the image with this id.

    Raises:
        Refusal: the file declares another size; an object's run lengths or category are damaged.
    """
    shift = _shift(_table(path))
    return _drawn(path, entry, size, lambda i, thing: _category(thing) + shift)


def object_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """As `mask_ids`, with a number from 1 for each object; 0 for a crowd, whose objects nobody told apart."""
    return _drawn(path, entry, size, lambda i, thing: 0 if thing.get("iscrowd") else i + 1)


def _drawn(path: Path, entry: str, size: tuple[int, int], value_of: Callable[[int, Row], int]) -> MaskIds:
    """The objects of an image, each drawn with the value of its place in the file and its row."""
    row = _image_rows(path, path.stat().st_mtime_ns).get(entry, {})
    name = f"image {shown(str(row.get('file_name')))},"
    same_size(_declared_size(row), size, name)
    objects = _by_image(path, path.stat().st_mtime_ns).get(entry, [])
    values = []
    for i, thing in enumerate(objects):
        with shape_named(f"{name} {_named(thing)}"):
            values.append(value_of(i, thing))
    ids = blank_mask(*size, max(values, default=0))
    areas = np.full(size, size[0] * size[1] + 1, np.int64)  # area of the topmost object at each pixel
    for thing, value in zip(objects, values, strict=True):
        with shape_named(f"{name} {_named(thing)}"):
            part = _part(thing.get("segmentation"), size)
            if part is not None:
                rows, columns, own = part
                area = int(own.sum())
                on_top = own & (areas[rows, columns] >= area)  # the smaller object is on top; on a tie, the later
                stay_below(ids[rows, columns], own & ~on_top, value)
                paint(ids[rows, columns], on_top, value)
                areas[rows, columns][on_top] = area
    return ids


def panoptic_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask of a panoptic image: the PNG's colour encodes the segment id, the JSON gives its category."""
    shift = _shift(_table(path))
    return _segments(path, entry, size, lambda i, segment: _category(segment) + shift)


def panoptic_objects(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """As `panoptic_ids`, with a number from 1 for each segment; 0 for a crowd."""
    return _segments(path, entry, size, lambda i, segment: 0 if segment.get("iscrowd") else i + 1)


def _segments(path: Path, entry: str, size: tuple[int, int], value_of: Callable[[int, Row], int]) -> MaskIds:
    """The segments of an image, each with the value of its place in the file and its row."""
    same_size(_declared_size(_image_rows(path, path.stat().st_mtime_ns).get(entry, {})), size)
    row = _panoptic_rows(path, path.stat().st_mtime_ns).get(entry)
    if row is None:
        raise Refusal("annotations", f"has no annotation of image {entry}.", "Correct the file.")
    png = _panoptic_png(path, row)
    if not png.is_file():
        what = f"numbers its segments in {shown(png.name)}, which is not in {shown(png.parent.name)}/."
        raise Refusal("mask-missing", what, "Add the panoptic PNGs, which COCO packs apart from the JSON.")
    colours = image_pixels(read_bytes(png)).astype(np.int32)
    segments = colours @ np.array([1, 256, 65536], np.int32)
    categories = {0: 0}
    for i, segment in enumerate(rows_of(row.get("segments_info"), "segments_info")):
        categories[whole(segment.get("id"), "segment's id", 0, 2**24 - 1)] = value_of(i, segment)
    known = np.array(sorted(categories), np.int32)
    place = np.clip(np.searchsorted(known, segments), 0, len(known) - 1)
    strangers = known[place] != segments
    if strangers.any():
        first = int(segments[strangers][0])
        what = f"{shown(png.name)} has the segment {first}, which segments_info does not list."
        raise Refusal("annotations", what, "Export the PNG and the JSON together again.")
    return np.array([categories[int(number)] for number in known], np.int32)[place]


def _list_file(path: Path, table: Row, listing: Listing, files: ImageFiles, undrawn: SkippedShapes) -> None:
    """List the images of one file. An error in one image does not stop the others."""
    split = split_of(path, listing.root)
    panoptic = _is_panoptic(table)
    first: Row = next(iter(table["annotations"]), {})
    masks = _panoptic_png(path, first).parent if panoptic else None  # PNGs are named after the images
    by_image = _by_image(path, path.stat().st_mtime_ns)
    near = ([split] if split in SPLITS else []) + list(path.parent.relative_to(listing.root).parts) + [path.stem]
    seen: set[str] = set()
    for row in table["images"]:
        with problems_of(listing, path, f"image {shown(str(row.get('file_name'))[:200])}:"):
            name, entry = text_of(row.get("file_name"), "file_name", "surrogateescape"), _entry(row.get("id"), "id")
            if entry in seen:
                raise Refusal("annotations", f"its id {entry} is another image's too.", "Give each image its own id.")
            seen.add(entry)
            image = files.find(name, near, outside=masks, base=path.parent)
            if image is None:
                remedy = "Add it, or leave the image out with `train --skip-bad`."
                listing.error("image-missing", path, files.missing(name, outside=masks), remedy)
                continue
            size = _declared_size(row)
            reader = "coco-panoptic" if panoptic else "coco"
            sample = Sample(listing.where(image.with_suffix("")), image, path, mask_part=f"{reader}:{entry}")
            listing.splits.setdefault(split, []).append(sample)
            if not panoptic:
                _judge(path, name, by_image.get(entry, []), size, listing, undrawn)
    _tell_of_strays(path, table, seen, listing)


def _tell_of_strays(path: Path, table: Row, seen: set[str], listing: Listing) -> None:
    strays = [row for row in table["annotations"] if str(row.get("image_id")) not in seen]
    if strays:
        what = f"{len(strays):,} annotations are of images that it does not list, such as {_named(strays[0])}."
        listing.warn("not-drawn", path, what, "Correct their image_id, or add the images.")


def _judge(
    path: Path, name: str, rows: list[Row], size: tuple[int, int] | None, listing: Listing, undrawn: SkippedShapes
) -> None:
    """Warn of objects that cannot be drawn as intended."""

    def warn(kind: str, where: str, message: str, remedy: str) -> None:
        listing.warn(kind, path, f"{shown(name)}: {where} {message}", remedy)

    for row in rows:
        shape, where = row.get("segmentation"), _named(row)
        if isinstance(shape, list) and shape:
            judge_polygons([(where, numbers) for numbers in _polygons(shape)], size, warn)
        elif shape:
            continue  # run lengths, or damaged: reported when the mask is read
        elif row.get("keypoints"):
            undrawn.add(path, "keypoints", f"category {row.get('category_id')}", f"{shown(name)}, {where}")
        elif row.get("bbox"):
            undrawn.add(path, "bbox", f"category {row.get('category_id')}", f"{shown(name)}, {where}")
        else:
            warn("polygon-empty", where, "has no outline.", "It is skipped; draw it, or remove it.")


def _polygons(shape: list[Any]) -> list[Any]:
    """The polygons of a segmentation; some tools write a single polygon without the enclosing list."""
    return [shape] if all(type(n) in (int, float) for n in shape) else shape


def _part(shape: Any, size: tuple[int, int]) -> Part | None:
    """The pixels one object covers; None if it covers none. Raises Refusal: damaged."""
    if isinstance(shape, dict):
        declared = shape.get("size")
        if declared is not None:
            if not isinstance(declared, list) or len(declared) != 2:
                raise Refusal("run-lengths", "has run lengths without a size of two numbers.", "Export it again.")
            same_size(size_of(*declared), size)
        return slice(None), slice(None), coco_mask(shape.get("counts"), *size)
    if not shape:
        return None
    if not isinstance(shape, list):
        raise Refusal("annotations", "has a segmentation that is neither polygons nor run lengths.", "Export it again.")
    rings = []
    for numbers in _polygons(shape):
        with shape_named("has a polygon that"):
            rings.append(polygon_of(numbers))
    return inside_rings(rings, size, even_odd=False)


def _declare(row: Row, shift: int, categories: dict[int, Row]) -> None:
    """Add a category. Raises Refusal: no id or name, or another file gives the id another name."""
    number = whole(row.get("id"), "category's id", 0, TOP_CATEGORY) + shift
    name = text_of(row.get("name"), f"name of category {row['id']}")
    other = categories.setdefault(number, row)
    if other["name"] != name:
        what = f"has {shown(name)!r} as category {row['id']}, which is {shown(other['name'])!r} elsewhere."
        raise Refusal("annotations", what, "Give each category one id in all files.")


def _declared(categories: dict[int, Row], *, void_is_0: bool) -> DeclaredClasses | None:
    """`void_is_0`: pixels under no segment are void, as in panoptic files; otherwise they are background."""
    if not categories:
        return None
    repeated = Counter(row["name"] for row in categories.values())
    names, ids, colours, void = [], [], [], set()
    for category_id, row in sorted(categories.items()):
        name = row["name"]
        if name.lower() in VOID_NAMES:
            void.add(category_id)
            continue
        names.append(name if repeated[name] == 1 else f"{name} ({category_id})")
        ids.append(category_id)
        colours.append(colour_of(row.get("color")))
    if BACKGROUND not in names and not void_is_0:
        names, ids, colours = [BACKGROUND, *names], [0, *ids], [None, *colours]
    else:
        void.add(0)
    return DeclaredClasses(tuple(names), tuple(ids), tuple(colours), frozenset(void), "COCO's categories")


def _table(path: Path) -> Row:
    """The file's top-level object with its three lists. Raises Refusal."""
    table = table_of(read_json(path), "content")
    for key in KEYS:
        rows_of(table.get(key), key)
    return table


def _is_panoptic(table: Row) -> bool:
    return any("segments_info" in row for row in table["annotations"][:5])


def _shift(table: Row) -> int:
    return int(any(type(row.get("id")) is int and row["id"] == 0 for row in table["categories"]))


def _category(row: Row) -> int:
    return whole(row.get("category_id"), "category_id", 0, TOP_CATEGORY)


def _entry(value: Any, what: str) -> str:
    """An image's id as text. Raises Refusal."""
    if type(value) is int and abs(value) < 10**18:
        return str(value)
    return text_of(value, what)


def _declared_size(row: Row) -> tuple[int, int] | None:
    return size_of(row.get("height"), row.get("width"))


def _named(row: Row) -> str:
    return f"annotation {shown(str(row.get('id'))[:40])}"


@lru_cache(maxsize=4)
def _by_image(path: Path, _changed_ns: int) -> dict[str, list[Row]]:
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    for row in _table(path)["annotations"]:
        rows[str(row.get("image_id"))].append(row)
    return dict(rows)


@lru_cache(maxsize=4)
def _image_rows(path: Path, _changed_ns: int) -> dict[str, Row]:
    return {str(row.get("id")): row for row in _table(path)["images"]}


@lru_cache(maxsize=4)
def _panoptic_rows(path: Path, _changed_ns: int) -> dict[str, Row]:
    return {str(row.get("image_id")): row for row in _table(path)["annotations"]}


def _panoptic_png(path: Path, row: Row) -> Path:
    """The PNG of a panoptic annotation. Raises Refusal: its name points outside the folder."""
    name = text_of(row.get("file_name"), "file_name", "surrogateescape")
    folders = (path.with_suffix(""), path.parent, path.parent.parent / path.stem)
    places = [below(folder, name) for folder in folders]
    return next((place for place in places if is_file(place)), places[0])
