"""Large image–mask pairs that are read in windows: tiled TIFFs where they lie, other files as decoded copies on disk.

Shapes: H, W an image's size; N its bands.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pixelwise.datasets.read_sample import read_sample_image, stored_digests
from pixelwise.errors import ImageError
from pixelwise.images.tiff_header import tiff_size
from pixelwise.images.tiff_windows import TiffWindows
from pixelwise.model.preprocess import LARGE_PIXELS
from pixelwise.records import RGB, Bands, Labels, Raster, Sample
from pixelwise.training.augment import Mask, Picture
from pixelwise.training.disk_copies import DiskCopies, strips_of


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
    image: Picture | None = tiff_in_place(sample.image) if bands == RGB and not sample.image_part else None
    stored = [(mask_key, pair[1])] if image is not None else [(image_key, pair[0]), (mask_key, pair[1])]
    missing = sum(array.nbytes for key, array in stored if copies.found(key) is None)
    if missing:
        copies.require_room(missing, f"{sample.image.name} and its mask")
    written = [
        copies.found(key) or copies.write(key, array.shape, array.dtype, (strip for _, strip in strips_of(array)))
        for key, array in stored
    ]
    return image if image is not None else written[0], written[-1]


def copied(sample: Sample, reading: str, copies: DiskCopies, bands: Bands = RGB) -> tuple[Picture, Mask] | None:
    """A pair whose copies exist; None if one is missing."""
    image_key, mask_key = keys_of(sample, reading, bands)
    image: Picture | None = tiff_in_place(sample.image) if bands == RGB and not sample.image_part else None
    image, mask = image if image is not None else copies.found(image_key), copies.found(mask_key)
    return (image, mask) if image is not None and mask is not None else None


def image_in_place(sample: Sample, bands: Bands = RGB) -> Picture:
    """A sample's image: in windows if it is a large TIFF in RGB, otherwise decoded."""
    if bands != RGB:
        return read_sample_image(sample, bands)
    size = None if sample.image_part else tiff_size(sample.image)
    windows = tiff_in_place(sample.image) if size is not None and size[0] * size[1] > LARGE_PIXELS else None
    return windows if windows is not None else read_sample_image(sample)


def tiff_in_place(path: Path) -> TiffWindows | None:
    """A TIFF whose windows are read at little cost; None for others."""
    if tiff_size(path) is None:
        return None
    try:
        windows = TiffWindows(path)
    except (ImageError, ImportError):  # of a kind that only `decode` reads, such as CMYK; or without the extra `tiff`
        return None
    return windows if windows.cheap else None


def keys_of(sample: Sample, reading: str, bands: Bands = RGB) -> tuple[str, str]:
    """The names of the copies of an image and its mask, from the content of the files."""
    image, mask = stored_digests(sample)
    if bands != RGB:  # other bands of the same file are another copy; they also say which pixels have no data
        image += f"{bands.dtype} {bands.names}".encode()
    drawn = f"{sample.mask_part} {reading}".encode()  # may depend on the image's size or orientation
    return hashlib.sha256(image).hexdigest()[:40], hashlib.sha256(b"mask" + image + mask + drawn).hexdigest()[:40]
