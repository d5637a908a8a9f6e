"""Images with one file a channel, to label: which files belong to one image.

    a_0000.tif, a_0001.tif     nnU-Net's numbers, as many as the model has bands
    a_red.tif, a_nir.tif       names of the model's bands at the end
    s1/red.tif, s1/nir.tif     a folder an image
    red/a.tif, nir/a.tif       a folder a band; test_red/red_a.tif, too

Unlike in a dataset, the model says which channels there are: files are grouped where all of its bands are there. For a
model of red, green and blue the files must be named so and hold one band each: `a_0000.png` … may be frames of a film.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from pixelwise.datasets.channel_files import ENDINGS, NUMBERS
from pixelwise.datasets.file_kinds import is_volume
from pixelwise.datasets.formats.band_folders import PARTS
from pixelwise.datasets.stacked_files import absent_in_stack, stack_part, stacked_bytes
from pixelwise.errors import ImageError
from pixelwise.images.band_facts import band_facts
from pixelwise.images.declared_no_data import Absent
from pixelwise.images.files import read_bytes, shown
from pixelwise.images.input_image import InputImage
from pixelwise.records import RGB, Bands


def channels_of(image: Path, bands: Bands) -> tuple[Path, tuple[Path, ...]] | None:
    """The image that a file is a channel of: its path without suffix, and the file of each band. None: alone."""
    if len(bands) < 2 or (bands == RGB and not _names_a_colour(image)):
        return None
    for stem, files in _readings(image, bands):
        if image in files and all(file.is_file() for file in files) and (bands != RGB or _one_band_each(files)):
            return stem, files
    return None


def _names_a_colour(image: Path) -> bool:
    """Whether red, green or blue ends its name or its folder's: quick, for folders of a million photos."""
    return image.stem.endswith(RGB.names) or image.parent.name.endswith(RGB.names)


def _one_band_each(files: tuple[Path, ...]) -> bool:
    """Whether each file holds one band, so that it is no photo of its own ("car_red.jpg"); from the headers."""
    try:
        return all(band_facts(file).bands == 1 for file in files)
    except ImageError:  # which labelling it alone reports
        return False


def _readings(image: Path, bands: Bands) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    folder, ending = image.parent, image.suffix
    numbers = tuple(f"{number:04}" for number in range(len(bands)))
    for pattern in ENDINGS:
        if found := pattern.match(image.stem):
            kept = image.stem[: -len(found[2])]  # with the separator
            names = numbers if NUMBERS.fullmatch(found[2]) else bands.names
            more = folder / f"{kept}{len(bands):04}{ending}"
            if names != numbers or (bands != RGB and not more.exists()):
                yield folder / found[1], tuple(folder / f"{kept}{name}{ending}" for name in names)
    yield folder, tuple(folder / f"{name}{ending}" for name in bands.names)
    above = folder.parent
    yield above / image.stem, tuple(above / name / image.name for name in bands.names)
    for band in bands.names:  # train_red/red_a.tif
        if band in PARTS.split(folder.name):
            files = tuple(
                above / _with_word(folder.name, band, name) / f"{_with_word(image.stem, band, name)}{ending}"
                for name in bands.names
            )
            yield above / _without_word(folder.name, band) / (_without_word(image.stem, band) or image.stem), files


def _with_word(name: str, word: str, other: str) -> str:
    """A name with another word in place of one at its begin or end: nir_a of red_a; unchanged without it."""
    return other.join(re.split(_at_ends(word), name, maxsplit=1))


def _without_word(name: str, word: str) -> str:
    return _with_word(name, word, "").strip("-_. ")


def _at_ends(word: str) -> str:
    return rf"^{re.escape(word)}(?![^-_. ])|(?<![^-_. ]){re.escape(word)}$"


def source_bytes(image: Path, channels: tuple[Path, ...]) -> bytes:
    """An image's file; of several channels, one NumPy array [H, W, bands]. Raises Refusal."""
    if not channels:
        return read_bytes(image)
    return stacked_bytes(channels[0], _entry(channels))


def _entry(channels: tuple[Path, ...]) -> str:
    return stack_part([(str(number), path) for number, path in enumerate(channels)]).partition(":")[2]


def absent_in_source(image: InputImage, channels: tuple[Path, ...]) -> Absent | None:
    """Where an image's file, or each of its channels, declares that it holds no data and the pixels cannot say it,
    [H, W]; None: nowhere. Raises Refusal."""
    return image.absent() if not channels else absent_in_stack(channels[0], _entry(channels))


def source_digest(image: Path, channels: tuple[Path, ...]) -> bytes:
    """SHA-256 of what `source_bytes` gives; of a volume, of its files. Raises Refusal, ImageError."""
    if is_volume(image):
        parts = [digest_of(path) for path in channels or (image,)]
        return bytes.fromhex(parts[0]) if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).digest()
    return hashlib.sha256(source_bytes(image, channels)).digest()


def digest_of(path: Path) -> str:
    """SHA-256 of a file that may be too large for memory. Raises ImageError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{shown(path)}: cannot be read ({error.strerror}).") from error


def source_stat(image: Path, channels: tuple[Path, ...]) -> tuple[int, int]:
    """(bytes, time of the last change in ns) of an image's files together. Raises OSError."""
    stats = [path.stat() for path in channels or (image,)]
    return sum(one.st_size for one in stats), max(one.st_mtime_ns for one in stats)


def modified_at(image: Path, channels: tuple[Path, ...]) -> int | None:
    """The time of `source_stat`; None for a file that is missing, which is reported when it is read."""
    try:
        return source_stat(image, channels)[1]
    except OSError:
        return None
