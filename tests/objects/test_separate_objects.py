"""Regions → objects: connected pixels, and touching discs apart again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pixelwise.errors import MissingExtraError
from pixelwise.objects import separate
from pixelwise.objects.object_records import ClassObjects, Separation
from pixelwise.objects.separate import Evidence, find_objects, separation_for

skimage_measure = pytest.importorskip("skimage.measure", reason="the oracle; install pixelwise[objects]")


def discs(*centres: tuple[int, int], radius: int = 10, size: tuple[int, int] = (60, 90)) -> np.ndarray:
    labels = np.zeros(size, np.uint8)
    for x, y in centres:
        cv2.circle(labels, (x, y), radius, 1, -1)
    return labels


TWO = discs((25, 30), (42, 30))
THREE = discs((25, 20), (44, 20), (34, 37))


def test_components_are_those_of_scikit_image() -> None:
    random = np.random.default_rng(0).random((60, 80)) < 0.45
    found = find_objects(random.astype(np.uint8), {1: Separation()})
    np.testing.assert_array_equal(found.objects_HW, skimage_measure.label(random, connectivity=2))


@pytest.mark.parametrize(("labels", "number"), [(TWO, 2), (THREE, 3), (discs((30, 30)), 1)])
def test_touching_discs_are_separated_by_distance(labels: np.ndarray, number: int) -> None:
    assert find_objects(labels, {1: Separation()}).number == 1
    found = find_objects(labels, {1: Separation("distance", smooth_px=1.0)})
    assert found.number == number
    np.testing.assert_array_equal(found.objects_HW > 0, labels == 1)
    sizes = np.bincount(found.objects_HW.ravel())[1:]
    assert sizes.min() > 0.7 * sizes.max()


def test_what_has_no_neck_stays_one_object() -> None:
    bar = np.zeros((40, 120), np.uint8)
    bar[14:26, 10:110] = 1
    assert find_objects(bar, {1: Separation("distance", smooth_px=1.0)}).number == 1


def test_bright_and_dark_objects_are_separated_by_intensity() -> None:
    y, x = np.mgrid[:60, :90]
    bright = sum(np.exp(-((x - cx) ** 2 + (y - 30) ** 2) / 60) for cx in (25, 42)) * 200
    for image in (bright, 255 - bright):
        evidence = Evidence(image_HWN=image[..., None].astype(np.uint8))
        assert find_objects(TWO, {1: Separation("intensity", smooth_px=1.0)}, evidence).number == 2


def test_a_learned_border_separates_what_has_no_neck() -> None:
    bar = np.zeros((40, 120), np.uint8)
    bar[14:26, 10:110] = 1
    border = np.zeros(bar.shape, np.float32)
    border[:, 58:62] = 0.9
    found = find_objects(bar, {1: Separation("border", smooth_px=1.0)}, Evidence({1: border}))
    assert found.number == 2
    np.testing.assert_array_equal(found.objects_HW > 0, bar == 1)  # border pixels belong to the objects
    assert found.objects_HW[20, 30] != found.objects_HW[20, 90]


def test_objects_of_two_classes_never_join() -> None:
    labels = np.repeat(np.array([[1, 2, 0, 1]], np.uint8), 3, axis=0)
    found = find_objects(labels, {1: Separation(), 2: Separation()})
    assert found.class_N.tolist() == [1, 1, 2]


def test_the_method_follows_what_is_known_of_the_class() -> None:
    known = ClassObjects(400.0, 100.0, 900.0, 0.9, 50)
    assert separation_for(known, has_border=True).method == "border"
    assert separation_for(known).method == "distance"
    assert "400 px" in separation_for(known).reason
    assert separation_for(ClassObjects(400.0, 100.0, 900.0, 0.2, 50)).method == "components"
    assert separation_for(None).method == "distance"


def test_without_scikit_image_objects_are_connected_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separate, "_has_watershed", lambda: False)
    assert separation_for(None).method == "components"
    assert "pip install 'pixelwise[objects]'" in separation_for(None).reason
    monkeypatch.setitem(__import__("sys").modules, "skimage.segmentation", None)
    with pytest.raises(MissingExtraError, match=r"pixelwise\[objects\]"):
        find_objects(TWO, {1: Separation("distance")})


def test_specks_are_no_objects() -> None:
    """What is under a quarter of nearly all true objects: wrong labels, here beside a disc of 100 pixels."""
    labels = discs((25, 30))
    labels[5:7, 5:7] = 1
    known = ClassObjects(400.0, 100.0, 900.0, 0.9, 50)
    assert separation_for(known).least_px == separation_for(known, has_border=True).least_px == 25
    assert separation_for(None).least_px == 0
    for least, number in ((0.0, 2), (4.0, 2), (5.0, 1), (1e6, 0)):
        found = find_objects(labels, {1: Separation(least_px=least)})
        assert (found.number, found.objects_HW.max()) == (number, number)
        assert ((found.objects_HW > 0).sum() == labels.sum()) == (number == 2)
