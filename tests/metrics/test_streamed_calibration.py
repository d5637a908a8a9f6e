"""Streamed calibration against torchmetrics, scikit-learn, and the full-resolution scores that are never made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.metrics.calibration import calibration_of, confidence_sums, sampled_confidence
from pixelwise.records import bilinear_lookup


def guesses(seed: int, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities [N, 4], labels [N], and whether the likeliest is right."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (number, 4))
    probability = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(4, p=row**0.7 / (row**0.7).sum()) for row in probability])
    return probability, labels, probability.argmax(axis=1) == labels


def test_the_error_is_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torchmetrics.functional.classification").multiclass_calibration_error
    probability, labels, right = guesses(0, 3000)
    found = calibration_of(confidence_sums(probability.max(axis=1), right))
    expected = theirs(torch.from_numpy(probability), torch.from_numpy(labels), num_classes=4, n_bins=15, norm="l1")
    assert found.error == pytest.approx(float(expected), abs=1e-6)
    assert found.pixels == 3000


def test_the_reliability_diagram_is_scikit_learns() -> None:
    theirs = pytest.importorskip("sklearn.calibration").calibration_curve
    probability, _, right = guesses(1, 5000)
    found = calibration_of(confidence_sums(probability.max(axis=1), right))
    accuracy, confidence = theirs(right, probability.max(axis=1), n_bins=15)
    known = found.bins[:, 0] > 0
    np.testing.assert_allclose(found.bins[known, 1], confidence)
    np.testing.assert_allclose(found.bins[known, 2], accuracy)
    assert found.bins[:, 0].sum() == pytest.approx(1)


def test_risk_against_coverage_is_that_of_sorting() -> None:
    rng = np.random.default_rng(2)
    confidence = (rng.permutation(1500)[:900] + 0.5) / 1500  # no two in one part, so that sorting has no ties
    right = rng.random(900) < confidence
    found = calibration_of(confidence_sums(confidence, right))
    order = np.argsort(-confidence)
    expected = 1 - right[order].cumsum() / np.arange(1, 901)
    np.testing.assert_allclose(found.risk, expected, atol=1e-12)
    np.testing.assert_allclose(found.coverage, np.arange(1, 901) / 900)
    assert found.area_under_risk == pytest.approx(expected.mean())


def test_nothing_seen_is_undefined() -> None:
    found = calibration_of(confidence_sums(np.zeros(0), np.zeros(0, bool)))
    assert found.pixels == 0
    assert np.isnan(found.error)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 50), st.integers(0, 3), st.integers(1, 4))
def test_confidence_is_that_of_the_full_resolution(seed: int, height: int, width: int, start: int, step: int) -> None:
    scores = np.random.default_rng(seed).normal(0, 3, (5, 7, 9)).astype(np.float32)
    rows, columns = slice(start % height, None, step), slice(start % width, None, step)
    found = sampled_confidence(scores, height, width, rows, columns, temperature=1.7)
    for i, y in enumerate(range(*rows.indices(height))):
        for j, x in enumerate(range(*columns.indices(width))):
            full = bilinear_lookup(scores, (x + 0.5) / width, (y + 0.5) / height) / 1.7
            assert found[i, j] == pytest.approx(np.exp(full).max() / np.exp(full).sum(), rel=1e-4)
