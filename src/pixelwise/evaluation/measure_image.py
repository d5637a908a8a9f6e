"""The counts of one image, as arrays that add up over images: neither scores nor images are kept.

Shapes: H, W the image's own size; C classes; K kinds of error; D distances; T tolerances.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pixelwise.metrics.boundary import DISTANCES_PX, band_counts, banded_matrix, bands_of_rows, baseline_counts
from pixelwise.metrics.calibration import BINS, FINE, confidence_sums, sample_grid, sampled_confidence
from pixelwise.metrics.error_types import BOUNDARY_PX, KINDS, Suspect, suspects
from pixelwise.metrics.outlines import TOLERANCES_PX, outline_counts
from pixelwise.metrics.regions import SIZE_NAMES
from pixelwise.metrics.streamed_regions import GrowingRegions
from pixelwise.records import VOID, Labels, Scores

STRIP_PIXELS = 1 << 20  # counted at a time: bounds the memory for large images
MARGIN_ROWS = 2 * DISTANCES_PX[-1]  # read around a strip, which has at least as many rows
BOUNDED = len(DISTANCES_PX) + 1  # bands, and the pixels in none


@dataclass
class Sums:
    """Counts of one image, or the sum over many."""

    joint: NDArray[np.int64]  # [D + 1, C, C]: band around a true boundary, true class, predicted class
    kinds: NDArray[np.int64]  # [K, C, C]: kind of error, true class, predicted class
    bands: NDArray[np.int64]  # [3, D, C], see metrics.boundary.band_counts
    baseline_bands: NDArray[
        np.int64
    ]  # [2, D, C]: the same for one class everywhere: its band, and the correct pixels of it
    edges: NDArray[np.int64]  # [T, 4, C], see metrics.outlines.outline_counts
    baseline_edges: NDArray[np.int64]  # [T, 4, C]: the same for one class everywhere
    sizes: NDArray[np.int64]  # [sizes, C, 4], see metrics.regions.by_size
    confidence: NDArray[np.float64]  # [3, BINS · FINE], see metrics.calibration.confidence_sums

    @classmethod
    def zero(cls, classes: int) -> Sums:
        distances, tolerances = len(DISTANCES_PX), len(TOLERANCES_PX)

        def zeros(*shape: int) -> NDArray[np.int64]:
            return np.zeros(shape, np.int64)

        return cls(
            zeros(BOUNDED, classes, classes),
            zeros(len(KINDS), classes, classes),
            zeros(3, distances, classes),
            zeros(2, distances, classes),
            zeros(tolerances, 4, classes),
            zeros(tolerances, 4, classes),
            zeros(len(SIZE_NAMES), classes, 4),
            np.zeros((3, BINS * FINE)),
        )

    def add(self, other: Sums) -> None:
        for field in fields(self):
            array = getattr(self, field.name)
            array += getattr(other, field.name)

    @property
    def matrix(self) -> NDArray[np.int64]:
        """The confusion matrix [C, C]: rows true, columns predicted."""
        return np.asarray(self.joint.sum(axis=0))

    @property
    def near(self) -> NDArray[np.int64]:
        """The confusion matrix of the pixels within BOUNDARY_PX of a true boundary."""
        return np.asarray(self.joint[: DISTANCES_PX.index(BOUNDARY_PX) + 1].sum(axis=0))


def measure(
    predicted_HW: Labels, true_HW: Labels, scores_Chw: Scores, classes: int, *, temperature: float = 1.0, turn: int = 0
) -> tuple[Sums, list[Suspect]]:
    """Count one image.

    Args:
        predicted_HW: ids of the dataset's classes.
        true_HW: the same, or VOID.
        scores_Chw: the scores from which confidence is sampled; classes in any order.
        turn: the image's number in its split, see `sample_grid`.

    Raises:
        ValueError: shapes differ, or an id is neither a class nor void.
    """
    if predicted_HW.shape != true_HW.shape:
        raise ValueError(f"predicted labels are {predicted_HW.shape}, true labels {true_HW.shape}; they must agree")
    height, width = true_HW.shape
    predicted_HW = predicted_HW | -(true_HW == VOID).view(np.uint8)  # VOID is 255: all bits
    strips = rows_of_strips(height, width)
    for first, stop in strips:
        for ids_HW in (predicted_HW[first:stop], true_HW[first:stop]):
            if ((ids_HW >= classes) & (ids_HW != VOID)).any():
                raise ValueError(f"ids outside the {classes} classes (0 … {classes - 1}) and void ({VOID})")
    rows, columns = sample_grid(height, width, turn)
    confidence_yx = sampled_confidence(scores_Chw, height, width, rows, columns, temperature)
    suspected, suspected_HW = suspects(predicted_HW, true_HW, confidence_yx, rows, columns)
    labelled_yx = true_HW[rows, columns] != VOID
    right_yx = predicted_HW[rows, columns] == true_HW[rows, columns]
    sums = Sums.zero(classes)
    sums.confidence += confidence_sums(confidence_yx[labelled_yx], right_yx[labelled_yx])
    sums.edges, sums.baseline_edges = outline_counts(predicted_HW, true_HW, classes)
    growing = GrowingRegions(classes)
    for first, stop in strips:
        near_t, near_p = bands_of_rows(true_HW, first, stop), bands_of_rows(predicted_HW, first, stop)
        predicted, true = predicted_HW[first:stop], true_HW[first:stop]
        plain, framed = banded_matrix(predicted, true, near_p, near_t, classes, (first, height))
        sums.joint += np.moveaxis(plain.sum(axis=3), 2, 0)
        sums.bands += band_counts(framed)
        sums.baseline_bands += baseline_counts(true_HW, classes, (first, stop))
        doubtful = None if suspected_HW is None else suspected_HW[first:stop]
        growing.add(predicted, true, near_t, doubtful, last=stop == height)
    sums.kinds, sums.sizes = growing.kinds, growing.sizes[:, :classes]
    return sums, suspected


def rows_of_strips(height: int, width: int) -> list[tuple[int, int]]:
    """The first row of each strip and the row after its last; images of usual size are one strip."""
    step = max(STRIP_PIXELS // width, MARGIN_ROWS)
    return [(first, min(first + step, height)) for first in range(0, height, step)]
