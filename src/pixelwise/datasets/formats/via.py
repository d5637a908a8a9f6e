"""VGG Image Annotator (VIA 1 and 2): one JSON project, JSON export or CSV for many images.

Regions are polygons, rectangles, circles and ellipses; points and lines have no area and are reported. A region's class
is the value of one attribute: the only one, or the one named like a class. Images without a region are skipped: VIA
lists every opened image, annotated or not.

Format: robots.ox.ac.uk/~vgg/software/via. VIA 3 stores regions differently; `data.unread` reports it.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pixelwise.datasets.formats.annotated_shapes import OBJECT, AnnotatedImage, DrawnShape, Place, Size, number_of
from pixelwise.datasets.formats.annotation_files import (
    Read,
    any_that,
    files_that,
    list_pictures,
    peek,
    picture_mask,
    picture_objects,
    read_json,
    read_or_none,
)
from pixelwise.datasets.listing import Listing
from pixelwise.images.decode import MaskIds
from pixelwise.images.decoder_reasons import text_reason
from pixelwise.images.files import Refusal, read_bytes, shown

SUFFIXES = (".json", ".csv")
CLASS_WORDS = ("class", "label", "category", "name", "type", "object")  # names of class attributes, best first
MAX_CELL = 2**27  # characters in a table cell
COLUMNS = ("filename", "region_shape_attributes", "region_attributes")


def recognises(root: Path) -> bool:
    return any_that(root, SUFFIXES, _is_ours)


def list_pairs(root: Path) -> Listing:
    """Every image with a region whose file exists."""
    paths = files_that(root, SUFFIXES, _is_ours)
    attribute, declared, notes = _class_attribute(paths)
    listing = list_pictures("via", root, paths, _reader(attribute), "the regions' attributes in VIA", declared)
    listing.notes += notes
    if empty := sum(sum(not row["regions"] for row in (read_or_none(_rows, path) or [])) for path in paths):
        listing.notes.append(f"Left out: {empty:,} images on which nothing is drawn; VIA lists all that were opened.")
    return listing


def mask_ids(path: Path, entry: str, size: Size) -> MaskIds:
    """The mask of one image. `entry`: from `add_drawn`."""
    attribute, _ = json.loads(json.loads(entry)[0])
    return picture_mask(_reader(attribute), path, entry, size)


def object_ids(path: Path, entry: str, size: Size) -> MaskIds:
    """As `mask_ids`, with a number for each region."""
    attribute, _ = json.loads(json.loads(entry)[0])
    return picture_objects(_reader(attribute), path, entry, size)


def _is_ours(text: str) -> bool:
    if text.lstrip("\ufeff# ").startswith("filename,") and "region_shape_attributes" in text[:1000]:
        return True
    project = '"_via_img_metadata"' in text or '"_via_settings"' in text
    return project or ('"filename"' in text and ('"regions"' in text or '"shape_attributes"' in text))


@lru_cache(maxsize=16)
def _reader(attribute: str) -> Read:
    """The reader of a file with class `attribute`. Always the same function, because it is the cache key."""

    def read(path: Path) -> dict[Place, AnnotatedImage]:
        options = _options(path, attribute)
        pictures: dict[Place, AnnotatedImage] = {}
        for row in _rows(path):
            figures = tuple(_figure(region, attribute, options) for region in row["regions"])
            if figures:
                name = str(row["filename"])
                plain = unquote(PurePosixPath(urlsplit(name).path).name) if "://" in name else name
                pictures[json.dumps([attribute, name])] = AnnotatedImage(plain, figures)
        return pictures

    return read


def _rows(path: Path) -> list[dict[str, Any]]:
    """One row per image: its filename and regions, each a dict. Raises Refusal."""
    if path.suffix.lower() == ".csv":
        return _rows_of_table(path)
    table = read_json(path)
    if isinstance(table, dict):
        table = table.get("_via_img_metadata", table)
    entries = list(table.values()) if isinstance(table, dict) else table
    if not isinstance(entries, list):
        raise Refusal("annotations", "has no images; expected VIA's JSON.", "Export the annotations again.")
    rows = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
            continue  # settings, not an image
        regions = entry.get("regions") or []
        regions = list(regions.values()) if isinstance(regions, dict) else regions  # VIA 1 numbers them
        if not isinstance(regions, list):
            raise Refusal("annotations", f"{shown(entry['filename'])}: its regions are not a list.", "Export it again.")
        rows.append({"filename": entry["filename"], "regions": regions})
    return rows


def _rows_of_table(path: Path) -> list[dict[str, Any]]:
    """One row per image from the CSV, which has one row per region. Raises Refusal."""
    csv.field_size_limit(MAX_CELL)
    text = read_bytes(path).decode("utf-8-sig", "replace").lstrip("#")
    regions: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    try:
        reader = csv.DictReader(io.StringIO(text))
        if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
            raise Refusal("annotations", f"has no column {missing[0]}; expected VIA's CSV.", "Export it again.")
        for row in reader:
            shape, attributes = (json.loads(row[column] or "{}") for column in COLUMNS[1:])
            own = regions[row["filename"]]
            if shape:
                own.append({"shape_attributes": shape, "region_attributes": attributes})
    except (csv.Error, ValueError, RecursionError) as error:
        raise Refusal(
            "annotations", f"is not a VIA table ({text_reason(error)}).", "Export it again as JSON."
        ) from error
    return [{"filename": name, "regions": own} for name, own in regions.items()]


def _class_attribute(paths: list[Path]) -> tuple[str, list[str], list[str]]:
    """The class attribute ("" if there is none), the classes that the project declares for it, and notes."""
    values: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for attributes in _attributes_of_all(paths):
        for name, value in attributes.items():
            if text := _text(value, {}):
                values[name][text] += 1
    if not values:
        note = f'VIA\'s regions have no attributes: their one class is "{OBJECT}".'
        return "", [], [note] if paths else []
    chosen = min(values, key=lambda name: (_rank(name), -values[name].total(), len(values[name]), name))
    declared = list(dict.fromkeys(label for path in paths for label in _options(path, chosen).values()))
    others = [f"{shown(name)} ({len(counts)} values)" for name, counts in values.items() if name != chosen]
    notes = []
    bare = sum(not _text(attributes.get(chosen), {}) for attributes in _attributes_of_all(paths))
    if bare:
        notes.append(f'{bare:,} regions have no "{shown(chosen)}": their class is "{OBJECT}".')
    if others:
        notes.append(f'Classes are VIA\'s attribute "{shown(chosen)}"; not used: {", ".join(others[:6])}.')
    return chosen, declared, notes


def _rank(attribute: str) -> int:
    """The rank of an attribute name as a class name; lower is better."""
    words = attribute.lower()
    return next((i for i, word in enumerate(CLASS_WORDS) if word in words), len(CLASS_WORDS))


def _attributes_of_all(paths: list[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        for row in read_or_none(_rows, path) or []:
            for region in row["regions"]:
                attributes = region.get("region_attributes") if isinstance(region, dict) else None
                if isinstance(attributes, dict):
                    yield attributes


def _options(path: Path, attribute: str) -> dict[str, str]:
    """A project's display names for an attribute, by value."""
    if path.suffix.lower() == ".csv" or '"_via_' not in peek(path):
        return {}
    table = read_or_none(read_json, path)
    for key in ("_via_attributes", "region", attribute, "options"):
        table = table.get(key) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return {}
    return {value: str(words) if value.isdigit() and words else value for value, words in table.items()}


def _text(value: Any, options: dict[str, str]) -> str:
    """The text of an attribute's value: text, a number, or the ticked checkboxes."""
    if isinstance(value, dict):
        ticked = [str(key) for key, on in value.items() if on not in (False, None, "", 0)]
        return " + ".join(options.get(key, key) for key in ticked)
    if value is None or isinstance(value, list):
        return ""
    plain = str(value).strip()
    return options.get(plain, plain)


def _figure(region: Any, attribute: str, options: dict[str, str]) -> DrawnShape:
    region = region if isinstance(region, dict) else {}
    shape, attributes = region.get("shape_attributes"), region.get("region_attributes")
    name = _text(attributes.get(attribute), options) if isinstance(attributes, dict) else ""
    return _outline(shape if isinstance(shape, dict) else {}, name or OBJECT)


def _outline(shape: dict[str, Any], name: str) -> DrawnShape:
    kind = str(shape.get("name") or ("polygon" if "all_points_x" in shape else "region"))
    if kind == "polygon":
        x, y = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
            return DrawnShape.not_drawn(name, kind, "It has not as many x as y.")
        return DrawnShape.polygon(name, kind, [list(zip(x, y, strict=True))])
    if kind == "rect":
        return DrawnShape.box(name, kind, *(shape.get(key) for key in ("x", "y", "width", "height")))
    if kind == "circle":
        return DrawnShape.ellipse(name, kind, *(shape.get(key) for key in ("cx", "cy", "r", "r")))
    if kind == "ellipse":
        radians = number_of(shape.get("theta") or 0)
        degrees = None if radians is None else math.degrees(radians)
        return DrawnShape.ellipse(name, kind, *(shape.get(key) for key in ("cx", "cy", "rx", "ry")), turned=degrees)
    return DrawnShape.not_drawn(name, kind)
