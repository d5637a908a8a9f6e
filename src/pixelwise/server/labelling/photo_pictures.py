"""A photo as pictures: its values with the bands that name them, and a small picture for the strip of images.

Shapes: H, W height and width in pixels; N bands.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.datasets.read_sample import image_bytes
from pixelwise.datasets.sample_gaps import bands_with_gaps
from pixelwise.images.banded_image import BandedImage
from pixelwise.images.decode import open_image
from pixelwise.images.false_colour import false_colour
from pixelwise.images.files import image_format
from pixelwise.images.image_header import refusing
from pixelwise.images.orientation import oriented
from pixelwise.records import RGB, Bands, Pixels, Raster, Sample
from pixelwise.reports.pictures import scaled
from pixelwise.server.labelling.image_pyramid import display_bands
from pixelwise.server.responses import ranges_of

THUMBNAIL_PX = 160
JPEG_QUALITY = 90
ALPHA = "alpha"


def for_display(image: BandedImage) -> tuple[Raster, Bands]:
    """The values [H, W, N] and their bands. Alpha beside grey or colours is left out: it is no colour."""
    names = image.band_names
    pixels: Any = image.pixels
    if len(names) in (2, 4) and names[-1] == ALPHA:
        names, pixels = names[:-1], pixels[:, :, :-1]
    is_8_bit = "uint8" in (image.stored, pixels.dtype.name)
    if len(names) == 1 and is_8_bit:
        return np.repeat(pixels, 3, axis=2), RGB
    ranges = [] if is_8_bit else ranges_of(pixels)
    return np.ascontiguousarray(pixels), display_bands(names, ranges, is_8_bit=is_8_bit)


def thumbnail(sample: Sample) -> bytes:
    """The photo as a JPEG of at most THUMBNAIL_PX pixels a side. Raises Refusal, DataError: it cannot be decoded."""
    return jpeg(small_picture(sample, THUMBNAIL_PX))


def small_picture(sample: Sample, longest_px: int) -> Pixels:
    """The photo in colours, at most `longest_px` pixels a side. Raises Refusal, DataError: it cannot be decoded."""
    data = image_bytes(sample) if not sample.image_part else b""
    picture = small_jpeg(data, longest_px) if data and image_format(data) == "JPEG" else None
    if picture is None:
        pixels, bands = for_display(bands_with_gaps(sample))
        picture = false_colour(shrunk(pixels, longest_px), bands)
    return scaled(picture, min(longest_px / max(picture.shape[:2]), 1.0))


def small_jpeg(data: bytes, longest_px: int) -> Pixels | None:
    """A JPEG at a fraction of its size, which takes a fraction of the time; None if it is not RGB or grey."""
    opened = open_image(data)
    image = opened.image
    if image.mode not in ("RGB", "L"):
        return None
    image.draft(image.mode, (2 * longest_px, 2 * longest_px))
    with refusing("its pixels cannot be decoded"):
        return np.asarray(oriented(np.asarray(image.convert("RGB")), opened.turn), np.uint8)


def shrunk(pixels_HWN: Raster, longest_px: int = THUMBNAIL_PX) -> Raster:
    """Every so many pixels of a large image: enough for a thumbnail, before false colour takes time for all."""
    step = max(max(pixels_HWN.shape[:2]) // (4 * longest_px), 1)
    return pixels_HWN[::step, ::step]


def jpeg(picture_HW3: Pixels, quality: int = JPEG_QUALITY) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture_HW3)).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
