"""The size of a pixel, as other programs write it."""

from __future__ import annotations

import io
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixelwise.images.pixel_size import PixelSize, pixel_size

ZEROS = np.zeros((4, 6), np.uint16)


def tiff(**options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, ZEROS, **options)
    return file.getvalue()


def geo(*keys: int, scale: tuple[float, ...] = (0.5, 0.25, 0.0)) -> bytes:
    tags = [(33550, "d", 3, scale, True), (34735, "H", len(keys), keys, True)]
    return tiff(metadata=None, extratags=tags)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff(ome=True, metadata={"axes": "YX", "PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.7,
                                  "PhysicalSizeYUnit": "µm"}), PixelSize(7e-7, 6.5e-7)),
        (tiff(ome=True, metadata={"axes": "YX", "PhysicalSizeX": 20, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 20,
                                  "PhysicalSizeYUnit": "nm"}), PixelSize(2e-8, 2e-8)),
        (tiff(imagej=True, resolution=(2, 4), metadata={"unit": "um"}), PixelSize(2.5e-7, 5e-7)),
        (tiff(imagej=True, resolution=(2, 2), metadata={"unit": "\\u00B5m"}), PixelSize(5e-7, 5e-7)),
        (tiff(imagej=True, resolution=(2, 2)), None),  # no unit
        (tiff(resolution=(100, 50), resolutionunit="CENTIMETER"), PixelSize(2e-4, 1e-4)),
        (tiff(resolution=(300, 300), resolutionunit="INCH"), None),  # how large to print
        (geo(1, 1, 0, 2, 1024, 0, 1, 1, 3076, 0, 1, 9001), PixelSize(0.25, 0.5)),
        (geo(1, 1, 0, 2, 1024, 0, 1, 1, 3076, 0, 1, 9002), PixelSize(0.0762, 0.1524)),
        (geo(1, 1, 0, 1, 1024, 0, 1, 2), PixelSize(0.25, 0.5, "°")),
        (geo(1, 1, 0, 1, 1024, 0, 1, 1, scale=(0.0, math.nan, 0.0)), None),
        (tiff(), None),
    ],
)  # fmt: skip
def test_it_is_read_as_written(data: bytes, expected: PixelSize | None, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(data)
    for found in (pixel_size(data), pixel_size(tmp_path / "a.tif")):
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert found.unit == expected.unit
            assert found[:2] == pytest.approx(expected[:2], rel=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
def test_the_sides_of_a_voxel(tmp_path: Path, suffix: str, kind: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = getattr(nibabel, kind)(np.zeros((5, 7, 3), np.float32), np.diag([0.5, 0.75, 3.0, 1.0]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / f"a{suffix}")
    assert pixel_size(tmp_path / f"a{suffix}") == pytest.approx((7.5e-4, 5e-4, "m"))


@pytest.mark.skipif(not shutil.which("gdal_translate"), reason="GDAL's programs are not installed")
def test_gdal_writes_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff())
    subprocess.run(["gdal_translate", "-q", "-a_srs", "EPSG:32632", "-a_ullr", "0", "40", "30", "0", tmp_path / "a.tif",
                    tmp_path / "b.tif"], check=True)  # fmt: skip
    assert pixel_size(tmp_path / "b.tif") == pytest.approx((10.0, 5.0, "m"))


def test_other_files_have_none(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", dpi=(300, 300))
    (tmp_path / "b.tif").write_bytes(tiff()[:40])
    assert pixel_size(tmp_path / "a.png") is None
    assert pixel_size(tmp_path / "b.tif") is None
    assert pixel_size(tmp_path / "missing.tif") is None
    assert pixel_size(tmp_path) is None


@given(place=st.integers(0, 200), value=st.binary(min_size=1, max_size=8))
def test_damaged_files_are_no_crash(place: int, value: bytes) -> None:
    data = bytearray(geo(1, 1, 0, 2, 1024, 0, 1, 1, 3076, 0, 1, 9001))
    data[place : place + len(value)] = value
    found = pixel_size(bytes(data))
    assert found is None or (found.height > 0 and math.isfinite(found.height))


@pytest.mark.parametrize(
    ("size", "words"),
    [(PixelSize(6.5e-7, 6.5e-7), "0.65 µm"), (PixelSize(2e-8, 2e-8), "20 nm"), (PixelSize(5e-4, 7e-4), "0.5 × 0.7 mm"),
     (PixelSize(10, 10), "10 m"), (PixelSize(2000, 2000), "2 km"), (PixelSize(1e-5, 1e-5, "°"), "1e-05°")],
)  # fmt: skip
def test_it_is_shown_in_a_fitting_unit(size: PixelSize, words: str) -> None:
    assert str(size) == words
