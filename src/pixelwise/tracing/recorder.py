"""Trace events: one JSON object a line, appended as things happen. The page, the report and the terminal read these.

Every event has `version`, `event` (flow, epoch, checkpoint, stop …) and `time` (seconds since 1970). A reader must
ignore events and fields that it does not know, and a last line without its newline, which is still being written.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pixelwise.errors import OutputError

VERSION = 1
Event = dict[str, Any]
Listener = Callable[[Event], None]


def nobody(_event: Event) -> None:
    """The listener that is there when nobody listens."""


def to_file(path: Path) -> Listener:
    """A listener that appends every event to `path`, each line whole and flushed."""

    def write(event: Event) -> None:
        line = json.dumps({"version": VERSION, "time": time.time(), **finite(event)}, ensure_ascii=False) + "\n"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise OutputError(
                f"{path}: the trace cannot be written: {error.strerror}. Free space or rights, then resume."
            ) from error

    return write


def to_all(*listeners: Listener) -> Listener:
    """A listener that hands each event to every one of `listeners`."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


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
