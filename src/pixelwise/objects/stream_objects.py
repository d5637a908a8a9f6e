"""Objects of an image of any size, strip by strip: an object that crosses strips is one object.

Each strip is separated with rows of its neighbours around it. The strip that holds an object's summit owns the object;
what another strip found of it belongs to whatever the owner has at the summit. Object numbers wait compressed in a
temporary file, and get their final values when all strips are known; then they are measured.

Shapes: H, W the image's size; R rows; N objects.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from pixelwise.images.pixel_size import PixelSize
from pixelwise.metrics.regions import united
from pixelwise.objects.measure import table_of
from pixelwise.objects.object_records import FoundObjects, ObjectMap, ObjectTable, Separation
from pixelwise.objects.object_sums import CONTEXT, ObjectSums
from pixelwise.objects.separate import Evidence, WindowObjects, separate_window, shifted
from pixelwise.records import ClassList, Labels, Raster

STRIP_PIXELS = 1 << 23  # of a strip of an image that does not fit into one
WHOLE_PIXELS = 1 << 24  # an image of so many pixels is one strip
LEVEL = 1  # of deflate
AROUND_PX = (64, 256)  # least and most rows around a strip
AROUND_UNKNOWN_PX = 128
SPOOLED_BYTES = 1 << 24
AREA_ROWS = 256  # at a time


@dataclass(frozen=True)
class ObjectSource:
    """An image whose objects are sought, read by rows [first, stop)."""

    size: tuple[int, int]  # H, W
    classes: ClassList
    labels: Callable[[slice], Labels]
    image: Callable[[slice], Raster] | None = None
    band_names: tuple[str, ...] = ()
    confidence: Callable[[slice], NDArray[np.float32]] | None = None
    borders: Callable[[slice], Mapping[int, NDArray[np.float32]]] | None = None
    pixel_size: PixelSize | None = None


class NumberStore:
    """Strips of object numbers, compressed in a temporary file. A context manager."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.file = tempfile.SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115 (closed by `close`)
        self.tops: list[int] = [0]
        self.places: list[tuple[int, int]] = []
        self.held: dict[int, ObjectMap] = {}  # the last two strips that were read

    def add(self, strip: ObjectMap) -> None:
        packed = isal_zlib.compress(np.ascontiguousarray(strip), LEVEL)
        self.places.append((self.file.seek(0, 2), len(packed)))
        self.file.write(packed)
        self.tops.append(self.tops[-1] + len(strip))

    def strip(self, index: int) -> ObjectMap:
        if index not in self.held:
            while len(self.held) > 1:
                self.held.pop(next(iter(self.held)))
            start, length = self.places[index]
            self.file.seek(start)
            values = np.frombuffer(isal_zlib.decompress(self.file.read(length)), np.uint32)
            self.held[index] = values.reshape(-1, self.width)
        return self.held[index]

    def rows(self, first: int, stop: int, columns: slice = slice(None)) -> ObjectMap:
        """Rows [first, stop), 0 outside the image."""
        found = np.zeros((stop - first, len(range(self.width)[columns])), np.uint32)
        for index, (top, bottom) in enumerate(zip(self.tops, self.tops[1:], strict=False)):
            begin, end = max(first, top), min(stop, bottom)
            if begin < end:
                found[begin - first : end - first] = self.strip(index)[begin - top : end - top, columns]
        return found

    def close(self) -> None:
        self.file.close()


@dataclass(frozen=True)
class MeasuredObjects:
    """The objects of one image: their measurements, and their numbers by rows. A context manager."""

    table: ObjectTable
    size: tuple[int, int]
    store: NumberStore = field(repr=False)
    numbers: NDArray[np.uint32] = field(repr=False)  # number in the store → row of the table + 1; 0: no object

    def rows(self, first: int, stop: int) -> ObjectMap:
        """The object map of rows [first, stop)."""
        return self.numbers.take(self.store.rows(first, stop))

    def crops(self) -> Iterator[tuple[NDArray[np.bool_], tuple[int, int]]]:
        """The pixels of each object in its box, and the box's top and left."""
        boxes = np.stack([self.table.columns[f"bbox-{i}"] for i in range(4)], axis=1)
        for number, (top, left, bottom, right) in enumerate(boxes.tolist(), start=1):
            stored = self.store.rows(top, bottom, slice(left, right))
            yield self.numbers.take(stored) == number, (top, left)

    def strips(self, rows: int = 512) -> Iterator[ObjectMap]:
        """The object map in strips from the top."""
        for top in range(0, self.size[0], rows):
            yield self.rows(top, min(top + rows, self.size[0]))

    def only(self, kept_N: NDArray[np.bool_]) -> MeasuredObjects:
        """Some of the objects, with new numbers in the same order."""
        new = np.concatenate([[0], np.where(kept_N, np.cumsum(kept_N), 0)]).astype(np.uint32)
        table = self.table.rows(kept_N)
        table = ObjectTable({**table.columns, "label": np.arange(1, len(table) + 1)}, table.unit)
        return MeasuredObjects(table, self.size, self.store, new.take(self.numbers))

    def __enter__(self) -> MeasuredObjects:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()


def stream_objects(
    source: ObjectSource,
    separations: Mapping[int, Separation],
    around_px: int = AROUND_UNKNOWN_PX,
    rows: int | None = None,
) -> MeasuredObjects:
    """Find and measure the objects of an image, strip by strip.

    Args:
        separations: class id → how its touching objects are separated; other classes have no objects.
        around_px: rows of the neighbours that each strip sees: more than the diameter of an object.
        rows: of a strip. None: as many as memory allows.

    Returns:
        The objects, numbered in order of the strips that own them. Close it to free its temporary file.

    Raises:
        MissingExtraError: a method other than "components" without scikit-image.
    """
    store = NumberStore(source.size[1])
    try:
        finder = StripFinder(source, separations, store, around_px)
        for top, bottom in strips_of(source.size, around_px, rows):
            finder.add(top, bottom)
        numbers, class_N = finder.final_numbers()
        return MeasuredObjects(measured(source, store, numbers, class_N), source.size, store, numbers)
    except BaseException:
        store.close()
        raise


def objects_in_strips(
    source: ObjectSource,
    separations: Mapping[int, Separation],
    around_px: int = AROUND_UNKNOWN_PX,
    rows: int | None = None,
) -> FoundObjects:
    """As `separate.find_objects`, with the memory of one strip besides the object map.

    An image of one strip has the same objects; in others, numbers follow the strips, and a cut may fall elsewhere
    between two objects that touch at a seam.

    Args: as of `stream_objects`.

    Raises:
        MissingExtraError: a method other than "components" without scikit-image.
    """
    size, store = source.size, NumberStore(source.size[1])
    try:
        finder = StripFinder(source, separations, store, around_px)
        for top, bottom in strips_of(size, around_px, rows):
            finder.add(top, bottom)
        numbers, class_N = finder.final_numbers()
        area_N = np.zeros(len(class_N) + 1, np.int64)
        parts = [slice(top, min(top + AREA_ROWS, size[0])) for top in range(0, size[0], AREA_ROWS)]
        for part in parts:
            area_N += np.bincount(numbers.take(store.rows(part.start, part.stop)).ravel(), minlength=len(area_N))
        kept_N = area_N[1:] >= [separations[int(c)].least_px for c in class_N]
        new = np.concatenate([[0], np.where(kept_N, np.cumsum(kept_N), 0)]).astype(np.uint32).take(numbers)
        objects_HW = np.empty(size, np.uint32)
        for part in parts:
            objects_HW[part] = new.take(store.rows(part.start, part.stop))
        return FoundObjects(objects_HW, class_N[kept_N])
    finally:
        store.close()


def around_px(separations: Mapping[int, Separation], largest_px: Mapping[int, float]) -> int:
    """How many rows around a strip its separation needs, given the area of large objects of some classes."""
    known = [2 * np.sqrt(4 / np.pi * largest_px[c]) if c in largest_px else AROUND_UNKNOWN_PX for c in separations]
    return int(np.clip(max(known, default=AROUND_UNKNOWN_PX), *AROUND_PX))


def strips_of(size: tuple[int, int], around: int, rows: int | None) -> list[tuple[int, int]]:
    """Top and bottom of the strips."""
    height, width = size
    if rows is None:
        rows = height if height * width <= WHOLE_PIXELS else max(STRIP_PIXELS // width, around)
    return [(top, min(top + rows, height)) for top in range(0, height, max(rows, 1))]


class StripFinder:
    """Finds objects strip by strip, and which of them are one."""

    def __init__(
        self, source: ObjectSource, separations: Mapping[int, Separation], store: NumberStore, around: int
    ) -> None:
        self.source, self.separations, self.store, self.around = source, separations, store, around
        self.number = 0  # of objects of all strips so far
        self.classes: list[NDArray[np.uint8]] = [np.zeros(1, np.uint8)]
        self.above: NDArray[np.intp] = np.empty(0, np.intp)  # pairs of numbers that are one object
        self.below: NDArray[np.intp] = np.empty(0, np.intp)
        self.waiting: NDArray[np.intp] = np.empty((0, 2), np.intp)  # flat place of a summit, number of its object
        self.last_row: NDArray[np.uint32] = np.empty(0, np.uint32)
        self.whole = np.zeros(256, np.bool_)  # classes whose connected pixels are one object
        self.whole[[c for c, separation in separations.items() if separation.method == "components"]] = True

    def add(self, top: int, bottom: int) -> None:
        """Find the objects of rows [top, bottom)."""
        height, width = self.source.size
        first, stop = max(top - self.around, 0), min(bottom + self.around, height)
        found = separate_window(self.source.labels(slice(first, stop)), self.separations, self.evidence(first, stop))
        own_RW = found.objects_HW[top - first : bottom - first]
        numbers, place_M = self.numbered(found, own_RW, first * width)
        strip = numbers.take(own_RW)
        self.store.add(strip)
        class_of = np.concatenate(self.classes)
        if top:
            self.join_seam(strip[0], class_of)
        self.last_row = strip[-1].copy()
        own = self.number - len(place_M) + 1 + np.arange(len(place_M))
        away = (place_M < top * width) | (place_M >= bottom * width)
        self.waiting = np.concatenate([self.waiting, np.stack([place_M, own], axis=1)[away]])
        self.resolve(bottom, class_of)

    def evidence(self, first: int, stop: int) -> Evidence:
        methods = {separation.method for separation in self.separations.values()}
        rows, source = slice(first, stop), self.source
        borders = source.borders(rows) if source.borders is not None and "border" in methods else {}
        return Evidence(borders, source.image(rows) if source.image is not None and "intensity" in methods else None)

    def numbered(
        self, found: WindowObjects, own_RW: ObjectMap, offset: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.intp]]:
        """Numbers for the objects of a window that have pixels in its strip, and the places of their summits."""
        inside = np.zeros(len(found.class_N) + 1, np.bool_)
        inside[own_RW.ravel()] = True
        inside[0] = False
        numbers = np.where(inside, np.cumsum(inside) + self.number, 0).astype(np.uint32)
        self.number += int(inside.sum())
        self.classes.append(found.class_N[inside[1:]])
        return numbers, found.summit_N[inside[1:]] + offset

    def join_seam(self, row_W: NDArray[np.uint32], class_of: NDArray[np.uint8]) -> None:
        """Join connected pixels of the classes whose connected pixels are one object across the seam."""
        rows = np.stack([self.last_row, row_W])
        for down, right in ((1, 0), (1, 1), (1, -1)):
            upper, lower = (values.ravel().astype(np.intp) for values in shifted(rows, down, right))
            one = (upper > 0) & (lower > 0) & (class_of[upper] == class_of[lower]) & self.whole[class_of[upper]]
            self.join(upper[one], lower[one])

    def join(self, a: NDArray[np.intp], b: NDArray[np.intp]) -> None:
        self.above, self.below = np.concatenate([self.above, a]), np.concatenate([self.below, b])

    def resolve(self, bottom: int, class_of: NDArray[np.uint8]) -> None:
        """Join objects to what the rows above `bottom` hold at their summits."""
        width = self.source.size[1]
        here = self.waiting[:, 0] < bottom * width
        if not here.any():
            return
        place, own = self.waiting[here].T
        there = np.empty(len(place), np.intp)
        for index, (begin, end) in enumerate(zip(self.store.tops, self.store.tops[1:], strict=False)):
            chosen = (place >= begin * width) & (place < end * width)
            if chosen.any():
                there[chosen] = self.store.strip(index).ravel().take(place[chosen] - begin * width)
        one = (there > 0) & (class_of[there] == class_of[own])
        self.join(own[one], there[one])
        self.waiting = self.waiting[~here]

    def final_numbers(self) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Number in the store → final number, and the class of each of these."""
        group = united(self.above, self.below, self.number + 1)  # 0 is alone, and first
        class_of = np.concatenate(self.classes)
        class_N = np.zeros(int(group.max(initial=0)) + 1, np.uint8)
        class_N[group] = class_of
        return group.astype(np.uint32), class_N[1:]


def measured(
    source: ObjectSource, store: NumberStore, numbers: NDArray[np.uint32], class_N: NDArray[np.uint8]
) -> ObjectTable:
    """The table of objects whose numbers are in the store."""
    width, number = source.size[1], len(class_N)
    bands = source.band_names if source.image is not None else ()
    sums = ObjectSums(number, width, len(bands), with_confidence=source.confidence is not None)
    step = max(STRIP_PIXELS // 2 // width, 1)
    for top in range(0, source.size[0], step):
        rows = slice(top, min(top + step, source.size[0]))
        padded = numbers.take(store.rows(rows.start - CONTEXT, rows.stop + CONTEXT))
        if not padded.any():
            continue
        image = source.image(rows) if source.image is not None else None
        sums.add(padded, top, image, source.confidence(rows) if source.confidence is not None else None)
    names: NDArray[Any] = np.array(source.classes.names, np.str_)[class_N]
    return table_of(sums, names, source.size, bands, source.pixel_size)
