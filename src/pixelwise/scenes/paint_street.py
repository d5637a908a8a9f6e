"""Painting the street itself: sky, ground and houses.

Every function paints over everything farther away; the caller keeps the order.

Shapes: H, W canvas; h, w a window of it; 1w one row of it. World coordinates: see scene_layout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pixelwise.scenes.rasteriser import (
    Canvas,
    Floats,
    Rgb,
    Roll,
    Window,
    dice,
    ellipse,
    paint,
    plane,
    smooth_noise,
    soft,
    white_noise,
    window_of,
)
from pixelwise.scenes.scene_layout import (
    BUILDING,
    FAR_M,
    GLASS,
    LAMP_LIGHT,
    LEAVES,
    PAVEMENT,
    ROAD,
    SKY,
    TREE,
    WALL_COLOURS,
    Lot,
    Scene,
    crossing_ahead_m,
    dim,
    light_on,
    mix,
    pick,
    times,
)

# ── sky and ground ────────────────────────────────────────────────────────────────────────────────────────────────────


def paint_sky(canvas: Canvas, scene: Scene) -> None:
    weather, roll = scene.weather, dice(scene.key, 2)
    rise = np.maximum(scene.vanish[1] - canvas.v_HW, 0.0)
    part = rise / (rise + 0.25) * 1.25
    sky = plane(weather.horizon) + (plane(weather.zenith) - plane(weather.horizon)) * np.minimum(part, 1.0)
    # clouds lie on a ceiling: they shrink towards the horizon as the ground does
    ceiling = 26.0 / (rise + 0.12)
    puff = smooth_noise(ceiling * 1.7 + roll(0, 999), canvas.u_1W * ceiling + roll(0, 999))
    cover = np.clip((puff - roll(-0.35, 0.25)) * 2.8, 0.0, 1.0) * weather.cloud
    cloud = mix(dim(weather.horizon, roll(0.9, 1.15)), dim(weather.ambient, 1.2), 0.4)
    sky += cover * (plane(cloud) * (1.0 - 0.12 * puff) - sky)
    canvas.rgb_3HW[:] = sky
    canvas.labels_HW[:] = SKY
    if weather.sun[0] > 0:
        centre = (scene.sun_side * roll(0.15, 0.6), scene.vanish[1] - roll(0.12, 0.5))
        ellipse(canvas, centre, (0.5, 0.5), weather.sun, None, glow=0.55)
    for width, height, label in ((0.05, 0.07, BUILDING), (0.11, 0.05, TREE)):
        steps = canvas.u_1W / (width * roll(0.6, 1.4)) + 1000.0
        if label == BUILDING:
            top = white_noise(np.full_like(steps, roll(0, 250)), steps)
        else:
            top = smooth_noise(np.full_like(steps, roll(0, 250)), steps * 9) * 0.5 + roll(-0.2, 0.7)
        inside = (top * (height * roll(0.5, 1.3)) + canvas.v_HW - scene.vanish[1]) * canvas.unit_px
        colour = times(pick(roll, WALL_COLOURS if label == BUILDING else LEAVES), light_on(scene, 0.3))
        everything = (slice(None), slice(None))
        paint(canvas, everything, soft(inside), plane(colour), label, 250.0 if label == BUILDING else 200.0)


@dataclass(frozen=True)
class Ground:
    """The pixels of a window as places on the ground, in metres."""

    scene: Scene
    x: Floats  # to the right, [h, w]
    z: Floats  # away from the viewer, [h, 1]
    across_ppm: Floats  # pixels per metre sideways …
    along_ppm: Floats  # … and away from the viewer

    def band(self, low_m: float, high_m: float) -> Floats:
        """Coverage of a strip along the street; one thinner than a pixel covers a part of it."""
        inside, width_m = np.minimum(self.x - low_m, high_m - self.x) * self.across_ppm, high_m - low_m
        return soft(inside) if width_m > 1 else soft(inside) * np.minimum(width_m * self.across_ppm, 1.0)

    def stretch(self, low_m: float, high_m: float) -> Floats:
        """Coverage of a strip across the street."""
        return soft(np.minimum(self.z - low_m, high_m - self.z) * self.along_ppm)


def paint_ground(canvas: Canvas, scene: Scene) -> None:
    roll, (left_m, right_m) = dice(scene.key, 3), scene.kerbs_m
    window = window_of(canvas, -1e3, scene.vanish[1], 1e3, 1e3)
    if window is None:
        return
    drop = canvas.v_HW[window] - scene.vanish[1]
    z = np.minimum(scene.focal * scene.eye_m / np.maximum(drop, 1e-5), FAR_M)
    x = (canvas.u_1W[:, window[1]] - scene.vanish[0]) * (z / scene.focal) - scene.bend * z * z
    across_ppm = canvas.unit_px * scene.focal / z
    ground = Ground(scene, x, z, across_ppm, across_ppm * (scene.eye_m / z))
    coarse, fine = smooth_noise(z * 2.5, x * 5 + 90), smooth_noise(z * 24, x * 24)
    near = np.minimum(ground.along_ppm / 14.0, 1.0)  # texture finer than the pixels fades to its mean
    asphalt = dim(mix((0.34, 0.34, 0.35), (0.52, 0.50, 0.48), roll(0, 1)), roll(0.75, 1.15))
    stone = dim(mix((0.58, 0.57, 0.56), (0.60, 0.50, 0.44), roll(0, 1)), roll(0.7, 1.15))
    rgb = plane(asphalt) * (1.0 + 0.10 * coarse + 0.16 * near * fine)
    tracks = ground.band(left_m + 0.9, left_m + 1.4) + ground.band(right_m - 1.4, right_m - 0.9)
    patch = white_noise(z / 3.7 + roll(0, 99), (x + 40) / 2.3) > 0.86
    rgb *= 1.0 - 0.13 * patch.astype(np.float32)
    rgb *= 1.0 - 0.07 * tracks - near * (coarse > 0.45) * 0.22
    white, worn = plane((0.85, 0.85, 0.82)), np.clip(0.78 + 0.5 * fine, 0.0, 1.0)
    rgb += _road_marks(ground, roll) * worn * (white - rgb)
    walk = _pavement_cover(ground)
    rgb += walk * (_slabs(ground, stone, near, coarse) - rgb)
    # the sunward row of houses shades the street
    lit = _shade_of_houses(scene, x, z) if scene.weather.sun[0] > 0 else 0.0
    rgb *= plane(scene.weather.ambient) + plane(scene.weather.sun) * lit
    labels = np.where(walk >= 0.5, np.uint8(PAVEMENT), np.uint8(ROAD))
    cover = soft(drop * canvas.unit_px)
    paint(canvas, window, cover, rgb, ROAD, z)
    np.copyto(canvas.labels_HW[window], labels, where=cover >= 0.5)


def _road_marks(ground: Ground, roll: Roll) -> Floats:
    """Coverage of the centre line, the edge lines and the zebra crossing."""
    (left_m, right_m), z, band = ground.scene.kerbs_m, ground.z, ground.band
    middle_m, period_m = (left_m + right_m) / 2, roll(5, 9)
    phase = z / period_m - np.floor(z / period_m)
    dashes = soft((0.28 - np.abs(phase - 0.5)) * period_m * ground.along_ppm) if roll(0, 1) < 0.7 else 1.0
    marks = band(middle_m - 0.08, middle_m + 0.08) * dashes
    if roll(0, 1) < 0.5:
        marks = np.maximum(marks, np.maximum(band(left_m + 0.3, left_m + 0.42), band(right_m - 0.42, right_m - 0.3)))
    crossing_m = crossing_ahead_m(ground.scene)
    if crossing_m:
        stripe = ground.x - np.floor(ground.x)
        zebra = soft((0.27 - np.abs(stripe - 0.5)) * ground.across_ppm) * ground.stretch(crossing_m, crossing_m + 3)
        clear = 1.0 - ground.stretch(crossing_m - 2, crossing_m + 5)
        marks = np.maximum(marks * clear, zebra * band(left_m + 0.3, right_m - 0.3))
    return marks


def _pavement_cover(ground: Ground) -> Floats:
    """Coverage of the pavement, which side streets interrupt."""
    walk = 1.0 - ground.band(*ground.scene.kerbs_m)
    for lot in ground.scene.lots:
        if lot.kind == "gap" and lot.key % 2:
            walk *= 1.0 - ground.stretch(lot.near_m + 1, lot.far_m - 1) * (
                ground.x > 0 if lot.side > 0 else ground.x < 0
            )
    return walk


def _slabs(ground: Ground, stone: Rgb, near: Floats, coarse: Floats) -> Floats:
    """Colours of the pavement [3, h, w]: slabs, and a kerb stone at its edge."""
    (left_m, right_m), x, z = ground.scene.kerbs_m, ground.x, ground.z
    a, b = x * 1.4 - np.floor(x * 1.4), z * 1.4 - np.floor(z * 1.4)
    joint = np.maximum(np.abs(a - 0.5) > 0.46, np.abs(b - 0.5) > 0.46) * near
    slabs = plane(stone) * (
        1.0 - 0.16 * joint + 0.07 * near * (white_noise(x * 1.4 + 512, z * 1.4) - 0.5) + 0.08 * coarse
    )
    kerb = np.maximum(ground.band(left_m - 0.22, left_m), ground.band(right_m, right_m + 0.22))
    return np.asarray(slabs + kerb * (plane(dim(stone, 1.22)) - slabs))


def _shade_of_houses(scene: Scene, x: Floats, z: Floats) -> Floats:
    """Sunlight on the ground, 0–1, by the shadows of the lots on the sun's side."""
    roll, heights_m = dice(scene.key, 5), np.zeros(int(FAR_M) + 2, np.float32)
    for lot in scene.lots:
        if lot.side == scene.sun_side:
            heights_m[int(lot.near_m) : int(lot.far_m)] = lot.height_m if lot.kind != "gap" else 0.0
    slant = roll(0.3, 1.2)
    reach = np.take(heights_m, np.floor(z + 0.3 * np.abs(x)).astype(np.int32) % len(heights_m)) * slant
    wall = abs(scene.walls_m[0 if scene.sun_side < 0 else 1])
    return np.clip((wall - reach - scene.sun_side * x) * 1.5 + 0.5, 0.0, 1.0)


# ── buildings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Facade:
    """The pixels of a window as places on one side of a building or hedge, in metres."""

    window: Window
    ends: Floats  # coverage of the columns that it reaches
    along: Floats  # from its near edge, [1, w] or [h, w]
    up: Floats  # above the ground, [h, w]
    ppm_along: Floats | float  # pixels per metre
    ppm_up: Floats | float
    sun: float  # share of the sunlight that reaches it, 0–1
    depth_m: float | Floats


def _wall(scene: Scene, lot: Lot, side: Facade) -> Floats:
    """Colours [3, h, w] of a wall."""
    along, up, ppm_along, ppm_up = side.along, side.up, side.ppm_along, side.ppm_up
    light, weather = plane(light_on(scene, side.sun)), scene.weather
    floor, bay = up / lot.floor_m - 1.15, along / lot.bay_m
    i, j = np.floor(bay), np.floor(floor)
    a, b = np.abs(bay - i - 0.5), np.abs(floor - j - 0.5)
    wide, tall = lot.bay_m * ppm_along, lot.floor_m * ppm_up
    body = (floor > 0) * (up < lot.height_m - lot.roof_m - 0.3)
    pane = soft((lot.glass_wh[0] / 2 - a) * wide) * soft((lot.glass_wh[1] / 2 - b) * tall) * body
    frame = soft((lot.glass_wh[0] / 2 + 0.05 - a) * wide) * soft((lot.glass_wh[1] / 2 + 0.06 - b) * tall) * body
    stain, brick = (
        smooth_noise(up * 4 + lot.key % 251, along * 4),
        white_noise(up * 7, along * 3 + 0.5 * np.floor(up * 7)),
    )
    close = np.minimum(ppm_along / 10.0, 1.0)
    rgb = plane(lot.wall) * light * (1.0 + 0.10 * stain + (0.08 + 0.06 * (lot.key % 4)) * close * (brick - 0.5))
    rgb += soft((0.05 - np.abs(b - 0.5)) * tall) * (floor > -0.5) * 0.5 * (plane(lot.trim) * light - rgb)
    rgb += frame * (plane(dim(lot.trim, 1.15)) * light - rgb)
    draw = white_noise(i * 7 + lot.key % 509, j + lot.key % 127)
    glass = plane(mix(GLASS, weather.horizon, 0.22)) * light * (0.5 + draw)
    if weather.lamps > 0:
        lit = draw < 0.6 * weather.lamps
        glass = glass + lit * (plane(LAMP_LIGHT) * (0.45 + 0.9 * draw) - glass)
    rgb += pane * (glass - rgb)
    if lot.shop is not None:  # a shop front; its board is no traffic sign
        front = soft((1.15 - np.abs(up - 1.45)) * ppm_up) * soft((0.44 - np.abs(a)) * wide)
        inner = plane(mix(dim(GLASS, 1.3), LAMP_LIGHT, min(1.0, weather.lamps) * 0.8)) * (
            light if not weather.lamps else 1.0
        )
        rgb += front * (inner * (0.7 + 0.5 * stain) - rgb)
        board = soft((0.35 - np.abs(up - 3.05)) * ppm_up)
        letters = (white_noise(along * 5, np.floor(up * 2.0)) > 0.5) * soft((0.13 - np.abs(up - 3.05)) * ppm_up) * close
        rgb += board * (plane(lot.shop) * light - rgb)
        rgb += letters * 0.8 * (light * 0.95 - rgb)
    tiles = plane(mix(lot.trim, (0.42, 0.22, 0.18), 0.6)) * light * (0.85 + 0.2 * stain)
    rgb += soft((up - lot.height_m + lot.roof_m) * ppm_up) * (tiles - rgb)
    return np.asarray(rgb)


def paint_lot(canvas: Canvas, scene: Scene, lot: Lot) -> None:
    if lot.kind == "gap":
        return
    label, (vanish_u, vanish_v) = (BUILDING if lot.kind == "house" else TREE), scene.vanish
    sunny = 0.85 if lot.side != scene.sun_side else 0.05
    crest_m = lot.height_m * 1.4 if label == TREE else lot.height_m
    # its end, which faces the viewer; what stands nearer covers it later
    wide_m, scale = 14.0, scene.focal / lot.near_m
    us = sorted(scene.at(lot.side * x, 0, lot.near_m)[0] for x in (lot.wall_m, lot.wall_m + wide_m))
    top, bottom = scene.at(0, crest_m, lot.near_m)[1], scene.at(0, 0, lot.near_m)[1]
    window = window_of(canvas, us[0], top, us[1], bottom)
    if window is not None and lot.near_m > 1.5:
        u, up = canvas.u_1W[:, window[1]], scene.eye_m - (canvas.v_HW[window] - vanish_v) / scale
        ppm = scale * canvas.unit_px
        sides = soft(np.minimum(u - us[0], us[1] - u) * canvas.unit_px)
        along = np.broadcast_to((u - us[0]) / scale, (1, u.shape[1]))
        _paint_facade(canvas, scene, lot, Facade(window, sides, along, up, ppm, ppm, 0.35, lot.near_m))
    # its front: which columns see it follows from the wall's curve x = wall + bend × z², solved for z on the ray
    slope = (canvas.u_1W - vanish_u) * (lot.side / scene.focal)
    under = slope * slope - 4 * lot.side * scene.bend * lot.wall_m
    hit = slope + np.sqrt(np.maximum(under, 0.0))
    z = np.where((under > 0) & (hit > 1e-6), 2 * lot.wall_m / np.maximum(hit, 1e-6), FAR_M * 9)
    columns = np.flatnonzero((z[0] >= lot.near_m) & (z[0] < lot.far_m))
    if not len(columns):
        return
    first, last = int(columns[0]), int(columns[-1]) + 1
    nearest = max(float(z[0, first:last].min()), 0.05)
    window = window_of(canvas, -1e4, scene.at(0, crest_m, nearest)[1], 1e4, scene.at(0, 0, nearest)[1])
    if window is None:
        return
    window = (window[0], slice(first, last))
    z = z[:, first:last]
    scales = scene.focal / z
    up = scene.eye_m - (canvas.v_HW[window] - vanish_v) / scales
    ppm_along = canvas.unit_px * scales * (lot.wall_m / z)
    ends = ((z >= lot.near_m) & (z < lot.far_m)).astype(np.float32)
    side = Facade(window, ends, z - lot.near_m, up, ppm_along, scales * canvas.unit_px, sunny, z)
    _paint_facade(canvas, scene, lot, side)


def _paint_facade(canvas: Canvas, scene: Scene, lot: Lot, side: Facade) -> None:
    crest: Floats | float
    along, up = side.along, side.up
    if lot.kind != "house":  # a hedge
        bush = 0.7 * smooth_noise(up * 16 + lot.key % 199, along * 16) + 0.4 * smooth_noise(
            up * 80, along * 80 + lot.key % 199
        )
        crest = lot.height_m * (0.8 + 0.12 * lot.glass_wh[0]) + bush * lot.height_m * 0.3
        rgb = plane(times(LEAVES[lot.key % 4], light_on(scene, side.sun))) * (
            0.75 + 0.55 * bush + up * (0.3 / lot.height_m)
        )
    else:
        crest, rgb = lot.height_m, _wall(scene, lot, side)
    cover = soft((crest - up) * side.ppm_up) * soft(up * side.ppm_up) * side.ends
    depth_m = np.broadcast_to(np.asarray(side.depth_m, np.float32), cover.shape)
    paint(canvas, side.window, cover, rgb, BUILDING if lot.kind == "house" else TREE, depth_m)
