"""Objects found strip by strip are those of the whole image, and excluded ones are counted."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pixelwise.errors import UsageError
from pixelwise.objects.object_options import ObjectOptions, separations_of, without_excluded
from pixelwise.objects.object_records import Separation
from pixelwise.objects.separate import find_objects
from pixelwise.objects.stream_objects import MeasuredObjects, ObjectSource, objects_in_strips, stream_objects
from pixelwise.records import ClassList

CLASSES = ClassList(("background", "blob"), ((0, 0, 0), (255, 255, 255)))


def source_of(labels: np.ndarray) -> ObjectSource:
    values = np.random.default_rng(5).random((*labels.shape, 1)).astype(np.float32)
    return ObjectSource(
        labels.shape,
        CLASSES,
        lambda rows: labels[rows],
        lambda rows: values[rows],
        ("grey",),
        lambda rows: values[rows, :, 0],
    )


def in_strips(labels: np.ndarray, separation: Separation, rows: int, around: int) -> MeasuredObjects:
    return stream_objects(source_of(labels), {1: separation}, around, rows)


def assert_same_objects(streamed: np.ndarray, whole: np.ndarray) -> None:
    """The same pixels are together, whatever their numbers."""
    pairs = np.unique(np.stack([streamed.ravel(), whole.ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_connected_pixels_cross_any_number_of_strips(rows: int) -> None:
    labels = (np.random.default_rng(3).random((60, 50)) < 0.42).astype(np.uint8)
    labels[:, 20] = 1  # one object from top to bottom
    labels[10:50, 30:45] = 0
    labels[10:50, 31], labels[10:50, 43], labels[49, 31:44] = 1, 1, 1  # two arms that meet far below
    with in_strips(labels, Separation(), rows, 0) as measured:
        streamed = measured.rows(0, 60)
        whole = find_objects(labels, {1: Separation()})
        assert_same_objects(streamed, whole.objects_HW)
        with stream_objects(source_of(labels), {1: Separation()}) as at_once:
            order = np.argsort(at_once.table.columns["centroid-0"] * 1e6 + at_once.table.columns["centroid-1"])
            other = np.argsort(measured.table.columns["centroid-0"] * 1e6 + measured.table.columns["centroid-1"])
            for name, values in at_once.table.columns.items():
                if name not in ("label", "class"):
                    found = measured.table.columns[name][other]
                    np.testing.assert_allclose(found, values[order], rtol=1e-5, atol=1e-5, err_msg=name)


def test_separated_objects_cross_strips() -> None:
    pytest.importorskip("skimage", reason="separates touching objects; install pixelwise[objects]")
    labels = np.zeros((400, 200), np.uint8)
    random = np.random.default_rng(8)
    for y in range(20, 400, 24):
        for x in range(20, 190, 19):  # they touch across
            cv2.circle(labels, (x + int(random.integers(0, 2)), y + int(random.integers(-3, 4))), 10, 1, -1)
    separation = Separation("distance", smooth_px=1.0)
    with in_strips(labels, separation, 64, 64) as measured:
        whole = find_objects(labels, {1: separation})
        assert whole.number == len(range(20, 400, 24)) * len(range(20, 190, 19))
        assert_same_objects(measured.rows(0, 400), whole.objects_HW)
        assert len(measured.table) == whole.number


@pytest.mark.parametrize("rows", [None, 9, 64])
def test_an_object_map_in_strips_has_the_objects_of_the_whole_without_specks(rows: int | None) -> None:
    labels = np.random.default_rng(5).random((90, 70)) < 0.08
    labels = cv2.dilate(labels.astype(np.uint8), np.ones((1, 3), np.uint8))
    labels[70:80, 10:40] = 2
    both = {1: Separation(least_px=8), 2: Separation(least_px=1000)}
    found, whole = objects_in_strips(source_of(labels), both, 4, rows), find_objects(labels, both)
    assert found.number == whole.number > 5
    assert set(found.class_N) == {1}
    assert_same_objects(found.objects_HW, whole.objects_HW)
    if rows is None:
        np.testing.assert_array_equal(found.objects_HW, whole.objects_HW)


def test_excluded_objects_are_counted_and_the_others_numbered_anew() -> None:
    labels = np.zeros((30, 40), np.uint8)
    labels[0:4, 0:4], labels[10:12, 10:12], labels[20:26, 20:26] = 1, 1, 1
    with stream_objects(source_of(labels), {1: Separation()}) as measured:
        kept, excluded = without_excluded(measured, ObjectOptions(drop_edge=True), {"blob": 5})
        assert excluded == {"blob smaller than 5 px": 1, "at the image's edge": 1}
        assert kept.table.columns["label"].tolist() == [1]
        assert kept.table.columns["area"].tolist() == [36]
        assert np.unique(kept.rows(0, 30)).tolist() == [0, 1]
        assert int(kept.rows(0, 30).sum()) == 36
        assert without_excluded(measured, ObjectOptions(), {"blob": 0}) == (measured, {})
        none, excluded = without_excluded(measured, ObjectOptions(min_confidence=1.0), {})
        assert excluded == {"confidence below 1": 3}
        assert len(none.table) == 0


def test_impossible_choices_say_what_is_possible() -> None:
    with pytest.raises(UsageError, match="auto, components, distance, intensity, border"):
        ObjectOptions(separate="magic")
    with pytest.raises(UsageError, match="no object"):
        ObjectOptions(min_area_px=9, max_area_px=5)
    with pytest.raises(UsageError, match="from 0 to 1"):
        ObjectOptions(min_confidence=90)
    with pytest.raises(UsageError, match="learned no border of 'blob'"):
        separations_of(CLASSES, ObjectOptions(separate="border"), {})
    assert separations_of(CLASSES, ObjectOptions(separate="components"), {})[1].reason == "chosen"
