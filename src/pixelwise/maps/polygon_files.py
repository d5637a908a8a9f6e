"""Polygons of a map as a GeoPackage, and as GeoJSON in WGS 84.

GeoJSON as RFC 7946 demands: longitude and latitude, no member "crs", outer rings counterclockwise and holes clockwise,
and polygons cut at the 180th meridian (3.1.9).

Formats: OGC 12-128r19, GeoPackage; RFC 7946.
"""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.maps.map_polygons import PolygonBatch
from pixelwise.maps.qgis_style import qgis_style
from pixelwise.records import ClassList

LAYER = "labels"
DEGREE_DIGITS = 9  # a tenth of a millimetre
STYLES = """CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
    f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT CURRENT_TIMESTAMP)"""


def write_geopackage(path: Path, batches: Iterable[PolygonBatch], classes: ClassList, crs: str | None) -> None:
    """One layer, "labels", with the classes' colours as its default style in QGIS.

    Args:
        path: a file that does not exist yet.
        crs: of the polygons; None: not known.
    """
    import pyogrio
    import shapely

    names = np.array(classes.names, object)
    written = False
    for batch in batches:
        append_batch(pyogrio, path, shapely.to_wkb(batch.polygons), columns_of(batch, names), crs, append=written)
        written = True
    if not written:
        empty = PolygonBatch(np.empty(0, object), np.empty(0, np.uint8), np.empty(0), np.empty(0))
        append_batch(pyogrio, path, np.empty(0, object), columns_of(empty, names), crs, append=False)
    add_style(path, qgis_style(classes))


def columns_of(batch: PolygonBatch, names: NDArray[Any]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {"class": names[batch.labels], "class_id": batch.labels.astype(np.int16)}
    if batch.areas_m2 is not None:
        found["area_m2"] = batch.areas_m2
    if batch.confidence is not None:
        found["confidence_mean"] = np.round(batch.confidence, 6)
    return found


def append_batch(
    pyogrio: Any, path: Path, wkb: NDArray[Any], columns: dict[str, NDArray[Any]], crs: str | None, *, append: bool
) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        pyogrio.raw.write(
            path, wkb, list(columns.values()), list(columns), layer=LAYER, driver="GPKG", geometry_type="Polygon",
            crs=crs, append=append, promote_to_multi=False, dataset_options={"VERSION": "1.2"},
        )  # fmt: skip


def add_style(path: Path, style: str) -> None:
    """Store a style in the table where QGIS looks for it."""
    with closing(sqlite3.connect(path)) as database, database:
        geometry = database.execute("SELECT column_name FROM gpkg_geometry_columns").fetchone()[0]
        database.execute(STYLES)
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', "
            "'layer_styles')"
        )
        database.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "
            "styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, ?, 'classes', ?, '', 1, '', '')",
            (LAYER, geometry, style),
        )


def wgs84_geojson(batches: Iterable[PolygonBatch], classes: ClassList, image_name: str) -> Iterator[bytes]:
    """A feature collection, feature by feature, of polygons in WGS 84.

    Beside the columns of the GeoPackage each feature has the class and colour as QuPath reads them.
    """
    import shapely

    yield b'{"type": "FeatureCollection", "image": ' + json.dumps(image_name).encode() + b', "features": [\n'
    before = b""
    for batch in batches:
        polygons = shapely.orient_polygons(cut_at_antimeridian(batch.polygons), exterior_cw=False)
        rounded = shapely.transform(polygons, lambda degrees_N2: np.round(degrees_N2, DEGREE_DIGITS))
        columns = columns_of(batch, np.array(classes.names, object))
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        for geometry, label, row in zip(shapely.to_geojson(rounded), batch.labels.tolist(), rows, strict=True):
            shown = {"name": classes.names[label], "color": list(classes.colours[label])}
            properties = {**dict(zip(columns, row, strict=True)), "classification": shown}
            head = b'{"type": "Feature", "properties": ' + json.dumps(properties).encode() + b', "geometry": '
            yield before + head + geometry.encode() + b"}"
            before = b",\n"
    yield b"\n]}\n"


def wgs84_geometry(geometry: dict[str, Any], place: Callable[[Any], Any]) -> dict[str, Any]:
    """One geometry in pixels, as GeoJSON has it, in WGS 84. `place`: (column, row) [N, 2] → degrees [N, 2]."""
    import shapely

    polygons = np.array([shapely.transform(shapely.from_geojson(json.dumps(geometry)), place)])
    oriented = shapely.orient_polygons(cut_at_antimeridian(polygons), exterior_cw=False)
    rounded = shapely.transform(oriented, lambda degrees_N2: np.round(degrees_N2, DEGREE_DIGITS))
    found: dict[str, Any] = json.loads(shapely.to_geojson(rounded[0]))
    return found


def cut_at_antimeridian(polygons: NDArray[Any]) -> NDArray[Any]:
    """Polygons whose longitudes jump from 180° to −180°, as one part on either side."""
    import shapely

    left, _, right, _ = shapely.bounds(polygons).T
    across = np.flatnonzero(right - left > 180)
    if not len(across):
        return polygons

    def turned(degrees_N2: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([degrees_N2[:, 0] % 360, degrees_N2[:, 1]], axis=1)

    def back(degrees_N2: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([degrees_N2[:, 0] - 360, degrees_N2[:, 1]], axis=1)

    whole = shapely.transform(polygons[across], turned)
    east = shapely.intersection(whole, shapely.box(0, -90, 180, 90))
    west = shapely.transform(shapely.intersection(whole, shapely.box(180, -90, 360, 90)), back)
    found = polygons.copy()
    found[across] = [
        shapely.MultiPolygon([*areas_in(one), *areas_in(two)]) for one, two in zip(east, west, strict=True)
    ]
    return found


def areas_in(geometry: Any) -> list[Any]:
    import shapely

    return [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon" and not part.is_empty]
