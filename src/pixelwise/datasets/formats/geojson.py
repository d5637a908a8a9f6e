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

from pixelwise.datasets.formats.annotation_files import (
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
from pixelwise.datasets.formats.field_checks import rows_of, table_of, text_of
from pixelwise.datasets.formats.polygons import Polygon, inside, polygon_of, rings
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.layouts import IMAGE_SUFFIXES, Listing
from pixelwise.images.decode import MaskIds
from pixelwise.images.files import Refusal, shown
from pixelwise.records import VOID, ClassList

SUFFIXES = (".geojson",)
Row = dict[str, Any]


def label_files(root: Path) -> list[Path]:
    return [path for path in files_below(root, SUFFIXES) if '"FeatureCollection"' in peek(path)]


def is_geojson(root: Path) -> bool:
    return bool(label_files(root))


def list_geojson(root: Path) -> Listing:
    """Every file whose image is there: beside it, or anywhere below the root under its name."""
    listing, files = Listing(root), ImageFiles(root)
    undrawn, drawn = SkippedShapes(listing), list[Drawn]()
    for path, (table, features) in read_all(label_files(root), _collection, listing):
        with problems_of(listing, path):
            names = _judge(path, features, listing, undrawn)
            if _on_earth(table, features):
                what = "its coordinates are degrees or metres on the earth, not pixels of an image."
                remedy = "Draw it into a mask with the image's own georeference (gdal_rasterize), and save that as PNG."
                listing.error("geographic", path, what, remedy)
                continue
            if table.get("image") is not None:
                named = [text_of(table["image"], "image", "surrogateescape")]
            else:
                named = [path.stem + suffix for suffix in IMAGE_SUFFIXES]
            near = path.parent.relative_to(root).parts
            images = (files.find(name, near=near, base=path.parent) for name in named)
            image = next((image for image in images if image is not None), None)
            if image is None:
                listing.error("image-missing", path, files.missing(named[0]), "Add it, or correct its name.")
                continue
            drawn.append(Drawn(path, image, split_of(path, root), names))
    undrawn.report()
    add_drawn("geojson", drawn, listing, "the classes of GeoJSON's features")
    return listing


def _judge(path: Path, features: list[Row], listing: Listing, undrawn: SkippedShapes) -> frozenset[str]:
    """The classes of what is drawn; what is not drawn, or not as it is meant, is told. Raises Refusal."""
    names = set()
    for i, feature in enumerate(features):
        name, where = class_of(feature), f"feature {i} ({shown(class_of(feature))})"
        for kind, _ in _others(feature.get("geometry")):
            undrawn.add(path, kind, name, f"feature {i}")
        rings = [ring for polygon in _polygons(feature) for ring in polygon]
        if rings or not list(_others(feature.get("geometry"))):
            names.add(name)
        for refusal in (ring for ring in rings if isinstance(ring, Refusal)):
            remedy = f"It is passed over. {refusal.remedy}"
            listing.warn(refusal.kind, path, f"{where} has a ring that {refusal.what}", remedy)
        if not rings and not list(_others(feature.get("geometry"))):
            what = f"{where} is no polygon with three corners or more."
            listing.warn("polygon-empty", path, what, "It is passed over; draw it, or remove it.")
    return frozenset(names)


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask that a file draws. `entry`: as `add_drawn` writes it. Raises Refusal."""
    _, ids = json.loads(entry)
    mask = blank_mask(*size, max(ids.values(), default=0))
    _, features = _collection(path)
    for i, feature in enumerate(features):
        with shape_named(f"feature {i} ({shown(class_of(feature))})"):
            for polygon in _polygons(feature):
                _fill(mask, [ring for ring in polygon if not isinstance(ring, Refusal)], ids.get(class_of(feature), 0))
    return mask


def _fill(mask: MaskIds, rings: list[Polygon], value: int) -> None:
    """Fill a polygon with holes: even-odd, a ring inside a ring is a hole."""
    if not rings:
        return
    corners = np.concatenate(rings)
    (left, top), (right, bottom) = (
        edge.clip(0, mask.shape[::-1]).astype(int).tolist()
        for edge in (np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)))
    )
    place = mask[top:bottom, left:right]
    own = np.zeros(place.shape, np.bool_)
    for ring in rings:
        if own.size and (found := inside(ring - (left, top), bottom - top, right - left)):
            rows, columns, filled = found
            own[rows, columns] ^= filled
    place[own] = value


def geojson_text(labels: NDArray[np.uint8], classes: ClassList, image_name: str) -> bytes:
    """The file of a mask [H, W]: a feature for every piece of every class but background; void as class "void"."""
    return b"".join(collection_parts(image_name, features_of(labels, classes)))


def collection_parts(image_name: str, features: Iterable[Row]) -> Iterator[bytes]:
    """A feature collection as JSON, a feature at a time."""
    yield b'{"type": "FeatureCollection", "image": ' + json.dumps(image_name).encode() + b', "features": ['
    for number, feature in enumerate(features):
        yield b", " * (number > 0) + json.dumps(feature).encode()
    yield b"]}"


def features_of(labels: NDArray[np.uint8], classes: ClassList, origin: tuple[int, int] = (0, 0)) -> Iterator[Row]:
    """The features of a mask, or of the part of one that begins at `origin` (x, y)."""
    for name, c, own in named_masks(labels, classes.names):
        colour = [0, 0, 0] if c == VOID else list(classes.colours[c])
        for piece in rings(own):
            placed = [(ring + np.array(origin)).astype(int).tolist() for ring in piece]
            properties = {"objectType": "annotation", "classification": {"name": name, "color": colour}}
            geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]] for ring in placed]}
            yield {"type": "Feature", "geometry": geometry, "properties": properties}


def _on_earth(table: Row, features: list[Row]) -> bool:
    """Whether coordinates are geographic: a reference system is named, or they are degrees close together, below 0."""
    if table.get("crs"):
        return True
    rings_ = (ring for feature in features[:20] for polygon in _polygons(feature) for ring in polygon)
    corners = [ring for ring in rings_ if not isinstance(ring, Refusal)]
    if not corners:
        return False
    points = np.concatenate(corners)
    degrees = bool((np.abs(points[:, 0]) <= 180).all() and (np.abs(points[:, 1]) <= 90).all())
    return degrees and float(points.min()) < -1 and float(np.ptp(points, axis=0).max()) < 1


def class_of(feature: Row) -> str:
    """The name of a feature's class; "object" where it has none."""
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        return "object"
    classification = properties.get("classification")
    if isinstance(classification, dict) and isinstance(classification.get("name"), str):
        return str(classification["name"])
    return next((str(properties[key]) for key in ("class", "label", "name") if properties.get(key)), "object")


def _collection(path: Path) -> tuple[Row, list[Row]]:
    """A file's collection and its features. Raises Refusal."""
    table = table_of(read_json(path), "content")
    return table, rows_of(table.get("features"), "features")


def _geometries(geometry: Any) -> Iterator[tuple[str, Row]]:
    """The geometries in one, with their types: those of a collection one by one. Raises Refusal."""
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


def _others(geometry: Any) -> Iterator[tuple[str, Row]]:
    return ((kind, one) for kind, one in _geometries(geometry) if kind not in ("Polygon", "MultiPolygon"))


def _polygons(feature: Row) -> Iterator[list[Polygon | Refusal]]:
    """The rings of every polygon of a feature; of a ring that cannot be drawn, why. Raises Refusal."""
    for kind, geometry in _geometries(feature.get("geometry")):
        coordinates = geometry.get("coordinates")
        if kind == "Polygon":
            yield _rings([coordinates])[0]
        elif kind == "MultiPolygon":
            yield from _rings(coordinates)


def _rings(polygons: Any) -> list[list[Polygon | Refusal]]:
    if not isinstance(polygons, list) or not all(isinstance(polygon, list) for polygon in polygons):
        raise Refusal("annotations", "has coordinates that are no lists of rings.", "Export it again.")
    return [[_ring(ring) for ring in polygon] for polygon in polygons]


def _ring(ring: Any) -> Polygon | Refusal:
    """Positions may have a height, which is not used."""
    flat = isinstance(ring, list) and all(isinstance(corner, list) for corner in ring)
    try:
        return polygon_of([corner[:2] for corner in ring] if flat else None)
    except Refusal as refusal:
        return refusal
