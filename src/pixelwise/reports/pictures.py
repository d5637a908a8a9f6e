"""Pictures as data URLs, so that a page needs no other file.

Shapes: H, W the picture's own size.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np

from pixelwise.records import Pixels


@dataclass(frozen=True)
class PagePicture:
    """A picture of a page."""

    data: str  # a data URL
    alt: str  # what it shows, for readers who cannot see it
    caption: str = ""


def page_picture(picture_HW3: Pixels, longest_px: int, alt: str, caption: str = "") -> PagePicture:
    """The picture for a page, see `data_url`."""
    return PagePicture(data_url(picture_HW3, longest_px), alt, caption)


def data_url(picture_HW3: Pixels, longest_px: int, *, lossless: bool = False) -> str:
    """The picture as a WebP, or as a PNG where `lossless`; shrunk so that no side is longer than `longest_px`."""
    kind, settings = ("png", []) if lossless else ("webp", [cv2.IMWRITE_WEBP_QUALITY, 80])
    small_hw3 = scaled(picture_HW3, min(longest_px / max(picture_HW3.shape[:2]), 1.0))
    done, data = cv2.imencode(f".{kind}", small_hw3[:, :, ::-1], settings)
    assert done
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"


def scaled(picture_HW3: Pixels, scale: float, *, nearest: bool = False) -> Pixels:
    """The picture at `scale` times its size, at least 1×1. Enlarged, or with `nearest`, no colour is mixed."""
    height, width = picture_HW3.shape[:2]
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    how = cv2.INTER_NEAREST if nearest or scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(np.ascontiguousarray(picture_HW3), size, interpolation=how), np.uint8)
