"""Decoded copies of large images and masks in a folder, so that any window can be read without decoding the whole.

A copy is a NumPy file, written whole or not at all. Its name holds the digest of the files that it was decoded from and
of how the mask's values are read: a copy that exists is right, and a resumed training or another process uses it.

Shapes: H, W an image's size; N its bands.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import OutputError
from pixelwise.images.files import make_folder, remedy_for, shown, writing_whole
from pixelwise.images.tiff_windows import TiffWindows

SPARE_BYTES = 1 << 29  # of disk space, left for checkpoints and others
STRIP_BYTES = 1 << 24  # of an array that are handled at a time


class DiskArray:
    """An array in a .npy file. Indexing copies the part that is asked for; the file is open no longer than that, so
    that memory is bounded and worker processes share nothing but the name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        header = np.load(path, mmap_mode="r")
        self.shape: tuple[int, ...] = header.shape
        self.dtype: np.dtype[Any] = header.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.array(np.load(self.path, mmap_mode="r")[key])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


class WithOverview:
    """A large image that is indexed like its pixels, and a copy of it at 1/`factor` of the resolution for crops that
    are shrunk far more than that."""

    def __init__(self, image: DiskArray | TiffWindows, overview: DiskArray, factor: int) -> None:
        self.image, self.overview, self.factor = image, overview, factor
        self.shape, self.dtype = image.shape, image.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return self.image[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.image, dtype)


class DiskCopies:
    """A folder of copies."""

    def __init__(self, folder: Path) -> None:
        """`folder` is created when the first copy is written; its parent must exist."""
        self.folder = folder

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.npy"

    def found(self, key: str) -> DiskArray | None:
        """The copy of this name, if there is one."""
        return DiskArray(self.path(key)) if self.path(key).is_file() else None

    def require_room(self, needed: int, what: str) -> None:
        """Refuse copies that would fill the disk.

        Args:
            needed: bytes of all copies that are to be written.
            what: what they are copies of.

        Raises:
            OutputError: there is too little room.
        """
        make_folder(self.folder)
        free = shutil.disk_usage(self.folder).free
        if needed + SPARE_BYTES > free:
            raise OutputError(
                f"{shown(self.folder)}: decoded copies of {what} need {in_words(needed)} on disk during the training, "
                f"and {in_words(SPARE_BYTES)} should stay free; {in_words(free)} are free. Free disk space, choose "
                "an --out on another disk, or save the images as tiled TIFF, which is read in place: "
                "gdal_translate -of COG IN OUT."
            )

    def write(
        self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], strips: Iterable[NDArray[Any]]
    ) -> DiskArray:
        """Write a copy, given in strips of rows.

        Raises:
            OutputError: the disk is full or cannot be written; no part of the copy remains.
        """
        make_folder(self.folder)
        with writing_whole(self.path(key)) as file:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(file, header)
            for strip in strips:
                file.write(np.ascontiguousarray(strip).data)
        return DiskArray(self.path(key))

    def remove(self) -> None:
        """Delete all copies. Raises OutputError if that fails."""
        try:
            if self.folder.is_dir():
                shutil.rmtree(self.folder)
        except FileNotFoundError:  # another process of the training was faster
            pass
        except OSError as error:
            raise OutputError(
                f"{shown(self.folder)}: cannot be removed ({error.strerror}). {remedy_for(error, self.folder)}"
            ) from error


@contextmanager
def kept_to_resume(folder: Path, resumable: Callable[[], bool]) -> Iterator[DiskCopies]:
    """Copies in `folder`, removed at the end. If an error or a stop ends the work and it can be resumed, they stay.

    Args:
        resumable: whether the work can be resumed.
    """
    copies = DiskCopies(folder)
    try:
        yield copies
    except BaseException:
        if not resumable():
            copies.remove()
        raise
    copies.remove()


def strips_of(array: NDArray[Any] | DiskArray) -> Iterator[tuple[int, NDArray[Any]]]:
    """An array in groups of rows, each with the number of its first row."""
    rows = max(STRIP_BYTES // max(math.prod(array.shape[1:]) * array.dtype.itemsize, 1), 1)
    return ((top, array[top : top + rows]) for top in range(0, len(array), rows))


def in_words(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
