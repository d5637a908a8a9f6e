"""Convert a mask of any kind to class ids at its image's size, with a record of every change.

Shapes: H, W of the mask; K codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.masks.mask_colours import ON_LINE, UNFIT_SHARE, jpeg_tolerance, off_line, points_of
from pixelwise.datasets.masks.mask_encoding import MaskEncoding
from pixelwise.datasets.masks.raw_mask import STRIP_PIXELS, RawMask, counted
from pixelwise.images.decode import oriented
from pixelwise.images.files import Refusal
from pixelwise.records import VOID, Labels

UNFIT = -1
MOST_SCALED = 8  # maximum size ratio of a mask and its image to count as the same view


@dataclass(frozen=True)
class Change:
    """One change to a file."""

    what: str
    why: str
    reversible: str  # "yes: how", or "no: what is lost"


def labels_of(raw: RawMask, coding: MaskEncoding, table: Mapping[int, int]) -> tuple[Labels, list[Change]]:
    """Class ids uint8 [H, W] of a mask.

    Args:
        table: class id or VOID of each code. In a blended mask, a pixel that fits no code takes the class of the
            nearest pixel that fits one; in other masks, a code missing from the table becomes VOID.

    Raises:
        Refusal: most pixels of a blended mask fit no code.
    """
    if not (coding.book.blurred or raw.lossy):
        labels = looked_up(raw.codes, table)
        how = "colours" if raw.coloured else "ids"
        back = (
            "yes: each class has one mask value, listed in dataset.toml"
            if not raw.coloured
            else "yes: by the classes' colours"
        )
        return labels, [Change(f"{how} became class ids", "a mask holds one class id a pixel", back)]
    places_HW = fitted(raw, coding)
    unfit = float((places_HW == UNFIT).mean())
    if unfit > UNFIT_SHARE:
        raise unfit_mask(unfit)
    filled_HW = nearest_filled(places_HW)
    by_place = np.array([table.get(code, VOID) for code in coding.book.codes], np.uint8)
    change = Change(
        f"{unfit:.2%} of the pixels match no class value and took the class of the nearest pixel that does",
        "blended edge pixels belong to no class",
        "no: edges within blends are located only to about half a pixel",
    )
    return by_place[filled_HW], [change]


def looked_up(codes_HW: NDArray[np.int32], table: Mapping[int, int]) -> Labels:
    """The class of each code, uint8 [H, W]; VOID if the table has none."""
    lowest, highest = (int(codes_HW.min()), int(codes_HW.max())) if codes_HW.size else (0, 0)
    if lowest >= 0 and (highest < 2**16 or (highest < 2**24 and codes_HW.size > STRIP_PIXELS)):
        by_code = np.full(highest + 1, VOID, np.uint8)  # for a small mask, too large for colours
        known = [code for code in table if 0 <= code <= highest]
        by_code[known] = [table[code] for code in known]
        return by_code[codes_HW]
    known = sorted(table)
    place_HW = np.clip(np.searchsorted(known, codes_HW), 0, len(known) - 1)
    found_HW = np.array(known, np.int64)[place_HW] == codes_HW
    return np.where(found_HW, np.array([table[code] for code in known], np.uint8)[place_HW], np.uint8(VOID))


def unfit_mask(share: float) -> Refusal:
    """The refusal of a mask in which this share of the pixels fits no code."""
    what = f"{share:.0%} of its pixels are close to no value of the other masks, so their classes are unknown."
    return Refusal("unknown-codes", what, "Is it a photograph, or does it number objects? Export the mask again.")


def fitted(raw: RawMask, coding: MaskEncoding) -> NDArray[np.int32]:
    """The index of each pixel's code in the book, [H, W]; UNFIT where it fits none.

    A patch without flat pixels, with a code between two others, is a blend that matches that code by chance:
    grey 40 on the edge of 0 and 80.
    """
    book = coding.book
    values, _ = counted(raw.codes)
    points_K3 = points_of(book.codes, book.coloured)
    points_N3 = points_of(values.tolist(), book.coloured)
    nearest_N = np.empty(len(values), np.int32)
    tolerance = max(book.tolerance, jpeg_tolerance(points_K3) if raw.lossy else 0)
    for start in range(0, len(values), 4096):
        distance_NK = np.abs(points_N3[start : start + 4096, None] - points_K3[None]).max(axis=2)
        fits_N = distance_NK.min(axis=1) <= tolerance
        nearest_N[start : start + 4096] = np.where(fits_N, distance_NK.argmin(axis=1), UNFIT)
    places_HW = np.empty(raw.codes.shape, np.int32)
    rows = max(STRIP_PIXELS // max(raw.codes.shape[1], 1), 1)
    for top in range(0, len(places_HW), rows):
        places_HW[top : top + rows] = nearest_N[np.searchsorted(values, raw.codes[top : top + rows])]
    flat_HW = raw.flat()
    for place, point_3 in enumerate(points_K3):
        others_K3 = np.delete(points_K3, place, axis=0)
        if off_line(point_3[None], others_K3)[0] > max(ON_LINE, tolerance):
            continue
        own_HW = (places_HW == place).astype(np.uint8)
        number, parts_HW = cv2.connectedComponents(own_HW, connectivity=8)
        with_core = np.bincount(parts_HW[flat_HW & (own_HW > 0)], minlength=number) > 0
        places_HW[(own_HW > 0) & ~with_core[parts_HW]] = UNFIT
    return places_HW


def nearest_filled(places_HW: NDArray[np.int32]) -> NDArray[np.int32]:
    """Fill every UNFIT pixel from its nearest fitting pixel; all 0 if none fits."""
    unfit_HW = (places_HW == UNFIT).astype(np.uint8)
    if not unfit_HW.any():
        return places_HW
    if unfit_HW.all():
        return np.zeros_like(places_HW)
    _, nearest_HW = cv2.distanceTransformWithLabels(unfit_HW, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros(int(nearest_HW.max()) + 1, np.int32)
    of_label[nearest_HW[unfit_HW == 0]] = places_HW[unfit_HW == 0]
    return of_label[nearest_HW]


def way_to_fit(size: tuple[int, int], turn: int, image_size: tuple[int, int], image_turn: int) -> str:
    """How to fit a mask to an image of a different size (H, W).

    "turn": by the image's EXIF orientation, because the mask was drawn on the stored pixels; "scale": the same view at
    another resolution; "ask-turn", "ask-stretch": only the user can decide.
    """
    (height, width), (image_h, image_w) = size, image_size
    if image_turn >= 5 and turn == 1 and size == (image_w, image_h):
        return "turn"
    if size == (image_w, image_h):
        return "ask-turn"
    times = [image_h / height, height / image_h, image_w / width, width / image_w]
    if max(times) > MOST_SCALED:  # so different that rounding makes any two shapes alike
        return "ask-stretch"
    return "scale" if abs(width * image_h - height * image_w) <= 1.5 * max(image_size) else "ask-stretch"


def fitted_to(
    labels: Labels, raw_turn: int, image_size: tuple[int, int], image_turn: int, turn: str | None, stretch: bool
) -> tuple[Labels, Change] | str:
    """Labels at their image's size (H, W), and the change made; or the question that must be answered first.

    Args:
        image_turn: the image's EXIF orientation; a mask of the stored image's size without one is turned the same way.
        turn: --turn, for masks that are rotated relative to their images: "left", "right" or "transpose".
        stretch: --stretch-masks: masks of another shape show the same view and may be stretched.
    """
    size, (height, width) = labels.shape, image_size
    said = f"{size[1]}×{size[0]} became {width}×{height}"
    way = way_to_fit((size[0], size[1]), raw_turn, image_size, image_turn)
    if way == "turn":
        why = "its image is turned by EXIF, the mask was drawn on the stored pixels"
        return oriented(labels, image_turn), Change(f"turned like its image: {said}", why, "yes: turn it back")
    if way == "ask-turn":
        turned = {"left": np.rot90(labels), "right": np.rot90(labels, -1), "transpose": labels.T}
        if turn not in turned:
            return "--turn left, right or transpose"
        return np.ascontiguousarray(turned[turn]), Change(
            f"{turn}: {said}", "as requested by --turn", "yes: turn it back"
        )
    if way == "ask-stretch" and not stretch:
        return "--stretch-masks"
    resized = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    why = "the same view at another scale" if way == "scale" else "as requested by --stretch-masks"
    lossless = width >= size[1] and height >= size[0]
    back = "yes: resize it back" if lossless else "no: it had more pixels than its image"
    return np.asarray(resized, np.uint8), Change(f"resized to the nearest pixel: {said}", why, back)
