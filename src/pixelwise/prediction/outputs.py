"""What can be saved of a prediction: one writer a format, for images in memory and for those labelled in tiles.

A writer yields the parts of one file. Most read only labels, piece by piece, through `LabelSource`: the labels of a
large image stay on disk, and memory holds a strip or a block of them. Masks are written as `pixelwise check` and
`evaluate` read them, next to the images in one folder.

Shapes: H, W the image's size; R rows or columns of a strip.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.formats.coco_writer import coco_piece
from pixelwise.datasets.formats.geojson import collection_parts, features_of
from pixelwise.datasets.formats.labelme import labelme_text
from pixelwise.errors import UsageError
from pixelwise.images.false_colour import false_colour
from pixelwise.images.png_writer import png_parts
from pixelwise.prediction.confidence_maps import confidence_strips, entropy_strips
from pixelwise.prediction.overlay import encode_overlay, overlay
from pixelwise.records import RGB, Bands, ClassList, Labels, Prediction, Raster

SQUARE_PX = 512  # labels are read in strips of so many rows or columns
STRIP_PIXELS = 1 << 22  # whose runs are searched at a time
STATE = (
    ".predictions"  # the folder in OUT that holds what a run needs to resume; hidden, so no reader takes it for data
)


class LabelSource(Protocol):
    """The labels of one image, in memory or on disk."""

    @property
    def name(self) -> str: ...  # of the image's file
    @property
    def classes(self) -> ClassList: ...
    @property
    def size(self) -> tuple[int, int]: ...  # H, W
    @property
    def block_px(self) -> int: ...  # polygons end at the edges of blocks of this side
    def labels(self, rows: slice, columns: slice) -> Labels: ...


class WholeImage(NamedTuple):
    """An image in memory and its prediction."""

    image: Raster  # [H, W, bands]
    prediction: Prediction
    name: str
    bands: Bands = RGB

    @property
    def classes(self) -> ClassList:
        return self.prediction.classes

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.prediction.labels.shape
        return height, width

    @property
    def block_px(self) -> int:
        return max(self.size)

    def labels(self, rows: slice, columns: slice) -> Labels:
        return self.prediction.labels[rows, columns]


@dataclass(frozen=True)
class Output:
    """One format in which a prediction can be saved."""

    ending: str  # the file is OUT/NAME + ending
    parts: Callable[[WholeImage], Iterable[bytes]]
    folder: str = ""  # the file is OUT/folder/NAME + ending


def palette_png(source: LabelSource) -> Iterator[bytes]:
    return png_parts(row_strips(source), source.size, np.uint8, palette=source.classes.palette())


def index_png(source: LabelSource) -> Iterator[bytes]:
    return png_parts(row_strips(source), source.size, np.uint8)


def numpy_file(source: LabelSource) -> Iterator[bytes]:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": source.size})
    yield header.getvalue()
    for strip in row_strips(source):
        yield strip.tobytes()


def coco_lines(source: LabelSource) -> Iterator[bytes]:
    return coco_piece(source.name, source.size, column_strips(source))


def geojson_file(source: LabelSource) -> Iterator[bytes]:
    """A region that crosses the edge of a block becomes one polygon in each."""
    return collection_parts(PurePath(source.name).name, block_features(source))


def block_features(source: LabelSource) -> Iterator[dict[str, Any]]:
    (height, width), block_px = source.size, source.block_px
    for top in range(0, height, block_px):
        for left in range(0, width, block_px):
            rows, columns = slice(top, min(top + block_px, height)), slice(left, min(left + block_px, width))
            yield from features_of(source.labels(rows, columns), source.classes, (left, top))


def row_strips(source: LabelSource) -> Iterator[Labels]:
    """All labels in strips of rows from the top: uint8 [R, W]."""
    height, width = source.size
    for top in range(0, height, SQUARE_PX):
        yield source.labels(slice(top, min(top + SQUARE_PX, height)), slice(0, width))


def column_strips(source: LabelSource) -> Iterator[Labels]:
    """All labels in strips of columns from the left: uint8 [H, R], of STRIP_PIXELS or one column."""
    height, width = source.size
    step = max(STRIP_PIXELS // height, 1)
    for left in range(0, width, SQUARE_PX):
        columns = source.labels(slice(0, height), slice(left, min(left + SQUARE_PX, width)))
        for begin in range(0, columns.shape[1], step):
            yield columns[:, begin : begin + step]


def overlay_png(whole: WholeImage) -> list[bytes]:
    picture_HW3 = false_colour(whole.image, whole.bands)
    return [encode_overlay(overlay(picture_HW3, whole.prediction.labels, whole.classes))]


def labelme_file(whole: WholeImage) -> list[bytes]:
    return [labelme_text(whole.prediction.labels, whole.classes.names, PurePath(whole.name).name)]


def confidence_png(whole: WholeImage) -> Iterator[bytes]:
    return map_png(confidence_strips(whole.prediction), whole)


def entropy_png(whole: WholeImage) -> Iterator[bytes]:
    return map_png(entropy_strips(whole.prediction), whole)


def map_png(strips: Iterator[NDArray[np.uint16]], whole: WholeImage) -> Iterator[bytes]:
    return png_parts(strips, whole.size, np.uint16, smooth=True)


# In the order in which they are written.
OUTPUTS: dict[str, Output] = {
    "labels": Output(".png", palette_png),  # class ids as a palette PNG, in the classes' colours
    "index": Output(".png", index_png),  # class ids as a grey PNG, instead of labels
    "overlay": Output(".overlay.png", overlay_png),
    "numpy": Output(".npy", numpy_file),
    "coco": Output(".jsonl", coco_lines, f"{STATE}/coco"),  # run lengths, joined in predictions.coco.json
    "labelme": Output(".json", labelme_file),
    "geojson": Output(".geojson", geojson_file),  # polygons in pixels
    "confidence": Output(".confidence.png", confidence_png),  # of the most probable class, 16 bits: 0–65535
    "entropy": Output(".entropy.png", entropy_png),  # 16 bits: 0 certain, 65535 all classes equally likely
}
# Formats that an image labelled in tiles can have. Confidence and entropy need scores at every pixel, which are not
# kept; LabelMe's program opens whole images only, and GeoJSON has the same polygons.
LARGE_OUTPUTS: dict[str, Callable[[LabelSource], Iterator[bytes]]] = {
    "labels": palette_png,  # a TIFF's labels are a TIFF, see `write_tiff`
    "index": index_png,
    "numpy": numpy_file,
    "coco": coco_lines,
    "geojson": geojson_file,
}
DEFAULT = ("labels",)


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """The outputs of these names, each once, in the order of OUTPUTS.

    Raises:
        UsageError: an unknown name, no name, or two that would write the same file.
    """
    given = [name.strip() for name in names if name.strip()]
    unknown = [name for name in given if name not in OUTPUTS]
    if unknown or not given:
        problem = f"{unknown[0]!r} is not an output" if unknown else "no output was named"
        raise UsageError(f"{problem}; known: {', '.join(OUTPUTS)}.")
    if {"labels", "index"} <= set(given):
        raise UsageError("labels and index are both NAME.png, with and without colours. Save one of them.")
    return tuple(name for name in OUTPUTS if name in given)
