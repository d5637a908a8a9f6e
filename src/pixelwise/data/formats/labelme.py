"""LabelMe: a JSON file an image, with `shapes`: polygons, rectangles, circles.

Format: github.com/wkentaro/labelme. Names become ids in the order of the alphabet, from 1; later shapes are drawn over
earlier ones. A label's group or instance number is not used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.decode import MaskIds
from pixelwise.data.files import Refusal, shown
from pixelwise.data.formats.drawing import (
    Drawn,
    ImageFiles,
    add_drawn,
    blank_mask,
    files_below,
    named_masks,
    peek,
    read_all,
    read_json,
    split_of,
)
from pixelwise.data.formats.polygons import Polygon, fill, judge_polygons, outlines, polygon_of
from pixelwise.data.layouts import Listing

CIRCLE_CORNERS = 64


def label_files(root: Path) -> list[Path]:
    return [path for path in files_below(root, (".json",)) if '"shapes"' in peek(path) or '"imagePath"' in peek(path)]


def is_labelme(root: Path) -> bool:
    return bool(label_files(root))


def list_labelme(root: Path) -> Listing:
    """Every JSON file whose image is there: beside it, or anywhere below the root under its name."""
    listing, files = Listing(root), ImageFiles(root)
    drawn = []
    for path, (table, shapes) in read_all(label_files(root), _drawing, listing):
        image = files.find(str(table.get("imagePath") or f"{path.stem}.jpg"), near=path.parent.parts)
        if image is None:
            listing.error("image-missing", path, f"names {table.get('imagePath')!r}, which is not there.", "Add it.")
            continue
        _judge(path, table, shapes, listing)
        names = frozenset(str(shape.get("label")) for shape in shapes)
        drawn.append(Drawn(path, image, split_of(path, root), names))
    add_drawn("labelme", drawn, listing, "the labels of LabelMe's shapes")
    return listing


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask that a JSON file draws. `entry`: as `add_drawn` writes it."""
    _, ids = json.loads(entry)
    mask = blank_mask(*size, max(ids.values(), default=0))
    _, shapes = _drawing(path)
    for shape in shapes:
        corners = _corners(shape)
        if corners is not None and str(shape.get("label")) in ids:
            fill(mask, corners, ids[str(shape["label"])])
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


def _drawing(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A file's table and the shapes in it. Raises Refusal."""
    table = read_json(path)
    shapes = table.get("shapes") if isinstance(table, dict) else None
    if not isinstance(shapes, list):
        raise Refusal("annotations", "has no list of shapes; expected LabelMe's JSON.", "Export it again.")
    return table, [shape for shape in shapes if isinstance(shape, dict)]


def _corners(shape: dict[str, Any]) -> Polygon | None:
    """The outline of a shape; None for points, lines and what cannot be drawn."""
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    try:
        if kind == "rectangle":
            (x0, y0), (x1, y1) = np.asarray(points, np.float64)
            return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        if kind == "circle":
            centre, rim = np.asarray(points, np.float64)
            angles = np.linspace(0, 2 * np.pi, CIRCLE_CORNERS, endpoint=False)
            radius = float(np.hypot(*(rim - centre)))
            return np.asarray(centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1), np.float64)
        return polygon_of(points) if kind == "polygon" else None
    except (Refusal, ValueError, TypeError):
        return None


def _judge(path: Path, table: dict[str, Any], shapes: list[dict[str, Any]], listing: Listing) -> None:
    height, width = table.get("imageHeight"), table.get("imageWidth")
    if not isinstance(height, int) or not isinstance(width, int):
        return
    polygons = [
        (f"shape {i} ({shown(str(shape.get('label')))})", shape.get("points"))
        for i, shape in enumerate(shapes)
        if (shape.get("shape_type") or "polygon") == "polygon"
    ]
    judge_polygons(
        polygons,
        (height, width),
        lambda kind, where, message, remedy: listing.warn(kind, path, f"{where} {message}", remedy),
    )
