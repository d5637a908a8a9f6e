"""LabelMe of MIT, the web tool: an XML file an image, with `object`s: polygons, boxes and masks.

Folders are those of the tool (`Images/`, `Annotations/`, `Masks/`, each with collections inside) or a file beside its
image, as CVAT exports "LabelMe 3.0". An object's mask is a PNG that `segm/mask` names: where it is not 0, by its alpha
if it has one. Objects whose `deleted` is 1 are not drawn, and a note counts them.

VOC's XML with polygons as x1, y1, x2 … (Roboflow, RectLabel) is read by the same rules.
Format: labelme.csail.mit.edu, "Annotation XML". The JSON of the Python program LabelMe is `labelme`.
"""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from PIL import Image

from pixelwise.datasets.formats.annotated_shapes import (
    OBJECT,
    AnnotatedImage,
    DrawnShape,
    MaskPatch,
    Size,
    list_pictures,
    number_of,
    picture_ids,
    pictures_of,
    polygon,
    some_below,
)
from pixelwise.datasets.formats.annotation_files import files_below, peek
from pixelwise.datasets.formats.xml_tree import parse_xml
from pixelwise.datasets.layouts import Listing
from pixelwise.images.decode import MAX_PIXELS, MaskIds
from pixelwise.images.files import Refusal, read_bytes, shown

MASK_FOLDERS = 4  # above an XML file, in which Masks/ is looked for


def is_labelme_xml(root: Path) -> bool:
    return some_below(root, (".xml",), _is_ours, depth=5)


def list_labelme_xml(root: Path) -> Listing:
    """Every XML file whose image is there: beside it, or in the collection of its name."""
    paths = [path for path in files_below(root, (".xml",), depth=5) if _is_ours(peek(path))]
    listing = list_pictures("labelme-xml", root, paths, _read, "the names of LabelMe's objects")
    if deleted := sum(map(_deleted, paths)):
        listing.notes.append(f"Not drawn, for they are deleted in LabelMe: {deleted:,} objects.")
    return listing


def drawn_ids(path: Path, entry: str, size: Size) -> MaskIds:
    """The mask of one image. `entry`: as `add_drawn` writes it."""
    return picture_ids(_read, path, entry, size)


def _is_ours(text: str) -> bool:
    if "<annotation>" not in text and "<annotation " not in text:
        return False
    drawn = "<polygon>" in text or "<segm>" in text or ("<pt>" in text and "<x>" in text)
    return drawn or ("<filename>" in text and ("<imagesize>" in text or "<sourceImage>" in text))


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _read(path: Path) -> dict[str, AnnotatedImage]:
    root = parse_xml(read_bytes(path))
    name, folder = _text(root, "filename") or path.stem, _text(root, "folder")
    sides = [_text(root, f"imagesize/{side}") for side in ("nrows", "ncols")]
    height, width = (int(side) if side.isascii() and side.isdigit() and len(side) < 7 else 0 for side in sides)
    figures = tuple(_figure(one, path) for one in root.iter("object") if not _is_deleted(one))
    beside = path.parent / name
    named = f"{folder}/{name}" if folder and not beside.is_file() else name
    return {"": AnnotatedImage(named, figures, (height, width) if height and width else None)}


def _is_deleted(one: Element) -> bool:
    return _text(one, "deleted") not in ("", "0", "false", "no")


def _deleted(path: Path) -> int:
    try:
        pictures_of(_read, path)
    except Refusal:
        return 0  # reported by `list_pictures`
    return sum(_is_deleted(one) for one in parse_xml(read_bytes(path)).iter("object"))


def _figure(one: Element, path: Path) -> DrawnShape:
    name = _text(one, "name") or OBJECT
    segment, outline = one.find("segm"), one.find("polygon")
    if segment is not None:
        return DrawnShape(name, "segm", stamp=partial(_mask, path, _text(segment, "mask")))
    if outline is not None:
        points = [[number_of(_text(pt, axis)) for axis in "xy"] for pt in outline.findall("pt")]
        for i in range(1, len(outline) // 2 + 1):  # Roboflow and RectLabel: x1, y1, x2, y2 …
            if outline.find(f"x{i}") is not None:
                points.append([number_of(_text(outline, f"{axis}{i}")) for axis in "xy"])
        if _text(one, "type") in ("line", "point") or len(points) in (1, 2):
            kind = "point" if len(points) == 1 else "line"
            return DrawnShape(name, kind, undrawn=f"A {kind} has no area.")
        return polygon(name, "polygon", [points])
    if one.find("bndbox") is not None:
        return DrawnShape(name, "bndbox", undrawn="Only a box is there, not the outline of the object.")
    return DrawnShape(name, "object", undrawn="It has no polygon and no mask.")


def _mask(path: Path, name: str, size: Size) -> MaskPatch:
    """The pixels of an object's PNG, found in Masks/ of its collection or beside the XML file. Raises Refusal."""
    place = _mask_file(path, name)
    if place is None:
        what = f"has its pixels in {shown(name) or 'a file without a name'}, which is not there."
        raise Refusal("mask-missing", what, "Add the folder Masks/ beside Annotations/.")
    data = read_bytes(place)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
            if opened.width * opened.height > MAX_PIXELS or (opened.height, opened.width) != size:
                what = f"has its pixels in {shown(name)} of {opened.width}×{opened.height}, not {size[1]}×{size[0]}."
                raise Refusal("size-mismatch", what, "Export it again.")
            alpha = opened.mode in ("RGBA", "LA") or "transparency" in opened.info
            values = np.asarray(opened.convert("RGBA"))[:, :, 3] if alpha else np.asarray(opened.convert("L"))
    except Refusal:
        raise
    except Exception as error:  # Pillow raises many kinds on damaged files
        what = f"has its pixels in {shown(name)}, which cannot be read ({shown(str(error)[:60])})."
        raise Refusal("truncated", what, "Copy or export it again.") from error
    return MaskPatch(0, 0, np.asarray(values > 0))


def _mask_file(path: Path, name: str) -> Path | None:
    """The file of a mask's name, never outside the folders around its XML file."""
    plain = Path(name.replace("\\", "/")).name
    if not plain:
        return None
    for folder in (path.parent, *path.parents[1:MASK_FOLDERS]):
        for masks in (folder / "Masks", folder):
            for place in (masks / path.parent.name / plain, masks / plain):
                if place.is_file():
                    return place
    return None
