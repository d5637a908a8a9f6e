"""What can be saved of an image that was cut into tiles: the forms of `outputs`, each written piece by piece.

Memory holds a row of squares of the labels, or a column of them, or one block, whatever the image's size. The forms
that need scores at every pixel (confidence, entropy) are not made: scores of a large image are kept nowhere. Nor is
LabelMe's, whose program opens whole images only; GeoJSON has the same polygons.

Shapes: H, W the image's own size; R rows or columns of a strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.formats.coco_writer import coco_piece
from pixelwise.datasets.formats.geojson import collection_parts, features_of
from pixelwise.images.png_writer import png_parts
from pixelwise.prediction.large.label_store import SQUARE_PX, LabelStore
from pixelwise.records import VOID, ClassList, Labels

CLASSIC_BYTES = 2**32 - 2**25  # a TIFF past it becomes a BigTIFF
NODATA = 42113  # GDAL's tag for pixels without a value
BLOCK_PX = 4 * SQUARE_PX  # polygons end at the edges of blocks of this side
STRIP_PIXELS = 1 << 22  # whose runs are looked for at a time


class Source(NamedTuple):
    """What the forms are made of."""

    store: LabelStore
    classes: ClassList
    name: str  # of the image's file
    place: Mapping[int, tuple[int, int, Any]]  # GeoTIFF tags as number → (type, count, value)
    resolution: Any  # pixels a unit across and down, and the unit; or None


def write_tiff(source: Source, file: IO[bytes]) -> None:
    """A tiled, compressed palette TIFF, a BigTIFF where it must be, with the image's place on the earth."""
    import tifffile

    store = source.store
    colours = np.zeros((3, 256), np.uint16)
    colours[:, : len(source.classes)] = np.array(source.classes.colours, np.uint16).T * 257
    options: dict[str, Any] = {"extratags": [(code, *value, True) for code, value in source.place.items()]}
    options["extratags"].append((NODATA, 2, 0, str(VOID), True))
    if source.resolution is not None:
        options |= {"resolution": source.resolution[:2], "resolutionunit": source.resolution[2]}
    total = sum(record.starts[-1] - record.starts[0] + 16 * len(record.starts) for record in store.records)
    with tifffile.TiffWriter(file, bigtiff=total > CLASSIC_BYTES) as writer:
        writer.write(
            store.squares(),
            shape=store.size,
            dtype=np.uint8,
            tile=(SQUARE_PX, SQUARE_PX),
            compression="deflate",
            photometric="palette",
            colormap=colours,
            software="pixelwise",
            metadata=None,
            **options,
        )


def write_palette_png(source: Source, file: IO[bytes]) -> None:
    write_png(source, file, source.classes.palette())


def write_index_png(source: Source, file: IO[bytes]) -> None:
    write_png(source, file, None)


def write_png(source: Source, file: IO[bytes], palette: NDArray[np.uint8] | None) -> None:
    for part in png_parts(bands(source.store), source.store.size, np.uint8, palette=palette):
        file.write(part)


def write_numpy(source: Source, file: IO[bytes]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": source.store.size}
    np.lib.format.write_array_header_1_0(file, header)
    for band in bands(source.store):
        file.write(band.data)


def write_coco(source: Source, file: IO[bytes]) -> None:
    for part in coco_piece(source.name, source.store.size, column_strips(source.store)):
        file.write(part)


def write_geojson(source: Source, file: IO[bytes]) -> None:
    """Polygons of blocks: what reaches over the edge of a block is drawn as one polygon in each."""
    store = source.store

    def features() -> Iterator[dict[str, Any]]:
        for top in range(0, store.height, BLOCK_PX):
            for left in range(0, store.width, BLOCK_PX):
                rows = slice(top, min(top + BLOCK_PX, store.height))
                columns = slice(left, min(left + BLOCK_PX, store.width))
                yield from features_of(store.labels(rows, columns), source.classes, (left, top))

    for part in collection_parts(PurePath(source.name).name, features()):
        file.write(part)


def bands(store: LabelStore) -> Iterator[Labels]:
    """All labels in rows of squares from the top: uint8 [R, W]."""
    for top in range(0, store.height, SQUARE_PX):
        yield store.labels(slice(top, min(top + SQUARE_PX, store.height)), slice(0, store.width))


def column_strips(store: LabelStore) -> Iterator[Labels]:
    """All labels in strips of columns from the left: uint8 [H, R], of STRIP_PIXELS or one column."""
    step = max(STRIP_PIXELS // store.height, 1)
    for left in range(0, store.width, SQUARE_PX):
        columns = store.labels(slice(0, store.height), slice(left, min(left + SQUARE_PX, store.width)))
        for begin in range(0, columns.shape[1], step):
            yield columns[:, begin : begin + step]


LARGE_OUTPUTS: dict[str, Callable[[Source, IO[bytes]], None]] = {
    "labels": write_palette_png,  # of a TIFF it is `write_tiff`
    "index": write_index_png,
    "numpy": write_numpy,
    "coco": write_coco,
    "geojson": write_geojson,
}
