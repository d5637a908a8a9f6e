"""Polygons of a GeoJSON, GeoPackage or Shapefile, with the class of each, in any coordinate reference system.

    GeoJSON       degrees on WGS 84, unless it names a CRS
    GeoPackage    the layer with polygons, if only one has any
    Shapefile     with its .dbf and .prj beside it

GDAL reads them, with no way to the network. A file is recognised by its content.

Formats: RFC 7946; OGC 12-128r19, GeoPackage; ESRI Shapefile Technical Description, 1998.

Shapes: N polygons.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, MissingExtraError
from pixelwise.images.files import Refusal, read_head, shown
from pixelwise.maps.gdal_files import OFFLINE
from pixelwise.records import MAX_CLASSES

HEAD_BYTES = 1 << 16
CLASS_COLUMNS = ("class", "class_name", "classname", "label", "category", "type", "name")  # the first that exists
OBJECT = "object"  # the class of all polygons of a file without attributes
VOID_CLASS = "void"  # pixels of such a polygon are unlabelled
POLYGONS = (3, 6)  # shapely's numbers of Polygon and MultiPolygon
LISTED = 8
SUFFIXES = (".geojson", ".json", ".gpkg", ".shp")


@dataclass(frozen=True)
class MapShapes:
    """The polygons of a file, later ones above earlier ones."""

    path: Path
    crs: str | None  # WKT; None: the file does not state it
    polygons: NDArray[Any]  # [N] shapely's Polygon or MultiPolygon, in units of the CRS
    classes: tuple[str, ...]  # of each polygon
    notes: tuple[str, ...] = ()  # what was chosen and what was left out

    def __len__(self) -> int:
        return len(self.classes)


def is_map_vector(path: Path) -> bool:
    """Whether this is a file with polygons, by its suffix."""
    return path.suffix.lower() in SUFFIXES


def read_map_shapes(path: Path, *, layer: str = "", attribute: str = "", one_class: str = "") -> MapShapes:
    """Read the polygons of a file.

    Args:
        layer: of a GeoPackage; "": the one with polygons.
        attribute: the column whose value is a polygon's class; "": class, label, category, type or name, whichever
            exists; without any column all polygons are of the class "object". Polygons of the class "void", or without
            a value, are unlabelled.
        one_class: the class of all polygons, whatever their columns say.

    Raises:
        DataError: it cannot be read; no polygon; several layers or columns to choose from.
        MissingExtraError: the extra `geo` is not installed.
    """
    try:
        import pyogrio
        import pyogrio.raw
        import shapely
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyogrio, which reads polygons in map coordinates,", "geo") from error

    _refuse_other_formats(path)
    before = {name: pyogrio.get_gdal_config_option(name) for name in OFFLINE}
    pyogrio.set_gdal_config_options(OFFLINE)
    try:
        layer = layer or _layer_with_polygons(pyogrio.list_layers(path), path)
        about, _, wkb, fields = pyogrio.raw.read(path.absolute(), layer=layer, force_2d=True)
        geometries = shapely.from_wkb(wkb, on_invalid="ignore")
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, RuntimeError) as error:
        reason = str(error).partition(";")[0].strip(".")  # GDAL's own advice follows
        remedy = "GeoJSON, GeoPackage and Shapefile are read. Save the layer as one of these again."
        raise DataError(f"{shown(path)}: its polygons cannot be read: {reason}. {remedy}") from error
    finally:
        pyogrio.set_gdal_config_options(before)
    columns = dict(zip((str(name) for name in about["fields"]), fields, strict=True))
    kept, notes = _polygons_only(geometries)
    if one_class:
        names, chosen = np.full(len(geometries), one_class, object), f"{one_class!r}, as asked"
    else:
        names, chosen = _classes(columns, attribute, path, len(geometries))
    polygons = geometries[kept]
    if not len(polygons):
        listed = " ".join(notes) or "The layer is empty."
        raise DataError(f"{shown(path)}: holds no polygon. {listed} Draw the classes as polygons.")
    classes = tuple(str(name) for name in names[kept])
    if number := classes.count(""):
        notes = (*notes, f"{number:,} polygons have no class: their pixels are void.")
        classes = tuple(name or VOID_CLASS for name in classes)
    number = len(set(classes))
    if number >= MAX_CLASSES:
        raise DataError(
            f"{shown(path)}: {chosen} has {number:,} different values; at most {MAX_CLASSES - 1} classes are possible. "
            "Choose the column of the classes with --attribute."
        )
    return MapShapes(path, about["crs"], polygons, classes, (f"The class of a polygon is {chosen}.", *notes))


def _refuse_other_formats(path: Path) -> None:
    """Raise DataError unless the content is that of a format that is read: GDAL knows many that run commands."""
    try:
        head = read_head(path, HEAD_BYTES)
    except Refusal as refusal:
        raise DataError(f"{shown(path)}: {refusal}") from refusal
    is_json = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b"gdal_streamed_alg" not in head
    if not (is_json or head.startswith(b"SQLite format 3\0") or head.startswith(b"\0\0\x27\x0a")):
        raise DataError(
            f"{shown(path)}: is none of the formats that are read as polygons: GeoJSON, GeoPackage, Shapefile. Convert "
            "it: ogr2ogr OUT.gpkg IN"
        )


def _layer_with_polygons(layers: Any, path: Path) -> str:
    """The name of the only layer that may hold polygons."""
    rows = [(str(name), str(kind)) for name, kind in layers]
    fitting = [name for name, kind in rows if kind != "None" and not kind.startswith(("Point", "Line", "Multi"))]
    fitting += [name for name, kind in rows if kind.startswith(("MultiPolygon", "MultiSurface"))]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(name for name, _ in rows[:LISTED])
    if not fitting:
        raise DataError(f"{shown(path)}: has no layer of polygons; its layers: {listed or 'none'}.")
    raise DataError(f"{shown(path)}: has several layers of polygons: {listed}. Choose one with --layer.")


def _polygons_only(geometries: NDArray[Any]) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Which geometries are polygons, and in words what the others are."""
    import shapely

    kinds = shapely.get_type_id(geometries)
    empty = shapely.is_missing(geometries) | shapely.is_empty(geometries)
    kept = np.isin(kinds, POLYGONS) & ~empty
    notes = []
    others = Counter(str(one.geom_type) for one in geometries[~kept & ~empty])
    if others:
        listed = ", ".join(f"{number:,} {kind}" for kind, number in others.most_common())
        notes.append(f"Left out, because they are no polygons: {listed}.")
    if number := int(np.count_nonzero(empty)):
        notes.append(f"Left out, because they have no geometry: {number:,} features.")
    return kept, tuple(notes)


def _classes(columns: dict[str, Any], attribute: str, path: Path, number: int) -> tuple[NDArray[Any], str]:
    """The class of each feature, and in words where it comes from."""
    usable = {name: values for name, values in columns.items() if values.dtype.kind in "OUSiub"}
    listed = ", ".join(list(columns)[:LISTED]) or "none"
    if attribute:
        if attribute not in columns:
            raise DataError(f"{shown(path)}: has no column {attribute!r}; its columns: {listed}.")
        return _as_names(columns[attribute]), f"the column {attribute!r}"
    lower = {name.lower(): name for name in reversed(list(usable))}
    found = next((lower[name] for name in CLASS_COLUMNS if name in lower), None)
    if found is not None:
        others = f" (--attribute chooses another: {listed})" if len(columns) > 1 else ""
        return _as_names(usable[found]), f"the column {found!r}{others}"
    if not usable:
        return np.full(number, OBJECT, object), f"{OBJECT!r}, because no column names one"
    raise DataError(
        f"{shown(path)}: which column holds the class? Its columns: {listed}. Name one with --attribute, or the "
        "class of all polygons with --one-class."
    )


def _as_names(values: NDArray[Any]) -> NDArray[Any]:
    """Values as text: 3 and 3.0 are "3"; "" for a missing one."""
    return np.array([_as_name(value) for value in values.tolist()] + [""], object)[:-1]


def _as_name(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
