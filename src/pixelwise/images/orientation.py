"""Read an image's orientation from EXIF or XMP, and rotate it upright. No pixels are decoded.

EXIF is parsed here: decoders' parsers copy every value, and many tags that point to the same megabytes would take very
long.

Shapes: h, w as stored; H, W upright.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.images.files import Refusal
from pixelwise.images.tiff_header import tiff_bytes

ORIENTATION = 0x0112  # EXIF tag
XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")
RAW_PROFILE = "Raw profile type exif"  # the PNG text in which ImageMagick stores EXIF


def stored_turn(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if EXIF is missing or damaged: viewers show such an image as stored."""
    tags = getattr(image, "tag_v2", None)
    value = (_of_exif(_exif_bytes(image)) or _of_xmp(image)) if tags is None else tags.get(ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def oriented(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Rotate a stored [h, w] or [h, w, 3] array upright by its EXIF orientation, 1 to 8. Contiguous."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def _exif_bytes(image: Image.Image) -> bytes:
    exif = image.info.get("exif")
    if isinstance(exif, bytes):
        return exif
    profile = image.info.get(RAW_PROFILE)
    if isinstance(profile, str):
        try:
            return bytes.fromhex("".join(profile.split("\n")[3:]))
        except ValueError:  # damaged: as stored
            return b""
    return b""


def _of_exif(exif: bytes) -> int | None:
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    try:
        file = tiff_bytes(exif)
        return file.number(file.first(), ORIENTATION, 0) or None
    except (struct.error, Refusal):
        return None


def _of_xmp(image: Image.Image) -> int | None:
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, tuple):
        xmp = xmp[0]
    text = xmp.encode() if isinstance(xmp, str) else xmp
    found = XMP_ORIENTATION.search(text) if isinstance(text, bytes) else None
    return int(found[1]) if found else None
