"""Check a TIFF's directories before a decoder runs. No pixels are read.

Decoders trust directories: tags that all point to the same megabytes, a million strips, tiles of gigabytes, circular
directory chains. So they are parsed here, within limits.

Format: TIFF 6.0 (Adobe, 1992), section 2; BigTIFF: libtiff.gitlab.io/libtiff/specification/bigtiff.html.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pixelwise.images.files import READ_ONLY, Refusal, truncated

KIND, WIDTH, HEIGHT, BITS, PACKING, SAMPLES, FORMAT = 254, 256, 257, 258, 259, 277, 339  # tags
COLOURS, ORIENTATION = 262, 274
STRIPS, STRIP_ROWS, PLANES, TILE_WIDTH, TILE_HEIGHT, TILES = 273, 278, 284, 322, 323, 324
STRIP_SIZES, TILE_SIZES = 279, 325  # bytes of each; 0 in a sparse file
WORDS = {270: "its description", 42112: "its description of the bands", 42113: "its no-data value"}  # texts
REDUCED, MASK = (
    1,
    4,
)  # bits of KIND: a reduced copy of another page, as in a COG; a transparency mask
MOST_TAGS = 4096
MOST_PAGES = 1000  # counting stops here
MOST_PARTS = 65_536  # strips or tiles, if all are decoded at once
MOST_STREAMED_PARTS = 1 << 23
MAX_TILE_BYTES = 1 << 26  # of a tile that is larger than the image
READ_BANDS = (1, 3, 4)
PACKINGS = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677)  # always decoded
RARE = {  # compression → name, of the optional ones
    34712: "JPEG 2000", 33003: "JPEG 2000", 33005: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 34933: "PNG",
    34934: "JPEG XR", 22610: "JPEG XR", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
RARE_REMEDY = "Save it with another compression, for example: gdal_translate -of COG -co COMPRESS=DEFLATE IN OUT"
SIGNED, FLOAT, COMPLEX = (2,), (3,), (5, 6)  # sample formats
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
LETTERS = {3: "H", 4: "I", 16: "Q"}  # integer types → struct format
MOST_TEXT, MOST_NUMBERS = 1 << 20, 4096  # of a tag that is read: longer ones count as missing
HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
RESAVE = "Save it again with larger tiles or strips, for example: gdal_translate -of COG IN OUT"

Read = Callable[[int, int], bytes]  # (offset, length) → bytes; fewer, or none, at the end of the file


class Tag(NamedTuple):
    """One entry of a directory."""

    kind: int
    number: int
    place: int  # file offset of the first value


class Directory(NamedTuple):
    """One page's directory."""

    tags: dict[int, Tag]
    after: int  # offset of the next; 0 for the last


class TiffFile(NamedTuple):
    """A TIFF with its header read."""

    read: Read
    size: int  # bytes
    order: str  # "<" or ">"
    big: bool
    start: int  # offset of the first directory

    def number(self, directory: Directory, code: int, otherwise: int) -> int:
        """The first number of a tag; `otherwise` if it is missing. Raises struct.error if the file is truncated."""
        tag = directory.tags.get(code)
        letter = LETTERS.get(tag.kind) if tag else None
        if tag is None or letter is None or not tag.number:
            return otherwise
        return int(struct.unpack(self.order + letter, self.read(tag.place, struct.calcsize(letter)))[0])

    def directory(self, at: int, most: int = MOST_TAGS) -> Directory:
        """The directory at an offset. Raises struct.error if the file is truncated, Refusal for too many tags."""
        head, entry, offset = (8, 20, "Q") if self.big else (2, 12, "I")
        (count,) = struct.unpack(self.order + ("Q" if self.big else "H"), self.read(at, head))
        if count > MOST_TAGS and not self.big:
            what = f"its first page has {count:,} tags; the limit is {MOST_TAGS:,}."
            raise Refusal("too-many-tags", what, "Save it again as TIFF, or convert it to PNG.")
        if count > MOST_TAGS:
            raise truncated(f"its directory claims to hold {count} tags")
        step = entry - struct.calcsize(offset)
        table = self.read(at + head, entry * count)
        tags: dict[int, Tag] = {}
        for i in range(min(count, most)):
            code, kind, number = struct.unpack_from(self.order + "HH" + offset, table, i * entry)
            place = at + head + i * entry + step
            if SIZES.get(kind, 1) * number > entry - step:  # the values are stored elsewhere
                (place,) = struct.unpack_from(self.order + offset, table, i * entry + step)
            tags.setdefault(code, Tag(kind, number, place))
        after = struct.unpack(self.order + offset, self.read(at + head + entry * count, struct.calcsize(offset)))
        return Directory(tags, int(after[0]))

    def first(self) -> Directory:
        return self.directory(self.start)


def tiff_file(read: Read, size: int) -> TiffFile:
    """Read a TIFF's header. Raises struct.error if the file is truncated or not a TIFF."""
    head = read(0, 16)
    if head[:4] not in HEADS:
        raise struct.error("no TIFF")
    order, big = "<" if head[:1] == b"I" else ">", b"+" in head[:4]
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    return TiffFile(read, size, order, big, start)


def tag_text(file: TiffFile, page: Directory, code: int) -> str:
    """The text of a tag; "" if it is missing or too long."""
    tag = page.tags.get(code)
    if tag is None or tag.number > MOST_TEXT:
        return ""
    return file.read(tag.place, tag.number).decode("utf-8", "replace")


def tag_numbers(file: TiffFile, page: Directory, code: int) -> list[float]:
    """The numbers of a tag: integers, fractions or floats; none if it is missing or too long.

    Raises struct.error if the file is truncated.
    """
    tag = page.tags.get(code)
    if tag is None or tag.number > MOST_NUMBERS:
        return []
    letter = {3: "H", 4: "I", 5: "II", 11: "f", 12: "d"}.get(tag.kind)
    if letter is None:
        return []
    stored = file.read(tag.place, SIZES[tag.kind] * tag.number)
    rows = struct.iter_unpack(file.order + letter, stored)
    return [row[0] / row[1] if len(row) == 2 and row[1] else float(row[0]) for row in rows]


def tiff_bytes(data: bytes) -> TiffFile:
    """A TIFF in memory. Raises as `tiff_file`."""
    return tiff_file(lambda at, length: data[at : at + length], len(data))


def check_tiff(file: TiffFile, *, streamed: bool = False) -> None:
    """Refuse a first page whose decoding costs far more than its pixels justify.

    Args:
        streamed: tiles are decoded one by one, so more are allowed.

    Raises:
        Refusal: it is damaged, has too many tags, strips or tiles, tags that overlap, or tiles larger than the image.
    """
    try:
        page = file.first()
        width, height = file.number(page, WIDTH, 0), file.number(page, HEIGHT, 0)
        tile = file.number(page, TILE_WIDTH, 0), file.number(page, TILE_HEIGHT, 0)
        sample_bytes = file.number(page, SAMPLES, 1) * max(file.number(page, BITS, 1), 8) // 8
        expected = _parts_expected(file, page, (width, height), tile)
    except struct.error as error:
        raise truncated("its TIFF header cannot be read") from error
    inside = [SIZES.get(tag.kind, 1) * tag.number for tag in page.tags.values()]
    inside = [size for size in inside if size <= file.size]
    if sum(inside) > 2 * file.size + (1 << 20):
        what = f"its tags hold {sum(inside):,} bytes, the file has {file.size:,}: they overlap."
        raise Refusal("overlapping-tags", what, "Save it again as TIFF, or convert it to PNG.")
    for code, name in WORDS.items():
        tag = page.tags.get(code)
        if tag is not None and tag.place + tag.number > file.size:
            raise truncated(f"{name} lies beyond its end")
    parts = max(page.tags[code].number if code in page.tags else 0 for code in (STRIPS, TILES))
    limit = MOST_STREAMED_PARTS if streamed else MOST_PARTS
    if parts > limit:
        what = f"its pixels are in {parts:,} strips or tiles; the limit is {limit:,}."
        raise Refusal("too-many-parts", what, RESAVE)
    if parts and parts < expected:
        raise truncated(f"it lists {parts:,} of its {expected:,} strips or tiles")
    tile_bytes = tile[0] * tile[1] * sample_bytes
    if tile_bytes > max(MAX_TILE_BYTES, 6 * width * height * sample_bytes) and TILES in page.tags:
        what = f"its tiles of {tile[0]}×{tile[1]} pixels are far larger than the image ({width}×{height})."
        raise Refusal("too-large", what, RESAVE)


def _parts_expected(file: TiffFile, page: Directory, size: tuple[int, int], tile: tuple[int, int]) -> int:
    """The number of strips or tiles that cover a page of this size (width, height). Raises struct.error."""
    planes = file.number(page, SAMPLES, 1) if file.number(page, PLANES, 1) == 2 else 1
    if TILES in page.tags:
        return planes * math.prod(-(-side // part) for side, part in zip(size, tile, strict=True) if part)
    return planes * -(-size[1] // max(file.number(page, STRIP_ROWS, size[1]), 1))


def pages_of(file: TiffFile) -> int:
    """The number of pictures in a TIFF, up to MOST_PAGES + 1, without reduced copies and transparency masks."""
    at, pages = file.start, 0
    visited: set[int] = set()
    while at and at not in visited and pages <= MOST_PAGES and len(visited) <= 4 * MOST_PAGES:
        visited.add(at)
        try:
            page = file.directory(at, 4)
            pages += not file.number(page, KIND, 0) & (REDUCED | MASK)
        except (struct.error, Refusal):  # a damaged later page does not affect the first
            break
        at = page.after
    return max(pages, 1)


def chain_is_cut(file: TiffFile) -> bool:
    """Whether a page after the first lies, wholly or in part, beyond the end of the file."""
    at, visited = file.start, set[int]()
    while at and at not in visited and len(visited) <= 4 * MOST_PAGES:
        visited.add(at)
        try:
            at = file.directory(at, 4).after
        except struct.error:
            return True
        except Refusal:  # damaged, not cut
            return False
    return False


def picture_of(file: TiffFile) -> tuple[int, int, int] | None:
    """Height, width and bands (1 grey, 3 colour) of a TIFF of one page of at most 8 bits that `decode` reads without
    loss: grey, palette, RGB or CMYK, upright; None for others. Raises struct.error, Refusal."""
    page = file.first()
    bits, samples, kind, colours = (
        file.number(page, code, otherwise) for code, otherwise in ((BITS, 1), (SAMPLES, 1), (FORMAT, 1), (COLOURS, 1))
    )
    expected = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}.get(colours)
    if bits > 8 or kind != 1 or samples != expected or pages_of(file) > 1:
        return None
    height, width = file.number(page, HEIGHT, 0), file.number(page, WIDTH, 0)
    if not height or not width:
        raise truncated(f"its header states {width}×{height} pixels")
    upright = (width, height) if 5 <= file.number(page, ORIENTATION, 1) <= 8 else (height, width)
    return (*upright, 1 if colours in (0, 1) else 3)


def refuse_unread_tiff(file: TiffFile) -> None:
    """Raise Refusal if the header shows why decoders do not support this TIFF."""
    try:
        page = file.first()
        bands, bits, packing, kind = (
            file.number(page, code, otherwise)
            for code, otherwise in ((SAMPLES, 1), (BITS, 1), (PACKING, 1), (FORMAT, 1))
        )
    except struct.error:
        return
    if bands not in READ_BANDS:
        what = f"holds {bands} bands of {bits} bits; expected 1 (grey), 3 (RGB) or 4 (RGB and alpha)."
        raise Refusal("bands", what, "Choose three bands to show, and save them as RGB.")
    if kind in (*SIGNED, *FLOAT, *COMPLEX) or bits not in (1, 2, 4, 8, 16):
        name = (
            "floating-point" if kind in FLOAT else "complex" if kind in COMPLEX else "signed" if kind in SIGNED else ""
        )
        what = f"holds {bits}-bit {name} values".replace("  ", " ") + "; expected 8- or 16-bit grey or colour."
        raise Refusal("unread-kind", what, "Export it as 8- or 16-bit, scaled as it should be displayed.")
    if packing not in PACKINGS:
        name = RARE.get(packing, f"number {packing}")
        raise Refusal("unread-kind", f"its compression ({name}) cannot be decoded here.", RARE_REMEDY)


def bands_of(data: bytes) -> tuple[int, int] | None:
    """Number of bands and bits per band from the first directory; None if it cannot be read."""
    try:
        file = tiff_bytes(data)
        page = file.first()
        return file.number(page, SAMPLES, 1), file.number(page, BITS, 1)
    except (struct.error, Refusal):
        return None


@contextmanager
def tiff_at(path: Path) -> Iterator[TiffFile]:
    """A TIFF of any size on disk. Raises struct.error if it is no TIFF or no regular file, OSError, ValueError."""
    with os.fdopen(os.open(path, READ_ONLY), "rb") as opened:  # opening a pipe would block
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise struct.error("no regular file")

        def read(at: int, length: int) -> bytes:
            if at >= status.st_size:
                return b""
            opened.seek(at)
            return opened.read(length)

        yield tiff_file(read, status.st_size)


def tiff_size(path: Path) -> tuple[int, int] | None:
    """Height and width of the first page of a TIFF or BigTIFF; None for other or damaged files."""
    try:
        with tiff_at(path) as file:
            page = file.first()
            height, width = file.number(page, HEIGHT, 0), file.number(page, WIDTH, 0)
            return (height, width) if height and width else None
    except (OSError, ValueError, struct.error, Refusal):
        return None
