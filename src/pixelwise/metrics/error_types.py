"""Error breakdown: the kind of each wrong pixel, and the mIoU gain if a kind were fixed.

After Hoiem et al. 2012 and TIDE (Bolya et al. 2020, arXiv:2008.08115). Every wrong pixel has one kind, the first that
fits. A kind is fixed by correcting its pixels, and only these, and scoring again.

    label      in a patch where the model is sure of another class: check the mask first
    region     in a true region that was missed almost entirely: the whole object was confused
    boundary   near a true boundary: the right object with an inexact outline
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
BOUNDARY_PX = 4  # from a true boundary; one of DISTANCES_PX
SURE = 0.95  # minimum mean probability of the predicted class in a suspected patch
PATCH_SHARE = 5e-4  # of the image: smaller patches are ignored
LISTED = 50  # suspected label errors in a report, the largest first
PATCH_SAMPLES = 6  # minimum number of pixels of a patch at which the probability was sampled


@dataclass(frozen=True)
class Suspect:
    """A patch where a confident model and the mask disagree."""

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
    # Cut where the pair of classes changes to the right or below. This may split patches that are one pixel wide,
    # which are too small to be suspected.
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
        if i == 0:  # the correct pixels
            continue
        left, top, across, down = cv2.boundingRect((ids_HW == i).view(np.uint8))
        part = slice(top, top + down + 1), slice(left, left + across + 1)  # one pixel more, which the cut removed
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
    """The kind of each wrong pixel, as an index of KINDS.

    Args:
        band_N: the pixel's band in the truth.
        lost_N: whether its region was missed.
        suspected_N: whether its label is suspected; None: no label is.
    """
    near = band_N <= DISTANCES_PX.index(BOUNDARY_PX)
    kind = np.where(near, np.uint8(KINDS.index("boundary")), np.uint8(KINDS.index("interior")))
    kind[lost_N] = KINDS.index("region")
    if suspected_N is not None:
        kind[suspected_N] = KINDS.index("label")
    return kind


def gains_if_fixed(matrix: Counts, errors_KCC: Counts) -> dict[str, float]:
    """The gain in mean IoU if a kind of error were fixed, each kind alone, 0–1.

    A suspected label error is fixed in the mask: the prediction becomes the truth.
    """
    before = scores(matrix).miou
    gains = {}
    for kind, errors in zip(KINDS, errors_KCC, strict=True):
        becomes = errors.sum(axis=0 if kind == "label" else 1)
        gains[kind] = scores(matrix - errors + np.diag(becomes)).miou - before
    return gains
