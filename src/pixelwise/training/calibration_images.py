"""Images on which an export is calibrated and compared: of large ones, what fits into memory.

Shapes: H, W an image's size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

import numpy as np

from pixelwise.errors import TrainingError
from pixelwise.model.preprocess import LARGE_PIXELS, Policy
from pixelwise.prediction.large.tile_plan import is_cut
from pixelwise.records import RGB, Bands, Raster, Sample
from pixelwise.training.augment import Picture
from pixelwise.training.large_pairs import image_in_place

PARITY_PX = 1024  # per side: full-size scores of a larger image would take gigabytes
CALIBRATION_IMAGES = 64


def as_taken(image: Raster, bands: Bands) -> Raster:
    """An image as a bundle of these bands takes it: uint8 or float32, contiguous."""
    if bands.dtype == "uint8":
        return np.ascontiguousarray(image, np.uint8)
    return np.ascontiguousarray(image, np.float32)


def middle_of(image: Picture) -> Raster:
    """The centre of an image, at most PARITY_PX per side, on which network and graph are compared."""
    height, width = (min(side, PARITY_PX) for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    middle: Raster = image[top : top + height, left : left + width].copy()
    return middle


def compared_part(image: Picture, policy: Policy, in_crops: bool) -> Raster:
    """What of an image network and graph are compared on: its centre; but the whole of an image that the network takes
    resized and that training saw in crops, because the centre alone would be enlarged to a blur unlike any crop."""
    return reduced_image(image, policy) if in_crops and policy != "native" else middle_of(image)


def reduced_image(image: Picture, policy: Policy) -> Raster:
    """An image that a network can take at once: of one too large the middle, or if the network takes it resized, every
    n-th pixel of the whole."""
    height, width = image.shape[:2]
    if policy == "native":
        return middle_of(image) if is_cut((height, width), policy) else image[:, :]
    step = math.ceil((height * width / LARGE_PIXELS) ** 0.5)
    return image[::step, ::step]


class CalibrationImages(Sequence[Raster]):
    """Images of samples, each read when it is needed. Of large ones what fits into memory: see `reduced_image`."""

    def __init__(self, samples: Sequence[Sample], policy: Policy, bands: Bands) -> None:
        self.samples, self.policy, self.bands = samples, policy, bands

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Raster: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Raster]: ...
    def __getitem__(self, index: int | slice) -> Raster | Sequence[Raster]:
        if isinstance(index, slice):
            return CalibrationImages(self.samples[index], self.policy, self.bands)
        image = image_in_place(self.samples[index], self.bands)
        return as_taken(reduced_image(image, self.policy), self.bands)


def calibration_images(samples: Sequence[Sample], policy: Policy, bands: Bands = RGB) -> CalibrationImages:
    """Evenly spaced images of a training split.

    Raises:
        TrainingError: they are gone.
    """
    samples = samples[:: max(len(samples) // CALIBRATION_IMAGES, 1)][:CALIBRATION_IMAGES]
    if missing := [sample.image for sample in samples if not sample.image.is_file()]:
        raise TrainingError(
            f"{missing[0]}: {len(missing)} of {len(samples)} training images are missing, but int8 is calibrated on "
            "them. Restore the data where they were when the run began, or export without int8."
        )
    return CalibrationImages(samples, policy, bands)
