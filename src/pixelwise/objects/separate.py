"""Regions of one class → its objects: connected pixels, and what touches is separated.

Touching objects are separated by a height over their pixels that is largest at their centres: the distance to the
region's edge, the brightness of the image, or the distance to a border that the model learned. A watershed gives each
summit its pixels; two summits are one object where the pass between them is nearly as high as the lower one.

Shapes: H, W the size of an image or of a strip of its rows; N objects; P pairs of neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import MissingExtraError
from pixelwise.objects.object_records import ClassObjects, FoundObjects, ObjectMap, Separation
from pixelwise.records import Labels, Raster

Height = NDArray[np.float32]  # [H, W]
LEARNED_BORDER = 0.5  # minimum probability of a pixel that separates two objects
SPECK = 0.25  # of the area that 95 % of training's objects exceed: what is smaller is left out
ROUND, ROUND_NECK, NECK = 0.75, 0.85, 0.7  # roundness from which a class is round; see `Separation.neck`
STEPS_8 = ((0, 1), (1, 0), (1, 1), (1, -1))  # to half of a pixel's eight neighbours; the others have it among theirs


class Evidence(NamedTuple):
    """What besides the labels helps to tell objects apart."""

    border_HW: Mapping[int, NDArray[np.float32]] = {}  # class id → probability of its border, 0–1
    image_HWN: Raster | None = None


NO_EVIDENCE = Evidence()


@dataclass(frozen=True)
class WindowObjects:
    """The objects of a window, and a pixel of each that identifies it: its summit."""

    objects_HW: ObjectMap
    class_N: NDArray[np.uint8]
    summit_N: NDArray[np.intp]  # flat index


def find_objects(
    labels_HW: Labels, separations: Mapping[int, Separation], evidence: Evidence = NO_EVIDENCE
) -> FoundObjects:
    """The objects of an image in memory.

    Args:
        labels_HW: class ids.
        separations: class id → how its touching objects are separated. Classes that it lacks have no objects.
        evidence: the learned borders and the image, for the methods "border" and "intensity".

    Returns:
        Objects numbered by class, then by the place of their first pixel, or of their summit where they are separated;
        without those under `Separation.least_px`.

    Raises:
        MissingExtraError: a method other than "components" without scikit-image.
    """
    found = separate_window(labels_HW, separations, evidence)
    return without_specks(FoundObjects(found.objects_HW, found.class_N), separations)


def without_specks(found: FoundObjects, separations: Mapping[int, Separation]) -> FoundObjects:
    """The objects that are not under the smallest area of their class, with new numbers."""
    if not any(one.least_px for one in separations.values()):
        return found
    area_N = np.bincount(found.objects_HW.ravel(), minlength=found.number + 1)[1:]
    least_N = np.array([separations[int(c)].least_px for c in found.class_N], np.float64)
    kept_N = area_N >= least_N
    numbers = np.concatenate([[0], np.cumsum(kept_N) * kept_N]).astype(np.uint32)
    return FoundObjects(numbers[found.objects_HW], found.class_N[kept_N])


def separation_for(known: ClassObjects | None, *, has_border: bool = False) -> Separation:
    """How a class's touching objects are separated unless a person says otherwise, and why; and which are specks.

    Args:
        known: what training measured of the class's objects; None: nothing.
        has_border: whether the model learned the border between them.
    """
    least = 0.0 if known is None else SPECK * known.area_low_px
    return replace(_separation_for(known, has_border=has_border), least_px=least)


def _separation_for(known: ClassObjects | None, *, has_border: bool) -> Separation:
    radius = 0.0 if known is None else float(np.sqrt(known.area_low_px / np.pi))
    smooth, apart = (1.0, 0.0) if known is None else (min(max(0.1 * radius, 0.5), 3.0), 0.5 * radius)
    if has_border:
        why = "the model learned the border between touching objects"
        return Separation("border", apart, smooth, NECK, reason=why)  # a border with a gap leaves a narrow neck
    if not _has_watershed():
        return Separation(reason="connected pixels; pip install 'pixelwise[objects]' separates touching objects")
    if known is not None and known.roundness < 0.5:
        why = f"connected pixels: a typical object's roundness is {known.roundness:.2f}, too far from a disc to split"
        return Separation(reason=why)
    if known is None:
        return Separation("distance", apart, smooth, reason="typical sizes of objects are unknown: split at necks")
    why = f"typical objects of {known.area_px:,.0f} px and roundness {known.roundness:.2f}: split at necks"
    neck = ROUND_NECK if known.roundness >= ROUND else NECK  # what is not round has necks of its own
    return Separation("distance", apart, smooth, neck, reason=why)


def separate_window(labels_HW: Labels, separations: Mapping[int, Separation], evidence: Evidence) -> WindowObjects:
    """As `find_objects`, with each object's summit. Raises MissingExtraError."""
    objects_HW = np.zeros(labels_HW.shape, np.uint32)
    classes, summits = [np.empty(0, np.uint8)], [np.empty(0, np.intp)]
    number = 0
    for class_id, separation in separations.items():
        mask_HW = (labels_HW == class_id).view(np.uint8)
        if not mask_HW.any():
            continue
        one_HW, summit_N = _of_class(mask_HW, class_id, separation, evidence)
        np.add(one_HW, np.uint32(number), out=objects_HW, where=mask_HW.view(np.bool_), casting="unsafe")
        number += len(summit_N)
        classes.append(np.full(len(summit_N), class_id, np.uint8))
        summits.append(summit_N)
    return WindowObjects(objects_HW, np.concatenate(classes), np.concatenate(summits))


def components(mask_HW: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Connected pixels (8 neighbours), numbered 1 … N in order of their first pixel, and that pixel's flat index."""
    _, found_HW = cv2.connectedComponents(mask_HW, connectivity=8, ltype=cv2.CV_32S)
    return _numbered(np.asarray(found_HW, np.int32))


def _numbered(found_HW: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Numbers without gaps, in order of the first pixel of each, which is returned, too. 0 stays 0."""
    flat = found_HW.ravel()
    begins = np.flatnonzero(np.diff(flat, prepend=0))  # of runs; the first pixel of an object begins one
    ids = flat.take(begins)
    begins, ids = begins[ids > 0], ids[ids > 0]
    first = np.full(int(flat.max(initial=0)) + 1, flat.size, np.intp)
    np.minimum.at(first, ids, begins)
    order = np.argsort(first, kind="stable")[: int((first < flat.size).sum())]
    numbers = np.zeros(len(first), np.int32)
    numbers[order] = np.arange(1, len(order) + 1, dtype=np.int32)
    return numbers[found_HW], first[order]


def _of_class(
    mask_HW: NDArray[np.uint8], class_id: int, separation: Separation, evidence: Evidence
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """The objects of one class, and the flat index of the summit of each."""
    method = separation.method
    if method == "components":
        return components(mask_HW)
    if method == "border":
        border_HW = evidence.border_HW[class_id]
        inner_HW = (mask_HW & (border_HW < LEARNED_BORDER)).astype(np.uint8)
        inner, summits = _split(inner_HW, _distance(inner_HW, separation.smooth_px), separation)
        return _grown(inner, summits, border_HW, mask_HW)
    if method == "intensity" and evidence.image_HWN is not None:
        return _split(mask_HW, _brightness(evidence.image_HWN, mask_HW, separation.smooth_px), separation)
    return _split(mask_HW, _distance(mask_HW, separation.smooth_px), separation)


def _distance(mask_HW: NDArray[np.uint8], smooth_px: float) -> Height:
    """The distance of each pixel to the nearest one outside the mask, smoothed. Outside the image nothing is known."""
    distance = np.asarray(cv2.distanceTransform(mask_HW, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
    np.minimum(distance, np.float32(max(mask_HW.shape)), out=distance)  # where all pixels are in the mask
    return _smoothed(distance, smooth_px, mask_HW)


def _brightness(image_HWN: Raster, mask_HW: NDArray[np.uint8], smooth_px: float) -> Height:
    """How much brighter or darker than the rest each pixel of the mask is, whichever the objects are."""
    grey = np.nan_to_num(image_HWN.astype(np.float32).mean(axis=2))
    inside = mask_HW.view(np.bool_)
    rest = grey[~inside] if not inside.all() else grey
    height = grey - np.median(rest[:: max(rest.size // 100_000, 1)])
    if height[inside].mean() < 0:
        height = -height
    height -= min(float(height[inside].min()), 0.0)
    return _smoothed(height.astype(np.float32), max(smooth_px, 1.0), mask_HW)


def _smoothed(height: Height, smooth_px: float, mask_HW: NDArray[np.uint8]) -> Height:
    if smooth_px > 0:
        height = np.asarray(cv2.GaussianBlur(height, (0, 0), smooth_px), np.float32)
    return height * mask_HW


def _split(
    mask_HW: NDArray[np.uint8], height: Height, separation: Separation
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Each summit's pixels, after summits that are one object are joined."""
    top_HW = mask_HW & (height >= np.asarray(cv2.dilate(height, np.ones((3, 3), np.uint8))))
    summits_HW, summit_N = components(top_HW.astype(np.uint8))
    basins_HW, summit_N = _grown(summits_HW, summit_N, -height, mask_HW)
    owner = _joined(basins_HW, height, summit_N, separation)
    kept = np.unique(owner)
    numbers = np.zeros(len(owner), np.int32)
    numbers[kept] = np.arange(len(kept))
    return numbers[owner][basins_HW], summit_N[kept[1:] - 1]


def _grown(
    seeds_HW: NDArray[np.int32], summit_N: NDArray[np.intp], cost: Height, mask_HW: NDArray[np.uint8]
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Seeds grown over the mask, cheap pixels first. Connected pixels without a seed become objects of their own."""
    watershed = watershed_of_scikit_image()
    grown_HW = watershed(cost, seeds_HW, connectivity=2, mask=mask_HW.view(np.bool_)).astype(np.int32, copy=False)
    left_HW = mask_HW & (grown_HW == 0)
    if left_HW.any():
        more_HW, first_N = components(left_HW.astype(np.uint8))
        np.copyto(grown_HW, more_HW + len(summit_N), where=left_HW.view(np.bool_))
        summit_N = np.concatenate([summit_N, first_N])
    return grown_HW, summit_N


def _joined(
    basins_HW: NDArray[np.int32], height: Height, summit_N: NDArray[np.intp], separation: Separation
) -> NDArray[np.intp]:
    """The basin that each basin is part of, from 0, which is no basin: [N + 1]."""
    pair_P, pass_P = _passes(basins_HW, height)
    peak = np.concatenate([[0.0], height.ravel().take(summit_N)])
    y, x = np.divmod(np.concatenate([[0], summit_N]), height.shape[1])
    owner = np.arange(len(peak))

    def root(node: int) -> int:
        while owner[node] != node:
            owner[node] = owner[owner[node]]
            node = int(owner[node])
        return node

    for i in np.argsort(-pass_P, kind="stable"):
        a, b = root(int(pair_P[0, i])), root(int(pair_P[1, i]))
        if a == b:
            continue
        if peak[a] < peak[b]:
            a, b = b, a
        near = np.hypot(y[a] - y[b], x[a] - x[b]) < separation.min_distance_px
        if near or pass_P[i] >= separation.neck * peak[b]:
            owner[b] = a
    while ((further := owner.take(owner)) != owner).any():
        owner = further
    return owner


def _passes(basins_HW: NDArray[np.int32], height: Height) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Neighbouring basins, [2, P], and the height of the highest pass between each two, [P]."""
    keys, heights = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    number = np.int64(basins_HW.max(initial=0)) + 1
    for down, right in STEPS_8:
        here, there = shifted(basins_HW, down, right)
        at = np.nonzero((here != there) & (here > 0) & (there > 0))
        low_HW, high_HW = shifted(height, down, right)
        a, b = here[at].astype(np.int64), there[at]
        keys.append(np.minimum(a, b) * number + np.maximum(a, b))
        heights.append(np.minimum(low_HW[at], high_HW[at]))
    unique, place = np.unique(np.concatenate(keys), return_inverse=True)
    highest = np.zeros(len(unique), np.float32)
    np.maximum.at(highest, place, np.concatenate(heights))
    return np.stack(np.divmod(unique, number)), highest


def shifted(values_HW: NDArray[Any], down: int, right: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Views of all pixels that have a neighbour `down` rows and `right` columns away, and of those neighbours."""
    height, width = values_HW.shape
    rows, left, far = slice(0, height - down), max(-right, 0), width - max(right, 0)
    return values_HW[rows, left:far], values_HW[down:, left + right : far + right]


def watershed_of_scikit_image() -> Any:
    """`skimage.segmentation.watershed`. Raises MissingExtraError."""
    try:
        from skimage.segmentation import watershed
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-image, which separates touching objects,", "objects") from error
    return watershed


def _has_watershed() -> bool:
    from importlib.util import find_spec

    return find_spec("skimage") is not None
