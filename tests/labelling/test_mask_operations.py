"""Operations on a class's outline, compared with scipy.ndimage on random masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pixelwise.errors import UsageError
from pixelwise.labelling import mask_operations
from pixelwise.labelling.mask_operations import OPERATIONS, change_mask, fill_holes, grow, remove_specks, shrink, smooth
from pixelwise.labelling.patch import Keys, Patch, Window

ndimage = pytest.importorskip(
    "scipy.ndimage", reason="scipy, which scikit-learn brings, is what these are compared with"
)
KEY, LOCKED, VOID = 7, 3, 255
SQUARE = np.ones((3, 3))


@st.composite
def masks(draw: st.DrawFn) -> Keys:
    """Masks of four values whose regions have some size: some random pixels, and some rectangles."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    values = st.sampled_from([KEY, LOCKED, 0, VOID])
    if draw(st.booleans()):
        return draw(arrays(np.uint8, (height, width), elements=values, fill=st.just(KEY)))
    keys = np.full((height, width), draw(values), np.uint8)
    for _ in range(draw(st.integers(1, 8))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        keys[y : y + draw(st.integers(1, 9)), x : x + draw(st.integers(1, 9))] = draw(values)
    return keys


@st.composite
def masks_and_windows(draw: st.DrawFn) -> tuple[Keys, Window | None]:
    keys = draw(masks())
    height, width = keys.shape
    if draw(st.booleans()):
        return keys, None
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return keys, Window(x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))


def after(keys: Keys, patch: Patch) -> Keys:
    changed = keys.copy()
    patch.apply(changed)
    return changed


def only_inside(keys: Keys, changed: NDArray[Any], window: Window | None) -> NDArray[Any]:
    """What a change of the whole mask is if only pixels of the window change."""
    if window is None:
        return changed
    expected = keys.copy()
    expected[window.slices] = changed[window.slices]
    return expected


@settings(max_examples=150, deadline=None)
@given(masks_and_windows(), st.integers(0, 12), st.sampled_from([(), (LOCKED,)]))
def test_holes_are_those_of_scipy(given_: tuple[Keys, Window | None], most: int, locked: tuple[int, ...]) -> None:
    keys, window = given_
    view = window or Window.whole(*keys.shape)
    part = keys[view.slices]
    holes = ndimage.binary_fill_holes(part == KEY) & (part != KEY)
    if most:
        names, count = ndimage.label(holes)
        sizes = ndimage.sum_labels(holes, names, np.arange(count + 1))
        holes &= sizes[names] <= most
    expected = keys.copy()
    expected[view.slices] = np.where(holes & ~np.isin(part, locked), KEY, part)
    np.testing.assert_array_equal(after(keys, fill_holes(keys, KEY, most, window, locked)), expected)


@settings(max_examples=150, deadline=None)
@given(masks_and_windows(), st.integers(1, 6), st.sampled_from([(), (LOCKED,)]))
def test_growing_is_by_exact_distance(given_: tuple[Keys, Window | None], by: int, locked: tuple[int, ...]) -> None:
    keys, window = given_
    near = ndimage.distance_transform_edt(keys != KEY) <= by if (keys == KEY).any() else np.zeros(keys.shape, bool)
    expected = only_inside(keys, np.where(near & ~np.isin(keys, locked), KEY, keys), window)
    np.testing.assert_array_equal(after(keys, grow(keys, KEY, by, window, locked)), expected)


@settings(max_examples=150, deadline=None)
@given(masks_and_windows(), st.integers(1, 6))
def test_shrinking_leaves_pixels_without_label(given_: tuple[Keys, Window | None], by: int) -> None:
    keys, window = given_
    own = keys == KEY
    edge = own & (ndimage.distance_transform_edt(own) <= by) if not own.all() else np.zeros(keys.shape, bool)
    expected = only_inside(keys, np.where(edge, VOID, keys), window)
    np.testing.assert_array_equal(after(keys, shrink(keys, KEY, by, window, (LOCKED,))), expected)


@settings(max_examples=150, deadline=None)
@given(masks(), st.integers(1, 5))
def test_smoothing_is_a_blur_cut_at_one_half(keys: Keys, by: int) -> None:
    own = keys == KEY
    sigma = 0.741 * by
    blurred = ndimage.gaussian_filter(own.astype(float), sigma, mode="reflect", radius=int(np.ceil(4 * sigma)))
    clear = abs(blurred - 0.5) > 1e-3
    changed = after(keys, smooth(keys, KEY, by, None, (LOCKED,)))
    expected = np.where(keys == LOCKED, False, blurred > 0.5)
    np.testing.assert_array_equal((changed == KEY)[clear], expected[clear])
    assert not (changed[own & (changed != KEY)] == LOCKED).any()
    kept = ~own & (changed != KEY)
    np.testing.assert_array_equal(changed[kept], keys[kept])


@settings(max_examples=200, deadline=None)
@given(masks(), st.integers(1, 12))
def test_specks_become_what_is_nearest(keys: Keys, most: int) -> None:
    own = keys == KEY
    names, count = ndimage.label(own, SQUARE)
    sizes = ndimage.sum_labels(own, names, np.arange(count + 1))
    specks = own & (sizes[names] <= most)
    changed = after(keys, remove_specks(keys, KEY, most, None, (LOCKED,)))
    np.testing.assert_array_equal(changed[~specks], keys[~specks])
    for y, x in np.argwhere(specks):
        distance = {
            value: ndimage.distance_transform_edt(keys != value)[y, x] for value in np.unique(keys) if value != KEY
        }
        nearest = min(distance.values(), default=0.0)
        allowed = {value for value, far in distance.items() if far <= 1.1 * nearest} or {VOID}
        assert changed[y, x] in {VOID if value == LOCKED else value for value in allowed}


@pytest.mark.parametrize("by", [9, 20, 61])
def test_wide_smoothing_is_close_to_the_same_blur(by: int) -> None:
    random = np.random.default_rng(by)
    keys = np.where(ndimage.gaussian_filter(random.normal(size=(300, 400)), 12) > 0, KEY, 0).astype(np.uint8)
    blurred = ndimage.gaussian_filter((keys == KEY).astype(float), 0.741 * by, mode="reflect")
    clear = abs(blurred - 0.5) > 0.05
    changed = after(keys, smooth(keys, KEY, by))
    assert clear.mean() > 0.5
    np.testing.assert_array_equal((changed == KEY)[clear], (blurred > 0.5)[clear])


def test_what_a_window_cuts_is_no_speck_and_no_hole() -> None:
    keys = np.zeros((9, 9), np.uint8)
    keys[2:4, 2:8] = KEY
    assert not remove_specks(keys, KEY, 4, Window(6, 0, 3, 9)).pixels
    assert remove_specks(keys, KEY, 4, Window(6, 0, 3, 9)).window.w == 0
    ring = np.full((9, 9), KEY, np.uint8)
    ring[3:6, 3:6] = VOID
    assert not fill_holes(ring, KEY, 0, Window(0, 0, 5, 9)).pixels
    assert fill_holes(ring, KEY, 0, Window(1, 1, 7, 7)).pixels == 9
    corner = np.zeros((5, 5), np.uint8)
    corner[0, 0] = KEY  # at the image's border: nothing of it can be outside
    assert remove_specks(corner, KEY, 1, Window(0, 0, 2, 2)).pixels == 1


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_patch_is_small_and_leaves_the_mask_alone(operation: str) -> None:
    keys = np.full((400, 300), 1, np.uint8)
    keys[100:110, 50:60] = KEY
    keys[104, 54] = VOID
    keys[102, 70] = KEY
    before = keys.copy()
    patch = change_mask(operation, keys, KEY, 2)
    assert 0 < patch.pixels < 200
    assert patch.changed_hw.size < 40 * 40
    np.testing.assert_array_equal(keys, before)
    outside = Patch.between(keys, after(keys, patch))
    assert outside.window == patch.window
    np.testing.assert_array_equal(outside.changed_hw, patch.changed_hw)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_class_that_is_not_there_changes_nothing(operation: str) -> None:
    assert change_mask(operation, np.full((5, 5), 1, np.uint8), KEY, 2).pixels == 0


@pytest.mark.parametrize("operation", OPERATIONS)
def test_tiles_join_without_a_seam(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    blobs = ndimage.gaussian_filter(random.normal(size=(150, 90)), 3)
    keys = np.where(blobs > 0, KEY, np.where(blobs > -0.05, LOCKED, VOID)).astype(np.uint8)
    keys[random.random(keys.shape) < 0.02] = KEY
    keys[random.random(keys.shape) < 0.02] = VOID
    whole = after(keys, change_mask(operation, keys, KEY, 3, None, (LOCKED,)))
    assert (whole != keys).any()
    monkeypatch.setattr(mask_operations, "TILE_PX", 7)
    np.testing.assert_array_equal(after(keys, change_mask(operation, keys, KEY, 3, None, (LOCKED,))), whole)


@pytest.mark.parametrize(
    ("operation", "key", "amount", "window", "words"),
    [
        ("melt", KEY, 1, None, "no operation 'melt'.*fill-holes"),
        ("grow", 255, 1, None, "255 is not the key of a class"),
        ("grow", LOCKED, 1, None, "locked"),
        ("grow", KEY, 0, None, "amount is 0 pixels; expected 1 to 500"),
        ("shrink", KEY, 501, None, "amount is 501"),
        ("remove-specks", KEY, 0, None, "amount is 0"),
        ("fill-holes", KEY, -1, None, "amount is -1"),
        ("smooth", KEY, 1, Window(5, 0, 3, 3), "holds no pixel"),
    ],
)
def test_wrong_arguments_are_named(operation: str, key: int, amount: int, window: Window | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        change_mask(operation, np.full((5, 5), KEY, np.uint8), key, amount, window, (LOCKED,))
