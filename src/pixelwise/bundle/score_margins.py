"""Compare two label maps of one image: do they differ only where the scores are close?

Runtimes and processors round differently. Where two classes have nearly the same score, rounding decides, and neither
label is wrong; where one is clearly higher, a different label is an error.

Shapes: C classes; h, w the size of the scores, H, W that of the image; N pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Labels, Scores

CLOSE = 0.01  # of the range of all scores of an image: closer scores may be swapped by rounding
FLOOR = 1e-4  # of scores: the same as an absolute minimum, for small ranges
CHUNK = 100_000  # pixels whose scores are looked up at a time


def clearly_different(labels_HW: Labels, others_HW: Labels, scores_Chw: Scores) -> int:
    """The number of pixels with different labels whose scores are clearly different.

    Args:
        labels_HW, others_HW: label maps of the same size.
        scores_Chw: the scores of either.
    """
    rows_N, columns_N = np.nonzero(labels_HW != others_HW)
    if not len(rows_N):
        return 0
    apart = max(FLOOR, CLOSE * float(scores_Chw.max() - scores_Chw.min()))
    found = 0
    for start in range(0, len(rows_N), CHUNK):
        rows, columns = rows_N[start : start + CHUNK], columns_N[start : start + CHUNK]
        one, other = labels_HW[rows, columns].astype(np.intp), others_HW[rows, columns].astype(np.intp)
        known = np.maximum(one, other) < len(scores_Chw)
        found += int((~known).sum())
        full_CN = scores_at(scores_Chw, rows[known], columns[known], labels_HW.shape)
        places = np.arange(full_CN.shape[1])
        found += int((np.abs(full_CN[one[known], places] - full_CN[other[known], places]) > apart).sum())
    return found


def scores_at(
    scores_Chw: Scores, rows_N: NDArray[np.intp], columns_N: NDArray[np.intp], size: tuple[int, ...]
) -> NDArray[np.float64]:
    """Scores [C, N] at pixels of an image of `size`, by bilinear interpolation as in the graph."""
    (above, below, down), (left, right, along) = (
        neighbours(places, pixels, sides)
        for places, pixels, sides in zip((rows_N, columns_N), size, scores_Chw.shape[1:], strict=True)
    )
    upper = scores_Chw[:, above, left] * (1 - along) + scores_Chw[:, above, right] * along
    lower = scores_Chw[:, below, left] * (1 - along) + scores_Chw[:, below, right] * along
    return np.asarray(upper * (1 - down) + lower * down)


def neighbours(
    places_N: NDArray[np.intp], pixels: int, sides: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Along one axis, the scores before and after each pixel, and its relative position between them, 0–1."""
    at = np.clip((places_N + 0.5) * sides / pixels - 0.5, 0, sides - 1)
    before = at.astype(np.intp)
    return before, np.minimum(before + 1, sides - 1), at - before
