"""Inspection of one image of any bands, at its full depth: what `inspect_pair` needs, and the values of each band.

Shapes: H, W of one image; B bands.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import cv2
import numpy as np

from pixelwise.datasets.masks.inspection import THUMBNAIL_PX, BandValues, ImageInspection
from pixelwise.datasets.picture_hash import SAMPLED_PX, detail_of, difference_hash
from pixelwise.datasets.read_sample import image_bytes, sample_bands, sample_facts, stored_orientation
from pixelwise.datasets.streamed_pairs import fingerprint_of, unwrapped
from pixelwise.errors import ImageError
from pixelwise.images.false_colour import false_colour, shown_bands
from pixelwise.images.files import Refusal
from pixelwise.images.read_as import in_words, positions
from pixelwise.images.tiff_windows import TiffWindows
from pixelwise.records import Bands, Raster, Sample

GRID_PX = 1024  # rows and columns looked at of an image too large to be decoded at once
LARGE_PX = 512  # rows looked at for flat areas


def inspect_bands(sample: Sample, bands: Bands, thoroughly: bool) -> ImageInspection:
    """Inspect an image of a dataset with these bands. Raises Refusal: unreadable, or the image has other bands."""
    data = image_bytes(sample)
    image = sample_bands(sample, data)
    places = positions(image.band_names, bands)
    if places is None:
        raise _differ(image.band_names, bands)
    pixels_HWB = image.pixels[:, :, list(places)]
    if bands.dtype == "uint8" and pixels_HWB.dtype != np.uint8 and not _whole_bytes(pixels_HWB):
        what = f"holds {pixels_HWB.dtype} values; expected uint8, as in the other images."
        raise Refusal("depth-differs", what, "Export it like the others.")
    found = _inspected(pixels_HWB, bands, thoroughly)
    return replace(
        found,
        size=(pixels_HWB.shape[0], pixels_HWB.shape[1]),
        bits=8 * image.pixels.dtype.itemsize,
        turn=stored_orientation(data),
        fingerprint=(len(data), zlib.crc32(data)),
        dropped=image.dropped,
    )


def inspect_streamed_bands(sample: Sample, bands: Bands, thoroughly: bool) -> ImageInspection:
    """Inspect a TIFF too large to be decoded at once, by the pixels of a grid. Every tile is decoded once.

    Raises:
        Refusal: unreadable, or the image has other bands.
    """
    facts = sample_facts(sample)
    if positions(facts.band_names, bands) is None:
        raise _differ(facts.band_names, bands)
    with unwrapped():
        windows = TiffWindows(sample.image, bands)
        step_y, step_x = (max(side // GRID_PX, 1) for side in windows.shape[:2])
        found = _inspected(windows[::step_y, ::step_x], bands, thoroughly)
    return replace(
        found,
        size=(windows.shape[0], windows.shape[1]),
        bits=8 * np.dtype(facts.dtype).itemsize,
        fingerprint=fingerprint_of(sample.image),
    )


def _differ(names: tuple[str, ...], bands: Bands) -> Refusal:
    what = f"has {in_words(names)}; expected {in_words(bands.names)}, as in the other images."
    return Refusal("bands-differ", what, "Add the missing bands, or choose bands that all images have with --bands.")


def _inspected(pixels_HWB: Raster, bands: Bands, thoroughly: bool) -> ImageInspection:
    """What the pixels tell. Raises Refusal: none of them has a value."""
    values = band_values(pixels_HWB)
    if all(share == 1 for share in values.missing):
        raise Refusal("no-data", "holds no data: every value of every band is missing.", "Leave the image out.")
    size = (pixels_HWB.shape[0], pixels_HWB.shape[1])
    if not thoroughly:
        return ImageInspection(size, 8, 1, (0, 0), 0, b"", 0.0, 255, bands=values)
    step_y, step_x = (max(side // SAMPLED_PX, 1) for side in size)
    choose = shown_with_data(values, bands)
    shown_hw3 = false_colour(pixels_HWB[::step_y, ::step_x], own_range(values, bands), choose)
    thumbnail_TT3 = cv2.resize(shown_hw3, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    _, deviations = cv2.meanStdDev(shown_hw3)
    return ImageInspection(
        size,
        8,
        1,
        (0, 0),
        difference_hash(shown_hw3),
        thumbnail_TT3.tobytes(),
        float(np.sqrt((deviations**2).mean())),
        int(shown_hw3.max()),
        (),
        detail_of(shown_hw3),
        values,
    )


def values_in(sample: Sample) -> int:
    """The number of values of an image, in units of a pixel of three bands; 0 if its header cannot be read."""
    try:
        facts = sample_facts(sample)
    except (Refusal, ImageError):
        return 0
    return facts.height * facts.width * facts.bands // 3


def band_values(pixels_HWB: Raster) -> BandValues:
    """The range, the share of missing values and of flat areas of each band."""
    low, high, missing, flat = [], [], [], []
    rows = pixels_HWB[:: max(pixels_HWB.shape[0] // LARGE_PX, 1)]
    for band in range(pixels_HWB.shape[2]):
        values_HW = pixels_HWB[:, :, band]
        known = values_HW[np.isfinite(values_HW)] if values_HW.dtype == np.float32 else values_HW
        missing.append(1 - known.size / values_HW.size)
        low.append(float(known.min()) if known.size else np.nan)
        high.append(float(known.max()) if known.size else np.nan)
        part = rows[:, :, band]
        flat.append(float((part[:, 1:] == part[:, :-1]).mean()) if part.shape[1] > 1 else 0.0)
    return BandValues(tuple(low), tuple(high), tuple(missing), tuple(flat))


def shown_with_data(values: BandValues, bands: Bands) -> tuple[int, int, int]:
    """The bands to show, others in place of those without any value: all of the picture would be missing with them."""
    known = [band for band, share in enumerate(values.missing) if share < 1]
    first, second, third = (
        band if band in known else known[i % len(known)] for i, band in enumerate(shown_bands(bands))
    )
    return first, second, third


def own_range(values: BandValues, bands: Bands) -> Bands:
    """The bands with this image's own range, to show it."""
    low = tuple(0.0 if np.isnan(one) else one for one in values.low)
    high = tuple(b + 1.0 if np.isnan(one) or one <= b else one for one, b in zip(values.high, low, strict=True))
    return Bands(bands.names, bands.dtype, low, high)


def _whole_bytes(pixels: Raster) -> bool:
    known = pixels[np.isfinite(pixels)]
    return bool(((known >= 0) & (known <= 255) & (known == np.rint(known))).all())
