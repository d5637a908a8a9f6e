"""Decompress a tile or strip of a TIFF, within the size that its header states.

Python decodes deflate and LZMA; Pillow's libtiff decodes LZW, PackBits and, where it was built with it, Zstandard: the
compressed bytes are handed to it as a grey image of one row, so that bands, depth and signs do not matter to it. It
also decodes JPEG tiles of grey and RGB. Other compressions need the extra `tiff`.

Formats: TIFF 6.0, sections 9, 13 and 14; Adobe Photoshop TIFF Technical Note 3 (the floating-point predictor).
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin, TiffTags, features

from pixelwise.errors import MissingExtraError
from pixelwise.images.decoder_reasons import DAMAGED_STREAM
from pixelwise.images.files import Refusal, truncated
from pixelwise.images.png_inflate import isal_zlib

PLAIN, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 7, 8, 32946, 32773
LZMA, ZSTD, WEBP = 34925, 50000, 50001
JPEG_2000 = (33003, 33005, 34712)
NAMES = {PLAIN: "none", LZW: "LZW", DEFLATE: "deflate", OLD_DEFLATE: "deflate", PACKBITS: "PackBits", LZMA: "LZMA",
         ZSTD: "Zstandard", JPEG: "JPEG", WEBP: "WebP", **dict.fromkeys(JPEG_2000, "JPEG 2000")}  # fmt: skip
START = 8  # of a TIFF's directory
BYTES_ONLY = (PLAIN, LZW, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA, ZSTD)  # compress bytes, whatever the pixels are


def decompressed(data: bytes, compression: int, size: int) -> bytes:
    """The first `size` bytes of a tile or strip.

    Raises:
        Refusal: damaged, fewer bytes, or a compression that needs an extra.
    """
    if compression == PLAIN:
        found = data[:size]
    elif compression in (DEFLATE, OLD_DEFLATE):
        inflate = isal_zlib or zlib  # the same, twice as fast
        try:
            found = inflate.decompressobj().decompress(data, size)  # a bomb stops here
        except (zlib.error, inflate.error) as error:
            raise truncated(f"its pixels cannot be decoded ({DAMAGED_STREAM})") from error
    elif compression == LZMA:
        try:
            found = lzma.LZMADecompressor().decompress(data, size)
        except lzma.LZMAError as error:
            raise truncated(f"its pixels cannot be decoded ({DAMAGED_STREAM})") from error
    else:
        found = _by_libtiff(data, compression, size)
    if len(found) < size:
        raise truncated(f"a tile or strip holds {len(found):,} of its {size:,} bytes")
    return found


def _by_libtiff(data: bytes, compression: int, size: int) -> bytes:
    """Decompress with Pillow's libtiff, as a grey image one row high."""
    name = NAMES[compression]
    try:
        tags = {256: size, 257: 1, 258: 8, 259: compression, 262: 1, 277: 1, 278: 1}
        found: bytes = _libtiff_image(data, tags, name).tobytes()
        return found
    except (OSError, SyntaxError, ValueError) as error:
        if compression == ZSTD:  # libtiff may have been built without it
            raise needs_extra(name) from error
        raise truncated(f"its {name} pixels cannot be decoded") from error


def jpeg_part(data: bytes, tables: bytes, shape: tuple[int, int, int], subsampling: tuple[int, int] | None) -> Any:
    """A JPEG tile or strip of 8 bits: uint8 [H, W, S], grey or RGB. Raises Refusal.

    Args:
        tables: quantisation and Huffman tables that tiles share; empty if each has its own.
        subsampling: of colours that are stored as YCbCr; None if they are RGB or grey.
    """
    height, width, samples = shape
    colours = 1 if samples == 1 else 2 if subsampling is None else 6
    tags: dict[int, Any] = {
        256: width,
        257: height,
        258: (8,) * samples,
        259: JPEG,
        262: colours,
        277: samples,
        278: height,
    }
    if tables:
        tags[347] = tables
    if subsampling:
        tags[530] = subsampling
    try:
        found = np.asarray(_libtiff_image(data, tags, NAMES[JPEG]))
    except (OSError, SyntaxError, ValueError) as error:
        raise truncated("its JPEG pixels cannot be decoded") from error
    return found.reshape(height, width, samples)


def _libtiff_image(data: bytes, tags: dict[int, Any], name: str) -> Any:
    """The strip as a Pillow image, which libtiff decodes when its pixels are taken. Raises Refusal, Pillow's errors."""
    if not features.check("libtiff"):
        raise needs_extra(name)
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    directory.tagtype[347], directory.tagtype[530] = TiffTags.UNDEFINED, TiffTags.SHORT
    for code, value in {**tags, 273: 0, 279: len(data)}.items():  # Pillow adds the directory's end to 273
        directory[code] = value
    head = struct.pack("<2sHI", b"II", 42, START) + directory.tobytes(START)
    # Not Image.open, whose limit is for pixels; the caller has checked the size.
    return TiffImagePlugin.TiffImageFile(io.BytesIO(head + data))


def packing_in_words(compression: Any) -> str:
    """ "LERC; these are read: none, LZW, …" for a compression, as tifffile names it, that is not decoded."""
    name = getattr(compression, "name", f"number {compression}" if isinstance(compression, int) else "damaged")
    return f"{name}; these are read: {', '.join(dict.fromkeys(NAMES.values()))}"


def needs_extra(name: str) -> Refusal:
    """The error for a compression that only the extra decodes."""
    what = f"its compression ({name}) cannot be decoded here."
    return Refusal("missing-extra", what, str(MissingExtraError("imagecodecs, which decodes it,", "tiff")))


def undo_float_predictor(data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Floats [H, W, S] whose bytes were split into planes and stored as differences along each row."""
    height, width, samples = shape
    differences = np.frombuffer(data, np.uint8).reshape(height, dtype.itemsize * width, samples)
    planes = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(height, dtype.itemsize, width * samples)
    values = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))  # the highest byte first
    return values.reshape(shape).astype(dtype.newbyteorder("="))
