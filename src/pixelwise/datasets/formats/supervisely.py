"""Supervisely: a folder a dataset, with `img/` and `ann/`, a JSON file an image; meta.json declares the classes.

Polygons (with holes), rectangles, ellipses and bitmaps are drawn in their order; points, lines and skeletons have no
area and are reported. A bitmap is a PNG in zlib in base64: nothing of it is unpacked beyond the size of its image.
The outlines of its figures are taken along the pixels' edges, as everywhere here.

Format: developer.supervisely.com, "Supervisely annotation format".
"""

from __future__ import annotations

import base64
import io
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.datasets.formats.annotated_shapes import (
    AnnotatedImage,
    DrawnShape,
    MaskPatch,
    Size,
    ellipse,
    list_pictures,
    not_drawn,
    picture_ids,
    polygon,
    rectangle,
    some_below,
)
from pixelwise.datasets.formats.annotation_files import files_below, peek, read_json
from pixelwise.datasets.layouts import IMAGE_SUFFIXES, Listing
from pixelwise.images.decode import MaskIds
from pixelwise.images.files import PNG_MAGIC, Refusal, shown

SPARE_BYTES = 1 << 16  # of a PNG beyond its pixels: chunks of text, a palette
DAMAGED = "holds a bitmap that is damaged"


def is_supervisely(root: Path) -> bool:
    return some_below(root, (".json",), _is_ours, depth=5)


def list_supervisely(root: Path) -> Listing:
    """Every annotated image that lies in `img/` beside `ann/`, or anywhere below the root under its name."""
    paths = [path for path in files_below(root, (".json",), depth=5) if _is_ours(peek(path))]
    declared = list(dict.fromkeys(name for path in _metas(root) for name in _classes_of(path)))
    return list_pictures("supervisely", root, paths, _read, "Supervisely's classes", declared)


def drawn_ids(path: Path, entry: str, size: Size) -> MaskIds:
    """The mask of one image. `entry`: as `add_drawn` writes it."""
    return picture_ids(_read, path, entry, size)


def _is_ours(text: str) -> bool:
    if '"classTitle"' in text or ('"objects"' in text and '"geometryType"' in text):
        return '"framesCount"' not in text  # of a video
    return '"objects"' in text and '"size"' in text and '"tags"' in text and '"height"' in text


def _metas(root: Path) -> list[Path]:
    return [path for path in files_below(root, (".json",), depth=3) if path.name == "meta.json"]


def _classes_of(path: Path) -> list[str]:
    """The names that a project's meta.json declares; none of one that is not Supervisely's."""
    try:
        table = read_json(path)
    except Refusal:
        return []  # the classes are those that are drawn
    rows = table.get("classes") if isinstance(table, dict) else None
    return [row["title"] for row in rows if _has_title(row)] if isinstance(rows, list) else []


def _has_title(row: Any) -> bool:
    # classes of points and lines would never have a pixel
    return isinstance(row, dict) and isinstance(row.get("title"), str) and row.get("shape") not in _LINES


def _read(path: Path) -> dict[str, AnnotatedImage]:
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


def _image_of(path: Path, name: str) -> Path | None:
    """img/a.png of ann/a.png.json; in old projects ann/a.json."""
    folder = path.parent.with_name("img")
    own = [folder / name] if Path(name).suffix.lower() in IMAGE_SUFFIXES else []
    return next((p for p in [*own, *(folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES)] if p.is_file()), None)


_LINES = ("point", "line", "polyline", "graph", "cuboid", "any_tag")


def _figure(one: dict[str, Any]) -> DrawnShape:
    name, kind = str(one.get("classTitle") or "object"), str(one.get("geometryType") or "polygon")
    if kind == "bitmap":
        bitmap = one.get("bitmap")
        bitmap = bitmap if isinstance(bitmap, dict) else {}
        return DrawnShape(name, kind, stamp=partial(_stamp, bitmap.get("data"), bitmap.get("origin")))
    if kind == "ellipse":
        centre, radii = one.get("center"), (one.get("radius_x"), one.get("radius_y"))
        return ellipse(name, kind, *(centre if isinstance(centre, list) else ()), *radii, turned=one.get("angle") or 0)
    points = one.get("points")
    points = points if isinstance(points, dict) else {}
    exterior, interior = points.get("exterior"), points.get("interior") or []
    if kind == "rectangle":
        corners = exterior if isinstance(exterior, list) and len(exterior) == 2 else [[], []]
        return rectangle(name, kind, *(side for corner in corners for side in corner))
    if kind == "polygon":
        return polygon(name, kind, [exterior, *interior])
    return not_drawn(name, kind)


def _stamp(data: Any, origin: Any, size: Size) -> MaskPatch:
    """The pixels of a bitmap on an image of this size. Raises Refusal."""
    remedy = "Export the annotations again."
    height, width = size
    try:
        left, top = (int(number) for number in origin)
        packed = base64.b64decode(data, validate=True)
        unpack = zlib.decompressobj()
        png = unpack.decompress(packed, height * (width * 4 + 1) + SPARE_BYTES)
    except (TypeError, ValueError, OverflowError, zlib.error) as error:
        raise Refusal("annotations", f"{DAMAGED} ({shown(str(error)[:60])}).", remedy) from error
    if not png.startswith(PNG_MAGIC):
        raise Refusal("annotations", f"{DAMAGED}: it is no PNG, or larger than its image.", remedy)
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as opened:
            if opened.width > width or opened.height > height:
                what = f"holds a bitmap of {opened.width}×{opened.height} pixels in an image of {width}×{height}."
                raise Refusal("size-mismatch", what, remedy)
            own = _lit(opened)
    except Refusal:
        raise
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise Refusal("annotations", f"{DAMAGED} ({shown(str(error)[:60])}).", remedy) from error
    if min(top, left) < 0 or top + own.shape[0] > height or left + own.shape[1] > width:
        raise Refusal("size-mismatch", f"holds a bitmap at {left}, {top} that leaves its image.", remedy)
    return MaskPatch(top, left, own)


def _lit(opened: Image.Image) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Where a bitmap is: its alpha where it has one, as the tool itself takes it, else what is not 0."""
    if opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info:
        return np.asarray(np.asarray(opened.convert("RGBA"))[:, :, 3] > 0)
    values = np.asarray(opened.convert("L") if opened.mode not in ("1", "L", "P", "I;16") else opened)
    return np.asarray(values > 0)
