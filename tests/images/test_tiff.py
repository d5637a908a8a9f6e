"""TIFFs of any size, read row by row: every layout and band rule, and everything that is refused."""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import picture
from pixelwise.errors import ImageError
from pixelwise.images.image_files import read_image
from pixelwise.images.tiff import TiffImage
from pixelwise.images.tiff_header import tiff_size

TILED = {"tile": (32, 48)}
STRIPS = {"rowsperstrip": 7}


def written(path: Path, stored: Any, **options: Any) -> Path:
    tifffile.imwrite(path, stored, metadata=None, **options)
    return path


def all_rows(path: Path, step: int = 13) -> Any:
    """Rows asked for a few at a time, in order, as tiling does."""
    with TiffImage(path) as image:
        rows = [image.rows(y, min(y + step, image.height)) for y in range(0, image.height, step)]
        assert tiff_size(path) == (image.height, image.width)
    return np.concatenate(rows)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("layout", [TILED, STRIPS])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd", "packbits"])
def test_lossless_layouts_give_the_pixels_that_were_stored(
    tmp_path: Path, big: bool, order: str, planes: str, layout: dict[str, Any], compression: str | None
) -> None:
    pixels = picture(1, 75, 110)
    stored = pixels.transpose(2, 0, 1) if planes == "separate" else pixels
    path = written(tmp_path / "a.tif", stored, bigtiff=big, byteorder=order, planarconfig=planes, photometric="rgb",
                   compression=compression, **layout)  # fmt: skip
    assert (all_rows(path) == pixels).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 100), st.integers(1, 60), st.integers(1, 40), st.booleans(), st.data())
def test_any_rows_of_any_size_are_those_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, step: int, tiled: bool, data: st.DataObject
) -> None:
    layout = {"tile": (16, 32)} if tiled else {"rowsperstrip": data.draw(st.integers(1, height))}
    pixels = picture(2, height, width)
    path = written(tmp_path_factory.mktemp("tiff") / "a.tif", pixels, photometric="rgb", compression="zlib",
                   predictor=data.draw(st.booleans()), **layout)  # fmt: skip
    assert (all_rows(path, step) == pixels).all()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_window_is_a_part_of_the_whole_image(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(2, 70)), data.draw(st.integers(2, 90))
    layout = data.draw(st.sampled_from([{"tile": (16, 32)}, {"rowsperstrip": 5}, {}]))
    pixels = picture(2, height, width)
    path = written(tmp_path_factory.mktemp("tiff") / "a.tif", pixels, photometric="rgb",
                   compression=data.draw(st.sampled_from([None, "lzw"])), **layout)  # fmt: skip
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    with TiffImage(path) as image:
        assert (image.window(top, bottom, left, right) == pixels[top:bottom, left:right]).all()


def test_jpeg_tiles_are_decoded_to_rgb(tmp_path: Path) -> None:
    pixels = picture(3, 100, 130)
    path = written(tmp_path / "a.tif", pixels, photometric="rgb", compression="jpeg", tile=(64, 64),
                   compressionargs={"level": 95})  # fmt: skip
    assert np.abs(all_rows(path).astype(int) - pixels).mean() < 4


def bands(number: int, dtype: Any = np.uint8) -> Any:
    stored = np.concatenate([picture(seed, 40, 50) for seed in (1, 2)], axis=2)[:, :, :number]
    return stored.astype(dtype) * (257 if dtype == np.uint16 else 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_bands_become_rgb_by_the_documented_rule(tmp_path: Path, number: int, dtype: Any) -> None:
    stored = bands(number, dtype)
    options: dict[str, Any] = {"photometric": "rgb" if number >= 3 else "minisblack", "planarconfig": "contig"}
    path = written(tmp_path / "a.tif", stored[:, :, 0] if number == 1 else stored, tile=(32, 32), **options)
    expected = bands(3) if number >= 3 else np.repeat(bands(1), 3, axis=2)
    assert (all_rows(path) == expected).all()
    if number in (1, 3):  # the same as where a file is decoded at once
        assert (read_image(path) == expected).all()


def test_small_depths_palettes_and_white_that_is_zero(tmp_path: Path) -> None:
    grey = picture(4, 33, 40)[:, :, 0]
    path = written(tmp_path / "white.tif", grey, photometric="miniswhite")
    assert (all_rows(path)[:, :, 0] == 255 - grey).all()
    path = written(tmp_path / "bilevel.tif", grey > 99, photometric="minisblack")
    assert (all_rows(path)[:, :, 0] == (grey > 99) * 255).all()
    colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    path = written(tmp_path / "palette.tif", grey, photometric="palette", colormap=colours * 257, tile=(16, 16))
    assert (all_rows(path) == colours.T[grey]).all()


@pytest.mark.parametrize(
    ("stored", "options", "says"),
    [
        (bands(5), {"photometric": "minisblack", "planarconfig": "contig"}, "5 bands.*gdal_translate"),
        (bands(3).astype(np.float32), {"photometric": "rgb"}, "floating-point values; expected 8- or 16-bit"),
        (bands(1)[:, :, 0].astype(np.uint32), {}, "32-bit values"),
        (bands(1)[:, :, 0].astype(np.int16), {}, "signed"),
        (bands(4), {"photometric": "separated", "planarconfig": "contig"}, "colours are SEPARATED"),
        (bands(3), {"photometric": "rgb", "compression": "jpegxl"}, "compression is JPEGXL"),
        (bands(3), {"photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]}, "rotated or mirrored"),
    ],
)
def test_kinds_that_have_no_documented_meaning_are_refused(
    tmp_path: Path, stored: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ImageError, match=rf"a\.tif: .*{says}"):
        TiffImage(written(tmp_path / "a.tif", stored, **options))


@pytest.mark.parametrize("layout", [TILED, STRIPS])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_cut_short_anywhere_is_refused_or_whole_up_to_there(
    tmp_path: Path, layout: dict[str, Any], compression: str | None
) -> None:
    pixels = picture(5, 64, 96)
    whole = written(tmp_path / "a.tif", pixels, photometric="rgb", compression=compression, **layout).read_bytes()
    for length in range(0, len(whole), max(len(whole) // 40, 1)):
        (tmp_path / "b.tif").write_bytes(whole[:length])
        with pytest.raises(ImageError, match="truncated or damaged"):
            all_rows(tmp_path / "b.tif")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=8), st.integers(0, 10_000), st.sampled_from([None, "zlib", "lzw", "jpeg"]))
def test_damaged_bytes_give_pixels_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes, at: int, compression: str | None
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    whole = bytearray(written(folder / "a.tif", picture(5, 40, 56), photometric="rgb", compression=compression,
                              tile=(32, 32)).read_bytes())  # fmt: skip
    at %= len(whole)
    whole[at : at + len(damage)] = damage
    (folder / "b.tif").write_bytes(whole)
    tiff_size(folder / "b.tif")
    with contextlib.suppress(ImageError), TiffImage(folder / "b.tif") as image:
        if image.height * image.width < 10**6:
            assert image.rows(0, image.height).shape == (image.height, image.width, 3)


def claims(path: Path, height: int, width: int, tile: int) -> Path:
    """A small file that claims to be large: none of its tiles is in it."""
    number = -(-height // tile) * -(-width // tile)
    tifffile.imwrite(path, (b"" for _ in range(number)), shape=(height, width, 3), dtype=np.uint8, tile=(tile, tile),
                     photometric="rgb", compression="zlib", bigtiff=True, metadata=None)  # fmt: skip
    return path


def test_a_small_file_that_claims_gigapixels_is_read_as_absent_or_refused(tmp_path: Path) -> None:
    sparse = claims(tmp_path / "sparse.tif", 200_000, 60_000, 4096)
    assert sparse.stat().st_size < 20_000
    with TiffImage(sparse) as image:
        assert image.absent(0, 200_000, 0, 60_000)
        assert image.absent_within(5000, 5010)[0] == (slice(0, 10), slice(0, 4096))
        assert (image.rows(199_990, 200_000) == 0).all()
    with pytest.raises(ImageError, match="limit for a TIFF is 68,719,476,736"):
        TiffImage(claims(tmp_path / "pixels.tif", 1_000_000, 1_000_000, 65_520))
    with pytest.raises(ImageError, match=r"tile or strip of 59984×59984 pixels .* in memory; the limit is 1,073"):
        TiffImage(claims(tmp_path / "tiles.tif", 60_000, 60_000, 59_984))


def test_a_jpeg_tile_that_claims_more_than_its_tile_is_not_decoded(tmp_path: Path) -> None:
    pixels = picture(6, 64, 64)
    path = written(tmp_path / "a.tif", pixels, photometric="rgb", compression="jpeg", tile=(64, 64))
    data = bytearray(path.read_bytes())
    frame = data.index(b"\xff\xc0")  # start of frame: length, depth, height, width
    data[frame + 5 : frame + 9] = b"\x27\x10\x27\x10"  # 10,000 × 10,000
    path.write_bytes(data)
    with TiffImage(path) as image, pytest.raises(ImageError, match="claims to hold 10000×10000 pixels"):
        image.rows(0, 64)


def test_a_strip_that_inflates_past_its_size_is_not_followed(tmp_path: Path) -> None:
    import zlib

    bomb = zlib.compress(bytes(50_000_000))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, iter([bomb]), shape=(64, 64, 3), dtype=np.uint8, tile=(64, 64), photometric="rgb",
                     compression="zlib", metadata=None)  # fmt: skip
    tracemalloc.start()
    with TiffImage(path) as image:
        assert (image.rows(0, 64) == 0).all()  # as far as its size, like libtiff
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_sizes_are_stated_by_tiffs_only(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("II*")
    assert tiff_size(tmp_path / "a.txt") is None
    assert tiff_size(tmp_path) is None
    assert tiff_size(tmp_path / "none.tif") is None
