"""An image file for a model: its size first, so that memory can be reserved; then its pixels as the model takes them.

Shapes: H, W height and width in pixels; N bands.
"""

from __future__ import annotations

import numpy as np

from pixelwise.errors import ImageError, OtherBandsError
from pixelwise.images.band_facts import BandFacts, band_facts
from pixelwise.images.banded_image import banded_image
from pixelwise.images.declared_no_data import Absent, absent_pixels
from pixelwise.images.decode import open_image, pixels_and_dropped
from pixelwise.images.dropped_content import CHANNELS, DroppedContent
from pixelwise.images.files import Refusal, image_format
from pixelwise.images.numpy_bands import NUMPY_MAGIC
from pixelwise.images.read_as import chosen, other_bands, positions
from pixelwise.records import RGB, Bands, Raster


class InputImage:
    """The bytes of an image file whose header has been read."""

    def __init__(self, data: bytes, bands: Bands, where: str) -> None:
        """Read the header.

        Args:
            bands: those that the model takes.
            where: the image's name in error messages.

        Raises:
            Refusal: not an image, damaged, or unsupported.
            OtherBandsError: it has other bands, which the message names.
        """
        self.data, self.bands, self.where = data, bands, where
        self._is_picture = bands == RGB and not data.startswith(NUMPY_MAGIC)  # an array has bands also for RGB
        if self._is_picture:
            try:
                self.opened = open_image(data)
            except Refusal as refusal:
                raise as_other_bands(data, where, refusal) or refusal from refusal
            (self.width, self.height), self.format = self.opened.image.size, self.opened.format
        else:
            self.facts = facts_of(data, where)
            if positions(self.facts.band_names, bands) is None:
                raise other_bands(where, self.facts.band_names, self.facts.dtype, bands)
            self.width, self.height, self.format = self.facts.width, self.facts.height, format_of(data)

    @property
    def stored_pixels(self) -> int:
        """The memory that decoding takes, in pixels of three float32 values."""
        if self._is_picture:
            return self.width * self.height
        stored = self.facts.bands * (1 if self.facts.dtype == "uint8" else 4)
        taken = len(self.bands) * (1 if self.bands.dtype == "uint8" else 4)
        return self.width * self.height * max(stored, taken, 12) // 12

    def absent(self) -> Absent | None:
        """Where the file declares that it holds no data, [H, W], and the pixels cannot say it; None: nowhere.

        Raises:
            Refusal: damaged.
        """
        return absent_pixels(self.data, self.bands) if self.bands.dtype == "uint8" else None

    def decode(self) -> tuple[Raster, tuple[DroppedContent, ...]]:
        """The pixels as the model takes them, contiguous, and the content of the file that is not in them.

        Raises:
            Refusal: damaged, unsupported or too large.
            OtherBandsError: it has other bands, which the message names.
        """
        if self._is_picture:
            try:
                pixels, dropped = pixels_and_dropped(self.data, self.opened)
            except Refusal as refusal:
                raise as_other_bands(self.data, self.where, refusal) or refusal from refusal
            return np.ascontiguousarray(pixels), dropped
        image = banded_image(self.data)
        unused = unused_bands(image.band_names, self.bands)
        return np.ascontiguousarray(chosen(image, self.bands, self.where), self.bands.dtype), (*image.dropped, *unused)


def unused_bands(names: tuple[str, ...], bands: Bands) -> tuple[DroppedContent, ...]:
    """The bands of a file that a model does not take."""
    used = positions(names, bands) or ()
    left = [name for place, name in enumerate(names) if place not in used]
    if not left:
        return ()
    listed = ", ".join(left[:4]) + (" …" if len(left) > 4 else "")
    what = f"the band {listed}" if len(left) == 1 else f"{len(left)} bands ({listed})"
    return (DroppedContent(CHANNELS, what, f" {'is' if len(left) == 1 else 'are'} not used"),)


def as_other_bands(data: bytes, where: str, refusal: Refusal) -> OtherBandsError | None:
    """The error of an image that cannot be read as RGB, if the reason is its bands."""
    if refusal.kind not in ("bands", "unread-kind", "not-an-image"):
        return None
    try:
        facts = band_facts(data, where)
    except ImageError:
        return None
    return other_bands(where, facts.band_names, facts.stored, RGB)


def facts_of(data: bytes, where: str) -> BandFacts:
    """As `band_facts`. Raises Refusal."""
    try:
        return band_facts(data, where)
    except ImageError as error:
        if isinstance(error.__cause__, Refusal):
            raise error.__cause__ from error
        raise


def format_of(data: bytes) -> str:
    return "NumPy" if data.startswith(NUMPY_MAGIC) else image_format(data)
