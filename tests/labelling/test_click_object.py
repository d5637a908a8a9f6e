"""Clicks to one object: on drawn shapes of every size and kind of image, and on real nuclei."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pixelwise.errors import UsageError
from pixelwise.images.image_files import read_image
from pixelwise.labelling.click_object import ObjectClicks, click_object
from pixelwise.labelling.click_points import Click
from pixelwise.labelling.click_scene import windows_at
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.labelling.patch import Region, Window
from pixelwise.labelling.window_view import view_of
from pixelwise.records import RGB, Raster

NUCLEI = Path(__file__).parents[3] / "shared/data/nuclei/val"


def placed(region: Region, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    inside = np.zeros(shape[:2], np.bool_)
    inside[region.window.slices] = region.mask_hw
    return inside


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def disc(side: int, radius: float, bands: int = 3, dtype: type = np.uint8) -> tuple[Raster, NDArray[np.bool_]]:
    """A bright disc in the middle of a darker noisy square."""
    y, x = np.mgrid[:side, :side] - side // 2
    inside = np.hypot(y, x) < radius
    noise = np.random.default_rng(0).normal(0, 6, (side, side, bands))
    values = np.where(inside, 160, 60)[:, :, None] + noise
    return (values * {np.uint8: 1, np.uint16: 200}.get(dtype, 0.001)).astype(dtype), inside


@pytest.mark.parametrize("radius", [8, 30, 100])
def test_one_click_finds_an_object_of_any_size(radius: int) -> None:
    image, inside = disc(400, radius)
    assert iou(placed(click_object(image, [(200, 200, True)]), image.shape), inside) > 0.85


@pytest.mark.parametrize(("bands", "dtype"), [(1, np.uint8), (2, np.uint16), (5, np.float32)])
def test_images_of_any_bands_and_type(bands: int, dtype: type) -> None:
    image, inside = disc(150, 30, bands, dtype)
    assert iou(placed(click_object(image, [(75, 75, True)]), image.shape), inside) > 0.85


def test_clicks_add_and_remove_parts() -> None:
    image = np.full((120, 160, 3), 40, np.uint8)
    image[30:90, 20:80] = (200, 60, 60)
    image[30:90, 80:140] = (60, 200, 60)
    left, right = np.zeros((2, 120, 160), np.bool_)
    left[30:90, 20:80] = right[30:90, 80:140] = True
    clicks = ObjectClicks(image)
    both = placed(clicks.click([(50, 60, True), (110, 60, True)]), image.shape)
    assert iou(both, left | right) > 0.9
    again = placed(clicks.click([(50, 60, True), (110, 60, True), (110, 60, False)]), image.shape)
    assert not again[60, 110]
    assert again[60, 50]
    back = placed(clicks.click([(50, 60, True), (110, 60, True)]), image.shape)
    np.testing.assert_array_equal(back, both)


def test_a_thousand_clicks_are_not_too_many() -> None:
    image = np.zeros((40, 40, 1), np.uint8)
    points = [(place % 40, place // 40, True) for place in range(1000)]
    inside = placed(click_object(image, points), image.shape)
    assert inside[:25].all()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_click_stays_on_its_side(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    image = random.integers(0, 255, (height, width, 2)).astype(np.float32)
    if data.draw(st.booleans()):
        image[random.random((height, width)) < 0.3] = np.nan
    spots = st.tuples(st.integers(0, width - 1), st.integers(0, height - 1))
    places = data.draw(st.lists(spots, min_size=1, max_size=6, unique=True))
    points = [(x, y, place == 0 or data.draw(st.booleans())) for place, (x, y) in enumerate(places)]
    inside = placed(click_object(image, points), image.shape)
    for x, y, positive in points:
        assert inside[y, x] == positive
    np.testing.assert_array_equal(inside, placed(click_object(image, points), image.shape))


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "No click lies on the object"),
        ([(3, 3, False)], "No click lies on the object"),
        ([(3, 3, True), (20, 3, True)], "column 20, row 3 lies outside"),
        ([(-1, 3, True)], "column -1, row 3 lies outside"),
        ([(3, 3, True)] * 1001, "1,001 clicks; at most 1,000"),
    ],
)
def test_wrong_clicks_are_named(points: list[tuple[int, int, bool]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        click_object(np.zeros((20, 20, 1), np.uint8), points)


@given(st.integers(1, 9000), st.integers(1, 9000), st.data())
def test_windows_hold_the_click_and_grow(height: int, width: int, data: st.DataObject) -> None:
    click = Click(data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1)))
    windows = windows_at(click, height, width)
    assert 1 <= len(windows) <= 6
    for window in windows:
        assert 0 <= click.x - window.x < window.w
        assert 0 <= click.y - window.y < window.h
        assert window.clipped(height, width) == window
        assert max(window.w, window.h) <= 4096
    if max(height, width) <= 4096:
        assert (windows[-1].w, windows[-1].h) == (width, height)


@pytest.mark.skipif(not NUCLEI.is_dir(), reason="real nuclei are not at ../shared/data/nuclei beside the repository")
def test_one_click_finds_many_real_nuclei() -> None:
    session, found = FeatureSession(), []
    for path in sorted((NUCLEI / "images").glob("*.png"))[::7]:
        image = read_image(path)
        mask = cv2.imread(str(NUCLEI / "instances" / path.name), cv2.IMREAD_UNCHANGED)
        assert mask is not None
        inside = mask == np.bincount(mask[mask > 0]).argmax()  # the largest
        depth = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        y, x = (int(one) for one in np.unravel_index(depth.argmax(), depth.shape))
        view = view_of(image, RGB, Window.whole(*image.shape[:2]), session, None)
        found.append(iou(placed(click_object(image, [(x, y, True)], view), image.shape), inside))
    assert np.median(found) > 0.7
