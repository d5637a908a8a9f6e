"""The objects of one labelled image, found and measured when the first output asks for them.

Shapes: R rows; W width; N bands.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import MissingExtraError
from pixelwise.images.pixel_size import pixel_size
from pixelwise.objects.object_options import Excluded, ObjectOptions, separations_of, without_excluded
from pixelwise.objects.object_records import ClassObjects
from pixelwise.objects.separate import watershed_of_scikit_image
from pixelwise.objects.stream_objects import MeasuredObjects, ObjectSource, around_px, stream_objects
from pixelwise.records import ClassList, Labels, Raster


class ObjectPixels(Protocol):
    """What of a labelled image its objects are made of."""

    @property
    def classes(self) -> ClassList: ...
    @property
    def size(self) -> tuple[int, int]: ...  # H, W
    def labels(self, rows: slice, columns: slice) -> Labels: ...
    def confidence(self, rows: slice, columns: slice) -> NDArray[np.float32]: ...
    def image_rows(self, rows: slice) -> Raster: ...  # [R, W, N]


def check_objects(
    options: ObjectOptions, save: Collection[str], classes: ClassList, known: Mapping[str, ClassObjects]
) -> None:
    """Find out before the first image whether the objects that are to be saved can be.

    Raises:
        UsageError: a class that there is not, or a border that the model has not learned.
        MissingExtraError: a library that is needed is missing.
    """
    if not any(name.startswith("object") for name in save):
        return
    if any(one.method != "components" for one in separations_of(classes, options, known).values()):
        watershed_of_scikit_image()
    if "objects-parquet" in save and find_spec("pyarrow") is None:
        raise MissingExtraError("pyarrow, which writes Parquet,", "objects")


class ObjectsOnce:
    """A context manager: it keeps a temporary file."""

    def __init__(
        self,
        options: ObjectOptions,
        known: Mapping[str, ClassObjects],
        band_names: tuple[str, ...],
        path: Path | None = None,
    ) -> None:
        """
        Args:
            known: class name → what training measured of its objects.
            band_names: of the image, for its intensities.
            path: of the image's file, which may state the size of its pixels.
        """
        self.options, self.known, self.band_names, self.path = options, known, band_names, path
        self.excluded: Excluded = {}
        self.facts: dict[str, Any] = {}  # for the image's record; empty until the objects are found
        self._found: MeasuredObjects | None = None

    def of(self, pixels: ObjectPixels) -> MeasuredObjects:
        """The objects of this image, without those that the options exclude.

        Raises:
            UsageError: a class that there is not, or a border that the model has not learned.
            MissingExtraError: touching objects are to be separated without scikit-image.
        """
        if self._found is None:
            self._found = self._measured(pixels)
        return self._found

    def _measured(self, pixels: ObjectPixels) -> MeasuredObjects:
        classes, columns = pixels.classes, slice(0, pixels.size[1])
        separations = separations_of(classes, self.options, self.known)
        largest = {c: self.known[classes.names[c]].area_high_px for c in separations if classes.names[c] in self.known}
        source = ObjectSource(
            pixels.size,
            classes,
            lambda rows: pixels.labels(rows, columns),
            pixels.image_rows,
            self.band_names,
            lambda rows: pixels.confidence(rows, columns),
            pixel_size=pixel_size(self.path) if self.path is not None else None,
        )
        everything = stream_objects(source, separations, around_px(separations, largest))
        found, self.excluded = without_excluded(everything, self.options)
        names = found.table.columns["class"]
        self.facts = {
            "number": {classes.names[c]: int((names == classes.names[c]).sum()) for c in separations},
            "excluded": self.excluded,
            "separated": {classes.names[c]: f"{one.method}: {one.reason}" for c, one in separations.items()},
            "pixel": source.pixel_size._asdict() if source.pixel_size is not None else None,
        }
        return found

    @property
    def record(self) -> dict[str, Any]:
        """The part of the image's record that is about its objects."""
        return {"objects": self.facts} if self.facts else {}

    def __enter__(self) -> ObjectsOnce:
        return self

    def __exit__(self, *_: object) -> None:
        if self._found is not None:
            self._found.store.close()
