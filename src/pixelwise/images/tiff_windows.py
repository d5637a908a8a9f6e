"""A TIFF of any size as an array that is indexed: each access decodes only the tiles or strips that it touches.

Shapes: H, W height and width in pixels; N bands.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ImageError
from pixelwise.images.banded_image import numbered, tiff_picture, window_of
from pixelwise.images.files import Refusal, shown
from pixelwise.images.read_as import chosen, other_bands, positions
from pixelwise.records import RGB, Bands, Raster

if TYPE_CHECKING:
    from pixelwise.images.tiff import TiffImage
    from pixelwise.images.tiff_bands import TiffBands

KEPT_BYTES = 1 << 26  # of decoded tiles: crops of one image share many
STRIP_PIXELS = 1 << 22  # read at a time where only some rows or columns of them are wanted


class OneOpenTiff(threading.local):
    """The TIFF that a thread read last, kept open. A forked process opens its own: two must not share a position."""

    process = 0
    path: Path | None = None
    image: TiffImage | TiffBands | None = None

    def rgb(self, path: Path) -> TiffImage:
        from pixelwise.images.tiff import TiffImage  # which loads tifffile

        if not isinstance(self.image, TiffImage) or not self._is_of(path):
            self._keep(path, TiffImage(path))
        assert isinstance(self.image, TiffImage)
        return self.image

    def banded(self, path: Path) -> TiffBands:
        from pixelwise.images.tiff_bands import TiffBands

        if not isinstance(self.image, TiffBands) or not self._is_of(path):
            self._keep(path, TiffBands(path, kept_bytes=KEPT_BYTES))
        assert isinstance(self.image, TiffBands)
        return self.image

    def _is_of(self, path: Path) -> bool:
        return self.path == path and self.process == os.getpid()

    def _keep(self, path: Path, image: TiffImage | TiffBands) -> None:
        if self.image is not None:
            self.image.close()
        self.image, self.path, self.process = image, path, os.getpid()


LAST = OneOpenTiff()


class TiffWindows:
    """The pixels of a TIFF, [H, W, N], as a model takes them. Indexed by slices of rows and columns.

    RGB: uint8, as `TiffImage` reads them; others as `read_as.read_image_as`.
    """

    def __init__(self, path: Path, bands: Bands = RGB) -> None:
        """Raises ImageError: see `TiffImage` and `TiffBands`; or it has other bands than these."""
        self.path, self.bands, self.dtype = path, bands, np.dtype(bands.dtype)
        if bands != RGB:
            self._open_bands()
            return
        from pixelwise.images.tiff import TiffImage

        with TiffImage(path) as image:
            self.shape: tuple[int, ...] = (image.height, image.width, 3)
            self.cheap = image.windows_are_cheap

    def _open_bands(self) -> None:
        from pixelwise.images.tiff_bands import TiffBands

        try:
            picture = tiff_picture(self.path)
            with TiffBands(self.path) as tiff:
                names = tiff.names or numbered(tiff.bands)
                self.shape = (tiff.height, tiff.width, len(self.bands))
                self.cheap, self.picture = tiff.windows_are_cheap, picture is not None
                if tiff.turn != 1:
                    raise Refusal("unread-kind", "is stored rotated or mirrored.", "Save it upright.")
                if picture is not None and picture[2] != tiff.bands:
                    raise Refusal("unread-kind", "is a CMYK image, which is read as a whole.", "Save it as RGB.")
        except Refusal as refusal:
            raise ImageError(f"{shown(self.path)}: {refusal}") from refusal
        if positions(names, self.bands) is None:
            raise other_bands(shown(self.path), names, tiff.dtype.name, self.bands)

    def __getitem__(self, key: slice | tuple[slice, ...]) -> Raster:
        """The pixels of these rows and columns. Raises ImageError: damaged there."""
        parts = key if isinstance(key, tuple) else (key,)
        rows, columns = (
            range(*part.indices(side)) for part, side in zip((*parts, slice(None))[:2], self.shape, strict=False)
        )
        if rows.step < 1 or columns.step < 1:
            raise IndexError(f"{key}: only rows and columns in ascending order can be read")
        if not rows or not columns:
            return self._empty(rows, columns)
        if rows.step == columns.step == 1:
            return self.window(rows, columns)
        out = self._empty(rows, columns)
        at_once = max(STRIP_PIXELS // (self.shape[1] * rows.step), 1)
        for first in range(0, len(rows), at_once):
            some = rows[first : first + at_once]
            out[first : first + len(some)] = self.window(some, columns)[:: rows.step, :: columns.step]
        return out

    def window(self, rows: range, columns: range) -> Raster:
        """All pixels from the first to the last of the given rows and columns."""
        if self.bands != RGB:
            return self._banded((rows[0], columns[0], rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]))
        image = LAST.rgb(self.path)
        if 2 * (columns[-1] - columns[0]) >= self.shape[1]:  # several accesses to one row of tiles decode it once
            return image.rows(rows[0], rows[-1] + 1)[:, columns[0] : columns[-1] + 1]
        return image.window(rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)

    def _empty(self, rows: range, columns: range) -> Raster:
        shape = (len(rows), len(columns), self.shape[2])
        return np.empty(shape, np.uint8) if self.dtype == np.uint8 else np.empty(shape, np.float32)

    def _banded(self, window: tuple[int, int, int, int]) -> Raster:
        try:
            found = window_of(LAST.banded(self.path), window, picture=self.picture)
        except Refusal as refusal:
            raise ImageError(f"{shown(self.path)}: {refusal}") from refusal
        return chosen(found, self.bands, shown(self.path))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :], dtype)
