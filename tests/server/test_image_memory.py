"""How much of the memory the page's images may hold."""

import numpy as np

from pixelwise.records import ClassList, Prediction
from pixelwise.server.image_memory import ImageMemory, RememberedImage

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
