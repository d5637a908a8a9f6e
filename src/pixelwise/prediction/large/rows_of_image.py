"""What labelling in tiles needs of an image: its rows, from top to bottom, and what its file says about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from pixelwise.images.declared_no_data import Absent
from pixelwise.images.dropped_content import DroppedContent
from pixelwise.images.no_data import areas_of
from pixelwise.images.tiff import place_in_file
from pixelwise.prediction.large.tiles import IsAbsent
from pixelwise.records import Raster


class RowsOfImage(Protocol):
    """An image that is read from top to bottom: `TiffImage`, `BandedRows`, `MapRows` or `ArrayImage`."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def absent(self) -> IsAbsent | None: ...  # which parts the file leaves out; None: none
    @property
    def dropped(self) -> tuple[DroppedContent, ...]: ...  # as far as rows are read
    @property
    def place(self) -> dict[int, tuple[int, int, Any]]: ...  # GeoTIFF tags as number → (type, count, value)
    @property
    def resolution(self) -> tuple[Any, Any, int] | None: ...
    def rows(self, first: int, stop: int) -> Raster: ...  # [rows, W, bands]
    def absent_within(self, top: int, bottom: int) -> list[tuple[slice, slice]]: ...
    def close(self) -> None: ...


class ArrayImage:
    """An image in memory."""

    def __init__(self, pixels_HWN: Raster, path: Path | None = None, absent_HW: Absent | None = None) -> None:
        """
        Args:
            path: the file that it was decoded from, whose place on the earth results keep.
            absent_HW: where its file holds no data and the pixels cannot say it.
        """
        self.pixels, self.absent_HW = pixels_HWN, absent_HW
        self.height, self.width = pixels_HWN.shape[:2]
        self.absent: IsAbsent | None = None
        self.place: dict[int, tuple[int, int, Any]] = {}
        self.resolution: tuple[Any, Any, int] | None = None
        if path is not None:
            self.place, self.resolution = place_in_file(path)
        self.dropped: tuple[DroppedContent, ...] = ()  # reported by the caller that decoded it

    def rows(self, first: int, stop: int) -> Raster:
        return self.pixels[first:stop]

    def absent_within(self, top: int, bottom: int) -> list[tuple[slice, slice]]:
        return [] if self.absent_HW is None else areas_of(self.absent_HW[top:bottom])

    def close(self) -> None:
        pass
