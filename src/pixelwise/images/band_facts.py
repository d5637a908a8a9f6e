"""What an image's header says of its bands: how many, their depth and names. No pixels are decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.errors import ImageError
from pixelwise.images.banded_image import COLOUR_NAMES, is_tiff, numbered, tiff_picture
from pixelwise.images.files import Refusal, image_format, read_bytes, read_head, shown
from pixelwise.images.image_header import open_image
from pixelwise.images.nifti_bands import is_nifti, nifti_header
from pixelwise.images.numpy_bands import NUMPY_MAGIC, numpy_header
from pixelwise.images.orientation import stored_turn
from pixelwise.images.pnm import pnm_header

HEAD_BYTES = 1 << 16
BANDS_OF_PNG = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type
NAMES = {1: (), 2: ("grey", "alpha"), 3: COLOUR_NAMES, 4: (*COLOUR_NAMES, "alpha")}
BANDS_OF_MODE = {"1": 1, "L": 1, "I;16": 1, "LA": 2, "La": 2, "RGBA": 4, "RGBa": 4}  # of Pillow; all others are colour


@dataclass(frozen=True)
class BandFacts:
    """The bands of an image file, as `read_bands` returns them."""

    height: int  # in pixels, upright
    width: int
    bands: int
    dtype: str  # "uint8", "uint16" or "float32"
    names: tuple[str, ...] = ()  # empty if the file names none
    pages: int = 1  # of a TIFF, those of the bands included
    stored: str = ""  # type of the stored values, such as "int16"
    windows_are_cheap: bool = False  # a TIFF of which `read_bands_window` reads a part without decoding the rest

    @property
    def band_names(self) -> tuple[str, ...]:
        """The names, or "band 1", "band 2" … if the file names none."""
        return self.names or numbered(self.bands)

    @property
    def may_be_rgb(self) -> bool:
        """Whether the image can be read as 8-bit red, green and blue without loss, if its alpha is constant."""
        names = (*self.names, "alpha") if self.bands in (1, 3) else self.names
        return self.dtype == "uint8" and names in (("alpha",), ("grey", "alpha"), (*COLOUR_NAMES, "alpha"))


def band_facts(source: Path | bytes, name: str = "image") -> BandFacts:
    """The bands of an image file, from its header.

    Args:
        source: a file, or its bytes, which are called `name` in error messages.

    Raises:
        ImageError: unreadable, damaged, not an image, or unsupported.
    """
    try:
        return _facts(source)
    except Refusal as refusal:
        raise ImageError(f"{shown(source) if isinstance(source, Path) else name}: {refusal}") from refusal


def _facts(source: Path | bytes) -> BandFacts:
    head = source[:HEAD_BYTES] if isinstance(source, bytes) else read_head(source, HEAD_BYTES)
    if head.startswith(NUMPY_MAGIC):
        header = numpy_header(head)
        return BandFacts(*header.image_shape, raster_type(header.dtype), stored=header.dtype.name)
    if is_nifti(head):
        nifti = nifti_header(head)
        dtype = "float32" if nifti.scaled else "uint8" if nifti.dtype.names else raster_type(nifti.dtype)
        return BandFacts(*nifti.shape_HWB, dtype, nifti.names, stored=dtype if nifti.dtype.names else nifti.dtype.name)
    kind = image_format(head)
    if is_tiff(head):
        if picture := tiff_picture(source):
            return _of_picture(picture[:2], picture[2], False)
        from pixelwise.images.tiff_bands import TiffBands  # which loads tifffile

        with TiffBands(source) as tiff:
            dtype = "float32" if tiff.no_data is not None or tiff.is_sparse else raster_type(tiff.dtype)
            return BandFacts(tiff.height, tiff.width, tiff.bands, dtype, tiff.names, tiff.pages, tiff.dtype.name,
                             tiff.windows_are_cheap)  # fmt: skip
    if kind == "PPM":
        pnm = pnm_header(head)
        bands, deep = pnm.channels, pnm.maxval > 255
        return _of_picture((pnm.height, pnm.width), bands, deep)
    image = _from_head(head, kind) or open_image(source if isinstance(source, bytes) else read_bytes(source)).image
    size = image.size if stored_turn(image) >= 5 else image.size[::-1]
    if kind == "PNG":
        return _of_picture(size, BANDS_OF_PNG.get(head[25], 3), head[24] == 16)
    return _of_picture(size, BANDS_OF_MODE.get(image.mode, 3), image.mode == "I;16")


def _from_head(head: bytes, kind: str) -> Image.Image | None:
    """The image, opened from the file's first bytes; None where its decoder needs more of them."""
    if kind not in ("PNG", "JPEG", "BMP", "GIF", "TGA"):
        return None
    try:
        return Image.open(io.BytesIO(head), formats=(kind,))
    except Exception:  # of many kinds; with the whole file, `open_image` says what is wrong
        return None


def _of_picture(size: tuple[int, int], bands: int, deep: bool) -> BandFacts:
    dtype = "uint16" if deep else "uint8"
    return BandFacts(*size, bands, dtype, NAMES[bands], stored=dtype)


def raster_type(stored: np.dtype[np.generic]) -> str:
    """The type of the values that `read_bands` returns for stored ones."""
    if stored.kind == "b":
        return "uint8"
    return stored.name if stored.kind == "u" and stored.itemsize <= 2 else "float32"
