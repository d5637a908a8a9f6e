"""Regions and kinds of error against scipy's labelling and the rules' own words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import blobs
from pixelwise.metrics.boundary import bands
from pixelwise.metrics.confusion import count_pairs, scores
from pixelwise.metrics.error_types import KINDS, gains_if_fixed, kinds_of_error, suspects
from pixelwise.metrics.regions import FOUND, SIZES_PX, by_size, regions
from pixelwise.records import VOID

ndimage = pytest.importorskip(
    "scipy.ndimage", reason="scipy, which scikit-learn brings, is what these are compared with"
)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 60), st.integers(1, 70))
def test_regions_are_scipys(seed: int, classes: int, height: int, width: int) -> None:
    true, predicted = blobs(seed, classes, height, width), blobs(seed + 1, classes, height, width)
    true[blobs(seed + 2, 5, height, width) == 0] = VOID
    predicted[true == VOID] = VOID
    found = regions(predicted, true)
    for c in (*range(classes), VOID):
        expected, count = ndimage.label(true == c)
        pixels = np.bincount(expected.ravel(), minlength=count + 1)[1:]
        right = np.bincount(expected[predicted == true], minlength=count + 1)[1:]
        mine = found.class_R == c
        assert sorted(zip(found.pixels_R[mine], found.right_R[mine], strict=True)) == sorted(
            zip(pixels, right, strict=True)
        )


def test_regions_by_size() -> None:
    true = np.zeros((200, 300), np.uint8)
    true[10:20, 10:20] = 1  # 100 px: under 16²
    true[50:70, 50:70] = 1  # 400 px: 16² to 32²
    predicted = true.copy()
    predicted[50:70, 50:60] = 0  # half of it is right, which is enough
    predicted[10:20, 10:20] = 2
    sums = by_size(regions(predicted, true))
    assert sums[0, 1].tolist() == [1, 0, 100, 0]
    assert sums[1, 1].tolist() == [1, 1, 400, 200]
    assert sums[4, 0].tolist() == [1, 1, 200 * 300 - 500, 200 * 300 - 500]
    assert FOUND == 0.5
    assert SIZES_PX[0] == 16


def scene() -> tuple[np.ndarray, np.ndarray]:
    """One error of each kind, in a corner of its own."""
    true = np.zeros((120, 160), np.uint8)
    true[20:60, 20:60] = 1
    true[90:100, 140:150] = 2
    predicted = true.copy()
    predicted[20:22, 20:60] = 0  # its outline a little off
    predicted[35:45, 35:45] = 0  # a hole inside
    predicted[90:100, 140:150] = 0  # a whole region
    predicted[70:90, 70:100] = 2  # sure of something where the mask has nothing
    return predicted, true


def test_each_error_is_of_its_kind() -> None:
    predicted, true = scene()
    wrong = predicted != true
    confidence = np.full(true.shape, 0.6, np.float32)
    confidence[70:90, 70:100] = 0.99
    every = slice(None, None, 4)
    found = suspects(predicted, true, confidence[every, every], every, every)
    (suspect,), pixels = found
    assert pixels is not None
    assert (suspect.x, suspect.y, suspect.width, suspect.height) == (70, 70, 30, 20)
    assert (suspect.true, suspect.predicted, suspect.pixels) == (0, 2, 600)
    at = np.flatnonzero(wrong)
    kinds = np.full(true.shape, 255, np.uint8)
    regions_found = regions(predicted, true)
    lost = regions_found.lost_R()[regions_found.at(at)]
    kinds.ravel()[at] = kinds_of_error(bands(true).ravel()[at], lost, pixels.ravel()[at])
    assert set(kinds[20:22, 20:60].ravel()) == {KINDS.index("boundary")}
    assert set(kinds[37:43, 37:43].ravel()) == {KINDS.index("interior")}
    assert set(kinds[90:100, 140:150].ravel()) == {KINDS.index("region")}
    assert set(kinds[70:90, 70:100].ravel()) == {KINDS.index("label")}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_mending_is_what_measuring_again_says(seed: int, classes: int) -> None:
    predicted, true = blobs(seed, classes, 40, 50), blobs(seed + 1, classes, 40, 50)
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, len(KINDS), true.shape)
    errors = np.stack([count_pairs(predicted[m][None], true[m][None], classes)
                       for m in ((kind == k) & (predicted != true) for k in range(len(KINDS)))])  # fmt: skip
    matrix = count_pairs(predicted, true, classes)
    gains = gains_if_fixed(matrix, errors)
    for k, name in enumerate(KINDS):
        mend = (kind == k) & (predicted != true)
        better = np.where(mend & (name != "label"), true, predicted).astype(np.uint8)
        truth = np.where(mend & (name == "label"), predicted, true).astype(np.uint8)
        expected = scores(count_pairs(better, truth, classes)).miou - scores(matrix).miou
        assert gains[name] == pytest.approx(expected, abs=1e-12)
