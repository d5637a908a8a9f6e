"""LabelMe: one JSON file per image, with `shapes`.

Drawn: polygon, rectangle, oriented_rectangle (and X-AnyLabeling's rotation), circle, mask. Reported as not drawn: line,
linestrip, point, points and unknown kinds. `__ignore__` is void and `_background_` the background, as in LabelMe's own
converters. Class ids follow alphabetical order, from 1. A label's group or instance number is not used.

Format: github.com/wkentaro/labelme.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.datasets.formats.annotated_shapes import (
    AnnotatedImage,
    DrawnShape,
    MaskPatch,
    Place,
    Size,
    ellipse_of,
    shape_named,
)
from pixelwise.datasets.formats.annotation_files import (
    BACKGROUND,
    any_that,
    files_that,
    list_pictures,
    named_masks,
    picture_mask,
    picture_objects,
    read_json,
)
from pixelwise.datasets.formats.field_checks import rows_of, size_of, table_of, text_of
from pixelwise.datasets.formats.polygons import Polygon, outlines, polygon_of
from pixelwise.datasets.listing import Listing
from pixelwise.images.decode import mask_ids_of
from pixelwise.images.files import Refusal
from pixelwise.records import Labels

OWN_BACKGROUND = "_background_"
Row = dict[str, Any]


def _is_ours(text: str) -> bool:
    return '"imagePath"' in text or ('"shapes"' in text and any(f'"{key}"' in text for key in ("points", "version")))


def recognises(root: Path) -> bool:
    return any_that(root, (".json",), _is_ours)


def list_pairs(root: Path) -> Listing:
    """Every JSON file whose image exists: next to it, or under its name anywhere below the root."""
    paths = files_that(root, (".json",), _is_ours)
    return list_pictures("labelme", root, paths, read, "the labels of LabelMe's shapes")


def read(path: Path) -> dict[Place, AnnotatedImage]:
    """The one image of a file. Raises Refusal."""
    table = table_of(read_json(path), "content")
    name = text_of(table["imagePath"], "imagePath", "surrogateescape") if table.get("imagePath") else path.stem
    figures = tuple(_figure(i, shape) for i, shape in enumerate(rows_of(table.get("shapes"), "shapes")))
    return {0: AnnotatedImage(name, figures, size_of(table.get("imageHeight"), table.get("imageWidth")))}


mask_ids = partial(picture_mask, read)
object_ids = partial(picture_objects, read)


def _figure(i: int, shape: Row) -> DrawnShape:
    """The figure of a shape. Raises Refusal: no label, or no kind."""
    with shape_named(f"shape {i}"):
        label = text_of(shape.get("label"), "label of a shape")
        name = BACKGROUND if label == OWN_BACKGROUND else label
        kind = text_of(shape.get("shape_type") or "polygon", "shape_type")
    try:
        if kind in ("polygon", "oriented_rectangle", "rotation"):
            return DrawnShape.polygon(name, kind, [shape.get("points")])
        if kind == "rectangle":
            points = _points(shape)
            return DrawnShape.rectangle(name, kind, *points.min(axis=0).tolist(), *points.max(axis=0).tolist())
        if kind == "circle":
            centre, rim = _points(shape)[:2].tolist()
            radius = math.dist(centre, rim)
            return DrawnShape.polygon(name, kind, [ellipse_of(centre[0], centre[1], radius, radius)])
        if kind == "mask":
            return DrawnShape(name, kind, patch=partial(_patch, _points(shape).tolist(), shape.get("mask")))
    except Refusal as refusal:
        return DrawnShape.not_drawn(name, kind, f"It {refusal.what}")
    return DrawnShape.not_drawn(name, kind)


def _points(shape: Row) -> Polygon:
    """Two points [2, 2], or the four corners of a rectangle. Raises Refusal."""
    points = polygon_of(shape.get("points"), 2)
    if len(points) not in (2, 4):
        raise Refusal("polygon-empty", f"has {len(points)} points; expected 2.", "Draw it again.")
    return points


def _patch(corners: list[list[float]], mask: Any, size: Size) -> MaskPatch:
    """The pixels of a base64 PNG whose box has these corners in an image of this size. Raises Refusal."""
    points = np.rint(corners).astype(np.int64)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    height, width = bottom - top + 1, right - left + 1  # both corners are inclusive
    if not 0 <= left <= right < size[1] or not 0 <= top <= bottom < size[0]:
        what = f"has a box of {width}×{height} at {left}, {top} that leaves the image."
        raise Refusal("mask-shape", what, "Draw it again.")
    try:
        data = base64.b64decode(text_of(mask, "mask"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal("mask-shape", "has a mask that is not base64.", "Draw it again.") from error
    own = mask_ids_of(data)
    if own.shape != (height, width):
        what = f"has a mask of {own.shape[1]}×{own.shape[0]} pixels in a box of {width}×{height}."
        raise Refusal("mask-shape", what, "Draw it again.")
    return MaskPatch(top, left, own > 0)


def labelme_text(labels: Labels, names: tuple[str, ...], image_name: str) -> bytes:
    """The JSON of a mask [H, W]: every piece of every class except background; void as shapes labelled "void"."""
    height, width = labels.shape
    shapes = [
        {"label": name, "points": ring.tolist(), "group_id": None, "shape_type": "polygon", "flags": {}}
        for name, _, own in named_masks(labels, names)
        for ring in outlines(own)
    ]
    table: Row = {"version": "5.0.1", "flags": {}, "shapes": shapes, "imagePath": image_name, "imageData": None}
    return json.dumps({**table, "imageHeight": height, "imageWidth": width}).encode()
