"""Files in and out: bytes read safely, known to be whole, and written whole or not at all.

Nothing here looks at pixels. What a file is, is told by its first bytes, never by its suffix. Truncation is looked for
in the file's own structure before a decoder sees it, because decoders differ: some return a half-grey image and say
nothing.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pixelwise.errors import OutputError

READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
MAX_BYTES = 1 << 30  # no image file within the pixel limit needs more; read before a huge file fills the memory
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MAGIC = {
    PNG_MAGIC: "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    **{b"P%d%c" % (kind, space): "PPM" for kind in range(1, 7) for space in b"\n\r\t "},
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
SUFFIX_OF = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "PPM": ".ppm"}
KNOWN_OTHERS = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
    b"\xff\x0a": "a JPEG XL image",
    b"\x93NUMPY": "a NumPy array",
    b"version https://git-lfs": "a Git LFS pointer, not the image itself",
    b"<": "a text file (SVG, XML or HTML)",
    b"{": "a JSON file",
}
ACCEPTED = "JPEG, PNG, WebP, BMP, TIFF and PPM are read"
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # in a name
AGAIN = "Copy or export the file again."
STREAMED = "`pixelwise predict` labels an image of any size that is saved as a tiled TIFF, piece by piece."


class Refusal(Exception):
    """Why one file is not taken, before it is known who asks. `images` turns it into an ImageError or MaskError."""

    def __init__(self, kind: str, what: str, remedy: str) -> None:
        self.kind = kind  # short and stable, as in records.Problem
        self.what = what  # a sentence: what was expected and what came
        self.remedy = remedy  # a sentence
        super().__init__(f"{what} {remedy}")


@dataclass(frozen=True)
class PngFacts:
    """What a PNG's chunks say before any pixel is decoded."""

    width: int
    height: int
    depth: int  # bits per sample
    colour: int  # 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGB + alpha
    interlaced: bool
    chunks: frozenset[bytes]  # names of all chunks; text that carries EXIF counts as b"eXIf"


def shown(path: Path | str) -> str:
    """A path as text that can be printed and written as JSON, whatever bytes its name holds.

    What would end the line, steer a terminal or turn the direction of writing is there by its number: "a\\nb".
    """
    text = os.fsencode(path).decode("utf-8", "replace")
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def read_bytes(path: Path) -> bytes:
    """The whole content of a regular file.

    Raises:
        Refusal: missing, unreadable, empty, over MAX_BYTES, or no regular file (a folder; a pipe, which would block).
    """
    try:
        _check_regular(path.stat())
        # Looked at again once it is open: what is there now may be another file, and to open a pipe would block.
        with os.fdopen(os.open(path, READ_ONLY), "rb") as file:
            _check_regular(os.fstat(file.fileno()))
            data = file.read()
    except FileNotFoundError as error:
        target = "links to a file that does not exist." if path.is_symlink() else "no such file."
        raise Refusal("missing", target, "Check the path.") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or str(error)
        raise Refusal("unreadable", f"cannot be read ({reason}).", "Check the file's permissions and links.") from error
    return data


def _check_regular(status: os.stat_result) -> None:
    """Raise Refusal unless this is a file of an allowed size."""
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise Refusal("not-a-file", f"is {kind}; expected an image file.", "Name a file.")
    if status.st_size > MAX_BYTES:
        raise Refusal(
            "too-large",
            f"{status.st_size / 2**30:.1f} GiB; the limit is {MAX_BYTES / 2**30:.0f} GiB a file.",
            f"Cut it into tiles. {STREAMED}",
        )


def image_format(data: bytes) -> str:
    """The format by content: "PNG", "JPEG", "WEBP", "BMP", "TIFF" or "PPM" (PGM and PBM too).

    Raises:
        Refusal: empty, or none of these.
    """
    if not data:
        raise Refusal("empty-file", "the file is empty (0 bytes).", AGAIN)
    for magic, name in MAGIC.items():
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"avif", b"avis"):
        guess = "an AVIF image" if data[8:10] == b"av" else "a HEIC image"
    else:
        guess = next((name for magic, name in KNOWN_OTHERS.items() if data.startswith(magic)), "")
    if not data.strip(b"\0"):
        guess = "nothing but zeros"
    what = f"is {guess}; {ACCEPTED}." if guess else f"is not an image; {ACCEPTED}."
    raise Refusal("not-an-image", what, "Convert it to PNG, or remove it.")


def tiff_size(path: Path) -> tuple[int, int] | None:
    """Height and width that a TIFF or BigTIFF's first page states; None for any other file, or one that is damaged."""
    try:
        with os.fdopen(os.open(path, READ_ONLY), "rb") as file:  # to open a pipe would block
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            head = file.read(16)
            if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return None
            order = "<" if head[:1] == b"I" else ">"
            big = b"+" in head[:4]
            (at,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
            file.seek(at)
            (entries,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
            step = 20 if big else 12
            sides = {}
            for entry in struct.iter_unpack(f"{step}s", file.read(step * min(entries, 1 << 12))):
                tag, kind = struct.unpack_from(order + "HH", entry[0])
                if tag in (256, 257) and kind in (3, 4, 16):  # 16, 32 or 64 bits
                    (sides[tag],) = struct.unpack_from(
                        order + {3: "H", 4: "I", 16: "Q"}[kind], entry[0], step - (8 if big else 4)
                    )
            return sides[257], sides[256]
    except (OSError, ValueError, OverflowError, KeyError, struct.error):
        return None


def truncated(detail: str) -> Refusal:
    return Refusal("truncated", f"the file is truncated or damaged: {detail}.", AGAIN)


def check_jpeg(data: bytes) -> None:
    """Raise Refusal unless the JPEG's pixel data is followed by its end marker.

    Inside entropy-coded data every FF is stuffed, so an end marker after the first scan's start is a true one; one in
    an embedded thumbnail lies before it.
    """
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise truncated(f"no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker == 0xDA:
            if data.rfind(b"\xff\xd9", at) < 0:
                raise truncated("its end marker is missing")
            return
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise truncated("it ends before its pixels begin")


def check_webp(data: bytes) -> None:
    """Raise Refusal unless the WebP is as long as its header says."""
    expected = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < expected:
        raise truncated(f"{len(data)} of {expected} bytes")


def check_png(data: bytes) -> PngFacts:
    """Walk a PNG's chunks, with the checksums of those that decide pixels, to its end chunk.

    Raises:
        Refusal: the file ends early or a checksum is wrong.
    """
    view = memoryview(data)
    chunks: set[bytes] = set()
    header = b""
    at = len(PNG_MAGIC)
    while True:
        if at + 12 > len(data):
            raise truncated("it ends before its end chunk")
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        stop = at + 8 + length
        if stop + 4 > len(data):
            raise truncated(f"it ends inside its {name.decode('latin-1')} chunk")
        if name[0] & 0x20 == 0:  # an upper-case first letter: critical
            (expected,) = struct.unpack_from(">I", data, stop)
            if zlib.crc32(view[at + 4 : stop]) != expected:
                raise truncated(f"wrong checksum in its {name.decode('latin-1')} chunk at byte {at}")
        if name == b"IHDR":
            header = data[at + 8 : stop]
        elif name in (b"tEXt", b"zTXt", b"iTXt") and data[at + 8 : at + 19] in (b"Raw profile", b"XML:com.ado"):
            name = b"eXIf"
        elif name == b"IEND":
            break
        chunks.add(name)
        at = stop + 4
    if len(header) != 13 or b"IDAT" not in chunks:
        raise truncated("it holds no pixels")
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    return PngFacts(width, height, depth, colour, bool(interlace), frozenset(chunks))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a temporary file in the same folder, synced to disk, renamed into place.

    Raises:
        OutputError: no such folder, no permission, read-only or full disk. Nothing half-written stays behind, and a
            file that was there before is untouched.
    """
    with writing_whole(path) as file:
        file.write(data)


@contextmanager
def writing_whole(path: Path) -> Iterator[IO[bytes]]:
    """As `write_whole`, of a file that is written part by part while this is entered. Raises as it."""
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        try:
            # Not tempfile: its files are private to their owner, and the result would be too.
            with open(part, "x+b", opener=lambda name, flags: os.open(name, flags, 0o666)) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"{shown(path)}: cannot be written ({error.strerror}). {remedy_for(error, path)}") from error


def make_folder(path: Path) -> None:
    """Make one folder where it is missing. Its parent must be there: one that vanished is not made again in silence.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{shown(path)}: cannot be made ({error.strerror}). {remedy_for(error, path)}") from error


def remove_parts(folder: Path) -> None:
    """Remove what `write_whole` left in `folder` where its process was killed. No one may be writing there.

    Raises:
        OutputError: the folder cannot be written.
    """
    for part in folder.glob(".*.part"):
        try:
            part.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{shown(part)}: cannot be removed ({error.strerror}). {remedy_for(error, part)}"
            ) from error


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder to sync it
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems refuse; the file is written
            raise
    finally:
        os.close(handle)


def remedy_for(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free disk space, or choose a folder on another disk."
    if error.errno == errno.EFBIG:
        return "Lift the limit on the size of files (ulimit -f), or choose a file system that holds larger ones."
    if error.errno == errno.EROFS:
        return "The file system is read-only: mount it for writing, or choose a folder on another one."
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"Create the folder {shown(path.parent)} first."
    if error.errno in (errno.EISDIR, errno.ENOTEMPTY):
        return "A folder is there; choose another name."
    return "Choose a folder that you may write to."
