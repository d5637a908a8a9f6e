"""VRTs and JPEG 2000 files of any size, read by rows through GDAL: only the parts needed are decoded.

Stored values are given, as of a TIFF: a scale and offset in the file are not applied. What the file's no-data value,
alpha band or mask leaves out has no data: NaN, or of bands of 8 bits a list of places.

Shapes: H, W height and width in pixels; N bands.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.band_names import clean
from pixelwise.images.banded_image import COLOUR_NAMES, BandedImage, numbered
from pixelwise.images.dropped_content import DroppedContent
from pixelwise.images.files import shown
from pixelwise.images.input_image import unused_bands
from pixelwise.images.no_data import areas_of, as_raster
from pixelwise.images.read_as import chosen, other_bands, positions
from pixelwise.images.tiff import georeference
from pixelwise.maps.chip_files import kept_bands
from pixelwise.maps.gdal_files import offline, opened_by_gdal, unreadable
from pixelwise.records import RGB, Bands, Raster


class MapRows:
    """The rows of a VRT or JPEG 2000 file. Close it."""

    def __init__(self, path: Path, bands: Bands) -> None:
        """Raises ImageError: it cannot be read or has other bands; MissingExtraError."""
        self.path, self.bands = path, bands
        self.lock = threading.Lock()  # rows are read in another thread than what is absent; GDAL allows one at a time
        self.opened = opened_by_gdal(path)
        try:
            with offline():
                self._inspect()
        except BaseException:
            self.close()
            raise

    def _inspect(self) -> None:
        from rasterio.enums import MaskFlags

        opened = self.opened
        self.height, self.width = int(opened.height), int(opened.width)
        self.kept = kept_bands(opened, self.path)
        self.names = _names(opened, self.kept)
        dtype = opened.dtypes[0]
        if self.bands == RGB:
            fits = dtype == "uint8" and len(self.kept) in (1, 3)
        else:
            fits = positions(self.names, self.bands) is not None
        if not fits:
            raise other_bands(shown(self.path), self.names, dtype, self.bands)
        flags = [opened.mask_flag_enums[band - 1] for band in self.kept]
        self.masked = any(MaskFlags.all_valid not in of_band for of_band in flags)
        self.by_value = all(MaskFlags.nodata in of_band for of_band in flags)
        self.dropped: tuple[DroppedContent, ...] = () if self.bands == RGB else unused_bands(self.names, self.bands)
        self.resolution: tuple[Any, Any, int] | None = None
        self.place = _geo_tags(opened)
        self.absent = self._is_absent if self.masked and self.bands.dtype == "uint8" else None

    def rows(self, first: int, stop: int) -> Raster:
        """Rows [first, stop): [rows, W, N], NaN where the file has no data. Raises ImageError: damaged."""
        values = np.moveaxis(self._read(self.opened.read, first, stop), 0, 2)
        if self.bands == RGB:
            return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))
        missing = None
        if self.masked and not self.by_value:
            missing = self._missing(first, stop)
        no_data = None if self.opened.nodata is None else float(self.opened.nodata)
        raster = as_raster(values, no_data, missing, sparse=self.masked)
        return chosen(BandedImage(raster, self.names, (), no_data), self.bands, shown(self.path))

    def _read(self, read: Any, first: int, stop: int, left: int = 0, right: int | None = None) -> NDArray[Any]:
        with self.lock, offline():  # in each thread: a VRT opens its files when they are read
            import rasterio
            from rasterio.windows import Window

            try:
                width = (self.width if right is None else right) - left
                found: NDArray[Any] = read(self.kept, window=Window(left, first, width, stop - first))
            except rasterio.errors.RasterioError as error:
                raise unreadable(self.path, error) from error
            return found

    def _missing(self, first: int, stop: int, left: int = 0, right: int | None = None) -> NDArray[np.bool_]:
        valid = self._read(self.opened.read_masks, first, stop, left, right)
        return np.asarray((valid == 0).all(axis=0))

    def _is_absent(self, top: int, bottom: int, left: int, right: int) -> bool:
        return bool(self._missing(top, bottom, left, right).all())

    def absent_within(self, top: int, bottom: int) -> list[tuple[slice, slice]]:
        """Rows and columns without data, from `top`, of bands of 8 bits; of others they are NaN in `rows`."""
        return [] if self.absent is None else areas_of(self._missing(top, bottom))

    def close(self) -> None:
        self.opened.close()


def _names(opened: Any, kept: list[int]) -> tuple[str, ...]:
    """Of the bands: their descriptions, or red, green, blue, or numbers."""
    described = clean([opened.descriptions[band - 1] or "" for band in kept])
    colours = tuple(opened.colorinterp[band - 1].name for band in kept)
    return described or (COLOUR_NAMES if colours == COLOUR_NAMES else numbered(len(kept)))


def _geo_tags(opened: Any) -> dict[int, tuple[int, int, Any]]:
    """The place of a raster as GeoTIFF tags: number → (type, count, value); empty if it has none."""
    import rasterio
    import tifffile

    if opened.crs is None and opened.transform.is_identity:
        return {}
    profile = {"driver": "GTiff", "height": 1, "width": 1, "count": 1, "dtype": "uint8"}
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile, crs=opened.crs, transform=opened.transform):
            pass
        with tifffile.TiffFile(io.BytesIO(memory.read())) as file:
            return georeference(file.pages[0])
