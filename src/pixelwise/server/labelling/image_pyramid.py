"""An image for display at every scale: level 0 is the image, each further level half as large, cut into tiles.

Shapes: H, W height and width in pixels; N bands.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from pixelwise.records import RGB, Bands, Raster

TILE_PX = 512
CHANNELS_AT_ONCE = 4  # that OpenCV resizes together by its fast way


class ImagePyramid:
    """The values of an image at every scale, as stored: how they are shown is chosen for each tile. Thread-safe.

    Levels are computed when they are first asked for.
    """

    def __init__(self, pixels_HWN: Raster, bands: Bands) -> None:
        self.bands = bands
        self.levels: list[Raster] = [pixels_HWN]
        self.number = number_of_levels(*pixels_HWN.shape[:2])
        self.lock = threading.Lock()

    @property
    def pixels(self) -> Raster:
        """The image itself, [H, W, N]."""
        return self.levels[0]

    @property
    def nbytes(self) -> int:
        """Memory with all levels, whether they are computed yet or not."""
        return self.pixels.nbytes * 4 // 3

    def level(self, level: int) -> Raster:
        """[ceil(H / 2^level), ceil(W / 2^level), N]."""
        with self.lock:
            while len(self.levels) <= level:
                self.levels.append(halved(self.levels[-1]))
            return self.levels[level]

    def tile(self, level: int, column: int, row: int) -> Raster:
        """At most TILE_PX × TILE_PX pixels. Raises IndexError: there is no such tile."""
        if not 0 <= level < self.number:
            raise IndexError(f"level {level} does not exist: the levels are 0 to {self.number - 1}")
        values = self.level(level)
        height, width = values.shape[:2]
        top, left = row * TILE_PX, column * TILE_PX
        if not (0 <= top < height and 0 <= left < width):
            rows, columns = -(-height // TILE_PX), -(-width // TILE_PX)
            raise IndexError(f"tile ({column}, {row}) does not exist: level {level} has {columns}×{rows} tiles")
        return values[top : top + TILE_PX, left : left + TILE_PX]


def number_of_levels(height: int, width: int) -> int:
    """Levels until the whole image fits into one tile."""
    number = 1
    while max(height, width) > TILE_PX:
        height, width, number = -(-height // 2), -(-width // 2), number + 1
    return number


def halved(values_HWN: Raster) -> Raster:
    """Half as large, each value the mean of four; the last row and column of an odd side count twice. A mean with NaN
    is NaN: no data stays visible."""
    height, width, bands = values_HWN.shape
    even = cv2.copyMakeBorder if height % 2 or width % 2 else None
    size = (-(-width // 2), -(-height // 2))
    out = np.empty((size[1], size[0], bands), values_HWN.dtype)
    for first in range(0, bands, CHANNELS_AT_ONCE):
        part: Any = np.ascontiguousarray(values_HWN[:, :, first : first + CHANNELS_AT_ONCE])
        if even is not None:
            part = even(part, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        out[:, :, first : first + CHANNELS_AT_ONCE] = small.reshape(*out.shape[:2], -1)
    return out


def display_bands(names: Sequence[str], ranges: Sequence[Sequence[float]], *, is_8_bit: bool) -> Bands:
    """The bands of an image that no dataset describes, with the range that shows it well.

    Args:
        ranges: for each band, the values below which 2 % and 98 % of its values lie; of 8 bits, all are shown.
    """
    if is_8_bit:
        whole = (0.0,) * len(names), (255.0,) * len(names)
        return RGB if tuple(names) == RGB.names else Bands(tuple(names), "uint8", *whole)
    low = tuple(float(one[0]) for one in ranges)
    high = tuple(float(one[1]) if one[1] > one[0] else float(one[0]) + 1.0 for one in ranges)
    return Bands(tuple(names), "float32", low, high)
