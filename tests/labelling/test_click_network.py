"""Several clicks to one object that is no region of its own: made of parts, or as its surroundings in part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pixelwise.errors import BundleError
from pixelwise.labelling import click_network, window_view
from pixelwise.labelling.click_network import BUILT_IN, SIDE_PX, object_at, put_back, square_around, taken
from pixelwise.labelling.click_object import ObjectClicks
from pixelwise.labelling.click_points import Click
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.labelling.patch import Window
from pixelwise.labelling.window_view import WindowView, view_of
from pixelwise.records import RGB, Raster

Inside = NDArray[np.bool_]
SESSION = FeatureSession(threads=1)
SIZE = 180, 240
ENOUGH = 0.9


def view(image: Raster) -> WindowView:
    return view_of(image, RGB, Window.whole(*image.shape[:2]), SESSION, None)


def noisy(values: NDArray[np.generic]) -> Raster:
    noise = np.random.default_rng(0).normal(0, 8, values.shape)
    return np.clip(values + noise, 0, 255).astype(np.uint8)


def bus() -> tuple[Raster, Inside]:
    """Red below and white above, in front of a wall that is as white."""
    image = np.full((*SIZE, 3), (210, 205, 200), np.float32)
    image[:, ::12] = (150, 140, 130)
    image[140:] = (90, 90, 90)
    inside = np.zeros(SIZE, np.bool_)
    inside[50:150, 40:200] = True
    image[inside] = (200, 40, 40)
    image[50:90, 40:200] = (215, 215, 215)
    return noisy(image), inside


def crown() -> tuple[Raster, Inside]:
    """Leaves in blots of three greens, the darkest as the bush behind."""
    random = np.random.default_rng(3)
    image = np.full((*SIZE, 3), (190, 200, 220), np.float32)
    image[110:] = (40, 70, 35)
    blots = cv2.resize(random.integers(0, 3, (18, 24)).astype(np.uint8), SIZE[::-1], interpolation=cv2.INTER_NEAREST)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    inside = np.hypot((y - 90) / 70, (x - 120) / 90) < 1
    greens = np.array([(40, 70, 35), (90, 130, 50), (140, 170, 90)], np.float32)
    image[inside] = greens[blots[inside]]
    return noisy(image), inside


def fence() -> tuple[Raster, Inside]:
    """Bars with a lawn between them, and more of it around."""
    image = np.full((*SIZE, 3), (90, 140, 60), np.float32)
    inside = np.zeros(SIZE, np.bool_)
    inside[70:130, 20:220] = True
    image[70:130, 20:220:16] = image[70:130, 21:220:16] = image[70:76, 20:220] = (150, 120, 90)
    for x in range(22, 26):
        image[70:130, x:220:16] = (150, 120, 90)
    return noisy(image), inside


def shadow() -> tuple[Raster, Inside]:
    """A street across which shadows lie, beside a pavement a little lighter than it."""
    image = np.full((*SIZE, 3), (150, 145, 140), np.float32)
    image[:60] = (120, 150, 200)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    inside = (y > 60) & (np.abs(x - 120) < (y - 50) * 0.8)
    image[inside] = (110, 110, 112)
    image[(y > 60) & ((x + 2 * y) % 90 < 35)] *= 0.55
    return noisy(image), inside


def next_click(found: Inside, wanted: Inside) -> tuple[int, int, bool]:
    """In the middle of the largest error."""
    best = (0.0, 0, 0, True)
    for positive, wrong in ((True, wanted & ~found), (False, found & ~wanted)):
        depth = cv2.distanceTransform(np.pad(wrong, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        y, x = (int(one) for one in np.unravel_index(depth.argmax(), depth.shape))
        if depth[y, x] > best[0]:
            best = (float(depth[y, x]), x, y, positive)
    return best[1:]


def ious(image: Raster, wanted: Inside, clicks: int) -> list[float]:
    """After each click of an annotator who always clicks on the worst error."""
    tool, found, points, result = ObjectClicks(image, view(image)), np.zeros_like(wanted), [], []
    for _ in range(clicks):
        points.append(next_click(found, wanted))
        region = tool.click(points)
        found = np.zeros_like(wanted)
        found[region.window.slices] = region.mask_hw
        assert all(found[y, x] == positive for x, y, positive in points)
        result.append(float((found & wanted).sum() / (found | wanted).sum()))
        if result[-1] > ENOUGH:
            break
    return result


@pytest.mark.parametrize("scene", [bus, crown, fence, shadow])
def test_a_few_clicks_find_an_object_of_many_parts(scene: Callable[[], tuple[Raster, Inside]]) -> None:
    """4, 5, 6 and 5 clicks; the merge tree alone needs more than 8 for three of them."""
    assert max(ious(*scene(), clicks=8)) > ENOUGH


def test_looks_of_a_large_image_are_those_of_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_view, "MOST_PIXELS", 15_000)  # a third
    assert max(ious(*crown(), clicks=8)) > 0.8


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_every_click_keeps_its_side_and_the_answer_is_the_same_again(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(20, 60)), data.draw(st.integers(20, 60))
    image = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 255, (height, width, 3), np.uint8)
    spots = st.tuples(st.integers(0, width - 1), st.integers(0, height - 1))
    places = data.draw(st.lists(spots, min_size=3, max_size=12, unique=True))
    points = [(x, y, place == 0 or data.draw(st.booleans())) for place, (x, y) in enumerate(places)]
    of = view(image)
    first, again = ObjectClicks(image, of), ObjectClicks(image, of)
    for count in range(1, len(points)):  # one after the other, as a person clicks
        first.click(points[:count])
    region, other = first.click(points), again.click(points)
    assert region.window == other.window
    np.testing.assert_array_equal(region.mask_hw, other.mask_hw)
    inside = np.zeros((height, width), np.bool_)
    inside[region.window.slices] = region.mask_hw
    assert all(inside[y, x] == positive for x, y, positive in points)


@settings(deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.data())
def test_the_square_holds_the_region_and_the_clicks(height: int, width: int, data: st.DataObject) -> None:
    spots = st.tuples(st.integers(0, width - 1), st.integers(0, height - 1))
    clicks = [Click(*one) for one in data.draw(st.lists(spots, min_size=1, max_size=4))]
    region = np.zeros((height, width), np.bool_)
    for x, y in data.draw(st.lists(spots, max_size=3)):
        region[y, x] = True
    square = square_around(region, clicks)
    ys, xs = np.nonzero(region)
    for x, y in [*zip(xs, ys, strict=True), *((one.x, one.y) for one in clicks)]:
        assert square.x <= x < square.x + square.w
        assert square.y <= y < square.y + square.h
    for start, length in ((square.x, width), (square.y, height)):
        assert square.w == square.h <= max(height, width)
        assert (0 <= start <= length - square.w) if square.w <= length else (start <= 0 <= length <= start + square.w)


@pytest.mark.parametrize("size", [(300, 400), (90, 400), (40, 30), (1, 1)])
def test_what_was_taken_is_put_back_where_it_was(size: tuple[int, int]) -> None:
    height, width = size
    region = np.zeros(size, np.bool_)
    region[height // 4 : height // 4 + max(height // 2, 1), width // 3 : width // 3 + max(width // 3, 1)] = True
    square = square_around(region, [Click(width // 2, height // 2)])
    seen = taken(region.view(np.uint8) * np.uint8(255), square, repeat=False)
    assert seen.shape == (SIDE_PX, SIDE_PX)
    back = put_back(seen.astype(np.float32) - 127, square, size) > 0
    assert (back & region).sum() >= 0.97 * (back | region).sum()


def test_a_file_that_is_no_network_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, nothing = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.bool_)
    broken = tmp_path / "clicks.onnx"
    broken.write_bytes(BUILT_IN.read_bytes()[:5000])
    for path, words in (
        (broken, r"clicks\.onnx: ONNX Runtime cannot load the network of the click tool"),
        (tmp_path / "absent.onnx", r"absent\.onnx: no such file"),
    ):
        monkeypatch.setattr(click_network, "BUILT_IN", path)
        with pytest.raises(BundleError, match=words):
            object_at(image, [Click(20, 20)], nothing, SESSION)
