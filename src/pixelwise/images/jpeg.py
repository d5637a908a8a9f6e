"""JPEG pixels by libjpeg-turbo, and what it has to say about them. Bit for bit those of OpenCV and Pillow, and faster.

OpenCV and Pillow decode a JPEG whose middle is gone to grey or shifted blocks and keep the decoder's warnings to
themselves. simplejpeg hands them out. Where it is missing, OpenCV decodes, and such damage goes unnoticed.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import cv2
import numpy as np

from pixelwise.images.dropped_content import LEFT_OVER, DroppedContent
from pixelwise.images.files import truncated
from pixelwise.records import Pixels

simplejpeg: Any
try:
    simplejpeg = import_module("simplejpeg")
except ImportError:  # no wheel for this platform
    simplejpeg = None

# What libjpeg says where pixels are lost. Other warnings are about headers that many cameras write as they like.
LOST = re.compile(r"premature end|bad Huffman code|bad arithmetic|instead of RST|empty")
EXTRA = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
PADDING = 16  # bytes before the end marker that no encoder is blamed for
MAYBE_BYTES = 1024


def jpeg_pixels(
    data: bytes, size: tuple[int, int], space: str = "RGB"
) -> tuple[Pixels, tuple[DroppedContent, ...]] | None:
    """uint8 [H, W, 3] RGB as stored, and what was odd about it; None where Pillow is to try.

    Args:
        size: (H, W) that the header says.
        space: "CMYK" for [H, W, 4].

    Raises:
        Refusal: part of the pixels is missing or damaged.
    """
    if simplejpeg is None:
        return _by_opencv(data, size) if space == "RGB" else None
    notes: tuple[DroppedContent, ...] = ()
    if data[6:11] == b"JFIF\0" and data[11:12] != b"\1":  # a revision that libjpeg warns of before any other warning
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
    """What a warning of libjpeg means. Raises Refusal where pixels are lost."""
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
        reason = said.removeprefix("Corrupt JPEG data: ")
        raise truncated(f"part of its pixels is missing or damaged ({reason})")
    return ()
