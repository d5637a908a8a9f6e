"""Lossless conversion between polygons and pixels.

Coordinates (x, y) refer to pixel edges, from the image's top left corner. A pixel is inside if its centre is, by the
even-odd rule. Outlines are traced along pixel edges, so filling them restores the same pixels. Holes are joined to
their outer outline by a slit of zero width, because most formats do not support holes.

Shapes: H, W of the mask; N corners of a polygon, each (x, y).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.overlaps import paint
from pixelwise.images.decode import MaskIds
from pixelwise.images.files import Refusal

Polygon = NDArray[np.float64]  # [N, 2]
ABSURD_PX = 1e15  # beyond any image size; sums and squares of such numbers stay finite
MOST_CORNERS = 1_000_000
MOST_CROSSINGS = 64  # of a polygon's edges with row centres, per image pixel
CROSSINGS_AT_ONCE = 1 << 20
FAR_PX = 1e7  # corners beyond this are damaged and would overflow
GRID_PX = 512  # polygons are laid on a grid of this size to compare areas
CROSSING_CORNERS = 400  # polygons with more corners are not checked for crossings: the check is quadratic


def polygon_of(numbers: Any, at_least: int = 3) -> Polygon:
    """A polygon of at least `at_least` points from a flat list [x, y, x, y …] or a list of pairs.

    Raises:
        Refusal: not a polygon: too few corners, an odd count, non-finite numbers.
    """
    try:
        corners = np.asarray(numbers)
    except (TypeError, ValueError, OverflowError) as error:
        raise Refusal("polygon-empty", "is not a list of corners.", "Correct the polygon.") from error
    if corners.size and (
        corners.dtype.kind not in "iuf" or _holds_truth(numbers)
    ):  # text, booleans, numbers beyond float range
        raise Refusal("polygon-empty", "has corners that are not numbers.", "Correct the polygon.")
    corners = corners.astype(np.float64)
    if corners.ndim == 1 and corners.size % 2 == 0:
        corners = corners.reshape(-1, 2)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < at_least:
        few = {1: "one point", 2: "two points", 3: "three corners"}.get(at_least, f"{at_least} corners")
        raise Refusal("polygon-empty", f"has fewer than {few}.", "Remove it, or draw it again.")
    if len(corners) > MOST_CORNERS:
        what = f"has {len(corners):,} corners; the limit is {MOST_CORNERS:,}."
        raise Refusal("polygon", what, "Draw it with fewer corners.")
    if not np.isfinite(corners).all() or np.abs(corners).max() > ABSURD_PX:
        raise Refusal("polygon-empty", "has corners that are not finite numbers.", "Remove it, or draw it again.")
    return corners


def _holds_truth(numbers: Any) -> bool:
    """Whether the numbers contain booleans: NumPy reads them as 1 and 0."""
    if not isinstance(numbers, list):
        return False
    return bool in set(map(type, numbers)) or any(
        bool in set(map(type, pair)) for pair in numbers if isinstance(pair, list)
    )


def inside(polygon: Polygon, height: int, width: int) -> tuple[slice, slice, NDArray[np.bool_]] | None:
    """The rows and columns that a polygon spans, and which of their pixels lie inside; None if none does.

    Memory is proportional to pixels and corners, regardless of how the edges zigzag.

    Raises:
        Refusal: far more edges than this image's pixels can resolve.
    """
    corners = np.clip(polygon, -FAR_PX, FAR_PX)
    top = int(np.clip(np.ceil(corners[:, 1].min() - 0.5), 0, height))
    bottom = int(np.clip(np.ceil(corners[:, 1].max() - 0.5), 0, height))
    left = int(np.clip(np.floor(corners[:, 0].min()), 0, width))
    right = int(np.clip(np.ceil(corners[:, 0].max()), 0, width))
    if top >= bottom or left >= right:
        return None
    ends = np.roll(corners, -1, axis=0)
    downward = (corners[:, 1] <= ends[:, 1])[:, None]
    upper, lower = np.where(downward, corners, ends), np.where(downward, ends, corners)  # independent of direction
    first = np.clip(np.ceil(upper[:, 1] - 0.5), top, bottom).astype(np.int64)
    last = np.clip(np.ceil(lower[:, 1] - 0.5), top, bottom).astype(np.int64)
    total = np.cumsum(last - first)
    if int(total[-1]) > MOST_CROSSINGS * height * width + CROSSINGS_AT_ONCE:
        what = f"has {len(corners):,} corners, whose edges cross the image's rows {int(total[-1]):,} times."
        raise Refusal("polygon", what, "Draw it with fewer corners.")
    odd = np.zeros((bottom - top, right - left + 1), np.bool_)  # whether an odd number of edges cross here
    at = 0
    while at < len(corners):
        done = int(total[at - 1]) if at else 0
        end = max(int(np.searchsorted(total, done + CROSSINGS_AT_ONCE, "right")), at + 1)
        part = slice(at, end)
        _cross(odd, (upper[part], lower[part], first[part], last[part]), (top, left))
        at = end
    return slice(top, bottom), slice(left, right), np.logical_xor.accumulate(odd[:, :-1], axis=1)


def _cross(odd: NDArray[np.bool_], edges: tuple[NDArray[Any], ...], origin: tuple[int, int]) -> None:
    """Mark in `odd` [h, w + 1], whose first pixel is `origin` (row, column), where edges cross row centres.

    `edges`: upper and lower ends [N, 2], and the first row and the one after the last that each crosses [N].
    """
    upper, lower, first, last = edges
    counts = last - first
    edge = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    rise = lower[edge, 1] - upper[edge, 1]
    along = (rows + 0.5 - upper[edge, 1]) / np.where(rise == 0, 1, rise)
    x = upper[edge, 0] + along * (lower[edge, 0] - upper[edge, 0])
    top, left = origin
    columns = np.clip(np.ceil(x - 0.5), left, left + odd.shape[1] - 1).astype(np.int64)
    places, times = np.unique((rows - top) * odd.shape[1] + columns - left, return_counts=True)
    odd.ravel()[places[times % 2 == 1]] ^= True


def inside_rings(
    rings: Sequence[Polygon], size: tuple[int, int], *, even_odd: bool = True
) -> tuple[slice, slice, NDArray[np.bool_]] | None:
    """`inside` for several rings: by the even-odd rule, or their union."""
    parts = [part for ring in rings if (part := inside(ring, *size)) is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    top, bottom = min(rows.start for rows, _, _ in parts), max(rows.stop for rows, _, _ in parts)
    left, right = min(columns.start for _, columns, _ in parts), max(columns.stop for _, columns, _ in parts)
    covered = np.zeros((bottom - top, right - left), np.bool_)
    for rows, columns, filled in parts:
        place = covered[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        (np.logical_xor if even_odd else np.logical_or)(place, filled, out=place)
    return slice(top, bottom), slice(left, right), covered


def fill(ids: MaskIds, polygon: Polygon, value: int) -> None:
    """Write `value` into every pixel of `ids` [H, W] that lies inside."""
    found = inside(polygon, *ids.shape)
    if found:
        rows, columns, filled = found
        paint(ids[rows, columns], filled, value)


def outlines(mask: NDArray[np.bool_]) -> list[Polygon]:
    """One polygon per connected piece (4-neighbours) of a mask [H, W], its holes joined to it."""
    found = []
    for loops in rings(mask):
        joined = [loops[0], loops[0][:1]]
        for hole in loops[1:]:
            joined += [hole, hole[:1], loops[0][:1]]
        found.append(np.concatenate(joined if len(loops) > 1 else [loops[0]]))
    return found


def rings(mask: NDArray[np.bool_]) -> list[list[Polygon]]:
    """For each connected piece (4-neighbours) of a mask [H, W]: its outer outline, then those of its holes."""
    number, parts, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    found = []
    for part in range(1, number):
        x, y, width, height = (int(value) for value in boxes[part][:4])
        own = parts[y : y + height, x : x + width] == part
        found.append([(loop + np.array([x, y])).astype(np.float64) for loop in _loops(own)])
    return found


def _loops(own: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Closed outlines along pixel edges of a small mask; corners only, the first corner not repeated."""
    padded = np.pad(own, 1).astype(np.int8)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for r, c in np.argwhere(np.diff(padded, axis=0) != 0):  # between rows r − 1 and r: a horizontal edge
        a, b = (int(c) - 1, int(r)), (int(c), int(r))
        start, stop = (a, b) if padded[r + 1, c] else (b, a)
        following.setdefault(start, []).append(stop)
    for r, c in np.argwhere(np.diff(padded, axis=1) != 0):
        a, b = (int(c), int(r) - 1), (int(c), int(r))
        start, stop = (b, a) if padded[r, c + 1] else (a, b)
        following.setdefault(start, []).append(stop)
    loops = []
    while following:
        start = next(iter(following))
        at, path = start, []
        while True:
            stops = following[at]
            nearest = stops.pop()
            if not stops:
                del following[at]
            path.append(at)
            at = nearest
            if at == start:
                break
        corners = np.array(path, np.int64)
        before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
        loops.append(corners[(before != after).any(axis=1)])
    return loops


def crosses_itself(polygon: Polygon) -> bool:
    """Whether a polygon crosses itself so that its signed area differs from its filled area.

    Slits that join holes also cross, but do not change the area. False, unchecked, for polygons with many corners.
    """
    if not _edges_cross(polygon):
        return False
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    grid = (polygon - low) * (GRID_PX / max(float((high - low).max()), 1e-9))
    x, y = grid[:, 0], grid[:, 1]
    signed = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    found = inside(grid, GRID_PX, GRID_PX)
    filled = float(found[2].sum()) if found else 0.0
    return abs(signed - filled) > 0.03 * max(signed, filled)


def _edges_cross(polygon: Polygon) -> bool:
    """Whether any two edges without a shared endpoint cross."""
    n = len(polygon)
    if n < 4 or n > CROSSING_CORNERS:
        return False
    a, b = polygon, np.roll(polygon, -1, axis=0)
    i, j = np.triu_indices(n, 2)
    keep = ~((i == 0) & (j == n - 1))
    i, j = i[keep], j[keep]

    def side(p: Polygon, q: Polygon, r: Polygon) -> NDArray[np.float64]:
        return np.sign((q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0]))

    one = side(a[i], b[i], a[j]) * side(a[i], b[i], b[j])
    other = side(a[j], b[j], a[i]) * side(a[j], b[j], b[i])
    return bool(((one < 0) & (other < 0)).any())


def judge_polygons(
    polygons: Sequence[tuple[str, Any]], size: tuple[int, int] | None, warn: Callable[[str, str, str, str], None]
) -> None:
    """Warn of polygons (each with its description) that are empty, cross themselves or leave the image.

    `size`: (H, W) of the image; None if the file does not state it.
    """
    height, width = size or (math.inf, math.inf)
    for where, numbers in polygons:
        try:
            polygon = polygon_of(numbers)
        except Refusal as refusal:
            warn("polygon-empty", where, refusal.what, "It is skipped. " + refusal.remedy)
            continue
        low, high = polygon.min(axis=0), polygon.max(axis=0)
        if size is None:
            pass
        elif high[0] <= 0 or high[1] <= 0 or low[0] >= width or low[1] >= height:
            warn("polygon-outside", where, f"lies outside its image of {width}×{height}.", "Remove it, or move it.")
        elif low.min() < -1 or high[0] > width + 1 or high[1] > height + 1:
            warn(
                "polygon-outside",
                where,
                f"reaches beyond its image of {width}×{height}.",
                "What is outside is cut off.",
            )
        if crosses_itself(polygon):
            what = "crosses itself: where it overlaps itself, it has a hole (even-odd rule)."
            warn("polygon-crossing", where, what, "Draw it again if that is not intended.")
