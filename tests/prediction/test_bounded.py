"""Large images in memory: labelled in strips or in tiles, as files of their size are.

Shapes: H, W the image's own size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import picture
from pixelwise.errors import UsageError
from pixelwise.images.image_files import read_mask, write_png
from pixelwise.prediction import in_memory
from pixelwise.prediction.engines import onnx_runtime
from pixelwise.prediction.in_memory import Mosaic, run_bounded
from pixelwise.prediction.large import tile_plan
from pixelwise.prediction.large.tile_plan import Tiles, tiling_of
from pixelwise.prediction.large.tiles import tiling
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.predict import predict


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


def test_labels_made_outside_the_graph_are_those_of_the_graph(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [picture(1, 300, 420), np.zeros((333, 290, 3), np.uint8), np.indices((200, 301)).sum(axis=0) % 2 * 255]
    for image in images:
        image_HW3 = np.ascontiguousarray(np.broadcast_to(image.reshape(*image.shape[:2], -1), (*image.shape[:2], 3)))
        image_HW3 = image_HW3.astype(np.uint8)
        labels_HW, scores_Chw = model.engine.run(image_HW3)
        with monkeypatch.context() as patched:
            patched.setattr(onnx_runtime, "GRAPH_VALUES", 0)
            patched.setattr(onnx_runtime, "KEPT_PIXELS", 0)
            in_strips_HW, same_Chw = model.engine.run(image_HW3)
        assert (in_strips_HW == labels_HW).all()
        assert (same_Chw == scores_Chw).all()


def test_an_image_in_memory_gets_the_labels_of_its_file(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the library and the server say of a large image, `predict` writes."""
    whole = dict.fromkeys(tile_plan.WHOLE_PIXELS, 10000)
    monkeypatch.setattr(tile_plan, "WHOLE_PIXELS", whole)
    image_HW3 = picture(3, 400, 530)
    plan, _ = tiling_of(model.metadata, (400, 530), Tiles())
    assert plan.count > 4
    prediction = model.predict(image_HW3)
    write_png(tmp_path / "a.png", image_HW3)
    for piecewise in (10_000, 10_000_000):  # written piece by piece, and as a whole
        monkeypatch.setattr(tile_plan, "PIECEWISE_PIXELS", piecewise)
        out = tmp_path / f"out{piecewise}"
        save = ("labels",) if piecewise == 10_000 else ("labels", "confidence", "entropy", "labelme")
        assert predict(model, [tmp_path / "a.png"], out, save=save).failures == 0
        written = read_mask(out / "a.png", {}, len(model.classes))
        assert (written == prediction.labels).all()


def test_scores_of_tiles_are_put_together_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiling((300, 410), (64, 96), (8, 12))

    def of_tile(row: int, column: int) -> np.ndarray:
        """Scores that state where their places lie in the image."""
        top, left = plan.rows.starts[row], plan.columns.starts[column]
        y, x = np.indices((16, 24)) + 0.5
        return np.stack([top + y * 4, left + x * 4]).astype(np.float32)

    for values, tolerance in ((1 << 24, 2.5), (600, 2.5)):
        monkeypatch.setattr(in_memory, "MOSAIC_VALUES", values)
        mosaic = Mosaic(plan.rows, plan.columns)
        for row in range(len(plan.rows.starts)):
            for column in range(len(plan.columns.starts)):
                mosaic.add(row, column, of_tile(row, column))
        assert mosaic.scores is not None
        assert mosaic.scores.size <= values
        _, h, w = mosaic.scores.shape
        y = (np.arange(h) + 0.5) * 300 / h
        x = (np.arange(w) + 0.5) * 410 / w
        assert np.abs(mosaic.scores[0] - y[:, None]).max() <= tolerance
        assert np.abs(mosaic.scores[1] - x).max() <= tolerance


def test_probabilities_of_a_cut_image_agree_with_its_labels(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_plan, "WHOLE_PIXELS", dict.fromkeys(tile_plan.WHOLE_PIXELS, 10000))
    prediction = model.predict(picture(5, 300, 500))
    at = [(x, y) for y in range(3, 300, 23) for x in range(2, 500, 29)]
    names = model.classes.names
    same = [
        max(found := prediction.probabilities(x, y), key=found.__getitem__) == names[prediction.labels[y, x]]
        for x, y in at
    ]
    assert np.mean(same) > 0.95  # they differ along seams and boundaries alone


def test_images_of_usual_size_are_not_cut(model: Model) -> None:
    image_HW3 = picture(2, 90, 130)
    labels_HW, scores_Chw = run_bounded(model.engine, image_HW3)
    same_HW, same_Chw = model.engine.run(image_HW3)
    assert (labels_HW == same_HW).all()
    assert (scores_Chw == same_Chw).all()
    assert tile_plan.is_cut((2100, 2100), "native")
    assert not tile_plan.is_cut((2048, 2048), "native")
    assert tile_plan.is_cut((6000, 6000), "stretch")
    assert not tile_plan.is_cut((5000, 6000), "fit")


def test_views_of_too_large_an_image_are_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_plan, "PIECEWISE_PIXELS", 10_000)
    with pytest.raises(UsageError, match=r"200×100 pixels; test-time augmentation takes up to .*Leave out --tta"):
        model.predict(picture(2, 100, 200), tta="flip")
