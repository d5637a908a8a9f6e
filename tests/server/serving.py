"""What tests of the server share: making requests' bodies and reading answers."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
from PIL import Image


def png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def unpack(body: bytes) -> tuple[dict[str, Any], list[np.ndarray[Any, Any]]]:
    """The inverse of `answers.pack`."""
    (length,) = struct.unpack("<I", body[:4])
    header = json.loads(body[4 : 4 + length])
    arrays = []
    for row in header.pop("arrays"):
        count = int(np.prod(row["shape"]))
        found = np.frombuffer(body, row["dtype"], count, 4 + length + row["offset"])
        arrays.append(found.reshape(row["shape"]))
    return header, arrays
