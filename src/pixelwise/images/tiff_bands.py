"""A TIFF as one image of bands, at its full depth: samples of a page, and pages of equal size.

    samples of a page      bands
    pages of equal size    bands, if each has one sample; in OME and ImageJ files the pages of their channels
    other pages            reported, not used; reduced copies and thumbnails are no pages
    a palette              its colours: red, green, blue
    1-, 2- and 4-bit       spread over 0–255; "white is zero" is inverted
    orientation            undone
    GDAL's no-data value, pixels that a transparency mask leaves out, tiles missing from the file (sparse)    no data

Shapes: H, W height and width in pixels, upright; B bands; P pages; S samples a page.
"""

from __future__ import annotations

import io
import logging
import math
import struct
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pixelwise.images.band_names import (
    GDAL_NO_DATA,
    Stack,
    bands_axis,
    clean,
    gdal_names,
    page_names,
    stack_of_imagej,
    stack_of_ome,
    stack_of_tifffile,
    text_of,
)
from pixelwise.images.dropped_content import PAGES, DroppedContent, pages_dropped
from pixelwise.images.files import Refusal, truncated
from pixelwise.images.image_header import refusing
from pixelwise.images.orientation import oriented
from pixelwise.images.tiff_header import MASK, MOST_PAGES, REDUCED, chain_is_cut, check_tiff, tiff_at, tiff_bytes
from pixelwise.images.tiff_tiles import TiffTiles

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its warnings name no file

PALETTE, WHITE_IS_ZERO, RGB_COLOURS, YCBCR = 3, 0, 2, 6


class TiffBands:
    """A TIFF, open for reading whole or by windows. Close it, or use it in `with`."""

    def __init__(self, source: Path | bytes, *, kept_bytes: int = 0) -> None:
        """Open a TIFF and check it as far as possible without decoding pixels.

        Args:
            kept_bytes: of decoded tiles, kept for further windows.

        Raises:
            Refusal: not a TIFF, truncated, or unsupported.
        """
        with refusing("its TIFF header cannot be read"):
            with nullcontext(tiff_bytes(source)) if isinstance(source, bytes) else tiff_at(source) as header:
                check_tiff(header, streamed=True)
                is_cut = chain_is_cut(header)
            self.file = tifffile.TiffFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        try:
            with refusing("its TIFF tags cannot be read"):
                self._inspect(len(source) if isinstance(source, bytes) else source.stat().st_size)
                if is_cut and self.page.samplesperpixel == 1 and not self.palette:  # its pages are bands
                    raise truncated(f"a page after the first {self.pages:,} lies beyond its end")
                for tiles in self.tiles:
                    tiles.kept_bytes = kept_bytes // len(self.tiles)
        except Refusal:
            self.close()
            raise

    def _inspect(self, size: int) -> None:
        def read(offset: int, length: int) -> bytes:
            self.file.filehandle.seek(offset)
            return bytes(self.file.filehandle.read(length))

        pages = self._pages()
        first = pages[0]
        alike = [page for page in pages if _kind(page) == _kind(first)]
        self.stack = self._stack(first, alike)
        unused = len(pages) - len(alike)
        self.dropped: tuple[DroppedContent, ...] = ()
        if self.stack.left_out:
            self.dropped = (DroppedContent(PAGES, self.stack.left_out, ", the first is {used}"),)
        elif len(self.stack.pages) < len(alike):
            self.dropped = pages_dropped(len(pages))
        if unused and not self.dropped:
            number = "1 page" if unused == 1 else f"{unused:,} pages"
            of_another = f"{number} of another size or kind than the first"
            self.dropped = (DroppedContent(PAGES, of_another, f" {'is' if unused == 1 else 'are'} not used"),)
        self.pages = len(pages)
        self.tiles = [TiffTiles(alike[number], read, size) for number in self.stack.pages]
        fitting = [mask for mask in self.masks if (mask.imagelength, mask.imagewidth) == _kind(first)[:2]]
        self.mask = TiffTiles(fitting[0], read, size) if fitting and fitting[0].samplesperpixel == 1 else None
        self.page, self.turn = first, int(first.tags.valueof(274, 1))
        self.turn = self.turn if 1 <= self.turn <= 8 else 1
        self.palette = first.photometric == PALETTE and self.tiles[0].samples == 1 and len(self.tiles) == 1
        per_page = 3 if self.palette else self.tiles[0].samples
        self.stored_shape = (self.tiles[0].height, self.tiles[0].width, per_page * len(self.tiles))
        if self.stack.shape:
            self._reshape()
        height, width, self.bands = self.stored_shape
        self.height, self.width = (width, height) if self.turn >= 5 else (height, width)
        self.dtype = np.dtype(np.uint8) if self.palette or first.bitspersample < 8 else self.tiles[0].dtype
        self.names = self._names(alike)
        self.no_data = _no_data(first, self.dtype)

    def _pages(self) -> list[Any]:
        """The pictures of the file, without reduced copies and transparency masks. Raises Refusal: too many."""
        found: list[Any] = []
        self.masks: list[Any] = []
        for number in range(4 * MOST_PAGES):
            try:
                page: Any = self.file.pages[number]
            except (IndexError, struct.error, tifffile.TiffFileError):  # a damaged later page does not affect the first
                break
            kind = int(page.tags.valueof(254, 0) or 0)
            if not kind & (REDUCED | MASK):
                found.append(page)
            elif kind & (REDUCED | MASK) == MASK:
                self.masks.append(page)
            if len(found) > MOST_PAGES:
                what = f"holds more than {MOST_PAGES:,} pages; that is the limit."
                raise Refusal("too-large", what, "Save the pages to use as a file of their own.")
        if not found:
            raise truncated("it holds no picture")
        return found

    def _stack(self, first: Any, alike: list[Any]) -> Stack:
        description, samples, number = text_of(first, 270), int(first.samplesperpixel), len(alike)
        labels = list((self.file.imagej_metadata or {}).get("Labels", [])) if description.startswith("ImageJ=") else []
        known = (
            stack_of_ome(description, number, samples)
            or stack_of_imagej(description, [str(label) for label in labels], number, samples)
            or stack_of_tifffile(description, number, samples, int(first.imagelength) * int(first.imagewidth) * samples)
        )
        if known is not None:
            return known
        return Stack(tuple(range(number if samples == 1 and first.photometric != PALETTE else 1)))

    def _reshape(self) -> None:
        """Apply the shape that tifffile states: it stores an array [H, W, B] as H pages of W rows and B columns."""
        shape = tuple(side for side in self.stack.shape if side > 1)
        if len(shape) > 3 and len(self.tiles) > 1:
            what = f"is an array of shape {list(self.stack.shape)}; expected [height, width, bands]."
            raise Refusal("bands", what, "Save each image as a file of its own.")
        if len(self.tiles) == 1 or len(shape) < 2 or (len(shape) == 3 and bands_axis(shape) == 0):
            self.stack = self.stack._replace(shape=())
            return
        height, width, bands = (*shape, 1)[:3]
        self.stored_shape = (height, width, bands)

    def _names(self, alike: list[Any]) -> tuple[str, ...]:
        if self.palette:
            return ("red", "green", "blue")
        for names in (self.stack.names, gdal_names(self.page, self.bands)):
            if len(names) == self.bands:
                return names
        if len(self.tiles) > 1 and len(self.tiles) == self.bands and not self.stack.shape:
            return page_names([alike[number] for number in self.stack.pages])
        if self.page.photometric in (RGB_COLOURS, YCBCR) and self.bands >= 3 and len(self.tiles) == 1:
            extra = ["alpha" if int(kind) in (1, 2) else "" for kind in self.page.extrasamples]
            return clean(["red", "green", "blue", *extra, *[""] * self.bands][: self.bands])
        alpha = len(self.page.extrasamples) == 1 and int(self.page.extrasamples[0]) in (1, 2)
        return ("grey", "alpha") if alpha and self.bands == 2 and len(self.tiles) == 1 else ()

    @property
    def is_sparse(self) -> bool:
        """Whether the file leaves out pixels: tiles or strips that it does not hold, or a mask of valid pixels."""
        return self.mask is not None or bool(self.tiles[0].absent.all(axis=0).any())

    @property
    def windows_are_cheap(self) -> bool:
        """Whether a small window costs far less than the whole image."""
        return not self.stack.shape and all(tiles.windows_are_cheap for tiles in self.tiles)

    def window(self, top: int, left: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Values [height, width, B] of a window of the upright image, and where the file leaves out tiles, or None.

        Raises:
            Refusal: a tile or strip that cannot be decoded.
        """
        if self.stack.shape:
            whole = self._reshaped()
            return oriented(whole, self.turn)[top : top + height, left : left + width], None
        place = _turned_back((top, left, height, width), (self.height, self.width), self.turn)
        with refusing("its pixels cannot be decoded"):
            parts = [self._upgraded(tiles.window(*place)) for tiles in self.tiles]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
        return oriented(values, self.turn), self.left_out(top, left, height, width)

    def left_out(self, top: int, left: int, height: int, width: int) -> NDArray[np.bool_] | None:
        """The pixels of a window that the file leaves out, [height, width]; None: none. Raises Refusal."""
        if self.stack.shape:
            return None
        place = _turned_back((top, left, height, width), (self.height, self.width), self.turn)
        absent = self.tiles[0].absent_in(*place)
        if self.mask is not None:
            with refusing("its mask of valid pixels cannot be decoded"):
                masked = self.mask.window(*place)[:, :, 0] == 0
            absent = masked if absent is None else absent | masked
        return oriented(absent, self.turn) if absent is not None else None

    def _reshaped(self) -> NDArray[Any]:
        with refusing("its pixels cannot be decoded"):
            pages = [self._upgraded(one.window(0, 0, one.height, one.width)) for one in self.tiles]
            return np.stack(pages).reshape(self.stored_shape)

    def _upgraded(self, values: NDArray[Any]) -> NDArray[Any]:
        """Colours for a palette's indices; narrow samples spread over 0–255; white is the highest value."""
        page = self.page
        if self.palette:
            colours = np.asarray(page.colormap)
            if colours.max(initial=0) > 255:  # the standard requires 16 bits; some writers store 8
                colours = colours >> 8  # 255 · 257, and 255 · 256 as others write it, are both 255
            return np.asarray(colours.astype(np.uint8).T[values[:, :, 0]])
        bits = int(page.bitspersample)
        if bits < 8:
            values = values.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
        if page.photometric == WHITE_IS_ZERO and values.dtype.kind == "u":
            values = np.iinfo(values.dtype).max - values
        return values

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> TiffBands:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()


def _kind(page: Any) -> tuple[Any, ...]:
    """What pages must share to be bands of one image."""
    return page.imagelength, page.imagewidth, page.samplesperpixel, page.dtype, page.bitspersample, page.photometric


def _no_data(page: Any, dtype: np.dtype[Any]) -> float | None:
    """GDAL's no-data value; None if there is none, or the image cannot hold it."""
    text = text_of(page, GDAL_NO_DATA).strip("\0 \t\r\n")
    try:
        value = float(text)
    except ValueError:
        return None
    if dtype.kind == "f":
        return value
    limits = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
    return value if math.isfinite(value) and value == int(value) and limits.min <= value <= limits.max else None


def _turned_back(window: tuple[int, int, int, int], size: tuple[int, int], turn: int) -> tuple[int, int, int, int]:
    """The place of a window of the upright image in the stored one: top, left, height, width."""
    (top, left, height, width), (tall, wide) = window, size
    if turn in (3, 4, 7, 8):
        top = tall - top - height
    if turn in (2, 3, 6, 7):
        left = wide - left - width
    return (left, top, width, height) if turn >= 5 else (top, left, height, width)
