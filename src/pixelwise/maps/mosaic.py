"""Many images on one grid as one large image: where each of them lies in it.

The images may leave gaps, which become void, and may overlap: there the later one counts.

Shapes: H, W the size of all of them together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.errors import UsageError
from pixelwise.images.files import shown, utf8, write_whole
from pixelwise.images.tiff import MAX_STREAMED_PIXELS
from pixelwise.maps.grid import Grid, grid_of

SUFFIX = ".mosaic"
OFF_PX = 0.01  # of an image's corner from the first one's grid, and of its far corner through another pixel size


@dataclass(frozen=True)
class MosaicTile:
    """One image of a mosaic."""

    path: Path
    top: int  # of its first row, in rows of the mosaic
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class MapMosaic:
    """All images, and the grid that they share."""

    tiles: tuple[MosaicTile, ...]
    grid: Grid


def plan_mosaic(paths: Sequence[Path]) -> MapMosaic:
    """Where images lie on the grid of the first of them.

    Raises:
        UsageError: one does not say where on the earth it lies, or is on another grid; or they are too large together.
        ImageError: one cannot be read.
    """
    grids = [placed(path) for path in paths]
    first = grids[0]
    corners = [corner_on(first, grid, path, paths[0]) for path, grid in zip(paths, grids, strict=True)]
    left, top = min(x for x, _ in corners), min(y for _, y in corners)
    tiles = tuple(
        MosaicTile(path.absolute(), y - top, x - left, *grid.size)
        for path, grid, (x, y) in zip(paths, grids, corners, strict=True)
    )
    height, width = max(one.top + one.height for one in tiles), max(one.left + one.width for one in tiles)
    if height * width > MAX_STREAMED_PIXELS:
        raise UsageError(
            f"--mosaic: together the {len(paths):,} images cover {width:,}×{height:,} pixels; the limit is "
            f"{MAX_STREAMED_PIXELS:,}. Label them in several calls."
        )
    return MapMosaic(tiles, first.window(top, left, height, width))


def placed(path: Path) -> Grid:
    grid = grid_of(path)
    if grid is None:
        raise UsageError(
            f"--mosaic: {shown(path)} does not say where on the earth it lies. Leave it out, or give it a place: "
            "gdal_edit -a_srs CRS -a_ullr LEFT TOP RIGHT BOTTOM"
        )
    return grid


def corner_on(first: Grid, grid: Grid, path: Path, path_of_first: Path) -> tuple[int, int]:
    """The (column, row) of an image's corner on the first one's grid. Raises UsageError: it lies on another grid."""
    remedy = f"Warp it to that grid: gdalwarp -t_srs CRS -tr SIZE SIZE -tap {path.name} OUT.tif"
    if grid.crs != first.crs:
        found, expected = (one.crs or "no CRS" for one in (grid, first))
        where = f"{shown(path)} has {found[:60]}, but {shown(path_of_first)} has {expected[:60]}"
        raise UsageError(f"--mosaic: {where}. {remedy}")
    height, width = grid.size
    here = first.to_pixels(grid.to_map(np.array([[0, 0], [width, 0], [0, height]], np.float64)))
    column, row = (math.floor(one + 0.5) for one in here[0])
    whole = np.array([[column, row], [column + width, row], [column, row + height]])
    off = float(np.abs(here - whole).max())
    if not off <= OFF_PX:
        what = f"lies {off:.3g} pixels off the grid of {shown(path_of_first)}, or has pixels of another size"
        raise UsageError(f"--mosaic: {shown(path)} {what}. {remedy}")
    return column, row


def write_mosaic(path: Path, mosaic: MapMosaic) -> None:
    """Write a list of the images, which also tells whether one has changed since. Raises OutputError."""
    rows = []
    for one in mosaic.tiles:
        status = one.path.stat()
        rows.append({**vars(one), "path": str(one.path), "bytes": status.st_size, "changed_ns": status.st_mtime_ns})
    grid = {"crs": mosaic.grid.crs, "transform": mosaic.grid.transform, "size": mosaic.grid.size}
    write_whole(path, utf8(json.dumps({"grid": grid, "tiles": rows}, indent=1) + "\n"))


def is_mosaic(path: Path) -> bool:
    return path.suffix == SUFFIX


def read_mosaic(path: Path) -> MapMosaic:
    """What `write_mosaic` wrote."""
    found: dict[str, Any] = json.loads(path.read_bytes())
    a, b, c, d, e, f = found["grid"]["transform"]
    height, width = found["grid"]["size"]
    tiles = (
        MosaicTile(Path(row["path"]), row["top"], row["left"], row["height"], row["width"]) for row in found["tiles"]
    )
    return MapMosaic(tuple(tiles), Grid(found["grid"]["crs"], (a, b, c, d, e, f), (height, width)))
