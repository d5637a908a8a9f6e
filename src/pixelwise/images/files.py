"""Read files safely, detect truncation, and write files whole or not at all.

This module decodes no pixels. A file's format follows from its first bytes, never from its suffix. Truncation is
detected from the file's structure before a decoder runs, because some decoders return a half-grey image without an
error.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pixelwise.errors import OutputError

WINDOWS = os.name == "nt"
TRIES, TRY_S = 20, 0.1  # to rename over a file that another program has open
READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
MAX_BYTES = 1 << 30  # no image within the pixel limit needs more; keeps huge files out of memory
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
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\0\0\0\x0cjP  ": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",  # a bare codestream
}
SUFFIX_OF = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "PPM": ".ppm",
    "GIF": ".gif",
    "AVIF": ".avif",
    "HEIF": ".heic",
    "JPEG2000": ".jp2",
    "TGA": ".tga",
}
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
KNOWN_OTHERS = {
    b"%PDF": "a PDF",
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"8BPS": "a Photoshop document",
    b"v/1\x01": "an OpenEXR image",
    b"SIMPLE  =": "a FITS image",
    b"DDS ": "a DirectDraw Surface",
    b"P7\n": "a PAM image",
    b"PK\x03\x04": "a ZIP archive",
    b"\x93NUMPY": "a NumPy array",
    b"version https://git-lfs": "a Git LFS pointer, not the image itself",
    b"<": "a text file (SVG, XML or HTML)",
    b"{": "a JSON file",
}
ACCEPTED = "JPEG, PNG, WebP, BMP, TIFF, PPM, GIF, AVIF, HEIC, JPEG 2000 and TGA are read"
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")  # in a name
AGAIN = "Copy or export the file again."
DICOM_REMEDY = "Make NIfTI of it (dcm2niix), which keeps the size of a pixel, or PNG (dcmj2pnm), which does not."
MOST_CHUNKS, SMALL_CHUNK = 10_000, 1024  # of a PNG: more chunks are allowed only if they are larger on average
STREAMED = "A tiled TIFF may have any size: `pixelwise predict` and `train` read it piece by piece."


class Refusal(Exception):
    """A file cannot be used. Callers turn this into an ImageError or a MaskError."""

    def __init__(self, kind: str, what: str, remedy: str) -> None:
        self.kind = kind  # short and stable identifier, as in records.Problem
        self.what = what  # a sentence: expected and found
        self.remedy = remedy  # a sentence
        super().__init__(f"{what} {remedy}")


@dataclass(frozen=True)
class PngFacts:
    """The header of a PNG and the names of its chunks. No pixels are decoded."""

    width: int
    height: int
    depth: int  # bits per sample
    colour: int  # 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGB + alpha
    interlaced: bool
    chunks: frozenset[bytes]  # names of all chunks; text that carries EXIF counts as b"eXIf"


def shown(path: Path | str) -> str:
    """A path as text that is safe to print and to write as JSON, for any bytes in its name.

    Line breaks, terminal control characters and direction marks are escaped: "a\\nb".
    """
    try:
        text = os.fsencode(path).decode("utf-8", "replace")
    except UnicodeEncodeError:  # a lone surrogate, which JSON can hold
        text = str(path).encode("utf-8", "replace").decode()
    return printable(text)


def printable(text: str, keep: str = "") -> str:
    """The text, safe for a terminal: control characters are escaped, except those in `keep`."""
    return UNPRINTABLE.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(), text
    )


def utf8(text: str) -> bytes:
    """JSON text as bytes. Lone surrogates (bytes of a file name that is not UTF-8) are escaped as in JSON."""
    return text.encode("utf-8", "backslashreplace")


def real_path(path: Path) -> Path:
    """The path with all links resolved. Unlike `Path.resolve`, this accepts a loop of links."""
    return Path(os.path.realpath(path))


def is_file(path: Path) -> bool:
    """Whether the file exists. False for impossible names: too long, or with a null byte."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_bytes(path: Path) -> bytes:
    """The whole content of a regular file.

    Raises:
        Refusal: missing, unreadable, empty, over MAX_BYTES, or no regular file (a folder; a pipe, which would block).
    """
    try:
        _check_regular(path.stat())
        # Checked again once open: the file may have been replaced, and opening a pipe would block.
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


def read_head(path: Path, size: int) -> bytes:
    """The first bytes of a regular file of any size; fewer if it is shorter. Raises Refusal as `read_bytes`."""
    try:
        with os.fdopen(os.open(path, READ_ONLY), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Refusal("not-a-file", "is no regular file.", "Name a file.")
            return file.read(size)
    except FileNotFoundError as error:
        raise Refusal("missing", "no such file.", "Check the path.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refusal("unreadable", f"cannot be read ({reason}).", "Check the file's permissions and links.") from error


def _check_regular(status: os.stat_result) -> None:
    """Raise Refusal unless this is a regular file of an allowed size."""
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise Refusal("not-a-file", f"is {kind}; expected a file.", "Name a file.")
    if status.st_size > MAX_BYTES:
        raise Refusal(
            "too-large",
            f"{status.st_size / 2**30:.1f} GiB; the limit is {MAX_BYTES / 2**30:.0f} GiB per file.",
            f"Cut it into tiles. {STREAMED}",
        )


def image_format(data: bytes) -> str:
    """The format by content, a key of SUFFIX_OF; "PPM" includes PGM and PBM.

    Raises:
        Refusal: empty, or an unknown format.
    """
    if not data:
        raise Refusal("empty-file", "the file is empty (0 bytes).", AGAIN)
    for magic, name in MAGIC.items():
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        brands = [data[at : at + 4] for at in (8, *range(16, min(int.from_bytes(data[:4], "big"), 256), 4))]
        for name, known in (("AVIF", AVIF_BRANDS), ("HEIF", HEIF_BRANDS)):
            if any(brand in known for brand in brands):
                return name
    if is_tga(data):
        return "TGA"
    if data[128:132] == b"DICM":
        raise Refusal("not-an-image", f"is a DICOM file; {ACCEPTED}.", DICOM_REMEDY)
    guess = next((name for magic, name in KNOWN_OTHERS.items() if data.startswith(magic)), "")
    if not data.strip(b"\0"):
        guess = "nothing but zeros"
    what = f"is {guess}; {ACCEPTED}." if guess else f"is not an image; {ACCEPTED}."
    raise Refusal("not-an-image", what, "Convert it to PNG, or remove it.")


def is_tga(data: bytes) -> bool:
    """Whether this is a TGA. The format has no magic number, so every field of the header must be valid."""
    if len(data) < 18:
        return False
    table, kind, first, length, entry_bits, _, _, width, height, bits, flags = struct.unpack_from("<xBBHHBHHHHBB", data)
    if not width or not height or flags & 0xC0:
        return False
    if kind in (1, 9):  # palette
        return table == 1 and bits == 8 and entry_bits in (15, 16, 24, 32) and 0 < first + length <= 256
    if table or first or length or entry_bits not in (0, 15, 16, 24, 32):
        return False
    return (kind in (2, 10) and bits in (15, 16, 24, 32)) or (kind in (3, 11) and bits in (1, 8, 16))


def truncated(detail: str) -> Refusal:
    return Refusal("truncated", f"the file is truncated or damaged: {detail}.", AGAIN)


def _chunk_in_words(name: bytes) -> str:
    return f"its {name.decode()} chunk" if name.isascii() and name.isalpha() else "a chunk without a name"


def check_png(data: bytes) -> PngFacts:
    """Walk a PNG's chunks to its end chunk and verify the checksums of the critical ones.

    Raises:
        Refusal: the file ends early or a checksum is wrong.
    """
    view = memoryview(data)
    chunks: set[bytes] = set()
    header = b""
    at = len(PNG_MAGIC)
    number = 0
    while True:
        number += 1
        if number > MOST_CHUNKS and at < number * SMALL_CHUNK:
            what = f"holds more than {MOST_CHUNKS:,} chunks of fewer than {SMALL_CHUNK} bytes each; that is the limit."
            raise Refusal("too-many-chunks", what, "Open it in an image editor and save it again as PNG.")
        if at + 12 > len(data):
            raise truncated("it ends before its end chunk")
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        stop = at + 8 + length
        if stop + 4 > len(data):
            raise truncated(f"it ends inside {_chunk_in_words(name)}")
        if name[0] & 0x20 == 0:  # an upper-case first letter: critical
            (expected,) = struct.unpack_from(">I", data, stop)
            if zlib.crc32(view[at + 4 : stop]) != expected:
                raise truncated(f"wrong checksum in {_chunk_in_words(name)} at byte {at}")
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
        OutputError: no such folder, no permission, read-only or full disk. No partial file remains, and an existing
            file stays unchanged.
    """
    with writing_whole(path) as file:
        file.write(data)


@contextmanager
def writing_whole(path: Path) -> Iterator[IO[bytes]]:
    """A context manager like `write_whole`, for a file that is written in parts. Raises the same errors."""
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        try:
            # Not tempfile: its files are readable only by their owner, and so would be the result.
            with open(part, "x+b", opener=lambda name, flags: os.open(name, flags, 0o666)) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _move(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"{shown(path)}: cannot be written ({error.strerror}). {remedy_for(error, path)}") from error


def _move(part: Path, path: Path) -> None:
    """Rename, replacing an existing file. Windows refuses while another program has it open, often only briefly."""
    for _ in range(TRIES if WINDOWS else 0):
        with suppress(PermissionError):
            part.replace(path)
            return
        time.sleep(TRY_S)
    part.replace(path)


def make_folder(path: Path) -> None:
    """Create one folder if it is missing. Its parent must exist: a parent deleted meanwhile is an error.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{shown(path)}: cannot be created ({error.strerror}). {remedy_for(error, path)}") from error


def remove_parts(folder: Path) -> None:
    """Remove the temporary files that killed processes left in `folder`. No other process may be writing there.

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
    if WINDOWS:  # Windows cannot open a folder to sync it
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
        return "A folder of that name exists; choose another name."
    return "Choose a folder that you may write to."
