"""The content of a street scene: weather, houses, camera, in metres and colours, independent of pixels.

World: x metres to the right of the camera along the horizon, measured from the street's curved axis; y up from the
ground; z ahead along the street. Screen: see `rasteriser`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from pixelwise.records import ClassList
from pixelwise.scenes.rasteriser import Point, Rgb, Roll, dice

# Apart from each other, in lightness too, for normal sight, protanopia, deuteranopia and tritanopia (tested).
SCENE_CLASSES = ClassList(
    ("sky", "building", "road", "pavement", "tree", "car", "pedestrian", "pole", "sign"),
    (
        (117, 211, 250), (134, 57, 26), (66, 56, 96), (191, 221, 198), (22, 130, 110), (66, 52, 255), (233, 93, 23),
        (255, 225, 51), (185, 77, 217),
    ),
)  # fmt: skip
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PEDESTRIAN, POLE, SIGN = range(9)

FAR_M = 400.0  # nothing is farther

T = TypeVar("T")


@dataclass(frozen=True)
class Weather:
    zenith: Rgb  # the sky's colour overhead …
    horizon: Rgb  # … and low down; fog takes this colour
    ambient: Rgb  # light that falls on everything
    sun: Rgb  # light that is added where the sun reaches
    sight_m: float  # at this distance half of what is seen is fog
    cloud: float  # 0–1
    wet: float  # 0–1: how much the ground mirrors
    lamps: float  # 0–1: share of lit windows, and strength of lights


WEATHERS = {
    "sun": Weather((0.25, 0.47, 0.82), (0.74, 0.85, 0.95), (0.52, 0.57, 0.68), (0.56, 0.49, 0.38), 900, 0.5, 0, 0),
    "fair": Weather((0.42, 0.56, 0.75), (0.84, 0.88, 0.90), (0.64, 0.66, 0.71), (0.34, 0.30, 0.24), 600, 0.9, 0, 0),
    "overcast": Weather((0.60, 0.61, 0.64), (0.80, 0.80, 0.80), (0.80, 0.80, 0.82), (0, 0, 0), 300, 0.6, 0, 0.02),
    "rain": Weather((0.42, 0.45, 0.49), (0.60, 0.63, 0.66), (0.58, 0.60, 0.64), (0, 0, 0), 130, 0.5, 0.55, 0.3),
    "fog": Weather((0.66, 0.68, 0.70), (0.74, 0.75, 0.76), (0.68, 0.69, 0.71), (0, 0, 0), 45, 0.05, 0.1, 0.15),
    "dusk": Weather(
        (0.20, 0.24, 0.44), (0.93, 0.60, 0.40), (0.40, 0.36, 0.44), (0.34, 0.17, 0.06), 450, 0.8, 0.05, 0.5
    ),
    "night": Weather((0.03, 0.04, 0.09), (0.15, 0.13, 0.16), (0.27, 0.27, 0.33), (0, 0, 0), 350, 0.4, 0.2, 1),
}
WEATHER_DRAW = (
    ("sun",) * 5 + ("fair",) * 4 + ("overcast",) * 4 + ("rain",) * 3 + ("fog",) * 2 + ("dusk",) * 3 + ("night",) * 2
)

WALL_COLOURS: tuple[Rgb, ...] = (
    (0.62, 0.60, 0.58), (0.50, 0.51, 0.53), (0.74, 0.73, 0.70), (0.60, 0.34, 0.26), (0.52, 0.28, 0.22),
    (0.78, 0.68, 0.50), (0.70, 0.58, 0.46), (0.86, 0.84, 0.80), (0.56, 0.62, 0.66), (0.66, 0.70, 0.58),
    (0.80, 0.62, 0.56), (0.42, 0.40, 0.40),
)  # fmt: skip
PAINTS: tuple[Rgb, ...] = (
    (0.75, 0.76, 0.78), (0.45, 0.46, 0.48), (0.10, 0.10, 0.12), (0.88, 0.88, 0.87), (0.66, 0.10, 0.10),
    (0.12, 0.22, 0.50), (0.16, 0.34, 0.24), (0.80, 0.62, 0.12), (0.36, 0.50, 0.62), (0.40, 0.26, 0.18),
    (0.72, 0.36, 0.14), (0.58, 0.60, 0.55),
)  # fmt: skip
LEAVES: tuple[Rgb, ...] = (
    (0.24, 0.40, 0.16), (0.18, 0.32, 0.15), (0.34, 0.45, 0.17), (0.28, 0.38, 0.22), (0.60, 0.42, 0.14),
    (0.55, 0.27, 0.13),
)  # fmt: skip
SKINS: tuple[Rgb, ...] = ((0.88, 0.70, 0.58), (0.72, 0.52, 0.40), (0.46, 0.31, 0.23), (0.30, 0.20, 0.15))
GLASS: Rgb = (0.16, 0.19, 0.23)
LAMP_LIGHT: Rgb = (1.0, 0.80, 0.48)


@dataclass(frozen=True)
class Lot:
    """One building plot, or a gap between buildings, along one side of the street."""

    side: int  # −1 left, 1 right
    near_m: float
    far_m: float
    wall_m: float  # lateral position of its front
    height_m: float
    kind: str  # "house", "park" (a hedge or a thicket) or "gap" (one sees through; a side street or a yard)
    wall: Rgb
    trim: Rgb
    shop: Rgb | None
    roof_m: float  # height of the tiled band on top
    bay_m: float  # one window's share of the front
    floor_m: float
    glass_wh: tuple[float, float]  # the pane's share of its bay and floor
    key: int


@dataclass(frozen=True)
class Scene:
    """Everything about a scene that does not depend on the size of its image."""

    key: int
    weather: Weather
    sun_side: int  # where the sun stands, −1 left or 1 right
    focal: float  # in units of the shorter side
    eye_m: float  # height of the camera
    vanish: Point  # where the street's tangent meets the horizon
    bend: float  # the street's axis lies at x = bend × z²
    roll: float
    kerbs_m: tuple[float, float]  # lateral position of the road's left and right edge
    walls_m: tuple[float, float]
    lots: tuple[Lot, ...]  # far to near
    backdrop: tuple[Lot, ...]  # a second row behind, far to near

    def at(self, x: float, y: float, z: float) -> Point:
        """World → screen."""
        scale = self.focal / z
        return self.vanish[0] + (x + self.bend * z * z) * scale, self.vanish[1] + (self.eye_m - y) * scale


def pick(roll: Roll, items: Sequence[T]) -> T:
    return items[int(roll(0, len(items)))]


def times(a: Rgb, b: Rgb) -> Rgb:
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


def mix(a: Rgb, b: Rgb, part: float) -> Rgb:
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part, a[2] + (b[2] - a[2]) * part


def dim(a: Rgb, by: float) -> Rgb:
    return a[0] * by, a[1] * by, a[2] * by


def light_on(scene: Scene, sun: float) -> Rgb:
    """The light on a surface that gets this share of the sun."""
    a, s = scene.weather.ambient, scene.weather.sun
    return a[0] + s[0] * sun, a[1] + s[1] * sun, a[2] + s[2] * sun


def _row_of_lots(roll: Roll, side: int, wall_m: float, heights_m: tuple[float, float], gaps: float) -> list[Lot]:
    lots: list[Lot] = []
    near_m = roll(0.4, 3) - 6
    typical_m = roll(*heights_m)
    while near_m < 150:
        far_m = near_m + roll(8, 19) * (1 + max(near_m, 0.0) / 90)
        kind = "house" if near_m < 4 or roll(0, 1) > gaps else pick(roll, ("park", "gap"))
        height_m = typical_m * roll(0.65, 1.45) if kind == "house" else roll(2.2, 6.5)
        wall = mix(pick(roll, WALL_COLOURS), (roll(0.2, 0.9), roll(0.2, 0.9), roll(0.2, 0.9)), 0.14)
        shop = pick(roll, PAINTS) if roll(0, 1) < 0.45 else None
        trim = dim(wall, roll(0.6, 1.3))
        roof_m = roll(1.5, 3) if roll(0, 1) < 0.4 else roll(0.3, 0.6)
        glass = (roll(0.35, 0.85), roll(0.4, 0.75))
        set_back_m = roll(0, 0.8)
        lots.append(
            Lot(side, max(near_m, 0.2), far_m, wall_m + set_back_m, height_m, kind, wall, trim, shop, roof_m,
                roll(1.6, 3.8), roll(2.8, 3.6), glass, int(roll(0, 1 << 30)))
        )  # fmt: skip
        near_m = far_m if kind != "gap" else far_m - roll(0, 5)
    return lots


def compose(seed: int, index: int) -> Scene:
    roll = dice(seed, index, 1)
    weather = WEATHERS[pick(roll, WEATHER_DRAW)]
    half_road_m = roll(3.2, 7)
    on_foot = roll(0, 1) < 0.22  # the camera stands on a pavement rather than in a lane
    axis_m = (half_road_m + roll(0.5, 1.8) if on_foot else half_road_m * roll(0.1, 0.6)) * pick(roll, (-1, 1))
    kerbs = (-axis_m - half_road_m, -axis_m + half_road_m)
    walls = (kerbs[0] - roll(2.4, 6), kerbs[1] + roll(2.4, 6))
    eye_m = roll(1.5, 1.8) if on_foot else pick(roll, (roll(1.15, 1.5), roll(1.5, 2.3), roll(2.3, 3.6)))
    heights = pick(roll, ((4.0, 7.0), (7.0, 13.0), (11.0, 22.0)))
    gaps = roll(0.1, 0.45)
    front = [lot for side in (0, 1) for lot in _row_of_lots(roll, 2 * side - 1, abs(walls[side]), heights, gaps)]
    back = [
        lot for side in (0, 1) for lot in _row_of_lots(roll, 2 * side - 1, abs(walls[side]) + 26, (9.0, 24.0), 0.35)
    ]
    return Scene(
        key=int(roll(0, 1 << 31)),
        weather=weather,
        sun_side=pick(roll, (-1, 1)),
        focal=roll(0.7, 1.15),
        eye_m=eye_m,
        vanish=(roll(-0.14, 0.14), roll(-0.14, 0.06)),
        bend=roll(-0.0035, 0.0035) if roll(0, 1) < 0.65 else 0.0,
        roll=roll(-0.035, 0.035),
        kerbs_m=kerbs,
        walls_m=walls,
        lots=tuple(sorted(front, key=lambda lot: -lot.far_m)),
        backdrop=tuple(sorted((lot for lot in back if lot.kind == "house"), key=lambda lot: -lot.far_m)),
    )


def crossing_ahead_m(scene: Scene) -> float:
    """How far ahead the zebra crossing is; 0 where there is none."""
    roll = dice(scene.key, 4)
    return roll(7, 26) if roll(0, 1) < 0.35 else 0.0
