"""Trace events: one JSON object per line, appended as things happen. The page, reports and terminal read them.

Every event has `version`, `event` (flow, epoch, checkpoint, stop …) and `time` (seconds since 1970). A reader must
ignore unknown events and fields, and a last line without a newline, which is still being written.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pixelwise.errors import OutputError
from pixelwise.images.files import utf8, write_whole

VERSION = 1
Event = dict[str, Any]
Listener = Callable[[Event], None]


def nobody(_event: Event) -> None:
    """The default listener: ignores every event."""


def to_file(path: Path) -> Listener:
    """A listener that appends every event to `path`, one flushed line each."""

    def write(event: Event) -> None:
        line = utf8(json.dumps({"version": VERSION, "time": time.time(), **finite(event)}, ensure_ascii=False) + "\n")
        try:
            with path.open("ab", buffering=0) as file:
                whole = file.seek(0, os.SEEK_END)
                try:
                    written = file.write(line)
                    if written < len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except OSError:
                    file.truncate(whole)  # an incomplete line would corrupt the next one
                    raise
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written: {error.strerror}. Free disk space or fix permissions, then resume."
            ) from error

    return write


def match_checkpoint(path: Path, epochs: Sequence[Event]) -> None:
    """Make a trace match the checkpoint from which a killed run resumes.

    An incomplete line is removed, and so are epochs after the checkpoint, which will be trained again. Epochs missing
    from the trace are added. Every epoch is then present once.

    Args:
        epochs: the epoch events in the checkpoint.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise OutputError(f"{path}: the trace cannot be read: {error.strerror}. Correct its permissions.") from error
    last = max((event["epoch"] for event in epochs), default=0)
    kept: list[bytes] = []
    written: set[int] = set()
    for line in content.split(b"\n")[:-1]:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        number = event.get("epoch", 0)
        if event.get("event") in ("epoch", "checkpoint") and number > last:
            continue
        if event.get("event") == "epoch":
            if number in written:
                continue
            written.add(number)
        kept.append(line + b"\n")
    if b"".join(kept) != content:
        write_whole(path, b"".join(kept))
    write = to_file(path)
    for event in epochs:
        if event["epoch"] not in written:
            write(event)


def read_events(path: Path) -> Iterator[Event]:
    """The events of a trace file, oldest first."""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def finite(value: Any) -> Any:
    """JSON has no NaN: undefined numbers become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return value
