"""The pages of a TIFF that are slices of one stack: which there are, and a file of one of them alone.

A page is taken out by its directory's place: the file's header leads to it, and it leads to no other. No pixels are
copied but those of the whole file.
"""

from __future__ import annotations

import struct

from pixelwise.errors import ImageError
from pixelwise.images.band_facts import band_facts
from pixelwise.images.banded_image import numbered
from pixelwise.images.files import Refusal
from pixelwise.images.read_as import positions
from pixelwise.images.tiff_header import (
    BITS,
    FORMAT,
    HEADS,
    HEIGHT,
    KIND,
    MASK,
    MOST_PAGES,
    REDUCED,
    SAMPLES,
    WIDTH,
    Directory,
    TiffFile,
    tiff_bytes,
)
from pixelwise.records import RGB, Bands

ALIKE = (WIDTH, HEIGHT, BITS, SAMPLES, FORMAT)  # tags that slices share


def stack_pages(data: bytes, bands: Bands) -> list[int]:
    """The places of the directories of a stack's slices; [] of files that hold one image for a model of these bands.

    Pages that are the bands of one image are none.
    """
    if data[:4] not in HEADS:
        return []
    try:
        places = _alike(tiff_bytes(data))
        if len(places) < 2 or bands == RGB:
            return places if len(places) > 1 else []
        together, alone = (band_facts(one).band_names for one in (data, only_page(data, places[0])))
    except (struct.error, Refusal, ImageError):  # which decoding it reports
        return []
    are_bands = positions(together, bands) is not None
    if together == numbered(len(together)):  # "band 1" of more: each page has one
        are_bands = len(together) == len(bands)
    return places if not are_bands and positions(alone, bands) is not None else []


def only_page(data: bytes, place: int) -> bytes:
    """The file with the page at this place alone. Raises struct.error, Refusal: damaged."""
    file = tiff_bytes(data)
    letter, at = ("Q", 8) if file.big else ("I", 4)
    head, entry = (8, 20) if file.big else (2, 12)
    (count,) = struct.unpack(file.order + ("Q" if file.big else "H"), file.read(place, head))
    alone = bytearray(data)
    struct.pack_into(file.order + letter, alone, at, place)
    struct.pack_into(file.order + letter, alone, place + head + entry * count, 0)
    return bytes(alone)


def _alike(file: TiffFile) -> list[int]:
    """The places of the pages like the first, without reduced copies and transparency masks. Raises as `first`."""
    wanted = _kind(file, file.first())
    places: list[int] = []
    at, visited = file.start, set[int]()
    while at and at not in visited and len(places) < MOST_PAGES and len(visited) <= 4 * MOST_PAGES:
        visited.add(at)
        try:
            page = file.directory(at)
            is_picture = not file.number(page, KIND, 0) & (REDUCED | MASK)
            places += [at] if is_picture and _kind(file, page) == wanted else []
        except (struct.error, Refusal):  # a damaged later page does not affect the others
            break
        at = page.after
    return places


def _kind(file: TiffFile, page: Directory) -> tuple[int, ...]:
    return tuple(file.number(page, code, 1) for code in ALIKE)
