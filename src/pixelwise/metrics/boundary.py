"""Boundary IoU and the trimap, from bands around boundaries; `outlines` counts single boundary pixels.

Boundary IoU (Cheng et al. 2021, arXiv:2103.16562) compares the bands within d pixels of a class's outline. The trimap
(Kohli et al. 2009) uses the same bands, around true boundaries only.

A class ends where another label begins, void included; predictions are void where the truth is. The image border counts
as an outline in boundary IoU, as in the paper, and nowhere else.

Shapes: H, W an image's own size, or that of a strip of its rows; C classes; D distances.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.metrics.confusion import ratio
from pixelwise.records import VOID, Labels

DISTANCES_PX = (1, 2, 4, 8, 16)  # widths of the bands in the image's own pixels; Chebyshev distance

EXACT = 1 << 24  # OpenCV counts in float32, which is exact up to here

Bands = NDArray[np.uint8]  # [H, W]: the number of distances that are smaller than a pixel's own to the nearest boundary


def bands(labels_HW: Labels, distances: tuple[int, ...] = DISTANCES_PX) -> Bands:
    """For each pixel, the index of the narrowest band that contains it; D where none does.

    A pixel is within d of a boundary when another label is at most d pixels away, diagonal steps counting as one.
    `distances` ascend.
    """
    boundary_HW = (cv2.erode(labels_HW, square(1)) != cv2.dilate(labels_HW, square(1))).view(np.uint8)
    return np.asarray(len(distances) - depth(boundary_HW, 1, distances), np.uint8)


def depth(within_HW: NDArray[np.uint8], reached: int, distances: tuple[int, ...]) -> NDArray[np.uint8]:
    """The number of bands that contain each pixel. `within_HW`: 1 where it is within the distance `reached`, else 0."""
    found_HW = np.zeros(within_HW.shape, np.uint8)
    for distance in distances:  # a square dilated by a square is a square: start from the last one
        if distance > reached:
            within_HW, reached = np.asarray(cv2.dilate(within_HW, square(distance - reached)), np.uint8), distance
        found_HW += within_HW
    return found_HW


@lru_cache(maxsize=32)
def square(reach: int) -> NDArray[np.uint8]:
    """The kernel of a Chebyshev distance."""
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def bands_of_rows(labels_HW: Labels, first: int, stop: int) -> Bands:
    """As `bands`, of these rows only."""
    top = max(first - DISTANCES_PX[-1], 0)
    return bands(labels_HW[top : stop + DISTANCES_PX[-1]])[first - top : stop - top]


@lru_cache(maxsize=8)
def frame_bands(
    height: int, width: int, distances: tuple[int, ...] = DISTANCES_PX, rows: tuple[int, int] | None = None
) -> Bands:
    """As `bands`, for the distance to the outside of the image. `rows`: first and stop; None: all."""
    first, stop = rows or (0, height)
    return np.minimum(side_bands(height, distances)[first:stop, None], side_bands(width, distances)[None])


def side_bands(side: int, distances: tuple[int, ...]) -> NDArray[np.uint8]:
    """As `frame_bands`, along one side."""
    away = np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1))
    return np.asarray((away[:, None] > np.array(distances)).sum(axis=1), np.uint8)


@lru_cache(maxsize=8)
def frame_pixels(
    height: int, width: int, distances: tuple[int, ...] = DISTANCES_PX, rows: tuple[int, int] | None = None
) -> tuple[NDArray[np.intp], Bands]:
    """The pixels near the image border, as indices of the flat rows, and their bands."""
    flat = frame_bands(height, width, distances, rows).ravel()
    at = np.flatnonzero(flat < len(distances))
    return at, flat[at]


def banded_matrix(
    predicted_HW: Labels,
    true_HW: Labels,
    bands_predicted: Bands,
    bands_true: Bands,
    classes: int,
    strip: tuple[int, int] = (0, 0),
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The confusion matrix by the bands of both maps, which are void where the truth is. Void is not counted.

    The maps may be a strip of a large image: the strips' counts add up to those of the image.

    Args:
        strip: the strip's first row, and the height of the image; (0, 0): the maps are the whole image.

    Returns:
        int64 [C, C, D + 1, D + 1] (true class, predicted class, true band, predicted band), twice: without the image
        border as an outline, and with it.
    """
    side, width = classes + 1, len(DISTANCES_PX) + 1  # the last class is void's
    first, height = strip[0], strip[1] or len(true_HW)
    at, frame = frame_pixels(height, true_HW.shape[1], rows=(first, first + len(true_HW)))
    codes, before, after = [], [], []  # class and band of all pixels; of those near the border, without and with it
    for labels_HW, band_HW in ((true_HW, bands_true), (predicted_HW, bands_predicted)):
        code_HW: Any = np.minimum(labels_HW, classes).astype(np.uint8 if side * width <= 256 else np.uint16)
        code_HW *= width
        code_HW += band_HW
        near, band = code_HW.ravel().take(at), band_HW.ravel().take(at)
        codes.append(code_HW)
        before.append(near)
        after.append(near - (band - np.minimum(band, frame)))
    plain = counted_pairs(codes, side * width)
    framed = plain - counted_pairs(before, side * width) + counted_pairs(after, side * width)

    def by_class(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        return counts.reshape(side, width, side, width).transpose(0, 2, 1, 3)[:classes, :classes]

    return by_class(plain), by_class(framed)


def counted_pairs(codes: list[NDArray[Any]], number: int) -> NDArray[np.int64]:
    """The joint histogram [number, number] of two maps of codes 0 … number − 1."""
    first, second = codes
    if first.dtype.itemsize > 1 or first.size >= EXACT:
        pairs = first.ravel().astype(np.intp) * number + second.ravel()
        return np.bincount(pairs, minlength=number**2).reshape(number, number)
    return cv2.calcHist([first, second], [0, 1], None, [number] * 2, [0, number] * 2).astype(np.int64)


def band_counts(framed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels of each class in its band of the truth, of the prediction, and in both. Returns int64 [3, D, C].

    [:, i] counts the band of the i-th distance, narrower ones included. `framed`: the second array of `banded_matrix`.
    """
    classes, distances = len(framed), len(DISTANCES_PX)
    right = framed[np.arange(classes), np.arange(classes)].cumsum(axis=1).cumsum(axis=2)  # in both bands at once
    true, predicted = framed.sum(axis=(1, 3)).cumsum(axis=1), framed.sum(axis=(0, 2)).cumsum(axis=1)
    both = np.diagonal(right, axis1=1, axis2=2)
    return np.stack([counts[:, :distances].T for counts in (true, predicted, both)])


def baseline_counts(true_HW: Labels, classes: int, rows: tuple[int, int] | None = None) -> NDArray[np.int64]:
    """As `band_counts`, for predicting one class everywhere: its outline is the image border and void.

    Args:
        rows: first and stop; None: all.

    Returns:
        int64 [2, D, C], for each class: the pixels of its predicted band, and how many of them are truly of the class.
    """
    height, width = true_HW.shape
    first, stop = rows or (0, height)
    top = max(first - DISTANCES_PX[-1], 0)
    void: Any = (true_HW[top : stop + DISTANCES_PX[-1]] == VOID).view(np.uint8)
    true_HW = true_HW[first:stop]
    # The number of the border's bands that contain each pixel.
    beyond = len(DISTANCES_PX) - frame_bands(height, width, rows=(first, stop))
    if void.any():
        beyond = np.maximum(beyond, depth(void, 0, DISTANCES_PX)[first - top : stop - top])
    side = classes + 1  # the last class is void's
    codes: NDArray[Any] = np.minimum(true_HW, classes).astype(
        np.uint8 if (len(DISTANCES_PX) + 1) * side <= 256 else np.uint16
    )
    codes += beyond.astype(codes.dtype) * np.asarray(side, codes.dtype)
    found = counted(codes, (len(DISTANCES_PX) + 1) * side).reshape(-1, side)[:0:-1, :classes]  # the narrowest first
    right = found.cumsum(axis=0)
    return np.stack([np.broadcast_to(right.sum(axis=1, keepdims=True), right.shape), right])


def counted(codes_HW: NDArray[Any], number: int) -> NDArray[np.int64]:
    """The histogram [number] of a map of codes 0 … number − 1."""
    if codes_HW.dtype.itemsize > 2 or codes_HW.size >= EXACT:
        return np.bincount(codes_HW.ravel(), minlength=number)
    return cv2.calcHist([codes_HW], [0], None, [number], [0, number]).ravel().astype(np.int64)


def boundary_iou(counts_3DC: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of the bands. Returns float64 [D, C], NaN where a class has no band in either map."""
    true_DC, predicted_DC, both_DC = counts_3DC.astype(float)
    union_DC = true_DC + predicted_DC - both_DC
    return ratio(both_DC, union_DC)
