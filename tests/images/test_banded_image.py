"""Images of any number of bands and any depth: read whole as independent programs read them, or by windows."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from pixelwise.errors import ImageError
from pixelwise.images.band_facts import band_facts, last_band_varies
from pixelwise.images.banded_image import read_bands, read_bands_window
from pixelwise.images.image_files import encode_png, read_image
from pixelwise.images.read_as import read_image_as, read_window_as
from pixelwise.records import RGB, Bands

WATER = Path(__file__).parents[3] / "shared/data/own/water12/images"
DTYPES = (np.uint8, np.uint16, np.int16, np.float32, np.float64, np.int32, np.int8, np.uint32)
LAYOUTS: tuple[dict[str, Any], ...] = ({}, {"tile": (16, 32)}, {"rowsperstrip": 7})


SHAPES = npst.array_shapes(min_dims=2, max_dims=3, max_side=9)


def tiff(stored: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, stored, **{"metadata": None, "photometric": "minisblack", **options})
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def noise(shape: tuple[int, ...], dtype: Any = np.uint16, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 127, shape).astype(dtype)


def raw(*names: str, dtype: Any = "float32") -> Bands:
    return Bands(names, dtype, (0.0,) * len(names), (1000.0,) * len(names))


# ── TIFF ──


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_layout_and_compression_gives_the_stored_values(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    values = noise((35, 45, data.draw(st.sampled_from([2, 5]))), dtype)
    values -= dtype(9) if values.dtype.kind in "if" else dtype(0)
    separate = data.draw(st.booleans())
    compression = data.draw(st.sampled_from([None, "zlib", "lzw", "packbits", "zstd", "lzma"]))
    predictor = data.draw(st.booleans()) and compression is not None
    options = {
        **data.draw(st.sampled_from(LAYOUTS)),
        "compression": compression,
        "predictor": 3 if predictor and values.dtype.kind == "f" else predictor,
        "planarconfig": "separate" if separate else "contig",
        "byteorder": data.draw(st.sampled_from("<>")),
        "bigtiff": data.draw(st.booleans()),
    }
    found = read_bands(tiff(values.transpose(2, 0, 1) if separate else values, **options), "a.tif")
    assert found.pixels.dtype == (dtype if dtype in (np.uint8, np.uint16) else np.float32)
    np.testing.assert_array_equal(found.pixels, values)
    assert (found.names, found.dropped, found.notes) == ((), (), ())


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_window_is_a_part_of_the_whole(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    height, width, bands = (data.draw(st.integers(2, most)) for most in (50, 40, 4))
    values = noise((height, width, bands), np.int16)
    turn = data.draw(st.integers(1, 8))
    options = {
        **data.draw(st.sampled_from(LAYOUTS)),
        "compression": data.draw(st.sampled_from([None, "zlib", "lzw"])),
        "extratags": [(274, 3, 1, turn, True)],
    }
    separate = data.draw(st.booleans())
    stored = values.transpose(2, 0, 1) if separate else values
    path = tmp_path_factory.mktemp("window") / "a.tif"
    path.write_bytes(tiff(stored, planarconfig="separate" if separate else "contig", **options))
    whole = read_bands(path.read_bytes(), path).pixels
    facts = band_facts(path)
    assert (facts.height, facts.width, facts.bands) == whole.shape
    top, left = data.draw(st.integers(0, facts.height - 1)), data.draw(st.integers(0, facts.width - 1))
    tall, wide = data.draw(st.integers(1, facts.height - top)), data.draw(st.integers(1, facts.width - left))
    window = read_bands_window(path, top, left, tall, wide).pixels
    np.testing.assert_array_equal(window, whole[top : top + tall, left : left + wide])


@pytest.mark.skipif(not WATER.is_dir(), reason="the 12-band water images are not at ../shared/data/own/water12")
def test_twelve_bands_of_satellite_images_are_read(capfd: pytest.CaptureFixture[str]) -> None:
    for path in sorted(WATER.glob("*.tif"))[:3]:
        found = read_bands(path.read_bytes(), path)
        assert found.pixels.shape == (128, 128, 12)
        assert found.pixels.dtype == np.float32
        np.testing.assert_array_equal(found.pixels, tifffile.imread(path))
        facts = band_facts(path)
        assert (facts.height, facts.width, facts.bands, facts.dtype, facts.stored) == (128, 128, 12, "float32", "int16")
        with pytest.raises(ImageError, match=r"has 12 bands \(band 1 … band 12\) of int16; .* 3 bands \(red, green"):
            read_image_as(path, RGB)
        with pytest.raises(ImageError):
            read_image(path)
    assert capfd.readouterr() == ("", "")  # neither Pillow nor libtiff prints


WITHOUT_IMAGECODECS = """
import sys
sys.modules["imagecodecs"] = None
from pathlib import Path
import numpy as np
from pixelwise.errors import ImageError
from pixelwise.images.banded_image import read_bands
from pixelwise.images.tiff import TiffImage
for path in sorted(Path(sys.argv[1]).glob("*.tif")):
    if path.stem in ("jpeg", "webp"):
        try:
            read_bands(path.read_bytes(), path)
        except ImageError as error:
            print(error)
    else:
        assert (read_bands(path.read_bytes(), path).pixels == np.load(path.with_suffix(".npy"))).all(), path
        with TiffImage(path) as image:
            image.rows(0, image.height)
"""


def test_the_base_install_reads_the_common_compressions_and_names_the_extra_for_others(tmp_path: Path) -> None:
    for number, (compression, predictor, dtype) in enumerate(
        [
            (None, 1, np.uint16),
            ("lzw", 2, np.uint16),
            ("lzw", 1, np.uint8),
            ("zlib", 2, np.uint8),
            ("packbits", 1, np.uint16),
        ]
    ):
        values = noise((40, 50, 3), dtype)
        np.save(tmp_path / f"{number}.npy", values)
        options = {"photometric": "rgb", "predictor": predictor > 1, "tile": (16, 16)}
        (tmp_path / f"{number}.tif").write_bytes(tiff(values, compression=compression, **options))
    for name in ("jpeg", "webp"):
        lossy = tiff(noise((40, 50, 3), np.uint8), compression=name, photometric="rgb", tile=(16, 16))
        (tmp_path / f"{name}.tif").write_bytes(lossy)
    command = [sys.executable, "-c", WITHOUT_IMAGECODECS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert [line.count("pip install 'pixelwise[tiff]'") for line in done.stdout.splitlines()] == [1, 1]


# ── NumPy ──


@settings(max_examples=40, deadline=None)
@given(npst.arrays(st.sampled_from([np.uint8, ">u2", "<i4", np.float32, np.bool_]), SHAPES))
def test_numpy_arrays_have_their_bands_on_the_shorter_axis(array: Any) -> None:
    found = read_bands(npy(array), "a.npy").pixels
    assume(array.dtype.kind not in "if" or not (array < -9000).any())  # which may be taken as no data
    facts = band_facts(npy(array))
    if array.ndim == 2:
        expected = array[:, :, None]
    else:
        expected = array.transpose(1, 2, 0) if array.shape[0] < array.shape[2] else array
    with np.errstate(over="ignore"):
        wanted = expected.astype(found.dtype)
    wanted = np.where(np.isinf(wanted), np.nan, wanted) if found.dtype == np.float32 else wanted
    assert found.shape == expected.shape == (facts.height, facts.width, facts.bands)
    assert found.dtype.name == facts.dtype
    np.testing.assert_array_equal(found, wanted)


# ── pictures ──


def test_pictures_keep_their_depth_and_alpha() -> None:
    deep = noise((9, 11), np.uint16) * 500
    assert (read_bands(png(Image.fromarray(deep)), "a.png").pixels[:, :, 0] == deep).all()
    rgba = noise((9, 11, 4), np.uint8)
    found = read_bands(png(Image.fromarray(rgba)), "a.png")
    assert (found.pixels == rgba).all()
    assert found.names == ("red", "green", "blue", "alpha")
    assert last_band_varies(png(Image.fromarray(rgba)))
    rgba[:, :, 3] = 7
    assert not last_band_varies(png(Image.fromarray(rgba)))
    pgm = b"P5\n11 9\n65535\n" + deep.astype(">u2").tobytes()
    assert (read_bands(pgm, "a.pgm").pixels[:, :, 0] == deep).all()
    assert band_facts(pgm).dtype == "uint16"


# ── as a model takes them ──


def test_rgb_is_read_as_today_and_other_bands_by_name() -> None:
    rgb = noise((9, 11, 3), np.uint8)
    assert (read_image_as(encode_png(rgb), RGB) == rgb).all()
    swapped = read_image_as(encode_png(rgb), raw("Blue", "red", dtype="uint8"))
    assert swapped.dtype == np.uint8
    assert (swapped == rgb[:, :, [2, 0]]).all()
    values = noise((9, 11, 2), np.float32)
    taken = read_image_as(npy(values), raw("VV", "VH"))  # by position: an array names no bands
    assert (taken == values).all()
    with pytest.raises(ImageError, match=r"x.npy: has 2 bands \(band 1, band 2\) of float32; .* 1 band \(VV\)"):
        read_image_as(npy(values), raw("VV"), "x.npy")
    with pytest.raises(ImageError, match=r"of uint16; the model or dataset takes .* of uint8"):
        read_image_as(npy(values.astype(np.uint16)), raw("VV", "VH", dtype="uint8"))


def test_windows_are_read_as_a_model_takes_them(tmp_path: Path) -> None:
    values = noise((40, 50, 6), np.int16)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(values, planarconfig="contig", tile=(16, 16)))
    window = read_window_as(path, raw("band 6", "band 2"), 3, 5, 20, 30)
    assert (window == values[3:23, 5:35, [5, 1]]).all()
