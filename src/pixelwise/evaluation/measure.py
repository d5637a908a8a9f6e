"""Everything that is counted on one image, as arrays that can be added up: no score is stored, no image kept.

Shapes: H, W the image's own size; C classes; K kinds of error; D distances; T tolerances.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pixelwise.metrics.boundary import DISTANCES_PX, band_counts, banded_matrix, bands, guess_counts
from pixelwise.metrics.calibration import BINS, FINE, confidence_sums, sampled_confidence
from pixelwise.metrics.mending import KINDS, Suspect, kinds_of_error, suspects
from pixelwise.metrics.outlines import TOLERANCES_PX, outline_counts
from pixelwise.metrics.regions import SIZE_NAMES, by_size, regions
from pixelwise.records import VOID, Labels, Scores

SAMPLE_EVERY = 4  # rows and columns: confidence is looked up at one pixel in 16; exact there, and at others each image
BOUNDED = len(DISTANCES_PX) + 1  # bands, and what lies in none


@dataclass
class Sums:
    """Counts of one image, or of many added up."""

    joint: NDArray[np.int64]  # [D + 1, C, C]: band around a true boundary, true class, predicted class
    kinds: NDArray[np.int64]  # [K, C, C]: kind of error, true class, predicted class
    bands: NDArray[np.int64]  # [3, D, C], see metrics.boundary.band_counts
    guess_bands: NDArray[np.int64]  # [2, D, C]: as above for one class everywhere: its band, and what of it is right
    edges: NDArray[np.int64]  # [T, 4, C], see metrics.outlines.outline_counts
    guess_edges: NDArray[np.int64]  # [T, 4, C]: as above for one class everywhere
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


def measure(
    predicted_HW: Labels, true_HW: Labels, scores_Chw: Scores, classes: int, *, temperature: float = 1.0, turn: int = 0
) -> tuple[Sums, list[Suspect]]:
    """Count one image.

    Args:
        predicted_HW: ids of the dataset's classes.
        true_HW: the same, or VOID.
        scores_Chw: from which confidence is looked up; the order of the classes does not matter.
        turn: the image's number, which moves the places at which confidence is looked up.

    Raises:
        ValueError: shapes differ, or an id is neither a class nor void.
    """
    height, width = true_HW.shape
    if predicted_HW.shape != true_HW.shape:
        raise ValueError(f"predicted labels are {predicted_HW.shape}, true labels {true_HW.shape}; they must agree")
    predicted_HW = predicted_HW | -(true_HW == VOID).view(np.uint8)  # VOID is 255: all bits
    for ids_HW in (predicted_HW, true_HW):
        if ((ids_HW >= classes) & (ids_HW != VOID)).any():
            raise ValueError(f"ids outside the {classes} classes (0 … {classes - 1}) and void ({VOID})")
    wrong_HW = predicted_HW != true_HW  # nowhere where the truth is void
    near_t, near_p = bands(true_HW), bands(predicted_HW)
    plain, framed = banded_matrix(predicted_HW, true_HW, near_p, near_t, classes)
    found = regions(predicted_HW, true_HW)
    start_y, start_x = turn % SAMPLE_EVERY % height, turn // SAMPLE_EVERY % SAMPLE_EVERY % width
    rows, columns = slice(start_y, None, SAMPLE_EVERY), slice(start_x, None, SAMPLE_EVERY)
    confidence_yx = sampled_confidence(scores_Chw, height, width, rows, columns, temperature)
    suspected = suspects(predicted_HW, true_HW, wrong_HW, confidence_yx, rows, columns)
    labelled_yx = true_HW[rows, columns] != VOID
    at = np.flatnonzero(wrong_HW)
    kind = kinds_of_error(at, near_t, found, [pixels for _, pixels in suspected])
    edges, guess_edges = outline_counts(predicted_HW, true_HW, classes)
    pairs = (kind.astype(np.intp) * classes + true_HW.ravel()[at]) * classes + predicted_HW.ravel()[at]
    sums = Sums(
        joint=np.moveaxis(plain.sum(axis=3), 2, 0),
        kinds=np.bincount(pairs, minlength=len(KINDS) * classes**2).reshape(len(KINDS), classes, classes),
        bands=band_counts(framed),
        guess_bands=guess_counts(true_HW, classes),
        edges=edges,
        guess_edges=guess_edges,
        sizes=by_size(found)[:, :classes],
        confidence=confidence_sums(confidence_yx[labelled_yx], ~wrong_HW[rows, columns][labelled_yx]),
    )
    return sums, [suspect for suspect, _ in suspected]
