"""Polygons in map coordinates → polygons in the pixels of a raster, and what does not fit.

Corners are transformed, as GDAL's ogr2ogr does it; edges stay straight.

Shapes: N polygons, P points.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, MissingExtraError
from pixelwise.images.files import shown
from pixelwise.maps.grid import Grid, Points
from pixelwise.maps.vectors import MapShapes

WIDEST_DEGREES = 180  # of a polygon: a wider one crosses the antimeridian
LEAST_OVERLAP_PX = 0.01  # area that two polygons share before they overlap


@dataclass(frozen=True)
class ShapesOnGrid:
    """The polygons of a file in pixels of a raster: (column, row) from its top left corner."""

    polygons: NDArray[Any]  # [N]; those of other places are there too
    on_raster: NDArray[np.bool_]  # [N] whose box meets the raster
    notes: tuple[str, ...] = ()


def to_grid(shapes: MapShapes, grid: Grid, raster: Path, crs: str = "") -> ShapesOnGrid:
    """Place the polygons of a file on a raster.

    Args:
        raster: the file, for messages.
        crs: of the polygons, instead of what their file states.

    Raises:
        DataError: either has no CRS that fits; a polygon crosses the antimeridian or cannot be transformed.
        MissingExtraError: the extra `geo` is not installed.
    """
    import shapely

    source, note = _source_crs(shapes, grid, raster, crs)
    change = transformer(source, grid.crs) if source and grid.crs else None
    if change is not None and change.source_crs.is_geographic:
        bounds = shapely.bounds(shapes.polygons)
        if wide := int(np.count_nonzero(bounds[:, 2] - bounds[:, 0] > WIDEST_DEGREES)):
            raise DataError(
                f"{shown(shapes.path)}: {wide:,} polygons span more than {WIDEST_DEGREES}° of longitude: they cross "
                "the antimeridian. Cut them there: ogr2ogr -wrapdateline OUT.gpkg IN"
            )

    def place(points_P2: Points) -> Points:
        if change is not None:
            x, y = change.transform(points_P2[:, 0], points_P2[:, 1])
            points_P2 = np.stack([x, y], axis=1)
        return grid.to_pixels(points_P2)

    with np.errstate(invalid="ignore", over="ignore"):
        polygons = shapely.transform(shapes.polygons, place)
        bounds = shapely.bounds(polygons)
    lost = ~np.isfinite(bounds).all(axis=1)
    if lost.any():
        raise DataError(
            f"{shown(shapes.path)}: {int(lost.sum()):,} of {len(shapes):,} polygons lie where the CRS of "
            f"{shown(raster)} ({name_of(grid.crs)}) is not defined. {_fit_in_words(shapes, grid)}"
        )
    height, width = grid.size
    inside = (bounds[:, 2] > 0) & (bounds[:, 3] > 0) & (bounds[:, 0] < width) & (bounds[:, 1] < height)
    return ShapesOnGrid(polygons, np.asarray(inside), (note,) if note else ())


def transformer(source: str, target: str) -> Any:
    """pyproj's transformer between two CRSs, x before y. Raises DataError: GDAL's PROJ does not know one of them."""
    try:
        import pyproj
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyproj, which transforms coordinates,", "geo") from error
    try:
        return pyproj.Transformer.from_crs(_horizontal(source), _horizontal(target), always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise DataError(f"No way from the CRS {source[:80]!r} to {target[:80]!r}: {error}") from error


def _horizontal(crs: str) -> Any:
    """The part of a CRS without heights."""
    import pyproj

    whole = pyproj.CRS.from_user_input(crs)
    return whole.sub_crs_list[0] if whole.is_compound else whole


def name_of(crs: str | None) -> str:
    """ "WGS 84 / UTM zone 32N, EPSG:32632, in metres"."""
    if crs is None:
        return "no CRS"
    import pyproj

    known = pyproj.CRS.from_user_input(crs)
    code = known.to_authority()
    unit = known.axis_info[0].unit_name if known.axis_info else ""
    unit = {"metre": "metres", "degree": "degrees"}.get(unit, unit)
    return ", ".join(
        part for part in (known.name, ":".join(code) if code else "", f"in {unit}" if unit else "") if part
    )


def _source_crs(shapes: MapShapes, grid: Grid, raster: Path, crs: str) -> tuple[str | None, str]:
    """The CRS of the polygons, and a note if it was concluded. Raises DataError."""
    if grid.crs is None and (crs or shapes.crs):
        raise DataError(
            f"{shown(raster)}: does not state its CRS, but {shown(shapes.path)} states "
            f"{name_of(crs or shapes.crs)}. Add it: gdal_edit -a_srs EPSG:… {raster.name}"
        )
    if crs or shapes.crs or grid.crs is None:
        return crs or shapes.crs, ""
    if _meets(shapes, grid):
        return (
            grid.crs,
            f"{shown(shapes.path)} states no CRS; its coordinates fit that of the raster, {name_of(grid.crs)}.",
        )
    raise DataError(
        f"{shown(shapes.path)}: states no CRS, and its coordinates do not fit {name_of(grid.crs)}, the CRS of "
        f"{shown(raster)}. {_fit_in_words(shapes, grid)} Name it with --labels-crs EPSG:…"
    )


def total_bounds(shapes: MapShapes) -> tuple[float, float, float, float]:
    import shapely

    left, bottom, right, top = (float(one) for one in shapely.total_bounds(shapes.polygons))
    return left, bottom, right, top


def _meets(shapes: MapShapes, grid: Grid, *, exchanged: bool = False) -> bool:
    """Whether the coordinates as they are written lie in the raster's bounds."""
    left, bottom, right, top = total_bounds(shapes)
    if exchanged:
        left, bottom, right, top = bottom, left, top, right
    west, south, east, north = grid.bounds
    return left < east and right > west and bottom < north and top > south


def _fit_in_words(shapes: MapShapes, grid: Grid) -> str:
    left, bottom, right, top = total_bounds(shapes)
    west, south, east, north = grid.bounds
    spans = f"The polygons span x {left:.6g} to {right:.6g} and y {bottom:.6g} to {top:.6g}"
    of_raster = f"the raster x {west:.6g} to {east:.6g} and y {south:.6g} to {north:.6g} in its CRS."
    degrees = max(abs(left), abs(right)) <= 360 and max(abs(bottom), abs(top)) <= 90
    return f"{spans}{' (degrees, by their size)' if degrees else ''}, {of_raster}"


def why_outside(shapes: MapShapes, grid: Grid, raster: Path, crs: str = "") -> DataError:
    """The error where no polygon lies on a raster: it names what would make them fit, where something does."""
    stated = crs or shapes.crs
    remedy = "Check that both are of one place."
    if _meets(shapes, grid) and grid.crs:
        remedy = f"They would fit if their coordinates were in the raster's CRS: --labels-crs {short_crs(grid.crs)}"
    elif _meets(shapes, grid, exchanged=True):
        remedy = "They would fit with x and y exchanged: write the file again with x (east) first."
    elif stated and _exchanged_fits(shapes, grid, stated):
        remedy = "They would fit with longitude and latitude exchanged: write the file again with longitude first."
    elif grid.bounds[2] > 180 and grid.crs and transformer(grid.crs, grid.crs).source_crs.is_geographic:
        remedy = "The raster crosses the antimeridian: warp it to a projected CRS (gdalwarp -t_srs), or cut it there."
    return DataError(
        f"{shown(shapes.path)}: none of its {len(shapes):,} polygons lies on {shown(raster)}. The labels are in "
        f"{name_of(stated)}; the raster in {name_of(grid.crs)}. {_fit_in_words(shapes, grid)} {remedy}"
    )


def short_crs(crs: str) -> str:
    return crs if len(crs) <= 20 else "the raster's WKT"


def _exchanged_fits(shapes: MapShapes, grid: Grid, crs: str) -> bool:
    if not grid.crs:
        return False
    left, bottom, right, top = total_bounds(shapes)
    x, y = transformer(crs, grid.crs).transform([bottom, top, (bottom + top) / 2], [left, right, (left + right) / 2])
    places = grid.to_pixels(np.stack([x, y], axis=1))
    height, width = grid.size
    with np.errstate(invalid="ignore"):
        return bool(((places > 0) & (places < [width, height])).all(axis=1).any())


def overlaps_and_touches(polygons: NDArray[Any], classes: NDArray[np.int64]) -> tuple[int, float, int]:
    """Of polygons in pixels: pairs of different classes that overlap, the pixels that these share, and pairs of one
    class that touch or overlap, so that their pixels would be one region."""
    import shapely

    polygons = np.where(shapely.is_valid(polygons), polygons, shapely.make_valid(polygons))
    tree = shapely.STRtree(polygons)
    first, second = tree.query(polygons, predicate="dwithin", distance=1.0)
    first, second = first[first < second], second[first < second]
    same = classes[first] == classes[second]
    mixed = shapely.area(shapely.intersection(polygons[first[~same]], polygons[second[~same]]))
    mixed = mixed[mixed > LEAST_OVERLAP_PX]
    return len(mixed), float(mixed.sum()), int(np.count_nonzero(same))
