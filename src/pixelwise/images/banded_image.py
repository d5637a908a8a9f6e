"""Any image file → [H, W, bands] at its full depth, with the names of its bands and NaN where it holds no data.

Formats: all of `decode`, NumPy's .npy and NIfTI. The format follows from the content. Whole numbers of 8 and 16 bits
stay uint8 and uint16; signed, wider and floating-point numbers become float32. Every band is returned, alpha included:
only the pixels tell whether it means transparency. `dropped` names whatever is not in the pixels.

    grey, 16-bit       one band of uint8 or uint16, as stored; 1-, 2- and 4-bit spread over 0–255
    RGB, palette       three bands: red, green, blue. 8-bit pixels are those of `decode`, also where a TIFF declares
                       no data; CMYK becomes RGB
    alpha              a last band named alpha
    TIFF               see `tiff_bands`
    .npy               the bands are the shorter of the first and last axis
    NIfTI              see `nifti_bands`
    no data            NaN, float32: GDAL's no-data value where the file declares one that its values can take; ±inf;
                       and in signed and float images −9999, −32768 and the lowest floats, where no other value is
                       near

Shapes: H, W height and width in pixels, upright; B bands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ImageError
from pixelwise.images.decode import frames_dropped, load, pixels_and_dropped
from pixelwise.images.decoder_limits import REDUCE, refuse_large
from pixelwise.images.dropped_content import DroppedContent
from pixelwise.images.files import PngFacts, Refusal, image_format, read_bytes, read_head, shown, truncated
from pixelwise.images.image_header import OpenedImage, open_image, refusing
from pixelwise.images.nifti_bands import is_nifti, nifti_header, nifti_values
from pixelwise.images.no_data import as_raster, infinite_values, rounding, without_sentinels
from pixelwise.images.numpy_bands import NUMPY_MAGIC, numpy_header, numpy_values
from pixelwise.images.orientation import oriented
from pixelwise.images.png_inflate import bounded_png
from pixelwise.images.tiff_header import HEADS, picture_of, tiff_at, tiff_bytes
from pixelwise.records import Raster

if TYPE_CHECKING:
    from pixelwise.images.tiff_bands import TiffBands

MAX_VALUE_BYTES = 1 << 31  # of the pixels in memory
COLOUR_NAMES = ("red", "green", "blue")


@dataclass(frozen=True)
class BandedImage:
    """An image with all its bands."""

    pixels: Raster  # [H, W, B]; float32 with NaN where the file holds no data
    names: tuple[str, ...] = ()  # of the bands; empty if the file names none
    dropped: tuple[DroppedContent, ...] = ()  # content of the file that is not in the pixels
    no_data: float | None = None  # the value that the file declares as no data
    notes: tuple[str, ...] = ()  # what was decided: "−9999 in 12 pixels is taken as no data"
    stored: str = ""  # the type of the file's values, where pixels are float32 only for their NaN

    @property
    def band_names(self) -> tuple[str, ...]:
        """The names, or "band 1", "band 2" … if the file names none."""
        return self.names or numbered(self.pixels.shape[2])


def numbered(bands: int) -> tuple[str, ...]:
    """The names of bands that have none."""
    return tuple(f"band {number}" for number in range(1, bands + 1))


def read_bands(data: bytes, path: Path | str) -> BandedImage:
    """Decode an image to all its bands.

    Args:
        data: the file's bytes.
        path: its name, for error messages.

    Raises:
        ImageError: unreadable, truncated, not an image, unsupported, or too large.
    """
    try:
        return banded_image(data)
    except Refusal as refusal:
        raise ImageError(f"{shown(path)}: {refusal}") from refusal


def read_bands_window(path: Path, top: int, left: int, height: int, width: int) -> BandedImage:
    """Decode a window of an image's upright pixels. Of a TIFF, only the tiles or strips that it touches are decoded.

    Raises:
        ImageError: as `read_bands`; or the window does not lie within the image.
    """
    window = (top, left, height, width)
    try:
        found = _window_of(path, window) if is_tiff(read_head(path, 4)) else None
        if found is not None:
            return found
        whole = banded_image(read_bytes(path))
        _check_window(window, whole.pixels.shape[:2])
        pixels: Any = np.ascontiguousarray(whole.pixels[top : top + height, left : left + width])
        return replace(whole, pixels=pixels)
    except Refusal as refusal:
        raise ImageError(f"{shown(path)}: {refusal}") from refusal


def _window_of(path: Path, window: tuple[int, int, int, int]) -> BandedImage | None:
    """The window; None where only `decode` reads the image: CMYK and compressions that Pillow alone has."""
    from pixelwise.images.tiff_bands import TiffBands  # which loads tifffile

    picture = tiff_picture(path)
    try:
        with TiffBands(path) as tiff:
            if picture is not None and picture[2] != tiff.bands:
                return None
            _check_window(window, (tiff.height, tiff.width))
            return window_of(tiff, window, picture=picture is not None)
    except Refusal as refusal:
        if picture is None or refusal.kind not in ("unread-kind", "missing-extra"):
            raise
        return None


def banded_image(data: bytes) -> BandedImage:
    """Like `read_bands`. Raises Refusal."""
    if data.startswith(NUMPY_MAGIC):
        return _of_numpy(data)
    if is_nifti(data):
        return _of_nifti(data)
    if image_format(data) == "TIFF" and tiff_picture(data) is None:
        from pixelwise.images.tiff_bands import TiffBands  # which loads tifffile

        with TiffBands(data) as tiff:
            return window_of(tiff, (0, 0, tiff.height, tiff.width))
    return _of_picture(data)


def tiff_picture(source: Path | bytes) -> tuple[int, int, int] | None:
    """`tiff_header.picture_of` a file or its bytes. Raises Refusal: its header cannot be read."""
    with refusing("its TIFF header cannot be read"):
        if isinstance(source, bytes):
            return picture_of(tiff_bytes(source))
        with tiff_at(source) as file:
            return picture_of(file)


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins like this is a TIFF or BigTIFF."""
    return head[:4] in HEADS


def _check_window(window: tuple[int, int, int, int], size: tuple[int, ...]) -> None:
    top, left, height, width = window
    if top < 0 or left < 0 or height < 1 or width < 1 or top + height > size[0] or left + width > size[1]:
        what = f"has no rows {top} to {top + height} and columns {left} to {left + width}: it is {size[1]}×{size[0]}."
        raise Refusal("window", what, "Choose a window inside the image.")


def check_size(height: int, width: int, bands: int, itemsize: int) -> None:
    """Raise Refusal for an image beyond the limits. `itemsize`: bytes of a value in memory."""
    refuse_large(width, height)
    if height * width * bands * itemsize > MAX_VALUE_BYTES:
        needed = f"{width}×{height} pixels of {bands:,} bands take {height * width * bands * itemsize / 2**30:.1f} GiB"
        raise Refusal("too-large", f"{needed}; the limit is {MAX_VALUE_BYTES / 2**30:.0f} GiB.", REDUCE)


def window_of(tiff: TiffBands, window: tuple[int, int, int, int], *, picture: bool = False) -> BandedImage:
    """A window (top, left, height, width) of an open TIFF. Raises Refusal.

    `picture`: `decode` reads it whole, so that what it declares as no data stays as it is.
    """
    check_size(*window[2:], tiff.bands, max(tiff.dtype.itemsize, 1 if picture or tiff.dtype.kind == "f" else 4))
    values, absent = tiff.window(*window)
    if picture:
        return BandedImage(as_raster(values), tiff.names, tiff.dropped)
    raster = as_raster(values, tiff.no_data, absent, sparse=tiff.is_sparse)
    notes = infinite_values(values)
    if tiff.no_data is None:
        raster, found = without_sentinels(raster, values.dtype)
        notes = (*notes, *found)
    return BandedImage(raster, tiff.names, (*tiff.dropped, *rounding(values)), tiff.no_data, notes)


def _of_numpy(data: bytes) -> BandedImage:
    header = numpy_header(data)
    check_size(*header.image_shape, max(header.dtype.itemsize, 4))
    with refusing("its values cannot be read"):
        values = numpy_values(data, header)
    raster, notes = without_sentinels(as_raster(values), values.dtype)
    axes = {None: "[height, width]", 0: "[bands, height, width]", 2: "[height, width, bands]"}[header.band_axis]
    read_as = f"The array {list(header.shape)} is read as {axes}."
    return BandedImage(raster, (), rounding(values), None, (read_as, *infinite_values(values), *notes))


def _of_nifti(data: bytes) -> BandedImage:
    header = nifti_header(data)
    check_size(*header.shape_HWB, 8 if header.scaled else max(header.dtype.itemsize, 4))
    values = nifti_values(data, header)
    raster, notes = without_sentinels(as_raster(values), values.dtype)
    dropped = () if header.scaled else rounding(values)  # scaled values are computed in 64 bits
    return BandedImage(raster, header.names, dropped, None, (*infinite_values(values), *notes))


def _of_picture(data: bytes) -> BandedImage:
    """A file of red, green and blue, or of grey, with or without alpha."""
    opened = open_image(data)
    if opened.pnm is not None and opened.pnm[0].maxval > 255:
        samples = opened.pnm[1].astype(np.uint16, copy=False)
        return _named(samples if samples.ndim == 3 else samples[:, :, None])
    if opened.png is not None and (opened.png.depth == 16 or opened.png.colour in (4, 6)):
        return _named(_of_png(opened, opened.png))
    mode = opened.image.mode
    if mode in ("LA", "La", "RGBA", "RGBa"):
        image = load(opened.image)
        with refusing("its pixels cannot be decoded"):
            pixels = np.asarray(image.convert("LA" if mode in ("LA", "La") else "RGBA"))
        return _named(oriented(pixels, opened.turn), frames_dropped(opened))
    if mode == "I;16":
        with refusing("its pixels cannot be decoded"):
            values = np.asarray(load(opened.image)).astype(np.uint16)
        if opened.format == "JPEG2000":  # Pillow spreads 9 to 15 bits over 16
            values >>= np.uint16(max(16 - opened.bits, 0))
        return _named(oriented(values[:, :, None], opened.turn))
    rgb, dropped = pixels_and_dropped(data, opened)
    return _named(np.ascontiguousarray(rgb[:, :, :1]) if mode in ("1", "L") else rgb, dropped)


def _of_png(opened: OpenedImage, png: PngFacts) -> NDArray[Any]:
    """A PNG of 16 bits or with alpha, upright."""
    bounded = bounded_png(opened.lean, png)
    with refusing("its pixels cannot be decoded"):
        found = cv2.imdecode(np.frombuffer(bounded, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if found is None or found.shape[:2] != (png.height, png.width) or found.dtype.itemsize * 8 != png.depth:
        raise truncated("its pixels cannot be decoded")
    if found.ndim == 2:
        values = found[:, :, None]
    else:  # OpenCV returns grey and alpha as four channels, and colours as blue, green and red
        values = found[:, :, {0: [0], 2: [2, 1, 0], 4: [0, 3], 6: [2, 1, 0, 3]}[png.colour]]
    return oriented(values, opened.turn)


def _named(pixels: Any, dropped: tuple[DroppedContent, ...] = ()) -> BandedImage:
    """Grey has no name: its one band is known by its position."""
    names = {1: (), 2: ("grey", "alpha"), 3: COLOUR_NAMES, 4: (*COLOUR_NAMES, "alpha")}[pixels.shape[2]]
    return BandedImage(pixels, names, dropped)
