"""Images and masks: what every format and mode becomes, what is refused, and that both survive a round trip.

Shapes: H, W height and width in pixels; h, w the same as stored, before the EXIF orientation is applied.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from pixelwise.errors import ImageError, MaskError, OutputError
from pixelwise.images import image_files, png_inflate
from pixelwise.images.files import check_png, write_whole
from pixelwise.images.orientation import ORIENTATION
from pixelwise.images.png_inflate import stored_pixels
from pixelwise.records import VOID, ClassList

CLASSES = ClassList(("a", "b", "c"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)))
RED = (255, 0, 0)


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def photo(height: int = 48, width: int = 64) -> Image.Image:
    """A smooth picture that compresses like a photo, different in every corner."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 12, (height, width))
    return Image.fromarray(np.stack([x * 3 % 256, y * 4 % 256, (x + y + noise) % 256], axis=-1).astype(np.uint8))


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(header: tuple[int, int, int, int], rows: bytes, *extra: bytes) -> bytes:
    """A PNG from (width, height, depth, colour type) and its unpacked rows, a filter byte each."""
    idat = png_chunk(b"IDAT", zlib.compress(rows))
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    return (
        image_files.encode_png(np.zeros((1, 1), np.uint8))[:8] + ihdr + b"".join(extra) + idat + png_chunk(b"IEND", b"")
    )


RED_FILES = {
    "PNG RGB": (lambda: encoded(Image.new("RGB", (8, 6), RED), "PNG"), 0),
    "PNG RGBA": (lambda: encoded(Image.new("RGBA", (8, 6), (*RED, 255)), "PNG"), 0),
    "PNG RGBA seen through": (lambda: encoded(Image.new("RGBA", (8, 6), (*RED, 40)), "PNG"), 0),
    "PNG palette": (lambda: encoded(Image.new("RGB", (8, 6), RED).convert("P"), "PNG"), 0),
    "PNG interlaced 16-bit": (lambda: png_of((8, 6, 16, 2), (b"\0" + b"\xff\xff\0\0\0\0" * 8) * 6), 0),
    "PNG 16-bit with alpha": (lambda: png_of((8, 6, 16, 6), (b"\0" + b"\xff\xff\0\0\0\0\x80\0" * 8) * 6), 0),
    "JPEG": (lambda: encoded(Image.new("RGB", (8, 6), RED), "JPEG", quality=95), 2),
    "JPEG progressive": (lambda: encoded(Image.new("RGB", (8, 6), RED), "JPEG", quality=95, progressive=True), 2),
    "JPEG CMYK": (lambda: encoded(Image.new("CMYK", (8, 6), (0, 255, 255, 0)), "JPEG", quality=95), 3),
    "WebP": (lambda: encoded(Image.new("RGB", (8, 6), RED), "WEBP", quality=95), 4),
    "WebP lossless": (lambda: encoded(Image.new("RGB", (8, 6), RED), "WEBP", lossless=True), 0),
    "BMP": (lambda: encoded(Image.new("RGB", (8, 6), RED), "BMP"), 0),
    "BMP palette": (lambda: encoded(Image.new("RGB", (8, 6), RED).convert("P"), "BMP"), 0),
    "TIFF": (lambda: encoded(Image.new("RGB", (8, 6), RED), "TIFF"), 0),
    "TIFF LZW": (lambda: encoded(Image.new("RGB", (8, 6), RED), "TIFF", compression="tiff_lzw"), 0),
    "TIFF 16-bit": (lambda: cv2.imencode(".tiff", np.full((6, 8, 3), (0, 0, 65535), np.uint16))[1].tobytes(), 0),
    "TIFF CMYK": (lambda: encoded(Image.new("CMYK", (8, 6), (0, 255, 255, 0)), "TIFF"), 0),
}


@pytest.mark.parametrize("name", RED_FILES)
def test_red_stays_red(name: str) -> None:
    make, tolerance = RED_FILES[name]
    rgb = image_files.decode_image(make(), name)
    assert rgb.shape == (6, 8, 3)
    assert rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - RED).max() <= tolerance


@pytest.mark.parametrize(
    ("image", "value"),
    [
        (Image.new("L", (4, 4), 77), 77),
        (Image.new("LA", (4, 4), (77, 10)), 77),
        (Image.new("1", (4, 4), 1), 255),
        (Image.new("I;16", (4, 4), 77 * 257), 77),
        (Image.new("I;16", (4, 4), 65535), 255),
        (Image.new("I;16", (4, 4), 128), 0),
        (Image.new("I;16", (4, 4), 129), 1),
    ],
)
@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_grey_fills_all_channels_and_16_bit_is_divided_by_257(image: Image.Image, value: int, format_name: str) -> None:
    rgb = image_files.decode_image(encoded(image, format_name), "grey")
    assert (rgb == value).all()


@pytest.mark.parametrize(("depth", "row", "value"), [(1, b"\xf0", 255), (2, b"\xaa", 170), (4, b"\x77\x77", 119)])
def test_narrow_grey_is_spread(depth: int, row: bytes, value: int) -> None:
    rgb = image_files.decode_image(png_of((4, 2, depth, 0), (b"\0" + row) * 2), "grey")
    assert (rgb == value).all()


@pytest.mark.parametrize("mode", ["F", "I"])
def test_values_without_a_known_range_are_refused(mode: str) -> None:
    with pytest.raises(ImageError, match="expected 8- or 16-bit"):
        image_files.decode_image(encoded(Image.new(mode, (4, 4)), "TIFF"), "x.tif")


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize(
    "chunks", [(), (b"pHYs", b"\0\0\x0b\x12\0\0\x0b\x12\x01"), (b"gAMA", struct.pack(">I", 100000))]
)
def test_the_fast_path_equals_pillow(mode: str, chunks: tuple[bytes, ...]) -> None:
    picture = photo().convert(mode)
    data = encoded(picture, "PNG")
    if chunks:
        data = data[:33] + png_chunk(*chunks) + data[33:]
    assert (image_files.decode_image(data, "x") == np.asarray(picture.convert("RGB"))).all()
    if mode != "RGBA":
        data = encoded(picture, "JPEG", quality=85, optimize=True)
        pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        assert np.abs(image_files.decode_image(data, "x") - pillow).max() <= 2


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 300), st.sampled_from(["L", "P", "RGB"]), st.integers(0, 4), st.booleans())
def test_stored_samples_are_pillows(height: int, width: int, mode: str, row_filter: int, noisy: bool) -> None:
    rng = np.random.default_rng(height * width)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    values = (rng.integers(0, 256, shape) if noisy else np.indices(shape).sum(axis=0) // 3 % 256).astype(np.uint8)
    raw = b"".join(bytes([row_filter]) + row.tobytes() for row in values)  # the filter makes other pixels of them
    palette = png_chunk(b"PLTE", bytes(768)) if mode == "P" else b""
    plain = png_of((width, height, 8, {"L": 0, "P": 3, "RGB": 2}[mode]), raw)
    data = plain[:33] + palette + plain[33:]
    expected = np.asarray(Image.open(io.BytesIO(data)))
    found = stored_pixels(data, check_png(data))
    assert found is not None
    assert (found == expected).all()
    if mode != "RGB":
        assert (image_files.decode_mask_ids(data, "x") == expected).all()


@pytest.mark.parametrize("colour", [0, 2])
def test_without_its_faster_hands_a_png_is_the_same(monkeypatch: pytest.MonkeyPatch, colour: int) -> None:
    data = encoded(photo().convert("L" if colour == 0 else "RGB"), "PNG")
    read = image_files.decode_mask_ids if colour == 0 else image_files.decode_image
    quick = read(data, "x")
    monkeypatch.setattr(png_inflate, "pyspng", None)
    assert (read(data, "x") == quick).all()
    monkeypatch.setattr(png_inflate, "isal_zlib", None)
    assert (read(data, "x") == quick).all()


@pytest.mark.parametrize("colour", [0, 2])
def test_a_row_filter_that_does_not_exist_is_an_error(colour: int) -> None:
    width = 9 * (3 if colour == 2 else 1)
    data = png_of((9, 4, 8, colour), (b"\7" + b"\1" * width) * 4)
    with pytest.raises((ImageError, MaskError), match="truncated or damaged"):
        (image_files.decode_image if colour == 2 else image_files.decode_mask_ids)(data, "x")


STORED_hw = np.arange(6, dtype=np.uint8).reshape(2, 3)  # every pixel its own id
UPRIGHT = {  # what a person sees, by EXIF 2.3's figure of the eight orientations
    1: [[0, 1, 2], [3, 4, 5]],
    2: [[2, 1, 0], [5, 4, 3]],
    3: [[5, 4, 3], [2, 1, 0]],
    4: [[3, 4, 5], [0, 1, 2]],
    5: [[0, 3], [1, 4], [2, 5]],
    6: [[3, 0], [4, 1], [5, 2]],
    7: [[5, 2], [4, 1], [3, 0]],
    8: [[2, 5], [1, 4], [0, 3]],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_exif_turns_image_and_mask_alike(orientation: int, image_format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    # Blocks of 16 px, so that JPEG's blocks do not mix them.
    blocks = np.kron(STORED_hw, np.ones((16, 16), np.uint8))
    picture = Image.fromarray(np.stack([blocks * 40] * 3, axis=-1))
    options = {"lossless": True} if image_format == "WEBP" else {}
    rgb = image_files.decode_image(encoded(picture, image_format, exif=exif, **options), "image")
    seen = np.round(rgb[8::16, 8::16, 0] / 40)
    assert seen.tolist() == UPRIGHT[orientation]
    for mask_format in ("PNG", "TIFF"):
        mask = image_files.decode_mask_ids(encoded(Image.fromarray(STORED_hw), mask_format, exif=exif), "mask")
        assert mask.tolist() == UPRIGHT[orientation]
        wide = Image.fromarray(STORED_hw.astype(np.uint16) * 257 * 40)
        rgb = image_files.decode_image(encoded(wide, mask_format, exif=exif), "16-bit")
        assert (rgb[:, :, 1] // 40).tolist() == UPRIGHT[orientation]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about that EXIF
def test_damaged_exif_does_not_hide_the_image() -> None:
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert image_files.decode_image(data, "x").shape == (48, 64, 3)


CUT_FORMATS = {
    "PNG": {},
    "JPEG": {"quality": 90},
    "progressive": {"progressive": True, "format": "JPEG"},
    "WEBP": {"quality": 80},
    "BMP": {},
    "TIFF": {},
    "deflated TIFF": {"compression": "tiff_adobe_deflate", "format": "TIFF"},
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about a cut TIFF's header
@pytest.mark.parametrize("name", CUT_FORMATS)
def test_a_file_cut_anywhere_is_an_error(name: str) -> None:
    options = {"format": name, **CUT_FORMATS[name]}
    data = encoded(photo(), str(options.pop("format")), **options)
    assert image_files.decode_image(data, "whole").shape == (48, 64, 3)
    lengths = {*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 8, len(data))}
    for length in sorted(lengths):
        with pytest.raises(ImageError, match=r"cut\.img: .*\."):
            image_files.decode_image(data[:length], "cut.img")


def test_16_bit_files_that_are_cut_are_errors() -> None:
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 2**16, (40, 40), np.uint16))
    for format_name in ("PNG", "TIFF"):
        data = encoded(wide, format_name)
        for length in range(len(data) // 2, len(data), 97):
            with pytest.raises(ImageError):
                image_files.decode_image(data[:length], "cut")


def test_one_flipped_byte_in_a_png_is_noticed() -> None:
    data = bytearray(encoded(photo(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError, match="checksum"):
        image_files.decode_image(bytes(data), "x")


def test_a_png_with_too_few_rows_is_an_error() -> None:
    with pytest.raises(ImageError, match="truncated"):
        image_files.decode_image(png_of((4, 9, 8, 2), (b"\0" + b"\1" * 12) * 4), "x")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"GIF89a" + b"\0" * 40, "damaged"),
        (b"8BPS" + b"\0" * 40, "Photoshop"),
        (b"<svg xmlns=''/>", "text file"),
        (b"hello", "not an image"),
        (b"\0" * 100, "nothing but zeros"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=words) as caught:
        image_files.read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(MaskError, match=words):
        image_files.read_mask_ids(path)


def test_paths_that_are_no_files_are_errors_and_never_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")
    for name, words in {
        ".": "a folder",
        "pipe.png": "a pipe",
        "loop.png": "cannot be read",
        "broken.png": "links to a file that does not exist",
        "none.png": "no such file",
        "nul\0.png": "cannot be read",
    }.items():
        with pytest.raises(ImageError, match=words):
            image_files.read_image(tmp_path / name)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(encoded(photo(), "PNG"))
    path.chmod(0)
    with pytest.raises(ImageError, match="permissions"):
        image_files.read_image(path)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = png_of((20_000, 10_000, 8, 0), b"\0")  # the pixels are not even there
    with pytest.raises(ImageError, match="100,000,000"):
        image_files.decode_image(bomb, "bomb.png")
    just_allowed = png_of((50_000, 2, 8, 0), (b"\0" + b"\7" * 50_000) * 2)
    assert image_files.decode_mask_ids(just_allowed, "wide.png").shape == (2, 50_000)


# ── masks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.integers(0, 255)))
def test_labels_survive_their_png(labels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    data = image_files.encode_label_png(labels, CLASSES)
    ids = image_files.decode_mask_ids(data, "mask.png")
    assert ids.dtype == np.uint8
    assert (ids == labels).all()
    colours = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (colours == CLASSES.palette()[labels]).all()


@settings(deadline=None, max_examples=40)
@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.integers(0, 65535)))
def test_16_bit_ids_survive(ids: np.ndarray[Any, np.dtype[np.uint16]]) -> None:
    assert (image_files.decode_mask_ids(image_files.encode_png(ids), "x") == ids).all()
    assert (image_files.decode_mask_ids(encoded(Image.fromarray(ids), "TIFF"), "x") == ids).all()


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "BMP"])
def test_grey_and_palette_masks_keep_their_numbers(format_name: str) -> None:
    ids = np.array([[0, 1, 2], [2, 255, 7]], np.uint8)
    assert (image_files.decode_mask_ids(encoded(Image.fromarray(ids), format_name), "x") == ids).all()
    palette = Image.fromarray(ids)
    palette.putpalette([(i * 37 + 5) % 256 for i in range(768)])
    assert (image_files.decode_mask_ids(encoded(palette, format_name), "x") == ids).all()
    bits = image_files.decode_mask_ids(encoded(Image.fromarray(ids > 1), format_name), "x")
    assert (bits == (ids > 1)).all()


@pytest.mark.parametrize(
    ("depth", "row", "ids"), [(1, b"\x50", [0, 1, 0, 1]), (2, b"\x1b", [0, 1, 2, 3]), (4, b"\x0f\x37", [0, 15, 3, 7])]
)
def test_narrow_masks_keep_their_numbers(depth: int, row: bytes, ids: list[int]) -> None:
    assert image_files.decode_mask_ids(png_of((4, 1, depth, 0), b"\0" + row), "x").tolist() == [ids]


def test_white_is_zero_tiffs_keep_their_numbers() -> None:
    entries = {256: 3, 257: 1, 258: 8, 259: 1, 262: 0, 273: 8, 277: 1, 278: 1, 279: 3}  # 262 = 0: white is zero
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in entries.items())
    data = b"II*\0" + struct.pack("<I", 12) + bytes([0, 1, 255]) + b"\0" + ifd + struct.pack("<I", 0)
    assert image_files.decode_mask_ids(data, "x").tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(
    ("image", "format_name", "words"),
    [
        (photo(), "PNG", "RGB image of .* colours"),
        (Image.new("RGB", (4, 4), (3, 3, 3)), "PNG", "three channels are equal"),
        (Image.new("L", (4, 4), 3), "JPEG", "JPEG alters class ids"),
        (Image.new("RGBA", (4, 4)), "PNG", "alpha"),
        (Image.new("LA", (4, 4)), "PNG", "alpha"),
        (Image.new("F", (4, 4)), "TIFF", "floating-point"),
        (Image.new("CMYK", (4, 4)), "TIFF", "CMYK"),
        (Image.new("RGB", (4, 4)), "WEBP", "lossy WebP"),
    ],
)
def test_what_holds_no_class_ids_is_refused(tmp_path: Path, image: Image.Image, format_name: str, words: str) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(encoded(image, format_name))
    with pytest.raises(MaskError, match=words) as caught:
        image_files.read_mask(path, {}, 3)
    assert "PNG" in str(caught.value)  # the remedy


def test_pages_are_not_guessed_at() -> None:
    data = encoded(Image.new("L", (4, 4)), "TIFF", save_all=True, append_images=[Image.new("L", (4, 4))])
    with pytest.raises(MaskError, match="2 pages"):
        image_files.decode_mask_ids(data, "x")


def test_read_mask_maps_ids_and_names_those_outside(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    image_files.write_png(path, np.array([[0, 1, 11], [255, 2, 2]], np.uint8))
    assert image_files.read_mask(path, {0: 2, 1: 1, 2: 0, 11: VOID, 255: VOID}, 3).tolist() == [
        [2, 1, 255],
        [255, 0, 0],
    ]
    with pytest.raises(MaskError, match=r"id 11 \(1 px\) outside the classes; known ids: 0–2, 255"):
        image_files.read_mask(path, {}, 3)
    with pytest.raises(MaskError, match=r"ids 2 \(2 px\), 11 \(1 px\)"):
        image_files.read_mask(path, {}, 2)
    image_files.write_png(path, np.array([[0, 1000]], np.uint16))
    assert image_files.read_mask(path, {0: 0, 1000: 1}, 2).tolist() == [[0, 1]]
    Image.fromarray(np.array([[0, 100_000]], np.int32)).save(path, "TIFF")
    assert image_files.read_mask(path, {0: 0, 100_000: 1}, 2).tolist() == [[0, 1]]
    with pytest.raises(MaskError, match="100000"):
        image_files.read_mask(path, {}, 2)


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_write_whole_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.bin"
    write_whole(path, b"one")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="Free disk space"):
        write_whole(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_outputs_that_cannot_be_written_say_why(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Create the folder"):
        write_whole(tmp_path / "none" / "x", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="A folder of that name exists"):
        write_whole(tmp_path / "folder", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder"]


def test_a_read_only_folder_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object) -> int:  # root may write everywhere, so a folder's permissions would not do
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(OutputError, match="mount it for writing"):
        write_whole(tmp_path / "x", b"")
    assert list(tmp_path.iterdir()) == []


def test_encode_png_takes_what_it_says_and_no_more() -> None:
    rgb = np.asarray(photo())
    assert (image_files.decode_image(image_files.encode_png(rgb), "x") == rgb).all()
    for wrong in (np.zeros((2, 2), np.float32), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2), np.uint8)):
        with pytest.raises(ValueError, match="expected"):
            image_files.encode_png(wrong)  # type: ignore[arg-type]
