"""The log of one image's edits: an append-only file of which a killed writer can tear off no more than the end.

    file     MAGIC, then records; the first record is the image: its name and size
    record   three little-endian numbers of 32 bits (length of the header, length of the payload, CRC32 of both), the
             header (JSON), the payload (zlib)

A record is an edit, whose payload holds the changed pixels before and after (`labelled_image`), or an `undo` or `redo`
without payload. What was appended waits in memory until `flush` has written and synced it. A record that is cut short
or whose checksum is wrong ends the log; what follows it is cut when the log is opened for writing.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pixelwise.errors import DataError, OutputError
from pixelwise.images.files import remedy_for, shown, write_whole
from pixelwise.images.png_inflate import isal_zlib

MAGIC = b"PixelwiseEdits1\n"
FRAME = struct.Struct("<III")
MOST_HEADER, MOST_PAYLOAD = 1 << 16, 1 << 30  # bytes: more is damage
DAMAGED = zlib.error if isal_zlib is None else isal_zlib.error
WRITE_ONLY = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class LogRecord:
    """A record that is not written yet, or was read back."""

    header: Mapping[str, Any]
    payload: bytes = b""

    def framed(self) -> bytes:
        header = json.dumps(self.header, separators=(",", ":")).encode("ascii")
        crc = zlib.crc32(self.payload, zlib.crc32(header))
        return FRAME.pack(len(header), len(self.payload), crc) + header + self.payload


@dataclass(frozen=True)
class LogEntry:
    """Where a written record is."""

    offset: int
    length: int
    crc: int


@dataclass(frozen=True)
class LogTail:
    """What of a log could not be read."""

    offset: int  # where the last whole record ends
    lost: int  # bytes after it
    inside: bool  # the damage is not at the end: whole records may follow


def deflated(data: bytes) -> bytes:
    return bytes(isal_zlib.compress(data, 1)) if isal_zlib is not None else zlib.compress(data, 1)


def inflated(payload: bytes, most: int) -> bytes:
    """The content of a payload. Raises DataError: not zlib, or more than `most` bytes."""
    unpacker = zlib.decompressobj() if isal_zlib is None else isal_zlib.decompressobj()
    try:
        data = bytes(unpacker.decompress(payload, most + 1))
    except DAMAGED as error:
        raise DataError(f"the payload of an edit cannot be read ({error}).") from error
    if len(data) > most or not unpacker.eof:
        raise DataError(f"the payload of an edit is not of at most {most:,} bytes.")
    return data


def read_frame(file: IO[bytes], *, payload: bool) -> tuple[LogEntry, LogRecord] | None:
    """The next record of an open log; None at its end or where it is damaged.

    `payload`: read and check it; otherwise it is skipped, and the record's is empty.
    """
    offset = file.tell()
    frame = file.read(FRAME.size)
    if len(frame) < FRAME.size:
        return None
    header_bytes, payload_bytes, crc = FRAME.unpack(frame)
    if header_bytes > MOST_HEADER or payload_bytes > MOST_PAYLOAD:
        return None
    raw = file.read(header_bytes)
    content = file.read(payload_bytes) if payload else b""
    if len(raw) < header_bytes or (payload and len(content) < payload_bytes):
        return None
    if payload and zlib.crc32(content, zlib.crc32(raw)) != crc:
        return None
    if not payload:
        file.seek(payload_bytes, os.SEEK_CUR)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict):
        return None
    return LogEntry(offset, FRAME.size + header_bytes + payload_bytes, crc), LogRecord(header, content)


class EditLog:
    """The records of one image, written and waiting. Not thread-safe: its image's lock guards all but `write`."""

    def __init__(self, path: Path, image: Mapping[str, Any]) -> None:
        """
        Args:
            path: the file; it is made when the first record is written.
            image: the header of the first record, for a new file.
        """
        self.path = path
        self.image = dict(image)
        self.entries: list[LogEntry] = []
        self.pending: deque[LogRecord] = deque()
        self.size = 0  # bytes that are written and synced
        self.tail = LogTail(0, 0, inside=False)  # what could not be read
        self.torn = False  # the last write failed, and may have left a part of a record

    def __len__(self) -> int:
        return len(self.entries) + len(self.pending)

    def reopened(self) -> EditLog:
        """The same file, to be read from its beginning. Raises DataError as `open_log`."""
        return open_log(self.path, self.image)

    def append(self, record: LogRecord) -> None:
        self.pending.append(record)

    def records(self, checked_from: int = 0) -> Iterator[LogRecord]:
        """Read all records of a log that was just opened; afterwards, `tail` is what could not be read.

        Args:
            checked_from: the number of the first record whose payload is read and checked; of earlier ones only the
                header is, as a snapshot has their result.

        Raises:
            DataError: the file cannot be read.
        """
        if not self.size:
            return
        try:
            with self.path.open("rb") as file:
                end = os.fstat(file.fileno()).st_size
                file.seek(self.size)
                while (found := read_frame(file, payload=len(self.entries) >= checked_from)) is not None:
                    entry, record = found
                    if entry.offset + entry.length > end:
                        break
                    self.entries.append(entry)
                    self.size = entry.offset + entry.length
                    yield record
        except OSError as error:
            raise DataError(f"{shown(self.path)}: cannot be read ({error.strerror}). Check the disk.") from error
        self.tail = LogTail(self.size, end - self.size, inside=_goes_on(self.path, self.size, end))

    def read(self, number: int) -> LogRecord:
        """A record, from memory or from the file. Raises DataError: it cannot be read back."""
        if number >= len(self.entries):
            return self.pending[number - len(self.entries)]
        entry = self.entries[number]
        try:
            with self.path.open("rb") as file:
                file.seek(entry.offset)
                found = read_frame(file, payload=True)
        except OSError as error:
            raise DataError(f"{shown(self.path)}: cannot be read ({error.strerror}). Check the folder.") from error
        if found is None or found[0] != entry:
            raise DataError(f"{shown(self.path)}: edit {number + 1} is damaged. Restore the file from a backup.")
        return found[1]

    def write(self, records: list[LogRecord]) -> list[LogEntry]:
        """Write and sync records at the end of the file. What it returns is for `written`.

        Raises:
            OutputError: it cannot be written, or another program changed it. The file is as it was.
        """
        begin = b"" if self.size else MAGIC + LogRecord(self.image).framed()
        framed = [record.framed() for record in records]
        try:
            self._append(begin + b"".join(framed))
        except OSError as error:
            if not self.path.parent.is_dir():
                raise folder_gone(self.path.parents[2]) from error
            raise OutputError(
                f"{shown(self.path)}: the edit cannot be saved ({error.strerror or error}). "
                f"{remedy_for(error, self.path)} It is kept in memory, and tried again."
            ) from error
        entries, offset = [], self.size + len(begin)
        for data in framed:
            entries.append(LogEntry(offset, len(data), FRAME.unpack_from(data)[2]))
            offset += len(data)
        return entries

    def written(self, entries: list[LogEntry]) -> None:
        """Note that the oldest waiting records are on disk."""
        for entry in entries:
            self.pending.popleft()
            self.entries.append(entry)
            self.size = entry.offset + entry.length

    def _append(self, data: bytes) -> None:
        """By name each time: a folder that was removed or unmounted must be noticed."""
        handle = os.open(self.path, WRITE_ONLY | (0 if self.size else os.O_CREAT), 0o666)
        try:
            found = os.fstat(handle).st_size
            if found != self.size and not (self.torn and found > self.size) and (self.size or found):
                raise OSError(None, f"another program changed it: it has {found:,} bytes, not {self.size:,}")
            if found > self.size:
                os.ftruncate(handle, self.size)
            self.torn = True
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(handle, view) :]
                os.fsync(handle)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(handle, self.size)
                raise
            self.torn = False
        finally:
            os.close(handle)
        if not self.size:
            sync_folder(self.path.parent)


def folder_gone(folder: Path) -> OutputError:
    """The error of a labelling folder that was removed, renamed or unmounted."""
    error = OutputError(
        f"{shown(folder)}: the labelling folder is gone. Bring it back (mount the drive, undo the rename): what was "
        "drawn is kept in memory, and saved then."
    )
    error.__cause__ = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    return error


def sync_folder(folder: Path) -> None:
    """Make a new file's name last. Folders that cannot be synced, as on Windows, are left."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def open_log(path: Path, image: Mapping[str, Any]) -> EditLog:
    """A log whose records are not read yet: `records` reads them.

    Args:
        image: the header of the first record, where the file is still to be made.

    Raises:
        DataError: it cannot be read, or is no log of edits.
    """
    log = EditLog(path, image)
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
            if magic != MAGIC[: len(magic)]:
                raise DataError(f"{shown(path)}: is no log of edits. Restore it from a backup, or remove it.")
            first = read_frame(file, payload=True) if len(magic) == len(MAGIC) else None
            log.tail = LogTail(0, os.fstat(file.fileno()).st_size, inside=False)
    except FileNotFoundError:
        return log
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read ({error.strerror}). Check its permissions.") from error
    if first is not None:
        log.image, log.size = dict(first[1].header), first[0].offset + first[0].length
    return log


def _goes_on(path: Path, offset: int, end: int) -> bool:
    """Whether a damaged record is whole by its lengths, and others follow it."""
    with path.open("rb") as file:
        file.seek(offset)
        frame = file.read(FRAME.size)
    if len(frame) < FRAME.size:
        return False
    header_bytes, payload_bytes, _ = FRAME.unpack(frame)
    return bool(offset + FRAME.size + header_bytes + payload_bytes < end)


def cut(path: Path, tail: LogTail) -> str:
    """Cut what could not be read off a log, and say so. Where whole records may follow the damage, it is kept beside.

    Raises:
        OutputError: the file cannot be written.
    """
    aside = path.with_suffix(".damaged")
    try:
        if tail.inside:
            with path.open("rb") as file:
                file.seek(tail.offset)
                write_whole(aside, file.read())
        with path.open("r+b") as file:
            file.truncate(tail.offset)
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(
            f"{shown(path)}: its torn end cannot be cut ({error.strerror}). {remedy_for(error, path)}"
        ) from error
    if tail.inside:
        return (
            f"{shown(path)}: an edit is damaged. It and the later ones ({tail.lost:,} bytes) are kept in "
            f"{shown(aside.name)}; restore the file from a backup to have them."
        )
    return (
        f"{shown(path)}: the last edit was being written when the program was killed, and is cut ({tail.lost:,} bytes)."
    )
