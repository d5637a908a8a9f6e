"""Photos that are uploaded into a labelling folder, where no folder of photos was named."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from pixelwise.errors import ImageError, UsageError
from pixelwise.images.band_facts import band_facts
from pixelwise.images.files import SUFFIX_OF, Refusal, image_format, shown, write_whole
from pixelwise.labelling.labelled_dataset import make_folders
from pixelwise.labelling.labelling_folder import UPLOADS
from pixelwise.labelling.photo_list import NOT_IN_NAMES, Photo
from pixelwise.labelling.workspace import Workspace

LONGEST_NAME = 100


def add_photo(workspace: Workspace, name: str, data: bytes) -> Photo:
    """Keep an uploaded photo, as it is. The same photo under the same name is kept once.

    Args:
        name: of the file; folders in it are left out.
        data: the file's bytes.

    Raises:
        UsageError: the photos are those of a folder.
        ImageError: it cannot be read as an image.
        OutputError: it cannot be written.
    """
    if workspace.photos_root is not None:
        raise UsageError(
            f"the photos are those of {shown(workspace.photos_root)}. Put the file there and open the folder again."
        )
    workspace.require_folder()
    facts = band_facts(data, shown(name))
    if not facts.height or not facts.width:
        raise ImageError(f"{shown(name)}: has no pixels. Export it again.")
    folder = workspace.out / UPLOADS
    make_folders(folder)
    path = _free_path(folder, _plain_name(name, data), data)
    if not path.exists():
        write_whole(path, data)
    return workspace.add_found(path)


def _plain_name(name: str, data: bytes) -> str:
    """A file name with the suffix of the format that it has."""
    own = PurePosixPath(name.replace("\\", "/")).name.encode("utf-8", "replace").decode()
    stem = NOT_IN_NAMES.sub("_", PurePosixPath(own).stem).strip(" .")[:LONGEST_NAME] or "photo"
    suffix = PurePosixPath(own).suffix.lower()
    try:
        usual = SUFFIX_OF[image_format(data)]
    except (Refusal, KeyError):  # an array
        return f"{stem}.npy"
    alike = {".jpg": (".jpeg", ".jpe", ".jfif"), ".tif": (".tiff",), ".ppm": (".pgm", ".pbm", ".pnm")}
    return stem + (suffix if suffix in alike.get(usual, ()) else usual)


def _free_path(folder: Path, name: str, data: bytes) -> Path:
    """A path that is free, or that of the same file."""
    taken = {path.name.casefold(): path for path in folder.iterdir()}
    stem, suffix, number = Path(name).stem, Path(name).suffix, 1
    while (path := taken.get(name.casefold())) is not None and not _same(path, data):
        number += 1
        name = f"{stem}-{number}{suffix}"
    return path or folder / name


def _same(path: Path, data: bytes) -> bool:
    if path.stat().st_size != len(data):
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(data).digest()
