"""A folder and its sub-folders → image files, in a fixed order. No file is opened."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES, stem_of
from pixelwise.images.files import shown
from pixelwise.prediction.masks_left_out import MasksLeftOut

Unlisted = Callable[[Path, str], None]  # called with a folder that cannot be listed, and the reason


class FoundImage(NamedTuple):
    """One image to label."""

    image: Path
    name: str  # below the folder that was named, without suffix
    source: str  # its path with links to folders resolved, so that an image named twice is recognised
    channels: tuple[Path, ...] = ()  # the file of each band, where these are several; `image` is the first


def ignored(_folder: Path, _reason: str) -> None:
    """Ignores a folder that cannot be listed; the second walk reports it."""


def images_below(folder: Path, out: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> Iterator[Path]:
    """Image files in a folder and its sub-folders, in a fixed order, without earlier results in `out`."""
    return (found.image for found in images_of_folder(folder, folder, out, ignored, suffixes=suffixes))


def images_of_folder(
    folder: Path,
    root: Path,
    out: Path,
    unlisted: Unlisted,
    passed_over: Counter[str] | None = None,
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
    masks: MasksLeftOut | None = None,
) -> Iterator[FoundImage]:
    """As `images_below`, with names below `root`; without the masks of a dataset where `masks` is given.

    Links to folders are followed, but no folder is entered twice, so a circular link ends there. Hidden files and
    folders are skipped.
    """
    results = os.path.realpath(out)
    entered: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        real = os.path.realpath(place)
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in entered or real == results:
                continue
            entered.add((status.st_dev, status.st_ino))
            files, folders = names_in(place, passed_over, suffixes)
        except OSError as error:
            unlisted(place, error.strerror or str(error))
            continue
        for name in masks.without_masks(files, place, folder) if masks else files:
            image = place / name
            yield FoundImage(image, name_below(image, root), os.path.join(real, name))  # noqa: PTH118 – a million times
        waiting += [place / name for name in reversed(folders)]


def names_in(folder: Path, passed_over: Counter[str] | None, suffixes: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Names of image files, and of folders and links to folders, each in order, without hidden ones."""
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if is_folder(entry):
                folders.append(entry.name)
            elif is_image_name(entry.name, suffixes):
                files.append(entry.name)
            elif passed_over is not None:
                passed_over[kind_of(entry.name)] += 1
    return sorted(files), sorted(folders)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """A folder or a link to one. A broken link is neither; it is reported when it is read."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_image_name(name: str, suffixes: tuple[str, ...]) -> bool:
    return not name.startswith(".") and name.lower().endswith(suffixes)


def kind_of(name: str) -> str:
    """A file's suffix, for messages."""
    return shown(os.path.splitext(name)[1].lower()) or "no ending"  # noqa: PTH122 – a million times


def found_at(image: Path, root: Path) -> FoundImage:
    return FoundImage(image, name_below(image, root), str(Path(os.path.realpath(image.parent)) / image.name))


def name_below(image: Path, root: Path) -> str:
    """The path below the root without its suffix; other dots stay: "frame.0001.png" is "frame.0001"."""
    return str(image.relative_to(root).with_name(stem_of(image)))
