"""Kinds of images beyond the usual: what they become, what of them is told as not used, and damage that is noticed."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwise import records
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.doctor.findings import find_problems
from pixelwise.errors import ImageError, MaskError
from pixelwise.images import decoder_limits, jpeg
from pixelwise.images.decode import open_image, pixels_and_dropped
from pixelwise.images.image_files import decode_image, decode_mask_ids, write_png
from pixelwise.images.tiff_header import pages_of, tiff_bytes, tiff_size

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
GREY16 = (np.add.outer(np.arange(24), np.arange(32)) * 1100).astype(np.uint16)


def saved(image: Image.Image | np.ndarray[Any, Any], kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def told(data: bytes) -> list[str]:
    return [dropped.sentence("labelled") for dropped in pixels_and_dropped(data, open_image(data))[1]]


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG2000", {}), ("TGA", {}), ("TGA", {"compression": "tga_rle"}), ("PPM", {}), ("BMP", {})]
)
def test_lossless_kinds_give_the_pixels_that_were_stored(kind: str, options: dict[str, Any]) -> None:
    assert (decode_image(saved(RGB, kind, **options), "x") == RGB).all()


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_lossy_kinds_are_read_and_refused_as_masks(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip(
            "pillow_heif", reason="HEIC needs pillow-heif; install pixelwise[formats]"
        ).register_heif_opener()
    smooth = np.repeat(np.arange(32, dtype=np.uint8)[None, :, None] * 6, 24, axis=0).repeat(3, axis=2)
    data = saved(smooth, kind, quality=95)
    assert abs(decode_image(data, "x").astype(int) - smooth).mean() < 8
    with pytest.raises(MaskError, match="alters class ids"):
        decode_mask_ids(data, "x")


def test_without_pillow_heif_a_heic_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"HEIC.*pip install 'pixelwise\[formats\]'"):
        decode_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "x")


def test_a_gif_is_its_first_frame() -> None:
    frames = [Image.fromarray(RGB[:, :, i] // 64).convert("P") for i in range(3)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode_image(data, "x") == np.asarray(frames[0].convert("RGB"))).all()
    assert told(data) == ["3 frames, the first is labelled."]
    with pytest.raises(MaskError, match="3 pages"):
        decode_mask_ids(data, "x")


def test_16_bit_pgm_is_read_like_16_bit_png() -> None:
    expected = decode_image(saved(GREY16, "PNG"), "x")
    binary = b"P5\n32 24\n65535\n" + GREY16.astype(">u2").tobytes()
    plain = b"P2 # a comment\n32 24\n65535\n" + " ".join(map(str, GREY16.ravel())).encode()
    for data in (binary, plain):
        assert (decode_image(data, "x") == expected).all()
        assert (decode_mask_ids(data, "x") == GREY16).all()
        assert told(data) == ["16-bit values are reduced to 8 bits: the full range becomes 0–255."]
    assert (decode_image(b"P6\n32 24\n65535\n" + (RGB.astype(">u2") * 257).tobytes(), "x") == RGB).all()


def test_pnm_of_any_largest_value() -> None:
    assert decode_image(b"P2\n3 1\n99\n0 50 99\n", "x")[0, :, 0].tolist() == [0, 129, 255]
    assert decode_mask_ids(b"P2\n3 1\n99\n0 50 99\n", "x").tolist() == [[0, 50, 99]]
    assert decode_image(b"P5 2 1 1023\n" + struct.pack(">HH", 0, 1023), "x")[0, :, 2].tolist() == [0, 255]
    assert decode_image(b"P1\n4 1\n0 1 10\n", "x")[0, :, 0].tolist() == [255, 0, 0, 255]
    assert decode_image(b"P4\n4 1\n\x60", "x")[0, :, 0].tolist() == [255, 0, 0, 255]
    for damaged in (
        b"P5\n4 4\n255\n123",
        b"P2\n2 1\n9\n1 10\n",
        b"P5\n4 4\n70000\n" + bytes(99),
        b"P3\n1 1\n9\n1 2 x\n",
    ):
        with pytest.raises(ImageError):
            decode_image(damaged, "x")


def test_a_fourth_channel_that_varies_is_told_and_a_constant_one_is_not() -> None:
    heat = np.dstack([RGB, np.arange(60, 60 + 24 * 32, dtype=np.uint16).reshape(24, 32).clip(0, 209).astype(np.uint8)])
    still = np.dstack([RGB, np.full((24, 32), 200, np.uint8)])
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("TGA", {})):
        assert told(saved(heat, kind, **options)) == ["the 4th channel varies (60 to 209) and is not used."]
        assert told(saved(still, kind, **options)) == []
    assert (decode_image(saved(heat, "PNG"), "x") == RGB).all()
    assert told(saved(Image.fromarray(heat[:, :, 2:]), "PNG")) == [
        "the 2nd channel varies (60 to 209) and is not used."
    ]


def test_pages_are_counted_and_smaller_copies_are_not() -> None:
    pages = [Image.fromarray(RGB[:, :, i]) for i in range(3)]
    assert told(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])) == ["3 pages, the first is labelled."]
    tifffile: Any = pytest.importorskip("tifffile", reason="needs tifffile; install pixelwise[tiff]")
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(RGB, photometric="rgb")
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
    assert pages_of(tiff_bytes(buffer.getvalue())) == 1
    assert told(buffer.getvalue()) == []


def test_a_varying_fourth_channel_is_a_band_and_said_once(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    heat = np.dstack([RGB, RGB[:, :, 0]])
    for i in range(4):
        Image.fromarray(heat).rotate(90 * i).resize((32, 24)).save(tmp_path / "images" / f"{i}.png")
        write_png(tmp_path / "masks" / f"{i}.png", RGB[:, :, i % 3] // 128)
    dataset = open_dataset(tmp_path)
    assert dataset.bands.names == ("red", "green", "blue", "alpha")
    (note,) = [note for note in dataset.notes if "varies" in note]
    assert "The fourth channel of 4 images varies (0 to 253): it is a band, 'alpha'" in note
    colours = open_dataset(tmp_path, bands=("red", "green", "blue"))
    assert colours.bands == records.RGB
    warnings = [one for one in find_problems(colours).warnings if one.kind == "unused-channels"]
    assert len(warnings) == 1
    assert "4 images have channels that vary" in warnings[0].message
    assert warnings[0].where.startswith("images/")


def photo_jpeg(**options: Any) -> bytes:
    return saved(
        np.kron(RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)), "JPEG", **options
    )


@pytest.mark.skipif(jpeg.simplejpeg is None, reason="damage within a JPEG is noticed by simplejpeg")
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 95}, {"restart_marker_rows": 2}]
)
def test_a_jpeg_with_its_middle_gone_is_refused(options: dict[str, Any]) -> None:
    whole = photo_jpeg(**options)
    assert decode_image(whole, "x").shape == (320, 400, 3)
    middle = len(whole) // 2
    for damaged in (
        whole[:middle] + whole[middle + 900 :],
        whole[:middle] + bytes(900) + whole[middle + 900 :],
        whole[: middle - 300] + whole[-2:],
    ):
        with pytest.raises(ImageError, match="part of its pixels is missing or damaged"):
            decode_image(damaged, "x")


def test_padding_before_a_jpegs_end_is_no_damage() -> None:
    whole = photo_jpeg()
    assert (decode_image(whole[:-2] + bytes(500) + whole[-2:], "x") == decode_image(whole, "x")).all()
    if jpeg.simplejpeg is not None:
        odd = whole[:-2] + bytes(range(1, 200)) + whole[-2:]
        assert "left over after its pixels" in told(odd)[0]


def test_scans_are_bounded_by_what_they_cost() -> None:
    whole = saved(Image.new("L", (1200, 1200), 9), "JPEG", progressive=True)
    scan = whole[whole.rfind(b"\xff\xda") : -2]
    assert decode_image(whole[:-2] + scan * 20 + whole[-2:], "x").shape == (1200, 1200, 3)
    with pytest.raises(ImageError, match=r"JPEG of 5,006 scans; at its size the limit is \d+\. Open it"):
        decode_image(whole[:-2] + scan * 5000 + whole[-2:], "x")
    assert (
        decoder_limits.MAX_PIXELS * 12 <= decoder_limits.MOST_SCANNED
    )  # what encoders write of the largest image that is read


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "f2"}, "16-bit floating-point values"),
        ({"dtype": "f8"}, "64-bit floating-point values"),
        ({"dtype": "i1"}, "signed values"),
        ({"compression": "jpegxl"}, r"its compression \(JPEG XL\)"),
        ({"compression": "webp"}, r"its compression \(WebP\)"),
    ],
)
def test_what_is_not_supported_is_not_called_truncated(options: dict[str, Any], words: str) -> None:
    tifffile: Any = pytest.importorskip("tifffile", reason="needs tifffile; install pixelwise[tiff]")
    pytest.importorskip("imagecodecs", reason="needs imagecodecs; install pixelwise[tiff]")
    buffer = io.BytesIO()
    dtype = options.pop("dtype", None)
    tifffile.imwrite(buffer, RGB if dtype is None else RGB[:, :, 0].astype(dtype), **options)
    with pytest.raises(ImageError, match=words) as caught:
        decode_image(buffer.getvalue(), "x")
    assert "truncated" not in str(caught.value)


def test_a_bigtiff_that_points_past_its_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.tif"
    path.write_bytes(b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63))
    assert tiff_size(path) is None
    with pytest.raises(ImageError, match="its TIFF header cannot be read"):
        decode_image(path.read_bytes(), "x")
