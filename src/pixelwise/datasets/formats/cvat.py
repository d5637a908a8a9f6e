"""CVAT for images 1.1: one annotations.xml with an `image` element of shapes per image.

Drawn, in order of z_order: polygon, box and ellipse (rotated too), mask. Reported as not drawn: polyline, points,
cuboid, skeleton. Tags describe the whole image and are ignored.
Format: docs.cvat.ai/docs/dataset_management/formats/format-cvat.

Shapes: H, W of an image's labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.formats.annotated_shapes import (
    AnnotatedImage,
    DrawnShape,
    MaskPatch,
    Place,
    Size,
    picture_of,
    shape_named,
)
from pixelwise.datasets.formats.annotation_files import (
    VOID_NAME,
    any_that,
    files_that,
    list_pictures,
    named_masks,
    picture_mask,
    picture_objects,
    read_or_none,
)
from pixelwise.datasets.formats.field_checks import number_text, text_of, whole_text
from pixelwise.datasets.formats.polygons import outlines
from pixelwise.datasets.formats.run_lengths import cvat_mask, run_lengths
from pixelwise.datasets.listing import Listing
from pixelwise.images.files import Refusal, read_bytes, shown, utf8
from pixelwise.images.xml_tree import parse_xml
from pixelwise.records import ClassList, Colour, Labels

OF_THE_IMAGE = "tag"
AREAS = ("polygon", "box", "rectangle", "ellipse", "mask", "any")  # label types with area


def is_cvat_file(text: str) -> bool:
    return "<annotations" in text


def recognises(root: Path) -> bool:
    return any_that(root, (".xml",), is_cvat_file, depth=2)


def list_pairs(root: Path) -> Listing:
    """Every image that the file names; CVAT's subsets are the splits. Labels without shapes are classes too."""
    paths = files_that(root, (".xml",), is_cvat_file, depth=2)
    declared = [name for path in paths for name in declared_labels(path)]
    return list_pictures("cvat", root, paths, read, "CVAT's labels", declared)


def read(path: Path) -> dict[Place, AnnotatedImage]:
    """The images of a file, by name. Raises Refusal."""
    pictures: dict[Place, AnnotatedImage] = {}
    for element in tree_of(path, path.stat().st_mtime_ns).iter("image"):
        name = text_of(element.get("name"), "image's name", "surrogateescape")
        if name in pictures:
            raise Refusal("annotations", f"has two images of the name {shown(name)!r}.", "Export it again.")
        subset = (element.get("subset") or "").lower()
        split = {"validation": "val", "training": "train"}.get(subset, subset)
        size = partial(_size, element)
        pictures[name] = picture_of(name, _figures(element), size, split if split in SPLITS else "all")
    return pictures


mask_ids = partial(picture_mask, read)
object_ids = partial(picture_objects, read)


@lru_cache(maxsize=4)
def tree_of(path: Path, _changed_ns: int) -> Element:
    return parse_xml(read_bytes(path))


def declared_labels(path: Path) -> list[str]:
    """The labels with area that the task, job or project declares, in its order; none for a damaged file."""
    tree = read_or_none(lambda path: tree_of(path, path.stat().st_mtime_ns), path)
    labels = tree.findall("meta/*/labels/label") if tree is not None else []
    areas = (label for label in labels if (label.findtext("type") or "any") in AREAS)
    return [name.strip() for label in areas if label.find("parent") is None and (name := label.findtext("name"))]


def _figures(image: Element) -> Iterator[DrawnShape]:
    for i, shape in enumerate(image):
        if shape.tag != OF_THE_IMAGE:
            if not shape.get("label"):
                raise Refusal("annotations", f"shape {i} ({shown(shape.tag)}) has no label.", "Label it, or remove it.")
            yield figure_of(shape, shape.get("label", ""), f"shape {i}")


def figure_of(shape: Element, label: str, where: str) -> DrawnShape:
    """The figure of a shape element. `where` names it in messages. Raises Refusal: damaged."""
    kind = shape.tag
    with shape_named(f"{where} ({shown(kind)} {shown(label)})"):
        z = whole_text(shape.get("z_order") or "0", "z_order", -(2**31))
        turned = number_text(shape.get("rotation") or "0", "rotation")
        if kind == "polygon":
            pairs = [pair.split(",") for pair in shape.get("points", "").split(";") if pair.strip()]
            return DrawnShape.polygon(label, kind, [[[number_text(n, "corner") for n in pair] for pair in pairs]], z)
        if kind == "box":
            sides = (number_text(shape.get(key), key) for key in ("xtl", "ytl", "xbr", "ybr"))
            return DrawnShape.rectangle(label, kind, *sides, turned=turned, z=z)
        if kind == "ellipse":
            numbers = (number_text(shape.get(key), key) for key in ("cx", "cy", "rx", "ry"))
            return DrawnShape.ellipse(label, kind, *numbers, turned=turned, z=z)
        if kind == "mask":
            left, top, width, height = (whole_text(shape.get(key), key) for key in ("left", "top", "width", "height"))
            patch = partial(_patch, shape.get("rle") or "", (top, left, height, width))
            return DrawnShape(label, kind, patch=patch, z=z)
    return DrawnShape.not_drawn(label, kind, z=z)


def _patch(runs: str, box: tuple[int, int, int, int], size: Size) -> MaskPatch:
    """The pixels of a mask whose box (top, left, height, width) lies in an image of this size. Raises Refusal."""
    top, left, height, width = box
    if top + height > size[0] or left + width > size[1]:
        what = f"has a box of {width}×{height} at {left}, {top} that leaves the image."
        raise Refusal("run-lengths", what, "Export it again.")
    return MaskPatch(top, left, cvat_mask(runs, height, width))


def _size(element: Element) -> Size | None:
    """The (H, W) that an image element declares; None if it declares none."""
    if element.get("height") is None and element.get("width") is None:
        return None
    return whole_text(element.get("height"), "height", 1), whole_text(element.get("width"), "width", 1)


def cvat_text(images: Iterable[str], classes: ClassList) -> bytes:
    """annotations.xml of images from `image_text`; declares all classes with their colours."""
    rows = zip(labels_written(classes), _colours(classes), strict=True)
    labels = [f"        <label><name>{escape(name)}</name><color>{colour}</color></label>" for name, colour in rows]
    head = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    meta = ["  <meta>", "    <task>", "      <labels>", *labels, "      </labels>", "    </task>", "  </meta>"]
    return "\n".join([*head, *meta, *images, "</annotations>", ""]).encode()


def labels_written(classes: ClassList) -> tuple[str, ...]:
    """The labels that `cvat_text` declares, in its order: the classes, and void."""
    return classes.names if VOID_NAME in classes.names else (*classes.names, VOID_NAME)


def _colours(classes: ClassList) -> list[str]:
    black: Colour = (0, 0, 0)
    own = classes.colours if VOID_NAME in classes.names else (*classes.colours, black)
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in own]


def labels_json(classes: ClassList) -> bytes:
    """The labels of a task, for the "Raw" tab of CVAT's new-task form."""
    rows = zip(classes.names, _colours(classes), strict=False)  # without void: annotators do not draw it
    labels = [{"name": name, "color": colour, "attributes": []} for name, colour in rows]
    return utf8(json.dumps(labels, ensure_ascii=False) + "\n")


def image_text(
    number: int, name: str, labels: Labels, classes: ClassList, *, split: str = "", masks: bool = False
) -> str:
    """The element of one image with its labels [H, W]; void as label "void".

    `masks`: one mask per class, background included, instead of polygons.
    """
    height, width = labels.shape
    subset = f" subset={quoteattr(split)}" if split else ""
    parts = [f'  <image id="{number}" name={quoteattr(name)}{subset} width="{width}" height="{height}">']
    for label, _, own in named_masks(labels, classes.names, background=masks):
        if masks:
            rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
            top, left = int(rows[0]), int(columns[0])
            box = own[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
            runs = ", ".join(map(str, run_lengths(box.ravel())))
            place = f'left="{left}" top="{top}" width="{box.shape[1]}" height="{box.shape[0]}"'
            parts.append(f'    <mask label={quoteattr(label)} source="auto" occluded="0" rle="{runs}" {place} '
                         'z_order="0"/>')  # fmt: skip
            continue
        for ring in outlines(own):
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in ring)
            parts.append(f'    <polygon label={quoteattr(label)} occluded="0" points="{points}" z_order="0"/>')
    return "\n".join([*parts, "  </image>"])
