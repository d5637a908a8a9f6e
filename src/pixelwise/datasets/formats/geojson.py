"""GeoJSON: one feature collection per image; polygons with holes, in pixels from the top left: x to the right, y down.

QuPath and other viewers of large images exchange annotations this way. A feature's class is
`properties.classification.name`, or `properties.class`, `label` or `name`. The collection's member "image" names the
image; otherwise the file's own name does. Later features are drawn over earlier ones; ids are assigned as for LabelMe.

Format: RFC 7946, sections 3.1 and 3.3, except that coordinates are pixels, not degrees.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.datasets.formats.annotated_shapes import OBJECT, AnnotatedImage, DrawnShape, Place
from pixelwise.datasets.formats.annotation_files import (
    any_that,
    files_that,
    list_pictures,
    named_masks,
    picture_mask,
    picture_objects,
    read_json,
)
from pixelwise.datasets.formats.field_checks import rows_of, table_of, text_of
from pixelwise.datasets.formats.polygons import rings
from pixelwise.datasets.listing import Listing
from pixelwise.images.files import Refusal
from pixelwise.records import VOID, ClassList, Labels

SUFFIXES = (".geojson",)
Row = dict[str, Any]


def _is_ours(text: str) -> bool:
    return '"FeatureCollection"' in text


def recognises(root: Path) -> bool:
    return any_that(root, SUFFIXES, _is_ours)


def list_pairs(root: Path) -> Listing:
    """Every file whose image exists: next to it, or under its name anywhere below the root."""
    return list_pictures(
        "geojson", root, files_that(root, SUFFIXES, _is_ours), read, "the classes of GeoJSON's features"
    )


def read(path: Path) -> dict[Place, AnnotatedImage]:
    """The one picture of a file. Raises Refusal."""
    table = table_of(read_json(path), "content")
    features = rows_of(table.get("features"), "features")
    figures = tuple(figure for feature in features for figure in _figures(feature))
    name = path.stem if table.get("image") is None else text_of(table["image"], "image", "surrogateescape")
    damaged = None
    if _on_earth(table, figures):
        what = "its coordinates are degrees or metres on the earth, not pixels of an image."
        remedy = "Cut the map and these polygons into a dataset: pixelwise chips RASTER LABELS OUT"
        damaged = Refusal("geographic", what, remedy)
    return {0: AnnotatedImage(name, figures, damaged=damaged)}


mask_ids = partial(picture_mask, read)
object_ids = partial(picture_objects, read)


def _figures(feature: Row) -> Iterator[DrawnShape]:
    """One figure per polygon of a feature, and per ring or geometry that cannot be drawn. Raises Refusal."""
    name = class_of(feature)
    for kind, geometry in _geometries(feature.get("geometry")):
        if kind not in ("Polygon", "MultiPolygon"):
            yield DrawnShape.not_drawn(name, kind)
            continue
        coordinates = geometry.get("coordinates")
        polygons = [coordinates] if kind == "Polygon" else coordinates
        if not isinstance(polygons, list) or not all(isinstance(one, list) for one in polygons):
            raise Refusal("annotations", "has coordinates that are not lists of rings.", "Export it again.")
        for one in polygons:
            parts = [DrawnShape.polygon(name, kind, [_flat(ring)]) for ring in one]
            parts = parts or [DrawnShape.not_drawn(name, kind, "It has no ring.")]
            yield from (part for part in parts if part.undrawn)
            if sound := tuple(ring for part in parts for ring in part.rings):
                yield DrawnShape(name, kind, sound)


def _flat(ring: Any) -> Any:
    """Corners without their height; None if it is not a list of corners."""
    if not isinstance(ring, list) or not all(isinstance(corner, list) for corner in ring):
        return None
    return [corner[:2] for corner in ring]


def _on_earth(table: Row, figures: tuple[DrawnShape, ...]) -> bool:
    """Whether coordinates are geographic: a named reference system, or degrees close together, some below 0."""
    if table.get("crs"):
        return True
    corners = [ring for figure in figures[:20] for ring in figure.rings]
    if not corners:
        return False
    points = np.concatenate(corners)
    degrees = bool((np.abs(points[:, 0]) <= 180).all() and (np.abs(points[:, 1]) <= 90).all())
    return degrees and float(points.min()) < -1 and float(np.ptp(points, axis=0).max()) < 1


def class_of(feature: Row) -> str:
    """The name of a feature's class; "object" if it has none."""
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        return OBJECT
    classification = properties.get("classification")
    if isinstance(classification, dict) and isinstance(classification.get("name"), str):
        return str(classification["name"])
    return next((str(properties[key]) for key in ("class", "label", "name") if properties.get(key)), OBJECT)


def _geometries(geometry: Any) -> Iterator[tuple[str, Row]]:
    """Each geometry with its type; a collection yields its members. Raises Refusal."""
    waiting = [geometry]
    while waiting:
        one = waiting.pop(0)
        if one is None:
            yield "nothing", {}
            continue
        kind = text_of(table_of(one, "geometry").get("type"), "type of a geometry")
        if kind == "GeometryCollection":
            waiting[:0] = rows_of(one.get("geometries"), "geometries")
        else:
            yield kind, one


def geojson_text(labels: Labels, classes: ClassList, image_name: str) -> bytes:
    """The file of a mask [H, W]: one feature per piece of every class except background; void as class "void"."""
    return b"".join(collection_parts(image_name, features_of(labels, classes)))


def collection_parts(image_name: str, features: Iterable[Row]) -> Iterator[bytes]:
    """A feature collection as JSON, one feature at a time."""
    yield b'{"type": "FeatureCollection", "image": ' + json.dumps(image_name).encode() + b', "features": ['
    for number, feature in enumerate(features):
        yield b", " * (number > 0) + json.dumps(feature).encode()
    yield b"]}"


def features_of(labels: Labels, classes: ClassList, origin: tuple[int, int] = (0, 0)) -> Iterator[Row]:
    """The features of a mask, or of a part of one with its top left at `origin` (x, y)."""
    for name, c, own in named_masks(labels, classes.names):
        colour = [0, 0, 0] if c == VOID else list(classes.colours[c])
        for piece in rings(own):
            placed = [(ring + np.array(origin)).astype(int).tolist() for ring in piece]
            properties = {"objectType": "annotation", "classification": {"name": name, "color": colour}}
            geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]] for ring in placed]}
            yield {"type": "Feature", "geometry": geometry, "properties": properties}
