"""CVAT for images 1.1: one annotations.xml with an `image` element each, holding `polygon`, `box` and `mask`.

Format: docs.cvat.ai/docs/dataset_management/formats/format-cvat. Drawn by z_order, then as they stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.decode import MaskIds
from pixelwise.data.files import Refusal, read_bytes
from pixelwise.data.formats.drawing import (
    VOID_NAME,
    Drawn,
    ImageFiles,
    add_drawn,
    blank_mask,
    files_below,
    named_masks,
    peek,
    read_all,
)
from pixelwise.data.formats.polygons import fill, judge_polygons, outlines, polygon_of
from pixelwise.data.layouts import Listing
from pixelwise.data.settings import SPLITS
from pixelwise.records import ClassList, Colour


def annotation_files(root: Path) -> list[Path]:
    return [path for path in files_below(root, (".xml",), depth=2) if "<annotations" in peek(path)]


def is_cvat(root: Path) -> bool:
    return bool(annotation_files(root))


def list_cvat(root: Path) -> Listing:
    """Every image that the file names; CVAT's subsets are the splits. Labels that nobody drew are classes too."""
    listing, files = Listing(root), ImageFiles(root)
    drawn = []
    declared: list[str] = []
    for path, images in read_all(annotation_files(root), images_of, listing):
        declared += labels_of(path)
        for name, element in images.items():
            image = files.find(name)
            if image is None:
                listing.error("image-missing", path, f"names {name!r}, which is not there.", "Add it.")
                continue
            _judge(path, name, element, listing)
            subset = (element.get("subset") or "").lower()
            split = {"validation": "val", "training": "train"}.get(subset, subset)
            names = frozenset(child.get("label", "") for child in element)
            drawn.append(Drawn(path, image, split if split in SPLITS else "all", names, name))
    add_drawn("cvat", drawn, listing, "CVAT's labels", declared)
    return listing


def images_of(path: Path) -> dict[str, ElementTree.Element]:
    """The image elements by name. Raises Refusal."""
    return _images(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _images(path: Path, changed_ns: int) -> dict[str, ElementTree.Element]:
    return {element.get("name", ""): element for element in _tree(path, changed_ns).iter("image")}


def labels_of(path: Path) -> list[str]:
    """The labels that the task, job or project declares, in its order: those that nobody drew among them."""
    declared = _tree(path, path.stat().st_mtime_ns).findall("meta/*/labels/label")
    return [name.strip() for label in declared if (name := label.findtext("name"))]


@lru_cache(maxsize=4)
def _tree(path: Path, _changed_ns: int) -> ElementTree.Element:
    data = read_bytes(path)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:  # entities can be made to fill the memory; CVAT writes none
        raise Refusal("annotations", "declares XML entities, which are not read.", "Remove the DOCTYPE.")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError) as error:
        raise Refusal("annotations", f"is no valid XML ({error}).", "Export the annotations again.") from error


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask of one image. `entry`: as `add_drawn` writes it."""
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


def cvat_text(images: Iterable[str], classes: ClassList) -> bytes:
    """annotations.xml of images as `image_text` writes them; all classes are declared, with their colours."""
    rows = [(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in zip(*_all_labels(classes), strict=True)]
    labels = [f"        <label><name>{escape(name)}</name><color>{colour}</color></label>" for name, colour in rows]
    head = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    meta = ["  <meta>", "    <task>", "      <labels>", *labels, "      </labels>", "    </task>", "  </meta>"]
    return "\n".join([*head, *meta, *images, "</annotations>", ""]).encode()


def declared_labels(classes: ClassList) -> tuple[str, ...]:
    """The labels that `cvat_text` declares, in its order."""
    return _all_labels(classes)[0]


def image_text(number: int, name: str, split: str, labels: NDArray[np.uint8], classes: ClassList) -> str:
    """The element of one image with its labels [H, W]; void as label "void", background not drawn."""
    height, width = labels.shape
    head = f'  <image id="{number}" name={quoteattr(name)} subset={quoteattr(split)} width="{width}" height="{height}">'
    parts = [head]
    for label, _, own in named_masks(labels, classes.names):
        for polygon in outlines(own):
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in polygon)
            parts.append(f'    <polygon label={quoteattr(label)} occluded="0" points="{points}" z_order="0"/>')
    return "\n".join([*parts, "  </image>"])


def _all_labels(classes: ClassList) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    if VOID_NAME in classes.names:
        return classes.names, classes.colours
    return (*classes.names, VOID_NAME), (*classes.colours, (0, 0, 0))


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
