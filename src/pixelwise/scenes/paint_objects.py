"""Painting the objects of a street: cars, people, trees, poles and signs.

Every function paints one object at (x, z), over everything farther away; the caller keeps the order. `roll` draws its
appearance, `sun` is the share of sunlight (0–1) that reaches it.

Shapes: h, w a window of the canvas. World coordinates: see scene_layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

# ── cars ──

# kind: length, height of the belt line and height, in metres; where along the body, from its rear, the cabin begins and
# ends at its foot and at its roof
CARS = {
    "hatch": (3.9, 0.92, 1.48, (0.03, 0.74), (0.13, 0.52)),
    "sedan": (4.6, 0.9, 1.42, (0.16, 0.74), (0.3, 0.56)),
    "suv": (4.6, 1.06, 1.72, (0.02, 0.74), (0.08, 0.55)),
    "van": (5.4, 1.15, 2.3, (0.0, 0.93), (0.01, 0.8)),
}
RUBBER = (0.05, 0.05, 0.055)


@dataclass(frozen=True)
class Car:
    """A car of one kind at one place, whose faces are painted one after the other."""

    canvas: Canvas
    scene: Scene
    x: float
    z: float
    kind: str
    front: bool  # seen from the front
    body: Rgb
    sun: float

    @property
    def half(self) -> float:
        return 0.9 if self.kind != "van" else 1.0

    @property
    def cabin_half(self) -> float:
        return self.half - (0.16 if self.kind != "van" else 0.08)

    @property
    def cabin(self) -> tuple[Point, Point]:
        """Where along the body its cabin begins and ends: at its foot, and at its roof."""
        foot, roof = CARS[self.kind][3:]
        return ((1 - foot[1], 1 - foot[0]), (1 - roof[1], 1 - roof[0])) if self.front else (foot, roof)

    @property
    def ppm(self) -> float:
        return self.scene.focal / self.z * self.canvas.unit_px

    @property
    def facing(self) -> Rgb:
        """Light on the end that faces the viewer."""
        return light_on(self.scene, 0.4)

    @property
    def glass(self) -> Rgb:
        return times(mix(GLASS, self.scene.weather.horizon, 0.25), self.facing)

    def at(self, dx: float, y: float, t: float) -> Point:
        return self.scene.at(self.x + dx, y, self.z + t * CARS[self.kind][0])

    def face(self, points: Sequence[tuple[float, float, float]], colour: Rgb, fade: float = 0.0) -> None:
        polygon(self.canvas, [self.at(*point) for point in points], colour, CAR, self.z, fade=fade)

    def panel(self, half: float, low: float, half_above: float, high: float, colour: Rgb, t: float = 0.0) -> None:
        """An upright panel on the end that faces the viewer, symmetric about its middle."""
        self.face([(-half, low, t), (half, low, t), (half_above, high, t), (-half_above, high, t)], colour)


def paint_car(canvas: Canvas, scene: Scene, x: float, z: float, roll: Roll, *, front: bool, sun: float) -> None:
    """A car whose nearer end is at z, seen from the front or the rear, as projected faces of a simple body."""
    kind = pick(roll, ("hatch", "sedan", "sedan", "suv", "van"))
    body = mix(pick(roll, PAINTS), (roll(0, 0.9), roll(0, 0.9), roll(0, 0.9)), 0.15)
    car = Car(canvas, scene, x, z, kind, front, body, sun)
    wide = car.half + 0.15
    shadow = [car.at(dx, 0, t) for dx, t in ((-wide, -0.05), (wide, -0.05), (wide, 1.02), (-wide, 1.02))]
    polygon(canvas, shadow, (0.03, 0.03, 0.04), None, opacity=0.6)
    _paint_flank(car)
    _paint_cabin(car)
    _paint_end(car, roll)
    _paint_car_lamps(car)


def _paint_flank(car: Car) -> None:
    """The side that the viewer sees, with its wheels and windows."""
    scene, canvas, z, (_, belt, tall, *_) = car.scene, car.canvas, car.z, CARS[car.kind]
    side = -1 if car.x + scene.bend * z * z > 0 else 1
    light = light_on(scene, car.sun if side == scene.sun_side else 0.1)
    s, c, at, face, (foot, roof) = side * car.half, side * car.cabin_half, car.at, car.face, car.cabin
    if car.ppm * abs(at(s, 0, 0)[0] - at(s, 0, 1)[0]) * z <= 1:
        return
    face([(s, 0.3, 0), (s, belt, 0), (s, belt - 0.04, 1), (s, 0.3, 1)], times(car.body, light), 0.35)
    reach = 0.33 / CARS[car.kind][0]
    for t in (0.18, 0.8):
        (ua, _), (ub, v), (_, vb) = at(s, 0.33, t - reach), at(s, 0.33, t + reach), at(s, 0, t)
        centre, wide = ((ua + ub) / 2, v), abs(ub - ua)
        ellipse(canvas, centre, (wide / 2 + 1e-5, vb - v), RUBBER, CAR, z)
        if car.ppm > 14:
            ellipse(canvas, centre, (wide / 4 + 1e-5, (vb - v) / 2), times((0.5, 0.5, 0.52), light), CAR, z)
    cabin = [(s, belt - 0.02, foot[0]), (c, tall, roof[0]), (c, tall, roof[1]), (s, belt - 0.04, foot[1])]
    face(cabin, times(car.body, light))
    lo, hi = belt + 0.03, tall - 0.08
    if car.ppm > 5:
        a, b = foot[0] * 0.8 + roof[0] * 0.2 + 0.03, foot[1] * 0.8 + roof[1] * 0.2 - 0.03
        face([(s, lo, a), (c, hi, roof[0] + 0.02), (c, hi, roof[1] - 0.02), (s, lo, b)], dim(car.glass, 0.9))


def _paint_cabin(car: Car) -> None:
    """Roof, bonnet or boot, and the window of the end that faces the viewer."""
    scene, half, k, face, (_, belt, tall, *_) = car.scene, car.half, car.cabin_half, car.face, CARS[car.kind]
    foot, roof = car.cabin
    above = times(car.body, light_on(scene, car.sun))
    if scene.eye_m > tall:
        face([(-k, tall, roof[0]), (k, tall, roof[0]), (k, tall, roof[1]), (-k, tall, roof[1])], above)
    if scene.eye_m > belt and foot[0] > 0.02:
        lid = [(-half, belt, 0), (half, belt, 0), (half, belt, foot[0]), (-half, belt, foot[0])]
        face(lid, dim(above, 1.08))
    low = belt - 0.02
    screen = [(-half, low, foot[0]), (half, low, foot[0]), (k, tall, roof[0]), (-k, tall, roof[0])]
    face(screen, times(car.body, car.facing))
    if car.ppm > 4:
        lo, hi, wide = belt + 0.02, tall - 0.09, half - 0.12
        pane = [(-wide, lo, foot[0]), (wide, lo, foot[0]), (k - 0.08, hi, roof[0]), (0.08 - k, hi, roof[0])]
        face(pane, car.glass, -0.25)


def _paint_end(car: Car, roll: Roll) -> None:
    """The end that faces the viewer: tyres, bumper, body and number plate."""
    half, face, belt = car.half, car.face, CARS[car.kind][1]
    for dx in (-half + 0.14, half - 0.14):
        face([(dx - 0.12, 0, 0.02), (dx + 0.12, 0, 0.02), (dx + 0.12, 0.4, 0.02), (dx - 0.12, 0.4, 0.02)], RUBBER)
    car.panel(half - 0.1, 0.13, half - 0.1, 0.3, RUBBER, 0.03)
    right = [(half - 0.06, 0.24, 0.0), (half, 0.5, 0.0), (half - 0.05, belt, 0.0)]
    paint_colour = times(car.body, car.facing)
    face([*right, *((-dx, y, t) for dx, y, t in reversed(right))], paint_colour, 0.3)
    if car.ppm > 6:
        car.panel(half - 0.08, 0.24, half - 0.03, 0.44, dim(paint_colour, 0.45))
        plate = (0.85, 0.85, 0.8) if roll(0, 1) < 0.7 else (0.85, 0.72, 0.2)
        car.panel(0.26, 0.46, 0.26, 0.58, times(plate, car.facing))


def _paint_car_lamps(car: Car) -> None:
    weather, half = car.scene.weather, car.half
    on = weather.lamps > 0.1
    if car.front:
        lamp = (1.0, 0.95, 0.8) if on else (0.8, 0.82, 0.85)
    else:
        lamp = (0.95, 0.1, 0.06) if on else (0.5, 0.05, 0.05)
    for dx in (-half + 0.2, half - 0.2):
        if car.ppm > 3:
            corners = [(dx - 0.15, 0.64, 0), (dx + 0.15, 0.64, 0), (dx + 0.15, 0.78, 0), (dx - 0.15, 0.78, 0)]
            car.face(corners, lamp if on else times(lamp, car.facing))
        if on:
            size = (0.55 if car.front else 0.35) * car.scene.focal / car.z
            ellipse(car.canvas, car.at(dx, 0.7, 0), (size * 1.3, size), lamp, None, glow=0.7 * weather.lamps)


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


# ── poles ──

BOX: tuple[Point, ...] = ((-1, -1), (1, -1), (1, 1), (-1, 1))


@dataclass(frozen=True)
class Pole:
    """A pole at one place, and what hangs on it."""

    canvas: Canvas
    scene: Scene
    x: float
    z: float
    metal: Rgb
    light: Rgb
    inward: float  # the direction of the street: 1 right, -1 left

    @property
    def scale(self) -> float:
        return self.scene.focal / self.z

    def bar(self, a: Point, b: Point, radius_m: float) -> None:
        (ua, va), (ub, vb) = (self.scene.at(self.x + dx * self.inward, y, self.z) for dx, y in (a, b))
        radii = (radius_m * self.scale, radius_m * 0.8 * self.scale)
        limb(self.canvas, (ua, va), (ub, vb), radii, self.metal, POLE, self.z)

    def plate(self, y: float, half_w: float, half_h: float, colour: Rgb, corners: Sequence[Point] = BOX) -> None:
        points = [self.scene.at(self.x + a * half_w, y + b * half_h, self.z) for a, b in corners]
        polygon(self.canvas, points, times(colour, self.light), SIGN, self.z)

    def disc(self, y: float, radius_m: float, colour: Rgb) -> None:
        radius = radius_m * self.scale
        ellipse(self.canvas, self.scene.at(self.x, y, self.z), (radius, radius), colour, SIGN, self.z)


def paint_pole(canvas: Canvas, scene: Scene, x: float, z: float, roll: Roll, sun: float, *, what: str) -> None:
    """A street lamp, a traffic light, or a post with a sign. Plates and signal heads are signs."""
    light = light_on(scene, sun)
    metal = times(pick(roll, ((0.45, 0.46, 0.47), (0.22, 0.24, 0.23), (0.60, 0.60, 0.58), (0.2, 0.28, 0.24))), light)
    inward = -1.0 if x > (scene.kerbs_m[0] + scene.kerbs_m[1]) / 2 else 1.0
    pole = Pole(canvas, scene, x, z, metal, light, inward)
    if what == "lamp":
        _paint_street_lamp(pole, roll)
        return
    tall = roll(2.5, 3.3)
    pole.bar((0, 0), (0, tall), 0.055)
    if what == "light":
        _paint_traffic_light(pole, tall, roll)
    else:
        _paint_sign(pole, tall, roll)


def _paint_street_lamp(pole: Pole, roll: Roll) -> None:
    tall, arm = roll(5, 8.5), roll(0.8, 2)
    pole.bar((0, 0), (0, tall), 0.1)
    pole.bar((0, tall), (arm, tall + 0.25), 0.06)
    pole.bar((arm - 0.3, tall + 0.2), (arm + 0.4, tall + 0.2), 0.1)
    scene, scale, lamps = pole.scene, pole.scale, pole.scene.weather.lamps
    if lamps > 0.1:
        x = pole.x + arm * pole.inward
        bulb, pool = scene.at(x, tall + 0.1, pole.z), scene.at(x, 0, pole.z)
        ellipse(pole.canvas, bulb, (2.4 * scale, 2.4 * scale), LAMP_LIGHT, None, glow=1.0 * lamps)
        radii = (5 * scale, 5 * scale * scene.eye_m / pole.z)
        ellipse(pole.canvas, pool, radii, LAMP_LIGHT, None, glow=0.35 * lamps)


def _paint_traffic_light(pole: Pole, tall: float, roll: Roll) -> None:
    pole.plate(tall - 0.1, 0.24, 0.6, (0.12, 0.13, 0.12))
    on = int(roll(0, 3))
    for i, colour in enumerate(((1.0, 0.15, 0.1), (1.0, 0.7, 0.1), (0.15, 0.9, 0.5))):
        y, radius = tall + 0.28 - 0.38 * i, 0.13 * pole.scale
        pole.disc(y, 0.13, colour if i == on else dim(colour, 0.15))
        if i == on:
            centre, glow = pole.scene.at(pole.x, y, pole.z), 0.25 + 0.4 * pole.scene.weather.lamps
            ellipse(pole.canvas, centre, (radius * 4, radius * 4), colour, None, glow=glow)


def _paint_sign(pole: Pole, tall: float, roll: Roll) -> None:
    size, shape = roll(0.36, 0.52), pick(roll, ("round", "round", "triangle", "board", "board"))
    red, white, blue = (0.80, 0.10, 0.10), (0.90, 0.90, 0.88), (0.08, 0.25, 0.62)
    if shape == "round":
        rim, inner = pick(roll, ((red, white), (white, blue), (red, red), (red, (0.85, 0.75, 0.2))))
        pole.disc(tall, size, times(rim, pole.light))
        pole.disc(tall, size * 0.74, times(inner, pole.light))
        pole.plate(tall, size * 0.5, size * 0.12, white if inner == red else (0.1, 0.1, 0.1))
    elif shape == "triangle":
        for shrink, colour in ((1.25, red), (0.8, white)):
            pole.plate(tall, size * shrink, size * shrink, colour, ((-1, -0.8), (1, -0.8), (0, 1)))
    else:
        wide, high = pick(roll, ((0.45, 0.45), (0.5, 0.7), (1.1, 0.55), (1.4, 0.7)))
        colour = pick(roll, (blue, (0.1, 0.40, 0.25), (0.85, 0.75, 0.2), white))
        pole.plate(tall, wide, high, white)
        pole.plate(tall, wide - 0.06, high - 0.06, colour)
        ink = (0.1, 0.1, 0.1) if colour == white else white
        for row in (-0.35, 0.3):
            pole.plate(tall + row * high, wide * roll(0.35, 0.75), high * 0.1, ink)
