"""Where the errors are, by kind, and what mending each kind would add to the mean IoU.

After Hoiem et al. 2012 and TIDE (Bolya et al. 2020, arXiv:2008.08115): every wrong pixel gets one kind, the first that
fits; a kind is mended by making its pixels right, all else as it is, and measuring again.

    label      a patch on which the model is sure of another class: look at the mask first
    region     a true region of which next to nothing was found: the whole thing was taken for something else
    boundary   near a true boundary: the right thing, its outline a little off
    interior   all others: holes and patches inside regions that were otherwise found

Shapes: H, W an image's own size; C classes; K kinds; y, x sampled rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.metrics.boundary import DISTANCES_PX, Bands
from pixelwise.metrics.confusion import Counts, scores
from pixelwise.records import Labels

KINDS = ("label", "region", "boundary", "interior")
NAMES = {
    "label": "suspected label error",
    "region": "whole region confused",
    "boundary": "boundary",
    "interior": "interior",
}
BOUNDARY_PX = 4  # an error this near a true boundary is one of outline; one of DISTANCES_PX
SURE = 0.95  # mean probability of the predicted class on a patch, at least, for its label to be suspected
PATCH_SHARE = 5e-4  # of the image: smaller patches say too little
LISTED = 50  # suspected label errors in a report, the largest first
PATCH_SAMPLES = 6  # places at which the probability of a patch is known, at least


@dataclass(frozen=True)
class Suspect:
    """A patch on which a sure model and the mask disagree."""

    x: int
    y: int
    width: int
    height: int  # its bounding box, pixels
    pixels: int
    true: int
    predicted: int
    confidence: float  # mean over the patch, 0–1


def suspects(
    predicted_HW: Labels,
    true_HW: Labels,
    confidence_yx: NDArray[np.floating],
    rows: slice,
    columns: slice,
) -> tuple[list[Suspect], NDArray[np.bool_] | None]:
    """Suspected label errors: patches of one true and one predicted class on which the model is sure.

    Follows the idea of confident learning for segmentation (Lad and Mueller 2023, arXiv:2307.05080).

    Args:
        predicted_HW: void where the truth is.
        confidence_yx: probability of the predicted class at the pixels [rows, columns], as `sample_grid` chooses them.

    Returns:
        The patches, and their pixels, bool [H, W]; None instead of the pixels where there are no patches.
    """
    wrong_HW = predicted_HW != true_HW
    if int((confidence_yx[wrong_HW[rows, columns]] >= SURE).sum()) < PATCH_SAMPLES // 2:
        return [], None
    # Cut where the pair of classes changes: to the right and below. What is one pixel wide may fall apart, and is far
    # too small to be suspected.
    patch_HW = wrong_HW.view(np.uint8).copy()
    for labels_HW in (predicted_HW, true_HW):
        patch_HW[:, :-1] &= labels_HW[:, 1:] == labels_HW[:, :-1]
        patch_HW[:-1] &= labels_HW[1:] == labels_HW[:-1]
    count, ids_HW = cv2.connectedComponents(patch_HW, connectivity=4)
    at = ids_HW[rows, columns].ravel()
    samples = np.bincount(at, minlength=count)
    sure = np.bincount(at, weights=confidence_yx.ravel(), minlength=count) / np.maximum(samples, 1)
    found, suspected_HW = [], None
    for i in np.flatnonzero((sure >= SURE) & (samples >= PATCH_SAMPLES)):
        if i == 0:  # all that is right
            continue
        left, top, across, down = cv2.boundingRect((ids_HW == i).view(np.uint8))
        part = slice(top, top + down + 1), slice(left, left + across + 1)  # and one more: what the cut took
        inside_hw = ids_HW[part] == i
        row, column = np.unravel_index(int(inside_hw.argmax()), inside_hw.shape)
        true, predicted = int(true_HW[part][row, column]), int(predicted_HW[part][row, column])
        inside_hw[:, 1:] |= inside_hw[:, :-1]
        inside_hw[1:] |= inside_hw[:-1]
        inside_hw &= (true_HW[part] == true) & (predicted_HW[part] == predicted)
        pixels = int(np.count_nonzero(inside_hw))
        if pixels < PATCH_SHARE * true_HW.size:
            continue
        x, y = np.flatnonzero(inside_hw.any(axis=0)), np.flatnonzero(inside_hw.any(axis=1))
        box = left + int(x[0]), top + int(y[0]), int(x[-1] - x[0]) + 1, int(y[-1] - y[0]) + 1
        found.append(Suspect(*box, pixels, true, predicted, float(sure[i])))
        if suspected_HW is None:
            suspected_HW = np.zeros(true_HW.shape, np.bool_)
        suspected_HW[part] |= inside_hw
    return found, suspected_HW


def kinds_of_error(
    band_N: Bands, lost_N: NDArray[np.bool_], suspected_N: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """The kind of error, an index of KINDS, of each wrong pixel.

    Args:
        band_N: of the truth.
        lost_N: is its region lost?
        suspected_N: is its label suspected? None: nowhere.
    """
    near = band_N <= DISTANCES_PX.index(BOUNDARY_PX)
    kind = np.where(near, np.uint8(KINDS.index("boundary")), np.uint8(KINDS.index("interior")))
    kind[lost_N] = KINDS.index("region")
    if suspected_N is not None:
        kind[suspected_N] = KINDS.index("label")
    return kind


def mended(matrix: Counts, errors_KCC: Counts) -> dict[str, float]:
    """What the mean IoU would gain if a kind's errors were right, each kind on its own, 0–1.

    A suspected label error is mended in the mask: what the model said becomes the truth.
    """
    before = scores(matrix).miou
    gains = {}
    for kind, errors in zip(KINDS, errors_KCC, strict=True):
        becomes = errors.sum(axis=0 if kind == "label" else 1)
        gains[kind] = scores(matrix - errors + np.diag(becomes)).miou - before
    return gains
