"""How much of the memory the page's images may hold."""

from typing import Any

import numpy as np
import pytest

from conftest import picture
from pixelwise.records import ClassList, Prediction
from pixelwise.server import explain
from pixelwise.server.image_memory import ImageMemory, RememberedImage
from pixelwise.server.model_cache import CachedModel

CLASSES = ClassList(("land", "water"), ((100, 80, 60), (40, 80, 220)))


def seen(height: int, width: int) -> RememberedImage:
    prediction = Prediction(np.zeros((height, width), np.uint8), np.zeros((2, 8, 8), np.float32), CLASSES)
    return RememberedImage(np.zeros((height, width, 3), np.uint8), prediction, 0.0, 0.0, "png", 0)


def test_the_oldest_images_go_where_pixels_labels_and_scores_exceed_the_limit() -> None:
    memory = ImageMemory(most=12, max_pixels=40_000)
    names = [memory.put(seen(100, 100)) for _ in range(5)]
    held = sum(one.pixels.nbytes + one.prediction.labels.nbytes + one.prediction.scores.nbytes
               for one in memory.seen.values())  # fmt: skip
    assert held <= 3 * 40_000
    assert list(memory.seen) == names[-2:]  # of 10,000 pixels each: with labels and scores as much as 13,504


def test_the_newest_image_stays_however_large_it_is() -> None:
    memory = ImageMemory(most=12, max_pixels=40_000)
    memory.put(seen(100, 100))
    large = memory.put(seen(300, 300))
    assert list(memory.seen) == [large]
    assert memory.get(large).pixels.shape == (300, 300, 3)


def test_layers_that_newer_images_push_out_meanwhile_are_still_told(
    served_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first question about layers measures them for seconds; others open images in that time."""
    memory, image = ImageMemory(most=12, max_pixels=10_000_000), np.ascontiguousarray(picture(0, 64, 96))
    asked = RememberedImage(image, served_model.predict(image), 0.0, 0.0, "png", 0)
    memory.put(asked)
    real = explain.view_of

    def measured(*given: Any) -> dict[str, Any]:
        for _ in range(3):
            memory.put(seen(10, 10))
        assert not asked.layers
        return real(*given)

    monkeypatch.setattr(explain, "view_of", measured)
    opened = CachedModel("main", served_model, None)
    rows = explain.layers_of(opened, asked)
    assert [row["name"] for row in rows] == list(opened.inspected.tensors)
    assert all(np.isfinite(row["mean"]) for row in rows)
