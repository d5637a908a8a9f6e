"""The image of a bundle's golden example, stored without loss: RGB as PNG, other bands as compressed values.

Shapes: H, W the image's size; N its bands.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

import numpy as np

from pixelwise.bundle.metadata import MetadataError, items, of_type, whole, wrong
from pixelwise.errors import DataError
from pixelwise.images.image_files import decode_image, encode_png
from pixelwise.records import RGB, Bands, Raster

LONGEST_PX = 64  # of the longer side, when written
MOST_VALUES = 1 << 19  # when written
MAX_PX = 1024  # of a side, when read: it is labelled on every load
MAX_VALUES = 1 << 22  # when read


def shrink(image_HWN: Raster) -> Raster:
    """A small copy for the golden example: every n-th pixel."""
    height, width, bands = image_HWN.shape
    step = max(max(height, width) // LONGEST_PX, 1)
    while -(-height // step) * -(-width // step) * bands > MOST_VALUES:
        step += 1
    return image_HWN[::step, ::step].copy()


def image_entries(image_HWN: Raster, bands: Bands) -> dict[str, Any]:
    """The image as entries of the golden example."""
    if bands == RGB:
        return {"image_png": base64.b64encode(encode_png(np.asarray(image_HWN, np.uint8))).decode()}
    values = np.ascontiguousarray(image_HWN, np.dtype(bands.dtype).newbyteorder("<"))
    return {
        "image_shape": list(values.shape),
        "image_zlib": base64.b64encode(zlib.compress(values.tobytes(), 9)).decode(),
    }


def image_of(stated: dict[str, Any], bands: Bands) -> Raster:
    """The image from the entries of the golden example.

    Raises:
        MetadataError: they are not an image of these bands, of at most MAX_PX a side.
    """
    if bands == RGB:
        try:
            return np.ascontiguousarray(decode_image(png_of(stated, "image_png"), "golden image"))
        except DataError as error:
            raise MetadataError(str(error)) from error
    height, width, count = items(
        stated.get("image_shape"), "golden.image_shape", 3, lambda v, f: whole(v, f, 1, MAX_PX)
    )
    if count != len(bands) or height * width * count > MAX_VALUES:
        wrong("golden.image_shape", [height, width, count], f"{len(bands)} bands, at most {MAX_VALUES} values")
    dtype = np.dtype(bands.dtype).newbyteorder("<")
    size = height * width * count * dtype.itemsize
    packed, inflate = base64_of(stated, "image_zlib"), zlib.decompressobj()
    try:
        data = inflate.decompress(packed, size + 1)
    except zlib.error as error:
        raise MetadataError(f"golden.image_zlib cannot be decompressed: {error}") from error
    if len(data) != size or not inflate.eof or inflate.unused_data:
        wrong("golden.image_zlib", f"{len(data)} bytes" + ("" if inflate.eof else " or more"), f"{size} bytes")
    image: Raster = np.frombuffer(data, dtype).reshape(height, width, count).astype(bands.dtype)
    return image


def png_of(stated: dict[str, Any], key: str) -> bytes:
    """A PNG file from an entry of the golden example, not yet decoded.

    Raises:
        MetadataError: it is none, or too large.
    """
    name, data = f"golden.{key}", base64_of(stated, key)
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 33:
        raise MetadataError(f"{name} is not a PNG file")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if max(height, width) > MAX_PX or not height or not width:
        raise MetadataError(f"the golden image is {height}×{width}; at most {MAX_PX} a side")
    return data


def base64_of(stated: dict[str, Any], key: str) -> bytes:
    written = of_type(stated.get(key), str, f"golden.{key}", "a file in base64")
    try:
        return base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MetadataError(f"golden.{key} is not base64: {error}") from error
