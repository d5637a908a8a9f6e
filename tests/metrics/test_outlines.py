"""Boundary F and surface Dice against scipy's distances, MONAI and the definition's own words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import label_maps as maps
from pixelwise.metrics import outlines
from pixelwise.metrics.outlines import TOLERANCES_PX, boundary_f, edges, outline_counts, surface_dice
from pixelwise.records import VOID

ndimage = pytest.importorskip(
    "scipy.ndimage", reason="scipy, which scikit-learn brings, is what these are compared with"
)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([2, 7, 16, 17, 70]), st.booleans())
def test_boundary_f_is_what_distance_transforms_say(seed: int, classes: int, void: bool) -> None:
    predicted, true = maps(seed, classes, void)
    counts, _ = outline_counts(predicted, true, classes)
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
    counts, _ = outline_counts(predicted, true, classes)
    one_hot = [torch.from_numpy(np.stack([m == c for c in range(classes)])[None].astype(np.float32))
               for m in (predicted, true)]  # fmt: skip
    for i, tolerance in enumerate(TOLERANCES_PX):
        expected = metrics.compute_surface_dice(*one_hot, [float(tolerance)] * (classes - 1))[0].numpy()
        np.testing.assert_allclose(surface_dice(counts)[i, 1:], expected, rtol=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([2, 5, 70]), st.booleans())
def test_boundaries_of_one_class_everywhere_are_counted_as_if_it_had_been_predicted(
    seed: int, classes: int, void: bool
) -> None:
    _, true = maps(seed, classes, void)
    guessed = outline_counts(true, true, classes)[1]
    for c in range(classes):
        everywhere = np.where(true == VOID, VOID, c).astype(np.uint8)
        assert (guessed[:, :, c] == outline_counts(everywhere, true, classes)[0][:, :, c]).all()


def test_a_map_agrees_with_itself_and_one_class_has_no_boundary() -> None:
    _, true = maps(1, 4, void=True)
    f = boundary_f(outline_counts(true, true, 4)[0])
    assert np.nanmin(f) == 1
    flat = np.zeros((9, 9), np.uint8)
    assert np.isnan(boundary_f(outline_counts(flat, flat, 2)[0])).all()
    halves = flat.copy()
    halves[4:] = 1
    assert boundary_f(outline_counts(flat, halves, 2)[0]).tolist() == [[0, 0]] * len(TOLERANCES_PX)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_scores_do_not_fall_as_tolerance_grows(seed: int) -> None:
    predicted, true = maps(seed, 5, void=True)
    counts, _ = outline_counts(predicted, true, 5)
    assert (np.diff(counts, axis=0) >= 0).all()


@pytest.mark.parametrize("classes", [3, 63, 64, 200])
def test_counting_in_strips_is_counting_at_once(monkeypatch: pytest.MonkeyPatch, classes: int) -> None:
    predicted, true = maps(3, classes, void=True)
    whole = outline_counts(predicted, true, classes)
    for rows in (1, 4, 7):
        monkeypatch.setattr(outlines, "STRIP", rows * (true.shape[1] + TOLERANCES_PX[-1]))
        for found, expected in zip(outline_counts(predicted, true, classes), whole, strict=True):
            assert (found == expected).all()
