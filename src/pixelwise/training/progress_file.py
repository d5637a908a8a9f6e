"""What a training is doing now, in RUN/progress.json: for those who watch it from another process."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOG = logging.getLogger(__name__)
PROGRESS = "progress.json"
EVERY_S = 0.5

Progress = Callable[[str, int, int], None]  # what is being done, done, total


@contextmanager
def progress_written(run: Path, progress: Progress) -> Iterator[Progress]:
    """`progress`, which also writes RUN/progress.json twice a second; the file is deleted at the end.

    Its fields: what, done, total, and seconds since this part of the work began. A training goes on where the file
    cannot be written: it only helps those who watch.
    """
    path, part = run / PROGRESS, run / f".{PROGRESS}.part"
    what_now, began, written = "", 0.0, 0.0

    def both(what: str, done: int, total: int) -> None:
        nonlocal what_now, began, written
        progress(what, done, total)
        now = time.monotonic()
        if what != what_now:
            what_now, began, written = what, now, 0.0
        if now - written < EVERY_S and done < total:
            return
        written = now
        row = {"what": what, "done": done, "total": total, "seconds": round(now - began, 2)}
        try:
            part.write_text(json.dumps(row), encoding="utf-8")
            part.replace(path)
        except OSError:
            LOG.debug("%s could not be written", path, exc_info=True)

    try:
        yield both
    finally:
        for left in (part, path):
            try:
                left.unlink(missing_ok=True)
            except OSError:
                LOG.debug("%s could not be deleted", left, exc_info=True)
