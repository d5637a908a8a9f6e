"""Bands around boundaries against Boundary IoU's own way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import label_maps as maps
from pixelwise.metrics.boundary import (
    DISTANCES_PX,
    band_counts,
    banded_matrix,
    bands,
    baseline_counts,
    boundary_iou,
    frame_bands,
)
from pixelwise.metrics.confusion import count_pairs
from pixelwise.records import VOID

ndimage = pytest.importorskip(
    "scipy.ndimage", reason="scipy, which scikit-learn brings, is what these are compared with"
)


def authors_boundary(mask: np.ndarray, distance: int) -> np.ndarray:
    """Boundary IoU's own way: the mask less itself eroded so many times, with nothing outside the image."""
    eroded = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)
    return np.asarray(mask & ~eroded)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 7), st.booleans())
def test_boundary_iou_is_that_of_its_authors(seed: int, classes: int, void: bool) -> None:
    predicted, true = maps(seed, classes, void)
    plain, framed = banded_matrix(predicted, true, bands(predicted), bands(true), classes)
    assert (plain.sum(axis=(2, 3)) == count_pairs(predicted, true, classes)).all()
    found = boundary_iou(band_counts(framed))
    for i, distance in enumerate(DISTANCES_PX):
        for c in range(classes):
            p, t = authors_boundary(predicted == c, distance), authors_boundary(true == c, distance)
            union = (p | t).sum()
            expected = (p & t).sum() / union if union else np.nan
            np.testing.assert_allclose(found[i, c], expected, err_msg=f"class {c}, {distance} px")


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.booleans())
def test_one_class_everywhere_is_counted_as_if_it_had_been_predicted(seed: int, void: bool) -> None:
    _, true = maps(seed, 4, void)
    guessed = baseline_counts(true, 4)
    for c in range(4):
        everywhere = np.where(true == VOID, VOID, c).astype(np.uint8)
        _, framed = banded_matrix(everywhere, true, bands(everywhere), bands(true), 4)
        assert (guessed[:, :, c] == band_counts(framed)[1:, :, c]).all()


def test_bands_grow_from_boundaries_and_the_frame_is_none() -> None:
    labels = np.zeros((40, 40), np.uint8)
    assert (bands(labels) == len(DISTANCES_PX)).all()
    labels[:, 20:] = 1
    assert bands(labels)[7, 17:23].tolist() == [2, 1, 0, 0, 1, 2]
    assert bands(labels)[7, 0] == len(DISTANCES_PX)
    assert frame_bands(40, 40)[0, 0] == 0
    assert frame_bands(40, 40)[20, 20] == len(DISTANCES_PX)
