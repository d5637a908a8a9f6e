"""A TIFF of any size as an array that is indexed: each access decodes only the tiles or strips that it touches.

Shapes: H, W height and width in pixels.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Pixels

if TYPE_CHECKING:
    from pixelwise.images.tiff import TiffImage

STRIP_PIXELS = 1 << 22  # read at a time where only some rows or columns of them are wanted


class OneOpenTiff(threading.local):
    """The TIFF that a thread read last, kept open. A forked process opens its own: two must not share a position."""

    process = 0
    path: Path | None = None
    image: TiffImage | None = None

    def open(self, path: Path) -> TiffImage:
        if self.image is None or self.path != path or self.process != os.getpid():
            from pixelwise.images.tiff import TiffImage  # which loads tifffile

            self.close()
            self.image, self.path, self.process = TiffImage(path), path, os.getpid()
        return self.image

    def close(self) -> None:
        if self.image is not None:
            self.image.close()
        self.image = self.path = None


LAST = OneOpenTiff()


class TiffWindows:
    """The pixels of a TIFF, uint8 [H, W, 3], as `TiffImage` reads them. Indexed by slices of rows and columns."""

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path) -> None:
        """Raises ImageError: see `TiffImage`."""
        from pixelwise.images.tiff import TiffImage

        self.path = path
        with TiffImage(path) as image:
            self.shape: tuple[int, ...] = (image.height, image.width, 3)
            self.cheap = image.windows_are_cheap

    def __getitem__(self, key: slice | tuple[slice, ...]) -> Pixels:
        """The pixels of these rows and columns. Raises ImageError: damaged there."""
        parts = key if isinstance(key, tuple) else (key,)
        rows, columns = (
            range(*part.indices(side)) for part, side in zip((*parts, slice(None))[:2], self.shape, strict=False)
        )
        if rows.step < 1 or columns.step < 1:
            raise IndexError(f"{key}: only rows and columns in ascending order can be read")
        if not rows or not columns:
            return np.empty((len(rows), len(columns), 3), np.uint8)
        if rows.step == columns.step == 1:
            return self.window(rows, columns)
        out = np.empty((len(rows), len(columns), 3), np.uint8)
        at_once = max(STRIP_PIXELS // (self.shape[1] * rows.step), 1)
        for first in range(0, len(rows), at_once):
            some = rows[first : first + at_once]
            out[first : first + len(some)] = self.window(some, columns)[:: rows.step, :: columns.step]
        return out

    def window(self, rows: range, columns: range) -> Pixels:
        """All pixels from the first to the last of the given rows and columns."""
        image = LAST.open(self.path)
        if 2 * (columns[-1] - columns[0]) >= self.shape[1]:  # several accesses to one row of tiles decode it once
            return image.rows(rows[0], rows[-1] + 1)[:, columns[0] : columns[-1] + 1]
        return image.window(rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :], dtype)
