"""Small files that ask a decoder for minutes of work or gigabytes of memory: name → bytes, built when asked for."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

EXIF = (
    b"II*\0\x08\0\0\0"
    + struct.pack("<H", 5000)
    + b"".join(struct.pack("<HHII", 1000 + i, 7, 60_000, 8) for i in range(5000))
)  # fmt: skip – tags that all point at the same bytes
BASE = ((256, 3, 1, 64), (257, 3, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1))
ROWS = (278, 3, 1, 64)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def zeros() -> bytes:
    return zlib.compress(bytes(200_000_000), 9)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(size: tuple[int, int], depth: int, colour: int, pixels: bytes, *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def small_png(*extra: bytes) -> bytes:
    return png((64, 64), 8, 2, zlib.compress(bytes(64 * 193)), *extra)


def jpeg(after_start: bytes = b"") -> bytes:
    whole = saved(Image.new("RGB", (400, 400), (9, 200, 30)), "JPEG", progressive=True)
    return whole[:2] + after_start + whole[2:]


def jpeg_of_scans(number: int, side: int = 1500) -> bytes:
    whole = saved(Image.new("L", (side, side), 77), "JPEG", progressive=True)
    return whole[:-2] + whole[whole.rfind(b"\xff\xda") : -2] * number + whole[-2:]


def jpeg_of_size(width: int, height: int) -> bytes:
    return saved(Image.new("L", (16, 16)), "JPEG").replace(
        struct.pack(">HH", 16, 16), struct.pack(">HH", height, width)
    )


def gif(frame: bytes = b"", before: bytes = b"", screen: tuple[int, int] = (8, 8), times: int = 1) -> bytes:
    return b"GIF89a" + struct.pack("<HH3x", *screen) + before + (frame or gif_frame(8, 8)) * times + b";"


def gif_frame(width: int, height: int, pixels: bytes = b"\2\2\x84\1\0") -> bytes:
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0x80) + bytes(6) + pixels


def bmp(size: tuple[int, int], bits: int, packing: int, pixels: bytes, palette: int = 0) -> bytes:
    offset = 54 + 4 * palette
    head = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, packing, len(pixels), 1, 1, palette, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + head + bytes(4 * palette) + pixels


def tga(kind: int, size: tuple[int, int], bits: int, pixels: bytes) -> bytes:
    return struct.pack("<BBBHHBHHHHBB", 0, 0, kind, 0, 0, 0, 0, 0, *size, bits, 0) + pixels


def tiff(*tags: tuple[int, int, int, int], after: bytes = b"", following: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + after


def strips(offset: int, length: int, number: int = 1) -> tuple[tuple[int, int, int, int], ...]:
    return (273, 4, number, offset), (279, 4, number, length)


def numpy_array(shape: str, dtype: str = "<u2") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x02\0" + struct.pack("<I", len(header)) + header + bytes(200)


def nifti(shape: tuple[int, ...], values: bytes = b"") -> bytes:
    """A compressed NIfTI-1 of int16."""
    head = (
        struct.pack("<i36x8h", 348, len(shape), *shape, *(1,) * (7 - len(shape)))
        + bytes(14)
        + struct.pack("<hh", 4, 16)
    )
    head += bytes(34) + struct.pack("<f", 352)
    return gzip.compress(head + bytes(344 - len(head)) + b"n+1\0" + bytes(4) + values, 1)


def tiff_of_pages(number: int, side: int = 0, bits: int = 0, kind: int = 0, parts: int = 1) -> bytes:
    """A page, and `number` further ones that all lie in the same bytes and may differ from it."""
    changed = {
        code: (code, 4, 1, value) for code, value in ((256, side), (257, side), (258, bits), (339, kind)) if value
    }
    tags = {tag[0]: tag for tag in (*BASE, ROWS, *strips(200, 512 * max(bits, 8), parts))} | changed
    page = tiff(*tags.values())[8:-4]
    step = len(page) + 4
    pages = b"".join(page + struct.pack("<I", 8 + (i + 1) * step) for i in range(number))
    return b"II*\0" + struct.pack("<I", 8) + pages + page + bytes(4 + 8192)


def webp(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def webp_canvas(width: int, height: int) -> bytes:
    whole = saved(Image.new("RGB", (8, 8)), "WEBP", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
    at = whole.index(b"VP8X") + 12
    return whole[:at] + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3] + whole[at + 6 :]


def jpeg2000(size: tuple[int, int] = (64, 64), tile: tuple[int, int] = (64, 64), layers: int = 1) -> bytes:
    whole = saved(Image.new("RGB", (64, 64)), "JPEG2000")
    at, cod = whole.index(b"\xff\x4f\xff\x51") + 8, whole.index(b"\xff\x52") + 6
    head = whole[:at] + struct.pack(">8I", *size, 0, 0, *tile, 0, 0)
    return head + whole[at + 32 : cod] + struct.pack(">H", layers) + whole[cod + 2 :]


def profile(content: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


BOMBS: dict[str, Callable[[], bytes]] = {
    "JPEG: 20,000 scans": lambda: jpeg_of_scans(20_000),
    "JPEG: 900 scans of a small file": lambda: jpeg_of_scans(900),
    "JPEG: 16 scans of 98 megapixels": lambda: jpeg_of_scans(10, 9900),
    "JPEG: two million restart markers": lambda: jpeg(b"\xff\xd0" * 2_000_000),
    "JPEG: five million fill bytes": lambda: jpeg(b"\xff" * 5_000_000),
    "JPEG: 300,000 comments": lambda: jpeg(b"\xff\xfe\0\3a" * 300_000),
    "JPEG: 60 EXIF segments of overlapping tags": lambda: jpeg(profile((b"Exif\0\0" + EXIF)[:65_000]) * 60),
    "JPEG: 60,000 pixels a side": lambda: jpeg_of_size(60_000, 60_000),
    "JPEG: 100 megapixels in 300 bytes": lambda: jpeg_of_size(10_000, 10_000),
    "JPEG: no height": lambda: jpeg_of_size(16, 0),
    "PNG: 300,000 chunks": lambda: small_png(chunk(b"teXt", b"x") * 300_000),
    "PNG: 300,000 empty pixel chunks": lambda: small_png(chunk(b"IDAT", b"") * 300_000),
    "PNG: a text that unpacks to 200 MB": lambda: small_png(chunk(b"zTXt", b"a\0\0" + zeros())),
    "PNG: EXIF in a text that unpacks": lambda: small_png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zeros())),
    "PNG: XMP that unpacks": lambda: small_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros())),
    "PNG: eight such texts": lambda: small_png(*[chunk(b"zTXt", b"a%d\0\0" % i + zeros()) for i in range(8)]),
    "PNG: a profile that unpacks": lambda: small_png(chunk(b"iCCP", b"p\0\0" + zeros())),
    "PNG: EXIF of overlapping tags": lambda: small_png(chunk(b"eXIf", EXIF)),
    "PNG: pixels that unpack, RGB": lambda: png((64, 64), 8, 2, zeros()),
    "PNG: pixels that unpack, grey": lambda: png((64, 64), 8, 0, zeros()),
    "PNG: pixels that unpack, palette": lambda: png((64, 64), 8, 3, zeros(), chunk(b"PLTE", bytes(768))),
    "PNG: pixels that unpack, alpha": lambda: png((64, 64), 8, 6, zeros()),
    "PNG: pixels that unpack, 16-bit": lambda: png((64, 64), 16, 2, zeros()),
    "PNG: 100 megapixels of nothing": lambda: png((10_000, 10_000), 8, 2, zlib.compress(bytes(1000))),
    "PNG: 100 megapixels of nothing, 16-bit": lambda: png((10_000, 10_000), 16, 6, zlib.compress(bytes(1000))),
    "PNG: 60,000 pixels a side": lambda: png((60_000, 60_000), 1, 0, zlib.compress(bytes(1000))),
    "PPM: a comment of 5 MB": lambda: b"P6\n#" + b"x" * 5_000_000 + b"\n8 8\n255\n" + bytes(192),
    "PPM: two million comments": lambda: b"P6\n" + b"#\n" * 2_000_000 + b"8 8\n255\n" + bytes(192),
    "PPM: five million spaces": lambda: b"P6\n" + b" " * 5_000_000 + b"8 8\n255\n" + bytes(192),
    "PPM: a number of five million digits": lambda: b"P2\n8 8\n" + b"9" * 5_000_000 + b"\n",
    "PPM: a value of five million digits": lambda: b"P2\n8 8\n255\n" + b"9" * 5_000_000 + b"\n",
    "PPM: five million values too many": lambda: b"P3\n8 8\n255\n" + b"9 " * 5_000_000,
    "PPM: 100 megapixels of nothing": lambda: b"P6\n10000 10000\n255\n",
    "PPM: no end of pixels": lambda: b"P6\n9999999999 9999999999\n255\n",
    "GIF: 100,000 frames": lambda: gif(times=100_000),
    "GIF: a comment of two million blocks": lambda: gif(before=b"!\xfe" + b"\1a" * 2_000_000 + b"\0"),
    "GIF: pixels in a million blocks": lambda: gif(gif_frame(1000, 1000, b"\2" + b"\1\xaa" * 1_000_000 + b"\0")),
    "GIF: a screen of 65,535 pixels a side": lambda: gif(screen=(65_535, 65_535)),
    "GIF: a frame of 65,535 pixels a side": lambda: gif(gif_frame(65_535, 65_535)),
    "BMP: a run-length coded row of 100 million": lambda: bmp((100_000_000, 1), 8, 1, b"\0\0\0\1", 256),
    "BMP: a run-length coded row of 16 million": lambda: bmp((16_000_000, 1), 8, 1, b"\0\0\0\1", 256),
    "BMP: jumps": lambda: bmp((2000, 2000), 8, 1, b"\0\2\xff\xff" * 4000 + b"\0\1", 256),
    "BMP: a negative width": lambda: bmp((-5, 2**31 - 1), 24, 0, b""),
    "BMP: 100 megapixels of nothing": lambda: bmp((10_000, 10_000), 24, 0, b""),
    "TGA: 100 megapixels of a few runs": lambda: tga(10, (10_000, 10_000), 24, b"\xff\1\2\3" * 100),
    "TGA: 65,535 pixels a side": lambda: tga(2, (65_535, 65_535), 32, b""),
    "TIFF: a million strips": lambda: tiff(*BASE, (278, 3, 1, 1), *strips(122, 122, 1_000_000), after=bytes(4_000_000)),
    "TIFF: four billion strips": lambda: tiff(*BASE, ROWS, *strips(8, 8, 2**32 - 1), after=bytes(8192)),
    "TIFF: pages in a circle": lambda: tiff(*BASE, ROWS, *strips(200, 4096), after=bytes(8192), following=8),
    "TIFF: 100,000 pages": lambda: tiff_of_pages(100_000),
    "TIFF: tags that overlap": lambda: tiff(
        *BASE, ROWS, *strips(60_000, 4096), *[(1000 + i, 7, 3_000_000, 8) for i in range(3000)], after=bytes(4_000_000)
    ),
    "TIFF: 60,000 tags": lambda: tiff(*BASE, ROWS, *[(1000 + i % 60_000, 3, 1, 8) for i in range(60_000)]),
    "TIFF: a tile of 60,000 pixels a side": lambda: tiff(
        *BASE, (322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, 200), (325, 4, 1, 4096), after=bytes(8192)
    ),
    "TIFF: one strip of many": lambda: tiff(
        *BASE[:1], (257, 4, 1, 500_000), *BASE[2:], ROWS, *strips(200, 4096), after=bytes(8192)
    ),
    "TIFF: a strip that unpacks": lambda: tiff(
        *BASE[:3], (259, 3, 1, 8), *BASE[4:], ROWS, *strips(122, len(zeros())), after=zeros()
    ),
    "TIFF: 900 pages of 12-bit floats": lambda: tiff_of_pages(900, bits=12, kind=3),
    "TIFF: 900 pages of a gigapixel": lambda: tiff_of_pages(900, side=30_000),
    "TIFF: a page of a million strips after the first": lambda: tiff_of_pages(1, parts=1_000_000),
    "TIFF: 16-bit, a strip that unpacks": lambda: tiff(
        *BASE[:2], (258, 3, 1, 16), (259, 3, 1, 8), *BASE[4:], ROWS, *strips(122, len(zeros())), after=zeros()
    ),
    "NumPy: 10 billion values": lambda: numpy_array("(99999, 99999)"),
    "NumPy: 10,000 axes": lambda: numpy_array(str((1,) * 10_000)),
    "NumPy: nested brackets": lambda: numpy_array("(" * 30_000 + "1" + ",)" * 30_000),
    "NumPy: Python objects": lambda: numpy_array("(2, 2)", "|O"),
    "NIfTI: a terabyte in a gzip": lambda: nifti((32_000, 32_000, 1, 500)),
    "NIfTI: a gzip that unpacks": lambda: nifti((64, 64, 1), bytes(50_000_000)),
    "BigTIFF: a directory beyond the end": lambda: b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63),
    "BigTIFF: no end of tags": lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63),
    "WebP: 300,000 chunks": lambda: webp(
        saved(Image.new("RGB", (64, 64)), "WEBP")[12:] + b"ABCD\2\0\0\0xx" * 300_000
    ),
    "WebP: a canvas of 98 megapixels": lambda: webp_canvas(9900, 9900),
    "WebP: a canvas of 268 megapixels": lambda: webp_canvas(16_383, 16_383),
    "WebP: EXIF of overlapping tags": lambda: saved(Image.new("RGB", (64, 64)), "WEBP", exif=EXIF),
    "JPEG 2000: a tile a pixel": lambda: jpeg2000((9000, 9000), (1, 1)),
    "JPEG 2000: 65,535 layers": lambda: jpeg2000(layers=65_535),
    "JPEG 2000: 100 megapixels of nothing": lambda: jpeg2000((9999, 9999), (9999, 9999)),
}  # fmt: skip


def valid_files() -> dict[str, list[bytes]]:
    """A few small sound files of every kind, to be damaged."""
    rng = np.random.default_rng(1)
    rgba = rng.integers(0, 256, (24, 32, 4), dtype=np.uint8)
    rgb, grey = Image.fromarray(rgba[:, :, :3]), Image.fromarray(rgba[:, :, 0])
    alpha, wide = Image.fromarray(rgba), Image.fromarray(rgba[:, :, 0].astype(np.uint16) * 257)
    palette, bilevel = Image.fromarray(rgba[:, :, 0] // 64).convert("P"), grey.convert("1")
    return {
        "PNG": [saved(one, "PNG") for one in (rgb, alpha, grey, palette, wide, bilevel)],
        "JPEG": [saved(rgb, "JPEG"), saved(rgb, "JPEG", progressive=True), saved(rgb.convert("CMYK"), "JPEG")],
        "WebP": [saved(rgb, "WEBP"), saved(alpha, "WEBP", lossless=True)],
        "BMP": [saved(rgb, "BMP"), saved(palette, "BMP")],
        "TIFF": [
            saved(rgb, "TIFF"),
            saved(grey, "TIFF", compression="tiff_lzw"),
            saved(rgb, "TIFF", compression="jpeg"),
            saved(bilevel, "TIFF", compression="group4"),
            saved(alpha, "TIFF", save_all=True, append_images=[alpha]),
        ],
        "PNM": [
            saved(rgb, "PPM"),
            b"P2\n4 3\n99\n" + b"1 2 3 4 " * 3,
            b"P5\n4 3\n65535\n" + bytes(24),
            b"P1\n2 1\n0 1\n",
        ],
        "GIF": [saved(palette, "GIF"), saved(palette, "GIF", save_all=True, append_images=[palette.rotate(90)])],
        "AVIF": [saved(rgb, "AVIF"), saved(alpha, "AVIF")],
        "JPEG 2000": [saved(rgb, "JPEG2000"), saved(grey, "JPEG2000")],
        "NumPy": [numpy_array("(4, 5, 3)"), numpy_array("(10, 10)", "<f2")],
        "NIfTI": [nifti((8, 6, 1, 2), bytes(192)), gzip.decompress(nifti((8, 6), bytes(96)))],
        "TIFF of bands": [
            tiff_of_pages(2),
            tiff_of_pages(2, bits=16),
            saved(wide, "TIFF", compression="tiff_lzw"),
            saved(wide, "TIFF", save_all=True, append_images=[wide]),
        ],
        "TGA": [saved(rgb, "TGA"), saved(alpha, "TGA", compression="tga_rle"), saved(grey, "TGA")],
    }
