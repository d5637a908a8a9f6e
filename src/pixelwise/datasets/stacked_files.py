"""Images whose bands lie in several files, and band names that the files themselves do not hold.

`Sample.image_part` is "stack:" and the name and file of each band, relative to the folder of the first; or "named:" and
the names of the bands, with the part of another reader inside. Both are JSON, so that a run stores its samples as text.

Shapes: H, W of one image.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pixelwise.images.band_facts import BandFacts, band_facts
from pixelwise.images.banded_image import BandedImage, banded_image
from pixelwise.images.declared_no_data import Absent, absent_pixels
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.images.read_as import whole_bytes
from pixelwise.records import RGB, Pixels, Raster, Sample

NAMED, STACK = "named", "stack"


def with_names(sample: Sample, names: Sequence[str]) -> Sample:
    """A sample whose image has bands of these names, in the order of the file."""
    inside = names_and_sample(sample)[1].image_part
    return replace(sample, image_part=f"{NAMED}:{json.dumps({'names': list(names), 'inside': inside})}")


def names_and_sample(sample: Sample) -> tuple[tuple[str, ...], Sample]:
    """The names that `with_names` gave, () if none, and the sample without them."""
    reader, _, entry = sample.image_part.partition(":")
    if reader != NAMED:
        return (), sample
    row = json.loads(entry)
    return tuple(row["names"]), replace(sample, image_part=row["inside"])


def stack_part(bands: Sequence[tuple[str, Path]]) -> str:
    """The part of a sample whose image is the first file, and whose bands are those of all files, each with a name."""
    folder = bands[0][1].parent
    rows = [[name, Path(os.path.relpath(path, folder)).as_posix()] for name, path in bands]
    return f"{STACK}:{json.dumps(rows)}"


def stacked_paths(first: Path, entry: str) -> list[tuple[str, Path]]:
    """The name and path of every file of `stack_part`."""
    return [(str(name), first.parent / path) for name, path in json.loads(entry)]


def stacked_bytes(first: Path, entry: str, names: Sequence[str] = ()) -> bytes:
    """The bands of several files as the bytes of one: a TIFF of 8 bits of red, green and blue, else a NumPy array
    [H, W, bands].

    Args:
        names: those of the bands; (): as `stacked` has them.

    Raises:
        Refusal: as `stacked`.
    """
    image = stacked(first, entry)
    colours = _eight_bits(image.pixels) if (tuple(names) or image.names) == RGB.names else None
    return array_bytes(image.pixels) if colours is None else _tiff_bytes(colours)


def _eight_bits(pixels: Raster) -> Pixels | None:
    """16 bits reduced as decoders do; 8 bits as they are, 128 where a value is missing; None of others."""
    if pixels.dtype == np.uint16:
        return np.asarray((pixels.astype(np.uint32) + 128) // 257, np.uint8)
    return whole_bytes(pixels)


def _tiff_bytes(pixels_HW3: Pixels) -> bytes:
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, pixels_HW3, photometric="rgb", planarconfig="contig", metadata=None)
    return file.getvalue()


def absent_in_stack(first: Path, entry: str) -> Absent | None:
    """Where every file declares that it holds no data, [H, W]; None: nowhere. Raises Refusal."""
    absent: Absent | None = None
    for _, path in stacked_paths(first, entry):
        own = absent_pixels(path)
        if own is None or (absent is not None and own.shape != absent.shape):  # which is reported when it is read
            return None
        absent = own if absent is None else absent & own
    return absent if absent is not None and absent.any() else None


def stacked(first: Path, entry: str) -> BandedImage:
    """The bands of several files: uint8 or uint16 if all are, else float32.

    Raises:
        Refusal: a file cannot be read, or the sizes differ.
    """
    images: list[tuple[str, BandedImage]] = []
    for name, path in stacked_paths(first, entry):
        try:
            image = banded_image(read_bytes(path))
        except Refusal as refusal:
            raise Refusal(refusal.kind, f"its band {shown(path.name)} {refusal.what}", refusal.remedy) from refusal
        images.append((name, image))
        size, wanted = image.pixels.shape[:2], images[0][1].pixels.shape[:2]
        if size != wanted:
            what = f"its band {shown(path.name)} is {size[1]}×{size[0]}, the first is {wanted[1]}×{wanted[0]}."
            raise Refusal("size-mismatch", what, "Export all bands on one grid.")
    parts = [image.pixels for _, image in images]
    pixels = np.concatenate([part.astype(_common(parts), copy=False) for part in parts], axis=2)
    dropped = tuple(one for _, image in images for one in image.dropped)
    return BandedImage(pixels, _names(images), dropped)


def stacked_facts(first: Path, entry: str) -> BandFacts:
    """The facts of `stacked`, from the headers of the files. Raises ImageError."""
    facts = [(name, band_facts(path)) for name, path in stacked_paths(first, entry)]
    own = facts[0][1]
    alike = len({fact.stored for _, fact in facts}) == 1
    return replace(
        own,
        bands=sum(fact.bands for _, fact in facts),
        names=_names(facts),
        dtype=own.dtype if alike else "float32",
        stored=own.stored if alike else "float32",
    )


def _names(images: Sequence[tuple[str, BandedImage | BandFacts]]) -> tuple[str, ...]:
    """The names of all bands: that of a file with one band, else the bands' own; with the file's if they clash."""
    plain = [name for word, image in images for name in ([word] if len(image.band_names) == 1 else image.band_names)]
    if len(set(plain)) == len(plain):
        return tuple(plain)
    return tuple(
        word if len(image.band_names) == 1 else f"{word} {name}" for word, image in images for name in image.band_names
    )


def _common(parts: Sequence[Raster]) -> type[np.uint8] | type[np.uint16] | type[np.float32]:
    kinds = {part.dtype for part in parts}
    return np.uint8 if kinds == {np.dtype("uint8")} else np.uint16 if kinds == {np.dtype("uint16")} else np.float32


def array_bytes(pixels: Raster) -> bytes:
    """An image [H, W, bands] as the bytes of a .npy file, which `images` reads."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(pixels), version=(1, 0), allow_pickle=False)
    return file.getvalue()
