"""V7's Darwin: one JSON file per image, of version 2 (`item`, `slots`) or 1 (`image`).

Polygons of several paths (even-odd), boxes, ellipses and raster layers are drawn in order; lines, keypoints and
skeletons have no area and are reported. A raster layer is one list of value and count along the rows; its mapping gives
each `mask` annotation its number. Videos and multi-image items are refused.

Format: docs.v7labs.com, "Darwin JSON". Shapes: H, W of the mask.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.formats.annotated_shapes import (
    OBJECT,
    AnnotatedImage,
    DrawnShape,
    MaskPatch,
    Place,
    Size,
    number_of,
)
from pixelwise.datasets.formats.annotation_files import (
    any_that,
    files_that,
    list_pictures,
    picture_mask,
    picture_objects,
    read_json,
)
from pixelwise.datasets.formats.field_checks import rows_of, size_of, table_of
from pixelwise.datasets.listing import Listing
from pixelwise.images.files import Refusal

LAYER = "raster_layer"
AGAIN = "Export the annotations again."
KINDS = (  # keys of an annotation's shape, drawn kinds first
    "polygon", "complex_polygon", "ellipse", "mask", "bounding_box", "line", "keypoint", "skeleton", "cuboid", "graph",
    "string", "simple_table", "eye", "table",
)  # fmt: skip
OF_THE_IMAGE = ("tag", "text", "link")  # annotations of the whole image


def recognises(root: Path) -> bool:
    return any_that(root, (".json",), _is_ours)


def list_pairs(root: Path) -> Listing:
    """Every existing annotated image, found by its name and the folder in the item's path."""
    paths = files_that(root, (".json",), _is_ours)
    return list_pictures("darwin", root, paths, read, "Darwin's classes")


def _is_ours(text: str) -> bool:
    second = '"item"' in text and ('"slots"' in text or "darwin" in text)
    return second or ('"dataset"' in text and '"image"' in text and ('"workview_url"' in text or '"seq"' in text))


def read(path: Path) -> dict[Place, AnnotatedImage]:
    table = table_of(read_json(path), "content")
    annotations = rows_of(table.get("annotations"), "annotations")
    if any("frames" in one for one in annotations):
        raise Refusal("unread-format", "draws on a video.", "Export its frames as images with their annotations.")
    name, folder, size = _image(table)
    figures = tuple(figure for one in annotations if (figure := _figure(one, annotations)) is not None)
    return {"": AnnotatedImage(f"{folder}/{name}" if folder else name, figures, size)}


mask_ids = partial(picture_mask, read)
object_ids = partial(picture_objects, read)


def _image(table: dict[str, Any]) -> tuple[str, str, Size | None]:
    """The name, folder and (H, W) of the image. Raises Refusal."""
    if "item" not in table:
        image = table_of(table.get("image"), "image")
        name, folder = image.get("original_filename") or image.get("filename"), image.get("path")
        return str(name), str(folder or "").strip("/"), size_of(image.get("height"), image.get("width"))
    item = table_of(table["item"], "item")
    slots = rows_of(item.get("slots") or [{}], "slots")
    if len(slots) > 1:
        raise Refusal("unread-format", f"draws on an item of {len(slots)} images (slots).", "Export one image an item.")
    files = slots[0].get("source_files") or []
    own = [file.get("file_name") for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    name = item.get("name") or (own[0] if own else None)
    return str(name), str(item.get("path") or "").strip("/"), size_of(slots[0].get("height"), slots[0].get("width"))


def _figure(one: dict[str, Any], annotations: list[dict[str, Any]]) -> DrawnShape | None:
    """The figure of an annotation; None for tags of the whole image and for raster layers."""
    name, kind = str(one.get("name") or OBJECT), next((key for key in KINDS if key in one), "")
    shape = one.get(kind)
    shape = shape if isinstance(shape, dict) else {}
    if not kind:
        other = next((key for key in one if isinstance(one[key], dict) and key not in ("properties", LAYER)), "")
        whole = LAYER in one or any(key in one for key in OF_THE_IMAGE)
        return None if whole else DrawnShape.not_drawn(name, other or "annotation")
    if kind in ("polygon", "complex_polygon"):
        return DrawnShape.polygon(name, kind, [_ring(ring) for ring in _paths(shape)])
    if kind == "bounding_box":
        return DrawnShape.box(name, kind, *(shape.get(key) for key in "xywh"))
    if kind == "ellipse":
        parts = [part for key in ("center", "radius") if isinstance(part := shape.get(key), dict)]
        turned = np.rad2deg(number_of(shape.get("angle")) or 0)
        return DrawnShape.ellipse(name, kind, *(part.get(axis) for part in parts for axis in "xy"), turned=turned)
    if kind == "mask":
        return DrawnShape(name, kind, patch=partial(_patch, str(one.get("id")), _layer_of(one, annotations)))
    return DrawnShape.not_drawn(name, kind)


def _paths(shape: dict[str, Any]) -> list[Any]:
    """A polygon's paths: `paths` of version 2; `path`, of corners or of paths, and `additional_paths` of version 1."""
    if isinstance(shape.get("paths"), list):
        return list(shape["paths"])
    path = shape.get("path") or []
    first = list(path) if path and isinstance(path[0], list) else [path]
    return first + list(shape.get("additional_paths") or [])


def _ring(path: Any) -> Any:
    return [[corner.get("x"), corner.get("y")] for corner in path if isinstance(corner, dict)] if path else path


def _layer_of(one: dict[str, Any], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """The raster layer with a mask's pixels; {} if there is none."""
    layers = [a[LAYER] for a in annotations if isinstance(a.get(LAYER), dict)]
    owners = [layer for layer in layers if one.get("id") in _mapping(layer)]
    return owners[0] if owners else {}


def _mapping(layer: dict[str, Any]) -> dict[str, Any]:
    mapping = layer.get("mask_annotation_ids_mapping")
    return mapping if isinstance(mapping, dict) else {}


def _patch(own: str, layer: dict[str, Any], size: Size) -> MaskPatch:
    """The pixels of a raster layer with one mask's number. Raises Refusal."""
    number = _mapping(layer).get(own)
    if type(number) is not int:
        raise Refusal("annotations", "has no pixels: no raster layer names it.", AGAIN)
    return MaskPatch(0, 0, layer_numbers(layer.get("dense_rle"), *size) == number)


def layer_numbers(runs: Any, height: int, width: int) -> NDArray[np.int32]:
    """A raster layer's numbers [H, W] from alternating value and count, along the rows. Raises Refusal."""
    if not isinstance(runs, list) or len(runs) % 2 or not set(map(type, runs)) <= {int}:
        raise Refusal("run-lengths", "has run lengths that are not pairs of integers.", AGAIN)
    values, counts = runs[::2], runs[1::2]
    if (
        not runs
        or min(runs) < 0
        or max(counts) > height * width
        or max(values) >= 2**31
        or sum(counts) != height * width
    ):
        what = f"has run lengths that do not add up to {width}×{height} pixels."
        raise Refusal("run-lengths", what, AGAIN)
    return np.repeat(np.asarray(values, np.int32), np.asarray(counts, np.int64)).reshape(height, width)
