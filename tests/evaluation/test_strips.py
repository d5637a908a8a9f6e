"""What is counted some rows at a time, for the memory of large images, is what the whole image says."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import blobs
from pixelwise.evaluation import measure_image as measuring
from pixelwise.evaluation.measure_image import Sums, measure, rows_of_strips
from pixelwise.metrics import calibration, outlines
from pixelwise.metrics.boundary import band_counts, banded_matrix, bands, baseline_counts
from pixelwise.metrics.confusion import count_pairs
from pixelwise.metrics.error_types import KINDS, Suspect, kinds_of_error, suspects
from pixelwise.metrics.regions import by_size, regions
from pixelwise.records import VOID

Maps = tuple[np.ndarray, np.ndarray, np.ndarray]


def drawn(seed: int, classes: int, height: int, width: int, void: bool) -> Maps:
    """Predicted and true labels, and scores of a network that is sure of itself."""
    true = blobs(seed, classes, height, width)
    predicted = np.where(blobs(seed + 1, 4, height, width) == 0, blobs(seed + 2, classes, height, width), true)
    if void:
        true[blobs(seed + 3, 7, height, width) == 0] = VOID
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, (classes, max(height // 8, 1), max(width // 8, 1))).astype(np.float32)
    scores[0] += 9
    return predicted.astype(np.uint8), true, scores


def in_strips(maps: Maps, classes: int, rows: int) -> tuple[Sums, list[Suspect]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "STRIP_PIXELS", 1)
        patch.setattr(measuring, "MARGIN_ROWS", rows)
        patch.setattr(outlines, "STRIP", rows * (maps[1].shape[1] + outlines.REACH_PX))
        patch.setattr(calibration, "STRIP_VALUES", 200)
        return measure(*maps, classes, temperature=1.3, turn=rows)


def same(first: Sums, second: Sums) -> None:
    for field in fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        assert a.dtype == b.dtype
        if field.name == "confidence":
            # Exponentials of few values and of many may differ in the last bit, and a pixel fall into the next bin.
            assert np.allclose(a.sum(axis=1), b.sum(axis=1), rtol=1e-6)
            assert np.abs(a - b).sum() <= 6
        else:
            assert a.tobytes() == b.tobytes(), field.name


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10_000), st.sampled_from([1, 2, 7, 70]), st.integers(1, 150), st.integers(1, 90), st.booleans(),
    st.integers(1, 40),
)  # fmt: skip
def test_strips_add_up_to_the_whole(seed: int, classes: int, height: int, width: int, void: bool, rows: int) -> None:
    maps = drawn(seed, classes, height, width, void)
    assert len(rows_of_strips(height, width)) == 1  # usual sizes are one strip
    whole = measure(*maps, classes, temperature=1.3, turn=rows)
    strips = in_strips(maps, classes, rows)
    same(whole[0], strips[0])
    assert whole[1] == strips[1]


def test_regions_that_wind_through_strips_and_meet_late() -> None:
    """Two arms that meet in the last row are one region; so is a comb's, whose teeth end in different strips."""
    true = np.zeros((90, 80), np.uint8)
    true[:, 10:14] = true[:, 60:64] = true[88:, 10:64] = 1
    for x in range(20, 56, 6):
        true[x : x + 30, x : x + 3] = 2
    true[60:62, 20:58] = 2
    true[30:50, 70:76] = 3  # is lost as a whole, over several strips
    predicted = true.copy()
    predicted[20:70, 10:12] = 0
    predicted[30:50, 70:76] = 0
    scores = np.zeros((4, 10, 10), np.float32)
    whole = measure(predicted, true, scores, 4)[0]
    for rows in (1, 2, 7, 33):
        same(whole, strips_of(predicted, true, rows))
    assert whole.kinds[KINDS.index("region"), 3, 0] == 20 * 6
    assert whole.sizes[:, 1, 0].sum() == 1


def strips_of(predicted: np.ndarray, true: np.ndarray, rows: int) -> Sums:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "STRIP_PIXELS", 1)
        patch.setattr(measuring, "MARGIN_ROWS", rows)
        return measure(predicted, true, np.zeros((4, 10, 10), np.float32), 4)[0]


@pytest.mark.parametrize("seed", range(4))
def test_strips_are_what_the_measures_say_of_the_whole_image(seed: int) -> None:
    """Not by way of strips at all: each measure asked for the whole image."""
    classes = 5
    predicted, true, scores = drawn(seed, classes, 170, 130, void=True)
    found, suspected = in_strips((predicted, true, scores), classes, 16)
    predicted = np.where(true == VOID, VOID, predicted).astype(np.uint8)
    plain, framed = banded_matrix(predicted, true, bands(predicted), bands(true), classes)
    assert (found.joint == np.moveaxis(plain.sum(axis=3), 2, 0)).all()
    assert (found.matrix == count_pairs(predicted, true, classes)).all()
    assert (found.bands == band_counts(framed)).all()
    assert (found.baseline_bands == baseline_counts(true, classes)).all()
    whole = regions(predicted, true)
    assert (found.sizes == by_size(whole)[:, :classes]).all()
    wrong = predicted != true
    at = np.flatnonzero(wrong)
    rows, columns = slice(16 % 4, None, 4), slice(16 // 4 % 4, None, 4)
    sure = calibration.sampled_confidence(scores, *true.shape, rows, columns, 1.3)
    expected, patches = suspects(predicted, true, sure, rows, columns)
    assert suspected == expected
    assert expected  # so that the fourth kind is seen too
    assert patches is not None
    kind = kinds_of_error(bands(true).ravel()[at], whole.lost_R()[whole.at(at)], patches.ravel()[at])
    pairs = (kind.astype(int) * classes + true.ravel()[at]) * classes + predicted.ravel()[at]
    assert (found.kinds.ravel() == np.bincount(pairs, minlength=found.kinds.size)).all()
