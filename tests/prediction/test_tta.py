"""Averages over views, against the same average computed at once; and a network that is easy to foresee."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import THREE, picture
from pixelwise.errors import UsageError
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.images.image_files import write_png
from pixelwise.prediction.confidence_maps import probabilities_of_rows
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.predict import predict
from pixelwise.prediction.tta import Variant, predict_variants, variants_of, windows
from pixelwise.records import RGB

BOTH = ("stretch", "native")
HARD = 12.0  # scores of the fake network are so far apart that its probabilities are all but 0 and 1


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


class RedOrNot:
    """Stands for a network that says class 1 where the image is red: scores of 16×16, or a quarter of its size."""

    def __init__(self, policy: str) -> None:
        metadata = SimpleNamespace(policy=policy, temperature=1.0, classes=THREE, bands=RGB, separate=())
        self.bundle = SimpleNamespace(metadata=metadata)
        self.policy = policy
        self.sizes: list[tuple[int, int]] = []

    def run_all(self, image_HW3: Any) -> tuple[Any, Any]:
        height, width = image_HW3.shape[:2]
        self.sizes.append((height, width))
        w, h = (16, 16) if self.policy == "stretch" else (max(width // 4, 1), max(height // 4, 1))
        red = cv2.resize(image_HW3[:, :, 0], (w, h), interpolation=cv2.INTER_AREA).astype(np.float32) / 255 - 0.5
        return None, np.stack([-HARD * red, HARD * red, np.full_like(red, -HARD)])


@pytest.mark.parametrize("policy", BOTH)
@pytest.mark.parametrize("text", ["flip", "0.5", "1.3", "flip,0.7,1.25,2,3.7"])
@pytest.mark.parametrize("size", [(48, 64), (37, 101), (1, 5), (2, 1)])
def test_one_colour_stays_one_class(policy: str, text: str, size: tuple[int, int]) -> None:
    for value in (0, 255):
        engine: Any = RedOrNot(policy)
        prediction = predict_variants(engine, np.full((*size, 3), value, np.uint8), text)[0]
        assert (prediction.labels == value // 255).all()
        assert prediction.labels.shape == size
        for x, y in ((0, 0), (size[1] - 1, size[0] - 1)):
            told = prediction.probabilities(x, y)
            assert sum(told.values()) == pytest.approx(1, abs=1e-5)
            assert told["road" if value else "sky"] > 0.99


@pytest.mark.parametrize("policy", BOTH)
@pytest.mark.parametrize("text", ["0.5", "0.75", "1.5", "2.5", "flip", "flip,0.6,1.7"])
def test_every_view_is_put_back_in_its_place(policy: str, text: str) -> None:
    image = np.zeros((96, 128, 3), np.uint8)
    image[24:72, 32:80] = 255
    engine: Any = RedOrNot(policy)
    labels = predict_variants(engine, image, text)[0].labels
    wrong = (labels == 1) != (image[:, :, 0] > 0)
    assert not wrong[30:66, 38:74].any()
    outer = wrong.copy()
    outer[16:80, 24:88] = False
    assert not outer.any()


def test_scales_are_what_the_network_sees() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    native: Any = RedOrNot("native")
    predict_variants(native, image, "0.5,2")
    assert native.sizes == [(100, 200), (50, 100), (200, 400)]
    stretch: Any = RedOrNot("stretch")
    predict_variants(stretch, image, "flip,2")
    assert stretch.sizes == [(100, 200)] * 2 + [(50, 100)] * 2 * 9  # 3 × 3 windows of half the sides
    fine = np.zeros((64, 64, 3), np.uint8)
    fine[:, ::4] = fine[:, 1::4] = 255  # stripes of half a score's width
    once, zoomed = (predict_variants(RedOrNot("stretch"), fine, text)[0].labels for text in ("1", "4"))  # type: ignore[arg-type]
    truth = fine[:, :, 0] > 0
    assert ((zoomed == 1) == truth).mean() > ((once == 1) == truth).mean()


@given(length=st.integers(1, 400), scale=st.floats(1, 4))
def test_windows_cover_everything_once(length: int, scale: float) -> None:
    total = np.zeros(length)
    for start, weights in windows(length, scale):
        assert start >= 0
        assert start + len(weights) <= length
        assert (weights > 0).all()
        total[start : start + len(weights)] += weights
    np.testing.assert_allclose(total, 1, atol=1e-5)


@settings(max_examples=6, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90))
def test_flipping_averages_calibrated_probabilities(model: Model, height: int, width: int) -> None:
    image = picture(height, height, width)
    temperature = model.metadata.temperature
    both = []
    for shown in (image, np.ascontiguousarray(image[:, ::-1])):
        scores = model.predict(shown).scores
        both.append(probabilities_of_rows(scores, (height, width), slice(0, height), temperature))
    mean = (both[0] + both[1][:, :, ::-1]) / 2
    found = model.predict(image, tta="flip")
    top2 = np.sort(mean, axis=0)[-2:]
    clear = top2[1] - top2[0] > 1e-4
    assert (found.labels == mean.argmax(axis=0))[clear].all()
    _, h, w = found.scores.shape
    at = mean[:, ((np.arange(h) + 0.5) * height / h).astype(int)][:, :, ((np.arange(w) + 0.5) * width / w).astype(int)]
    np.testing.assert_allclose(np.exp(found.scores), at, atol=1e-5)
    mirrored = model.predict(np.ascontiguousarray(image[:, ::-1]), tta="flip")
    assert (mirrored.labels[:, ::-1] == found.labels)[clear].all()


def test_what_views_can_be() -> None:
    assert variants_of("flip") == (Variant(1.0, False), Variant(1.0, True))
    assert variants_of("1.25, flip,1") == (
        Variant(1.0, False),
        Variant(1.0, True),
        Variant(1.25, False),
        Variant(1.25, True),
    )
    for text, said in [
        ("flop", "'flop' is not a variant"),
        ("flip,9", "scale 9 is out of range"),
        ("nan", "scale nan is out of range"),
        ("0", "scale 0 is out of range"),
        (",", "no variant"),
    ]:
        with pytest.raises(UsageError, match=said):
            variants_of(text)


def test_predict_and_evaluate_use_the_same_views(model: Model, tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / "data/images").mkdir(parents=True, exist_ok=True)
        write_png(tmp_path / f"data/images/{i}.png", picture(i, 48, 60))
    predict(model, [tmp_path / "data/images"], tmp_path / "data/masks", tta="flip,1.5")
    with pytest.raises(UsageError, match="leave out --flow or --tta"):
        predict(model, [tmp_path / "data/images"], tmp_path / "out", tta="flip", tell=print)
    same = evaluate(model, tmp_path / "data", split="train", tta="flip,1.5")
    assert same.accuracy == 1
    assert "averaged over 4 TTA variants" in " ".join(same.notes)
    plain = evaluate(model, tmp_path / "data", split="train")
    assert plain.accuracy < 1
    with pytest.raises(UsageError, match="--tta"):
        evaluate(model, tmp_path / "data", split="train", tta="sideways")
