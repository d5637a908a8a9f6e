"""An upload → pixels: measured before it is read, read within a time, and looked at before it is decoded.

The name that a client gives a file is never used for anything.
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from pixelwise.data.decode import FORMATS
from pixelwise.data.images import decode_image
from pixelwise.errors import DataError
from pixelwise.records import Pixels
from pixelwise.server.refusals import Refused, too_large
from pixelwise.server.settings import Settings

MULTIPART = "multipart/form-data"


@dataclass(frozen=True)
class Decoded:
    """An upload that became an image."""

    pixels: Pixels  # [H, W, 3]
    format: str  # one of FORMATS
    bytes: int


async def read_upload(request: Request, settings: Settings) -> bytes:
    """The bytes of the request's image: its whole body, or the first file of a multipart form.

    Raises:
        Refused: nothing there, too large, or too slow.
    """
    try:
        async with asyncio.timeout(settings.read_s):
            if request.headers.get("content-type", "").startswith(MULTIPART):
                data = await read_form(request, settings)
            else:
                data = await read_body(request, settings)
    except TimeoutError as error:
        message = f"The upload did not arrive within {settings.read_s:.0f} s."
        raise Refused(408, "too-slow", message, "Try again, or send a smaller image.") from error
    except ClientDisconnect as error:
        raise Refused(400, "left", "The client went away.") from error
    if not data:
        raise Refused(
            400, "image-missing", "The request holds no image.", "Send its bytes as the body, or as a multipart file."
        )
    return data


async def read_body(request: Request, settings: Settings) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > settings.max_bytes:
            raise too_large("The upload is larger", f"{settings.max_bytes // 2**20} MB")
        parts.append(part)
    return b"".join(parts)


async def read_form(request: Request, settings: Settings) -> bytes:
    try:
        async with request.form(max_files=4, max_fields=8) as form:
            for value in form.values():
                if not isinstance(value, str):
                    data = await value.read(settings.max_bytes + 1)
                    if len(data) > settings.max_bytes:
                        raise too_large("The upload is larger", f"{settings.max_bytes // 2**20} MB")
                    return data
    except (MultiPartException, HTTPException) as error:
        raise Refused(
            400, "form-damaged", "The multipart form cannot be read.", "Send the image as the body."
        ) from error
    return b""


def decode(data: bytes, settings: Settings) -> Decoded:
    """Bytes → pixels.

    Raises:
        Refused: not an image of an allowed format, too many pixels, or damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as header:
            width, height, kind = header.width, header.height, str(header.format)
    except Image.DecompressionBombError as error:
        raise too_large("The image has more pixels", f"{settings.max_pixels:,} pixels") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise Refused(
            415, "image-unreadable", "This is not an image that can be read.", f"Send one of: {', '.join(FORMATS)}."
        ) from error
    if width * height > settings.max_pixels:
        raise too_large(
            f"The image has {width}×{height} = {width * height:,} pixels", f"{settings.max_pixels:,} pixels"
        )
    try:
        pixels = decode_image(data, "the image")
    except DataError as error:
        raise Refused(422, "image-damaged", str(error), "Save it again as PNG or JPEG.") from error
    return Decoded(np.ascontiguousarray(pixels), kind, len(data))
