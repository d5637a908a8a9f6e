"""Boundary F and surface Dice: boundary pixels with a boundary pixel of the same class nearby in the other map.

Boundary F (Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?") is the F1 score of the
boundary pixels that have such a partner within t pixels; surface Dice (Nikolov et al. 2018) counts the same partners.

A class ends where another label begins, void included; predictions are void where the truth is. The image border is no
outline.

The classes with a boundary at a place are the bits of one number. Membership of a disc is looked up row by row, in maps
dilated along rows, instead of pixel by pixel.

Shapes: H, W an image's own size; C classes; T tolerances; N boundary pixels; P places of a flat map.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.metrics.confusion import ratio
from pixelwise.records import VOID, Labels

TOLERANCES_PX = (1, 2, 3, 5)  # Euclidean
REACH_PX = TOLERANCES_PX[-1]
BITS = (8, 16, 32, 64)  # widths of unsigned integers
STRIP = 1 << 18  # places processed at a time: bounds the memory for large images

Bits = NDArray[Any]  # one bit per class, in the narrowest unsigned integers that suffice


@dataclass(frozen=True)
class Outline:
    """The boundary pixels of a map, as places of a flat map whose rows are padded with void."""

    at_N: NDArray[np.intp]
    class_N: NDArray[np.uint8]
    width: int  # of a padded row
    places: int  # P

    def only(self, kept_N: NDArray[np.bool_]) -> Outline:
        """Some of the boundary pixels."""
        kept = np.flatnonzero(kept_N)  # `take` needs a third of the time of a boolean index
        return Outline(self.at_N.take(kept), self.class_N.take(kept), self.width, self.places)

    def inner(self) -> Outline:
        """All but the pixels of the first and last REACH_PX rows."""
        return self.only((self.at_N >= REACH_PX * self.width) & (self.at_N < self.places - REACH_PX * self.width))


def edges(labels_HW: Labels) -> NDArray[np.bool_]:
    """Labelled pixels with another label at one of the four neighbours. Returns [H, W]."""
    across, down = labels_HW[:, 1:] != labels_HW[:, :-1], labels_HW[1:] != labels_HW[:-1]
    found_HW = np.zeros(labels_HW.shape, np.bool_)
    found_HW[:, 1:] |= across
    found_HW[:, :-1] |= across
    found_HW[1:] |= down
    found_HW[:-1] |= down
    found_HW &= labels_HW != VOID
    return found_HW


def outline(labels_HW: Labels, first: int, stop: int) -> Outline:
    """The outline of these rows and of REACH_PX rows above and below; void outside the map."""
    width, wide = labels_HW.shape[1], labels_HW.shape[1] + REACH_PX
    above, end = max(first - REACH_PX, 0), min(stop + REACH_PX, len(labels_HW))
    top = max(above - 1, 0)  # one row more: it may make the next a boundary
    near_HW = edges(labels_HW[top : end + 1])[above - top : end - top]
    at_N = np.flatnonzero(near_HW)
    class_N = labels_HW[above:end].ravel().take(at_N)
    at_N += at_N // width * REACH_PX + (above - first + REACH_PX) * wide
    return Outline(at_N, class_N, wide, (stop - first + 2 * REACH_PX) * wide)


def bits_of_classes(first: int, number: int) -> Bits:
    """One bit for each of `number` classes from `first` on, 0 for all others. Returns [256]."""
    dtype = np.dtype(f"uint{next(bits for bits in BITS if bits >= number)}")
    table = np.zeros(256, dtype)
    table[first : first + number] = np.left_shift(dtype.type(1), np.arange(number, dtype=dtype))
    return table


def marked(own: Outline, bits: Bits) -> Bits:
    """The class of each boundary pixel, on a flat map. Returns [P]."""
    here = np.zeros(own.places, bits.dtype)
    here[own.at_N] = bits.take(own.class_N)
    return here


def dilated_along_rows(here: Bits) -> list[Bits]:
    """The classes with a boundary at most 0, 1 … REACH_PX pixels to the left or right: one map [P] for each."""
    found = [here]
    for px in range(1, REACH_PX + 1):
        wider = np.empty_like(here)
        wider[:px] = found[-1][:px]
        np.bitwise_or(found[-1][px:], here[:-px], out=wider[px:])
        wider[:-px] |= here[px:]
        found.append(wider)
    return found


def within(near_P: list[Bits], at_N: NDArray[np.intp], width: int, px: int) -> Bits:
    """The classes with a boundary at most `px` from each place. Returns [N]."""
    found_N = near_P[px].take(at_N)
    for rows in range(1, px + 1):
        row_P = near_P[isqrt(px**2 - rows**2)]
        found_N |= row_P.take(at_N + rows * width)
        found_N |= row_P.take(at_N - rows * width)
    return found_N


def partnered(own: Outline, bits: Bits, near_P: list[Bits], classes: int) -> NDArray[np.int64]:
    """Boundary pixels of each class with a partner in the other map, for each tolerance. Returns [T, C].

    Args:
        bits: of the classes that are counted.
        near_P: of the other map, with the same bits.
    """
    found = np.zeros((len(TOLERANCES_PX), classes), np.int64)
    found += np.bincount(own.class_N, minlength=classes)
    for i, px in enumerate(TOLERANCES_PX):  # most find a partner at once; few remain for the wider discs
        own = own.only((within(near_P, own.at_N, own.width, px) & bits.take(own.class_N)) == 0)
        found[i] -= np.bincount(own.class_N, minlength=classes)
    return found


def outline_counts(predicted_HW: Labels, true_HW: Labels, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Boundary pixels of each class, and how many have a partner of their class in the other map within the tolerance.

    Both maps are void where the truth is.

    Returns:
        Two arrays int64 [T, 4, C]: predicted, predicted with partner, true, true with partner. The first counts these
        maps. Column c of the second counts a prediction of class c everywhere, whose outline is that of void.
    """
    void_HW = (true_HW == VOID).view(np.uint8) * np.uint8(VOID)
    found, guess = np.zeros((2, len(TOLERANCES_PX), 4, classes), np.int64)
    step = max(STRIP // (true_HW.shape[1] + REACH_PX), 1)
    for row in range(0, len(true_HW), step):
        predicted, true, void = (
            outline(labels_HW, row, min(row + step, len(true_HW))) for labels_HW in (predicted_HW, true_HW, void_HW)
        )
        count_partners(predicted, true, void, found, guess)
    return found, guess


def count_partners(
    predicted: Outline, true: Outline, void: Outline, found: NDArray[np.int64], guess: NDArray[np.int64]
) -> None:
    """Add the pixels of all but the first and last REACH_PX rows to the arrays that `outline_counts` returns."""
    classes = found.shape[-1]
    own_p, own_t, own_v = predicted.inner(), true.inner(), void.inner()
    found[:, 0] += np.bincount(own_p.class_N, minlength=classes)
    found[:, 2] += (truly := np.bincount(own_t.class_N, minlength=classes))
    guess[:, 2] += truly
    guess[:, 0] += len(own_v.at_N)
    for first in range(0, classes, BITS[-1] - 1):
        number = min(BITS[-1] - 1, classes - first)
        bits = bits_of_classes(first, number + 1)
        void_bit = bits[first + number]  # the bit after these classes
        bits[first + number] = 0
        near_true_P = dilated_along_rows(marked(true, bits))
        predicted_P = marked(predicted, bits)
        predicted_P[void.at_N] |= void_bit  # the outline of any class that is predicted everywhere
        near_predicted_P = dilated_along_rows(predicted_P)
        found[:, 1] += partnered(own_p, bits, near_true_P, classes)
        found[:, 3] += partnered(own_t, bits, near_predicted_P, classes)
        for i, px in enumerate(TOLERANCES_PX):
            near_N = within(near_true_P, own_v.at_N, void.width, px)
            for c in range(first, first + number):
                guess[i, 1, c] += np.count_nonzero(near_N & bits[c])
        if first == 0 and len(void.at_N):
            side = 2 * REACH_PX + 1
            square_P = cv2.dilate(
                (predicted_P & void_bit != 0).view(np.uint8).reshape(-1, void.width), np.ones((side, side), np.uint8)
            )
            near = own_t.only(square_P.ravel().take(own_t.at_N) != 0)  # few are, and only they need a look-up
            guess[:, 3] += partnered(near, np.full(256, void_bit), near_predicted_P, classes)


def boundary_f(counts_T4C: NDArray[np.number]) -> NDArray[np.float64]:
    """The F1 score of boundary pixels. Returns float64 [T, C]; NaN where a class has no boundary in either map."""
    predicted, predicted_near, true, true_near = np.moveaxis(counts_T4C.astype(float), -2, 0)
    known = (predicted > 0) | (true > 0)
    precision, recall = predicted_near / np.maximum(predicted, 1), true_near / np.maximum(true, 1)
    f_TC = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    return np.where(known, f_TC, np.nan)


def surface_dice(counts_T4C: NDArray[np.number]) -> NDArray[np.float64]:
    """Normalised surface Dice (Nikolov et al. 2018, arXiv:1809.04430): the share of boundary pixels with a partner.

    Returns float64 [T, C], NaN as in `boundary_f`.
    """
    predicted, predicted_near, true, true_near = np.moveaxis(counts_T4C.astype(float), -2, 0)
    total = predicted + true
    return ratio(predicted_near + true_near, total)
