"""The slices of a NIfTI volume as a model takes them: the pixels that training sees of them.

A volume of one channel becomes 8-bit grey by its own range; three channels of whole levels are red, green and blue for
a model of these; other channels, of one 4-D file or of one file each, are bands with the values of the file.

Shapes: H, W a slice's size; N bands.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.file_kinds import stem_of
from pixelwise.datasets.formats import nifti
from pixelwise.datasets.formats.reader_errors import refusals
from pixelwise.errors import ImageError, UsageError
from pixelwise.images.banded_image import numbered
from pixelwise.images.files import Refusal, shown
from pixelwise.images.image_files import decode_image
from pixelwise.images.nifti_bands import GZIP_MAGIC
from pixelwise.images.read_as import chosen, other_bands, positions
from pixelwise.records import RGB, Bands, Raster

NUMBER = re.compile(r"(.+)_(\d{4})")  # nnU-Net's file of one channel
VALUE_BYTES = 12  # of a pixel of three float32 values


class VolumeSlices:
    """A volume, read slice by slice along its third axis."""

    def __init__(self, files: Sequence[Path], bands: Bands, where: str) -> None:
        """Read the header.

        Args:
            files: the volume, or one of each channel.
            bands: those that the model takes.
            where: its name in error messages.

        Raises:
            Refusal: damaged, or not a volume of numbers.
            OtherBandsError: it has other channels, which the message names.
            MissingExtraError: without the extra `formats`.
        """
        self.path, self.bands, self.where = files[0], bands, where
        with refusals():
            shape, stored = nifti.shape_of(self.path), nifti.header_of(self.path).dataobj.dtype
        self.width, self.height = shape[:2]
        self.count = shape[2] if len(shape) > 2 else 1
        channels = len(files) if len(files) > 1 else math.prod(shape[3:])
        names = RGB.names if stored.names else numbered(channels)
        self.entry = entry_of(len(files), channels, names, bands)
        if self.entry is None:
            raise other_bands(where, names, "uint8" if stored.names else stored.name, bands)
        self.voxels = self.width * self.height * self.count * channels

    @property
    def pixels_in_memory(self) -> int:
        """The memory that reading takes, in pixels of three float32 values."""
        return self.voxels * 4 // VALUE_BYTES + self.width * self.height

    def read(self, number: int) -> Raster:
        """One slice [H, W, N], contiguous. Raises Refusal, ImageError."""
        entry = f"{number}{self.entry}"
        with refusals():
            if self.bands == RGB:
                return decode_image(nifti.image_bytes(self.path, entry), self.where)
            pixels_HWN = chosen(nifti.bands(self.path, entry), self.bands, self.where)
        return pixels_HWN if pixels_HWN.flags.c_contiguous else pixels_HWN.copy()

    def without_numbers(self, number: int) -> NDArray[np.bool_] | None:
        """Where a slice of 8-bit grey is NaN or infinite in the file [H, W]; None: nowhere. Bands keep their NaN."""
        with refusals():
            return nifti.without_numbers(self.path, f"{number}{self.entry}")


def entry_of(files: int, channels: int, names: tuple[str, ...], bands: Bands) -> str | None:
    """How `datasets.formats.nifti` reads the channels for a model of these bands; None: they are others."""
    if bands == RGB:
        if files == 1 and (channels == 1 or names == RGB.names):
            return ""
        return ("/rgb" if files == 3 else "/levels=0,1,2") if channels == 3 else None
    if names == RGB.names or positions(names, bands) is None:
        return None
    return f"/all-{'files' if files > 1 else 'axis'}={channels}"


def volume_channels(path: Path, bands: Bands) -> tuple[Path, tuple[Path, ...]] | None:
    """The volume that a file `NAME_0000.nii.gz` holds one channel of: its path without number, and its files.

    None: it stands alone under its own name.
    """
    stem = stem_of(path)
    found = NUMBER.fullmatch(stem)
    if found is None:
        return None
    ending = path.name[len(stem) :]
    files = tuple(path.with_name(f"{found[1]}_{number:04}{ending}") for number in range(len(bands) + 1))
    if path in files[:-1] and all(file.is_file() for file in files[:-1]) and not files[-1].is_file():
        return path.with_name(found[1]), files[:-1]
    if found[2] == "0000" and not files[1].is_file():  # one channel, numbered as nnU-Net wants it
        return path.with_name(found[1]), (path,)
    return None


def read_slice(path: Path, bands: Bands, number: int | None = None, name: str = "") -> tuple[Raster, str]:
    """One slice of a volume [H, W, N], and which: "ct.nii.gz, slice 12 of 0 to 23".

    Args:
        number: from 0; None: the middle one.
        name: the volume's in messages; "": the file's.

    Raises:
        ImageError: it cannot be read, or has other channels than the model takes.
        UsageError: it has no slice of that number.
    """
    where = name or shown(path)
    try:
        volume = VolumeSlices(volume_files(path, bands), bands, where)
        chosen_number = volume.count // 2 if number is None else number
        if not 0 <= chosen_number < volume.count:
            raise UsageError(f"{where}: has no slice {number}; its slices are 0 to {volume.count - 1}.")
        return volume.read(chosen_number), f"{where}, slice {chosen_number} of 0 to {volume.count - 1}"
    except Refusal as refusal:
        raise ImageError(f"{where}: {refusal}") from refusal


def only_slice(path: Path, bands: Bands) -> Raster:
    """The slice of a volume that has one [H, W, N]. Raises ImageError, also for several slices."""
    try:
        volume = VolumeSlices(volume_files(path, bands), bands, shown(path))
        if volume.count > 1:
            what = f"{shown(path)}: is a volume of {volume.count} slices; expected one image."
            raise ImageError(f"{what} `pixelwise predict` and pw.predict label all of them, pw.trace takes one.")
        return volume.read(0)
    except Refusal as refusal:
        raise ImageError(f"{shown(path)}: {refusal}") from refusal


def volume_files(path: Path, bands: Bands) -> tuple[Path, ...]:
    """All files of the volume that this is a channel of."""
    group = volume_channels(path, bands)
    return group[1] if group is not None else (path,)


def read_sent_slice(data: bytes, bands: Bands, name: str, number: int | None, most_pixels: int) -> tuple[Raster, str]:
    """As `read_slice`, of a file's bytes. Raises Refusal, too, where a slice has more than `most_pixels`."""
    with tempfile.TemporaryDirectory(prefix="pixelwise-") as folder:
        path = Path(folder) / ("volume.nii.gz" if data.startswith(GZIP_MAGIC) else "volume.nii")
        path.write_bytes(data)
        try:
            with refusals():
                width, height = nifti.shape_of(path)[:2]
            if width * height > most_pixels:
                what = f"has slices of {width}×{height} pixels; the limit is {most_pixels:,}."
                raise Refusal("too-large", what, "Send a smaller volume.")
            return read_slice(path, bands, number, name)
        finally:
            nifti.UNPACKED.kept.clear()  # the file is gone
