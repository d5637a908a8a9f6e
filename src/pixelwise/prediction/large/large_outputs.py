"""The labels of an image labelled in tiles, for the writers in `outputs`, and as a TIFF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from pixelwise.prediction.confidence_maps import FULL, Confidence, Probabilities
from pixelwise.prediction.large.label_store import LabelStore
from pixelwise.prediction.large.layers import BORDER, CONFIDENCE, ENTROPY
from pixelwise.prediction.large.rows_of_image import RowsOfImage
from pixelwise.prediction.objects_once import ObjectsOnce
from pixelwise.prediction.outputs import LabelSource
from pixelwise.prediction.probability_maps import CLASSIC_BYTES, ProbabilityMaps
from pixelwise.prediction.squares import SQUARE_PX, deflated_square
from pixelwise.records import VOID, ClassList, Labels, Raster

NODATA = 42113  # GDAL's tag for pixels without a value
BLOCK_PX = 4 * SQUARE_PX


class StoredLabels(NamedTuple):
    """A `LabelSource` whose labels are on disk."""

    store: LabelStore
    classes: ClassList
    name: str  # of the image's file
    place: Mapping[int, tuple[int, int, Any]]  # GeoTIFF tags as number → (type, count, value)
    resolution: Any  # pixels per unit across and down, and the unit; or None
    image: RowsOfImage
    path: Path | None = None  # of the image's file
    objects: ObjectsOnce | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.store.size

    @property
    def block_px(self) -> int:
        return BLOCK_PX

    def labels(self, rows: slice, columns: slice) -> Labels:
        return self.store.labels(rows, columns)

    def image_rows(self, rows: slice) -> Raster:
        return self.image.rows(rows.start, rows.stop)

    def confidence(self, rows: slice, columns: slice) -> Confidence:
        return self.share(CONFIDENCE, rows, columns)

    def entropy(self, rows: slice, columns: slice) -> Confidence:
        return self.share(ENTROPY, rows, columns)

    def probability_maps(self) -> ProbabilityMaps:
        """The maps of the classes that the store keeps."""
        layers = [layer for layer in self.store.layers if layer.class_id is not None]
        names = tuple(self.classes.names[layer.class_id or 0] for layer in layers)
        total = sum(self.store.bytes_of(layer) for layer in layers)

        def square(number: int, row: int, column: int) -> bytes:
            return self.store.square(row, column, layers[number])

        return ProbabilityMaps(self.size, names, layers[0].dtype, square, total, self.place, self.resolution)

    @property
    def tiff_bytes(self) -> int:
        """Of its squares and their places in a TIFF."""
        return self.store.bytes_of() + 16 * len(self.store.records) * (self.store.columns + 1)

    def squares(self) -> Iterator[bytes]:
        """As `LabelStore.squares`."""
        return self.store.squares()

    def borders(self, rows: slice, columns: slice) -> Probabilities | None:
        names = [layer.name for layer in self.store.layers if layer.name.startswith(BORDER)]
        return np.stack([self.share(name, rows, columns) for name in names]) if names else None

    def share(self, name: str, rows: slice, columns: slice) -> Confidence:
        (layer,) = (layer for layer in self.store.layers if layer.name == name)
        return self.store.values(layer, rows, columns).astype(np.float32) / np.float32(FULL)


class PlacedLabels(NamedTuple):
    """Labels in memory, as a TIFF with the georeference of the image's file."""

    source: LabelSource
    place: Mapping[int, tuple[int, int, Any]]
    resolution: Any

    @property
    def classes(self) -> ClassList:
        return self.source.classes

    @property
    def size(self) -> tuple[int, int]:
        return self.source.size

    @property
    def tiff_bytes(self) -> int:
        """More than it takes: its pixels."""
        return self.size[0] * self.size[1]

    def squares(self) -> Iterator[bytes]:
        height, width = self.size
        for top in range(0, height, SQUARE_PX):
            for left in range(0, width, SQUARE_PX):
                rows, columns = slice(top, min(top + SQUARE_PX, height)), slice(left, min(left + SQUARE_PX, width))
                yield deflated_square(self.source.labels(rows, columns), VOID)


def write_tiff(source: StoredLabels | PlacedLabels, file: IO[bytes]) -> None:
    """A tiled, compressed palette TIFF with the image's georeference; a BigTIFF if it is too large for a TIFF."""
    import tifffile

    options: dict[str, Any] = {"extratags": [(code, *value, True) for code, value in source.place.items()]}
    options["extratags"].append((NODATA, 2, 0, str(VOID), True))
    if source.resolution is not None:
        options |= {"resolution": source.resolution[:2], "resolutionunit": source.resolution[2]}
    with tifffile.TiffWriter(file, bigtiff=source.tiff_bytes > CLASSIC_BYTES) as writer:
        writer.write(
            source.squares(),
            shape=source.size,
            dtype=np.uint8,
            tile=(SQUARE_PX, SQUARE_PX),
            compression="deflate",
            photometric="palette",
            colormap=source.classes.palette().T.astype(np.uint16) * 257,
            software="pixelwise",
            metadata=None,
            **options,
        )
