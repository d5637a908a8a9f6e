"""An image with the bands that a dataset or model takes.

Shapes: H, W height and width in pixels, upright; B bands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.errors import ImageError, OtherBandsError
from pixelwise.images.band_facts import BandFacts, band_facts
from pixelwise.images.banded_image import BandedImage, numbered, read_bands
from pixelwise.images.decode import image_pixels
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import RGB, Bands, Pixels, Raster

OTHER_BANDS_REMEDY = "Give an image with these bands, or train a model on such images."


def read_image_as(source: Path | str | bytes, bands: Bands, name: str = "image") -> Raster:
    """Read an image with these bands.

    Args:
        source: a file, or its bytes, which are called `name` in error messages.
        bands: RGB: the pixels are those of `read_image`, or of an array of 8-bit grey or colours. Others: bands are
            chosen by name, in the order of `bands.names`; by position if the file or `bands` has no names and both
            have equally many.

    Returns:
        [H, W, B]: uint8 if `bands.dtype` is uint8, else float32 with NaN where the file holds no data.

    Raises:
        ImageError: it cannot be read; or it has other bands, which the message names.
    """
    where = name if isinstance(source, bytes) else shown(source)
    data = source if isinstance(source, bytes) else _bytes_of(Path(source), where)
    if bands == RGB:
        return _rgb(data, where)
    return chosen(read_bands(data, where), bands, where)


def chosen(image: BandedImage, bands: Bands, where: str) -> Raster:
    """The pixels of these bands. `where`: the image, for the error. Raises ImageError: it has other bands."""
    places = positions(image.band_names, bands)
    if places is None:
        raise other_bands(where, image.band_names, image.pixels.dtype.name, bands)
    pixels: Any = image.pixels
    if places != tuple(range(pixels.shape[2])):
        pixels = np.ascontiguousarray(pixels[:, :, places])
    if bands.dtype == "float32":
        return np.asarray(pixels, np.float32)
    found = whole_bytes(pixels)
    if found is None:
        raise other_bands(where, image.band_names, pixels.dtype.name, bands)
    return found


def positions(names: tuple[str, ...], bands: Bands) -> tuple[int, ...] | None:
    """Where the wanted bands are among a file's; None if they are not there.

    By name, in any case of letters; by position if either side's names are only numbers and both have equally many.
    """
    known = {name.casefold(): i for i, name in reversed(list(enumerate(names)))}
    found = [known.get(name.casefold()) for name in bands.names]
    if None not in found:  # first: "band 2, band 1" exchanges the two of an image without names
        return tuple(i for i in found if i is not None)
    unnamed = numbered(len(names))
    if len(names) == len(bands) and (names == unnamed or bands.names == unnamed):
        return tuple(range(len(names)))
    return None


def other_bands(where: str, names: tuple[str, ...], dtype: str, bands: Bands) -> OtherBandsError:
    """The error for an image with other bands: it names both."""
    return OtherBandsError(
        f"{where}: has {in_words(names)} of {dtype}; the model or dataset takes {in_words(bands.names)} of "
        f"{bands.dtype}. {OTHER_BANDS_REMEDY}"
    )


def in_words(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return f"1 band ({names[0]})"
    listed = f"{names[0]} … {names[-1]}" if names == numbered(len(names)) and len(names) > 4 else ", ".join(names)
    return f"{len(names)} bands ({listed})"


def _rgb(data: bytes, where: str) -> Raster:
    try:
        return image_pixels(data)
    except Refusal as refusal:
        facts = _other_than_rgb(data)
        if facts is None or refusal.kind not in ("bands", "unread-kind", "not-an-image"):
            raise ImageError(f"{where}: {refusal}") from refusal
        if facts.dtype == "uint8" and facts.bands in (1, 3):  # an array of 8-bit grey or colours
            return np.ascontiguousarray(np.broadcast_to(read_bands(data, where).pixels, (facts.height, facts.width, 3)))
        raise other_bands(where, facts.band_names, facts.stored, RGB) from refusal


def _other_than_rgb(data: bytes) -> BandFacts | None:
    """The bands of an image that is not read as RGB; None if it is none either."""
    try:
        return band_facts(data)
    except ImageError:
        return None


def _bytes_of(path: Path, where: str) -> bytes:
    try:
        return read_bytes(path)
    except Refusal as refusal:
        raise ImageError(f"{where}: {refusal}") from refusal


def whole_bytes(pixels: Raster) -> Pixels | None:
    """Pixels of 8 bits, or of 8 bits but for what is missing: that becomes the middle of 0–255, as in the model. None:
    others."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    finite = pixels[np.isfinite(pixels)]
    if pixels.dtype != np.float32 or not ((finite >= 0) & (finite <= 255) & (finite == np.rint(finite))).all():
        return None
    return np.where(np.isnan(pixels), 128, pixels).astype(np.uint8)
