"""Class values of masks with blended values: by anti-aliased drawing, interpolated resizing, or JPEG.

A code is the value of a class: a grey value, or a colour as 0xRRGGBB. Its location distinguishes it from a blend of
two codes: classes have inside pixels, with a uniform 3×3 neighbourhood; a blend lies on an edge and has none. Thin
objects (a pole one pixel wide) have no inside either; their codes are frequent, or lie on no line between two codes.

Shapes: K codes, N other values; each a point of 3 channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLAT_PX = 9  # a class has at least this many inside pixels somewhere
FLAT_SHARE = 0.05  # and at least this share of its pixels is inside
ON_LINE = 4.0  # maximum distance of a blend from the line between its two codes, due to rounding
BETWEEN_SHARE = 0.4  # of a blend's pixels lie between two neighbours' values
BLEND_KINDS = 8  # smoothing makes many values; fewer, not between their neighbours, are thin classes
THIN_SHARE = 0.02  # of all non-inside pixels: a thin class has more, a single blend value fewer
WIDE_GAP = 8  # grey codes closer than this are ids, and a value between two ids is an id
RIPPLE_RADIUS = 10  # JPEG moves a value in a flat area by less than this
RIPPLE_LEVELS = 3  # a former JPEG has many deviating pixels within this distance of a code:
FAR_COMMONER = 20  # a colour is a trace of a nearby colour that is at least this many times as frequent
RIPPLED_OTHERS = 0.35  # at least this share of the deviating pixels,
RIPPLED_ALL = 0.002  # and this share of all pixels
RIPPLE_REACH = 28  # JPEG makes satellites of a code up to this distance, each with less than RIPPLE_SHARE
END_LEVELS = 4  # a JPEG's code this close to black or white was black or white
FIT_WITHIN = 16  # a JPEG's pixel fits a code if no channel differs by more: beyond that it is on an edge
HEAP = 1.5  # a gap in a ladder is a code if its pixels exceed those half a step away by this factor
UNFIT_SHARE = 0.5  # of the pixels fit no code: above this they are not blends but another kind of image
RIPPLE_SHARE = 0.02  # share of the code's flat pixels


@dataclass(frozen=True)
class ValueBook:
    """The values of some masks that are class codes."""

    codes: tuple[int, ...]  # ascending
    coloured: bool
    blurred: bool  # some values are not codes but blends of them
    tolerance: int  # a value fits a code if no channel differs by more
    shares: Mapping[int, float]  # of all pixels, by code
    unfit: float  # share of pixels that fit no code


def find_values(
    pixels: Mapping[int, int],
    flat: Mapping[int, int],
    between: Mapping[int, int],
    *,
    coloured: bool,
    lossy: bool,
) -> ValueBook:
    """The codes among the values of some masks.

    Args:
        pixels: number of pixels by value.
        flat: by value, the number of these whose 3×3 neighbourhood has only that value.
        between: by value, the number of these between the values of two opposite neighbours.
        coloured: values are colours, 0xRRGGBB; otherwise grey.
        lossy: the masks were JPEGs: a code's own pixels spread around it.
    """
    total = max(sum(pixels.values()), 1)
    codes = _peaks(flat, pixels, coloured) if lossy else _exact(pixels, flat, between, coloured)
    if lossy and not coloured:
        codes = sorted({0 if code <= END_LEVELS else 255 if code >= 255 - END_LEVELS else code for code in codes})
        codes += _holes_of_ladder(codes, pixels)
    tolerance = jpeg_tolerance(points_of(codes, coloured)) if lossy else 0
    shares = {code: number / total for code, number in _nearest_within(pixels, codes, coloured, tolerance).items()}
    return ValueBook(
        codes=tuple(sorted(codes)),
        coloured=coloured,
        blurred=lossy or len(codes) < len(pixels),
        tolerance=tolerance,
        shares=shares,
        unfit=max(1.0 - sum(shares.values()), 0.0),
    )


def apart(codes: Sequence[int], pixels: Mapping[int, int], levels: int, times: float = 1.0) -> list[int]:
    """Drop colours within `levels` of another that is at least `times` as frequent."""
    ordered = sorted(codes, key=lambda code: -pixels[code])
    kept: list[int] = []
    for code in ordered:
        near = [k for k in kept if _gap(k, code) <= levels]
        if not any(pixels[k] >= times * pixels[code] for k in near):
            kept.append(code)
    return sorted(kept)


def _gap(a: int, b: int) -> int:
    """Difference of two colours in the channel where they differ most."""
    return max(abs((a >> shift & 255) - (b >> shift & 255)) for shift in (16, 8, 0))


def rippled(codes: Sequence[int], pixels: Mapping[int, int], *, coloured: bool) -> bool:
    """Whether losslessly stored masks were JPEGs before: values that fit no code are a few levels off one.

    Blends along edges spread evenly between two codes; adjacent codes are indistinguishable from that.
    """
    if len(codes) > 255:
        return False
    if coloured:
        codes = apart(codes, pixels, RIPPLE_RADIUS)
    points_K3 = points_of(tuple(codes), coloured)
    others = sorted(pixels.keys() - set(codes))
    if len(codes) < 2 or jpeg_tolerance(points_K3) < FIT_WITHIN // 2 or not others:
        return False
    number_N = np.array([pixels[value] for value in others], np.float64)
    gap_N = np.concatenate(
        [
            np.abs(points_of(others[i : i + 4096], coloured)[:, None] - points_K3[None]).max(axis=2).min(axis=1)
            for i in range(0, len(others), 4096)
        ]
    )
    near = float(number_N[gap_N <= RIPPLE_LEVELS].sum())
    return near > RIPPLED_OTHERS * number_N.sum() and near > RIPPLED_ALL * sum(pixels.values())


def points_of(codes: list[int] | tuple[int, ...], coloured: bool) -> NDArray[np.float64]:
    """Codes as points, [K, 3]; a grey value in all three channels."""
    values_K = np.array(codes, np.int64)
    if not coloured:
        return np.repeat(values_K[:, None].astype(np.float64), 3, axis=1)
    return np.stack([values_K >> 16, values_K >> 8 & 255, values_K & 255], axis=1).astype(np.float64)


def jpeg_tolerance(points_K3: NDArray[np.float64]) -> int:
    """Maximum difference of a JPEG's pixel from its code in any channel: under half the smallest gap."""
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
            nearest_N = np.minimum(nearest_N, np.linalg.norm(points_N3 - ends_K3[i] - place_N[:, None] * along, axis=1))
    return nearest_N


def _exact(pixels: Mapping[int, int], flat: Mapping[int, int], between: Mapping[int, int], coloured: bool) -> list[int]:
    """Codes of losslessly stored masks: each code is exactly one value."""
    inside = sorted(v for v, n in pixels.items() if flat.get(v, 0) >= FLAT_PX and flat[v] >= FLAT_SHARE * n)
    others = sorted(set(pixels) - set(inside))
    if not others or len(inside) < 2 or len(inside) > 255:
        return list(pixels)
    if not coloured:
        others = [v for v in others if _wide_gap(inside, v)]
    total = sum(pixels[v] for v in others)
    blends = {v for v in others if between.get(v, 0) >= BETWEEN_SHARE * pixels[v]}
    if sum(pixels[v] for v in blends) < 0.5 * total and len(others) < BLEND_KINDS:
        return list(pixels)
    thin = [v for v in others if v not in blends and pixels[v] >= THIN_SHARE * total]
    if thin:  # values next to a code are traces of an earlier JPEG
        gaps_NK = np.abs(points_of(thin, coloured)[:, None] - points_of(inside, coloured)[None]).max(axis=2)
        reach = RIPPLE_REACH if coloured else RIPPLE_RADIUS
        thin = [v for v, gap in zip(thin, gaps_NK.min(axis=1), strict=True) if gap > reach]
    if coloured and thin:  # half-covered sides of a one-pixel line are frequent too, but on a line between two codes
        off_N = off_line(points_of(thin, True), points_of(inside, True))
        thin = [v for v, off in zip(thin, off_N, strict=True) if off > 4 * ON_LINE or pixels[v] >= 0.2 * total]
    dropped = set(others).difference(thin)
    kept = [v for v in pixels if v not in dropped]
    return apart(kept, pixels, RIPPLE_LEVELS, FAR_COMMONER) if coloured else kept


def _wide_gap(inside: list[int], value: int) -> bool:
    """Whether a grey value lies between two codes that are far enough apart for a blend."""
    above = next((code for code in inside if code > value), None)
    below = next((code for code in reversed(inside) if code < value), None)
    return above is None or below is None or above - below >= WIDE_GAP


def _peaks(flat: Mapping[int, int], pixels: Mapping[int, int], coloured: bool) -> list[int]:
    """Codes of JPEGs: the most frequent value of each cluster of flat pixels, largest cluster first."""
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
        if (
            len(codes) >= 2
            and heap < 0.01 * total
            and off_line(points_N3[n : n + 1], np.array(centres))[0] < RIPPLE_RADIUS
        ):
            near = _mass_around(pixels, points_N3[n], coloured)
            if heap < 0.25 * near:  # mostly edge pixels: a blend of two codes
                continue
        codes.append(values[n])
        heaps.append(heap)
        centres.append(points_N3[n])
    return codes


def _holes_of_ladder(codes: list[int], pixels: Mapping[int, int]) -> list[int]:
    """Codes missing from a regular ladder of grey values (0, 20, 60, 80: 40) where pixels cluster: thin classes."""
    if len(codes) < 4:
        return []
    step = float(np.median(np.diff(codes)))
    if step < 2 * WIDE_GAP:
        return []
    holes = []
    for low, high in itertools.pairwise(codes):
        missing = round((high - low) / step) - 1
        for i in range(1, missing + 1):
            hole = round(low + i * (high - low) / (missing + 1))
            heap = sum(pixels.get(hole + d, 0) for d in range(-2, 3))
            beside = sum(pixels.get(hole + s * round(step / 2) + d, 0) for s in (-1, 1) for d in range(-2, 3)) / 2
            if heap > HEAP * beside:
                holes.append(max(range(hole - 2, hole + 3), key=lambda value: pixels.get(value, 0)))
    return holes


def _mass_around(pixels: Mapping[int, int], centre: NDArray[np.float64], coloured: bool) -> float:
    points_N3 = points_of(list(pixels), coloured)
    near_N = np.abs(points_N3 - centre).max(axis=1) <= RIPPLE_RADIUS
    return float(np.array(list(pixels.values()), np.float64)[near_N].sum())


def unfit_share(pixels: Mapping[int, int], book: ValueBook, total: int) -> float:
    """The share of a mask's `total` pixels that fit no code in a book, estimated from its most frequent values."""
    codes = list(book.codes)
    reach = max(book.tolerance, jpeg_tolerance(points_of(codes, book.coloured)))
    return 1.0 - sum(_nearest_within(pixels, codes, book.coloured, reach).values()) / max(total, 1)


def _nearest_within(pixels: Mapping[int, int], codes: list[int], coloured: bool, tolerance: int) -> dict[int, int]:
    """Pixels by code; each value counts for its nearest code within the tolerance."""
    if tolerance == 0 or not codes:
        return {code: pixels.get(code, 0) for code in codes}
    values = list(pixels)
    distance_NK = np.abs(points_of(values, coloured)[:, None] - points_of(codes, coloured)[None]).max(axis=2)
    counted = dict.fromkeys(codes, 0)
    for value, nearest, distance in zip(values, distance_NK.argmin(axis=1), distance_NK.min(axis=1), strict=True):
        if distance <= tolerance:
            counted[codes[nearest]] += pixels[value]
    return counted
