"""GeoJSON: a feature collection an image, polygons with holes, in pixels: x to the right, y down, from the top left.

That is how QuPath and other viewers of large images exchange annotations. A feature's class is
`properties.classification.name`, or `properties.class`, `label` or `name`. The image is named by the collection's
member "image", or has the file's own name. Later features are drawn over earlier ones; names get ids as LabelMe's do.

Format: RFC 7946, sections 3.1 and 3.3; its rule that coordinates are degrees does not hold here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
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
from pixelwise.data.formats.polygons import Polygon, inside, polygon_of, rings
from pixelwise.data.layouts import IMAGE_SUFFIXES, Listing
from pixelwise.records import VOID, ClassList

SUFFIXES = (".geojson",)


def label_files(root: Path) -> list[Path]:
    return [path for path in files_below(root, SUFFIXES) if '"FeatureCollection"' in peek(path)]


def is_geojson(root: Path) -> bool:
    return bool(label_files(root))


def list_geojson(root: Path) -> Listing:
    """Every file whose image is there: beside it, or anywhere below the root under its name."""
    listing, files = Listing(root), ImageFiles(root)
    drawn = []
    for path, (table, features) in read_all(label_files(root), _collection, listing):
        if _on_earth(table, features):
            what = "its coordinates are degrees or metres on the earth, not pixels of an image."
            remedy = "Draw it into a mask with the image's own georeference (gdal_rasterize), and save that as PNG."
            listing.error("geographic", path, what, remedy)
            continue
        named = [table["image"]] if isinstance(table.get("image"), str) else [path.stem + s for s in IMAGE_SUFFIXES]
        images = (files.find(name, near=path.parent.parts) for name in named)
        image = next((image for image in images if image is not None), None)
        if image is None:
            listing.error("image-missing", path, f"names {shown(named[0])!r}, which is not there.", "Add it.")
            continue
        for i, feature in enumerate(features):
            if not list(_polygons(feature)):
                what = f"feature {i} ({shown(class_of(feature))}) is no polygon with three corners or more."
                listing.warn("polygon-empty", path, what, "It is passed over; draw it, or remove it.")
        names = frozenset(class_of(feature) for feature in features)
        drawn.append(Drawn(path, image, split_of(path, root), names))
    add_drawn("geojson", drawn, listing, "the classes of GeoJSON's features")
    return listing


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask that a file draws. `entry`: as `add_drawn` writes it."""
    _, ids = json.loads(entry)
    mask = blank_mask(*size, max(ids.values(), default=0))
    _, features = _collection(path)
    for feature in features:
        for polygon in _polygons(feature):
            parts = [part for ring in polygon if (part := inside(ring, *size)) is not None]
            if not parts:
                continue
            top, bottom = min(rows.start for rows, _, _ in parts), max(rows.stop for rows, _, _ in parts)
            left, right = min(columns.start for _, columns, _ in parts), max(columns.stop for _, columns, _ in parts)
            own = np.zeros((bottom - top, right - left), bool)
            for rows, columns, filled in parts:  # even-odd: a ring inside a ring is a hole
                own[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] ^= filled
            mask[top:bottom, left:right][own] = ids.get(class_of(feature), 0)
    return mask


def geojson_text(labels: NDArray[np.uint8], classes: ClassList, image_name: str) -> bytes:
    """The file of a mask [H, W]: a feature for every piece of every class but background; void as class "void"."""
    return b"".join(collection_parts(image_name, features_of(labels, classes)))


def collection_parts(image_name: str, features: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """A feature collection as JSON, a feature at a time."""
    yield b'{"type": "FeatureCollection", "image": ' + json.dumps(image_name).encode() + b', "features": ['
    for number, feature in enumerate(features):
        yield b", " * (number > 0) + json.dumps(feature).encode()
    yield b"]}"


def features_of(
    labels: NDArray[np.uint8], classes: ClassList, origin: tuple[int, int] = (0, 0)
) -> Iterator[dict[str, Any]]:
    """The features of a mask, or of the part of one that begins at `origin` (x, y)."""
    for name, c, own in named_masks(labels, classes.names):
        colour = [0, 0, 0] if c == VOID else list(classes.colours[c])
        for piece in rings(own):
            placed = [(ring + np.array(origin)).astype(int).tolist() for ring in piece]
            properties = {"objectType": "annotation", "classification": {"name": name, "color": colour}}
            geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]] for ring in placed]}
            yield {"type": "Feature", "geometry": geometry, "properties": properties}


def _on_earth(table: dict[str, Any], features: list[dict[str, Any]]) -> bool:
    """Whether coordinates are geographic: a reference system is named, or they are degrees close together, below 0."""
    if table.get("crs"):
        return True
    corners = [polygon for feature in features[:20] for rings_ in _polygons(feature) for polygon in rings_]
    if not corners:
        return False
    points = np.concatenate(corners)
    degrees = bool((np.abs(points[:, 0]) <= 180).all() and (np.abs(points[:, 1]) <= 90).all())
    return degrees and float(points.min()) < -1 and float(np.ptp(points, axis=0).max()) < 1


def class_of(feature: dict[str, Any]) -> str:
    """The name of a feature's class; "object" where it has none."""
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        return "object"
    classification = properties.get("classification")
    if isinstance(classification, dict) and isinstance(classification.get("name"), str):
        return str(classification["name"])
    return next((str(properties[key]) for key in ("class", "label", "name") if properties.get(key)), "object")


def _collection(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A file's collection and its features. Raises Refusal."""
    table = read_json(path)
    features = table.get("features") if isinstance(table, dict) else None
    if not isinstance(features, list):
        raise Refusal("annotations", "has no list of features; expected GeoJSON's collection.", "Export it again.")
    return table, [feature for feature in features if isinstance(feature, dict)]


def _polygons(feature: dict[str, Any]) -> Iterator[list[Polygon]]:
    """The rings of every polygon of a feature; what cannot be drawn is passed over."""
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict):
        return
    coordinates = geometry.get("coordinates")
    many = {"Polygon": [coordinates], "MultiPolygon": coordinates}.get(str(geometry.get("type")), [])
    for polygon in many if isinstance(many, list) else []:
        drawn = []
        for ring in polygon if isinstance(polygon, list) else []:
            try:
                drawn.append(polygon_of([corner[:2] for corner in ring] if isinstance(ring, list) else ring))
            except (Refusal, TypeError):
                continue
        if drawn:
            yield drawn
