"""Decode PNG in half the time of OpenCV and Pillow, with the same pixels.

Decoding a photo's PNG spends a quarter of the time on inflating, and most of the rest on undoing the row filters.
ISA-L (Intel's Intelligent Storage Acceleration Library) inflates 2.4 times as fast as zlib; libspng undoes the filters
three times as fast as OpenCV's libpng, from a PNG rewritten without compression. Without the package `isal` or `pyspng`
only the time changes.
"""

from __future__ import annotations

import struct
import zlib
from importlib import import_module
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.images.decoder_reasons import DAMAGED_STREAM
from pixelwise.images.files import PNG_MAGIC, PngFacts, truncated

isal_zlib: Any
try:
    isal_zlib = import_module("isal.isal_zlib")
except ImportError:  # no wheel for this platform
    isal_zlib = None
pyspng: Any
try:
    pyspng = import_module("pyspng")
except ImportError:
    pyspng = None

STORED_BYTES = 65535  # the largest stored block of a deflate stream
CHANNELS = {0: 1, 2: 3, 3: 1}  # by colour type: grey, RGB, palette
SAMPLES = {**CHANNELS, 4: 2, 6: 4}  # and with alpha
GREY, RGB, PALETTE = 0, 2, 3


def stored_pixels(data: bytes, png: PngFacts) -> NDArray[np.uint8] | None:
    """The stored samples of an 8-bit PNG: uint8 [H, W, 3] for RGB, [H, W] for grey values or palette indices.

    None if this shortcut does not apply. The chunks' checksums are already verified (`files.check_png`).

    Raises:
        Refusal: the stream is damaged, or holds fewer pixels than the header states.
    """
    channels = CHANNELS.get(png.colour)
    if isal_zlib is None or png.depth != 8 or channels is None or png.interlaced:
        return None
    expected = png.height * (1 + channels * png.width)
    packed = _repacked(png, RGB if channels == 3 else GREY, _inflated(data, expected))
    shape = (png.height, png.width, 3) if channels == 3 else (png.height, png.width)
    found = _unfiltered(packed, channels)
    return found.reshape(shape) if found is not None and found.size == expected - png.height else None


def bounded_png(data: bytes, png: PngFacts) -> bytes:
    """The PNG with its stream cut to the length of its pixels, for decoders that would inflate and report the rest.

    Raises:
        Refusal: the stream is damaged, or holds fewer pixels than the header states.
    """
    samples = SAMPLES.get(png.colour)
    if isal_zlib is None or png.depth not in (8, 16) or samples is None or png.interlaced or png.colour == PALETTE:
        return data
    expected = png.height * (1 + samples * png.width * png.depth // 8)
    return _repacked(png, png.colour, _inflated(data, expected))


def _inflated(data: bytes, expected: int) -> memoryview:
    """The first bytes of a PNG's pixel stream; bytes beyond what the header states are not pixels. Raises Refusal."""
    try:
        raw = isal_zlib.decompressobj().decompress(_pixel_stream(data), expected + 1)  # a bomb stops here
    except isal_zlib.error as error:
        raise truncated(f"its pixels cannot be decoded ({DAMAGED_STREAM})") from error
    if len(raw) < expected:
        raise truncated("its pixels cannot be decoded")
    return memoryview(raw)[:expected]


def _unfiltered(packed: bytes, channels: int) -> NDArray[np.uint8] | None:
    if pyspng is not None:
        try:
            return np.asarray(pyspng.load(packed), np.uint8)
        except RuntimeError:  # an invalid row filter: left to OpenCV and Pillow
            return None
    kind = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
    found = cv2.imdecode(np.frombuffer(packed, np.uint8), kind | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if found is None else np.asarray(found, np.uint8)


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


def _repacked(png: PngFacts, colour: int, view: memoryview) -> bytes:
    """A PNG of this colour type whose single pixel chunk holds the bytes uncompressed."""
    stream: list[bytes | memoryview] = [b"\x78\x01"]
    for start in range(0, len(view), STORED_BYTES):
        block = view[start : start + STORED_BYTES]
        stream += (struct.pack("<BHH", start + STORED_BYTES >= len(view), len(block), len(block) ^ 0xFFFF), block)
    stream.append(struct.pack(">I", isal_zlib.adler32(view)))
    header = struct.pack(">IIBBBBB", png.width, png.height, png.depth, colour, 0, 0, 0)
    return b"".join((PNG_MAGIC, *_chunk(b"IHDR", [header]), *_chunk(b"IDAT", stream), *_chunk(b"IEND", [])))


def _chunk(name: bytes, parts: list[bytes | memoryview]) -> list[bytes | memoryview]:
    checksum = zlib.crc32(name)
    for part in parts:
        checksum = isal_zlib.crc32(part, checksum)
    return [struct.pack(">I", sum(map(len, parts))), name, *parts, struct.pack(">I", checksum)]
