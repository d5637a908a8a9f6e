"""A suspected label error as three pictures: the image, its mask, and the mask as the model would have it.

Shapes: H, W of an image; h, w of the window around a region.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.doctor.check_page import display_image
from pixelwise.doctor.label_decisions import LabelDecision
from pixelwise.errors import DataError
from pixelwise.images.files import shown
from pixelwise.records import Dataset, Pixels
from pixelwise.reports.pictures import scaled
from pixelwise.server.error_responses import RequestError
from pixelwise.server.gallery.opened_folder import SuspectedRegion
from pixelwise.server.gallery.sample_thumbnails import QUALITY, under_mask
from pixelwise.server.labelling.photo_pictures import jpeg

SuspectView = Literal["image", "mask", "model"]
PICTURE_PX = 480
LEAST_MARGIN_PX = 24
LIGHT, DARK = (255, 255, 255), (0, 0, 0)  # of the outline: one of them is seen on every picture


def suspect_jpeg(region: SuspectedRegion, dataset: Dataset | None, view: SuspectView) -> bytes:
    """A JPEG of the window around a region, which is outlined. Raises RequestError: it cannot be read any more."""
    suspect = region.suspect
    try:
        if dataset is None:
            raise DataError("the folder is being read again")
        image_HW3 = display_image(suspect.sample, dataset.bands)
        height, width = image_HW3.shape[:2]
        mask_HW = read_sample_mask(suspect.sample, dataset.mask_ids, len(dataset.classes), (height, width))
    except DataError as error:
        raise RequestError(410, "image-gone", f"{shown(suspect.sample.name)}: {error}", "Search again.") from error
    rows, columns = window_around(suspect.box, (height, width))
    inside_HW = np.zeros((height, width), np.uint8)
    x, y, across, down = suspect.box
    made = LabelDecision(suspect.sample.name, suspect.box, suspect.labelled, "keep", runs=region.runs)
    inside_HW[y : y + down, x : x + across] = made.inside()
    inside_hw, picture_hw3, mask_hw = inside_HW[rows, columns], image_HW3[rows, columns], mask_HW[rows, columns]
    if view == "model":
        mask_hw = np.where(inside_hw == 1, np.uint8(dataset.classes.names.index(suspect.predicted)), mask_hw)
    if view != "image":
        picture_hw3 = under_mask(picture_hw3, mask_hw, dataset)
    scale = PICTURE_PX / max(picture_hw3.shape[:2])
    return jpeg(outlined(scaled(picture_hw3, scale, nearest=view != "image" and scale > 1), inside_hw), QUALITY)


def outlined(picture_hw3: Pixels, inside_hw: Pixels) -> Pixels:
    """A picture with the outline of a region, given at any size: a light line between two dark ones."""
    size = picture_hw3.shape[1], picture_hw3.shape[0]
    fine_hw = cv2.resize(inside_hw, size, interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(fine_hw, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn_hw3 = np.ascontiguousarray(picture_hw3)
    cv2.drawContours(drawn_hw3, lines, -1, DARK, 4)
    cv2.drawContours(drawn_hw3, lines, -1, LIGHT, 2)
    return drawn_hw3


def window_around(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns around a region: as much again on every side, so that a person sees what it is part of."""
    x, y, width, height = box
    margin = max(width, height, LEAST_MARGIN_PX)
    rows = slice(max(y - margin, 0), min(y + height + margin, size[0]))
    return rows, slice(max(x - margin, 0), min(x + width + margin, size[1]))
