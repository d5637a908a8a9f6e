"""The codes of masks whose values were blended: by anti-aliased drawing, resizing with interpolation, or JPEG.

A code is a grey value, or a colour as 0xRRGGBB. What tells a class's code from a blend of two is where it lies: classes
have insides, and there the 3×3 neighbourhood is of one code; a blend lies on an edge and has none. Thin things (a pole
one pixel wide) have no insides either; theirs are told by being common, or by lying on no line between two codes.

Shapes: K codes, N other values; each a point of 3 channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLAT_PX = 9  # a class has at least this many inside pixels somewhere
FLAT_SHARE = 0.05  # and at least this share of its pixels are inside
ON_LINE = 4.0  # a blend is off the line between its two codes by rounding only
BLEND_KINDS = 8  # blending makes many different values; fewer than this are thin classes
COMMON = 20.0  # a thin class is this many times as common as the blends around it
RIPPLE_RADIUS = 10  # JPEG moves a value in a flat area by less than this
RIPPLE_REACH = 28  # and makes satellites of a code up to here, each with less than
FIT_WITHIN = 16  # a JPEG's pixel fits a code when no channel is farther: past that it is on an edge
RIPPLE_SHARE = 0.02  # this share of the code's flat pixels


@dataclass(frozen=True)
class CodeBook:
    """Which values of some masks are classes' codes."""

    codes: tuple[int, ...]  # ascending
    coloured: bool
    blurred: bool  # values occur that are no codes but blends of them
    tolerance: int  # a value fits a code when no channel differs by more
    shares: Mapping[int, float]  # of all pixels, by code
    unfit: float  # share of pixels that fit no code


def find_codes(pixels: Mapping[int, int], flat: Mapping[int, int], *, coloured: bool, lossy: bool) -> CodeBook:
    """The codes among the values of some masks.

    Args:
        pixels: by value, how many pixels have it.
        flat: by value, how many of them have a 3×3 neighbourhood of that value.
        coloured: values are colours, 0xRRGGBB; otherwise grey.
        lossy: the masks were JPEGs: a code's own pixels spread around it.
    """
    total = max(sum(pixels.values()), 1)
    codes = _peaks(flat, pixels, coloured) if lossy else _exact(pixels, flat, coloured)
    tolerance = jpeg_tolerance(points_of(codes, coloured)) if lossy else 0
    shares = {code: number / total for code, number in _nearest_within(pixels, codes, coloured, tolerance).items()}
    return CodeBook(
        codes=tuple(sorted(codes)),
        coloured=coloured,
        blurred=lossy or len(codes) < len(pixels),
        tolerance=tolerance,
        shares=shares,
        unfit=max(1.0 - sum(shares.values()), 0.0),
    )


def points_of(codes: list[int] | tuple[int, ...], coloured: bool) -> NDArray[np.float64]:
    """Codes as points, [K, 3]; a grey value in all three channels."""
    values_K = np.array(codes, np.int64)
    if not coloured:
        return np.repeat(values_K[:, None].astype(np.float64), 3, axis=1)
    return np.stack([values_K >> 16, values_K >> 8 & 255, values_K & 255], axis=1).astype(np.float64)


def jpeg_tolerance(points_K3: NDArray[np.float64]) -> int:
    """How far a JPEG's pixel may be from its code, in the channel where it is farthest: under half the nearest gap."""
    if len(points_K3) < 2:
        return FIT_WITHIN
    gaps_KK = np.abs(points_K3[:, None] - points_K3[None]).max(axis=2)
    nearest = gaps_KK[~np.eye(len(points_K3), dtype=bool)].min()
    return int(min(max((nearest - 1) // 2, 1), FIT_WITHIN))


def off_line(points_N3: NDArray[np.float64], ends_K3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each point to the nearest line that joins two of K ends. [N]; infinite for fewer than two ends."""
    nearest_N = np.full(len(points_N3), np.inf)
    for i in range(len(ends_K3)):
        for j in range(i):
            along = ends_K3[j] - ends_K3[i]
            place_N = np.clip((points_N3 - ends_K3[i]) @ along / max(along @ along, 1e-9), 0, 1)
            nearest_N = np.minimum(
                nearest_N, np.linalg.norm(points_N3 - ends_K3[i] - place_N[:, None] * along, axis=1)
            )
    return nearest_N


def _exact(pixels: Mapping[int, int], flat: Mapping[int, int], coloured: bool) -> list[int]:
    """Codes of masks that were stored without loss: each code is exactly one value."""
    inside = [v for v, n in pixels.items() if flat.get(v, 0) >= FLAT_PX and flat[v] >= FLAT_SHARE * n]
    others = sorted(set(pixels) - set(inside))
    if len(others) < max(BLEND_KINDS, 2 * len(inside)) or len(inside) < 2 or len(inside) > 255:
        return list(pixels)
    numbers_N = np.array([pixels[v] for v in others])
    usual = float(np.median(numbers_N))
    off_N = off_line(points_of(others, coloured), points_of(inside, coloured))
    common_N = numbers_N > COMMON * max(usual, 1.0)
    aside_N = (off_N > 4 * ON_LINE) & (numbers_N > COMMON / 4 * max(usual, 1.0))
    return inside + [v for v, keep in zip(others, common_N | aside_N, strict=True) if keep]


def _peaks(flat: Mapping[int, int], pixels: Mapping[int, int], coloured: bool) -> list[int]:
    """Codes of JPEGs: the commonest value of each heap of flat pixels, the largest heap first."""
    values = sorted(flat, key=lambda v: -flat[v])[:4096]
    if not values:
        return [max(pixels, key=lambda v: pixels[v])] if pixels else []
    points_N3 = points_of(values, coloured)
    flat_N = np.array([flat[v] for v in values], np.float64)
    free_N = np.ones(len(values), bool)
    total = flat_N.sum()
    codes: list[int] = []
    heaps: list[float] = []
    centres: list[NDArray[np.float64]] = []
    for n in range(len(values)):
        if not free_N[n]:
            continue
        distance_N = np.abs(points_N3 - points_N3[n]).max(axis=1)
        own_N = free_N & (distance_N <= RIPPLE_RADIUS)
        heap = float(flat_N[own_N].sum())
        free_N &= ~own_N
        reach = [k for k, centre in enumerate(centres) if np.abs(centre - points_N3[n]).max() <= RIPPLE_REACH]
        satellite = any(heap < RIPPLE_SHARE * heaps[k] for k in reach)
        if heap < max(2e-4 * total, 3 * FLAT_PX) or satellite:
            continue
        if len(codes) >= 2 and heap < 0.01 * total and off_line(points_N3[n : n + 1], np.array(centres))[0] < RIPPLE_RADIUS:
            near = _mass_around(pixels, points_N3[n], coloured)
            if heap < 0.25 * near:  # mostly edge pixels: a blend of two codes
                continue
        codes.append(values[n])
        heaps.append(heap)
        centres.append(points_N3[n])
    return codes


def _mass_around(pixels: Mapping[int, int], centre: NDArray[np.float64], coloured: bool) -> float:
    points_N3 = points_of(list(pixels), coloured)
    near_N = np.abs(points_N3 - centre).max(axis=1) <= RIPPLE_RADIUS
    return float(np.array(list(pixels.values()), np.float64)[near_N].sum())


def _nearest_within(pixels: Mapping[int, int], codes: list[int], coloured: bool, tolerance: int) -> dict[int, int]:
    """Pixels by code, each value counted for its nearest code where that is within the tolerance."""
    if tolerance == 0 or not codes:
        return {code: pixels.get(code, 0) for code in codes}
    values = list(pixels)
    distance_NK = np.abs(points_of(values, coloured)[:, None] - points_of(codes, coloured)[None]).max(axis=2)
    counted = dict.fromkeys(codes, 0)
    for value, nearest, distance in zip(values, distance_NK.argmin(axis=1), distance_NK.min(axis=1), strict=True):
        if distance <= tolerance:
            counted[codes[nearest]] += pixels[value]
    return counted
