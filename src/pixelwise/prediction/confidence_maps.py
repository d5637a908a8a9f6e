"""Confidence and entropy at every pixel, from the low-resolution scores, strip by strip.

Scores at the image's size are never in memory as a whole: for 11 classes and 100 megapixels they would take 4.4 GB, a
strip a few megabytes. Interpolation is that of the bundle's graph: bilinear, pixel centres at half-integers.

Shapes: H, W the image's size; R rows of a strip; C classes; h, w the size of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.metrics.calibration import places_between
from pixelwise.records import Prediction, Scores
from pixelwise.softmax import softmax

STRIP_VALUES = 1 << 20  # probabilities in a strip: 4 MB
FULL = 65535  # the value of 1 in a 16-bit map

Probabilities = NDArray[np.float32]  # [C, R, W]
Confidence = NDArray[np.float32]  # [R, W], 0–1
RowsOfProbabilities = Callable[[slice], Probabilities]  # the rows [start, stop) of an image


def probability_strips(
    scores_Chw: Scores, size: tuple[int, int], temperature: float = 1.0
) -> Iterator[tuple[slice, Probabilities]]:
    """Every class's probability at every pixel of an image of `size` (H, W), in strips from the top.

    Yields the rows and their probabilities, float32 [C, R, W].
    """
    height, width = size
    num_classes, _, _ = scores_Chw.shape
    rows = max(STRIP_VALUES // (num_classes * width), 1)
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        yield part, probabilities_of_rows(scores_Chw, size, part, temperature)


def probabilities_of_rows(
    scores_Chw: Scores, size: tuple[int, int], rows: slice, temperature: float = 1.0
) -> Probabilities:
    """Every class's probability in the rows [start, stop) of an image of `size` (H, W). Returns float32 [C, R, W]."""
    return softmax(scores_of_rows(scores_Chw, size, rows), temperature, overwrite=True)


def scores_of_rows(scores_Chw: Scores, size: tuple[int, int], rows: slice) -> NDArray[np.float32]:
    """Scores at the image's size, of the rows [start, stop). Returns float32 [C, R, W]."""
    height, width = size
    num_classes, h, w = scores_Chw.shape
    above, below, down = places_between((rows.start, rows.stop, 1), height, h)
    first, last = int(above[0]), int(below[-1]) + 1
    near_Ckw = scores_Chw[:, first:last]
    scores_CRw = near_Ckw[:, above - first]
    scores_CRw += (near_Ckw[:, below - first] - scores_CRw) * down[None, :, None]
    across = cv2.resize(scores_CRw.reshape(-1, w), (width, scores_CRw.shape[0] * scores_CRw.shape[1]))
    return np.asarray(across, np.float32).reshape(num_classes, rows.stop - rows.start, width)


def sixteen_bits(share: NDArray[np.float32]) -> NDArray[np.uint16]:
    """0–1 → 0–65535, rounded."""
    return (np.clip(share, 0, 1) * FULL + 0.5).astype(np.uint16)


def rows_of(prediction: Prediction) -> RowsOfProbabilities:
    """The probabilities of a prediction by rows, from its scores."""
    height, width = prediction.labels.shape
    return lambda rows: probabilities_of_rows(prediction.scores, (height, width), rows, prediction.temperature)


def strips_of_rows(rows: slice, num_classes: int, width: int) -> Iterator[slice]:
    """The rows [start, stop) in strips of at most STRIP_VALUES probabilities, or one row."""
    step = max(STRIP_VALUES // (num_classes * width), 1)
    return (slice(top, min(top + step, rows.stop)) for top in range(rows.start, rows.stop, step))
