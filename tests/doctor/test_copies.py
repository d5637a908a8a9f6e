"""Near copies across splits: saved again, resized, relit, cropped are found; photos of one kind are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pixelwise.datasets.inspect_pair import inspect_image
from pixelwise.doctor.leakage import InspectedImage, near_copies
from pixelwise.images.image_files import encode_png

Picture = NDArray[np.uint8]


def retina(seed: int) -> Picture:
    """A bright disc on black, of one size and place, with vessels of its own."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((200, 200, 3), np.uint8)
    cv2.circle(picture, (100, 100), 90, (180, 90, 40), -1)
    for _ in range(25):
        points = np.cumsum(rng.normal(0, 14, (12, 2)), axis=0) + rng.uniform(50, 150, 2)
        cv2.polylines(picture, [points.astype(np.int32)], False, (110, 40, 20), int(rng.integers(1, 5)))
    picture[np.hypot(*np.mgrid[-100:100, -100:100]) > 90] = 0
    return cv2.GaussianBlur(picture, (0, 0), 1)


def page(seed: int) -> Picture:
    """A page: lines of words at the same places, other words."""
    rng = np.random.default_rng(seed)
    picture = np.full((260, 200, 3), 245, np.uint8)
    for y in range(20, 240, 12):
        x = 15
        while x < 180:
            width = int(rng.integers(4, 26))
            picture[y : y + 6, x : min(x + width, 185)] = 30
            x += width + 4
    return picture


def sky(seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    slope = np.linspace(120, 220, 160)[:, None, None] + np.zeros((160, 160, 3))
    return np.clip(slope + rng.normal(0, 6, slope.shape), 0, 255).astype(np.uint8)


def cells(seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    picture = np.full((180, 180, 3), 20, np.uint8)
    for x, y in rng.integers(0, 180, (30, 2)).tolist():
        cv2.circle(picture, (x, y), int(rng.integers(4, 11)), (60, 160, 60), -1)
    return cv2.GaussianBlur(picture, (0, 0), 2)


def seen(picture: Picture, name: str, split: str) -> InspectedImage:
    return InspectedImage(split, name, Path(name), inspect_image(encode_png(np.ascontiguousarray(picture)), True))


def jpeg(picture: Picture) -> Picture:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


KINDS: dict[str, Callable[[int], Picture]] = {"retinas": retina, "pages": page, "sky": sky, "cells": cells}
COPIES: dict[str, Callable[[Picture], Picture]] = {
    "saved again": jpeg,
    "half as large": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter": lambda p: np.clip(p.astype(int) + 20, 0, 255).astype(np.uint8),
    "more contrast": lambda p: np.clip(p * 1.2, 0, 255).astype(np.uint8),
    "cropped": lambda p: p[4:-4, 4:-4],
}


@pytest.mark.parametrize("count", [3, 6, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_photos_of_one_kind_are_no_copies(kind: str, count: int) -> None:
    photos = [seen(KINDS[kind](i), f"{i}", ("train", "val")[i % 2]) for i in range(count)]
    assert near_copies(photos) == []


# Not a cropped page: its lines are finer than the pixels of a detail.
CASES = [
    (copy, kind) for copy in COPIES for kind in ("retinas", "pages", "cells") if (copy, kind) != ("cropped", "pages")
]


@pytest.mark.parametrize(("copy", "kind"), CASES)
def test_copies_are_found_among_photos_of_their_kind(copy: str, kind: str) -> None:
    photos = [seen(KINDS[kind](i), f"{i}", "train") for i in range(12)]
    copies = [seen(COPIES[copy](KINDS[kind](i)), f"copy {i}", "val") for i in (2, 5, 8)]
    found = {problem.where: problem.message for problem in near_copies(photos + copies)}
    assert set(found) == {"copy 2", "copy 5", "copy 8"}
    assert all(f"train's {name[5:]}," in message for name, message in found.items())


def test_images_of_a_few_pixels_are_no_near_copies() -> None:
    """Two by two pixels look alike by chance; identical files are reported by another finding."""
    for side, expected in ((2, 0), (7, 0), (64, 1)):
        base = np.random.default_rng(1).integers(0, 255, (side, side, 3), np.uint8)
        pair = [seen(base, "a.png", "train"), seen(base // 2 + 64, "b.png", "val")]
        assert len(near_copies(pair)) == expected, side
