"""Boundary scores against scipy, MONAI and the definition's own words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import blobs
from pixelwise.metrics.boundary import (
    DISTANCES_PX,
    TOLERANCES_PX,
    band_counts,
    banded_matrix,
    bands,
    boundary_f,
    boundary_iou,
    edge_counts,
    edges,
    frame_bands,
    guess_counts,
    guess_edge_counts,
    surface_dice,
)
from pixelwise.metrics.confusion import count_pairs
from pixelwise.records import VOID, Labels

ndimage = pytest.importorskip(
    "scipy.ndimage", reason="scipy, which scikit-learn brings, is what these are compared with"
)


def maps(seed: int, classes: int, void: bool, height: int = 47, width: int = 61) -> tuple[Labels, Labels]:
    """Predicted and true labels with regions of many sizes; both void at the same places."""
    true = blobs(seed, classes, height, width)
    predicted = np.where(blobs(seed + 1, 5, height, width) == 0, blobs(seed + 2, classes, height, width), true)
    if void:
        hidden = blobs(seed + 3, 6, height, width) == 0
        predicted, true = np.where(hidden, VOID, predicted), np.where(hidden, VOID, true)
    return predicted.astype(np.uint8), true.astype(np.uint8)


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


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([2, 7, 16, 17, 70]), st.booleans())
def test_boundary_f_is_what_distance_transforms_say(seed: int, classes: int, void: bool) -> None:
    predicted, true = maps(seed, classes, void)
    counts = edge_counts(predicted, true, classes)
    for c in np.unique([predicted, true]):
        if c == VOID:
            continue
        p, t = edges(predicted) & (predicted == c), edges(true) & (true == c)
        assert (edges(true) & (true == c) == ((true == c) & ~ndimage.binary_erosion(true == c, border_value=1))).all()
        to_p = ndimage.distance_transform_edt(~p) if p.any() else np.full(p.shape, np.inf)
        to_t = ndimage.distance_transform_edt(~t) if t.any() else np.full(t.shape, np.inf)
        for i, tolerance in enumerate(TOLERANCES_PX):
            expected = [p.sum(), (to_t[p] <= tolerance).sum(), t.sum(), (to_p[t] <= tolerance).sum()]
            assert counts[i, :, c].tolist() == expected, (c, tolerance)


@pytest.mark.parametrize("classes", [2, 5])
def test_surface_dice_is_monais(classes: int) -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics", reason="monai is not installed: pip install --no-deps monai")
    predicted, true = (np.pad(m, 3) for m in maps(5, classes, void=False))  # the frame, which MONAI counts, is class 0
    counts = edge_counts(predicted, true, classes)
    one_hot = [torch.from_numpy(np.stack([m == c for c in range(classes)])[None].astype(np.float32))
               for m in (predicted, true)]  # fmt: skip
    for i, tolerance in enumerate(TOLERANCES_PX):
        expected = metrics.compute_surface_dice(*one_hot, [float(tolerance)] * (classes - 1))[0].numpy()
        np.testing.assert_allclose(surface_dice(counts)[i, 1:], expected, rtol=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.booleans())
def test_one_class_everywhere_is_counted_as_if_it_had_been_predicted(seed: int, void: bool) -> None:
    _, true = maps(seed, 4, void)
    guessed = guess_counts(true, 4)
    for c in range(4):
        everywhere = np.where(true == VOID, VOID, c).astype(np.uint8)
        _, framed = banded_matrix(everywhere, true, bands(everywhere), bands(true), 4)
        assert (guessed[:, :, c] == band_counts(framed)[1:, :, c]).all()


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([2, 5, 70]), st.booleans())
def test_boundaries_of_one_class_everywhere_are_counted_as_if_it_had_been_predicted(
    seed: int, classes: int, void: bool
) -> None:
    _, true = maps(seed, classes, void)
    guessed = guess_edge_counts(true, classes)
    for c in range(classes):
        everywhere = np.where(true == VOID, VOID, c).astype(np.uint8)
        assert (guessed[:, :, c] == edge_counts(everywhere, true, classes)[:, :, c]).all()


def test_bands_grow_from_boundaries_and_the_frame_is_none() -> None:
    labels = np.zeros((40, 40), np.uint8)
    assert (bands(labels) == len(DISTANCES_PX)).all()
    labels[:, 20:] = 1
    assert bands(labels)[7, 17:23].tolist() == [2, 1, 0, 0, 1, 2]
    assert bands(labels)[7, 0] == len(DISTANCES_PX)
    assert frame_bands(40, 40)[0, 0] == 0
    assert frame_bands(40, 40)[20, 20] == len(DISTANCES_PX)


def test_a_map_agrees_with_itself_and_one_class_has_no_boundary() -> None:
    _, true = maps(1, 4, void=True)
    f = boundary_f(edge_counts(true, true, 4))
    assert np.nanmin(f) == 1
    flat = np.zeros((9, 9), np.uint8)
    assert np.isnan(boundary_f(edge_counts(flat, flat, 2))).all()
    halves = flat.copy()
    halves[4:] = 1
    assert boundary_f(edge_counts(flat, halves, 2)).tolist() == [[0, 0]] * len(TOLERANCES_PX)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_scores_do_not_fall_as_tolerance_grows(seed: int) -> None:
    predicted, true = maps(seed, 5, void=True)
    counts = edge_counts(predicted, true, 5)
    assert (np.diff(counts, axis=0) >= 0).all()
