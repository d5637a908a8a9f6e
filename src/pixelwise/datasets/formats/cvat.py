"""CVAT for images 1.1: one annotations.xml with an `image` element each, holding shapes.

Drawn: polygon, box (rotated too), ellipse, mask. Named as not drawn: polyline, points, cuboid, skeleton. Tags are of
the whole image and no classes. Drawn by z_order, then as they stand.
Format: docs.cvat.ai/docs/dataset_management/formats/format-cvat.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.formats.annotation_files import (
    VOID_NAME,
    Drawn,
    ImageFiles,
    SkippedShapes,
    add_drawn,
    blank_mask,
    files_below,
    named_masks,
    peek,
    read_all,
    shape_named,
)
from pixelwise.datasets.formats.field_checks import number_text, same_size, whole_text
from pixelwise.datasets.formats.polygons import fill, judge_polygons, outlines, polygon_of
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.formats.run_lengths import cvat_mask
from pixelwise.datasets.formats.shape_outlines import box_of, ellipse_of
from pixelwise.datasets.formats.xml_tree import parse_xml
from pixelwise.datasets.layouts import Listing
from pixelwise.images.decode import MaskIds
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import ClassList, Colour

DRAWN = ("polygon", "box", "ellipse", "mask")
OF_THE_IMAGE = "tag"


def annotation_files(root: Path) -> list[Path]:
    return [path for path in files_below(root, (".xml",), depth=2) if "<annotations" in peek(path)]


def is_cvat(root: Path) -> bool:
    return bool(annotation_files(root))


def list_cvat(root: Path) -> Listing:
    """Every image that the file names; CVAT's subsets are the splits. Labels that nobody drew are classes too."""
    listing, files = Listing(root), ImageFiles(root)
    undrawn, drawn = SkippedShapes(listing), list[Drawn]()
    declared: list[str] = []
    for path, images in read_all(annotation_files(root), images_of, listing):
        declared += labels_of(path)
        for name, element in images.items():
            subset = (element.get("subset") or "").lower()
            split = {"validation": "val", "training": "train"}.get(subset, subset)
            image = files.find(name, [split] if split in SPLITS else [])
            if image is None:
                listing.error("image-missing", path, files.missing(name), "Add it, or correct the name.")
                continue
            with problems_of(listing, path, f"image {shown(name)}:"):
                names = _judge(path, name, element, listing, undrawn)
                drawn.append(Drawn(path, image, split if split in SPLITS else "all", names, name))
    undrawn.report()
    add_drawn("cvat", drawn, listing, "CVAT's labels", declared)
    return listing


def images_of(path: Path) -> dict[str, Element]:
    """The image elements by name. Raises Refusal."""
    return _images(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _images(path: Path, changed_ns: int) -> dict[str, Element]:
    found: dict[str, Element] = {}
    for element in _tree(path, changed_ns).iter("image"):
        name = element.get("name", "")
        if name in found:
            raise Refusal("annotations", f"has two images of the name {shown(name)!r}.", "Export it again.")
        found[name] = element
    return found


def labels_of(path: Path) -> list[str]:
    """The labels that the task, job or project declares for what is drawn, in its order; also those nobody drew."""
    declared = _tree(path, path.stat().st_mtime_ns).findall("meta/*/labels/label")
    areas = (label for label in declared if (label.findtext("type") or "any") in (*DRAWN, "rectangle", "any"))
    return [name.strip() for label in areas if label.find("parent") is None and (name := label.findtext("name"))]


@lru_cache(maxsize=4)
def _tree(path: Path, _changed_ns: int) -> Element:
    return parse_xml(read_bytes(path))


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask of one image. `entry`: as `add_drawn` writes it. Raises Refusal: a damaged shape, another size."""
    name, ids = json.loads(entry)
    element = images_of(path).get(name)
    if element is None:
        raise Refusal("annotations", f"has no image {shown(name)!r} any more.", "Run the check again.")
    same_size(_size(element), size, f"image {shown(name)}")
    mask = blank_mask(*size, max(ids.values(), default=0))
    places = {shape: i for i, shape in enumerate(element)}
    for shape in in_order(element):
        if shape.tag in DRAWN:
            label = label_of(shape)
            with shape_named(f"image {shown(name)}, shape {places[shape]} ({shape.tag} {shown(label)})"):
                draw_shape(shape, mask, ids[label])
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


def draw_shape(shape: Element, mask: MaskIds, value: int) -> None:
    """One of DRAWN onto the mask. Raises Refusal."""
    if shape.tag == "polygon":
        fill(mask, polygon_of(_points(shape)), value)
    elif shape.tag == "box":
        left, top, right, bottom = (number_text(shape.get(key), key) for key in ("xtl", "ytl", "xbr", "ybr"))
        fill(mask, box_of(left, top, right, bottom, _rotation(shape)), value)
    elif shape.tag == "ellipse":
        x, y, radius_x, radius_y = (number_text(shape.get(key), key) for key in ("cx", "cy", "rx", "ry"))
        fill(mask, ellipse_of(x, y, radius_x, radius_y, _rotation(shape)), value)
    else:
        left, top, width, height = (whole_text(shape.get(key), key) for key in ("left", "top", "width", "height"))
        if left + width > mask.shape[1] or top + height > mask.shape[0]:
            what = f"has a box of {width}×{height} at {left}, {top} that leaves the image."
            raise Refusal("run-lengths", what, "Export it again.")
        own = cvat_mask(shape.get("rle", ""), height, width)
        mask[top : top + height, left : left + width][own] = value


def _rotation(shape: Element) -> float:
    return number_text(shape.get("rotation", "0"), "rotation")


def _points(shape: Element) -> list[list[float]]:
    pairs = (pair.split(",") for pair in shape.get("points", "").split(";") if pair.strip())
    return [[number_text(n, "corner") for n in pair] for pair in pairs]


def in_order(image: Element) -> list[Element]:
    """The shapes of an image as they are drawn, the last on top. Raises Refusal: damaged orders."""
    return sorted(image, key=_z_order)


def _z_order(shape: Element) -> int:
    return whole_text(shape.get("z_order") or "0", "z_order", -(2**31))


def label_of(shape: Element) -> str:
    label = shape.get("label")
    if not label:
        raise Refusal("annotations", f"has a {shown(shape.tag)} without a label.", "Label it, or remove it.")
    return label


def _size(element: Element) -> tuple[int, int] | None:
    """The (H, W) that an image element declares; None where it does not."""
    if element.get("height") is None and element.get("width") is None:
        return None
    return whole_text(element.get("height"), "height", 1), whole_text(element.get("width"), "width", 1)


def _judge(path: Path, name: str, element: Element, listing: Listing, undrawn: SkippedShapes) -> frozenset[str]:
    """The labels of what is drawn on an image; what is not drawn, or not as it is meant, is told. Raises Refusal."""
    polygons, names = [], set()
    size = _size(element)
    for i, shape in enumerate(element):
        _z_order(shape)
        if shape.tag == OF_THE_IMAGE:
            continue
        label = label_of(shape)
        if shape.tag not in DRAWN:
            undrawn.add(path, shape.tag, label, f"image {shown(name)}, shape {i}")
            continue
        names.add(label)
        if shape.tag == "polygon":
            polygons.append((f"{shown(name)}: polygon {i}", _points(shape)))
    judge_polygons(
        polygons, size, lambda kind, where, what, remedy: listing.warn(kind, path, f"{where} {what}", remedy)
    )
    return frozenset(names)
