"""A sample's image for people and for tools that look for edges: NaN where the file declares that it holds no data.

Shapes: H, W height and width in pixels; B bands.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pixelwise.datasets.read_sample import sample_bands, without_numbers
from pixelwise.images.banded_image import BandedImage
from pixelwise.records import Sample


def bands_with_gaps(sample: Sample) -> BandedImage:
    """As `sample_bands`; images of 8 or 16 bits with pixels that are declared as no data become float32, NaN there.

    Raises:
        Refusal, ImageError: it cannot be read.
    """
    image = sample_bands(sample)
    if image.pixels.dtype.kind == "f":
        return image
    absent_HW = without_numbers(sample)
    if absent_HW is None or absent_HW.shape != image.pixels.shape[:2]:
        return image
    pixels_HWB = image.pixels.astype(np.float32)
    pixels_HWB[absent_HW] = np.nan
    return replace(image, pixels=pixels_HWB, stored=image.pixels.dtype.name)
