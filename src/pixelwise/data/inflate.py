"""PNG pixels by a faster inflater: the same pixels as OpenCV alone gives, a quarter sooner.

More than half of the time that a photograph's PNG takes to decode is spent inflating it. ISA-L (Intel's Intelligent
Storage Acceleration Library) does that 2.4 times as fast as zlib; OpenCV then only undoes the row filters, of a PNG
whose stream was packed anew without compression. Where the package `isal` is missing, nothing else changes.
"""

from __future__ import annotations

import struct
import zlib
from importlib import import_module
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.data.files import PNG_MAGIC, PngFacts, truncated

isal_zlib: Any
try:
    isal_zlib = import_module("isal.isal_zlib")
except ImportError:  # no wheel for this platform
    isal_zlib = None

STORED_BYTES = 65535  # the largest block of a deflate stream that is stored as it is
HEADER_STOP = len(PNG_MAGIC) + 25  # the signature and the header chunk, which comes first


def rgb_of_png(data: bytes, png: PngFacts) -> NDArray[np.uint8] | None:
    """Pixels of an 8-bit RGB PNG, uint8 [H, W, 3] RGB; None where this shortcut does not apply.

    The chunks' checksums are known to hold (`files.check_png`).

    Raises:
        Refusal: the stream is damaged, or holds fewer pixels than the header says.
    """
    if isal_zlib is None or png.depth != 8 or png.colour != 2 or png.interlaced:
        return None
    expected = png.height * (1 + 3 * png.width)
    try:
        inflater = isal_zlib.decompressobj()
        raw = inflater.decompress(_pixel_stream(data), expected + 1)  # a bomb stops here
    except isal_zlib.error as error:
        raise truncated(f"its pixels cannot be decoded ({error})") from error
    if len(raw) < expected:
        raise truncated("its pixels cannot be decoded")
    if len(raw) > expected or not inflater.eof:
        return None  # more than the header says: odd, and the plain way's to judge
    packed = _repacked(data[:HEADER_STOP], raw)
    rgb = cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if rgb is None or rgb.shape != (png.height, png.width, 3) else np.asarray(rgb, np.uint8)


def _pixel_stream(data: bytes) -> bytes:
    """The contents of all IDAT chunks, joined."""
    parts = []
    at = len(PNG_MAGIC)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        if name == b"IDAT":
            parts.append(data[at + 8 : at + 8 + length])
        elif name == b"IEND":
            break
        at += length + 12
    return b"".join(parts)


def _repacked(header: bytes, raw: bytes) -> bytes:
    """A PNG whose one IDAT chunk holds `raw` without compression."""
    view = memoryview(raw)
    stream: list[bytes | memoryview] = [b"\x78\x01"]
    for start in range(0, len(raw), STORED_BYTES):
        block = view[start : start + STORED_BYTES]
        stream += (struct.pack("<BHH", start + STORED_BYTES >= len(raw), len(block), len(block) ^ 0xFFFF), block)
    stream.append(struct.pack(">I", zlib.adler32(raw)))
    checksum = zlib.crc32(b"IDAT")
    for part in stream:
        checksum = zlib.crc32(part, checksum)
    length = sum(len(part) for part in stream)
    end = struct.pack(">I", checksum) + b"\0\0\0\0IEND\xaeB`\x82"
    return b"".join((header, struct.pack(">I", length), b"IDAT", *stream, end))
