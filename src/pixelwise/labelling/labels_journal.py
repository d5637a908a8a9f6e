"""labels.jsonl: a line for each record of each log, for people and other programs to read. Derived from the logs.

Lines are appended; where a writer was killed, `repair` writes the file again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pixelwise.errors import OutputError
from pixelwise.images.files import remedy_for, shown, utf8, write_whole
from pixelwise.labelling.labelling_folder import alone
from pixelwise.records import VOID

FILE_NAME = "labels.jsonl"
BLOCK = 1 << 16
APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


def line_of(image_id: str, name: str, number: int, header: Mapping[str, Any], class_name: str) -> str:
    """One line, without its end. `number`: of the record in the image's log, from 1."""
    row = {
        "time": header.get("time"),
        "user": header.get("user", ""),
        "image": shown(name),
        "tool": header.get("tool", header.get("kind")),
        "class": class_name or None,
        "seconds": header.get("seconds", 0),
        "pixels": header.get("pixels"),
        "source": header.get("source", "person"),
        "id": image_id,
        "record": number,
        "key": header.get("key"),
    }
    return json.dumps(row, ensure_ascii=False)


def again(row: Mapping[str, Any]) -> str:
    """A row as the line that it was."""
    return json.dumps(row, ensure_ascii=False)


def renamed(row: Mapping[str, Any], name_of: Callable[[int], str]) -> str:
    """A row as a line with the present name of its class. `name_of`: from a key."""
    key = row.get("key")
    name = name_of(key) if isinstance(key, int) and 0 <= key <= VOID else ""
    return again({**row, "class": name or None})


def append_lines(folder: Path, lock: Path, lines: Iterable[str]) -> None:
    """Append lines, all or none. Raises OutputError."""
    path = folder / FILE_NAME
    data = b"".join(utf8(line) + b"\n" for line in lines)
    if not data:
        return
    try:
        with alone(lock):
            handle = os.open(path, APPEND, 0o666)
            try:
                size = whole_bytes(handle)
                try:
                    if os.write(handle, data) != len(data):
                        raise OSError(None, "the disk took only a part")
                    os.fsync(handle)
                except OSError:
                    os.ftruncate(handle, size)
                    raise
            finally:
                os.close(handle)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{shown(path)}: cannot be written ({reason}). {remedy_for(error, path)}") from error


def whole_bytes(handle: int) -> int:
    """The size of the open file, once a line is cut that a killed program has written in part.

    Its image's log has the record; as the lines are then too few, they are written again.
    """
    size = os.fstat(handle).st_size
    end = size
    while end:
        begin = max(end - BLOCK, 0)
        os.lseek(handle, begin, os.SEEK_SET)
        found = os.read(handle, end - begin).rfind(b"\n")
        if found >= 0:
            end = begin + found + 1
            break
        end = begin
    if end < size:
        os.ftruncate(handle, end)
    return end


def cut_torn_line(folder: Path, lock: Path) -> None:
    """Cut a line that a killed program has written in part. Raises OutputError."""
    path = folder / FILE_NAME
    if not path.exists():
        return
    try:
        with alone(lock):
            handle = os.open(path, APPEND, 0o666)
            try:
                whole_bytes(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise OutputError(f"{shown(path)}: cannot be written ({error.strerror}). {remedy_for(error, path)}") from error


def rewrite(folder: Path, lock: Path, keep: Callable[[Mapping[str, Any]], str | None]) -> None:
    """Write the file again, whole or not at all.

    Args:
        keep: a line's row → the line to write in its place; None: leave it out. Lines that are no JSON are left out.

    Raises:
        OutputError: it cannot be written.
    """
    path = folder / FILE_NAME
    with alone(lock):
        kept = (keep(row) for row in rows_of(path))
        lines = [line for line in kept if line is not None]
        write_whole(path, b"".join(utf8(line) + b"\n" for line in lines))


def rows_of(path: Path) -> Iterable[Mapping[str, Any]]:
    """The rows of the file that are whole."""
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(row, dict):
                    yield row
    except OSError as error:
        raise OutputError(f"{shown(path)}: cannot be read ({error.strerror}). Check its permissions.") from error


def lines_by_image(path: Path) -> dict[str, int]:
    """Image id → number of its lines."""
    counts: dict[str, int] = {}
    for row in rows_of(path):
        image_id = str(row.get("id"))
        counts[image_id] = counts.get(image_id, 0) + 1
    return counts
