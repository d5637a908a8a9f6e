"""Scores of a tiled image at the image's size: their argmax is the labels, seams and missing tiles included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pixelwise.prediction.confidence_maps import scores_of_rows
from pixelwise.prediction.large.blended_scores import BlendedScores
from pixelwise.prediction.large.tiles import label_tiles, tiling

CLASSES, STRIDE = 4, 4


def network(tile_TU3: Any) -> tuple[Any, Any]:
    """Scores that depend on the tile, so that neighbours disagree in their seam; labels as a bundle computes them."""
    height, width = tile_TU3.shape[:2]
    rng = np.random.default_rng(int(tile_TU3.astype(np.int64).sum()))
    scores_Chw = rng.normal(size=(CLASSES, height // STRIDE, width // STRIDE)).astype(np.float32)
    return scores_of_rows(scores_Chw, (height, width), slice(0, height)).argmax(axis=0).astype(np.uint8), scores_Chw


@pytest.mark.parametrize("tile", [(32, 48), (64, 64), (200, 48)])
def test_the_argmax_of_blended_scores_is_the_labels(tile: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (150, 170, 3), dtype=np.uint8)
    plan = tiling((150, 170), tile, (12, 12))
    blended = BlendedScores(plan, CLASSES)
    compared = close = 0
    for top, labels in label_tiles(plan, lambda first, stop: image[first:stop], network, scored=blended.add):
        for left in range(0, 170, 61):  # blocks that have nothing to do with the tiles
            columns = slice(left, min(left + 61, 170))
            scores = blended.scores(slice(top, top + len(labels)), columns)
            highest, second = np.sort(scores, axis=0)[-1], np.sort(scores, axis=0)[-2]
            differs = scores.argmax(axis=0) != labels[:, columns]
            assert (highest - second)[differs].max(initial=0) < 1e-5
            compared, close = compared + differs.size, close + int(differs.sum())
        blended.forget(top + len(labels))
        assert len(blended.tiles) <= 2
    assert compared == 150 * 170
    assert close < 5


def test_tiles_that_the_file_lacks_leave_the_others_alone() -> None:
    """Pixels of a tile that the file lacks have no data, so they become void whatever its neighbours say."""
    image = np.random.default_rng(1).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    plan = tiling((100, 150), (64, 64), (16, 16))
    lacking = [(0, 0), (36, plan.columns.starts[1])]
    has_data = np.ones((100, 150), bool)
    for top, left in lacking:
        has_data[top : top + 64, left : left + 64] = False
    blended = BlendedScores(plan, CLASSES)
    for top, labels in label_tiles(
        plan,
        lambda first, stop: image[first:stop],
        network,
        absent=lambda top, _bottom, left, _right: (top, left) in lacking,
        scored=blended.add,
    ):
        scores = blended.scores(slice(top, top + len(labels)), slice(0, 150))
        highest, second = np.sort(scores, axis=0)[-1], np.sort(scores, axis=0)[-2]
        differs = (scores.argmax(axis=0) != labels) & has_data[top : top + len(labels)]
        assert (highest - second)[differs].max(initial=0) < 1e-5
        assert (labels[has_data[top : top + len(labels)]] < CLASSES).all()
    assert 0 < has_data.mean() < 1
