"""MIT's LabelMe web tool: one XML file per image, with `object`s: polygons, boxes and masks.

The layout is the tool's (`Images/`, `Annotations/`, `Masks/`, each with collections inside), or each file is next to
its image, as in CVAT's "LabelMe 3.0" export. `segm/mask` names an object's mask PNG: non-zero alpha, or value without
alpha, marks the object. Objects with `deleted` 1 are not drawn, and a note counts them.

VOC XML with polygons as x1, y1, x2 … (Roboflow, RectLabel) follows the same rules.
Format: labelme.csail.mit.edu, "Annotation XML". The JSON of the Python program LabelMe is `labelme`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

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
    read_or_none,
)
from pixelwise.datasets.formats.object_pngs import object_pixels, opened_png, require_size
from pixelwise.datasets.listing import Listing
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.images.xml_tree import parse_xml

AGAIN = "Export it again."
MASK_FOLDERS = 4  # above an XML file that are searched for Masks/


def recognises(root: Path) -> bool:
    return any_that(root, (".xml",), _is_ours, depth=5)


def list_pairs(root: Path) -> Listing:
    """Every XML file whose image exists: next to it, or in the collection of the same name."""
    paths = files_that(root, (".xml",), _is_ours, depth=5)
    listing = list_pictures("labelme-xml", root, paths, read, "the names of LabelMe's objects")
    if deleted := sum((read_or_none(_deleted, path) or 0) for path in paths):
        listing.notes.append(f"Not drawn, as they are deleted in LabelMe: {deleted:,} objects.")
    return listing


def _is_ours(text: str) -> bool:
    if "<annotation>" not in text and "<annotation " not in text:
        return False
    drawn = "<polygon>" in text or "<segm>" in text or ("<pt>" in text and "<x>" in text)
    return drawn or ("<filename>" in text and ("<imagesize>" in text or "<sourceImage>" in text))


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def read(path: Path) -> dict[Place, AnnotatedImage]:
    root = parse_xml(read_bytes(path))
    name, folder = _text(root, "filename") or path.stem, _text(root, "folder")
    sides = [_text(root, f"imagesize/{side}") for side in ("nrows", "ncols")]
    height, width = (int(side) if side.isascii() and side.isdigit() and len(side) < 7 else 0 for side in sides)
    figures = tuple(_figure(one, path) for one in root.iter("object") if not _is_deleted(one))
    beside = path.parent / name
    named = f"{folder}/{name}" if folder and not beside.is_file() else name
    return {"": AnnotatedImage(named, figures, (height, width) if height and width else None)}


mask_ids = partial(picture_mask, read)
object_ids = partial(picture_objects, read)


def _is_deleted(one: Element) -> bool:
    return _text(one, "deleted") not in ("", "0", "false", "no")


def _deleted(path: Path) -> int:
    """The number of deleted objects. Raises Refusal."""
    return sum(_is_deleted(one) for one in parse_xml(read_bytes(path)).iter("object"))


def _figure(one: Element, path: Path) -> DrawnShape:
    name = _text(one, "name") or OBJECT
    segment, outline = one.find("segm"), one.find("polygon")
    if segment is not None:
        return DrawnShape(name, "segm", patch=partial(_mask, path, _text(segment, "mask")))
    if outline is not None:
        points = [[number_of(_text(pt, axis)) for axis in "xy"] for pt in outline.findall("pt")]
        for i in range(1, len(outline) // 2 + 1):  # Roboflow and RectLabel: x1, y1, x2, y2 …
            if outline.find(f"x{i}") is not None:
                points.append([number_of(_text(outline, f"{axis}{i}")) for axis in "xy"])
        if _text(one, "type") in ("line", "point") or len(points) in (1, 2):
            return DrawnShape.not_drawn(name, "point" if len(points) == 1 else "line")
        return DrawnShape.polygon(name, "polygon", [points])
    if one.find("bndbox") is not None:
        return DrawnShape.not_drawn(name, "bndbox")
    return DrawnShape.not_drawn(name, "object", "It has no polygon and no mask.")


def _mask(path: Path, name: str, size: Size) -> MaskPatch:
    """The pixels of an object's PNG, from its collection's Masks/ or next to the XML file. Raises Refusal."""
    place = _mask_file(path, name)
    if place is None:
        what = f"has its pixels in {shown(name) or 'a file without a name'}, which is not there."
        raise Refusal("mask-missing", what, "Add the folder Masks/ next to Annotations/.")
    with opened_png(read_bytes(place), name, AGAIN) as opened:
        require_size((opened.height, opened.width), size, name, AGAIN)
        return MaskPatch(0, 0, object_pixels(opened))


def _mask_file(path: Path, name: str) -> Path | None:
    """The file with a mask's name, never outside the folders around its XML file."""
    plain = Path(name.replace("\\", "/")).name
    if not plain:
        return None
    for folder in (path.parent, *path.parents[1:MASK_FOLDERS]):
        for masks in (folder / "Masks", folder):
            for place in (masks / path.parent.name / plain, masks / plain):
                if place.is_file():
                    return place
    return None
