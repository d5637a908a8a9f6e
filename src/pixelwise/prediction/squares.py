"""The squares in which labels and maps of an image are stored, deflated one by one: any part can be read alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

SQUARE_PX = 512  # side of a square
LEVEL = 2  # of deflate: labels shrink to a hundredth in a fraction of a millisecond per square


def deflated_square(values: NDArray[Any], outside: float) -> bytes:
    """A square of SQUARE_PX a side, deflated, filled up with `outside`."""
    missing = SQUARE_PX - values.shape[0], SQUARE_PX - values.shape[1]
    if any(missing):
        values = np.pad(values, ((0, missing[0]), (0, missing[1])), constant_values=outside)
    return isal_zlib.compress(np.ascontiguousarray(values), LEVEL)


def inflated_square(data: bytes, dtype: str) -> NDArray[Any]:
    """A square, [SQUARE_PX, SQUARE_PX]."""
    return np.frombuffer(isal_zlib.decompress(data), dtype).reshape(SQUARE_PX, SQUARE_PX)
