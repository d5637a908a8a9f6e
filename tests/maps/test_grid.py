"""Where pixels lie on the earth: as GDAL itself says, from the tags of a GeoTIFF alone where they suffice."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pixelwise.errors import ImageError, MissingExtraError
from pixelwise.maps.gdal_files import offline
from pixelwise.maps.grid import Grid, grid_of

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
Affine = rasterio.Affine
UTM = Affine(0.5, 0, 500_000.25, 0, -0.5, 5_200_000.75)


def write(path: Path, transform: Any = UTM, crs: Any = "EPSG:32632", bands: int = 1, **more: Any) -> Path:
    pixels = np.arange(bands * 20 * 30, dtype=np.uint16).reshape(bands, 20, 30)
    profile = {"driver": "GTiff", "width": 30, "height": 20, "count": bands, "dtype": "uint16"} | more
    with rasterio.open(path, "w", transform=transform, crs=crs, **profile) as file:
        file.write(pixels.astype(profile["dtype"]))
    return path


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (UTM, "EPSG:32632"),
        (UTM @ Affine.rotation(30), "EPSG:3857"),
        (UTM @ Affine.shear(10, 4), "EPSG:25833"),
        (Affine(1e-5, 0, 11.5, 0, -1e-5, 48.1), "EPSG:4326"),
        (UTM, None),
    ],
)
def test_the_tags_alone_give_what_gdal_gives(tmp_path: Path, transform: Any, crs: str | None, monkeypatch: Any) -> None:
    path = write(tmp_path / "a.tif", transform, crs, bands=2, nodata=7)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.5, 2.0), (-1.0, 0.0)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    grid = grid_of(path)
    assert grid is not None
    np.testing.assert_allclose(grid.transform, tuple(transform)[:6], rtol=1e-14)
    assert (grid.crs, grid.size, grid.nodata) == (crs, (20, 30), 7.0)
    assert (grid.scale, grid.offset) == ((0.5, 2.0), (-1.0, 0.0))


def test_a_place_given_for_the_centre_of_a_pixel(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    with rasterio.open(path) as file:
        expected = tuple(file.transform)[:6]
    grid = grid_of(path)
    assert grid is not None
    np.testing.assert_allclose(grid.transform, expected, rtol=1e-14)


@pytest.mark.parametrize("crs", ["+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84 +units=m", "EPSG:2263"])
def test_a_definition_of_its_own_needs_gdal(tmp_path: Path, crs: str, monkeypatch: Any) -> None:
    path = write(tmp_path / "a.tif", crs=crs)
    grid = grid_of(path)
    assert grid is not None
    assert grid.crs is not None
    assert rasterio.crs.CRS.from_user_input(grid.crs) == rasterio.crs.CRS.from_user_input(crs)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingExtraError, match=r"pixelwise\[geo\]"):
        grid_of(path)


def test_an_image_without_a_place(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30), np.uint16))
    assert grid_of(tmp_path / "a.tif") is None


def test_a_world_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((20, 30), np.uint16))
    (tmp_path / "a.tfw").write_text("0.5\n0\n0\n-0.5\n100.25\n199.75\n")
    assert grid_of(path) == Grid(None, (0.5, 0, 100, 0, -0.5, 200), (20, 30), None, (1.0,), (0.0,))


def test_control_points_alone_are_an_error_with_the_remedy(tmp_path: Path) -> None:
    from rasterio.control import GroundControlPoint

    points = [GroundControlPoint(row, col, 11 + col / 100, 48 - row / 90) for row in (0, 20) for col in (0, 30)]
    path = write(tmp_path / "a.tif", Affine.identity(), "EPSG:4326", gcps=points)
    with pytest.raises(ImageError, match="gdalwarp"):
        grid_of(path)


def test_places_there_and_back() -> None:
    a, b, c, d, e, f = tuple(UTM @ Affine.rotation(20) @ Affine.shear(5))[:6]
    grid = Grid("EPSG:32632", (a, b, c, d, e, f), (20, 30))
    places = np.random.default_rng(0).uniform(-50, 50, (9, 2))
    np.testing.assert_allclose(grid.to_pixels(grid.to_map(places)), places, atol=1e-8)
    part = grid.window(3, 4, 5, 6)
    np.testing.assert_allclose(part.to_map(places), grid.to_map(places + np.array([4, 3])), rtol=1e-14)
    assert grid.pixel_area == pytest.approx(0.25)


def vrt(path: Path, source: str, relative: int = 1, more: str = "", band: str = "VRTRasterBand") -> Path:
    named = f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename><SourceBand>1</SourceBand>'
    path.write_text(
        '<VRTDataset rasterXSize="30" rasterYSize="20"><GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform>'
        f'<{band} dataType="UInt16" band="1"><SimpleSource>{named}</SimpleSource>{more}</VRTRasterBand></VRTDataset>'
    )
    return path


def test_a_vrt_of_files_in_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts" / "a.tif")
    grid = grid_of(vrt(tmp_path / "all.vrt", "parts/a.tif"))
    assert grid is not None
    assert grid.transform == (1, 0, 0, 0, -1, 0)
    inside = grid_of(vrt(tmp_path / "all.vrt", str(tmp_path / "parts" / "a.tif"), relative=0))
    assert inside == grid


@pytest.mark.parametrize(
    ("source", "relative", "more", "band", "why"),
    [
        ("../a.tif", 1, "", "VRTRasterBand", "not in its own folder"),
        ("/etc/hostname", 0, "", "VRTRasterBand", "not in its own folder"),
        ("/vsicurl/http://localhost/a.tif", 0, "", "VRTRasterBand", "not in its own folder"),
        ("http://localhost/a.tif", 1, "", "VRTRasterBand", "not there"),
        ("words.txt", 1, "", "VRTRasterBand", "none of the formats"),
        ("ok.tif", 1, "<sourcefilename>/vsis3/b/k</sourcefilename>", "VRTRasterBand", "not in its own folder"),
        ("ok.tif", 1, "", 'VRTRasterBand subClass="VRTDerivedRasterBand"', "computes its pixels"),
        ("ok.tif", 1, '<Metadata><MDI key="OVERVIEW_FILE">x</MDI></Metadata>', "VRTRasterBand", "overviews elsewhere"),
        ("all.vrt", 1, "", "VRTRasterBand", "VRT of VRTs"),
    ],
)
def test_a_vrt_that_names_files_elsewhere_is_refused(
    tmp_path: Path, source: str, relative: int, more: str, band: str, why: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write(tmp_path / "a.tif")
    write(folder / "ok.tif")
    (folder / "words.txt").write_text("not an image")
    with pytest.raises(ImageError, match=why):
        grid_of(vrt(folder / "all.vrt", source, relative, more, band))


def test_a_sidecar_that_names_overviews_elsewhere_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", crs="EPSG:2263")
    words = '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/x</MDI></Metadata></PAMDataset>'
    (tmp_path / "a.tif.aux.xml").write_text(words)
    with pytest.raises(ImageError, match="overviews elsewhere"):
        grid_of(tmp_path / "a.tif")


@pytest.mark.parametrize("address", ["/vsicurl/http://127.0.0.1:{}/a.tif", "http://127.0.0.1:{}/a.tif"])
def test_gdal_makes_no_request(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        with offline(), pytest.raises(rasterio.errors.RasterioIOError):
            rasterio.open(address.format(server.getsockname()[1]))
        with pytest.raises(TimeoutError):
            server.accept()
