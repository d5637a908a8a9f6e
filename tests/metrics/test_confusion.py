"""The one confusion matrix against torchmetrics and scikit-learn, and what must hold whatever the labels are."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.metrics.confusion import count_pairs, scores
from pixelwise.records import VOID, ClassList, Labels


def random_pair(seed: int, classes: int, absent: int, void_share: float) -> tuple[Labels, Labels]:
    """Predicted and true labels; the last `absent` classes occur in neither."""
    rng = np.random.default_rng(seed)
    predicted = rng.integers(0, classes - absent, (23, 31)).astype(np.uint8)
    true = np.where(rng.random((23, 31)) < 0.5, predicted, rng.integers(0, classes - absent, (23, 31))).astype(np.uint8)
    true[rng.random(true.shape) < void_share] = VOID
    return predicted, true


@pytest.mark.parametrize(("classes", "absent"), [(2, 0), (5, 0), (7, 2), (19, 5)])
@pytest.mark.parametrize("void_share", [0.0, 0.3])
def test_equal_to_scikit_learn(classes: int, absent: int, void_share: float) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    predicted, true = random_pair(classes, classes, absent, void_share)
    known = true != VOID
    t, p, ids = true[known], predicted[known], list(range(classes))
    matrix = count_pairs(predicted, true, classes)
    found = scores(matrix)
    assert (matrix == metrics.confusion_matrix(t, p, labels=ids)).all()
    assert found.accuracy == pytest.approx(metrics.accuracy_score(t, p))
    present = slice(0, classes - absent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn says that classes are absent
        iou = metrics.jaccard_score(t, p, labels=ids, average=None, zero_division=0)
        recall = metrics.recall_score(t, p, labels=ids, average=None, zero_division=0)
        precision = metrics.precision_score(t, p, labels=ids, average=None, zero_division=0)
    np.testing.assert_allclose(found.iou_C[present], iou[present])
    np.testing.assert_allclose(found.recall_C[present], recall[present])
    np.testing.assert_allclose(found.precision_C[present], precision[present])
    assert np.isnan(found.iou_C[classes - absent :]).all()
    assert found.miou == pytest.approx(iou[present].mean())
    assert found.class_accuracy == pytest.approx(metrics.balanced_accuracy_score(t, p))


@pytest.mark.parametrize("absent", [0, 2])
def test_equal_to_torchmetrics(absent: int) -> None:
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.functional.classification")
    classes = 6
    predicted, true = random_pair(3, classes, absent, 0.2)
    p, t = torch.from_numpy(predicted.astype(np.int64)), torch.from_numpy(true.astype(np.int64))
    matrix = count_pairs(predicted, true, classes)
    found = scores(matrix)
    reference = classification.multiclass_confusion_matrix(p, t, num_classes=classes, ignore_index=VOID)
    assert (matrix == reference.numpy()).all()
    iou = classification.multiclass_jaccard_index(p, t, num_classes=classes, ignore_index=VOID, average=None).numpy()
    np.testing.assert_allclose(found.iou_C[: classes - absent], iou[: classes - absent], rtol=1e-5)
    macro = classification.multiclass_jaccard_index(p, t, num_classes=classes, ignore_index=VOID, average="macro")
    assert found.miou == pytest.approx(float(macro), rel=1e-5)  # torchmetrics leaves absent classes out as well


@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.floats(0, 1))
def test_void_pixels_count_nowhere(seed: int, classes: int, void_share: float) -> None:
    predicted, true = random_pair(seed, classes, 0, void_share)
    other = predicted.copy()
    other[true == VOID] = (other[true == VOID] + 1) % classes
    assert (count_pairs(predicted, true, classes) == count_pairs(other, true, classes)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.floats(0, 1))
def test_every_score_is_a_share_or_undefined(seed: int, classes: int, void_share: float) -> None:
    predicted, true = random_pair(seed, classes, 0, void_share)
    found = scores(count_pairs(predicted, true, classes))
    assert found.pixels == int((true != VOID).sum())
    for values in (found.iou_C, found.recall_C, found.precision_C, np.array([found.accuracy, found.miou])):
        known = values[~np.isnan(values)]
        assert ((known >= 0) & (known <= 1)).all()
    known = ~np.isnan(found.iou_C) & ~np.isnan(found.recall_C)
    assert (found.iou_C[known] <= found.recall_C[known] + 1e-12).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_counting_in_parts_is_counting_at_once(seed: int, classes: int) -> None:
    predicted, true = random_pair(seed, classes, 0, 0.1)
    parts = count_pairs(predicted[:9], true[:9], classes) + count_pairs(predicted[9:], true[9:], classes)
    assert (parts == count_pairs(predicted, true, classes)).all()


def test_all_void_is_undefined_and_silent() -> None:
    void = np.full((4, 4), VOID, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scores(count_pairs(np.zeros((4, 4), np.uint8), void, 3))
    assert found.pixels == 0
    assert np.isnan(found.miou)
    assert np.isnan(found.accuracy)
    names = ClassList(("a", "b", "c"), ((0, 0, 0),) * 3)
    assert found.to_json(names)["miou"] is None


def test_a_class_that_is_only_predicted_has_an_iou_of_zero() -> None:
    found = scores(count_pairs(np.array([[1, 0]], np.uint8), np.array([[0, 0]], np.uint8), 3))
    assert found.iou_C[1] == 0
    assert np.isnan(found.iou_C[2])
    assert found.miou == pytest.approx(0.25)


def test_ids_outside_the_classes_are_refused() -> None:
    zeros, threes = np.zeros((2, 2), np.uint8), np.full((2, 2), 3, np.uint8)
    for predicted, true in ((threes, zeros), (zeros, threes)):
        with pytest.raises(ValueError, match="outside the 3 classes"):
            count_pairs(predicted, true, 3)
    with pytest.raises(ValueError, match="must agree"):
        count_pairs(zeros, np.zeros((2, 3), np.uint8), 3)
