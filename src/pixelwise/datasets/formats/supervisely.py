"""Supervisely: one folder per dataset, with `img/` and `ann/`, one JSON file per image; meta.json declares the classes.

Polygons (with holes), rectangles, ellipses and bitmaps are drawn in file order; points, lines and skeletons have no
area and are reported. A bitmap is a base64, zlib-compressed PNG, never unpacked beyond the size of its image. Outlines
follow pixel edges, as in all formats here.

Format: developer.supervisely.com, "Supervisely annotation format".
"""

from __future__ import annotations

import base64
import zlib
from functools import partial
from pathlib import Path
from typing import Any

from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES
from pixelwise.datasets.formats.annotated_shapes import AnnotatedImage, DrawnShape, MaskPatch, Place, Size
from pixelwise.datasets.formats.annotation_files import (
    any_that,
    files_that,
    list_pictures,
    picture_mask,
    picture_objects,
    read_json,
    read_or_none,
)
from pixelwise.datasets.formats.image_lookup import files_below
from pixelwise.datasets.formats.object_pngs import object_pixels, opened_png
from pixelwise.datasets.listing import Listing
from pixelwise.images.decoder_reasons import because
from pixelwise.images.files import PNG_MAGIC, Refusal

SPARE_BYTES = 1 << 16  # of a PNG beyond its pixels: text chunks, a palette
LINES = ("point", "line", "polyline", "graph", "cuboid", "any_tag")  # class types without area
DAMAGED = "holds a bitmap that is damaged"


def recognises(root: Path) -> bool:
    return any_that(root, (".json",), _is_ours, depth=5)


def list_pairs(root: Path) -> Listing:
    """Every annotated image in `img/` next to `ann/`, or under its name anywhere below the root."""
    paths = files_that(root, (".json",), _is_ours, depth=5)
    metas = [path for path in files_below(root, (".json",), depth=3) if path.name == "meta.json"]
    declared = list(dict.fromkeys(name for path in metas for name in (read_or_none(_classes_of, path) or [])))
    return list_pictures("supervisely", root, paths, read, "Supervisely's classes", declared)


def _is_ours(text: str) -> bool:
    if '"classTitle"' in text or ('"objects"' in text and '"geometryType"' in text):
        return '"framesCount"' not in text  # found in videos
    return '"objects"' in text and '"size"' in text and '"tags"' in text and '"height"' in text


def _classes_of(path: Path) -> list[str]:
    """The classes with area that a project's meta.json declares; none if it is not Supervisely's. Raises Refusal."""
    table = read_json(path)
    rows = table.get("classes") if isinstance(table, dict) else None
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [row["title"] for row in rows if isinstance(row.get("title"), str) and row.get("shape") not in LINES]


def read(path: Path) -> dict[Place, AnnotatedImage]:
    table = read_json(path)
    objects = table.get("objects") if isinstance(table, dict) else None
    if not isinstance(objects, list):
        raise Refusal("annotations", "has no list of objects; expected Supervisely's JSON.", "Export it again.")
    size = table.get("size")
    stated = (size.get("height"), size.get("width")) if isinstance(size, dict) else (None, None)
    height, width = (side if type(side) is int else 0 for side in stated)
    figures = tuple(_figure(one) for one in objects if isinstance(one, dict))
    name = path.name.removesuffix(".json")
    picture = AnnotatedImage(name, figures, (height, width) if height and width else None, _image_of(path, name))
    return {"": picture}


mask_ids = partial(picture_mask, read)
object_ids = partial(picture_objects, read)


def _image_of(path: Path, name: str) -> Path | None:
    """The image of an annotation file: img/a.png for ann/a.png.json, or ann/a.json in old projects."""
    folder = path.parent.with_name("img")
    own = [folder / name] if Path(name).suffix.lower() in IMAGE_SUFFIXES else []
    return next((p for p in [*own, *(folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES)] if p.is_file()), None)


def _figure(one: dict[str, Any]) -> DrawnShape:
    name, kind = str(one.get("classTitle") or "object"), str(one.get("geometryType") or "polygon")
    if kind == "bitmap":
        bitmap = one.get("bitmap")
        bitmap = bitmap if isinstance(bitmap, dict) else {}
        return DrawnShape(name, kind, patch=partial(_patch, bitmap.get("data"), bitmap.get("origin")))
    turned = one.get("angle") or 0
    if kind == "ellipse":
        centre, radii = one.get("center"), (one.get("radius_x"), one.get("radius_y"))
        return DrawnShape.ellipse(name, kind, *(centre if isinstance(centre, list) else ()), *radii, turned=turned)
    points = one.get("points")
    points = points if isinstance(points, dict) else {}
    exterior, interior = points.get("exterior"), points.get("interior") or []
    if kind == "rectangle":
        corners = exterior if isinstance(exterior, list) and len(exterior) == 2 else [[], []]
        return DrawnShape.rectangle(name, kind, *(side for corner in corners for side in corner))
    if kind == "polygon":
        return DrawnShape.polygon(name, kind, [exterior, *interior])
    return DrawnShape.not_drawn(name, kind)


def _patch(data: Any, origin: Any, size: Size) -> MaskPatch:
    """The pixels of a bitmap on an image of this size. Raises Refusal."""
    remedy = "Export the annotations again."
    height, width = size
    try:
        left, top = (int(number) for number in origin)
        packed = base64.b64decode(data, validate=True)
        unpack = zlib.decompressobj()
        png = unpack.decompress(packed, height * (width * 4 + 1) + SPARE_BYTES)
    except (TypeError, ValueError, OverflowError, zlib.error) as error:
        raise Refusal("annotations", f"{because(DAMAGED, error)}.", remedy) from error
    if not png.startswith(PNG_MAGIC):
        raise Refusal("annotations", f"{DAMAGED}: it is not a PNG, or larger than its image.", remedy)
    with opened_png(png, "a bitmap", remedy) as opened:
        if opened.width > width or opened.height > height:
            what = f"holds a bitmap of {opened.width}×{opened.height} pixels in an image of {width}×{height}."
            raise Refusal("size-mismatch", what, remedy)
        own = object_pixels(opened)
    if min(top, left) < 0 or top + own.shape[0] > height or left + own.shape[1] > width:
        raise Refusal("size-mismatch", f"holds a bitmap at {left}, {top} that leaves its image.", remedy)
    return MaskPatch(top, left, own)
