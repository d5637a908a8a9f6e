"""What a TIFF's first directory says, for messages about those that no decoder here takes. No pixel is read.

Format: TIFF 6.0 (Adobe, 1992), section 2; BigTIFF: libtiff.gitlab.io/libtiff/specification/bigtiff.html.
"""

from __future__ import annotations

import struct

SAMPLES, BITS = 277, 258  # tags
MOST_TAGS = 4096
READ_BANDS = (1, 3, 4)


def bands_of(data: bytes) -> tuple[int, int] | None:
    """Bands and bits of each, as the first directory says; None where it cannot be read."""
    try:
        tags = _first_numbers(data)
    except struct.error:
        return None
    return tags.get(SAMPLES, 1), tags.get(BITS, 1)


def _first_numbers(data: bytes) -> dict[int, int]:
    """The first number of every tag of whole numbers. Raises struct.error where the file ends early."""
    order = "<" if data[:2] == b"II" else ">"
    (version,) = struct.unpack_from(order + "H", data, 2)
    big = version == 43
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    entry = 20 if big else 12
    found: dict[int, int] = {}
    for i in range(min(count, MOST_TAGS)):
        start = at + i * entry
        tag, kind = struct.unpack_from(order + "HH", data, start)
        (number,) = struct.unpack_from(order + ("Q" if big else "I"), data, start + 4)
        letter = {3: "H", 4: "I", 16: "Q"}.get(kind)
        if letter is None:
            continue
        place = start + entry - (8 if big else 4)
        if number * struct.calcsize(letter) > (8 if big else 4):  # the numbers lie elsewhere
            (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, place)
        (found[tag],) = struct.unpack_from(order + letter, data, place)
    return found
