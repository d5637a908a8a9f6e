"""LabelMe: a JSON file an image, with `shapes`.

Drawn: polygon, rectangle, oriented_rectangle (and X-AnyLabeling's rotation), circle, mask. Named as not drawn: line,
linestrip, point, points and what is unknown. `__ignore__` is void and `_background_` the background, as LabelMe's own
converters have it. Names become ids in the order of the alphabet, from 1; later shapes are drawn over earlier ones. A
label's group or instance number is not used.

Format: github.com/wkentaro/labelme.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.formats.annotation_files import (
    BACKGROUND,
    Drawn,
    ImageFiles,
    SkippedShapes,
    add_drawn,
    blank_mask,
    files_below,
    named_masks,
    peek,
    read_all,
    read_json,
    shape_named,
    split_of,
)
from pixelwise.datasets.formats.field_checks import rows_of, same_size, size_of, table_of, text_of
from pixelwise.datasets.formats.polygons import Polygon, fill, judge_polygons, outlines, polygon_of
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.formats.shape_outlines import box_of, ellipse_of
from pixelwise.datasets.layouts import IMAGE_SUFFIXES, Listing
from pixelwise.images.decode import MaskIds, mask_ids_of
from pixelwise.images.files import Refusal, shown

DRAWN = ("polygon", "rectangle", "oriented_rectangle", "rotation", "circle", "mask")
OWN_BACKGROUND = "_background_"
Row = dict[str, Any]


def label_files(root: Path) -> list[Path]:
    return [path for path in files_below(root, (".json",)) if _is_labelme(peek(path))]


def _is_labelme(text: str) -> bool:
    return '"imagePath"' in text or ('"shapes"' in text and any(f'"{key}"' in text for key in ("points", "version")))


def is_labelme(root: Path) -> bool:
    return bool(label_files(root))


def list_labelme(root: Path) -> Listing:
    """Every JSON file whose image is there: beside it, or anywhere below the root under its name."""
    listing, files = Listing(root), ImageFiles(root)
    undrawn, drawn = SkippedShapes(listing), list[Drawn]()
    for path, (table, shapes) in read_all(label_files(root), _drawing, listing):
        with problems_of(listing, path):
            image, named = _image(path, table, files)
            if image is None:
                listing.error("image-missing", path, files.missing(named), "Add it, or correct imagePath.")
                continue
            names = _judge(path, table, shapes, listing, undrawn)
            drawn.append(Drawn(path, image, split_of(path, root), names))
    undrawn.report()
    add_drawn("labelme", drawn, listing, "the labels of LabelMe's shapes")
    return listing


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask that a JSON file draws. `entry`: as `add_drawn` writes it. Raises Refusal: damaged, another size."""
    _, ids = json.loads(entry)
    table, shapes = _drawing(path)
    same_size(size_of(table.get("imageHeight"), table.get("imageWidth")), size)
    mask = blank_mask(*size, max(ids.values(), default=0))
    for i, shape in enumerate(shapes):
        if _kind(shape) in DRAWN:
            with shape_named(f"shape {i} ({_kind(shape)} {shown(_label(shape))})"):
                _draw(mask, shape, ids[_label(shape)])
    return mask


def labelme_text(labels: NDArray[np.uint8], names: tuple[str, ...], image_name: str) -> bytes:
    """The JSON of a mask [H, W]: every piece of every class but background; void as shapes labelled "void"."""
    height, width = labels.shape
    shapes = [
        {"label": name, "points": polygon.tolist(), "group_id": None, "shape_type": "polygon", "flags": {}}
        for name, _, own in named_masks(labels, names)
        for polygon in outlines(own)
    ]
    table: dict[str, Any] = {
        "version": "5.0.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image_name,
        "imageData": None,
    }
    return json.dumps({**table, "imageHeight": height, "imageWidth": width}).encode()


def _image(path: Path, table: Row, files: ImageFiles) -> tuple[Path | None, str]:
    """The image of a JSON file, and its name there; without one, the image that has the file's own name."""
    near = path.parent.relative_to(files.root).parts
    if table.get("imagePath"):
        names = [text_of(table["imagePath"], "imagePath", "surrogateescape")]
    else:
        names = [path.stem + suffix for suffix in IMAGE_SUFFIXES]
    found = (files.find(name, near=near, base=path.parent) for name in names)
    return next((image for image in found if image is not None), None), names[0]


def _drawing(path: Path) -> tuple[Row, list[Row]]:
    """A file's table and the shapes in it. Raises Refusal."""
    table = table_of(read_json(path), "content")
    return table, rows_of(table.get("shapes"), "shapes")


def _label(shape: Row) -> str:
    label = text_of(shape.get("label"), "label of a shape")
    return BACKGROUND if label == OWN_BACKGROUND else label


def _kind(shape: Row) -> str:
    return text_of(shape.get("shape_type") or "polygon", "shape_type")


def _draw(mask: MaskIds, shape: Row, value: int) -> None:
    """One of DRAWN onto the mask. Raises Refusal."""
    if _kind(shape) != "mask":
        fill(mask, _outline(shape), value)
        return
    points = np.rint(_points(shape, 2)).astype(np.int64)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    height, width = bottom - top + 1, right - left + 1  # both corners belong to it
    if not 0 <= left <= right < mask.shape[1] or not 0 <= top <= bottom < mask.shape[0]:
        raise Refusal("mask-shape", f"has a box of {width}×{height} at {left}, {top} that leaves the image.", "")
    try:
        data = base64.b64decode(text_of(shape.get("mask"), "mask"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal("mask-shape", f"has a mask that is no base64 ({error}).", "Draw it again.") from error
    own = mask_ids_of(data)
    if own.shape != (height, width):
        what = f"has a mask of {own.shape[1]}×{own.shape[0]} pixels in a box of {width}×{height}."
        raise Refusal("mask-shape", what, "Draw it again.")
    mask[top : bottom + 1, left : right + 1][own > 0] = value


def _outline(shape: Row) -> Polygon:
    """The outline of a shape other than a mask. Raises Refusal."""
    kind = _kind(shape)
    if kind == "rectangle":
        points = _points(shape, 2)
        low, high = points.min(axis=0), points.max(axis=0)
        return box_of(*low.tolist(), *high.tolist())
    if kind == "circle":
        (x, y), rim = _points(shape, 2)[:2]
        radius = float(np.hypot(*(rim - (x, y))))
        return ellipse_of(float(x), float(y), radius, radius)
    return polygon_of(shape.get("points"))


def _points(shape: Row, number: int) -> Polygon:
    points = polygon_of(shape.get("points"), number)
    if len(points) > number and (number, len(points)) != (2, 4):  # a rectangle may be given by its four corners
        raise Refusal("polygon-empty", f"has {len(points)} points; expected {number}.", "Draw it again.")
    return points


def _judge(path: Path, table: Row, shapes: list[Row], listing: Listing, undrawn: SkippedShapes) -> frozenset[str]:
    """The labels of what is drawn; what is not drawn, or not as it is meant, is told. Raises Refusal."""
    size = size_of(table.get("imageHeight"), table.get("imageWidth"))
    polygons, names = [], set()
    for i, shape in enumerate(shapes):
        label, kind, where = _label(shape), _kind(shape), f"shape {i}"
        if kind not in DRAWN:
            undrawn.add(path, kind, label, where)
            continue
        names.add(label)
        if kind == "mask":
            continue
        try:
            numbers: Any = _outline(shape) if kind != "polygon" else shape.get("points")
        except Refusal as refusal:
            where = f"shape {i} ({kind} {shown(label)})"
            listing.warn(refusal.kind, path, f"{where} {refusal.what}", f"It is passed over. {refusal.remedy}")
        else:
            polygons.append((f"shape {i} ({shown(label)})", numbers))
    judge_polygons(
        polygons, size, lambda kind, where, message, remedy: listing.warn(kind, path, f"{where} {message}", remedy)
    )
    return frozenset(names)
