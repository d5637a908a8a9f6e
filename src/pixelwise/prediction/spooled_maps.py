"""Probability maps of an image in memory: its squares wait in a temporary file, as a TIFF has one map after the other.

Shapes: H, W the image's size; C classes; R rows of a strip.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pixelwise.prediction.confidence_maps import RowsOfProbabilities, strips_of_rows
from pixelwise.prediction.probability_maps import (
    PROBABILITY_FILES,
    TYPES,
    ProbabilityMaps,
    ProbabilityOptions,
    stored_values,
)
from pixelwise.prediction.squares import SQUARE_PX, deflated_square
from pixelwise.records import VOID, ClassList, Labels

SPOOL_BYTES = 64 << 20  # of squares in memory; more wait on disk
COPY_BYTES = 1 << 20


def probability_file(
    key: str, maps_of: RowsOfProbabilities, labels_HW: Labels, classes: ClassList, options: ProbabilityOptions,
    path: Path | None,
) -> Iterator[bytes]:  # fmt: skip
    """The bytes of one file of PROBABILITY_FILES.

    Args:
        maps_of: the probabilities of all classes, by rows.
        labels_HW: void where the image has no data.
        path: of the image's file, whose place on the earth a TIFF keeps. None: none.
    """
    with (
        spooled_maps(maps_of, labels_HW, classes, options, path) as maps,
        tempfile.TemporaryDirectory(prefix="pixelwise-") as folder,
    ):
        part = Path(folder) / "probabilities.part"
        with part.open("x+b") as file:
            PROBABILITY_FILES[key](maps, file)
        with part.open("rb") as file:
            while data := file.read(COPY_BYTES):
                yield data


@contextmanager
def spooled_maps(
    maps_of: RowsOfProbabilities, labels_HW: Labels, classes: ClassList, options: ProbabilityOptions, path: Path | None
) -> Iterator[ProbabilityMaps]:
    """The maps of one image. Arguments as `probability_file`."""
    from pixelwise.images.tiff import place_in_file  # which loads tifffile

    ids, dtype = options.ids(classes.names), TYPES[options.dtype]
    height, width = labels_HW.shape
    place, resolution = place_in_file(path) if path is not None else ({}, None)
    starts: dict[tuple[int, int, int], tuple[int, int]] = {}  # map, row and column → offset and length
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:

        def square(number: int, row: int, column: int) -> bytes:
            offset, length = starts[number, row, column]
            file.seek(offset)
            return file.read(length)

        for row, top in enumerate(range(0, height, SQUARE_PX)):
            strip = slice(top, min(top + SQUARE_PX, height))
            stored_CRW = np.empty((len(ids), strip.stop - top, width), dtype)
            for rows in strips_of_rows(strip, len(classes), width):
                is_void_RW = labels_HW[rows] == VOID
                stored_CRW[:, rows.start - top : rows.stop - top] = stored_values(
                    maps_of(rows)[list(ids)], is_void_RW, dtype
                )
            for number in range(len(ids)):
                for column, left in enumerate(range(0, width, SQUARE_PX)):
                    data = deflated_square(stored_CRW[number, :, left : left + SQUARE_PX], 0)
                    starts[number, row, column] = file.tell(), len(data)
                    file.write(data)
        names = tuple(classes.names[i] for i in ids)
        yield ProbabilityMaps((height, width), names, dtype, square, file.tell(), place, resolution)
