"""A small rasteriser and its randomness, bit-exact on every machine.

Only integer arithmetic and the operations that IEEE 754 rounds exactly (+ − × ÷ √, comparisons, floor) are used,
element by element: no libm function, no float sum whose order may vary, no stream of NumPy's Generator. Scalars stay
Python floats, because NumPy 1 and 2 promote their own scalars differently.

Shapes: H, W canvas; h, w a window of it. Lengths on the screen are in units of the canvas's shorter side, measured
from its centre: u to the right, v downwards, upright (the camera's roll is undone). Coverage is 0–1: the share of a
pixel that a shape covers, so edges are antialiased; a pixel takes the label of what covers at least half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Labels

Floats = NDArray[np.floating[Any]]  # float32 all along; the stubs take float32 × float for float64
Roll = Callable[[float, float], float]  # (low, high) → the next number in low … high
Point = tuple[float, float]  # (u, v)
Rgb = tuple[float, float, float]  # 0–1 each
Window = tuple[slice, slice]  # rows, columns

TILE_PX = 256  # side of the periodic noise tiles
_MASK_64 = (1 << 64) - 1


def splitmix64(state: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): 64 well-mixed bits from any 64 bits."""
    state = (state + 0x9E3779B97F4A7C15) & _MASK_64
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return state ^ (state >> 31)


def dice(*keys: int) -> Roll:
    """A stream of uniform numbers that depends on the keys alone."""
    state = 0
    for key in keys:
        state = splitmix64(state ^ (key & _MASK_64))

    def roll(low: float, high: float) -> float:
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & _MASK_64
        # 32 bits, so that low + (high − low) × u cannot round up to high
        return low + (high - low) * ((splitmix64(state) >> 32) / 4294967296.0)

    return roll


def hash_bits(count: int, key: int) -> NDArray[np.uint64]:
    """64 mixed bits for each of 0 … count − 1. Returns [count] uint64."""
    bits = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(splitmix64(key))
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


@lru_cache(maxsize=1)
def _tiles() -> tuple[Floats, Floats]:
    """(white, smooth) noise, each flat [TILE_PX²]: white 0–1; smooth −1…1, five octaves, periodic in both axes."""
    white = (hash_bits(TILE_PX * TILE_PX, 1) >> np.uint64(40)).astype(np.float32) / 16777216.0
    total = np.zeros((TILE_PX, TILE_PX), np.int64)
    for octave, period_px in enumerate((64, 32, 16, 8, 4)):
        cells = TILE_PX // period_px
        lattice = (hash_bits(cells * cells, 100 + octave) >> np.uint64(48)).astype(np.int64).reshape(cells, cells)
        at = np.arange(TILE_PX, dtype=np.int64)
        cell, part = at // period_px, at % period_px
        rows = lattice[cell] * (period_px - part)[:, None] + lattice[(cell + 1) % cells] * part[:, None]
        both = np.asarray(rows[:, cell] * (period_px - part) + rows[:, (cell + 1) % cells] * part, np.int64)
        total += both // (period_px * period_px << octave)
    low, high = int(total.min()), int(total.max())
    smooth = (2 * (total - low) - (high - low)).astype(np.float32) / float(high - low)
    return white, smooth.ravel()


def _gather(tile: Floats, a: Floats, b: Floats) -> Floats:
    rows = np.floor(a).astype(np.int32) & (TILE_PX - 1)
    cols = np.floor(b).astype(np.int32) & (TILE_PX - 1)
    return np.asarray(np.take(tile, rows * TILE_PX + cols))


def smooth_noise(a: Floats, b: Floats) -> Floats:
    """Smooth noise −1…1 at (a, b), which broadcast; its coarsest features are 64 wide, its finest 4. |a|, |b| < 2³¹."""
    return _gather(_tiles()[1], a, b)


def white_noise(a: Floats, b: Floats) -> Floats:
    """A number 0–1 for every whole (⌊a⌋, ⌊b⌋), unrelated to its neighbours."""
    return _gather(_tiles()[0], a, b)


@dataclass(frozen=True)
class Canvas:
    """The image being painted, and the coordinates of its pixels."""

    rgb_3HW: Floats  # planar: NumPy is slow on an innermost axis of 3
    depth_HW: Floats  # metres to what is seen, for fog; 0 is the sky
    labels_HW: Labels
    u_1W: Floats
    v_HW: Floats
    unit_px: float  # pixels in one unit
    roll: float  # rise of the horizon over one unit to the right


def blank_canvas(height_px: int, width_px: int, roll: float) -> Canvas:
    unit_px = float(min(height_px, width_px))
    u_1W = ((np.arange(width_px) + (0.5 - width_px / 2)) / unit_px).astype(np.float32)[None]
    v_H1 = ((np.arange(height_px) + (0.5 - height_px / 2)) / unit_px).astype(np.float32)[:, None]
    shape = (height_px, width_px)
    return Canvas(
        np.zeros((3, *shape), np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.uint8), u_1W,
        v_H1 - roll * u_1W, unit_px, roll,
    )  # fmt: skip


def plane(colour: Rgb) -> Floats:
    """A colour that broadcasts against [3, h, w]."""
    return np.array(colour, np.float32).reshape(3, 1, 1)


def soft(distance: Floats) -> Floats:
    """Signed distance to an edge in pixels, positive inside → coverage."""
    return np.asarray(np.clip(distance + 0.5, 0.0, 1.0))


def window_of(canvas: Canvas, left: float, top: float, right: float, bottom: float) -> Window | None:
    """The pixels that an upright box can touch; None when it lies outside the canvas."""
    height, width = canvas.labels_HW.shape
    first = max(0, floor(left * canvas.unit_px + width / 2) - 1)
    last = min(width, ceil(right * canvas.unit_px + width / 2) + 1)
    if first >= last:
        return None
    slant = [canvas.roll * (col - width / 2) for col in (first, last)]
    above = max(0, floor(top * canvas.unit_px + height / 2 + min(slant)) - 1)
    below = min(height, ceil(bottom * canvas.unit_px + height / 2 + max(slant)) + 1)
    return (slice(above, below), slice(first, last)) if above < below else None


def paint(
    canvas: Canvas,
    window: Window,
    cover_hw: Floats,
    colour_3hw: Floats,
    label: int | None,
    depth_m: float | Floats = 0.0,
) -> None:
    """Lay a colour over a window by its coverage. A label of None tints (shadow, gloss) and keeps what is there."""
    rows, cols = window
    rgb = canvas.rgb_3HW[:, rows, cols]
    rgb += cover_hw * (colour_3hw - rgb)
    if label is not None:
        hit = cover_hw >= 0.5
        np.copyto(canvas.labels_HW[rows, cols], np.uint8(label), where=hit)
        np.copyto(canvas.depth_HW[rows, cols], np.asarray(depth_m, np.float32), where=hit)


def polygon(
    canvas: Canvas,
    points: Sequence[Point],
    colour: Rgb,
    label: int | None,
    depth_m: float = 0.0,
    *,
    opacity: float = 1.0,
    fade: float = 0.0,
) -> None:
    """A convex polygon, the intersection of its edges' half-planes. `fade` darkens it towards its bottom."""
    us, vs = [u for u, _ in points], [v for _, v in points]
    window = window_of(canvas, min(us), min(vs), max(us), max(vs))
    if window is None:
        return
    u, v = canvas.u_1W[:, window[1]], canvas.v_HW[window]
    edges = list(zip(points, [*points[1:], points[0]], strict=True))
    area = 0.0  # not sum(): its rounding of floats changed in Python 3.12
    for (ua, va), (ub, vb) in edges:
        area += ua * vb - ub * va
    turn = 1.0 if area > 0 else -1.0
    inside: Floats | None = None
    for (ua, va), (ub, vb) in edges:
        length = sqrt((ub - ua) * (ub - ua) + (vb - va) * (vb - va))
        if length < 1e-9:
            continue
        du, dv = turn * canvas.unit_px * (ub - ua) / length, turn * canvas.unit_px * (vb - va) / length
        # one constant per edge keeps this at two array operations: cross(edge, pixel − corner), in pixels
        distance = v * du - (u * dv + (va * du - ua * dv))
        inside = distance if inside is None else np.minimum(inside, distance, out=inside)
    if inside is None:
        return
    cover = soft(inside)
    shade = plane(colour)
    if fade:
        shade = shade * (1.0 - fade * np.clip((v - min(vs)) / max(max(vs) - min(vs), 1e-6), 0.0, 1.0))
    paint(canvas, window, cover * opacity if opacity < 1 else cover, shade, label, depth_m)


def ellipse(
    canvas: Canvas,
    centre: Point,
    radii: Point,
    colour: Rgb,
    label: int | None,
    depth_m: float = 0.0,
    *,
    glow: float = 0.0,
) -> None:
    """An upright ellipse; with `glow` > 0, light of that strength that fades to its rim and is added, not laid over."""
    (cu, cv), (ru, rv) = centre, radii
    window = window_of(canvas, cu - ru, cv - rv, cu + ru, cv + rv)
    if window is None:
        return
    a, b = (canvas.u_1W[:, window[1]] - cu) / ru, (canvas.v_HW[window] - cv) / rv
    square = a * a + b * b
    if glow:
        fall = np.maximum(1.0 - square, 0.0)
        canvas.rgb_3HW[:, window[0], window[1]] += plane(colour) * (fall * fall * fall * glow)
    else:
        paint(
            canvas,
            window,
            soft((1.0 - np.sqrt(square)) * (min(ru, rv) * canvas.unit_px)),
            plane(colour),
            label,
            depth_m,
        )


def limb(
    canvas: Canvas, start: Point, end: Point, radii: Point, colour: Rgb, label: int | None, depth_m: float = 0.0
) -> None:
    """A rounded bar from start to end, its radius running from the first to the second of `radii`."""
    (ua, va), (ub, vb), (ra, rb) = start, end, radii
    reach = max(ra, rb)
    window = window_of(canvas, min(ua, ub) - reach, min(va, vb) - reach, max(ua, ub) + reach, max(va, vb) + reach)
    if window is None:
        return
    du, dv = ub - ua, vb - va
    u, v = canvas.u_1W[:, window[1]] - ua, canvas.v_HW[window] - va
    along = np.clip((u * du + v * dv) / max(du * du + dv * dv, 1e-12), 0.0, 1.0)
    u, v = u - along * du, v - along * dv
    inside = (ra + along * (rb - ra) - np.sqrt(u * u + v * v)) * canvas.unit_px
    cover = np.minimum(soft(inside), min(1.0, 2 * reach * canvas.unit_px))  # thinner than a pixel covers a part of it
    # round things are darker at their rims
    shade = plane(colour) * (0.72 + 0.28 * np.clip(inside / max(reach * canvas.unit_px, 1e-6), 0.0, 1.0))
    paint(canvas, window, cover, shade, label, depth_m)
