"""Intervals against scipy's bootstrap; scores of sums against scikit-learn; p-values against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.metrics.bootstrap import drawn_sums, interval, p_value
from pixelwise.metrics.confusion import class_counts, count_pairs, scores, scores_of_sums


def counts(seed: int, images: int, classes: int) -> np.ndarray:
    """[N, 3, C] of images of unequal difficulty."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(images):
        true = rng.integers(0, classes, (9, 11)).astype(np.uint8)
        wrong = rng.random(true.shape) < rng.random()
        predicted = np.where(wrong, rng.integers(0, classes, true.shape), true).astype(np.uint8)
        matrix = count_pairs(predicted, true, classes)
        found.append([np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)])
    return np.array(found, np.uint32)


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_scores_of_sums_are_those_of_the_matrix(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 5, (classes, classes)) * (rng.random((classes, classes)) < 0.6)
    expected = scores(matrix)
    found = scores_of_sums(class_counts(matrix))
    for name in ("accuracy", "class_accuracy", "miou", "weighted_iou", "mean_dice"):
        np.testing.assert_allclose(found[name], getattr(expected, name), err_msg=name)
    for name in ("iou", "dice", "precision", "recall"):
        np.testing.assert_allclose(found[name], getattr(expected, f"{name}_C"))


def test_dice_and_weighted_iou_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    t, p = rng.integers(0, 4, 3000).astype(np.uint8), rng.integers(0, 4, 3000).astype(np.uint8)
    t[:900] = p[:900] = 1
    found = scores(count_pairs(p[None], t[None], 4))
    np.testing.assert_allclose(found.dice_C, metrics.f1_score(t, p, average=None))
    assert found.weighted_iou == pytest.approx(metrics.jaccard_score(t, p, average="weighted"))


def test_the_interval_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    data = counts(1, 60, 3)
    found = interval(scores_of_sums(drawn_sums(data, draws=4000))["miou"])

    def miou(chosen: np.ndarray) -> float:
        return float(scores_of_sums(data[chosen.astype(int)].sum(axis=0))["miou"])

    theirs = stats.bootstrap((np.arange(60),), miou, method="percentile", n_resamples=4000, vectorized=False,
                             rng=np.random.default_rng(1)).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert found[0] == pytest.approx(theirs.low, abs=0.08 * width)
    assert found[1] == pytest.approx(theirs.high, abs=0.08 * width)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    everything = counts(2, 2000, 3)
    truth = float(scores_of_sums(everything.sum(axis=0))["accuracy"])
    rng = np.random.default_rng(3)
    inside = 0
    for trial in range(200):
        sample = everything[rng.choice(len(everything), 50)]
        low, high = interval(scores_of_sums(drawn_sums(sample, draws=300, seed=trial))["accuracy"])
        inside += low <= truth <= high
    assert 0.89 <= inside / 200 <= 0.99


def test_the_same_seed_draws_the_same() -> None:
    data = counts(4, 10, 2)
    assert (drawn_sums(data, 50, seed=1) == drawn_sums(data, 50, seed=1)).all()
    assert (drawn_sums(data, 50, seed=1) != drawn_sums(data, 50, seed=2)).any()
    assert (drawn_sums(data, 50).sum(axis=(1, 2)) > 0).all()


def test_p_value() -> None:
    assert p_value(np.ones(999)) == pytest.approx(2 / 1000)
    assert p_value(np.zeros(999)) == 1
    assert p_value(np.concatenate([np.ones(950), -np.ones(49)])) == pytest.approx(0.1)
    assert np.isnan(p_value(np.array([np.nan])))


def test_a_class_that_is_nowhere_has_no_interval() -> None:
    data = counts(5, 6, 2)
    data = np.concatenate([data, np.zeros((6, 3, 1), np.uint32)], axis=2)
    ends = interval(scores_of_sums(drawn_sums(data, 50))["iou"])
    assert np.isnan(ends[:, 2]).all()
    assert (ends[0, :2] <= ends[1, :2]).all()
