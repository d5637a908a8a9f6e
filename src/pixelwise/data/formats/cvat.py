"""CVAT for images 1.1: one annotations.xml with an `image` element each, holding `polygon`, `box` and `mask`.

Format: docs.cvat.ai/docs/dataset_management/formats/format-cvat. Drawn by z_order, then as they stand.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.decode import MaskIds
from pixelwise.data.files import Refusal, read_bytes
from pixelwise.data.formats.drawing import ImageFiles, blank_mask, files_below, name_ids, peek
from pixelwise.data.formats.labelme import declared_names
from pixelwise.data.formats.polygons import fill, judge_polygons, outlines, polygon_of
from pixelwise.data.layouts import Listing
from pixelwise.data.settings import SPLITS
from pixelwise.records import Sample


def annotation_files(root: Path) -> list[Path]:
    return [path for path in files_below(root, (".xml",), depth=2) if "<annotations" in peek(path)]


def is_cvat(root: Path) -> bool:
    return bool(annotation_files(root))


def list_cvat(root: Path) -> Listing:
    """Every image that the file names; CVAT's subsets are the splits."""
    listing, files = Listing(root), ImageFiles(root)
    found: list[tuple[Path, str, str, Path]] = []
    names: set[str] = set()
    for path in annotation_files(root):
        try:
            images = images_of(path)
        except Refusal as refusal:
            listing.error("annotations", path, refusal.what, refusal.remedy)
            continue
        for name, element in images.items():
            image = files.find(name)
            if image is None:
                listing.error("image-missing", path, f"names {name!r}, which is not there.", "Add it.")
                continue
            names |= {child.get("label", "") for child in element}
            _judge(path, name, element, listing)
            subset = (element.get("subset") or "").lower()
            split = {"validation": "val", "training": "train"}.get(subset, subset)
            found.append((path, name, split if split in SPLITS else "all", image))
    ids = name_ids(names)
    for path, name, split, image in found:
        part = "cvat:" + json.dumps([name, ids], sort_keys=True)
        sample = Sample(listing.where(image.with_suffix("")), image, path, mask_part=part)
        listing.splits.setdefault(split, []).append(sample)
    listing.declared = declared_names(ids, "CVAT's labels")
    return listing


def images_of(path: Path) -> dict[str, ElementTree.Element]:
    """The image elements by name. Raises Refusal."""
    return _images(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _images(path: Path, _changed_ns: int) -> dict[str, ElementTree.Element]:
    data = read_bytes(path)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:  # entities can be made to fill the memory; CVAT writes none
        raise Refusal("annotations", "declares XML entities, which are not read.", "Remove the DOCTYPE.")
    try:
        tree = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError) as error:
        raise Refusal("annotations", f"is no valid XML ({error}).", "Export the annotations again.") from error
    return {element.get("name", ""): element for element in tree.iter("image")}


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask of one image. `entry`: its name and the ids of all labels, as JSON."""
    name, ids = json.loads(entry)
    element = images_of(path).get(name)
    mask = blank_mask(*size, max(ids.values(), default=0))
    shapes = sorted(element, key=lambda shape: int(shape.get("z_order") or 0)) if element is not None else []
    for shape in shapes:
        value = ids.get(shape.get("label", ""))
        if value is None:
            continue
        try:
            _draw(mask, shape, value)
        except (Refusal, ValueError, TypeError):
            continue
    return mask


def cvat_text(rows: list[tuple[str, str, NDArray[np.uint8]]], names: tuple[str, ...], void: int) -> bytes:
    """annotations.xml of images (name, split, labels [H, W]); void as label "void", background not drawn."""
    parts = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    for i, (name, split, labels) in enumerate(rows):
        height, width = labels.shape
        parts.append(
            f'  <image id="{i}" name={quoteattr(name)} subset={quoteattr(split)} width="{width}" height="{height}">'
        )
        for c in np.unique(labels):
            label = "void" if c == void else names[c]
            if label != "background":
                for polygon in outlines(labels == c):
                    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in polygon)
                    parts.append(f'    <polygon label={quoteattr(label)} occluded="0" points="{points}" z_order="0"/>')
        parts.append("  </image>")
    return "\n".join([*parts, "</annotations>", ""]).encode()


def _points(text: str) -> list[list[float]]:
    return [[float(n) for n in pair.split(",")] for pair in re.split(r"\s*;\s*", text.strip()) if pair]


def _draw(mask: MaskIds, shape: ElementTree.Element, value: int) -> None:
    if shape.tag == "polygon":
        fill(mask, polygon_of(_points(shape.get("points", ""))), value)
    elif shape.tag == "box":
        x0, y0, x1, y1 = (float(shape.get(key, "nan")) for key in ("xtl", "ytl", "xbr", "ybr"))
        fill(mask, polygon_of([x0, y0, x1, y0, x1, y1, x0, y1]), value)
    elif shape.tag == "mask":
        left, top, width, height = (int(shape.get(key, "0")) for key in ("left", "top", "width", "height"))
        runs = [int(n) for n in shape.get("rle", "").split(",")]
        if min(runs, default=-1) < 0 or sum(runs) != width * height or min(left, top) < 0:
            raise Refusal("run-lengths", "has run lengths that do not add up.", "Export it again.")
        own = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        place = mask[top : top + height, left : left + width]
        place[own[: place.shape[0], : place.shape[1]]] = value


def _judge(path: Path, name: str, element: ElementTree.Element, listing: Listing) -> None:
    polygons = []
    for i, shape in enumerate(element):
        if shape.tag == "polygon":
            try:
                polygons.append((f"{name}: polygon {i}", _points(shape.get("points", ""))))
            except ValueError:
                polygons.append((f"{name}: polygon {i}", []))
    try:
        size = int(element.get("height", "")), int(element.get("width", ""))
    except ValueError:
        return
    judge_polygons(
        polygons, size, lambda kind, where, what, remedy: listing.warn(kind, path, f"{where} {what}", remedy)
    )
