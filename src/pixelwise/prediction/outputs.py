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
from functools import partial
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Protocol

import numpy as np

from pixelwise.datasets.formats.coco_writer import coco_piece
from pixelwise.datasets.formats.geojson import collection_parts, features_of
from pixelwise.datasets.formats.labelme import labelme_text
from pixelwise.errors import ImageError, UsageError
from pixelwise.images.false_colour import false_colour
from pixelwise.images.files import shown
from pixelwise.images.png_writer import png_parts
from pixelwise.objects.stream_objects import MeasuredObjects
from pixelwise.prediction.confidence_maps import (
    Confidence,
    Probabilities,
    RowsOfProbabilities,
    rows_of,
    scores_of_rows,
    sixteen_bits,
    strips_of_rows,
)
from pixelwise.prediction.object_files import coco_parts, csv_parts, geojson_parts, map_parts, parquet_parts
from pixelwise.prediction.objects_once import ObjectsOnce
from pixelwise.prediction.overlay import encode_overlay, overlay
from pixelwise.prediction.probability_maps import ProbabilityOptions
from pixelwise.prediction.spooled_maps import probability_file
from pixelwise.prediction.squares import SQUARE_PX
from pixelwise.records import RGB, VOID, Bands, ClassList, Labels, Prediction, Raster
from pixelwise.softmax import entropy

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

    # The probability of the most probable class, float32 0–1, and the entropy; 0 where the label is void. A large image
    # has them only for the outputs in NEEDS_CONFIDENCE and NEEDS_ENTROPY.
    def confidence(self, rows: slice, columns: slice) -> Confidence: ...
    def entropy(self, rows: slice, columns: slice) -> Confidence: ...
    def image_rows(self, rows: slice) -> Raster: ...  # [R, W, bands]
    @property
    def path(self) -> Path | None: ...  # of the image's file
    @property
    def objects(self) -> ObjectsOnce | None: ...  # None: this image's objects are not asked for

    # The probabilities of borders between objects, float32 0–1 [B, R, Q]; None from a model without them. A large image
    # has them only for the outputs in NEEDS_BORDERS.
    def borders(self, rows: slice, columns: slice) -> Probabilities | None: ...


class WholeImage(NamedTuple):
    """An image in memory and its prediction."""

    image: Raster  # [H, W, bands]
    prediction: Prediction
    name: str
    bands: Bands = RGB
    path: Path | None = None  # of the image's file
    rows_of_probabilities: RowsOfProbabilities | None = None  # None: those of the prediction's scores
    probabilities: ProbabilityOptions = ProbabilityOptions()
    objects: ObjectsOnce | None = None

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

    def image_rows(self, rows: slice) -> Raster:
        return self.image[rows]

    def confidence(self, rows: slice, columns: slice) -> Confidence:
        return self.share(lambda probability_CRW: probability_CRW.max(axis=0), rows, columns)

    def entropy(self, rows: slice, columns: slice) -> Confidence:
        return self.share(entropy, rows, columns)

    def probabilities_of(self, rows: slice) -> Probabilities:
        """Every class's probability in the rows [start, stop), [C, R, W]."""
        return (self.rows_of_probabilities or rows_of(self.prediction))(rows)

    def borders(self, rows: slice, columns: slice) -> Probabilities | None:
        found = self.prediction.borders
        return None if found is None else scores_of_rows(found, self.size, rows)[:, :, columns]

    def share(self, share_of: Callable[[Probabilities], Confidence], rows: slice, columns: slice) -> Confidence:
        """A share 0–1 of the probabilities at every pixel, 0 where the label is void."""
        found = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        for part in strips_of_rows(rows, len(self.classes), self.size[1]):
            share_RW = share_of(self.probabilities_of(part))
            found[part.start - rows.start : part.stop - rows.start] = share_RW[:, columns]
        found[self.labels(rows, columns) == VOID] = 0
        return found


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
    return (source.labels(rows, slice(0, source.size[1])) for rows in strips_of_image(source.size))


def strips_of_image(size: tuple[int, int]) -> Iterator[slice]:
    """All rows of an image of `size` (H, W), SQUARE_PX at a time."""
    return (slice(top, min(top + SQUARE_PX, size[0])) for top in range(0, size[0], SQUARE_PX))


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


def confidence_png(source: LabelSource) -> Iterator[bytes]:
    return map_png(source.confidence, source.size)


def entropy_png(source: LabelSource) -> Iterator[bytes]:
    return map_png(source.entropy, source.size)


def map_png(share: Callable[[slice, slice], Confidence], size: tuple[int, int]) -> Iterator[bytes]:
    """Shares 0–1 as 0–65535."""
    strips = (sixteen_bits(share(rows, slice(0, size[1]))) for rows in strips_of_image(size))
    return png_parts(strips, size, np.uint16, smooth=True)


def probabilities_of_whole(key: str, whole: WholeImage) -> Iterator[bytes]:
    labels_HW, options = whole.prediction.labels, whole.probabilities
    return probability_file(key, whole.probabilities_of, labels_HW, whole.classes, options, whole.path)


def not_on_a_map(source: LabelSource) -> Iterator[bytes]:
    """Raises ImageError: a GeoPackage holds map coordinates, and this image has none."""
    raise ImageError(
        f"{shown(source.name)}: its file does not say where on the earth it lies, which a GeoPackage needs. Save "
        "geojson, whose polygons are then in pixels, or give the file a place: gdal_translate -a_srs CRS -a_ullr …"
    )


def objects_of(source: LabelSource) -> MeasuredObjects:
    """The objects of an image, found once for all its outputs."""
    assert source.objects is not None, "an image whose objects are saved has been given what finds them"
    return source.objects.of(source)


# Files of an image's objects. Those that are ready are kept until all are written.
OBJECT_FILES: dict[str, Callable[[LabelSource], Iterator[bytes]]] = {
    "objects": lambda source: csv_parts(objects_of(source).table),
    "objects-parquet": lambda source: parquet_parts(objects_of(source).table),
    "objects-geojson": lambda source: geojson_parts(objects_of(source), source.classes, source.name),
    "objects-coco": lambda source: coco_parts(objects_of(source), source.classes, source.name),
    "objectmap": lambda source: map_parts(objects_of(source), source.path),
}
# In the order in which they are written.
OUTPUTS: dict[str, Output] = {
    "labels": Output(".png", palette_png),  # class ids as a palette PNG, in the classes' colours
    "index": Output(".png", index_png),  # class ids as a grey PNG, instead of labels
    "overlay": Output(".overlay.png", overlay_png),
    "numpy": Output(".npy", numpy_file),
    "coco": Output(".jsonl", coco_lines, f"{STATE}/coco"),  # run lengths, joined in predictions.coco.json
    "labelme": Output(".json", labelme_file),
    "geojson": Output(".geojson", geojson_file),  # polygons in pixels, or in WGS 84: see `map_outputs`
    "geopackage": Output(".gpkg", not_on_a_map),  # polygons in map coordinates: see `map_outputs`
    "confidence": Output(".confidence.png", confidence_png),  # of the most probable class, 16 bits: 0–65535
    "entropy": Output(".entropy.png", entropy_png),  # 16 bits: 0 certain, 65535 all classes equally likely
    # Of every class at every pixel.
    "probabilities": Output(".probabilities.tif", partial(probabilities_of_whole, "probabilities")),
    "probabilities-npz": Output(".probabilities.npz", partial(probabilities_of_whole, "probabilities-npz")),
    "probabilities-zarr": Output(".probabilities.zarr.zip", partial(probabilities_of_whole, "probabilities-zarr")),
    # One row, polygon, mask or number an object.
    "objects": Output(".objects.csv", OBJECT_FILES["objects"]),
    "objects-parquet": Output(".objects.parquet", OBJECT_FILES["objects-parquet"]),
    "objects-geojson": Output(".objects.geojson", OBJECT_FILES["objects-geojson"]),
    "objects-coco": Output(".jsonl", OBJECT_FILES["objects-coco"], f"{STATE}/objects"),  # joined in objects.coco.json
    "objectmap": Output(".objects.tif", OBJECT_FILES["objectmap"]),  # object numbers, 0: none
}
# Formats that an image labelled in tiles can have, besides PROBABILITY_FILES. LabelMe's program opens whole images
# only, and GeoJSON has the same polygons.
LARGE_OUTPUTS: dict[str, Callable[[LabelSource], Iterator[bytes]]] = {
    "labels": palette_png,  # a TIFF's labels are a TIFF, see `write_tiff`
    "index": index_png,
    "numpy": numpy_file,
    "coco": coco_lines,
    "geojson": geojson_file,
    "geopackage": not_on_a_map,
    "confidence": confidence_png,
    "entropy": entropy_png,
    **OBJECT_FILES,
}
# Outputs that read `LabelSource.confidence` or `entropy`, which a large image must compute while it is labelled.
NEEDS_CONFIDENCE = frozenset({"geopackage", "confidence", *OBJECT_FILES})
NEEDS_ENTROPY = frozenset({"entropy"})
NEEDS_BORDERS = frozenset(OBJECT_FILES)
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
