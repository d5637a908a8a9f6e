"""`compare`: paired by image, against scipy and against what is known to be the same or worse."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from conftest import THREE, blobs, make_bundle, picture
from pixelwise.evaluation.compare import Comparison, ModelCounts, compare, comparison
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.evaluation.measure_image import measure
from pixelwise.images.image_files import write_png
from pixelwise.prediction.load_model import Model, load

SCORES = np.zeros((3, 4, 4), np.float32)


def compared(worse: float, images: int = 30, seed: int = 0) -> Comparison:
    """A says the truth but for some noise; B has `worse` times as much."""
    rng = np.random.default_rng(seed)
    sides = [ModelCounts([], [], [], []) for _ in range(2)]
    for i in range(images):
        true = blobs(seed + i, 3, 40, 50)
        share = 0.05 + 0.1 * rng.random()
        for side, noise in zip(sides, (share, share * worse), strict=True):
            wrong = rng.random(true.shape) < noise
            predicted = np.where(wrong, rng.integers(0, 3, true.shape), true).astype(np.uint8)
            side.add(measure(predicted, true, SCORES, 3, turn=i)[0])
    return comparison(*sides, [f"image {i}" for i in range(images)], THREE, ["a.onnx", "b.onnx"], "data", "test")


def test_a_worse_model_is_found_worse() -> None:
    found = compared(1.5)
    assert found.miou.verdict == "worse"
    assert found.miou.high < 0
    assert found.miou.low < found.miou.difference < found.miou.high
    assert found.worse_by(0.5)
    assert not found.worse_by(50)
    assert sum(change < 0 for _, change in found.changes) > 20
    assert {row.verdict for row in found.by_class} == {"worse"}


def test_luck_is_not_called_a_difference() -> None:
    verdicts = [compared(1.0, images=15, seed=100 * i).miou.verdict for i in range(20)]
    assert verdicts.count("") >= 16


def test_the_interval_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with scikit-learn")
    rng = np.random.default_rng(1)
    a, b = rng.random(40), rng.random(40)
    sides = [ModelCounts([], [], [], []) for _ in range(2)]
    for i in range(40):
        true = np.zeros((10, 100), np.uint8)
        for side, share in zip(sides, (a[i], b[i]), strict=True):
            predicted = true.copy()
            predicted.ravel()[: int(share * 1000)] = 1
            side.add(measure(predicted, true, SCORES, 3)[0])
    found = comparison(*sides, [str(i) for i in range(40)], THREE, ["a", "b"], "data", "test").whole[1]
    assert found.name == "pixel accuracy"
    right_a, right_b = 1 - (a * 1000).astype(int) / 1000, 1 - (b * 1000).astype(int) / 1000
    theirs = stats.bootstrap(
        (right_b, right_a), lambda x, y: np.mean(x) - np.mean(y), paired=True, vectorized=False, method="percentile",
        n_resamples=4000, rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert found.difference == pytest.approx(right_b.mean() - right_a.mean())
    assert found.low == pytest.approx(theirs.low, abs=0.08 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.08 * width)


@pytest.fixture(scope="module")
def models(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    other = tmp_path_factory.mktemp("other") / "fast.onnx"
    make_bundle(other, "fast")
    return load(tiny_bundle, threads=1), load(other, threads=1)


def test_both_models_get_the_scores_that_evaluate_gives(models: tuple[Model, Model], tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / "test" / part).mkdir(parents=True)
    for i in range(4):
        write_png(tmp_path / "test" / "images" / f"{i}.png", picture(i, 40, 50))
        write_png(tmp_path / "test" / "masks" / f"{i}.png", blobs(i, 3, 40, 50))
    found = compare(*models, tmp_path)
    for side, model in zip(("a", "b"), models, strict=True):
        report = evaluate(model, tmp_path)
        assert getattr(found.miou, side) == pytest.approx(report.miou)
        ious = [getattr(row, side) for row in found.by_class]
        np.testing.assert_allclose(ious, report.scores.iou_C)
        near = next(row for row in found.by_region if row.name.startswith("mean IoU within"))
        assert getattr(near, side) == pytest.approx(report.analysis.trimap()[2]["miou"])
    json.dumps(found.to_json(), allow_nan=False)
    text = io.StringIO()
    Console(file=text, width=120).print(found.to_rich())
    assert "points" in text.getvalue()


def test_a_model_is_no_better_than_itself(models: tuple[Model, Model], tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / "val" / part).mkdir(parents=True)
    for i in range(3):
        write_png(tmp_path / "val" / "images" / f"{i}.png", picture(i, 40, 50))
        write_png(tmp_path / "val" / "masks" / f"{i}.png", blobs(i, 3, 40, 50))
    found = compare(models[0], models[0], tmp_path)
    for row in (*found.whole, *found.by_class, *found.by_region):
        assert row.verdict == ""
        assert row.difference == 0 or np.isnan(row.difference)
    assert not found.worse_by(0)
