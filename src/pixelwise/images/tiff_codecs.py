"""Decompress a tile or strip of a TIFF, within the size that its header states.

Python decodes deflate and LZMA; Pillow's libtiff decodes LZW, PackBits and, where it was built with it, Zstandard: the
compressed bytes are handed to it as a grey image of one row, so that bands, depth and signs do not matter to it. Other
compressions need the extra `tiff`.

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
from PIL import TiffImagePlugin, features

from pixelwise.errors import MissingExtraError
from pixelwise.images.files import Refusal, truncated
from pixelwise.images.png_inflate import isal_zlib

PLAIN, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 7, 8, 32946, 32773
LZMA, ZSTD, WEBP = 34925, 50000, 50001
JPEG_2000 = (33003, 33005, 34712)
NAMES = {PLAIN: "none", LZW: "LZW", DEFLATE: "deflate", OLD_DEFLATE: "deflate", PACKBITS: "PackBits", LZMA: "LZMA",
         ZSTD: "Zstandard", JPEG: "JPEG", WEBP: "WebP", **dict.fromkeys(JPEG_2000, "JPEG 2000")}  # fmt: skip
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
            raise truncated(f"its pixels cannot be decoded ({error})") from error
    elif compression == LZMA:
        try:
            found = lzma.LZMADecompressor().decompress(data, size)
        except lzma.LZMAError as error:
            raise truncated(f"its pixels cannot be decoded ({error})") from error
    else:
        found = _by_libtiff(data, compression, size)
    if len(found) < size:
        raise truncated(f"a tile or strip holds {len(found):,} of its {size:,} bytes")
    return found


def _by_libtiff(data: bytes, compression: int, size: int) -> bytes:
    """Decompress with Pillow's libtiff, as a grey image one row high."""
    name = NAMES[compression]
    if not features.check("libtiff"):
        raise needs_extra(name)
    entries = [(256, 4, size), (257, 4, 1), (258, 3, 8), (259, 3, compression), (262, 3, 1), (273, 4, 122),
               (277, 3, 1), (278, 4, 1), (279, 4, len(data))]  # fmt: skip
    table = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in entries)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + table + struct.pack("<I", 0)
    try:
        # Not Image.open, whose limit is for pixels; the caller has checked the size.
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(head + data))
        return image.tobytes()
    except (OSError, SyntaxError, ValueError) as error:
        if compression == ZSTD:  # libtiff may have been built without it
            raise needs_extra(name) from error
        raise truncated(f"its {name} pixels cannot be decoded") from error


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
