"""The size of a pixel in the world, where a file states it.

    OME-TIFF     PhysicalSizeX and -Y of the first image, with their units
    ImageJ       resolution tags, with the unit that the description names
    GeoTIFF      the scale of a pixel in metres, feet or degrees
    other TIFF   resolution tags in centimetres. Inches are left out: 72 and 300 dpi are how large to print
    NIfTI        the voxel's size along y and x

Formats: docs.openmicroscopy.org/ome-model; imagej.net's TiffDecoder; OGC 19-008r4, GeoTIFF 1.1, sections 7.4 and B.2;
TIFF 6.0, section 8; the NIfTI-1 and NIfTI-2 standards, nifti.nimh.nih.gov.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pixelwise.errors import ImageError
from pixelwise.images.band_names import PIXELS, attributes_of
from pixelwise.images.files import Refusal, read_head
from pixelwise.images.nifti_bands import is_nifti, unpacked
from pixelwise.images.tiff_header import (
    HEADS,
    ORIENTATION,
    Directory,
    TiffFile,
    tag_numbers,
    tag_text,
    tiff_at,
    tiff_bytes,
)

DESCRIPTION, RESOLUTIONS, RESOLUTION_UNIT, SCALE, GEO_KEYS = 270, (283, 282), 296, 33550, 34735
CENTIMETRE = 3
MODEL_TYPE, LINEAR_UNIT, PROJECTED, GEOGRAPHIC = 1024, 3076, 1, 2
HEAD_BYTES = 1024
UNIT_LINE = re.compile(r"^unit=(.+)$", re.MULTILINE)
METRES = {
    "nm": 1e-9, "nanometer": 1e-9, "µm": 1e-6, "μm": 1e-6, "um": 1e-6, "micron": 1e-6, "microns": 1e-6,
    "micrometer": 1e-6, r"\u00b5m": 1e-6, "mm": 1e-3, "millimeter": 1e-3, "cm": 1e-2, "centimeter": 1e-2, "m": 1.0,
    "meter": 1.0, "km": 1e3, "inch": 0.0254, "in": 0.0254, "pm": 1e-12, "å": 1e-10, "ft": 0.3048,
}  # fmt: skip
METRES_OF_EPSG = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937}
METRES_OF_NIFTI = {1: 1.0, 2: 1e-3, 3: 1e-6}
SHOWN = ((1e-7, 1e-9, "nm"), (1e-4, 1e-6, "µm"), (1e-1, 1e-3, "mm"), (1e3, 1.0, "m"), (math.inf, 1e3, "km"))


class PixelSize(NamedTuple):
    """The sides of one pixel of the upright image."""

    height: float  # in `unit`
    width: float
    unit: str = "m"  # or "°"

    def __str__(self) -> str:
        """ "0.65 µm", "0.5 × 0.7 mm", "1e-05°"."""
        divisor, unit = 1.0, "°"
        if self.unit == "m":
            divisor, unit = next((step, f" {name}") for limit, step, name in SHOWN if self.height < limit)
        sides = [f"{side / divisor:.3g}" for side in (self.height, self.width)]
        return (sides[0] if sides[0] == sides[1] else " × ".join(sides)) + unit


def pixel_size(source: Path | bytes) -> PixelSize | None:
    """The size of a pixel as an image file states it; None if it states none, or cannot be read.

    Example:
        >>> import io, numpy as np, tifffile
        >>> file = io.BytesIO()
        >>> tifffile.imwrite(file, np.zeros((4, 5), np.uint16), resolution=(2, 2), imagej=True, metadata={"unit": "um"})
        >>> str(pixel_size(file.getvalue()))
        '0.5 µm'
    """
    try:
        head = source[:HEAD_BYTES] if isinstance(source, bytes) else read_head(source, HEAD_BYTES)
        if head[:4] in HEADS:
            if isinstance(source, bytes):
                return _of_tiff(tiff_bytes(source))
            with tiff_at(source) as file:
                return _of_tiff(file)
        return _of_nifti(unpacked(head, HEAD_BYTES)) if is_nifti(head) else None
    except (ImageError, Refusal, OSError, struct.error, ValueError, OverflowError):
        return None


def _of_tiff(file: TiffFile) -> PixelSize | None:
    page = file.first()
    words = tag_text(file, page, DESCRIPTION)
    found = _of_ome(words) or _of_geo_tags(file, page) or _of_resolution(file, page, words)
    if found is not None and file.number(page, ORIENTATION, 1) >= 5:  # stored on its side
        return PixelSize(found.width, found.height, found.unit)
    return found


def _of_ome(words: str) -> PixelSize | None:
    pixels = PIXELS.search(words) if "OME" in words[:2000] else None
    if pixels is None:
        return None
    found = attributes_of(pixels.group(1))
    return _lengths([
        _number(found, f"PhysicalSize{axis}") * METRES.get(found.get(f"PhysicalSize{axis}Unit", "µm").lower(), math.nan)
        for axis in "YX"
    ])  # fmt: skip


def _of_resolution(file: TiffFile, page: Directory, words: str) -> PixelSize | None:
    per_unit = [next(iter(tag_numbers(file, page, code)), math.nan) for code in RESOLUTIONS]
    named = UNIT_LINE.search(words) if words.startswith("ImageJ=") else None
    if named is not None:
        metres = METRES.get(named.group(1).strip().lower(), math.nan)
    else:
        metres = 0.01 if file.number(page, RESOLUTION_UNIT, 2) == CENTIMETRE else math.nan
    return _lengths([metres / number if number else math.nan for number in per_unit])


def _of_geo_tags(file: TiffFile, page: Directory) -> PixelSize | None:
    scale, numbers = tag_numbers(file, page, SCALE), [int(number) for number in tag_numbers(file, page, GEO_KEYS)]
    if len(scale) < 2:
        return None
    keys = {numbers[at]: numbers[at + 3] for at in range(4, len(numbers) - 3, 4)}
    if keys.get(MODEL_TYPE) == GEOGRAPHIC:
        return _lengths([scale[1], scale[0]], "°")
    if keys.get(MODEL_TYPE) != PROJECTED:
        return None
    metres = METRES_OF_EPSG.get(keys.get(LINEAR_UNIT, 9001), math.nan)  # almost all projections are in metres
    return _lengths([scale[1] * metres, scale[0] * metres])


def _of_nifti(head: bytes) -> PixelSize | None:
    for order in "<>":
        if struct.unpack_from(order + "i", head)[0] == 348:
            (_, width, height), units = struct.unpack_from(order + "3f", head, 76), head[123]
        elif struct.unpack_from(order + "i", head)[0] == 540:
            _, width, height = struct.unpack_from(order + "3d", head, 104)
            (units,) = struct.unpack_from(order + "i", head, 500)
        else:
            continue
        metres = METRES_OF_NIFTI.get(units & 7, math.nan)
        return _lengths([abs(height) * metres, abs(width) * metres])
    return None


def _lengths(sides: list[float], unit: str = "m") -> PixelSize | None:
    if all(math.isfinite(side) and side > 0 for side in sides):
        return PixelSize(sides[0], sides[1], unit)
    return None


def _number(found: Mapping[str, str], name: str) -> float:
    try:
        return float(found.get(name, "nan"))
    except ValueError:
        return math.nan
