"""Images of any number of bands and any depth: read whole as independent programs read them, or by windows."""

from __future__ import annotations

import contextlib
import io
import struct
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

from conftest import picture
from pixelwise.errors import ImageError
from pixelwise.images.band_facts import band_facts
from pixelwise.images.banded_image import read_bands, read_bands_window
from pixelwise.images.image_files import encode_png, read_image
from pixelwise.images.read_as import read_image_as
from pixelwise.images.tiff_windows import TiffWindows
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
    voids = read_bands((WATER / "164.tif").read_bytes(), "164.tif")
    assert voids.notes == ("2,863 values are −9999, far below all others: taken as no data.",)
    assert np.isnan(voids.pixels).sum((0, 1)).tolist() == [0] * 8 + [2863] + [0] * 3
    assert capfd.readouterr() == ("", "")  # neither Pillow nor libtiff prints


WITHOUT_IMAGECODECS = """
import sys
sys.modules["imagecodecs"] = None
from pathlib import Path
import numpy as np
from pixelwise.errors import ImageError
from pixelwise.images.banded_image import read_bands, read_bands_window
from pixelwise.images.tiff import TiffImage
for path in sorted(Path(sys.argv[1]).glob("*.tif")):
    if path.stem == "rare":
        try:
            read_bands(path.read_bytes(), path)
        except ImageError as error:
            print(error)
    else:
        found = read_bands(path.read_bytes(), path).pixels
        assert (found == np.load(path.with_suffix(".npy"))[:, :, : found.shape[2]]).all(), path
        with TiffImage(path) as image:
            assert path.stem.isdigit() or (image.rows(0, image.height) == np.load(path.with_suffix(".npy"))).all()
        window = read_bands_window(path, 3, 4, 20, 21).pixels
        assert (window == np.load(path.with_suffix(".npy"))[3:23, 4:25, : window.shape[2]]).all(), path
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
    photo = picture(1, 40, 50)
    for name, shown, options in (("rgb", photo, {"photometric": "rgb"}), ("grey", photo[:, :, 0], {})):
        (tmp_path / f"{name}.tif").write_bytes(tiff(shown, compression="jpeg", tile=(16, 16), **options))
        np.save(tmp_path / f"{name}.npy", read_image(tmp_path / f"{name}.tif"))
    rare = tiff(noise((40, 50, 3)), compression="jpeg2000", photometric="rgb", tile=(16, 16))
    (tmp_path / "rare.tif").write_bytes(rare)
    command = [sys.executable, "-c", WITHOUT_IMAGECODECS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "rare.tif: its compression (JPEG 2000) cannot be decoded here." in done.stdout
    assert done.stdout.endswith("pip install 'pixelwise[tiff]'\n")


def pages(*stored: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for i, page in enumerate(stored):
            own = {key: value[i] for key, value in options.items()}
            writer.write(page, contiguous=False, metadata=None, photometric="minisblack", **own)
    return file.getvalue()


def test_channels_of_microscopes_are_bands_with_their_names() -> None:
    stack_ZCYX = noise((4, 3, 20, 30))
    channels = {"Channel": {"Name": ["DAPI", "GFP & x", "Cy5"]}}
    first = stack_ZCYX[0].transpose(1, 2, 0)
    for axes, stored in (("CYX", stack_ZCYX[0]), ("ZCYX", stack_ZCYX), ("CZYX", stack_ZCYX.swapaxes(0, 1))):
        found = read_bands(tiff(stored, ome=True, metadata={"axes": axes, **channels}), "a.ome.tif")
        np.testing.assert_array_equal(found.pixels, first)
        assert found.names == ("DAPI", "GFP & x", "Cy5")
        slices = ["4 slices, the first is used."] if "Z" in axes else []
        assert [one.sentence() for one in found.dropped] == slices
    labelled = {"axes": "CYX", "Labels": ["one", "two", "one"]}
    found = read_bands(tiff(stack_ZCYX[0], imagej=True, metadata=labelled), "a.tif")
    assert found.names == ("one", "two", "one (2)")
    np.testing.assert_array_equal(found.pixels, first)
    found = read_bands(tiff(stack_ZCYX, imagej=True, metadata={"axes": "ZCYX"}), "a.tif")
    np.testing.assert_array_equal(found.pixels, first)


def test_pages_of_one_size_are_bands_and_others_are_reported() -> None:
    values = noise((3, 20, 30), np.uint8)
    found = read_bands(pages(*values), "a.tif")
    np.testing.assert_array_equal(found.pixels, values.transpose(1, 2, 0))
    assert (found.names, found.dropped) == ((), ())
    assert read_bands(pages(*values, description=["red edge", "nir", "swir"]), "a.tif").names == (
        "red edge",
        "nir",
        "swir",
    )
    found = read_bands(pages(*values, values[0, :5]), "a.tif")
    assert found.pixels.shape == (20, 30, 3)
    assert [one.sentence() for one in found.dropped] == ["1 page of another size or kind than the first is not used."]
    colour = noise((2, 20, 30, 3), np.uint8)
    found = read_bands(tiff(colour, photometric="rgb"), "a.tif")
    np.testing.assert_array_equal(found.pixels, colour[0])
    assert [one.sentence() for one in found.dropped] == ["2 pages, the first is used."]


def test_arrays_that_tifffile_cuts_into_pages_are_put_together() -> None:
    """tifffile.imwrite stores [32, 32, 2] as 32 pages of 32 × 2 pixels, and states the shape."""
    for shape in ((32, 24, 2), (20, 30, 12), (20, 30, 1)):
        values = np.random.default_rng(0).gamma(2, 0.05, shape).astype(np.float32)
        data = tiff(values, metadata={}, photometric=None)
        np.testing.assert_array_equal(read_bands(data, "a.tif").pixels, values)
        assert (band_facts(data).height, band_facts(data).width, band_facts(data).bands) == shape
    with pytest.raises(ImageError, match=r"an array of shape \[5, 12, 20, 30\]; expected \[height, width, bands\]"):
        read_bands(tiff(noise((5, 12, 20, 30)), metadata={}), "a.tif")


GDAL_NAMES = """<GDALMetadata><Item name="DESCRIPTION" sample="0" role="description">B02</Item>
<Item name="DESCRIPTION" sample="2" role="description">B8A &amp; more</Item></GDALMetadata>"""


def test_names_and_missing_values_of_gdal() -> None:
    values = noise((3, 20, 30), np.int16) + np.int16(1)
    values[0, 0, :4] = -7
    tags = [(42112, 2, 0, GDAL_NAMES, True), (42113, 2, 0, "-7", True)]
    found = read_bands(tiff(values, planarconfig="separate", extratags=tags), "a.tif")
    assert (found.names, found.no_data) == (("B02", "band 2", "B8A & more"), -7)
    assert np.isnan(found.pixels).sum() == 4
    np.testing.assert_array_equal(np.nan_to_num(found.pixels, nan=-7), values.transpose(1, 2, 0))
    deep = read_bands(
        tiff(values.astype(np.uint16), planarconfig="separate", extratags=[(42113, 2, 0, "3", True)]), "a.tif"
    )
    assert deep.pixels.dtype == np.float32
    assert np.isnan(deep.pixels).sum() == (values == 3).sum() > 0
    kept = read_bands(
        tiff(values.astype(np.uint16), planarconfig="separate", extratags=[(42113, 2, 0, "-1", True)]), "a.tif"
    )
    assert (kept.pixels.dtype, kept.no_data) == (np.uint16, None)  # which such values cannot be


def test_a_mask_of_valid_pixels_and_missing_tiles_are_no_data(tmp_path: Path) -> None:
    values = noise((20, 30, 2))
    valid = np.ones((20, 30), np.bool_)
    valid[3:9, 4:20] = False
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(values, planarconfig="contig", photometric="minisblack", metadata=None)
        writer.write(valid, photometric="mask", subfiletype=4, metadata=None)
    (tmp_path / "a.tif").write_bytes(file.getvalue())
    found = read_bands(file.getvalue(), "a.tif").pixels
    assert band_facts(tmp_path / "a.tif").dtype == "float32"
    np.testing.assert_array_equal(np.isfinite(found), np.dstack([valid, valid]))
    np.testing.assert_array_equal(found[valid], values[valid])
    window = read_bands_window(tmp_path / "a.tif", 2, 3, 10, 11).pixels
    np.testing.assert_array_equal(window, found[2:12, 3:14])
    sparse = io.BytesIO()
    tile = noise((16, 16))
    tifffile.imwrite(sparse, iter([tile, None, tile, tile]), shape=(32, 32), dtype=np.uint16, tile=(16, 16),
                     compression="zlib", photometric="minisblack", metadata=None)  # fmt: skip
    found = read_bands(sparse.getvalue(), "a.tif").pixels[:, :, 0]
    assert np.isnan(found[:16, 16:]).all()
    np.testing.assert_array_equal(found[16:], np.hstack([tile, tile]))


@pytest.mark.parametrize("missing", ["-3.4028234663852886e+38", "-3.40282346638529e+38", "nan", "-9999", "1e20"])
def test_declared_values_are_found_as_they_are_rounded(missing: str) -> None:
    values = noise((10, 12, 2), np.float32)
    values[2, 3, 1] = np.float32(max(float(missing), -3.4028234663852886e38)) if missing != "nan" else np.nan
    found = read_bands(tiff(values, planarconfig="contig", extratags=[(42113, 2, 0, missing, True)]), "a.tif")
    assert np.argwhere(np.isnan(found.pixels)).tolist() == [[2, 3, 1]]
    assert found.notes == ()


def test_undeclared_sentinels_are_missing_where_no_other_value_is_near() -> None:
    values = noise((10, 12), np.float32) - 20
    values[0, 0], values[1, :2], values[2, 2] = -3.4028235e38, -9999, np.inf
    found = read_bands(tiff(values), "a.tif")
    assert np.isnan(found.pixels).sum() == 4
    assert found.notes == (
        "1 value is infinite: taken as no data.",
        "1 value is the lowest floating-point value, far below all others: taken as no data.",
        "2 values are −9999, far below all others: taken as no data.",
    )
    values = np.linspace(-32768, 32767, 120).astype(np.int16).reshape(10, 12)
    found = read_bands(tiff(values), "a.tif")
    np.testing.assert_array_equal(found.pixels[:, :, 0], values)  # a signal of the whole range
    assert found.notes == ()


def test_images_without_any_value_are_read() -> None:
    for values in (np.full((3, 4), np.nan, np.float32), np.full((3, 4), -9999, np.int16)):
        assert np.isnan(read_bands(tiff(values), "a.tif").pixels).all()
    (small,) = read_bands(tiff(np.array([[3, 4]], np.uint16)), "a.tif").pixels[:, :, 0].tolist()
    assert small == [3, 4]


def test_what_float32_cannot_hold_is_reported() -> None:
    found = read_bands(tiff(np.full((3, 4), 2**24 + 1, np.int32)), "a.tif")
    assert [one.sentence() for one in found.dropped] == ["32-bit whole numbers are rounded to 32-bit floating-point."]
    found = read_bands(npy(np.full((3, 4), 0.1)), "a.npy")
    assert [one.kind for one in found.dropped] == ["reduced-depth"]
    assert read_bands(npy(np.full((3, 4), 0.5)), "a.npy").dropped == ()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_eight_bit_tiffs_are_read_as_today_also_by_windows(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(noise((21, 30, 3), np.uint8) * 2).convert(mode)
    picture.save(tmp_path / "a.tif", tiffinfo={42113: "0", 274: 6})
    today, found = read_image(tmp_path / "a.tif"), read_bands((tmp_path / "a.tif").read_bytes(), "a.tif")
    facts = band_facts(tmp_path / "a.tif")
    assert facts.may_be_rgb
    assert (facts.height, facts.width, facts.bands) == found.pixels.shape == (30, 21, 1 if mode in ("1", "L") else 3)
    assert (found.pixels == today[:, :, : facts.bands]).all()
    window = read_bands_window(tmp_path / "a.tif", 3, 4, 10, 11)
    assert (window.pixels == found.pixels[3:13, 4:15]).all()
    assert window.names == found.names


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


# ── NIfTI ──


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
def test_channels_of_a_nifti_slice_are_bands(tmp_path: Path, kind: str, suffix: str) -> None:
    nibabel: Any = pytest.importorskip("nibabel", reason="needs nibabel; install pixelwise[formats]")
    for shape in ((20, 30), (20, 30, 1), (20, 30, 1, 4), (20, 30, 1, 1, 4)):
        for dtype in (np.int16, np.uint8, np.float32, np.uint16):
            values = noise(shape, dtype)
            image = getattr(nibabel, kind)(values, np.eye(4), dtype=dtype)
            nibabel.save(image, tmp_path / f"a{suffix}")
            found = read_bands((tmp_path / f"a{suffix}").read_bytes(), "a")
            expected = values.reshape(20, 30, -1).transpose(1, 0, 2)  # x runs along the first axis
            np.testing.assert_array_equal(found.pixels, expected)
            facts = band_facts(tmp_path / f"a{suffix}")
            assert (facts.height, facts.width, facts.bands, facts.dtype) == (*expected.shape, found.pixels.dtype.name)
            assert found.dropped == ()


def test_nifti_values_are_scaled_and_volumes_refused(tmp_path: Path) -> None:
    nibabel: Any = pytest.importorskip("nibabel", reason="needs nibabel; install pixelwise[formats]")
    image = nibabel.Nifti1Image(noise((4, 5, 1), np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / "a.nii")
    data = (tmp_path / "a.nii").read_bytes()
    expected = nibabel.load(tmp_path / "a.nii").get_fdata()[:, :, 0].T
    np.testing.assert_allclose(read_bands(data, "a").pixels[:, :, 0], expected)
    assert band_facts(data).dtype == "float32"
    for cut in (60, 350, len(data) - 1):
        with pytest.raises(ImageError):
            read_bands(data[:cut], "a")
    nibabel.save(nibabel.Nifti1Image(noise((4, 5, 7), np.int16), np.eye(4)), tmp_path / "b.nii.gz")
    with pytest.raises(ImageError, match=r"b.nii.gz: is a volume of 7 slices; expected one slice. Put volumes into"):
        band_facts(tmp_path / "b.nii.gz")
    with pytest.raises(ImageError, match="is a volume of 7 slices"):
        read_bands((tmp_path / "b.nii.gz").read_bytes(), "b.nii.gz")


# ── pictures ──


def test_pictures_keep_their_depth_and_alpha() -> None:
    grey = tiff(noise((9, 11, 2), np.uint8), planarconfig="contig", extrasamples=["unassalpha"])
    assert read_bands(grey, "a.tif").names == ("grey", "alpha")
    assert band_facts(grey).may_be_rgb
    deep = noise((9, 11), np.uint16) * 500
    assert (read_bands(png(Image.fromarray(deep)), "a.png").pixels[:, :, 0] == deep).all()
    rgba = noise((9, 11, 4), np.uint8)
    found = read_bands(png(Image.fromarray(rgba)), "a.png")
    assert (found.pixels == rgba).all()
    assert found.names == ("red", "green", "blue", "alpha")
    pgm = b"P5\n11 9\n65535\n" + deep.astype(">u2").tobytes()
    assert (read_bands(pgm, "a.pgm").pixels[:, :, 0] == deep).all()
    assert band_facts(pgm).dtype == "uint16"


@pytest.mark.parametrize("bits", [12, 15, 16])
def test_jpeg_2000_keeps_the_values_of_satellites(bits: int) -> None:
    imagecodecs: Any = pytest.importorskip("imagecodecs", reason="needs imagecodecs; install pixelwise[tiff]")
    values = (noise((40, 50)) * (2 ** (bits - 7))).astype(np.uint16)
    data = imagecodecs.jpeg2k_encode(values, level=0, bitspersample=bits, reversible=True)
    found = read_bands(data, "B04.jp2")
    np.testing.assert_array_equal(found.pixels[:, :, 0], values)
    assert band_facts(data).dtype == "uint16"


def test_truncated_pictures_are_no_half_pictures() -> None:
    for image in (Image.fromarray(noise((60, 70, 4), np.uint8)), Image.fromarray(noise((60, 70)) * 100)):
        data = png(image)
        for cut in (40, len(data) // 2, len(data) - 13):
            with pytest.raises(ImageError, match="truncated or damaged"):
                read_bands(data[:cut], "a.png")


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".gif", ".bmp", ".jp2", ".ppm"])
def test_facts_are_those_of_the_pixels(suffix: str) -> None:
    for mode in ("L", "RGB", "RGBA", "LA"):
        file = io.BytesIO()
        try:
            Image.fromarray(noise((20, 30, 4), np.uint8)).convert(mode).save(
                file, Image.registered_extensions()[suffix]
            )
        except OSError:  # the format has no alpha
            continue
        found, facts = read_bands(file.getvalue(), f"a{suffix}"), band_facts(file.getvalue())
        assert (facts.height, facts.width, facts.bands, facts.dtype) == (*found.pixels.shape, found.pixels.dtype.name)
        assert facts.names == found.names


# ── damaged and hostile files ──


@pytest.mark.parametrize("writer", ["tifffile", "shaped", "bigtiff", "pillow", "ome"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_stack_of_pages_that_is_cut_short_is_never_a_shorter_stack(writer: str, share: float) -> None:
    pages_PHW = noise((6, 24, 20), np.float32)
    file = io.BytesIO()
    if writer == "pillow":
        images = [Image.fromarray(page_HW) for page_HW in pages_PHW]
        images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
    elif writer == "shaped":
        tifffile.imwrite(file, noise((24, 20, 5), np.float32))
    else:
        tifffile.imwrite(file, pages_PHW, bigtiff=writer == "bigtiff", ome=writer == "ome",
                         metadata={"axes": "CYX"} if writer == "ome" else None, photometric="minisblack")  # fmt: skip
    data = file.getvalue()
    assert read_bands(data, "a.tif").pixels.shape[2] >= 5
    with pytest.raises(ImageError, match="truncated"):
        read_bands(data[: int(len(data) * share)], "a.tif")


def test_a_directory_beyond_the_file_is_an_error(tmp_path: Path) -> None:
    data = b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63)
    (tmp_path / "a.tif").write_bytes(data)
    for read in (lambda: read_bands(data, "a.tif"), lambda: band_facts(tmp_path / "a.tif"), lambda: band_facts(data)):
        with pytest.raises(ImageError, match="TIFF header cannot be read"):
            read()


def test_sizes_are_bounded_before_decoding() -> None:
    header = npy(np.zeros((1, 1), np.float32))
    with pytest.raises(ImageError, match="truncated or damaged: 128 of "):
        read_bands(header.replace(b"(1, 1), }", b"(90, 90), }").replace(b"  \n", b"\n")[:128], "a.npy")
    claims = npy(np.broadcast_to(np.float32(0), (1, 1, 1)))
    huge = claims.replace(b"(1, 1, 1), }      ", b"(9999, 9999, 99), }")
    with pytest.raises(ImageError, match=r"9999×9999 pixels of 99 bands take 36.9 GiB; the limit is 2 GiB"):
        read_bands(huge, "a.npy")
    with pytest.raises(ImageError, match="holds Python objects; expected whole or floating-point numbers"):
        read_bands(npy(np.array([[None]])), "a.npy")
    with pytest.raises(ImageError, match="complex"):
        read_bands(tiff(np.zeros((4, 5), np.complex64)), "a.tif")
    sparse = io.BytesIO()
    tifffile.imwrite(sparse, (b"" for _ in range(100)), shape=(80_000, 80_000), dtype=np.uint16, tile=(8000, 8000),
                     compression="zlib", metadata=None)  # fmt: skip
    assert band_facts(sparse.getvalue()).dtype == "float32"
    with pytest.raises(ImageError, match="80000×80000 is 6,400,000,000 pixels; the limit is 100,000,000"):
        read_bands(sparse.getvalue(), "a.tif")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused(data: st.DataObject) -> None:
    valid = data.draw(st.sampled_from(VALID))
    at = data.draw(st.integers(0, len(valid) - 1))
    damaged = valid[: data.draw(st.integers(at, len(valid)))]
    damaged = damaged[:at] + data.draw(st.binary(min_size=1, max_size=4)) + damaged[at + 1 :]
    for read in (lambda: read_bands(damaged, "a"), lambda: band_facts(damaged)):
        with contextlib.suppress(ImageError):
            read()


VALID = [
    tiff(noise((9, 11, 5)), planarconfig="contig", tile=(16, 16), compression="zlib", predictor=True),
    tiff(noise((3, 9, 11)), ome=True, metadata={"axes": "CYX"}),
    tiff(noise((3, 9, 11)), imagej=True, metadata={"axes": "CYX", "Labels": ["a", "b", "c"]}),
    tiff(noise((9, 11, 2), np.float32), metadata={}, photometric=None),
    tiff(noise((9, 11, 4), np.int16), planarconfig="contig", compression="lzw", extratags=[(42113, 2, 0, "3", True)]),
    npy(noise((9, 11, 3))),
    png(Image.fromarray(noise((9, 11, 4), np.uint8))),
]


# ── as a model takes them ──


def test_rgb_is_read_as_today_and_other_bands_by_name() -> None:
    rgb = noise((9, 11, 3), np.uint8)
    assert (read_image_as(encode_png(rgb), RGB) == rgb).all()
    assert (read_image_as(npy(rgb), RGB) == rgb).all()
    assert (read_image_as(npy(rgb[:, :, 0]), RGB) == rgb[:, :, :1]).all()
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


def test_missing_values_of_8_bit_images_are_the_middle() -> None:
    values = noise((20, 30, 4), np.uint8)
    data = tiff(values, planarconfig="contig", extratags=[(42113, 2, 0, "0", True)])
    taken = read_image_as(data, raw("band 1", "band 2", "band 3", "band 4", dtype="uint8"))
    assert taken.dtype == np.uint8
    np.testing.assert_array_equal(taken, np.where(values == 0, 128, values))
    assert (values == 0).any()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_an_indexed_tiff_gives_the_bands_of_a_model(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    values = noise((50, 60, 5), np.int16)
    path = tmp_path_factory.mktemp("windows") / "a.tif"
    path.write_bytes(
        tiff(values, planarconfig="contig", tile=(16, 16), compression=data.draw(st.sampled_from([None, "zlib"])))
    )
    windows = TiffWindows(path, raw("band 4", "band 1"))
    assert (windows.shape, windows.dtype, windows.cheap) == ((50, 60, 2), np.float32, True)
    for _ in range(4):
        key = tuple(slice(*sorted(data.draw(st.tuples(st.integers(0, side), st.integers(0, side)))),
                          data.draw(st.integers(1, 3))) for side in (50, 60))  # fmt: skip
        np.testing.assert_array_equal(windows[key], values[key][:, :, [3, 0]])
    with pytest.raises(ImageError, match=r"has 5 bands .* takes 1 band \(nir\)"):
        TiffWindows(path, raw("nir"))
