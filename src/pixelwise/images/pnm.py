"""PBM, PGM and PPM, plain and binary, of any depth. Pillow supports one depth of each and reads comments byte by byte.

Format: netpbm.sourceforge.net/doc: pbm, pgm, ppm. The first picture of a file is read.

Shapes: H, W height and width in pixels.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.files import Refusal, truncated

NUMBER = re.compile(rb"(?:[ \t\r\n\v\f]++|#[^\r\n]*+[\r\n])*+([0-9]{1,10})(?=[ \t\r\n\v\f#])")
COMMENT = re.compile(rb"#[^\r\n]*")
LONGEST = 9  # digits that always fit in 32 bits
LONG = re.compile(rb"[0-9]{10}")
SPACES = re.compile(rb"[ \t\r\n\v\f]{2,}")
DIGITS = b"0123456789 \t\r\n\v\f"
LARGEST = 65535
STRIP_ROWS = 256  # converted at a time

Samples = NDArray[np.uint8] | NDArray[np.uint16]  # [H, W] or [H, W, 3]


class PnmHeader(NamedTuple):
    """The header before the pixels."""

    kind: int  # 1 to 6, as in P1 … P6
    width: int
    height: int
    maxval: int  # the value of white
    start: int  # offset of the pixels

    @property
    def channels(self) -> int:
        return 3 if self.kind in (3, 6) else 1


def pnm_header(data: bytes) -> PnmHeader:
    """Parse the header. Raises Refusal: damaged, or values of more than 16 bits."""
    kind, at = data[1] - ord("0"), 2
    numbers = []
    for _ in range(2 if kind in (1, 4) else 3):
        found = NUMBER.match(data, at)
        if found is None:
            raise truncated("its header is not width, height and largest value")
        numbers.append(int(found[1]))
        at = found.end()
    width, height, maxval = (*numbers, 1)[:3]
    if width < 1 or height < 1:
        raise truncated(f"its header states {width}×{height} pixels")
    if not 1 <= maxval <= LARGEST:
        what = f"its largest value is {maxval}; expected 1 to {LARGEST}."
        raise Refusal("unread-kind", what, "Export it as 8- or 16-bit.")
    return PnmHeader(kind, width, height, maxval, at + 1)


def pnm_samples(data: bytes, header: PnmHeader) -> Samples:
    """The stored values: uint8 or uint16 [H, W] or [H, W, 3]. White of PBM is 1.

    Raises:
        Refusal: fewer values than the header states, or larger ones.
    """
    shape = (header.height, header.width, 3)[: 3 if header.channels == 3 else 2]
    count = header.height * header.width * header.channels
    if header.kind == 1:
        text = COMMENT.sub(b"", data[header.start :]).translate(None, b" \t\r\n\v\f")
        if text.translate(None, b"01"):
            raise truncated("its pixel data holds something that is neither 0 nor 1")
        bits = np.frombuffer(text, np.uint8)
        samples: Any = 1 - (_enough(bits, count) - ord("0"))
    elif header.kind == 4:
        row = -(-header.width // 8)
        packed = _enough(np.frombuffer(data, np.uint8, offset=header.start), row * header.height)
        samples = 1 - np.unpackbits(packed.reshape(-1, row), axis=1)[:, : header.width]
    elif header.kind in (2, 3):
        text = COMMENT.sub(b"", data[header.start :])
        if text.translate(None, DIGITS) or LONG.search(text):
            raise truncated("its pixel data holds something that is not a number")
        text = SPACES.sub(b" ", text)[: count * (LONGEST + 1)]  # NumPy's own limit would leave memory as it was
        samples = _narrow(_enough(np.fromstring(text, np.int32, sep=" "), count), header)
    else:
        dtype = np.dtype(np.uint8 if header.maxval < 256 else ">u2")
        whole = (len(data) - header.start) // dtype.itemsize
        stored = np.frombuffer(data, dtype, max(whole, 0), header.start) if whole > 0 else np.zeros(0, dtype)
        samples = _narrow(_enough(stored, count), header)
    if samples.max(initial=0) > header.maxval:
        raise truncated(f"it holds values above {header.maxval}, its largest")
    found: Samples = samples.reshape(shape)
    return found


def as_8_bit(samples: Samples, maxval: int) -> NDArray[np.uint8]:
    """Values 0–maxval scaled to 0–255, rounded."""
    if maxval == 255:
        return samples.astype(np.uint8, copy=False)
    table = (np.arange(maxval + 1, dtype=np.uint32) * 255 + maxval // 2) // maxval
    return np.asarray(table.astype(np.uint8)[samples])


def narrowed(wide: NDArray[Any], maxval: int) -> NDArray[np.uint8]:
    """Values 0–maxval → uint8 0–255 of the same shape, in blocks of rows, without a wide copy of the whole."""
    if maxval == 255:
        return np.asarray(wide, np.uint8)
    narrow = np.empty(wide.shape, np.uint8)
    for top in range(0, len(wide), STRIP_ROWS):
        narrow[top : top + STRIP_ROWS] = as_8_bit(wide[top : top + STRIP_ROWS], maxval)
    return narrow


def _enough(numbers: NDArray[Any], count: int) -> NDArray[Any]:
    if len(numbers) < count:
        raise truncated(f"it holds {len(numbers):,} of its {count:,} values")
    return numbers[:count]


def _narrow(numbers: NDArray[Any], header: PnmHeader) -> NDArray[Any]:
    if numbers.dtype.itemsize > 2 and ((numbers < 0) | (numbers > header.maxval)).any():
        raise truncated(f"it holds values above {header.maxval}, its largest")
    return numbers.astype(np.uint8 if header.maxval < 256 else np.uint16, copy=False)
