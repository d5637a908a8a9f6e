"""Objects to train the click tool's network on: painted scenes, invented shapes, and nuclei under microscopes.

Each source is a list of pictures with their objects numbered. `sample` cuts a square around an object as the click tool
does, turns it, and changes its light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.images.image_files import read_image
from pixelwise.labelling.click_network import SIDE_PX, start, taken
from pixelwise.labelling.patch import Window
from pixelwise.scenes.render_scene import render_scene

Picture = NDArray[np.uint8]  # [H, W, 3]
Numbers = NDArray[np.int32]  # [H, W]: the number of the object at each pixel, 0: none
Inside = NDArray[np.bool_]
Colours = NDArray[np.float32]  # [H, W, 3], 0–1
Random = np.random.Generator

SMALLEST = 80  # pixels of an object
SCENES, INVENTED = 120, 700  # pictures
SCENE_SIZES = ((256, 256), (360, 480), (480, 360))
INVENTED_SIZE = (300, 360)
SIDE = 40  # the least side of a square, in pixels


@dataclass(frozen=True)
class Numbered:
    """A picture, its objects, and the box of each."""

    picture: Picture
    numbers: Numbers
    boxes: dict[int, tuple[int, int, int, int]]  # left, top, right, bottom


def numbered(picture: Picture, numbers: Numbers) -> Numbered:
    """Objects that are large enough."""
    boxes = {}
    for one, area in enumerate(np.bincount(numbers.reshape(-1))):
        if one and area >= SMALLEST:
            ys, xs = np.nonzero(numbers == one)
            boxes[one] = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    return Numbered(picture, numbers, boxes)


def parts_of(labels: NDArray[Any], void: int = -1) -> Numbers:
    """Connected regions of one label, numbered from 1."""
    numbers, count = np.zeros(labels.shape, np.int32), 0
    for value in np.unique(labels):
        if value != void:
            found, parts = cv2.connectedComponents((labels == value).view(np.uint8), connectivity=4)
            numbers[parts > 0] = parts[parts > 0] + count
            count += found - 1
    return numbers


def scenes() -> list[Numbered]:
    """Streets as `pixelwise demo` paints them."""
    painted = [render_scene(11, place, *SCENE_SIZES[place % len(SCENE_SIZES)]) for place in range(SCENES)]
    return [numbered(np.array(picture), parts_of(labels)) for picture, labels in painted]


def nuclei(data: Path) -> list[Numbered]:
    """The training part of the nuclei (CC0), DATA/nuclei/train."""
    found = []
    for path in sorted((data / "nuclei/train/images").iterdir()):
        numbers = cv2.imread(str(data / "nuclei/train/instances" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        assert numbers is not None, path
        found.append(numbered(read_image(path), numbers.astype(np.int32)))
    return found


def invented(sources: Sequence[Picture], seed: int = 5) -> list[Numbered]:
    """Pictures of shapes, each of one or two materials; some materials are pieces of `sources`."""
    random = np.random.default_rng(seed)
    return [numbered(*invent(random, sources)) for _ in range(INVENTED)]


def invent(random: Random, sources: Sequence[Picture]) -> tuple[Picture, Numbers]:
    height, width = INVENTED_SIZE
    picture, ids = material(random, height, width, sources), np.zeros(INVENTED_SIZE, np.int32)
    if random.random() < 0.6:  # ground and sky
        top = int(random.uniform(0.2, 0.8) * height)
        picture[top:] = material(random, height - top, width, sources)
        ids[top:] = 1
    for number in range(2, int(random.integers(6, 16))):
        inside = outline(random, height, width)
        if np.count_nonzero(inside) >= SMALLEST:
            soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.6)[:, :, None]
            picture = picture * (1 - soft) + of_object(random, picture, inside, sources) * soft
            ids[inside] = number
    picture = picture * light(random, height, width)
    picture = picture + random.normal(0, random.uniform(0, 0.04), picture.shape)
    numbers, count = np.zeros_like(ids), 0
    for one in np.unique(ids):  # what others divide is one object sometimes
        own = (ids == one).view(np.uint8)
        found, parts = (2, own) if random.random() < 0.3 else cv2.connectedComponents(own, connectivity=4)
        numbers[parts > 0] = parts[parts > 0] + count
        count += found - 1
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8), numbers


def of_object(random: Random, behind: Colours, inside: Inside, sources: Sequence[Picture]) -> Colours:
    """What an object looks like: of a material, of two, of bars, or almost as what is behind it."""
    height, width = inside.shape
    if random.random() < 0.25:
        return np.clip(behind * random.uniform(0.8, 1.2, 3) + random.uniform(-0.12, 0.12, 3), 0, 1).astype(np.float32)
    found = material(random, height, width, sources)
    if random.random() < 0.1:  # bars, with what is behind between them
        ys, xs = np.mgrid[:height, :width]
        across = (ys, xs, ys + xs)[random.integers(3)] % random.integers(6, 20) > random.integers(2, 5)
        return np.where(across[:, :, None], behind, found).astype(np.float32)
    if random.random() < 0.3:
        other, middle = material(random, height, width, sources), np.median(np.nonzero(inside), axis=1).astype(int)
        below = np.s_[middle[0] :] if random.random() < 0.5 else np.s_[:, middle[1] :]
        found[below] = other[below]
    return found


def light(random: Random, height: int, width: int) -> Colours:
    """Brighter to one side, and shadows: [H, W, 1]."""
    level = np.ones((height, width), np.float32)
    if random.random() < 0.6:
        ys, xs = np.mgrid[:height, :width].astype(np.float32)
        level += random.uniform(-0.3, 0.3) * (ys / height - 0.5) + random.uniform(-0.3, 0.3) * (xs / width - 0.5)
    for _ in range(int(random.integers(0, 3)) if random.random() < 0.4 else 0):
        shade = cv2.GaussianBlur(outline(random, height, width).astype(np.float32), (0, 0), random.uniform(0.7, 3))
        level *= 1 - random.uniform(0.2, 0.5) * shade
    return level[:, :, None].astype(np.float32)


def material(random: Random, height: int, width: int, sources: Sequence[Picture]) -> Colours:
    """A piece of a real picture, repeated as in mirrors and tinted; or noise of several scales, with stripes."""
    return (piece if random.random() < 0.5 else painted)(random, height, width, sources)


def piece(random: Random, height: int, width: int, sources: Sequence[Picture]) -> Colours:
    source = sources[random.integers(len(sources))]
    side = int(random.integers(24, max(min(*source.shape[:2], 160), 25)))
    y, x = random.integers(source.shape[0] - side + 1), random.integers(source.shape[1] - side + 1)
    part = np.rot90(source[y : y + side, x : x + side].astype(np.float32) / 255, int(random.integers(4)))
    scale = random.uniform(0.7, 2.5)
    large: Any = cv2.resize(np.ascontiguousarray(part), None, fx=scale, fy=scale)
    large = np.concatenate([large, large[:, ::-1]], axis=1)
    large = np.concatenate([large, large[::-1]])
    tiled = np.tile(large, (-(-height // large.shape[0]), -(-width // large.shape[1]), 1))[:height, :width]
    return np.clip(tiled * random.uniform(0.6, 1.3, 3) + random.uniform(-0.2, 0.2, 3), 0, 1).astype(np.float32)


def painted(random: Random, height: int, width: int, _: Sequence[Picture]) -> Colours:
    found = np.zeros((height, width, 3), np.float32) + random.uniform(0.05, 0.95, 3).astype(np.float32)
    for scale in (2, 6, 20, 60):
        strength = random.uniform(0, 0.12) * (random.random() < 0.6)
        channels = 1 if random.random() < 0.6 else 3
        noise = random.normal(size=(height // scale + 2, width // scale + 2, channels)).astype(np.float32)
        large: Any = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        found += strength * large.reshape(height, width, channels)
    if random.random() < 0.25:
        ys, xs = np.mgrid[:height, :width].astype(np.float32)
        angle, period = random.uniform(0, np.pi), random.uniform(4, 24)
        wave = np.sin((ys * np.sin(angle) + xs * np.cos(angle)) * 2 * np.pi / period)
        found += random.uniform(-0.3, 0.3, 3).astype(np.float32) * (wave > random.uniform(-0.8, 0.8))[:, :, None]
    return np.clip(found, 0, 1)


def outline(random: Random, height: int, width: int) -> Inside:
    """One shape: a polygon, an ellipse, a bar, a rectangle or a blob."""
    found = np.zeros((height, width), np.uint8)
    y, x = random.uniform(0, height), random.uniform(0, width)
    size = float(np.exp(random.uniform(np.log(8), np.log(150))))
    kind = random.random()
    if kind < 0.3:
        corners = int(random.integers(5, 14))
        angles, reach = np.sort(random.uniform(0, 2 * np.pi, corners)), size * random.uniform(0.4, 1.0, corners)
        ends = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles) * random.uniform(0.3, 1)], axis=1)
        cv2.fillPoly(found, [ends.astype(np.int32)], 1)
    elif kind < 0.5:
        axes = int(size), max(int(size * random.uniform(0.3, 1)), 3)
        cv2.ellipse(found, (int(x), int(y)), axes, float(random.uniform(0, 180)), 0, 360, 1, -1)
    elif kind < 0.7:
        angle = (0, np.pi / 2, random.uniform(0, np.pi))[random.integers(3)]
        first, last = (
            (int(x + 2.5 * size * np.cos(angle) * part), int(y + 2.5 * size * np.sin(angle) * part))
            for part in (-0.5, 0.5)
        )
        cv2.line(found, first, last, 1, int(random.integers(2, 14)))
    elif kind < 0.85:
        top = int(y - size * random.uniform(0.3, 1))
        cv2.rectangle(found, (int(x - size), top), (int(x + size), int(2 * y - top)), 1, -1)
    else:
        noise = cv2.GaussianBlur(random.normal(size=(height, width)).astype(np.float32), (0, 0), max(size / 4, 3))
        ys, xs = np.mgrid[:height, :width]
        return np.asarray(noise / noise.std() * 0.5 + 1 - np.hypot(ys - y, xs - x) / size > 0)
    return found > 0


def sample(pictures: Sequence[Numbered], random: Random) -> tuple[Picture, Inside, Numbers] | None:
    """A square with an object in it, the object, and the numbers of all; None where hardly any of it is inside."""
    one = pictures[random.integers(len(pictures))]
    if not one.boxes:
        return None
    number = list(one.boxes)[random.integers(len(one.boxes))]
    square = square_at(one.boxes[number], one.numbers.shape, random)
    picture = taken(one.picture, square)
    inside = taken((one.numbers == number).astype(np.uint8) * np.uint8(255), square, repeat=False) > 127
    near = nearest(one.numbers, square)
    if np.count_nonzero(inside) < SMALLEST / 2:
        return None
    turns, mirror = int(random.integers(4)) if random.random() < 0.6 else 0, random.random() < 0.5

    def turned(of: NDArray[Any]) -> NDArray[Any]:
        of = np.rot90(of, turns)
        return np.ascontiguousarray(of[:, ::-1] if mirror else of)

    return relit(turned(picture), random), turned(inside), turned(near)


def square_at(box: tuple[int, int, int, int], size: tuple[int, ...], random: Random) -> Window:
    """Around an object with room on all sides, or inside a large one; in the picture if it fits."""
    left, top, right, bottom = box
    longer = max(right - left, bottom - top)
    inside = longer > 2 * SIDE and random.random() < (0.3 if longer > 200 else 0.15)
    room = random.uniform(0.4, 1.0) if inside else np.exp(random.uniform(np.log(1.15), np.log(4.0)))
    side = min(round(max(longer * room, SIDE)), max(size))
    slack = max(side - longer, 0.15 * side) / 2
    middle = (round((a + b) / 2 + random.uniform(-slack, slack)) for a, b in ((left, right), (top, bottom)))
    x, y = (start(at, side, length) for at, length in zip(middle, size[::-1], strict=True))
    return Window(x, y, side, side)


def nearest(numbers: Numbers, square: Window) -> Numbers:
    """The numbers of the square's pixels, −1 outside the picture: [256, 256]."""
    part = square.clipped(*numbers.shape)
    whole = np.full((square.h, square.w), -1, np.float32)
    whole[part.y - square.y :, part.x - square.x :][: part.h, : part.w] = numbers[part.slices]
    small: Any = cv2.resize(whole, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, np.int32)


def relit(picture: Picture, random: Random) -> Picture:
    """Other colours, light, sharpness and noise."""
    shown = picture.astype(np.float32) / 255
    if random.random() < 0.2:
        shown = shown[:, :, random.permutation(3)]
    if random.random() < 0.12:
        shown = np.repeat(shown.mean(axis=2, keepdims=True), 3, axis=2)
    if random.random() < 0.12:
        shown = 1 - shown
    shown = shown ** float(np.exp(random.uniform(-0.4, 0.4)))
    shown = (
        (shown - 0.5) * random.uniform(0.6, 1.3) + 0.5 + random.uniform(-0.15, 0.15) + random.uniform(-0.07, 0.07, 3)
    )
    if random.random() < 0.15:
        shown = cv2.GaussianBlur(shown, (0, 0), random.uniform(0.5, 1.5))
    if random.random() < 0.15:
        shown = shown + random.normal(0, random.uniform(0.01, 0.05), shown.shape)
    return (np.clip(shown, 0, 1) * 255).astype(np.uint8)
