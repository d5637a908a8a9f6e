"""VRT and JPEG 2000 by rows: the pixels that GDAL gives, labelled as the same TIFF is."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.errors import ImageError
from pixelwise.records import RGB, Bands

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")

from pixelwise.maps.open_raster import MapRows  # noqa: E402
from pixelwise.prediction.large.banded_rows import open_rows  # noqa: E402
from pixelwise.prediction.large.tile_plan import Tiles, is_read_by_rows  # noqa: E402
from synthetic_maps import SIZE, UTM, Affine, write_raster  # noqa: E402


def mosaic(folder: Path, bands: int = 3, dtype: str = "uint8", nodata: int | None = None) -> tuple[Path, Any]:
    """A VRT of two TIFFs side by side, with a gap of 10 columns, and its pixels [bands, H, W]."""
    random = np.random.default_rng(0)
    whole = np.full((bands, SIZE[0], 2 * SIZE[1] + 10), nodata or 0, dtype)
    sources = []
    for name, left in (("a", 0), ("b", SIZE[1] + 10)):
        part = random.integers(1, 255, (bands, *SIZE)).astype(dtype)
        write_raster(folder / f"{name}.tif", UTM @ Affine.translation(left, 0), pixels=part, nodata=nodata)
        whole[:, :, left : left + SIZE[1]] = part
        sources.append((f"{name}.tif", left))
    rows = []
    kind = {"uint8": "Byte", "uint16": "UInt16"}[dtype]
    for band in range(1, bands + 1):
        parts = "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>{band}</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="{SIZE[1]}" ySize="{SIZE[0]}"/>'
            f'<DstRect xOff="{left}" yOff="0" xSize="{SIZE[1]}" ySize="{SIZE[0]}"/></SimpleSource>'
            for name, left in sources
        )
        value = "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
        rows.append(f'<VRTRasterBand dataType="{kind}" band="{band}">{value}{parts}</VRTRasterBand>')
    place = ", ".join(str(one) for one in UTM.to_gdal())
    (folder / "all.vrt").write_text(
        f'<VRTDataset rasterXSize="{whole.shape[2]}" rasterYSize="{SIZE[0]}"><SRS>EPSG:32632</SRS>'
        f"<GeoTransform>{place}</GeoTransform>{''.join(rows)}</VRTDataset>"
    )
    return folder / "all.vrt", whole


def test_rows_of_a_vrt_as_red_green_and_blue(tmp_path: Path) -> None:
    path, whole = mosaic(tmp_path, nodata=0)
    assert is_read_by_rows(path, Tiles())
    image = open_rows(path, RGB)
    assert isinstance(image, MapRows)
    np.testing.assert_array_equal(image.rows(20, 61), np.moveaxis(whole, 0, 2)[20:61])
    assert image.absent is not None
    assert image.absent(0, 30, SIZE[1], SIZE[1] + 10)
    assert not image.absent(0, 30, SIZE[1], SIZE[1] + 11)
    found = np.zeros((41, whole.shape[2]), bool)
    for rows, columns in image.absent_within(20, 61):
        found[rows, columns] = True
    np.testing.assert_array_equal(found, (whole[:, 20:61] == 0).all(axis=0))
    assert {33550, 33922, 34735} <= image.place.keys()
    image.close()


def test_rows_of_8_bit_bands_list_what_has_no_data(tmp_path: Path) -> None:
    path, whole = mosaic(tmp_path, 4, nodata=0)
    bands = Bands(("band 1", "band 2", "band 3", "band 4"), "uint8", (0.0,) * 4, (255.0,) * 4)
    image = open_rows(path, bands)
    assert image.rows(20, 61).dtype == np.uint8
    found = np.zeros((41, whole.shape[2]), bool)
    for rows, columns in image.absent_within(20, 61):
        found[rows, columns] = True
    np.testing.assert_array_equal(found, (whole[:, 20:61] == 0).all(axis=0))
    assert found.any()
    image.close()


def test_rows_of_bands_have_nan_without_data_in_any_thread(tmp_path: Path) -> None:
    path, whole = mosaic(tmp_path, 4, "uint16", nodata=0)
    bands = Bands(("band 1", "band 2", "band 3", "band 4"), "float32", (0.0,) * 4, (255.0,) * 4)
    image = open_rows(path, bands)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(image.rows(5, 50)))
    thread.start()
    thread.join()
    expected = np.moveaxis(whole, 0, 2)[5:50].astype(np.float32)
    np.testing.assert_array_equal(found[0], np.where(expected == 0, np.nan, expected))
    image.close()
    with pytest.raises(ImageError, match="4 bands"):
        open_rows(path, RGB)


def test_rows_of_jpeg_2000(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, *SIZE), np.uint8)
    path = write_raster(tmp_path / "a.jp2", pixels=pixels, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    assert is_read_by_rows(path, Tiles(always=True))
    assert not is_read_by_rows(path, Tiles())  # a small one is decoded whole
    image = open_rows(path, RGB)
    assert isinstance(image, MapRows)
    np.testing.assert_array_equal(image.rows(10, 40), np.moveaxis(pixels, 0, 2)[10:40])
    image.close()
