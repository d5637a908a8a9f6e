"""Large image–mask pairs that are read in windows: tiled TIFFs where they lie, other files as decoded copies on disk.

Shapes: H, W an image's size; N its bands.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from pixelwise.datasets.read_sample import label_strips, read_sample_image, stored_digests
from pixelwise.datasets.streamed_blank_areas import strips_without_structure_in_blanks
from pixelwise.errors import ImageError
from pixelwise.images.no_data import labels_with_data
from pixelwise.images.tiff_header import tiff_size
from pixelwise.images.tiff_windows import TiffWindows
from pixelwise.model.preprocess import LARGE_PIXELS
from pixelwise.records import RGB, Bands, Labels, Pixels, Raster, Sample
from pixelwise.training.augment import PADDING, Mask, Picture
from pixelwise.training.disk_copies import STRIP_BYTES, DiskArray, DiskCopies, WithOverview, strips_of

OVERVIEW = 4  # pixels a side, of which one of an overview is the mean


def in_windows(
    sample: Sample, pair: tuple[Raster, Labels], reading: str, copies: DiskCopies, bands: Bands = RGB
) -> tuple[Picture, Mask]:
    """A decoded pair as what can be read in windows without it.

    Args:
        pair: the image [H, W, N] and its labels uint8 [H, W].
        reading: how the values of masks are read.
        copies: where copies are kept.
        bands: of the image.

    Raises:
        OutputError: the disk has too little room for a copy, or it cannot be written.
    """
    image_key, mask_key = keys_of(sample, reading, bands)
    image: Picture | None = None if sample.image_part else tiff_in_place(sample.image, bands)
    stored = [(mask_key, pair[1])] if image is not None else [(image_key, pair[0]), (mask_key, pair[1])]
    missing = sum(array.nbytes for key, array in stored if copies.found(key) is None)
    if missing:
        copies.require_room(missing, f"{sample.image.name} and its mask")
    written = [
        copies.found(key) or copies.write(key, array.shape, array.dtype, (strip for _, strip in strips_of(array)))
        for key, array in stored
    ]
    return image if image is not None else written[0], written[-1]


def streamed_pair(
    sample: Sample,
    mask_ids: Mapping[int, int],
    classes: int,
    reading: str,
    copies: DiskCopies,
    bands: Bands = RGB,
    *,
    without_blanks: bool = False,
) -> tuple[Picture, Mask, float]:
    """A pair whose image is a TIFF too large to be decoded at once, as what can be read in windows; and the share of
    the pixels in blank areas that got one class, where `without_blanks` asks for it and no copy of the mask exists.

    Raises:
        ImageError, MaskError: one of the files cannot be read.
        DataError: the mask has another size than its image.
        OutputError: as `in_windows`.
    """
    windows = TiffWindows(sample.image, bands)
    image: Picture = windows
    size = image.shape[0], image.shape[1]
    image_key, mask_key = keys_of(sample, reading, bands)
    needed = 0 if windows.cheap or copies.found(image_key) else math.prod(image.shape) * image.dtype.itemsize
    mask = copies.found(mask_key)
    if needed or mask is None:
        copies.require_room(needed + (0 if mask is not None else math.prod(size)), f"{sample.image.name} and its mask")
    if not windows.cheap:
        rows = max(STRIP_BYTES // (image.shape[2] * image.dtype.itemsize * size[1]), 1)
        pixels = (windows[top : top + rows] for top in range(0, size[0], rows))
        image = copies.found(image_key) or copies.write(image_key, image.shape, image.dtype, pixels)
    blank = 0.0
    if mask is None:

        def strips() -> Iterator[Labels]:
            return void_strips(image, label_strips(sample, mask_ids, classes, size))

        parts, blank = strips_without_structure_in_blanks(image, strips) if without_blanks else (strips(), 0.0)
        mask = copies.write(mask_key, size, np.dtype(np.uint8), parts)
    return image, mask, blank


def void_strips(image: Picture, strips: Iterable[Labels]) -> Iterator[Labels]:
    """The labels in strips, VOID where the image has no data."""
    top = 0
    for labels in strips:
        whole = image.dtype != np.float32  # every pixel has a value
        yield labels if whole else labels_with_data(image[top : top + len(labels), :], labels)
        top += len(labels)


def with_overview(sample: Sample, image: Picture, copies: DiskCopies) -> Picture:
    """A large image with its overview, each pixel of which is the mean of OVERVIEW × OVERVIEW.

    Raises:
        OutputError: as `in_windows`.
    """
    if not isinstance(image, DiskArray | TiffWindows):
        return image
    key = f"{keys_of(sample, '')[0]}-{OVERVIEW}"
    height, width = (-(-side // OVERVIEW) for side in image.shape[:2])
    overview = copies.found(key)
    if overview is None:
        copies.require_room(height * width * 3, f"an overview of {sample.image.name}")
        rows = OVERVIEW * max(STRIP_BYTES // (3 * image.shape[1] * OVERVIEW), 1)
        strips = (averaged(image[top : top + rows]) for top in range(0, image.shape[0], rows))
        overview = copies.write(key, (height, width, 3), image.dtype, strips)
    return WithOverview(image, overview, OVERVIEW)


def averaged(strip_RW3: Raster) -> Pixels:
    """The means of OVERVIEW × OVERVIEW pixels. Those outside the image are grey, as in crops."""
    missing = [-side % OVERVIEW for side in strip_RW3.shape[:2]]
    whole = cv2.copyMakeBorder(strip_RW3, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT, value=(PADDING,) * 3)
    size = (whole.shape[1] // OVERVIEW, whole.shape[0] // OVERVIEW)
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8)


def copied(sample: Sample, reading: str, copies: DiskCopies, bands: Bands = RGB) -> tuple[Picture, Mask] | None:
    """A pair whose copies exist; None if one is missing."""
    image_key, mask_key = keys_of(sample, reading, bands)
    image: Picture | None = None if sample.image_part else tiff_in_place(sample.image, bands)
    image, mask = image if image is not None else copies.found(image_key), copies.found(mask_key)
    return (image, mask) if image is not None and mask is not None else None


def image_in_place(sample: Sample, bands: Bands = RGB) -> Picture:
    """A sample's image: in windows if it is a large TIFF, otherwise decoded."""
    size = None if sample.image_part else tiff_size(sample.image)
    windows = tiff_in_place(sample.image, bands) if size is not None and size[0] * size[1] > LARGE_PIXELS else None
    return windows if windows is not None else read_sample_image(sample, bands)


def tiff_in_place(path: Path, bands: Bands = RGB) -> TiffWindows | None:
    """A TIFF whose windows are read at little cost; None for others."""
    if tiff_size(path) is None:
        return None
    try:
        windows = TiffWindows(path, bands)
    except ImageError:  # of a kind that only `decode` reads, such as CMYK
        return None
    return windows if windows.cheap else None


def keys_of(sample: Sample, reading: str, bands: Bands = RGB) -> tuple[str, str]:
    """The names of the copies of an image and its mask, from the content of the files."""
    image, mask = stored_digests(sample)
    if bands != RGB:  # other bands of the same file are another copy; they also say which pixels have no data
        image += f"{bands.dtype} {bands.names}".encode()
    drawn = f"{sample.mask_part} {reading}".encode()  # may depend on the image's size or orientation
    return hashlib.sha256(image).hexdigest()[:40], hashlib.sha256(b"mask" + image + mask + drawn).hexdigest()[:40]
