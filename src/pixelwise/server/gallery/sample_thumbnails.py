"""Pictures of a folder's images: the image, its mask, or the image under its mask; made when asked for.

Shapes: H, W of an image; h, w of its picture.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pixelwise.datasets.read_sample import image_size_of, read_sample_mask
from pixelwise.errors import DataError
from pixelwise.images.files import Refusal, shown
from pixelwise.records import VOID, Dataset, Labels, Pixels, Sample
from pixelwise.reports.pictures import scaled
from pixelwise.server.error_responses import RequestError
from pixelwise.server.labelling.photo_pictures import jpeg, small_picture

View = Literal["both", "image", "mask"]
THUMBNAIL_PX = 240
LARGE_PX = 1280
MOST_PIXELS = 64_000_000  # of an image that is decoded for a picture
QUALITY = 82
STRENGTH = 0.55  # of the mask's colours over the image
VOID_GREY = 128


def sample_jpeg(sample: Sample, dataset: Dataset | None, view: View, longest_px: int) -> bytes:
    """A JPEG, no side longer than `longest_px`; only the image where there is no dataset or no mask.

    Raises:
        RequestError: the image or the mask cannot be read, or it is too large.
    """
    try:
        size = image_size_of(sample)
        if size[0] * size[1] > MOST_PIXELS:
            message = f"{shown(sample.name)}: {size[1]}×{size[0]} pixels; pictures are made of up to {MOST_PIXELS:,}."
            raise RequestError(413, "too-large", message, "`pixelwise chips` cuts large images.")
        if view == "image" or dataset is None or sample.mask is None:
            return jpeg(small_picture(sample, longest_px), QUALITY)
        labels_HW = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes), size)
        if labels_HW.shape != size:
            raise RequestError(
                422, "size-mismatch", f"{shown(sample.name)}: its mask has another size than its image.",
                "The findings say how to repair it.",
            )  # fmt: skip
        if view == "mask":
            scale = min(longest_px / max(size), 1.0)
            return jpeg(scaled(coloured(labels_HW, dataset), scale, nearest=True), QUALITY)
        picture_hw3 = small_picture(sample, longest_px)
        return jpeg(under_mask(picture_hw3, labels_HW, dataset), QUALITY)
    except (Refusal, DataError) as error:
        raise RequestError(422, "image-unreadable", str(error), "The findings say how to repair it.") from error


def thumbnail_jpeg(sample: Sample, dataset: Dataset | None, view: View) -> bytes:
    """A small JPEG: the image alone where its mask cannot be drawn over it; empty where it cannot be read either."""
    views: tuple[View, ...] = (view, "image")
    for one in views:
        try:
            return sample_jpeg(sample, dataset, one, THUMBNAIL_PX)
        except RequestError:  # a check says why
            continue
    return b""


def under_mask(picture_hw3: Pixels, labels_HW: Labels, dataset: Dataset) -> Pixels:
    """A picture under its mask; void shows the picture as it is."""
    labels_hw = nearest_labels(labels_HW, picture_hw3.shape[:2])
    mixed_hw3 = picture_hw3 * (1 - STRENGTH) + dataset.classes.palette()[labels_hw] * STRENGTH
    shown_hw3 = np.where((labels_hw == VOID)[:, :, None], picture_hw3, np.rint(mixed_hw3))
    return np.asarray(shown_hw3, np.uint8)


def nearest_labels(labels_HW: Labels, size: tuple[int, ...]) -> Labels:
    """The labels at another size; none is mixed."""
    rows = ((np.arange(size[0]) + 0.5) * labels_HW.shape[0] / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * labels_HW.shape[1] / size[1]).astype(int)
    return np.asarray(labels_HW[rows][:, columns])


def coloured(labels_HW: Labels, dataset: Dataset) -> Pixels:
    """A mask in the colours of its classes, void grey."""
    palette = dataset.classes.palette().copy()
    palette[VOID] = VOID_GREY
    return np.asarray(palette[labels_HW], np.uint8)
