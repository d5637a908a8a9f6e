"""Regions → polygons in map coordinates, with their class, area and mean confidence, some thousands at a time.

Polygons keep every corner of the pixels that they consist of, or are simplified together: an outline that two share
stays the same in both. Long edges, which another coordinate reference system bends, get further corners there.

An area is that of the pixels, whether or not the outline is simplified. It is measured in the raster's own CRS where
that shows areas true to within half a per cent, else (degrees, Web Mercator) in an equal-area projection, EPSG:6933.

Shapes: K polygons; N corners, each (x, y).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ImageError, MissingExtraError, UsageError
from pixelwise.maps.grid import Grid
from pixelwise.maps.region_rings import RegionRings

PACKAGES = ("rasterio", "pyogrio", "shapely", "pyproj")
AT_ONCE = 1 << 14  # polygons
BENDS_PX = 128.0  # a straight edge of this length stays straight to within a hundredth of a pixel in every usual CRS
FRACTIONS = 1024  # of a pixel, to which added corners are rounded, so that neighbours agree on them
TRUE_AREA = 0.005
EQUAL_AREA = "EPSG:6933"  # cylindrical: edges along parallels and meridians stay straight
FULL = 65535  # the value of confidence 1
MOST_SIMPLIFIED_PX = 1000.0
MOST_SIMPLIFIED = 10_000_000  # corners: some 6 GB
Measure = Callable[[NDArray[Any]], NDArray[np.float64]]  # polygons in pixels → areas in m²


@dataclass(frozen=True)
class PolygonOptions:
    """How polygons are written."""

    crs: str = ""  # of GeoPackages, as "EPSG:4326"; "": the image's own. GeoJSON is always in WGS 84
    simplify_px: float = 0.0  # corners that span less than this, squared, are left out; 0: none


@dataclass(frozen=True)
class PolygonBatch:
    """K polygons of one map."""

    polygons: NDArray[Any]  # [K] shapely.Polygon
    labels: NDArray[np.uint8]  # [K] class ids
    areas_m2: NDArray[np.float64] | None  # [K]; None: the raster's CRS has no place on earth
    confidence: NDArray[np.float64] | None  # [K], 0–1, averaged over the pixels; None: not known


def checked_options(crs: str, simplify_px: float) -> PolygonOptions:
    """Raises UsageError: not a CRS, or no length. MissingExtraError: a CRS or length without the extra `geo`."""
    if not 0 <= simplify_px <= MOST_SIMPLIFIED_PX:
        raise UsageError(f"--simplify {simplify_px:g}: expected 0 to {MOST_SIMPLIFIED_PX:g} pixels.")
    if crs or simplify_px:
        needs_geo()
    if crs:
        import pyproj

        try:
            known = pyproj.CRS.from_user_input(crs)
        except pyproj.exceptions.CRSError as error:
            expected = "a coordinate reference system, such as EPSG:4326 or EPSG:32632"
            raise UsageError(f"--crs {crs}: expected {expected}.") from error
        if not (known.is_projected or known.is_geographic):
            raise UsageError(f"--crs {crs}: {known.name} is neither geographic nor projected. Choose one that is.")
    return PolygonOptions(crs, simplify_px)


def needs_geo() -> None:
    """Raise MissingExtraError if polygons in map coordinates cannot be written."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise MissingExtraError(f"the package {missing[0]}, which writes maps,", "geo")


def is_on_earth(grid: Grid) -> bool:
    """Whether a grid's CRS is geographic or projected, so that its coordinates can be given in another one."""
    if grid.crs is None:
        return False
    import pyproj

    crs = pyproj.CRS.from_user_input(grid.crs)
    return bool(crs.is_geographic or crs.is_projected)


def polygon_batches(regions: Iterable[RegionRings], grid: Grid, crs: str, simplify_px: float) -> Iterator[PolygonBatch]:
    """All regions as polygons.

    Args:
        regions: some at a time, all of one label map.
        grid: of the labels.
        crs: of the polygons; "": the grid's own.
        simplify_px: see `PolygonOptions`. All polygons are then in memory together.

    Raises:
        ImageError: too many corners to simplify.
    """
    import shapely

    place = to_crs(grid, crs)
    batches = in_pixels(regions, area_measure(grid))
    for batch in simplified(batches, simplify_px) if simplify_px else batches:
        drawn = shapely.segmentize(batch.polygons, BENDS_PX) if crs else batch.polygons
        yield replace(batch, polygons=shapely.transform(drawn, place))


def in_pixels(regions: Iterable[RegionRings], measure: Measure | None) -> Iterator[PolygonBatch]:
    """Polygons in pixels, with their areas."""
    for some in regions:
        confidence = None if some.sums is None else some.sums / some.pixels / FULL
        for first in range(0, len(some), AT_ONCE):
            part = slice(first, min(first + AT_ONCE, len(some)))
            drawn = polygons_of(some, part)
            areas = None if measure is None else measure(drawn)
            yield PolygonBatch(drawn, some.labels[part], areas, None if confidence is None else confidence[part])


def polygons_of(regions: RegionRings, part: slice) -> NDArray[Any]:
    """Regions [start, stop) as polygons in pixels."""
    import shapely

    rings = regions.region_starts[part.start : part.stop + 1]
    starts = regions.ring_starts[rings[0] : rings[-1] + 1]
    begin, end = int(starts[0]), int(starts[-1])
    corners = np.stack([regions.xs[begin:end], regions.ys[begin:end]], axis=1).astype(np.float64)
    # Close each ring: its first corner again behind its last.
    closed = np.insert(corners, starts[1:] - begin, corners[starts[:-1] - begin], axis=0)
    ends = starts - begin + np.arange(len(starts))
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, closed, (ends, rings - rings[0])))


def simplified(batches: Iterable[PolygonBatch], tolerance_px: float) -> list[PolygonBatch]:
    """The same batches, simplified all together. Raises ImageError: too many corners for that."""
    import shapely

    held, corners = list[PolygonBatch](), 0
    for batch in batches:
        held.append(batch)
        corners += int(shapely.get_num_coordinates(batch.polygons).sum())
        if corners > MOST_SIMPLIFIED:
            raise ImageError(
                f"its polygons have more than {MOST_SIMPLIFIED:,} corners, too many to simplify together. Leave out "
                "--simplify, or label parts of the image."
            )
    if not held:
        return held
    simple = shapely.coverage_simplify(np.concatenate([batch.polygons for batch in held]), tolerance_px)
    parts = np.split(np.asarray(simple), np.cumsum([len(batch.polygons) for batch in held])[:-1])
    return [replace(batch, polygons=polygons) for batch, polygons in zip(held, parts, strict=True)]


def to_crs(grid: Grid, crs: str) -> Any:
    """(column, row) [N, 2] → (x, y) in a CRS; "": in the grid's own."""
    if not crs:
        return grid.to_map
    import pyproj

    change = pyproj.Transformer.from_crs(grid.crs, crs, always_xy=True)

    def place(corners_N2: NDArray[np.float64]) -> NDArray[np.float64]:
        at = grid.to_map(np.round(corners_N2 * FRACTIONS) / FRACTIONS)
        return np.stack(change.transform(at[:, 0], at[:, 1], errcheck=True), axis=1)

    return place


def area_measure(grid: Grid) -> Measure | None:
    """A function: polygons in pixels [K] → their areas in m²; None if the grid's CRS has no place on earth."""
    if not is_on_earth(grid):
        return None
    import pyproj
    import shapely

    crs = pyproj.CRS.from_user_input(grid.crs)
    if crs.is_projected and abs(areal_scale(grid, crs) - 1) <= TRUE_AREA:
        metres = crs.axis_info[0].unit_conversion_factor
        pixel_m2 = grid.pixel_area * metres * metres
        return lambda polygons: shapely.area(polygons) * pixel_m2
    place = to_crs(grid, EQUAL_AREA)
    return lambda polygons: shapely.area(shapely.transform(shapely.segmentize(polygons, BENDS_PX), place))


def areal_scale(grid: Grid, crs: Any) -> float:
    """How much larger a projection shows areas than they are, at the middle of the grid."""
    import pyproj

    height, width = grid.size
    ((x, y),) = grid.to_map(np.array([[width / 2, height / 2]]))
    longitude, latitude = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
    if not (math.isfinite(longitude) and math.isfinite(latitude)):
        return math.inf
    return float(pyproj.Proj(crs).get_factors(longitude, latitude).areal_scale)
