"""Where a labelling folder is, and what its photos.json and classes.json say.

photos.json keeps where the photos are and the place of each; classes.json the classes with their keys.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pixelwise.datasets.dataset_toml import FILE_NAME, read_settings
from pixelwise.errors import DataError, DatasetError, OutputError, UsageError
from pixelwise.images.files import real_path, remedy_for, shown, utf8, write_whole
from pixelwise.labelling.edit_log import folder_gone
from pixelwise.labelling.label_classes import LabelClasses
from pixelwise.labelling.labelled_dataset import copies_of, make_folders
from pixelwise.labelling.photo_list import FoundPhotos, Photo, find_photos, photos_from_json
from pixelwise.locks import exclusively

INSIDE = ".labelling"
UPLOADS = "photos"  # photos that were uploaded
FOLDERS = ("edits", "states", "locks", "snapshots", "proposals", "runs")
TOLD = 5  # names in a message
PART_S = 600.0  # an older temporary file is nobody's
DAMAGED = "Restore it from a backup, or remove it to start over with the photos."


@dataclass(frozen=True)
class SavedPhotos:
    """What photos.json says."""

    root: Path | None  # of the photos; None: they are uploaded
    photos: tuple[Photo, ...] = ()


def is_labelling_folder(folder: Path) -> bool:
    return (folder / INSIDE / "photos.json").is_file()


def places(photos: Path | None, out: Path | None) -> tuple[Path | None, Path]:
    """The folder of photos, None where they are uploaded, and the labelling folder.

    Raises:
        UsageError: neither is named, `photos` is no folder, or the labels would be inside the photos.
    """
    if photos is not None and is_labelling_folder(photos) and (out is None or real_path(out) == real_path(photos)):
        return read_photos(photos).root, photos
    if photos is None:
        if out is None:
            raise UsageError("name the folder of photos, or the one for the labels.")
        return (read_photos(out).root if is_labelling_folder(out) else None), out
    whole = photos.absolute()
    out = out or Path(os.path.normpath(whole)).with_name(f"{real_path(photos).name or 'photos'}-labels")
    if real_path(out).is_relative_to(real_path(photos)):
        raise UsageError(
            f"{shown(out)}: is inside the photos, whose folder is never changed. Name a folder beside it with --out."
        )
    if not photos.is_dir() and not is_labelling_folder(out):
        raise UsageError(f"{shown(photos)}: no such folder. Name the folder of photos, or of a dataset.")
    return photos, out


def make_inside(out: Path) -> None:
    """Create the labelling folder. Raises OutputError."""
    for name in FOLDERS:
        make_folders(out / INSIDE / name)


def photos_of(root: Path | None, out: Path) -> FoundPhotos:
    """All photos: those found, and those known of before that have labels. What is missing is noted by name.

    Raises:
        UsageError: no such folder, and none is known of before.
        DataError: photos.json is damaged.
    """
    saved = read_photos(out) if is_labelling_folder(out) else SavedPhotos(root)
    place = out / UPLOADS if root is None else root
    if place.is_dir():
        found = find_photos(place, out if root is not None else out / INSIDE, saved.photos)
    elif saved.photos:
        found = FoundPhotos((), notes=(f"{shown(place)}: the photos are not there any more.",))
    elif root is None:
        found = FoundPhotos(())
    else:
        raise UsageError(f"{shown(place)}: no such folder. Name the folder of photos, or of a dataset.")
    known = {photo.id for photo in found.photos}
    missing = [photo for photo in saved.photos if photo.id not in known]
    copied = {photo.id: path for photo in missing for path in copies_of(out, photo)[:1]}
    kept = [replace(photo, path=copied[photo.id], part="") for photo in missing if photo.id in copied]
    gone = [photo for photo in missing if photo.id not in copied]
    notes = [
        *_listed("Photos that are not in their folder any more; their copies are shown", kept),
        *_listed("Photos that are not in their folder any more, and have no labels", gone),
    ]
    photos = sorted((*found.photos, *kept), key=lambda photo: os.fsencode(photo.name))
    return replace(found, photos=tuple(photos), notes=(*found.notes, *notes))


def _listed(what: str, photos: Sequence[Photo]) -> list[str]:
    if not photos:
        return []
    more = f" and {len(photos) - TOLD:,} more" if len(photos) > TOLD else ""
    return [f"{what}: {', '.join(shown(photo.name) for photo in photos[:TOLD])}{more}."]


def read_photos(out: Path) -> SavedPhotos:
    """What photos.json says. Raises DataError."""
    path = out / INSIDE / "photos.json"
    try:
        value = json.loads(path.read_bytes())
        root = None if value["root"] is None else Path(str(value["root"]))
        if root is not None and not root.is_dir() and (beside := out / str(value["beside"])).is_dir():
            root = Path(os.path.normpath(beside))
        return SavedPhotos(root, tuple(photos_from_json(value["photos"], root or out / UPLOADS)))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{shown(path)}: cannot be read ({error}). {DAMAGED}") from error


def write_photos(out: Path, root: Path | None, photos: Sequence[Photo]) -> None:
    """Raises OutputError."""
    value = {
        "format": 1,
        "root": None if root is None else str(root.absolute()),
        "beside": None if root is None else os.path.relpath(root, out),
        "photos": [photo.to_json() for photo in photos],
    }
    text = utf8(json.dumps(value, indent=1) + "\n")
    path = out / INSIDE / "photos.json"
    if not path.is_file() or path.read_bytes() != text:
        write_whole(path, text)


def read_classes(out: Path) -> LabelClasses | None:
    """What classes.json says; None where there is none yet. Raises DataError."""
    path = out / INSIDE / "classes.json"
    try:
        return LabelClasses.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, UsageError, RecursionError) as error:
        raise DataError(f"{shown(path)}: cannot be read ({error}). Restore it from a backup.") from error


def write_classes(out: Path, classes: LabelClasses) -> None:
    """Raises OutputError."""
    write_whole(out / INSIDE / "classes.json", utf8(json.dumps(classes.to_json(), indent=1, ensure_ascii=False) + "\n"))


def read_changed_classes(out: Path, stamp: tuple[int, int]) -> tuple[tuple[int, int], LabelClasses] | None:
    """The classes, and the file's time and size, where these are not `stamp`; None otherwise."""
    try:
        status = (out / INSIDE / "classes.json").stat()
    except OSError:  # the folder has vanished: saving reports it
        return None
    now = (status.st_mtime_ns, status.st_size)
    classes = None if now == stamp else read_classes(out)
    return None if classes is None else (now, classes)


def by_hand(out: Path, classes: LabelClasses) -> list[str]:
    """A note where dataset.toml names other classes than the labelling folder has: they are written again."""
    path = out / FILE_NAME
    if not path.exists() or not (out / INSIDE / "classes.json").exists():
        return []
    try:
        found = read_settings(out).classes
    except DatasetError as error:
        return [f"{error} It is written again."]
    if found is None or (len(classes) and found == classes.class_list()):
        return []
    return [
        f"{shown(path)}: its classes, {', '.join(map(shown, found.names[:TOLD]))} …, are not those of the labels, and "
        "are written again. Rename and recolour classes on the page."
    ]


def remove_old_parts(out: Path) -> None:
    """Remove temporary files that killed programs left here. Those of the last minutes may be in use."""
    oldest = time.time() - PART_S
    inside = [Path(parent) for top in ("images", "masks", INSIDE) for parent, _, _ in os.walk(out / top)]
    for part in (part for folder in (out, *inside) for part in folder.glob(".*.part")):
        with suppress(OSError):  # another program was quicker, or it stays for the next time
            if part.stat().st_mtime < oldest:
                part.unlink()


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Do what only one program may do at a time. Raises OutputError: another is at it, or the folder is read-only."""
    if not lock.parent.is_dir():
        raise folder_gone(lock.parents[2])
    try:
        with exclusively(lock) as held:
            if not held:
                raise OutputError(f"{shown(lock)}: another program holds this lock for long. Close it, then try again.")
            yield
    except OSError as error:
        raise OutputError(f"{shown(lock)}: cannot be locked ({error.strerror}). {remedy_for(error, lock)}") from error
