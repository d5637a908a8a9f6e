"""Write a new folder made from a dataset (a copy, a conversion) completely or not at all, never inside the data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pixelwise.errors import OutputError
from pixelwise.images.files import real_path, shown


def require_new(out: Path) -> None:
    """Raise OutputError unless `out` does not exist or is an empty folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{shown(out)}: already exists. Name a new folder.")


@contextmanager
def new_folder(out: Path, data: Path | None) -> Iterator[Path]:
    """A hidden folder next to `out` to write into; on exit it is renamed to `out`.

    Args:
        out: see `require_new`.
        data: the root of the source dataset; None if there is none.

    Raises:
        OutputError: `out` is inside the data, or cannot be written. No partial output is left behind.
    """
    if data is not None and real_path(out).is_relative_to(real_path(data)):
        raise OutputError(f"{shown(out)}: is inside the data, which is never changed. Name a folder outside.")
    part = out.with_name(f".{out.name}.part")
    made = [folder for folder in out.absolute().parents if not folder.exists()]  # innermost first
    done = False
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        if out.exists():
            out.rmdir()
        part.replace(out)
        done = True
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{shown(out)}: cannot be written ({reason}). Name another folder.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for folder in [] if done else made:
            with suppress(OSError):  # keep it if another program has put something there
                folder.rmdir()
