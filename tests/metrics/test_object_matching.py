"""Matching and scores of objects against independent implementations: pycocotools, scikit-image's contingency table,
and StarDist's matching, HoVer-Net's AJI and COCO's panoptic quality, written here from their papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pixelwise.metrics import object_matching
from pixelwise.metrics.object_matching import match_objects, overlaps
from pixelwise.metrics.object_scores import (
    THRESHOLDS,
    ObjectCounts,
    coco_average_precision,
    headline,
    object_counts,
    rates,
    size_of,
)

optimize = pytest.importorskip("scipy.optimize", reason="scipy, which scikit-image brings, assigns objects here")

Map = NDArray[np.int64]
maps = arrays(np.int64, (5, 6), elements=st.integers(0, 4))  # numbers that are often missing, objects of few pixels
small = settings(deadline=None, max_examples=25)


def boxes(seed: int, objects: int, side: int = 60) -> Map:
    """Rectangles that often lie on each other, the later above."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int64)
    for number in rng.permutation(objects) + 1:
        y, x, height, width = rng.integers(0, side), rng.integers(0, side), *rng.integers(3, 20, 2)
        labels[y : y + height, x : x + width] = number
    return labels


def moved(seed: int, labels: Map) -> Map:
    """A prediction like the truth: shifted by some pixels, some objects lost, others new, all with other numbers."""
    rng = np.random.default_rng(seed)
    found = np.roll(labels, rng.integers(-2, 3, 2), (0, 1)) * 7
    found[np.isin(found, rng.choice(np.unique(found), 2))] = 0
    extra = boxes(seed + 1, 3)
    return np.where(extra > 0, extra + 1000, found)


def iou_table(true: Map, predicted: Map) -> NDArray[np.float64]:
    table = np.zeros((len(numbers(true)), len(numbers(predicted))))
    for i, t in enumerate(numbers(true)):
        for j, p in enumerate(numbers(predicted)):
            table[i, j] = ((true == t) & (predicted == p)).sum() / ((true == t) | (predicted == p)).sum()
    return table


def numbers(labels: Map) -> list[int]:
    return [int(number) for number in np.unique(labels) if number]


def stardist_matching(true: Map, predicted: Map, threshold: float) -> dict[str, float]:
    """Weigert et al. 2020, as their package's `matching`: the assignment with most pairs, then with the highest IoU."""
    iou = iou_table(true, predicted)
    trues, predictions = iou.shape
    right, total = 0, 0.0
    if min(iou.shape) > 0 and (iou >= threshold).any():
        rows, columns = optimize.linear_sum_assignment(-(iou >= threshold).astype(float) - iou / (2 * min(iou.shape)))
        ok = iou[rows, columns] >= threshold
        right, total = int(ok.sum()), float(iou[rows, columns][ok].sum())
    extra, missed = predictions - right, trues - right
    return {"right": right, "extra": extra, "missed": missed, "iou": total}


def hovernet_aji(true: Map, predicted: Map) -> tuple[int, int]:
    """Kumar et al. 2017, algorithm 1."""
    used: set[int] = set()
    shared = joint = 0
    for t in numbers(true):
        best, best_p = 0.0, 0
        for p in numbers(predicted):
            both, either = ((true == t) & (predicted == p)).sum(), ((true == t) | (predicted == p)).sum()
            if both / either > best:
                best, best_p = both / either, p
        if best_p:
            used.add(best_p)
            shared += int(((true == t) & (predicted == best_p)).sum())
            joint += int(((true == t) | (predicted == best_p)).sum())
        else:
            joint += int((true == t).sum())
    return shared, joint + sum(int((predicted == p).sum()) for p in numbers(predicted) if p not in used)


def panoptic(true: Map, predicted: Map, void: NDArray[np.bool_], threshold: float) -> tuple[int, int, int, float]:
    """Kirillov et al. 2019 with COCO's treatment of void, for pairs of at least this IoU."""
    true = np.where(void, 0, true)
    matched_t, matched_p, total = set(), set(), 0.0
    for t in numbers(true):
        for p in numbers(predicted):
            both = int(((true == t) & (predicted == p)).sum())
            union = int((true == t).sum() + (predicted == p).sum() - both - (void & (predicted == p)).sum())
            if both and both / union >= threshold and t not in matched_t and p not in matched_p:
                matched_t.add(t)
                matched_p.add(p)
                total += both / union
    extra = sum(
        (void & (predicted == p)).sum() / (predicted == p).sum() <= 0.5
        for p in numbers(predicted)
        if p not in matched_p
    )
    return len(matched_t), int(extra), len(numbers(true)) - len(matched_t), total


def counted(true: Map, predicted: Map, void: NDArray[np.bool_] | None = None) -> ObjectCounts:
    return object_counts(match_objects(predicted, true, void))


@small
@given(maps, maps)
def test_pairs_are_stardists(true: Map, predicted: Map) -> None:
    found = counted(true, predicted).pairs.sum(axis=0)
    for k, threshold in enumerate(THRESHOLDS):
        expected = stardist_matching(true, predicted, threshold)
        assert found[k] == pytest.approx([expected["right"], expected["extra"], expected["missed"], expected["iou"]])


@pytest.mark.parametrize("seed", range(4))
def test_pairs_of_larger_objects_are_stardists(seed: int) -> None:
    true = boxes(seed, 12)
    predicted = moved(seed, true)
    found = counted(true, predicted).pairs.sum(axis=0)
    expected = [stardist_matching(true, predicted, threshold) for threshold in THRESHOLDS]
    assert found == pytest.approx(np.array([list(row.values()) for row in expected]))
    assert found[-1, 0] + found[0, 0] > 0


@small
@given(maps, maps, arrays(np.bool_, (5, 6)))
def test_void_is_treated_as_in_cocos_panoptic_task(true: Map, predicted: Map, void: NDArray[np.bool_]) -> None:
    found = counted(true, predicted, void).pairs.sum(axis=0)
    for k, threshold in enumerate(THRESHOLDS):
        assert found[k] == pytest.approx(panoptic(true, predicted, void, threshold))


@small
@given(maps, maps)
def test_aji_is_kumars(true: Map, predicted: Map) -> None:
    found = match_objects(predicted, true)
    assert (found.shared_px, found.joint_px) == hovernet_aji(true, predicted)


@small
@given(maps, maps)
def test_splits_and_merges_are_their_definition(true: Map, predicted: Map) -> None:
    found = match_objects(predicted, true)

    def inside(part: Map, number: int, whole: Map, other: int) -> bool:
        return bool(((part == number) & (whole == other)).sum() > 0.5 * (part == number).sum())

    split = [sum(inside(predicted, p, true, t) for p in numbers(predicted)) >= 2 for t in numbers(true)]
    merged = [sum(inside(true, t, predicted, p) for t in numbers(true)) >= 2 for p in numbers(predicted)]
    assert (found.split_T.tolist(), found.merged_P.tolist()) == (split, merged)
    parts = [any(s and inside(predicted, p, true, t) for s, t in zip(split, numbers(true), strict=True))
             for p in numbers(predicted)]  # fmt: skip
    held = [any(m and inside(true, t, predicted, p) for m, p in zip(merged, numbers(predicted), strict=True))
            for t in numbers(true)]  # fmt: skip
    assert (found.split_P.tolist(), found.merged_T.tolist()) == (parts, held)


@small
@given(maps, maps)
def test_overlaps_are_scikit_images_contingency_table(true: Map, predicted: Map) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    table = metrics.contingency_table(true, predicted).toarray()
    found = overlaps(predicted, true)
    expected = {(t, p): table[t, p] for t in numbers(true) for p in numbers(predicted) if table[t, p]}
    pairs = zip(
        found.true_number_T[found.true_N], found.predicted_number_P[found.predicted_N], found.pixels_N, strict=True
    )
    assert {(int(t), int(p)): pixels for t, p, pixels in pairs} == expected


@pytest.mark.parametrize("seed", range(3))
def test_coco_average_precision_is_pycocotools(seed: int) -> None:
    pytest.importorskip("pycocotools")
    rng = np.random.default_rng(seed)
    trues = [boxes(seed * 10 + i, 8) for i in range(4)]
    predictions = [moved(seed * 10 + i, true) for i, true in enumerate(trues)]
    confidences = [rng.permutation(1000)[: len(numbers(p))] / 1000 + 1e-5 * i for i, p in enumerate(predictions)]
    found = [match_objects(p, t, None, c) for p, t, c in zip(predictions, trues, confidences, strict=True)]
    assert coco_average_precision(found) == pytest.approx(coco_evaluated(trues, predictions, confidences))


def coco_evaluated(
    trues: list[Map], predictions: list[Map], confidences: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    from pycocotools import mask as rle
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def segment(labels: Map, number: int) -> dict[str, Any]:
        return rle.encode(np.asfortranarray((labels == number).astype(np.uint8)))

    truth, detections = COCO(), []
    height, width = trues[0].shape
    images = [{"id": i + 1, "height": height, "width": width} for i in range(len(trues))]
    truth.dataset = {"images": images, "categories": [{"id": 1}], "annotations": []}
    for i, (true, predicted, confidence) in enumerate(zip(trues, predictions, confidences, strict=True), start=1):
        for number in numbers(true):
            truth.dataset["annotations"].append({
                "id": len(truth.dataset["annotations"]) + 1, "image_id": i, "category_id": 1, "iscrowd": 0,
                "area": int((true == number).sum()), "segmentation": segment(true, number),
            })  # fmt: skip
        detections += [
            {"image_id": i, "category_id": 1, "segmentation": segment(predicted, number), "score": float(score)}
            for number, score in zip(numbers(predicted), confidence, strict=True)
        ]
    truth.createIndex()
    run = COCOeval(truth, truth.loadRes(detections), "segm")
    run.params.iouThrs, run.params.maxDets = np.array(THRESHOLDS), [1, 10, 1000]
    run.evaluate()
    run.accumulate()
    return np.asarray(run.eval["precision"][:, :, 0, 0, 2].mean(axis=1))


def test_the_surer_of_two_halves_is_the_pair() -> None:
    true, predicted = np.ones((2, 4), np.uint8), np.array([[3, 3, 8, 8]] * 2)
    assert match_objects(predicted, true).partner_P.tolist() == [0, -1]
    surer = match_objects(predicted, true, None, np.array([0.6, 0.9]))
    assert (surer.partner_P.tolist(), surer.partner_T.tolist(), surer.split_T.tolist()) == ([-1, 0], [1], [True])
    merged = match_objects(true, predicted)
    assert (merged.partner_T.tolist(), merged.merged_P.tolist()) == ([0, -1], [True])


def test_strips_do_not_change_the_overlaps(monkeypatch: pytest.MonkeyPatch) -> None:
    true = boxes(3, 12)
    predicted = moved(3, true)
    whole = overlaps(predicted, true, predicted == 7)
    monkeypatch.setattr(object_matching, "STRIP_PIXELS", 130)  # two rows
    for mine, other in zip(vars(whole).values(), vars(overlaps(predicted, true, predicted == 7)).values(), strict=True):
        assert np.array_equal(mine, other)


def test_scores_follow_from_counts() -> None:
    counts = rates(np.array([[6.0, 2.0, 4.0, 4.5], [0, 0, 0, 0], [0, 3, 0, 0]]))
    assert counts["precision"] == pytest.approx([0.75, np.nan, 0], nan_ok=True)
    assert counts["recall"] == pytest.approx([0.6, np.nan, np.nan], nan_ok=True)
    assert counts["f1"] == pytest.approx([12 / 18, np.nan, 0], nan_ok=True)
    assert counts["average_precision"] == pytest.approx([0.5, np.nan, 0], nan_ok=True)
    assert counts["panoptic_quality"] == pytest.approx([4.5 / 9, np.nan, 0], nan_ok=True)
    assert counts["segmentation_quality"] == pytest.approx([0.75, np.nan, np.nan], nan_ok=True)


def test_counts_of_images_add_up() -> None:
    trues = [boxes(seed, 9) for seed in range(3)]
    each = [counted(true, moved(seed, true)) for seed, true in enumerate(trues)]
    total = sum(each, ObjectCounts.zero())
    assert total.true == sum(len(numbers(true)) for true in trues)
    assert total.pairs[:, :, 0].sum(axis=0) == pytest.approx(sum(one.pairs[:, :, 0].sum(axis=0) for one in each))
    both = headline(np.stack([total.vector(), each[0].vector()]))
    f1 = rates(total.pairs.sum(axis=0))["f1"]
    assert (both["f1"][0], both["mean_f1"][0]) == pytest.approx((f1[0], f1.mean()))
    assert both["aji"][1] == pytest.approx(each[0].shared_px / each[0].joint_px)
    assert both["count_bias"][0] == pytest.approx((total.predicted - total.true) / total.true)


def test_sizes_are_sides_of_squares() -> None:
    assert size_of(np.array([1, 255, 256, 1023, 1024, 4096, 16384])).tolist() == [0, 0, 1, 1, 2, 3, 4]
    true, predicted = np.zeros((40, 80), np.uint8), np.zeros((40, 80), np.uint8)
    true[:20, :20], predicted[:20, :20], predicted[:5, 60:65] = 1, 1, 2
    pairs = counted(true, predicted).pairs
    assert pairs[1, 0, :3].tolist() == [1, 0, 0]
    assert pairs[0, 0, :3].tolist() == [0, 1, 0]


def test_maps_that_cannot_be_matched_are_errors() -> None:
    with pytest.raises(ValueError, match="one shape"):
        match_objects(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match="object numbers"):
        match_objects(np.full((2, 2), -1), np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="2 confidences for 1 predicted"):
        match_objects(np.ones((2, 2), np.uint8), np.ones((2, 2), np.uint8), None, np.array([1.0, 0.5]))
    with pytest.raises(ValueError, match="confidence"):
        coco_average_precision([match_objects(np.ones((2, 2), np.uint8), np.ones((2, 2), np.uint8))])
