"""The body of an edit as the page sends it: a JSON header, and the pixels that change.

uint32 length of the header (little-endian), the header as UTF-8, then the keys of the edit's rectangle and which of its
pixels change (0 or 1), a byte a pixel each; all of it gzip-compressed if Content-Encoding says so.

Shapes: h, w the rectangle's height and width in pixels.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pixelwise.server.error_responses import RequestError, too_large

HEADER_BYTES = 4096
GZIP = 16 + zlib.MAX_WBITS  # for zlib: a gzip stream


class EditHeader(BaseModel):
    """What an edit says of itself."""

    model_config = ConfigDict(extra="ignore")

    client: str = Field(min_length=1, max_length=64)
    edit_id: str = Field(min_length=1, max_length=64)
    tool: str = Field(min_length=1, max_length=40)
    key: int = Field(ge=0, le=255)
    seconds: float = Field(ge=0, le=86_400, allow_inf_nan=False)
    source: Literal["person", "assistant", "model"] = "person"
    x: int = Field(ge=0)
    y: int = Field(ge=0)
    w: int = Field(ge=1)
    h: int = Field(ge=1)


class EditBody(NamedTuple):
    """An edit that arrived."""

    header: EditHeader
    values_hw: NDArray[np.uint8]  # keys, 255 = not labelled
    changed_hw: NDArray[np.bool_]


def edit_of(body: bytes, encoding: str, max_pixels: int) -> EditBody:
    """The edit in the body of a request.

    Args:
        encoding: the request's Content-Encoding: "", "identity" or "gzip".
        max_pixels: of the rectangle.

    Raises:
        RequestError: not an edit, damaged, or too large.
    """
    data = unzipped(body, encoding, HEADER_BYTES + 4 + 2 * max_pixels)
    if len(data) < 4:
        raise damaged(f"it has {len(data)} bytes")
    (length,) = struct.unpack("<I", data[:4])
    if length > HEADER_BYTES or 4 + length > len(data):
        raise damaged(f"its header of {length} bytes is not in it, or is over {HEADER_BYTES} bytes")
    header = header_of(data[4 : 4 + length])
    pixels = header.w * header.h
    if pixels > max_pixels:
        raise too_large(f"The edit has {header.w}×{header.h} pixels", f"{max_pixels:,} pixels")
    if len(data) != 4 + length + 2 * pixels:
        expected = 4 + length + 2 * pixels
        raise damaged(f"{header.w}×{header.h} pixels take {expected:,} bytes, but it has {len(data):,}")
    planes = np.frombuffer(data, np.uint8, 2 * pixels, 4 + length).reshape(2, header.h, header.w)
    if planes[1].max() > 1:
        raise damaged("the bytes that mark changed pixels hold other values than 0 and 1")
    return EditBody(header, planes[0], planes[1].astype(bool))


def header_of(text: bytes) -> EditHeader:
    """Raises RequestError."""
    try:
        return EditHeader.model_validate_json(text)
    except ValidationError as error:
        first: Any = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the header"
        raise damaged(f"{where}: {first['msg']}") from error


def unzipped(body: bytes, encoding: str, most: int) -> bytes:
    """Raises RequestError: not gzip, truncated, or more than `most` bytes."""
    if encoding.strip().lower() in ("", "identity"):
        return body
    if encoding.strip().lower() != "gzip":
        raise RequestError(415, "encoding-unknown", "The body has another Content-Encoding than gzip.", "Use gzip.")
    unpacker = zlib.decompressobj(GZIP)
    try:
        data = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise damaged("its gzip stream cannot be read") from error
    if len(data) > most:
        raise too_large("The edit is too large when decompressed", f"{most:,} bytes")
    if not unpacker.eof:
        raise damaged("its gzip stream is incomplete")
    return data


def damaged(what: str) -> RequestError:
    remedy = "Send a header's length, the header, the keys and which pixels change: see /docs."
    return RequestError(422, "edit-invalid", f"The edit cannot be read: {what}.", remedy)
