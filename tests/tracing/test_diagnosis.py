"""Each finding comes when its cause is there, and not when it is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest

from conftest import THREE, picture
from pixelwise.records import RGB, Bands, Prediction
from pixelwise.tracing.prediction_checks import check_prediction


@dataclass(frozen=True)
class Told:
    """What a bundle would say about itself."""

    size: tuple[int, int] = (64, 96)
    policy: str = "stretch"
    bands: Bands = RGB
    stride: int = 2
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    temperature: float = 1.0
    stages: tuple[Any, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)


def predicted(labels: np.ndarray[Any, Any], sure: float = 8.0) -> Prediction:
    """A prediction of these labels, its scores apart by `sure`."""
    labels = labels.astype(np.uint8)
    h, w = 32, 48
    rows, columns = np.arange(h) * labels.shape[0] // h, np.arange(w) * labels.shape[1] // w
    scores = np.eye(3, dtype=np.float32)[labels[np.ix_(rows, columns)]].transpose(2, 0, 1) * sure
    return Prediction(labels, np.ascontiguousarray(scores), THREE, 1.0)


def kinds(pixels: np.ndarray[Any, Any], prediction: Prediction, told: Told = Told()) -> set[str]:
    return {finding.kind for finding in check_prediction(pixels, prediction, told)}


@pytest.fixture
def halves() -> np.ndarray[Any, Any]:
    """Three regions that have nothing to do with brightness."""
    labels = np.zeros((70, 110), np.uint8)
    labels[35:, :50], labels[35:, 50:] = 1, 2
    return labels


def test_nothing_is_said_of_a_sound_prediction(halves: np.ndarray[Any, Any]) -> None:
    metrics = {"metrics": {"accuracy": 0.97, "classes": {"sky": {"recall": 0.9}}}}
    assert kinds(picture(3, 70, 110), predicted(halves), Told(provenance=metrics)) == set()


def test_one_class_everywhere(halves: np.ndarray[Any, Any]) -> None:
    assert "one-class" in kinds(picture(3, 70, 110), predicted(np.ones_like(halves)))


def test_a_flat_image_is_not_blamed_on_the_model(halves: np.ndarray[Any, Any]) -> None:
    found = kinds(np.full((70, 110, 3), 90, np.uint8), predicted(np.ones_like(halves)))
    assert "flat" in found
    assert "one-class" not in found


def test_low_confidence_and_an_image_unlike_the_training_data(halves: np.ndarray[Any, Any]) -> None:
    metrics = {"metrics": {"accuracy": 0.9, "split": "val"}}
    assert {"unsure", "unlike-training"} <= kinds(picture(3, 70, 110), predicted(halves, 0.5), Told(provenance=metrics))
    hesitant = kinds(picture(3, 70, 110), predicted(halves, 1.5), Told(provenance=metrics))
    assert "unlike-training" in hesitant  # 0.69 sure where 0.9 were right
    assert "unsure" not in hesitant


def test_labels_that_are_brightness() -> None:
    pixels = picture(3, 70, 110)
    shade = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    labels = np.digitize(shade, np.quantile(shade, [0.33, 0.66]))
    assert "like-the-input" in kinds(pixels, predicted(labels))


def test_specks(halves: np.ndarray[Any, Any]) -> None:
    speckled = halves.copy()
    speckled[::4, ::4] = (speckled[::4, ::4] + 1) % 3
    assert "specks" in kinds(picture(3, 70, 110), predicted(speckled))


def test_sizes_and_shapes(halves: np.ndarray[Any, Any]) -> None:
    assert "too-small" in kinds(picture(3, 20, 30), predicted(halves[:20, :30]))
    assert "shrunk" in kinds(picture(3, 300, 450), predicted(np.kron(halves, np.ones((5, 5)))[:300, :450]))
    tall = np.zeros((200, 40), np.uint8)
    tall[100:] = 1
    assert "stretched" in kinds(picture(3, 200, 40), predicted(tall))
    assert "stretched" not in kinds(picture(3, 200, 40), predicted(tall), Told(policy="fit"))


def test_grey_broken_and_never_predicted(halves: np.ndarray[Any, Any]) -> None:
    grey = np.repeat(picture(3, 70, 110)[:, :, :1], 3, axis=2)
    assert "grey" in kinds(grey, predicted(halves))
    broken = predicted(halves)
    broken.scores[0, 0, 0] = np.nan
    assert "broken" in kinds(picture(3, 70, 110), broken)
    metrics = {"metrics": {"classes": {"car": {"recall": 0.0}, "sky": {"recall": 0.9}}}}
    found = check_prediction(picture(3, 70, 110), predicted(halves), Told(provenance=metrics))
    assert [finding.what for finding in found if finding.kind == "never-predicted"] == [
        "On validation images, this model never found: car."
    ]


def test_what_a_model_was_validated_on_is_said_in_words(halves: np.ndarray[Any, Any]) -> None:
    """Plainly named splits, and splits of which more is told."""
    classes = {"road": {"recall": 0}}
    for split, images, words in (
        ("val", None, "On validation images, this model"),
        ("test", 7, "On 7 test images, this model"),
        ("val (learnt from too)", 101, "On 101 validation images, also used for training, this model"),
    ):
        metrics = {"split": split, "images": images, "accuracy": 0.9, "classes": classes}
        told = Told(provenance={"metrics": metrics})
        found = {one.kind: one.what for one in check_prediction(picture(1, 70, 110), predicted(halves), told)}
        assert found["never-predicted"] == f"{words} never found: road."


def test_a_strip_is_not_called_both_enlarged_and_reduced() -> None:
    strip = np.zeros((30, 450), np.uint8)
    strip[:, 200:] = 1
    found = kinds(picture(3, 30, 450), predicted(strip))
    assert "shrunk" in found
    assert "too-small" not in found


def test_a_grey_image_is_unusual_only_for_a_model_of_coloured_ones(halves: np.ndarray[Any, Any]) -> None:
    grey = np.repeat(picture(3, 70, 110)[:, :, :1], 3, axis=2)
    for example, expected in ((None, True), (picture(4, 40, 40), True), (grey[:40, :40], False)):
        found = check_prediction(grey, predicted(halves), Told(), example_HWN=example)
        assert ("grey" in {finding.kind for finding in found}) is expected
