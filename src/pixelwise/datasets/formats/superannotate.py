"""SuperAnnotate: one JSON file per image; pixel projects add `a.jpg___save.png` with one colour per object.

`a.jpg___pixel.json`, `a.jpg___objects.json` or, in newer exports, `a.jpg.json` lists the objects: `instances` with
their class. In pixel projects an instance has parts, each a colour of `___save.png`; otherwise it is a polygon (with
`exclude`d holes), a box, a rotated box or an ellipse, drawn in order. `classes/classes.json` lists the classes.
`___fuse.png` shows the same in class colours and is not needed.

Format: doc.superannotate.com, "Vector JSON" and "Pixel JSON".
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES
from pixelwise.datasets.formats.annotated_shapes import OBJECT, AnnotatedImage, DrawnShape, MaskPatch, Place, Size
from pixelwise.datasets.formats.annotation_files import (
    any_that,
    list_pictures,
    peek,
    picture_mask,
    pictures_of,
    read_json,
    read_or_none,
)
from pixelwise.datasets.formats.image_lookup import files_below
from pixelwise.datasets.formats.object_pngs import opened_png, require_size
from pixelwise.datasets.listing import Listing
from pixelwise.images.decode import MaskIds, colour_codes
from pixelwise.images.files import Refusal, read_bytes, shown

ENDINGS = ("___pixel.json", "___objects.json", ".json")
SAVED = "___save.png"
CLASSES = "classes.json"
AGAIN = "Export the project again, so that its files fit."


def recognises(root: Path) -> bool:
    if any(path.name.endswith(ENDINGS[:2]) for path in files_below(root, ENDINGS[:2])):
        return True
    return any_that(root, (".json",), _is_ours)


def list_pairs(root: Path) -> Listing:
    """Every existing annotated image; those with status "NotStarted" are skipped, with a note."""
    paths = [p for p in files_below(root, (".json",)) if p.name.endswith(ENDINGS[:2]) or _is_ours(peek(p))]
    tables = [path for path in files_below(root, (".json",), depth=3) if path.name == CLASSES]
    declared = list(dict.fromkeys(name for path in tables for name in (read_or_none(_classes_in, path) or {}).values()))
    listing = list_pictures("superannotate", root, paths, read, "SuperAnnotate's classes", declared)
    if waiting := sum((read_or_none(_not_started, path) or False) for path in paths):
        listing.notes.append(f'Left out: {waiting:,} images whose status in SuperAnnotate is "NotStarted".')
    return listing


def mask_ids(path: Path, entry: str, size: Size) -> MaskIds:
    """The mask of one image. `entry`: from `add_drawn`. Raises Refusal: pixels belong to no instance."""
    mask = picture_mask(read, path, entry, size)
    patches = [f.patch for f in pictures_of(read, path)[""].shapes if isinstance(f.patch, partial)]
    if patches:
        saved = patches[0].args[0]
        codes, named = (
            _codes(saved, saved.stat().st_mtime_ns),
            {c for patch in patches for c in _numbers(patch.args[1])},
        )
        nobody = ~np.isin(codes, [-1, 0, *named])  # black: nothing is drawn
        if nobody.any():
            what = f"names no object for {int(nobody.sum()):,} coloured pixels of {shown(saved.name)}."
            raise Refusal("annotations", what, AGAIN)
    return mask


def _is_ours(text: str) -> bool:
    return '"instances"' in text and ('"metadata"' in text or '"className"' in text) and '"shapes"' not in text


def _classes_in(path: Path) -> dict[int, str]:
    """The class names of a classes.json, by number. Raises Refusal."""
    rows = read_json(path)
    rows = rows if isinstance(rows, list) else []
    named = [row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]
    return {row.get("id", i): row["name"] for i, row in enumerate(named) if type(row.get("id", i)) is int}


def _classes_beside(path: Path) -> dict[int, str]:
    """The classes of a file's project: from its own folder or one above."""
    for folder in (path.parent, *path.parents[1:3]):
        for place in (folder / "classes" / CLASSES, folder / CLASSES):
            if place.is_file():
                return read_or_none(_classes_in, place) or {}  # without them, instances carry their own names
    return {}


def read(path: Path) -> dict[Place, AnnotatedImage]:
    table = read_json(path)
    instances = table.get("instances") if isinstance(table, dict) else table  # old exports: a bare list
    if not isinstance(instances, list):
        raise Refusal("annotations", "has no list of instances; expected SuperAnnotate's JSON.", "Export it again.")
    meta = table.get("metadata") if isinstance(table, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    if meta.get("status") == "NotStarted" and not instances:
        return {}
    ending = next(end for end in ENDINGS if path.name.endswith(end))
    own = path.name.removesuffix(ending)
    name = own if Path(own).suffix.lower() in IMAGE_SUFFIXES else str(meta.get("name") or own)
    beside = path.parent / name
    height, width = (side if type(side) is int and side > 0 else 0 for side in (meta.get("height"), meta.get("width")))
    classes = _classes_beside(path) if any("className" not in one for one in instances if isinstance(one, dict)) else {}
    figures = tuple(_figure(one, path, own, classes) for one in instances if isinstance(one, dict))
    at = beside if beside.is_file() else None
    return {"": AnnotatedImage(name, figures, (height, width) if height and width else None, at)}


def _not_started(path: Path) -> bool:
    table = read_json(path)
    meta = table.get("metadata") if isinstance(table, dict) else None
    return isinstance(meta, dict) and meta.get("status") == "NotStarted" and not table.get("instances")


def _figure(one: dict[str, Any], path: Path, own: str, classes: dict[int, str]) -> DrawnShape:
    number = one.get("classId")
    name = str(one.get("className") or (classes.get(number) if type(number) is int else "") or OBJECT)
    parts, kind = one.get("parts"), str(one.get("type") or "mask")
    if isinstance(parts, list) and "points" not in one:
        colours = tuple(str(part.get("color")) for part in parts if isinstance(part, dict))
        return DrawnShape(name, kind, patch=partial(_saved, path.with_name(own + SAVED), colours))
    points = one.get("points")
    if kind == "polygon":
        holes = one.get("exclude") or []
        return DrawnShape.polygon(name, kind, [points, *holes])
    table = points if isinstance(points, dict) else one
    if kind == "bbox":
        return DrawnShape.rectangle(name, kind, *(table.get(key) for key in ("x1", "y1", "x2", "y2")))
    if kind == "rbbox":
        return DrawnShape.polygon(name, kind, [[[table.get(f"x{i}"), table.get(f"y{i}")] for i in range(1, 5)]])
    turned = one.get("angle") or 0
    if kind == "ellipse":
        return DrawnShape.ellipse(name, kind, *(table.get(key) for key in ("cx", "cy", "rx", "ry")), turned=turned)
    return DrawnShape.not_drawn(name, kind)


def _saved(path: Path, colours: tuple[str, ...], size: Size) -> MaskPatch:
    """The pixels of ___save.png [H, W] with one of these colours. Raises Refusal."""
    if not path.is_file():
        what = f"has its pixels in {shown(path.name)}, which is not there."
        raise Refusal("mask-missing", what, "Add it: export the project with its fused images and masks.")
    codes = _codes(path, path.stat().st_mtime_ns)
    require_size(codes.shape, size, path.name, AGAIN)
    own = np.isin(codes, _numbers(colours))
    if not own.any():
        what = f"has the colours {shown(', '.join(colours)[:60])}, which {shown(path.name)} does not have."
        raise Refusal("annotations", what, AGAIN)
    return MaskPatch(0, 0, own)


def _numbers(colours: tuple[str, ...]) -> list[int]:
    """ "#0102ff" → 0x0102FF. Raises Refusal."""
    if not all(re.fullmatch("#?[0-9a-fA-F]{6}", colour) for colour in colours):
        raise Refusal("annotations", f"has the colour {shown(str(colours)[:60])}.", AGAIN)
    return [int(colour.removeprefix("#"), 16) for colour in colours]


@lru_cache(maxsize=1)
def _codes(path: Path, _changed_ns: int) -> NDArray[np.int32]:
    """The colours of a PNG as numbers 0xRRGGBB [H, W], −1 where transparent. Raises Refusal."""
    with opened_png(read_bytes(path), path.name, AGAIN) as opened:
        pixels = np.asarray(opened.convert("RGBA"))
    codes = colour_codes(pixels[:, :, :3])
    codes[pixels[:, :, 3] == 0] = -1
    return codes
