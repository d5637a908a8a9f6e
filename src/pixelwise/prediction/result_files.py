"""The files of an image's results, written all or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pixelwise.errors import ImageError, OutputError
from pixelwise.images.files import shown, writing_whole


class ResultFile(NamedTuple):
    """One file of an image's results."""

    key: str  # of OUTPUTS, or for a file beside one of those, its name
    path: Path
    parts: Callable[[Any], Iterable[bytes]]  # of a WholeImage, or on a map of any LabelSource
    on_map: bool


def write_results(files: Sequence[ResultFile], source: Any, image: Path | None) -> None:
    """Write all files or none: if one cannot be written, those that were new are removed.

    Args:
        source: what `parts` of the files are made from.
        image: the image's file, over which none may be written.

    Raises:
        ImageError: one would overwrite the image, or cannot be made of it.
        OutputError: one cannot be written.
    """
    written: list[Path] = []
    if image is not None:
        refuse_overwriting(image, (file.path for file in files))
    try:
        for _, path, parts, _ in files:
            is_new = not os.path.lexists(path)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = f"cannot be created ({error.strerror}). Choose another folder."
                raise OutputError(f"{shown(path.parent)}: {reason}") from error
            with writing_whole(path) as file:
                file.writelines(parts(source))
            if is_new:
                written.append(path)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def refuse_overwriting(image: Path, results: Iterable[Path]) -> None:
    """Raise ImageError if a result would be written over the image."""
    if os.path.realpath(image) in map(os.path.realpath, results):
        raise ImageError(f"{shown(image)}: its labels would overwrite it. Choose another folder for --out.")
