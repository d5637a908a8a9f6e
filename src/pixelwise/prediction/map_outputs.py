"""What is saved of an image that says where on the earth it lies: rasters and polygons in map coordinates.

    labels       NAME.tif, a cloud-optimised GeoTIFF on the image's grid, with NAME.tif.aux.xml (the classes' names) and
                 NAME.qml (their colours in QGIS)
    geojson      NAME.geojson in WGS 84, and NAME.qml
    geopackage   NAME.gpkg in the image's CRS or another, and NAME.qml
    objects-geojson  NAME.objects.geojson in WGS 84

Polygons are of every class except "background". Without the extra `geo`, labels are a plain GeoTIFF with the image's
own tags, and GeoJSON stays in pixels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from pixelwise.datasets.formats.annotation_files import BACKGROUND
from pixelwise.errors import ImageError, MissingExtraError, UsageError
from pixelwise.images.files import shown
from pixelwise.images.tiff import place_in_file
from pixelwise.maps.grid import Grid, grid_of
from pixelwise.maps.label_raster import class_table, write_cog
from pixelwise.maps.map_polygons import (
    PACKAGES,
    PolygonBatch,
    PolygonOptions,
    is_on_earth,
    needs_geo,
    polygon_batches,
    to_crs,
)
from pixelwise.maps.mosaic import is_mosaic, read_mosaic
from pixelwise.maps.polygon_files import wgs84_geojson, wgs84_geometry, write_geopackage
from pixelwise.maps.qgis_style import qgis_style
from pixelwise.maps.region_rings import region_rings
from pixelwise.objects.stream_objects import MeasuredObjects
from pixelwise.prediction.confidence_maps import sixteen_bits
from pixelwise.prediction.large.large_outputs import PlacedLabels, StoredLabels, write_tiff
from pixelwise.prediction.object_files import geojson_parts
from pixelwise.prediction.outputs import LabelSource, objects_of, row_strips, strips_of_image
from pixelwise.records import ClassList

WGS84 = "EPSG:4326"
PLACE = "place"  # the kind of a note
SCALE = "scale"
ON_MAP = ("labels", "geojson", "geopackage", "objects", "objects-geojson")
READ_BYTES = 1 << 20
Parts = Callable[[Any], Iterable[bytes]]


class MapFile(NamedTuple):
    """One file of an image's results."""

    key: str  # of outputs.OUTPUTS; of a file beside it, its ending
    ending: str
    parts: Parts


def place_of(image: Path, save: Sequence[str]) -> tuple[Grid | None, list[dict[str, str]]]:
    """Where an image's pixels lie on the earth, or None; and notes for its record, if results lack that.

    Raises:
        ImageError: its place is needed for one of the outputs `save`, and cannot be read.
        MissingExtraError: likewise, without the extra `geo`.
    """
    if not any(key in save for key in ON_MAP):
        return None, []
    try:
        grid = read_mosaic(image).grid if is_mosaic(image) else grid_of(image)
    except (ImageError, MissingExtraError) as error:
        if "geopackage" in save:
            raise
        return None, [note(f"its place on the earth is not in the results: {error}")]
    notes = []
    if grid is not None and grid.scale_in_words:
        what = f"{grid.scale_in_words} of its bands are not applied: the model and all measurements take stored values"
        notes.append(note(f"{what}.", SCALE))
    if grid is not None and not {"geojson", "objects-geojson"}.isdisjoint(save) and not has_geo():
        notes.append(note("its polygons are in pixels. For degrees: pip install 'pixelwise[geo]'"))
    return grid, notes


def note(message: str, kind: str = PLACE) -> dict[str, str]:
    return {"kind": kind, "message": message}


def has_geo() -> bool:
    return all(find_spec(name) is not None for name in PACKAGES)


def check_map_options(save: Sequence[str], options: PolygonOptions) -> None:
    """Raise UsageError for options of polygons that are not saved, MissingExtraError if they cannot be."""
    if options.crs and "geopackage" not in save:
        raise UsageError(
            "--crs is for GeoPackages, as GeoJSON is always in WGS 84: add --save geopackage, or leave it out."
        )
    if options.simplify_px and not {"geopackage", "geojson"} & set(save):
        raise UsageError("--simplify is for polygons on a map: add --save geopackage or geojson, or leave it out.")
    if "geopackage" in save:
        needs_geo()


def map_files(save: Sequence[str], grid: Grid, options: PolygonOptions, folder: Path) -> list[MapFile]:
    """The files of the outputs `save` that are in map coordinates.

    Args:
        folder: for temporary files; created if it is missing.
    """
    files: list[MapFile] = []
    if "labels" in save:
        files.append(MapFile("labels", ".tif", partial(label_raster, grid=grid, folder=folder)))
        files.append(MapFile(".tif.aux.xml", ".tif.aux.xml", lambda source: [class_table(source.classes)]))
    if "geojson" in save and has_geo() and is_on_earth(grid):
        files.append(MapFile("geojson", ".geojson", partial(geojson, grid=grid, options=options)))
    if "geopackage" in save:
        files.append(MapFile("geopackage", ".gpkg", partial(geopackage, grid=grid, options=options, folder=folder)))
    if files:
        files.append(MapFile(".qml", ".qml", lambda source: [qgis_style(source.classes).encode()]))
    if "objects-geojson" in save and has_geo() and is_on_earth(grid):
        files.append(MapFile("objects-geojson", ".objects.geojson", partial(objects_geojson, grid=grid)))
    return files


def label_raster(source: LabelSource, grid: Grid, folder: Path) -> Iterator[bytes]:
    """A GeoTIFF on the image's grid; cloud-optimised where GDAL is at hand, unless tags say more than GDAL knows."""
    tagged = source if isinstance(source, StoredLabels) else with_tags(source)
    with temporary_folder(folder) as temporary:
        plain, cog = temporary / "plain.tif", temporary / "cog.tif"
        with plain.open("wb") as file:
            write_tiff(tagged, file)
        if has_geo() and (is_on_earth(grid) or not tagged.place):
            write_cog(plain, cog, grid)
            yield from pieces_of(cog)
        else:
            yield from pieces_of(plain)


def with_tags(source: LabelSource) -> PlacedLabels:
    """Labels in memory, with the tags of the image's file if it is a TIFF."""
    path: Path | None = getattr(source, "path", None)
    place, resolution = ({}, None) if path is None else place_in_file(path)
    return PlacedLabels(source, place, resolution)


def geojson(source: LabelSource, grid: Grid, options: PolygonOptions) -> Iterator[bytes]:
    crs = "" if grid.crs == WGS84 else WGS84
    batches = polygon_batches_of(source, grid, crs, options.simplify_px)
    return wgs84_geojson(batches, source.classes, PurePath(source.name).name)


def objects_geojson(source: LabelSource, grid: Grid) -> Iterator[bytes]:
    return placed_objects(objects_of(source), source.classes, source.name, grid)


def placed_objects(objects: MeasuredObjects, classes: ClassList, name: str, grid: Grid) -> Iterator[bytes]:
    """The polygons of objects in WGS 84, as GeoJSON."""
    place = to_crs(grid, "" if grid.crs == WGS84 else WGS84)
    return geojson_parts(objects, classes, name, partial(wgs84_geometry, place=place))


def geopackage(source: LabelSource, grid: Grid, options: PolygonOptions, folder: Path) -> Iterator[bytes]:
    if options.crs and not is_on_earth(grid):
        raise ImageError(
            f"{shown(source.name)}: its file states no coordinate reference system with a place on earth, so its "
            f"polygons cannot be given in {options.crs}. Leave out --crs, or add it to the file: gdal_edit -a_srs CRS"
        )
    crs = "" if options.crs == grid.crs else options.crs
    with temporary_folder(folder) as temporary:
        path = temporary / "polygons.gpkg"
        batches = polygon_batches_of(source, grid, crs, options.simplify_px)
        write_geopackage(path, batches, source.classes, crs or grid.crs)
        yield from pieces_of(path)


def polygon_batches_of(source: LabelSource, grid: Grid, crs: str, simplify_px: float) -> Iterator[PolygonBatch]:
    kept = [number for number, name in enumerate(source.classes.names) if name != BACKGROUND]
    columns = slice(0, source.size[1])
    confidence = (sixteen_bits(source.confidence(rows, columns)) for rows in strips_of_image(source.size))
    regions = region_rings(row_strips(source), source.size, kept, confidence)
    return polygon_batches(regions, grid, crs, simplify_px)


@contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="map-", dir=folder) as name:
        yield Path(name)


def pieces_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece
