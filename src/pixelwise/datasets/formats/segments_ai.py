"""Segments.ai: a release JSON with samples, their annotations and bitmaps of object numbers.

The release names its bitmaps by URL. They are read from where the tool's export puts them (`export_dataset` of
segments-ai: `a_label_ground-truth.png`) or under the URL's file name: PNGs whose red, green and blue form one number,
red as the lowest byte, alpha ignored; `annotations` gives each number its category. Polygons and boxes are drawn
directly. Unlabelled samples are skipped. A missing bitmap is reported with the command to run.

Format: docs.segments.ai, "Label types" and "Export". Shapes: H, W of the mask.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.formats.annotated_shapes import OBJECT, AnnotatedImage, DrawnShape, MaskPatch, Place, Size
from pixelwise.datasets.formats.annotation_files import (
    any_that,
    files_that,
    list_pictures,
    picture_mask,
    picture_objects,
    read_json,
    read_or_none,
)
from pixelwise.datasets.formats.field_checks import rows_of, table_of
from pixelwise.datasets.formats.image_lookup import files_below
from pixelwise.datasets.formats.object_pngs import opened_png, require_size
from pixelwise.datasets.listing import Listing
from pixelwise.images.decode import colour_codes
from pixelwise.images.files import Refusal, read_bytes, shown

LABELLED = ("LABELED", "REVIEWED", "LABELING_IN_PROGRESS", "REVIEWING_IN_PROGRESS")
EXPORT = (
    "Download them: pip install segments-ai, then export_dataset(dataset, export_format='semantic') next to this file, "
    "or train on the images and _semantic PNGs that it writes."
)


def recognises(root: Path) -> bool:
    return any_that(root, (".json",), _is_ours)


def list_pairs(root: Path) -> Listing:
    """Every labelled sample whose image exists."""
    paths = files_that(root, (".json",), _is_ours)
    declared = [name for path in paths for name in (read_or_none(_categories, path) or {}).values()]
    listing = list_pictures("segments-ai", root, paths, read, "Segments.ai's categories", declared)
    if waiting := sum(sum(_label(sample) is None for sample in (read_or_none(_samples, path) or [])) for path in paths):
        listing.notes.append(f"Left out, as they are not labelled in Segments.ai: {waiting:,} samples.")
    return listing


def _is_ours(text: str) -> bool:
    return '"dataset"' in text and ('"task_type"' in text or '"task_attributes"' in text)


def _samples(path: Path) -> list[dict[str, Any]]:
    dataset = table_of(table_of(read_json(path), "content").get("dataset"), "dataset")
    return rows_of(dataset.get("samples"), "samples")


def _categories(path: Path) -> dict[int, str]:
    """The dataset's category names, by number."""
    dataset = table_of(table_of(read_json(path), "content").get("dataset"), "dataset")
    attributes = dataset.get("task_attributes")
    rows = attributes.get("categories") if isinstance(attributes, dict) else None
    rows = rows if isinstance(rows, list) else []
    named = [row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]
    return {row["id"]: row["name"] for row in named if type(row.get("id")) is int}


def _label(sample: dict[str, Any]) -> dict[str, Any] | None:
    """The attributes of a sample's label, from the label set "ground-truth" or the first; None if it has none."""
    labels = sample.get("labels")
    labels = labels if isinstance(labels, dict) else {}
    for key in ("ground-truth", *labels):
        label = labels.get(key)
        if isinstance(label, dict) and label.get("label_status", LABELLED[0]) in LABELLED:
            attributes = label.get("attributes")
            if isinstance(attributes, dict):
                return attributes
    return None


def read(path: Path) -> dict[Place, AnnotatedImage]:
    categories, pictures = _categories(path), dict[Place, AnnotatedImage]()
    wanting = bitmaps = 0
    for sample in _samples(path):
        attributes, name = _label(sample), str(sample.get("name"))
        if attributes is None:
            continue
        annotations = rows_of(attributes.get("annotations") or [], f"annotations of {shown(name)}")
        bitmap = attributes.get("segmentation_bitmap")
        if isinstance(bitmap, dict):
            bitmaps += 1
            own = next((place for place in _places(path, name, str(bitmap.get("url"))) if place.is_file()), None)
            wanting += own is None
            figures = tuple(_numbered(one, categories, own) for one in annotations)
        else:
            figures = tuple(_figure(one, categories) for one in annotations)
        pictures[name] = AnnotatedImage(name, figures)
    if bitmaps and wanting == bitmaps:
        what = f"is a release of Segments.ai whose {bitmaps:,} bitmaps are URLs; none is next to the file."
        raise Refusal("unread-format", what, EXPORT)
    return pictures


mask_ids = partial(picture_mask, read)
object_ids = partial(picture_objects, read)


def _places(path: Path, name: str, url: str) -> Iterator[Path]:
    """Candidate paths of a sample's bitmap: below the file's folder, named by the export or the URL."""
    stem = str(PurePosixPath(name.replace("\\", "/")).with_suffix(""))
    plain = [f"{part}_label_ground-truth.png" for part in dict.fromkeys((stem, PurePosixPath(stem).name))]
    plain.append(unquote(PurePosixPath(urlsplit(url).path).name) if "://" in url else Path(url.replace("\\", "/")).name)
    folders = [path.parent, *_folders(path.parent, path.parent.stat().st_mtime_ns)]
    for own in plain:
        if own and ".." not in PurePosixPath(own).parts and not PurePosixPath(own).is_absolute():
            yield from (folder / own for folder in folders)


@lru_cache(maxsize=4)
def _folders(parent: Path, _changed_ns: int) -> tuple[Path, ...]:
    """The folders below `parent` that hold PNGs."""
    return tuple(dict.fromkeys(path.parent for path in files_below(parent, (".png",), depth=3)))


def _name_of(one: dict[str, Any], categories: dict[int, str]) -> str:
    number = one.get("category_id")
    return categories.get(number, f"class {number}") if type(number) is int else OBJECT


def _numbered(one: dict[str, Any], categories: dict[int, str], own: Path | None) -> DrawnShape:
    return DrawnShape(_name_of(one, categories), "object", patch=partial(_patch, own, one.get("id")))


def _figure(one: dict[str, Any], categories: dict[int, str]) -> DrawnShape:
    name, kind, points = _name_of(one, categories), str(one.get("type") or "polygon"), one.get("points")
    if kind == "polygon":
        return DrawnShape.polygon(name, kind, [points])
    if kind == "bbox":
        corners = points if isinstance(points, list) and len(points) == 2 else []
        sides = (side for corner in corners if isinstance(corner, list) for side in corner)
        return DrawnShape.rectangle(name, kind, *sides)
    return DrawnShape.not_drawn(name, kind)


def _patch(own: Path | None, number: Any, size: Size) -> MaskPatch:
    """The pixels of a bitmap with one number. Raises Refusal."""
    if own is None:
        raise Refusal("mask-missing", "has its pixels in a bitmap that is a URL and has not been downloaded.", EXPORT)
    numbers = _numbers(own, own.stat().st_mtime_ns)
    require_size(numbers.shape, size, own.name, EXPORT)
    if type(number) is not int:
        raise Refusal("annotations", f"has the number {shown(json.dumps(number)[:40])}.", EXPORT)
    return MaskPatch(0, 0, numbers == number)


@lru_cache(maxsize=1)
def _numbers(path: Path, _changed_ns: int) -> NDArray[np.int32]:
    """A bitmap's numbers [H, W]: red + 256 · green + 65,536 · blue; for grey, the value. Raises Refusal."""
    with opened_png(read_bytes(path), path.name, EXPORT) as opened:
        if opened.mode in ("1", "L", "P", "I", "I;16"):
            return np.asarray(opened).astype(np.int32)
        pixels = np.asarray(opened.convert("RGB"))
    return colour_codes(pixels[:, :, ::-1])  # channels reversed: red is the lowest byte
