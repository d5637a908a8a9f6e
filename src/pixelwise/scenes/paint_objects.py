"""How what stands and moves in the street is painted: cars, people, trees, poles and signs.

Every function paints one thing at (x, z), over what is farther away; the caller keeps the order. `roll` decides its
looks, `sun` is the share of sunlight (0–1) that reaches it.

Shapes: h, w a window of the canvas. World coordinates: see scenes_world.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelwise.scenes.rasteriser import (
    Canvas,
    Floats,
    Point,
    Rgb,
    Roll,
    ellipse,
    limb,
    paint,
    plane,
    polygon,
    smooth_noise,
    soft,
    window_of,
)
from pixelwise.scenes.scene_layout import (
    CAR,
    GLASS,
    LAMP_LIGHT,
    LEAVES,
    PAINTS,
    PEDESTRIAN,
    POLE,
    SIGN,
    SKINS,
    TREE,
    Scene,
    dim,
    light_on,
    mix,
    pick,
    times,
)


def paint_car(canvas: Canvas, scene: Scene, x: float, z: float, roll: Roll, *, front: bool, sun: float) -> None:
    """A car whose nearer end is at z, seen from the front or the rear, as projected faces of a simple body."""
    kind = pick(roll, ("hatch", "sedan", "sedan", "suv", "van"))
    long_m, belt, tall = {
        "hatch": (3.9, 0.92, 1.48),
        "sedan": (4.6, 0.9, 1.42),
        "suv": (4.6, 1.06, 1.72),
        "van": (5.4, 1.15, 2.3),
    }[kind]
    # where along the body the cabin's foot and roof begin and end, from its rear
    foot = {"hatch": (0.03, 0.74), "sedan": (0.16, 0.74), "suv": (0.02, 0.74), "van": (0.0, 0.93)}[kind]
    roof = {"hatch": (0.13, 0.52), "sedan": (0.3, 0.56), "suv": (0.08, 0.55), "van": (0.01, 0.8)}[kind]
    if front:
        foot, roof = (1 - foot[1], 1 - foot[0]), (1 - roof[1], 1 - roof[0])
    half, inset = 0.9 if kind != "van" else 1.0, 0.16 if kind != "van" else 0.08
    ppm = scene.focal / z * canvas.unit_px
    body = mix(pick(roll, PAINTS), (roll(0, 0.9), roll(0, 0.9), roll(0, 0.9)), 0.15)
    weather, facing = scene.weather, light_on(scene, 0.4)
    glass = times(mix(GLASS, weather.horizon, 0.25), facing)
    eye_x = x + scene.bend * z * z
    side = -1 if eye_x > 0 else 1  # the flank that the viewer sees
    flank = light_on(scene, sun if side == scene.sun_side else 0.1)

    def at(dx: float, y: float, t: float) -> Point:
        return scene.at(x + dx, y, z + t * long_m)

    def face(points: Sequence[tuple[float, float, float]], colour: Rgb, fade: float = 0.0) -> None:
        polygon(canvas, [at(*point) for point in points], colour, CAR, z, fade=fade)

    s = side * half
    c = side * (half - inset)
    shadow = [
        at(-half - 0.15, 0, -0.05),
        at(half + 0.15, 0, -0.05),
        at(half + 0.15, 0, 1.02),
        at(-half - 0.15, 0, 1.02),
    ]
    polygon(canvas, shadow, (0.03, 0.03, 0.04), None, opacity=0.6)
    if ppm * abs(at(s, 0, 0)[0] - at(s, 0, 1)[0]) * z > 1:
        face([(s, 0.3, 0), (s, belt, 0), (s, belt - 0.04, 1), (s, 0.3, 1)], times(body, flank), 0.35)
        for t in (0.18, 0.8):
            (ua, _), (ub, v), (_, vb) = at(s, 0.33, t - 0.33 / long_m), at(s, 0.33, t + 0.33 / long_m), at(s, 0, t)
            ellipse(canvas, ((ua + ub) / 2, v), (abs(ub - ua) / 2 + 1e-5, vb - v), (0.05, 0.05, 0.055), CAR, z)
            if ppm > 14:
                ellipse(
                    canvas,
                    ((ua + ub) / 2, v),
                    (abs(ub - ua) / 4 + 1e-5, (vb - v) / 2),
                    times((0.5, 0.5, 0.52), flank),
                    CAR,
                    z,
                )
        face(
            [(s, belt - 0.02, foot[0]), (c, tall, roof[0]), (c, tall, roof[1]), (s, belt - 0.04, foot[1])],
            times(body, flank),
        )
        lo, hi = belt + 0.03, tall - 0.08
        if ppm > 5:
            a, b = foot[0] * 0.8 + roof[0] * 0.2 + 0.03, foot[1] * 0.8 + roof[1] * 0.2 - 0.03
            face([(s, lo, a), (c, hi, roof[0] + 0.02), (c, hi, roof[1] - 0.02), (s, lo, b)], dim(glass, 0.9))
    if scene.eye_m > tall:
        k, (t0, t1) = half - inset, roof
        face([(-k, tall, t0), (k, tall, t0), (k, tall, t1), (-k, tall, t1)], times(body, light_on(scene, sun)))
    if scene.eye_m > belt and foot[0] > 0.02:
        face(
            [(-half, belt, 0), (half, belt, 0), (half, belt, foot[0]), (-half, belt, foot[0])],
            dim(times(body, light_on(scene, sun)), 1.08),
        )
    k = half - inset
    face(
        [(-half, belt - 0.02, foot[0]), (half, belt - 0.02, foot[0]), (k, tall, roof[0]), (-k, tall, roof[0])],
        times(body, facing),
    )
    if ppm > 4:
        lo, hi = belt + 0.02, tall - 0.09
        face(
            [(-half + 0.12, lo, foot[0]), (half - 0.12, lo, foot[0]), (k - 0.08, hi, roof[0]), (0.08 - k, hi, roof[0])],
            glass,
            -0.25,
        )
    for dx in (-half + 0.14, half - 0.14):
        face(
            [(dx - 0.12, 0, 0.02), (dx + 0.12, 0, 0.02), (dx + 0.12, 0.4, 0.02), (dx - 0.12, 0.4, 0.02)],
            (0.05, 0.05, 0.055),
        )
    face(
        [(-half + 0.1, 0.13, 0.03), (half - 0.1, 0.13, 0.03), (half - 0.1, 0.3, 0.03), (0.1 - half, 0.3, 0.03)],
        (0.05, 0.05, 0.055),
    )
    right = [(half - 0.06, 0.24, 0.0), (half, 0.5, 0.0), (half - 0.05, belt, 0.0)]
    face([*right, *((-dx, y, t) for dx, y, t in reversed(right))], times(body, facing), 0.3)
    if ppm > 6:
        face(
            [(-half + 0.08, 0.24, 0), (half - 0.08, 0.24, 0), (half - 0.03, 0.44, 0), (0.03 - half, 0.44, 0)],
            dim(times(body, facing), 0.45),
        )
        plate = (0.85, 0.85, 0.8) if roll(0, 1) < 0.7 else (0.85, 0.72, 0.2)
        face([(-0.26, 0.46, 0), (0.26, 0.46, 0), (0.26, 0.58, 0), (-0.26, 0.58, 0)], times(plate, facing))
    on = weather.lamps > 0.1
    lamp = (
        ((1.0, 0.95, 0.8) if on else (0.8, 0.82, 0.85)) if front else ((0.95, 0.1, 0.06) if on else (0.5, 0.05, 0.05))
    )
    for dx in (-half + 0.2, half - 0.2):
        if ppm > 3:
            face(
                [(dx - 0.15, 0.64, 0), (dx + 0.15, 0.64, 0), (dx + 0.15, 0.78, 0), (dx - 0.15, 0.78, 0)],
                lamp if on else times(lamp, facing),
            )
        if on:
            size = (0.55 if front else 0.35) * scene.focal / z
            ellipse(canvas, at(dx, 0.7, 0), (size * 1.3, size), lamp, None, glow=0.7 * weather.lamps)


def paint_person(canvas: Canvas, scene: Scene, x: float, z: float, roll: Roll, sun: float) -> None:
    """A person of limbs, standing or in mid-stride."""
    scale, tall = scene.focal / z, roll(1.5, 1.9) if roll(0, 1) < 0.85 else roll(1.0, 1.3)
    light = light_on(scene, sun)
    skin = times(pick(roll, SKINS), light)
    coat = times(mix(pick(roll, PAINTS), (roll(0, 1), roll(0, 1), roll(0, 1)), 0.4), light)
    legs = times(
        pick(roll, ((0.14, 0.16, 0.24), (0.12, 0.12, 0.13), (0.34, 0.30, 0.26), (0.25, 0.32, 0.45), (0.5, 0.48, 0.45))),
        light,
    )
    hair = times(pick(roll, ((0.08, 0.07, 0.06), (0.30, 0.20, 0.12), (0.62, 0.50, 0.30), (0.6, 0.6, 0.6))), light)
    stride, sway, bulk = roll(-0.2, 0.2), roll(-0.12, 0.12), roll(0.9, 1.25)

    def part(a: Point, b: Point, radii: Point, colour: Rgb) -> None:
        """A limb between two (sideways, up) points, all in body heights."""
        (ua, va), (ub, vb) = (scene.at(x + p[0] * tall, p[1] * tall, z) for p in (a, b))
        limb(canvas, (ua, va), (ub, vb), (radii[0] * tall * scale, radii[1] * tall * scale), colour, PEDESTRIAN, z)

    foot = scene.at(x, 0, z)
    shadow = [(foot[0] + du * scale, foot[1] + dv * scale) for du, dv in ((-0.35, 0), (0, -0.06), (0.4, 0), (0, 0.06))]
    polygon(canvas, shadow, (0.04, 0.04, 0.05), None, opacity=0.5)
    part((-0.03, 0.5), (-0.03 - stride / 2, 0.03), (0.055 * bulk, 0.03), dim(legs, 0.85))
    part((0.03, 0.5), (0.03 + stride / 2, 0.03), (0.055 * bulk, 0.03), legs)
    part((-0.1 * bulk, 0.78), (-0.12 * bulk - sway, 0.47), (0.035, 0.024), dim(coat, 0.85))
    part((0, 0.77), (0, 0.52), (0.105 * bulk, 0.085 * bulk), coat)
    part((0.1 * bulk, 0.78), (0.12 * bulk - sway, 0.47), (0.035, 0.024), coat)
    part((0, 0.9), (0, 0.93), (0.052, 0.056), hair)
    part((0.008, 0.89), (0.008, 0.915), (0.042, 0.044), skin)
    if roll(0, 1) < 0.3:
        part((0.14 * bulk, 0.46), (0.14 * bulk, 0.38), (0.06, 0.07), times(pick(roll, PAINTS), light))


def paint_tree(canvas: Canvas, scene: Scene, x: float, z: float, roll: Roll, sun: float) -> None:
    """A trunk, and a crown of overlapping balls whose common edge and shade are noisy."""
    scale, tall, wide = scene.focal / z, roll(4.0, 9.0), roll(1.3, 2.8)
    bark, leaf = mix((0.30, 0.24, 0.19), (0.42, 0.40, 0.36), roll(0, 1)), pick(roll, LEAVES)
    light, lean = light_on(scene, sun), roll(-0.3, 0.3)
    foot, fork = scene.at(x, 0, z), scene.at(x + lean, tall * 0.62, z)
    limb(canvas, foot, fork, (0.17 * scale, 0.1 * scale), times(bark, light_on(scene, sun * 0.5)), TREE, z)
    balls = [
        (x + lean + roll(-0.55, 0.55) * wide, tall * roll(0.55, 0.92), wide * roll(0.55, 0.85), wide * roll(0.5, 0.8))
        for _ in range(5)
    ]
    left, top = scene.at(x + lean - 1.7 * wide, tall * 0.92 + wide, z)
    right, bottom = scene.at(x + lean + 1.7 * wide, tall * 0.55 - wide, z)
    window = window_of(canvas, left, top, right, bottom)
    if window is None:
        return
    u, v = canvas.u_1W[:, window[1]], canvas.v_HW[window]
    v_m, u_m = (v - foot[1]) / scale + roll(0, 99), (u - foot[0]) / scale + roll(0, 99)
    bush, leaves = smooth_noise(v_m * 34, u_m * 34), smooth_noise(v_m * 110, u_m * 110)
    field: Floats = np.full(v.shape, -9.0, np.float32)
    for ball_x, ball_y, rx, ry in balls:
        centre = scene.at(ball_x, ball_y, z)
        a, b = (u - centre[0]) / (rx * scale), (v - centre[1]) / (ry * scale)
        np.maximum(field, 1.0 - (a * a + b * b), out=field)
    field += 0.75 * bush + 0.3 * leaves
    tint = (foot[1] - v) * (0.5 / (tall * scale)) - 0.1 * scene.sun_side * (foot[0] - u) / (wide * scale)
    rgb = plane(times(leaf, light)) * np.clip(0.55 + 0.6 * bush + 0.45 * leaves + tint, 0.2, 1.7)
    paint(canvas, window, soft(field * (wide * scale * canvas.unit_px * 0.4)), rgb, TREE, z)


def paint_pole(canvas: Canvas, scene: Scene, x: float, z: float, roll: Roll, sun: float, *, what: str) -> None:
    """A street lamp, a traffic light, or a post with a sign. Plates and signal heads are signs."""
    scale, light = scene.focal / z, light_on(scene, sun)
    metal = times(pick(roll, ((0.45, 0.46, 0.47), (0.22, 0.24, 0.23), (0.60, 0.60, 0.58), (0.2, 0.28, 0.24))), light)
    inward = -1.0 if x > (scene.kerbs_m[0] + scene.kerbs_m[1]) / 2 else 1.0

    def bar(a: Point, b: Point, radius_m: float) -> None:
        (ua, va), (ub, vb) = scene.at(x + a[0] * inward, a[1], z), scene.at(x + b[0] * inward, b[1], z)
        limb(canvas, (ua, va), (ub, vb), (radius_m * scale, radius_m * 0.8 * scale), metal, POLE, z)

    def plate(y: float, half_w: float, half_h: float, colour: Rgb, corners: Sequence[Point], dx: float = 0.0) -> None:
        points = [scene.at(x + dx + a * half_w, y + b * half_h, z) for a, b in corners]
        polygon(canvas, points, times(colour, light), SIGN, z)

    if what == "lamp":
        tall, arm = roll(5, 8.5), roll(0.8, 2)
        bar((0, 0), (0, tall), 0.1)
        bar((0, tall), (arm, tall + 0.25), 0.06)
        bar((arm - 0.3, tall + 0.2), (arm + 0.4, tall + 0.2), 0.1)
        if scene.weather.lamps > 0.1:
            centre = scene.at(x + arm * inward, tall + 0.1, z)
            ellipse(canvas, centre, (2.4 * scale, 2.4 * scale), LAMP_LIGHT, None, glow=1.0 * scene.weather.lamps)
            ellipse(
                canvas,
                scene.at(x + arm * inward, 0, z),
                (5 * scale, 5 * scale * scene.eye_m / z),
                LAMP_LIGHT,
                None,
                glow=0.35 * scene.weather.lamps,
            )
        return
    tall = roll(2.5, 3.3)
    bar((0, 0), (0, tall), 0.055)
    if what == "light":
        box = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        plate(tall - 0.1, 0.24, 0.6, (0.12, 0.13, 0.12), box)
        on = int(roll(0, 3))
        for i, colour in enumerate(((1.0, 0.15, 0.1), (1.0, 0.7, 0.1), (0.15, 0.9, 0.5))):
            centre, radius = scene.at(x, tall + 0.28 - 0.38 * i, z), 0.13 * scale
            ellipse(canvas, centre, (radius, radius), colour if i == on else dim(colour, 0.15), SIGN, z)
            if i == on:
                ellipse(canvas, centre, (radius * 4, radius * 4), colour, None, glow=0.25 + 0.4 * scene.weather.lamps)
        return
    size, shape = roll(0.36, 0.52), pick(roll, ("round", "round", "triangle", "board", "board"))
    red, white, blue = (0.80, 0.10, 0.10), (0.90, 0.90, 0.88), (0.08, 0.25, 0.62)
    if shape == "round":
        centre = scene.at(x, tall, z)
        rim, inner = pick(roll, ((red, white), (white, blue), (red, red), (red, (0.85, 0.75, 0.2))))
        for radius, colour in ((size, rim), (size * 0.74, inner)):
            ellipse(canvas, centre, (radius * scale, radius * scale), times(colour, light), SIGN, z)
        plate(
            tall,
            size * 0.5,
            size * 0.12,
            white if inner == red else (0.1, 0.1, 0.1),
            ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        )
    elif shape == "triangle":
        for shrink, colour in ((1.25, red), (0.8, white)):
            plate(tall, size * shrink, size * shrink, colour, ((-1, -0.8), (1, -0.8), (0, 1)))
    else:
        wide, high = pick(roll, ((0.45, 0.45), (0.5, 0.7), (1.1, 0.55), (1.4, 0.7)))
        colour, box = (
            pick(roll, (blue, (0.1, 0.40, 0.25), (0.85, 0.75, 0.2), white)),
            ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        )
        plate(tall, wide, high, white, box)
        plate(tall, wide - 0.06, high - 0.06, colour, box)
        ink = (0.1, 0.1, 0.1) if colour == white else white
        for row in (-0.35, 0.3):
            plate(tall + row * high, wide * roll(0.35, 0.75), high * 0.1, ink, box)
