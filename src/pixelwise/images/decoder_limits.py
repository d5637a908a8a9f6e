"""Limits on decoder work, computed from a file's bytes. Files beyond them are rejected before a decoder runs.

A file of a few kilobytes can cost minutes of work or gigabytes of memory without holding a large image: a JPEG with
20,000 empty scans, a JPEG 2000 image with a million packets per tile, comments in one-byte pieces. This module decodes
no pixels. Every message states the number, the limit and a remedy.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from pixelwise.images.files import PNG_MAGIC, STREAMED, Refusal, truncated

MAX_PIXELS = 100_000_000  # an RGB image of 300 MB; larger ones are refused before decoding
REDUCE = f"Cut it into tiles, or make it smaller. {STREAMED}"
MOST_SCANS = 1000
MOST_SCANNED = 1_200_000_000  # scans × pixels of a JPEG: each scan visits every pixel
FREELY_SCANNED, SCANNED_A_BYTE = 400_000_000, 2000  # for small files: real scans hold data
PIXELS_A_BYTE = 512  # maximum of a JPEG: one bit per 8 × 8 block
MOST_SEGMENTS = 10_000
MANY_SEGMENTS = 64  # of a JPEG: beyond this, needless segments are removed before Pillow joins them
MOST_BLOCKS = 200_000  # of a GIF's extensions, up to the first picture
MUCH_LARGER, FREE_CANVAS = 4, 4_000_000  # a WebP's canvas relative to its first frame; pixels allowed anyway
MOST_FRAMES = 1000  # counting stops here
MOST_PACKETS = 1_000_000  # of a JPEG 2000 image
MOST_PACKED_PIXELS = 16_000_000  # of a run-length encoded BMP: Pillow decodes it slowly
RESAVE = "Open it in an image editor and save it again as PNG."
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in entropy-coded data, where FF is stuffed
NO_FILL = re.compile(rb"[^\xff]")
UNREAD_FRAMES = {
    0xC3: "lossless",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical"),
    0xCB: "lossless",
}
FRAME_HEADERS = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))
KEPT_IN_PNG = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
KEPT_IN_JPEG = frozenset((0xE0, 0xEE))  # JFIF and Adobe, which define the colours
MAX_EXIF = 1 << 20


def refuse_large(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        what = f"{width}×{height} is {width * height:,} pixels; the limit is {MAX_PIXELS:,}."
        raise Refusal("too-large", what, REDUCE)


def check_jpeg(data: bytes) -> None:
    """Raise Refusal unless the JPEG's pixel data ends with its end marker and has no more scans than the limit.

    In entropy-coded data every FF is stuffed, so an end marker after the start of the first scan is genuine. The end
    marker of an embedded thumbnail comes earlier.
    """
    pixels, arithmetic = 0, False
    for marker, at, _stop in jpeg_segments(data):
        if marker == 0xF7:
            raise Refusal(
                "unread-kind", "is a JPEG-LS image; expected a baseline or progressive JPEG.", "Convert it to PNG."
            )
        if marker in FRAME_HEADERS and at + 9 <= len(data):
            bits, height, width = struct.unpack_from(">BHH", data, at + 4)
            if marker in UNREAD_FRAMES or bits != 8:
                kind = UNREAD_FRAMES.get(marker, f"{bits}-bit")
                raise Refusal("unread-kind", f"is a {kind} JPEG; expected 8 bits.", "Convert it to PNG.")
            refuse_large(width, height)
            pixels, arithmetic = height * width, marker >= 0xC8
        if marker == 0xDA:
            if data.rfind(b"\xff\xd9", at) < 0:
                raise truncated("its end marker is missing")
            if len(data) - at < pixels // PIXELS_A_BYTE and not arithmetic:
                raise truncated(f"{len(data) - at} bytes cannot hold its {pixels:,} pixels")
            most = min(MOST_SCANS, MOST_SCANNED // max(pixels, 1))
            freely = max(FREELY_SCANNED, SCANNED_A_BYTE * len(data)) // max(pixels, 1)
            if data.count(b"\xff\xda", at) > min(most, freely):
                _check_scans(data, at, min(most, freely))
            return
    raise truncated("it ends before its pixels begin")


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """A JPEG's segments up to its first scan: marker, start, end. Raises Refusal."""
    at = 2
    for number in range(MOST_SEGMENTS + 1):
        if number == MOST_SEGMENTS:
            raise Refusal("too-many-chunks", f"holds more than {MOST_SEGMENTS:,} segments; that is the limit.", RESAVE)
        if at + 4 > len(data):
            return
        if data[at] != 0xFF:
            raise truncated(f"no marker at byte {at}")
        filled = NO_FILL.search(data, at)
        at = filled.start() - 1 if filled else len(data) - 1
        marker = data[at + 1] if filled else 0
        plain = marker in (0, 1) or 0xD0 <= marker <= 0xD8  # markers without a length
        stop = at + 2 if plain else at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at, stop
        if marker == 0xDA:
            return
        at = stop


def _check_scans(data: bytes, at: int, limit: int) -> None:
    """Count the scans from the first one at `at` to the end marker. Raises Refusal for more than `limit`."""
    scans = 0
    while at + 4 <= len(data) and data[at + 1] != 0xD9:
        scans += data[at + 1] == 0xDA
        if scans > limit:
            total = data.count(b"\xff\xda", at) + scans - 1
            what = f"is a JPEG of {total:,} scans; at its size the limit is {limit:,}."
            raise Refusal("too-many-scans", what, RESAVE)
        found = MARKER.search(data, at + 2 + int.from_bytes(data[at + 2 : at + 4], "big"))
        if found is None:
            return
        at = found.start()


def lean_jpeg(data: bytes) -> bytes:
    """The JPEG, without fill bytes and needless segments if it has many: they slow down Pillow's parser."""
    segments = list(jpeg_segments(data))
    sizes = sum(stop - at for _, at, stop in segments)
    filled = segments[-1][2] - 2 - sizes
    if len(segments) <= MANY_SEGMENTS and filled <= MANY_SEGMENTS:
        return data
    exif = next((at for marker, at, _ in segments if marker == 0xE1 and data[at + 4 : at + 8] == b"Exif"), -1)
    kept = [
        data[at:stop]
        for marker, at, stop in segments[:-1]
        if not (marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in KEPT_IN_JPEG)) or at == exif
    ]
    return b"".join((data[:2], *kept, data[segments[-1][1] :]))


def lean_png(data: bytes) -> bytes:
    """The PNG without chunks that affect no pixel: profiles and texts can be decompression bombs. Keeps small EXIF."""
    kept = [PNG_MAGIC]
    at = len(PNG_MAGIC)
    while at + 12 <= len(data):
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        if name in KEPT_IN_PNG or (name == b"eXIf" and stop - at <= MAX_EXIF):
            kept.append(data[at:stop])
        if name == b"IEND":
            break
        at = stop
    return b"".join(kept)


def check_webp(data: bytes) -> int:
    """Return the number of pictures of a WebP. Raises Refusal unless it is as long as its header states."""
    expected = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < expected:
        raise truncated(f"{len(data)} of {expected} bytes")
    at, frames = 12, 0
    canvas = _three_bytes(data, 24) * _three_bytes(data, 27) if data[12:16] == b"VP8X" else 0
    for number in range(MOST_SEGMENTS + 1):
        if at + 8 > min(len(data), expected):
            break
        if number == MOST_SEGMENTS:
            raise Refusal("too-many-chunks", f"holds more than {MOST_SEGMENTS:,} chunks; that is the limit.", RESAVE)
        if data[at : at + 4] == b"ANMF":
            picture = _three_bytes(data, at + 14) * _three_bytes(data, at + 17)
            if not frames and canvas > max(MUCH_LARGER * picture, FREE_CANVAS):
                what = f"its canvas of {canvas:,} pixels is far larger than its first frame of {picture:,}."
                raise Refusal("too-large", what, RESAVE)
            frames += 1
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return max(frames, 1)


def _three_bytes(data: bytes, at: int) -> int:
    """A side length, which WebP stores minus one."""
    return int.from_bytes(data[at : at + 3], "little") + 1


def first_of_gif(data: bytes) -> tuple[bytes, int]:
    """The GIF reduced to its first picture, without comments; and the number of pictures, up to MOST_FRAMES + 1.

    Raises:
        Refusal: it ends within its first picture, or has more blocks than the limit.
    """
    if len(data) < 13:
        raise truncated("it ends inside its header")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    head = data[:at]
    first, control, frames, blocks = b"", b"", 0, 0
    while at < len(data) and frames <= MOST_FRAMES:
        kind, begin = data[at], at
        if kind == 0x3B:  # the trailer
            break
        if kind == 0x21 and at + 2 <= len(data):
            at += 2
        elif kind == 0x2C and at + 10 <= len(data):
            at += 11 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0)
        elif first:
            break  # not part of the first picture
        else:
            raise truncated(f"no block begins at byte {at}")
        while at < len(data) and data[at]:
            at += data[at] + 1
            blocks += 1
            if blocks > MOST_BLOCKS and not first and kind == 0x21:
                what = f"holds more than {MOST_BLOCKS:,} blocks before its first picture; that is the limit."
                raise Refusal("too-many-chunks", what, RESAVE)
        at += 1
        if kind == 0x2C:
            frames += 1
            if not first:
                if at > len(data):
                    raise truncated("it ends inside its first picture")
                first = control + data[begin:at]
        elif data[begin + 1] == 0xF9 and not first:
            control = data[begin:at]  # the transparent colour
        if first and blocks > MOST_BLOCKS:
            break
    if not first:
        raise truncated("it holds no picture")
    return head + first + b";", frames


def check_bmp(data: bytes) -> None:
    """Raise Refusal for a run-length encoded BMP with too many pixels."""
    if len(data) >= 34 and int.from_bytes(data[14:18], "little") >= 40:
        width, height, _, _, packing = struct.unpack_from("<iiHHI", data, 18)
        if packing in (1, 2) and abs(width * height) > MOST_PACKED_PIXELS:
            what = f"is a run-length coded BMP of {abs(width * height):,} pixels; the limit is {MOST_PACKED_PIXELS:,}."
            raise Refusal("too-large", what, RESAVE)


def check_jpeg2000(data: bytes) -> tuple[bool, int]:
    """Return whether a JPEG 2000 image may be lossy, and its bits per sample. Raises Refusal for more packets than
    the limit.

    Format: ISO/IEC 15444-1, annex A: SIZ holds the size and tiles; COD the layers, levels and precincts.
    """
    at = 0 if data.startswith(b"\xff\x4f") else data.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(data) < at + 46:
        raise truncated("it holds no codestream")
    x1, y1, x0, y0, tile_w, tile_h, _, _, bands = struct.unpack_from(">8IH", data, at + 8)
    width, height, bits = x1 - x0, y1 - y0, (data[at + 42] & 0x7F) + 1
    if width < 1 or height < 1 or not tile_w or not tile_h or not 1 <= bands <= 16384:
        raise truncated(f"its header states {width}×{height} pixels in tiles of {tile_w}×{tile_h}")
    if bands > 4:
        what = f"holds {bands} bands; expected 1 (grey), 3 (RGB) or 4 (RGB and alpha)."
        raise Refusal("bands", what, "Choose the bands to display, and save them as RGB.")
    tiles = -(-x1 // tile_w) * -(-y1 // tile_h)
    at += 2
    layers, levels, smallest, lossy = 1, 5, 15, True
    for _ in range(MOST_SEGMENTS):
        if at + 4 > len(data) or data[at + 1] == 0x90:  # the first tile's part
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0x52 and at + 14 <= len(data):  # COD
            body = data[at + 4 : at + 2 + length]
            layers, levels, lossy = int.from_bytes(body[2:4], "big"), body[5], body[9] == 0
            smallest = min((min(size & 15, size >> 4) for size in body[10:] if body[0] & 1), default=15)
        at += 2 + length
    area = 1 << 2 * smallest
    precincts = sum(max((width >> level) * (height >> level) // area, 1) for level in range(min(levels, 32) + 1))
    packets = layers * bands * max(tiles * (levels + 1), precincts)
    if packets > MOST_PACKETS:
        what = f"is a JPEG 2000 image of about {packets:,} packets; the limit is {MOST_PACKETS:,}."
        raise Refusal("too-many-chunks", what, RESAVE)
    return lossy, bits
