"""Decode JPEG with libjpeg-turbo and return its warnings. Same pixels as OpenCV and Pillow, but faster.

OpenCV and Pillow decode a JPEG with missing data to grey or shifted blocks and hide the decoder's warnings.
simplejpeg returns them. Without it, OpenCV decodes, and such damage stays undetected.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import cv2
import numpy as np

from pixelwise.images.decoder_reasons import meaning_of
from pixelwise.images.dropped_content import LEFT_OVER, DroppedContent
from pixelwise.images.files import truncated
from pixelwise.records import Pixels

simplejpeg: Any
try:
    simplejpeg = import_module("simplejpeg")
except ImportError:  # no wheel for this platform
    simplejpeg = None

# Warnings of libjpeg that mean lost pixels. Others concern headers, which many cameras write incorrectly.
LOST = re.compile(r"premature end|bad Huffman code|bad arithmetic|instead of RST|empty")
EXTRA = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
PADDING = 16  # bytes tolerated before the end marker
MAYBE_BYTES = 1024


def jpeg_pixels(
    data: bytes, size: tuple[int, int], space: str = "RGB"
) -> tuple[Pixels, tuple[DroppedContent, ...]] | None:
    """uint8 [H, W, 3] RGB as stored, and its unused content; None if Pillow must decode.

    Args:
        size: (H, W) from the header.
        space: "CMYK" for [H, W, 4].

    Raises:
        Refusal: part of the pixels is missing or damaged.
    """
    if simplejpeg is None:
        return _by_opencv(data, size) if space == "RGB" else None
    notes: tuple[DroppedContent, ...] = ()
    if data[6:11] == b"JFIF\0" and data[11:12] != b"\1":  # libjpeg warns about this revision before anything else
        data = data[:11] + b"\1\1" + data[13:]
    try:
        pixels = simplejpeg.decode_jpeg(data, space)
    except ValueError as error:
        notes = _judged(data, str(error))
        try:
            pixels = simplejpeg.decode_jpeg(data, space, strict=False)
        except ValueError:
            return None
    return (np.asarray(pixels, np.uint8), notes) if pixels.shape[:2] == size else None


def _by_opencv(data: bytes, size: tuple[int, int]) -> tuple[Pixels, tuple[DroppedContent, ...]] | None:
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return (np.asarray(found, np.uint8), ()) if found is not None and found.shape[:2] == size else None


def _judged(data: bytes, said: str) -> tuple[DroppedContent, ...]:
    """The unused content that a libjpeg warning indicates. Raises Refusal if pixels are lost."""
    extra = EXTRA.search(said)
    if extra and extra[2] == "d9":
        number = int(extra[1])
        end = data.rfind(b"\xff\xd9")
        left_over = data[max(end - number + PADDING, 0) : end]
        if number <= PADDING or len(set(left_over)) <= 1:
            return ()
        if number <= MAYBE_BYTES:
            what = f"{number} bytes are left over after its pixels"
            return (DroppedContent(LEFT_OVER, what, ": part of the picture may be damaged"),)
    if extra or LOST.search(said):
        reason = f"{extra[1]} bytes among them belong to no pixel" if extra else meaning_of(said)
        raise truncated(f"part of its pixels is missing or damaged ({reason})")
    return ()
