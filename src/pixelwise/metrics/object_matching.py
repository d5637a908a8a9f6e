"""Which predicted object is which true one: the matching behind every score of objects.

Two objects are a pair at a threshold when the IoU of their pixels reaches it. Objects of one map do not overlap, so
that from an IoU of 0.5 on no object has two partners (Kirillov et al. 2019, arXiv:1801.00868), but for an object whose
two halves are objects of the other map: then the surer half is the partner, and with equal confidence the one with the
lower number. So no assignment problem has to be solved, and every order of matching finds as many pairs.

Void, as in COCO's panoptic task: void pixels belong to no true object and to no IoU; a predicted object that is
matched with none and has more than half of its pixels on void is ignored: it counts neither as right nor as wrong.

Shapes: H, W an image's own size; T true and P predicted objects; N pairs that share pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIP_PIXELS = 1 << 22  # counted at a time
LEAST_IOU = 0.5  # below it a partner would not be unique
ON_VOID = 0x_FFFF_FFFF  # in place of a true object's number, where the truth is void

ObjectNumbers = NDArray[np.integer[Any]]  # [H, W]: the number of the object of each pixel; 0: none


@dataclass(frozen=True)
class Overlaps:
    """Every pair of a true and a predicted object that share pixels, and the area of all objects, without void."""

    true_N: NDArray[np.intp]
    predicted_N: NDArray[np.intp]
    pixels_N: NDArray[np.int64]
    true_number_T: NDArray[np.uint32]  # ascending: the numbers in the map
    predicted_number_P: NDArray[np.uint32]
    true_area_T: NDArray[np.int64]
    predicted_area_P: NDArray[np.int64]
    void_P: NDArray[np.int64]  # pixels on void

    def iou_N(self) -> NDArray[np.float64]:
        union_N = self.true_area_T[self.true_N] + self.predicted_area_P[self.predicted_N] - self.pixels_N
        return np.asarray(self.pixels_N / union_N)


@dataclass(frozen=True)
class MatchedObjects:
    """The objects of one class in one image, matched. A partner is an index into the other map's objects; −1: none."""

    true_number_T: NDArray[np.uint32]  # ascending: the numbers in the map
    true_area_T: NDArray[np.int64]  # pixels, without void
    partner_T: NDArray[np.intp]
    iou_T: NDArray[np.float64]  # with the partner; 0 where there is none
    split_T: NDArray[np.bool_]  # at least two predicted objects have more than half of their pixels in it
    merged_T: NDArray[np.bool_]  # one of those that are merged
    predicted_number_P: NDArray[np.uint32]
    predicted_area_P: NDArray[np.int64]
    partner_P: NDArray[np.intp]
    iou_P: NDArray[np.float64]
    void_P: NDArray[np.bool_]  # more than half of its pixels are on void: ignored where it is matched with none
    merged_P: NDArray[np.bool_]  # at least two true objects have more than half of their pixels in it
    split_P: NDArray[np.bool_]  # one of the parts of a split one
    confidence_P: NDArray[np.float64] | None
    shared_px: int  # of every true object with the predicted one of the highest IoU: the intersection of AJI
    joint_px: int  # the union of AJI: of these pairs, and the areas of all predicted objects that are in none


def match_objects(
    predicted_HW: ObjectNumbers,
    true_HW: ObjectNumbers,
    void_HW: NDArray[np.bool_] | None = None,
    confidence_P: NDArray[np.floating[Any]] | None = None,
) -> MatchedObjects:
    """Match the predicted objects of one class with the true ones.

    Args:
        predicted_HW: the number of the predicted object of each pixel; 0: none.
        true_HW: the number of the true object.
        void_HW: where the truth is void. None: nowhere.
        confidence_P: of each predicted object, by ascending number. None: unknown.

    Raises:
        ValueError: shapes differ, a number is negative or above 4,294,967,294, or `confidence_P` has another length.
    """
    found = overlaps(predicted_HW, true_HW, void_HW)
    trues, predictions = len(found.true_area_T), len(found.predicted_area_P)
    if confidence_P is not None and len(confidence_P) != predictions:
        raise ValueError(f"{len(confidence_P)} confidences for {predictions} predicted objects")
    sure_P = np.zeros(predictions) if confidence_P is None else np.asarray(confidence_P, np.float64)
    iou_N = found.iou_N()
    order = np.lexsort((-sure_P[found.predicted_N], -iou_N))  # the best pairs first; stable: then the lower numbers
    best_T = first_pairs(found.true_N, order)  # of every true object that shares pixels with any
    pairs = first_pairs(found.predicted_N, best_T[iou_N[best_T] >= LEAST_IOU])
    partner_T, partner_P = np.full(trues, -1), np.full(predictions, -1)
    partner_T[found.true_N[pairs]], partner_P[found.predicted_N[pairs]] = found.predicted_N[pairs], found.true_N[pairs]
    iou_T, iou_P = np.zeros(trues), np.zeros(predictions)
    iou_T[found.true_N[pairs]] = iou_P[found.predicted_N[pairs]] = iou_N[pairs]
    void_P = found.void_P > found.predicted_area_P
    shared, joint = aggregated(found, best_T, void_P)
    part_N = 2 * found.pixels_N > found.predicted_area_P[found.predicted_N]  # of a true object
    held_N = 2 * found.pixels_N > found.true_area_T[found.true_N]  # by a predicted object
    split_T, split_P = several(found.true_N[part_N], found.predicted_N[part_N], trues, predictions)
    merged_P, merged_T = several(found.predicted_N[held_N], found.true_N[held_N], predictions, trues)
    return MatchedObjects(
        true_number_T=found.true_number_T,
        true_area_T=found.true_area_T,
        partner_T=partner_T,
        iou_T=iou_T,
        split_T=split_T,
        merged_T=merged_T,
        predicted_number_P=found.predicted_number_P,
        predicted_area_P=found.predicted_area_P,
        partner_P=partner_P,
        iou_P=iou_P,
        void_P=void_P,
        merged_P=merged_P,
        split_P=split_P,
        confidence_P=None if confidence_P is None else sure_P,
        shared_px=shared,
        joint_px=joint,
    )


def first_pairs(object_N: NDArray[np.intp], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """The first pair, in this order, of every object."""
    return order[np.sort(np.unique(object_N[order], return_index=True)[1])]


def several(
    whole_N: NDArray[np.intp], part_N: NDArray[np.intp], wholes: int, parts: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which objects have at least two parts, and which objects are such parts."""
    of_many = np.bincount(whole_N, minlength=wholes) >= 2
    are_parts = np.zeros(parts, np.bool_)
    are_parts[part_N[of_many[whole_N]]] = True
    return of_many, are_parts


def aggregated(found: Overlaps, best_T: NDArray[np.intp], void_P: NDArray[np.bool_]) -> tuple[int, int]:
    """Intersection and union of the aggregated Jaccard index (Kumar et al. 2017, doi:10.1109/TMI.2017.2677499).

    A predicted object may be the best of several true ones, and counts in the union of each.
    """
    predicted = found.predicted_N[best_T]
    shared = int(found.pixels_N[best_T].sum())
    alone_P = ~void_P
    alone_P[predicted] = False
    joint = found.true_area_T.sum() + found.predicted_area_P[predicted].sum() - shared
    return shared, int(joint + found.predicted_area_P[alone_P].sum())


def overlaps(predicted_HW: ObjectNumbers, true_HW: ObjectNumbers, void_HW: NDArray[np.bool_] | None = None) -> Overlaps:
    """The pairs that share pixels, by ascending true and then predicted number. Raises as `match_objects`."""
    true_K, predicted_K, pixels_K = shared_pixels(predicted_HW, true_HW, void_HW)
    real_K = (true_K != 0) & (true_K != ON_VOID)
    true_number_T = np.unique(true_K[real_K])
    predicted_number_P = np.unique(predicted_K[predicted_K != 0])
    true_at_K = np.searchsorted(true_number_T, true_K)
    predicted_at_K = np.searchsorted(predicted_number_P, predicted_K)

    def area(at_K: NDArray[np.intp], chosen_K: NDArray[np.bool_], objects: int) -> NDArray[np.int64]:
        return np.bincount(at_K[chosen_K], pixels_K[chosen_K], objects).astype(np.int64)

    labelled_K = (predicted_K != 0) & (true_K != ON_VOID)
    both_K = real_K & (predicted_K != 0)
    return Overlaps(
        true_N=true_at_K[both_K],
        predicted_N=predicted_at_K[both_K],
        pixels_N=pixels_K[both_K],
        true_number_T=true_number_T,
        predicted_number_P=predicted_number_P,
        true_area_T=area(true_at_K, real_K, len(true_number_T)),
        predicted_area_P=area(predicted_at_K, labelled_K, len(predicted_number_P)),
        void_P=area(predicted_at_K, (predicted_K != 0) & (true_K == ON_VOID), len(predicted_number_P)),
    )


def shared_pixels(
    predicted_HW: ObjectNumbers, true_HW: ObjectNumbers, void_HW: NDArray[np.bool_] | None
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.int64]]:
    """Every combination of a true and a predicted number in the image, ascending, with the number of its pixels.

    Counted by runs of equal pixels, in strips: a pixel temporarily takes eight bytes.
    """
    shapes = {predicted_HW.shape, true_HW.shape} | ({void_HW.shape} if void_HW is not None else set())
    if len(shapes) > 1:
        raise ValueError(f"maps of predicted and true objects and of void must have one shape, not {sorted(shapes)}")
    codes, pixels = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    rows = max(STRIP_PIXELS // max(true_HW.shape[1], 1), 1)
    for top in range(0, len(true_HW), rows):
        strip = slice(top, top + rows)
        code_HW = checked(true_HW[strip]) << np.uint64(32)
        if void_HW is not None:
            code_HW[void_HW[strip]] = ON_VOID << 32
        code_HW |= checked(predicted_HW[strip])
        flat = code_HW.ravel()
        begin = np.flatnonzero(np.concatenate((np.ones(min(flat.size, 1), np.bool_), flat[1:] != flat[:-1])))
        code, number = summed(flat.take(begin), np.diff(begin, append=flat.size))
        codes.append(code)
        pixels.append(number)
    code, number = summed(np.concatenate(codes), np.concatenate(pixels))
    return (code >> 32).astype(np.uint32), (code & 0xFFFF_FFFF).astype(np.uint32), number


def checked(numbers_HW: ObjectNumbers) -> NDArray[np.uint64]:
    """A copy as 64-bit numbers. Raises ValueError for a number that no object can have."""
    if numbers_HW.size and (numbers_HW.min() < 0 or numbers_HW.max() >= ON_VOID):
        raise ValueError(f"object numbers must be 0 … {ON_VOID - 1}; got {numbers_HW.min()} … {numbers_HW.max()}")
    return numbers_HW.astype(np.uint64)


def summed(code_K: NDArray[np.uint64], pixels_K: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Each code once, ascending, with the sum of its pixels."""
    code, at_K = np.unique(code_K, return_inverse=True)
    return code, np.bincount(at_K.ravel(), pixels_K, len(code)).astype(np.int64)
