"""COCO: one JSON file for many images, with polygons, run lengths, or (panoptic) PNGs of segment numbers.

Reads instances and stuff (`segmentation` as polygons, compressed or plain run lengths) and panoptic files, wherever the
JSON lies below the root. Objects are drawn from large to small, because COCO has no order of drawing. A category's id
in the masks is COCO's own; where 0 is used as one, all are one higher. Pixels under no object are 0: background, unless
dataset.toml says void.

Format: cocodataset.org/#format-data. Run lengths are decoded here and not by pycocotools, whose C code trusts its
input; tests compare the two.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.decode import MaskIds, image_pixels
from pixelwise.data.files import Refusal, read_bytes, shown
from pixelwise.data.formats.drawing import (
    BACKGROUND,
    ImageFiles,
    blank_mask,
    files_below,
    peek,
    read_all,
    read_json,
    split_of,
)
from pixelwise.data.formats.polygons import fill, judge_polygons, polygon_of
from pixelwise.data.formats.run_lengths import coco_mask
from pixelwise.data.images import encode_png
from pixelwise.data.layouts import Declared, Listing
from pixelwise.data.palettes import VOID_NAMES
from pixelwise.records import VOID, ClassList, Labels, Sample

KEYS = ("images", "annotations", "categories")


def annotation_files(root: Path) -> list[Path]:
    """JSON files below a root that are COCO's, by their keys."""
    found = []
    for path in files_below(root, (".json",), depth=3):
        if "{" not in peek(path)[:64] or not any(f'"{key}"' in peek(path) for key in (*KEYS, "info", "licenses")):
            continue
        try:
            table = read_json(path)
        except Refusal:
            if "annotations" in path.name or "coco" in path.name or "instances" in path.name:
                found.append(path)  # cut short: listed, so that it is told
            continue
        if isinstance(table, dict) and all(isinstance(table.get(key), list) for key in KEYS):
            found.append(path)
    return found


def is_coco(root: Path) -> bool:
    return bool(annotation_files(root))


def list_coco(root: Path) -> Listing:
    """Every image that a JSON file names, in the split that the file's name or folder says."""
    listing, files = Listing(root), ImageFiles(root)
    categories: dict[int, dict[str, Any]] = {}
    panoptic = []
    for path, table in read_all(annotation_files(root), read_json, listing):
        shift = _shift(table)
        for row in table["categories"]:
            if isinstance(row, dict) and isinstance(row.get("id"), int):
                categories.setdefault(row["id"] + shift, row)
        panoptic.append(_is_panoptic(table))
        _list_file(path, table, split_of(path, root), listing, files)
    listing.declared = _declared(categories, void_is_0=all(panoptic))
    return listing


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask of the image with this id. Objects that cannot be drawn are passed over; listing has told them."""
    table, by_image = read_json(path), _by_image(path, path.stat().st_mtime_ns)
    shift = _shift(table)
    objects = by_image.get(entry, [])
    ids = blank_mask(*size, max((_category(row) + shift for row in objects), default=0))
    drawn: list[tuple[int, int, NDArray[np.bool_], int]] = []
    for row in objects:
        own = np.zeros(size, bool)
        try:
            _draw(own, row.get("segmentation"), size)
        except Refusal:
            continue
        drawn.append((-int(own.sum()), len(drawn), own, _category(row) + shift))
    for _, _, own, value in sorted(drawn, key=lambda item: item[:2]):
        ids[own] = value
    return ids


def panoptic_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask of an image of a panoptic file: its PNG's colour numbers a segment, the JSON gives the category."""
    del size  # the PNG has its own
    shift = _shift(read_json(path))
    row = _panoptic_rows(path, path.stat().st_mtime_ns).get(entry)
    if row is None:
        raise Refusal("annotations", f"has no annotation of image {entry}.", "Correct the file.")
    colours = image_pixels(read_bytes(_panoptic_png(path, row))).astype(np.int32)
    segments = colours @ np.array([1, 256, 65536], np.int32)
    categories = {}
    for segment in row.get("segments_info") or []:
        number = segment.get("id") if isinstance(segment, dict) else None
        if not isinstance(number, int) or not 0 <= number < 2**24:
            raise Refusal("annotations", f"has a segment with the id {number!r}.", "Correct the file.")
        categories[number] = _category(segment) + shift
    known = np.array(sorted({0, *categories}), np.int32)
    place = np.clip(np.searchsorted(known, segments), 0, len(known) - 1)
    ids = np.array([categories.get(int(number), 0) for number in known], np.int32)[place]
    return np.where(known[place] == segments, ids, 0).astype(np.int32)


def counted_runs(mask: NDArray[np.bool_]) -> list[int]:
    """A mask [H, W] as plain run lengths."""
    flat = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return [int(n) for n in np.diff(np.concatenate([[0], changes, [mask.size]]))]


class CocoTable:
    """The JSON of many images, image by image; ids of categories from 1. Void is not drawn."""

    def __init__(self, classes: ClassList) -> None:
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        rows = zip(classes.names, classes.colours, strict=True)
        self.categories = [
            {"id": i, "name": name, "color": list(colour), "isthing": 0}
            for i, (name, colour) in enumerate(rows, start=1)
        ]

    def add_runs(self, image_id: int, file_name: str, labels: Labels) -> None:
        """An image whose classes on `labels` [H, W] are run lengths."""
        self._add_image(image_id, file_name, labels)
        for category, own, box in _areas(labels):
            shape = {"size": list(labels.shape), "counts": counted_runs(own)}
            row = {"id": len(self.annotations) + 1, "image_id": image_id, "category_id": category, **box}
            self.annotations.append({**row, "segmentation": shape, "iscrowd": 1})

    def add_segments(self, image_id: int, file_name: str, png_name: str, labels: Labels) -> None:
        """An image whose classes on `labels` [H, W] are the segments of `panoptic_png`."""
        self._add_image(image_id, file_name, labels)
        segments = [
            {"id": category, "category_id": category, **box, "iscrowd": 0} for category, _, box in _areas(labels)
        ]
        self.annotations.append({"image_id": image_id, "file_name": png_name, "segments_info": segments})

    def _add_image(self, image_id: int, file_name: str, labels: Labels) -> None:
        height, width = labels.shape
        self.images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.images, "annotations": self.annotations, "categories": self.categories}


def panoptic_png(labels: Labels) -> bytes:
    """COCO's panoptic PNG of a mask [H, W]: red + 256 green + 65536 blue numbers the segment, here its category."""
    numbers = np.where(labels == VOID, 0, labels.astype(np.int32) + 1)
    return encode_png(np.stack([numbers & 255, numbers >> 8, np.zeros_like(numbers)], axis=-1).astype(np.uint8))


def _areas(labels: Labels) -> Iterator[tuple[int, NDArray[np.bool_], dict[str, Any]]]:
    """(category, where it is [H, W], its area and box) of every class on a mask but void."""
    for c in np.unique(labels).tolist():
        if c != VOID:
            own = labels == c
            ys, xs = np.nonzero(own)
            box = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]
            yield c + 1, own, {"area": int(own.sum()), "bbox": box}


def _list_file(path: Path, table: dict[str, Any], split: str, listing: Listing, files: ImageFiles) -> None:
    panoptic = _is_panoptic(table)
    first = next((row for row in table["annotations"] if isinstance(row, dict)), {})
    masks = _panoptic_png(path, first).parent if panoptic else None  # its PNGs have the images' names
    by_image = _by_image(path, path.stat().st_mtime_ns)
    for row in table["images"]:
        name = str(row.get("file_name", "")) if isinstance(row, dict) else ""
        near = (split, path.stem, path.parent.name)
        image = files.find(name, near, outside=masks) if name else None
        if image is None:
            message = f"names {name!r}, which is nowhere below the folder."
            listing.error("image-missing", path, message, "Add it, or drop the image with --skip-bad.")
            continue
        entry = str(row.get("id"))
        reader = "coco-panoptic" if panoptic else "coco"
        sample = Sample(listing.where(image.with_suffix("")), image, path, mask_part=f"{reader}:{entry}")
        listing.splits.setdefault(split, []).append(sample)
        if not panoptic and isinstance(row.get("height"), int) and isinstance(row.get("width"), int):
            _judge(path, name, by_image.get(entry, []), (row["height"], row["width"]), listing)


def _judge(path: Path, name: str, rows: list[dict[str, Any]], size: tuple[int, int], listing: Listing) -> None:
    """Warn of objects that cannot be drawn as they are meant."""

    def warn(kind: str, where: str, message: str, remedy: str) -> None:
        listing.warn(kind, path, f"{shown(name)}: {where} {message}", remedy)

    for row in rows:
        shape, where = row.get("segmentation"), f"annotation {row.get('id')}"
        if isinstance(shape, list) and shape:
            judge_polygons([(where, numbers) for numbers in shape], size, warn)
        elif isinstance(shape, dict):
            try:
                coco_mask(shape.get("counts"), *size)
            except Refusal as refusal:
                warn("run-lengths", where, refusal.what, "It is passed over. " + refusal.remedy)
        else:
            warn("polygon-empty", where, "has no outline.", "It is passed over; draw it, or remove it.")


def _draw(own: NDArray[np.bool_], shape: Any, size: tuple[int, int]) -> None:
    if isinstance(shape, dict):
        own |= coco_mask(shape.get("counts"), *size)
        return
    if not isinstance(shape, list) or not shape:
        raise Refusal("polygon-empty", "has no outline.", "")
    for numbers in shape:
        part = np.zeros(size, np.uint8)
        try:
            fill(part, polygon_of(numbers), 1)
        except Refusal:
            continue
        own |= part > 0


def _declared(categories: dict[int, dict[str, Any]], *, void_is_0: bool) -> Declared | None:
    """`void_is_0`: what no segment covers is unlabelled, as panoptic files have it; otherwise it is background."""
    if not categories:
        return None
    repeated = Counter(str(row.get("name")) for row in categories.values())
    names, ids, colours, void = [], [], [], set()
    for category_id, row in sorted(categories.items()):
        name = str(row.get("name"))
        if name.lower() in VOID_NAMES:
            void.add(category_id)
            continue
        names.append(name if repeated[name] == 1 else f"{name} ({category_id})")
        ids.append(category_id)
        colour = row.get("color")
        colours.append(tuple(colour) if isinstance(colour, list) and len(colour) == 3 else None)
    if BACKGROUND not in names and not void_is_0:
        names, ids, colours = [BACKGROUND, *names], [0, *ids], [None, *colours]
    else:
        void.add(0)
    return Declared(tuple(names), tuple(ids), tuple(colours), frozenset(void), "COCO's categories")


def _is_panoptic(table: dict[str, Any]) -> bool:
    return any(isinstance(row, dict) and "segments_info" in row for row in table["annotations"][:5])


def _shift(table: dict[str, Any]) -> int:
    return int(any(isinstance(row, dict) and row.get("id") == 0 for row in table["categories"]))


def _category(row: dict[str, Any]) -> int:
    category = row.get("category_id")
    if not isinstance(category, int) or not 0 <= category < 2**20:
        raise Refusal("annotations", f"has a category id {category!r}.", "Correct the file.")
    return category


@lru_cache(maxsize=4)
def _by_image(path: Path, _changed_ns: int) -> dict[str, list[dict[str, Any]]]:
    rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_json(path)["annotations"]:
        if isinstance(row, dict) and isinstance(row.get("category_id"), int):
            rows[str(row.get("image_id"))].append(row)
    return dict(rows)


@lru_cache(maxsize=4)
def _panoptic_rows(path: Path, _changed_ns: int) -> dict[str, dict[str, Any]]:
    return {str(row.get("image_id")): row for row in read_json(path)["annotations"] if isinstance(row, dict)}


def _panoptic_png(path: Path, row: dict[str, Any]) -> Path:
    name = str(row.get("file_name"))
    folders = (path.with_suffix(""), path.parent, path.parent.parent / path.stem)
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)


def table_text(table: dict[str, Any]) -> bytes:
    return json.dumps(table).encode()
