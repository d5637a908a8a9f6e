"""How well do outlines agree? Bands around boundaries, and boundary pixels that find their partner.

Two views of one question. Boundary IoU (Cheng et al. 2021, arXiv:2103.16562) compares the bands that lie within d
pixels of a class's outline; boundary F (Csurka et al. 2013, "What is a good evaluation measure for semantic
segmentation?") asks for each boundary pixel whether the other map has one of its class within t pixels. The trimap
(Kohli et al. 2009) uses the same bands, around true boundaries alone.

A class ends where another label begins, void included: predictions are set void where the truth is, and so end there
as well. The frame of the image is an outline in boundary IoU, as its authors have it, and nowhere else.

Shapes: H, W an image's own size; C classes; D distances; T tolerances.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.metrics.confusion import ratio
from pixelwise.records import VOID, Labels

DISTANCES_PX = (1, 2, 4, 8, 16)  # of bands from the boundary; in the image's own pixels, in squares (Chebyshev)
TOLERANCES_PX = (1, 2, 3, 5)  # of boundary F, as the crow flies (Euclidean)

BITS = 64  # classes that fit into the bits of one number

Bands = NDArray[np.uint8]  # [H, W]: how many of the distances a pixel is farther from a boundary than


def bands(labels_HW: Labels, distances: tuple[int, ...] = DISTANCES_PX) -> Bands:
    """For each pixel, the index of the narrowest band around a boundary that holds it; D where none does.

    A pixel is within d of a boundary when another label is at most d pixels away, diagonal steps counting as one.
    `distances` ascend.
    """
    found_HW = np.zeros(labels_HW.shape, np.uint8)
    lowest, highest, reached = labels_HW, labels_HW, 0
    for distance in distances:  # a square's minimum is the minimum of smaller squares' minima: go on from the last
        side = 2 * (distance - reached) + 1
        square = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
        lowest, highest, reached = cv2.erode(lowest, square), cv2.dilate(highest, square), distance  # type: ignore[assignment]
        found_HW += lowest == highest
    return found_HW


@lru_cache(maxsize=8)
def frame_bands(height: int, width: int, distances: tuple[int, ...] = DISTANCES_PX) -> Bands:
    """As `bands`, for the distance to what lies outside the image."""
    rows = np.minimum(np.arange(1, height + 1), np.arange(height, 0, -1))
    columns = np.minimum(np.arange(1, width + 1), np.arange(width, 0, -1))
    away_HW = np.minimum(rows[:, None], columns[None])
    return np.asarray(sum((away_HW > d).astype(np.uint8) for d in distances), np.uint8)


@lru_cache(maxsize=8)
def frame_pixels(height: int, width: int, distances: tuple[int, ...] = DISTANCES_PX) -> tuple[NDArray[np.intp], Bands]:
    """The pixels near the frame, as indices of the flat image, and their bands."""
    flat = frame_bands(height, width, distances).ravel()
    at = np.flatnonzero(flat < len(distances))
    return at, flat[at]


@lru_cache(maxsize=1)
def framed_bands(width: int) -> NDArray[np.uint8]:
    """Bands of both maps (true · width + predicted) where the frame is in a band itself: [its band, before] → after."""
    band = np.arange(width)
    true, predicted = np.minimum(band[:, None], band), np.minimum(band[:, None], band)
    return (true[:, :, None] * width + predicted[:, None, :]).reshape(width, width**2).astype(np.uint8)


def banded_matrix(
    predicted_HW: Labels, true_HW: Labels, bands_predicted: Bands, bands_true: Bands, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The confusion matrix, by both maps' bands. Both maps are void where the truth is; void is left out.

    All pixels are counted once, and those near the frame once more, for the outlines that boundary IoU sees there.

    Returns int64 [C, C, D + 1, D + 1] (true class, predicted class, true band, predicted band) without the frame's
    outline, and with it.
    """
    side, width = classes + 1, len(DISTANCES_PX) + 1  # the last class is void's
    bins = (side * width) ** 2
    codes: NDArray[Any] = np.minimum(true_HW, classes).astype(np.uint16 if bins <= 1 << 16 else np.uint32)
    for values, number in ((np.minimum(predicted_HW, classes), side), (bands_true, width), (bands_predicted, width)):
        codes *= number
        codes += values
    plain = counted(codes, bins)
    at, frame = frame_pixels(*true_HW.shape)
    near = codes.ravel()[at]
    within = near % np.asarray(width**2, codes.dtype)
    moved = near - within + framed_bands(width)[frame, within].astype(codes.dtype)
    framed = plain - counted(near, bins) + counted(moved, bins)
    shape = (side, side, width, width)
    return plain.reshape(shape)[:classes, :classes], framed.reshape(shape)[:classes, :classes]


def band_counts(framed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels of each class in its band of the truth, of the prediction, and in both. Returns int64 [3, D, C].

    [:, i] counts bands of the i-th distance, narrower ones included. `framed` is the second that `banded_matrix` gives.
    """
    classes, distances = len(framed), len(DISTANCES_PX)
    right = framed[np.arange(classes), np.arange(classes)].cumsum(axis=1).cumsum(axis=2)  # in both bands at once
    true, predicted = framed.sum(axis=(1, 3)).cumsum(axis=1), framed.sum(axis=(0, 2)).cumsum(axis=1)
    both = np.diagonal(right, axis1=1, axis2=2)
    return np.stack([counts[:, :distances].T for counts in (true, predicted, both)])


def guess_counts(true_HW: Labels, classes: int) -> NDArray[np.int64]:
    """As `band_counts`, for one class everywhere, which ends at the frame and at void alone. Returns int64 [2, D, C].

    For each class: the pixels of its band were it said everywhere, and those of them that it truly has.
    """
    beyond = len(DISTANCES_PX) - frame_bands(*true_HW.shape)  # in how many of the frame's bands a pixel lies
    void: Any = (true_HW == VOID).view(np.uint8)
    if void.any():
        around_HW, reached = void.copy(), 0
        for distance in DISTANCES_PX:
            side = 2 * (distance - reached) + 1
            void, reached = cv2.dilate(void, np.ones((side, side), np.uint8)), distance
            around_HW += void
        beyond = np.maximum(beyond, around_HW)
    side = classes + 1  # the last class is void's
    codes: NDArray[Any] = np.minimum(true_HW, classes).astype(
        np.uint8 if (len(DISTANCES_PX) + 1) * side <= 256 else np.uint16
    )
    codes += beyond.astype(codes.dtype) * np.asarray(side, codes.dtype)
    found = counted(codes, (len(DISTANCES_PX) + 1) * side).reshape(-1, side)[:0:-1, :classes]  # the narrowest first
    right = found.cumsum(axis=0)
    return np.stack([np.broadcast_to(right.sum(axis=1, keepdims=True), right.shape), right])


def counted(codes_HW: NDArray[Any], number: int) -> NDArray[np.int64]:
    """How often each of the codes 0 … number − 1 occurs."""
    if codes_HW.dtype.itemsize > 2 or codes_HW.size >= 1 << 24:  # OpenCV counts in float32, which is exact up to there
        return np.bincount(codes_HW.ravel(), minlength=number)
    return cv2.calcHist([codes_HW], [0], None, [number], [0, number]).ravel().astype(np.int64)


def boundary_iou(counts_3DC: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of the bands. Returns float64 [D, C], NaN where a class has no band in either map."""
    true_DC, predicted_DC, both_DC = counts_3DC.astype(float)
    union_DC = true_DC + predicted_DC - both_DC
    return ratio(both_DC, union_DC)


def edges(labels_HW: Labels) -> NDArray[np.bool_]:
    """Boundary pixels: labelled, and one of the four neighbours has another label. Returns [H, W]."""
    across, down = labels_HW[:, 1:] != labels_HW[:, :-1], labels_HW[1:] != labels_HW[:-1]
    found_HW = np.zeros(labels_HW.shape, np.bool_)
    found_HW[:, 1:] |= across
    found_HW[:, :-1] |= across
    found_HW[1:] |= down
    found_HW[:-1] |= down
    found_HW &= labels_HW != VOID
    return found_HW


def edge_counts(
    predicted_HW: Labels, true_HW: Labels, classes: int, tolerances: tuple[int, ...] = TOLERANCES_PX
) -> NDArray[np.int64]:
    """Boundary pixels of each class, and how many have a partner of their class in the other map within the tolerance.

    Returns int64 [T, 4, C]: predicted, predicted with partner, true, true with partner. Both maps are void where the
    truth is. Tolerances ascend.
    """
    pad = tolerances[-1]
    maps = [edge_map(labels_HW, pad).ravel() for labels_HW in (predicted_HW, true_HW)]
    found = np.zeros((len(tolerances), 4, classes), np.int64)
    stride = predicted_HW.shape[1] + 2 * pad
    for side, (own, other) in enumerate((maps, maps[::-1])):
        at = np.flatnonzero(own != VOID)
        of_class = own[at]
        found[:, 2 * side] = np.bincount(of_class, minlength=classes)
        for i, ring in enumerate(rings(tolerances)):  # most find their partner in the first; few are left for the rest
            offsets = ring[:, 0] * stride + ring[:, 1]
            alone = (other[at[None] + offsets[:, None]] != of_class).all(axis=0)
            found[i:, 2 * side + 1] += np.bincount(of_class[~alone], minlength=classes)
            at, of_class = at[alone], of_class[alone]
    return found


def edge_map(labels_HW: Labels, pad: int) -> Labels:
    """The labels of boundary pixels, VOID elsewhere and in a frame of `pad` pixels."""
    map_HW = np.full((labels_HW.shape[0] + 2 * pad, labels_HW.shape[1] + 2 * pad), VOID, np.uint8)
    np.copyto(map_HW[pad:-pad, pad:-pad], labels_HW, where=edges(labels_HW))
    return map_HW


def guess_edge_counts(true_HW: Labels, classes: int, tolerances: tuple[int, ...] = TOLERANCES_PX) -> NDArray[np.int64]:
    """As `edge_counts`, for each class said everywhere: its boundary is that of void, the same for all of them.

    Returns int64 [T, 4, C]; column c is what `edge_counts` gives of a map that says c everywhere.
    """
    pad = tolerances[-1]
    true_map = edge_map(true_HW, pad)
    found = np.zeros((len(tolerances), 4, classes), np.int64)
    true_edges = true_map != VOID
    found[:, 2] = np.bincount(true_map[true_edges], minlength=classes)
    void_HW = true_HW == VOID
    if not void_HW.any():
        return found
    own_map = edge_map(void_HW.view(np.uint8) * np.uint8(VOID), pad) != VOID
    at = np.flatnonzero(own_map)
    found[:, 0] = len(at)
    own = own_map.view(np.uint8)
    for i, tolerance in enumerate(tolerances):
        reached = cv2.dilate(own, disc(tolerance)).view(np.bool_) & true_edges
        found[i, 3] = np.bincount(true_map[reached], minlength=classes)
    flat, stride = true_map.ravel(), true_map.shape[1]
    for first in range(0, classes, BITS):  # which classes lie around a pixel: one bit each
        bit_of = np.zeros(256, np.uint64)
        chunk = np.arange(first, min(first + BITS, classes))
        bit_of[chunk] = np.uint64(1) << (chunk - first).astype(np.uint64)
        bits = bit_of.take(flat)
        around = np.zeros(len(at), np.uint64)
        for i, ring in enumerate(rings(tolerances)):
            for offset in (ring[:, 0] * stride + ring[:, 1]).tolist():
                around |= bits.take(at + offset)
            for c in chunk.tolist():
                found[i, 1, c] = np.count_nonzero(around & bit_of[c])
    return found


@lru_cache(maxsize=8)
def disc(radius: int) -> NDArray[np.uint8]:
    """All steps of at most this length, as a kernel."""
    reach = np.arange(-radius, radius + 1) ** 2
    return (reach[:, None] + reach <= radius**2).astype(np.uint8)


@lru_cache(maxsize=8)
def rings(tolerances: tuple[int, ...]) -> list[NDArray[np.intp]]:
    """The steps (y, x) within each tolerance that no smaller one holds, as the crow flies."""
    reach = np.arange(-tolerances[-1], tolerances[-1] + 1)
    steps = np.stack(np.meshgrid(reach, reach, indexing="ij"), axis=-1).reshape(-1, 2)
    length = (steps**2).sum(axis=1)
    inner = (-1, *(tolerance**2 for tolerance in tolerances[:-1]))
    return [steps[(length > low) & (length <= high**2)] for low, high in zip(inner, tolerances, strict=True)]


def boundary_f(counts_T4C: NDArray[np.number]) -> NDArray[np.float64]:
    """F of boundary precision and recall. Returns float64 [T, C]; NaN where a class has no boundary in either map."""
    predicted, predicted_near, true, true_near = np.moveaxis(counts_T4C.astype(float), -2, 0)
    known = (predicted > 0) | (true > 0)
    precision, recall = predicted_near / np.maximum(predicted, 1), true_near / np.maximum(true, 1)
    f_TC = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    return np.where(known, f_TC, np.nan)


def surface_dice(counts_T4C: NDArray[np.number]) -> NDArray[np.float64]:
    """Normalised surface Dice (Nikolov et al. 2018, arXiv:1809.04430): boundary pixels with a partner among all.

    Returns float64 [T, C], NaN as in `boundary_f`.
    """
    predicted, predicted_near, true, true_near = np.moveaxis(counts_T4C.astype(float), -2, 0)
    total = predicted + true
    return ratio(predicted_near + true_near, total)
