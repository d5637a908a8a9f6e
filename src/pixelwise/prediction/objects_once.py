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

from pixelwise.bundle.metadata import Metadata
from pixelwise.errors import MissingExtraError
from pixelwise.images.pixel_size import PixelSize, pixel_size
from pixelwise.objects.object_options import Excluded, ObjectOptions, separations_of, without_excluded
from pixelwise.objects.object_records import ClassObjects, Separation
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
    def borders(self, rows: slice, columns: slice) -> NDArray[np.float32] | None: ...  # [B, R, W] of Metadata.separate
    def image_rows(self, rows: slice) -> Raster: ...  # [R, W, N]


def check_objects(options: ObjectOptions, save: Collection[str], metadata: Metadata) -> None:
    """Find out before the first image whether the objects that are to be saved can be.

    Raises:
        UsageError: a class that there is not, or a border that the model has not learned.
        MissingExtraError: a library that is needed is missing.
    """
    if not any(name.startswith("object") for name in save):
        return
    check_separations(separations_of(metadata.classes, options, metadata.objects, metadata.separate), save)


def check_separations(separations: Mapping[int, Separation], save: Collection[str]) -> None:
    """Raise MissingExtraError if a library is missing that separates these objects, or writes one of the outputs."""
    if any(one.method != "components" for one in separations.values()):
        watershed_of_scikit_image()
    if "objects-parquet" in save and find_spec("pyarrow") is None:
        raise MissingExtraError("pyarrow, which writes Parquet,", "objects")


def kept_objects(
    source: ObjectSource,
    options: ObjectOptions,
    known: Mapping[str, ClassObjects],
    with_border: Collection[str] = (),
) -> tuple[MeasuredObjects, Excluded, dict[str, Any]]:
    """The objects of an image, without those that the options exclude, how many these are, and facts for its record.

    Args:
        known: class name → what training measured of its objects.
        with_border: names of the classes whose border the model learned.

    Raises:
        UsageError: a class that there is not, or a border that the model has not learned.
        MissingExtraError: touching objects are to be separated without scikit-image.
    """
    classes = source.classes
    separations = separations_of(classes, options, known, with_border)
    largest = {c: known[classes.names[c]].area_high_px for c in separations if classes.names[c] in known}
    everything = stream_objects(source, separations, around_px(separations, largest))
    least = {classes.names[c]: one.least_px for c, one in separations.items()}
    found, excluded = without_excluded(everything, options, least)
    names = found.table.columns["class"]
    return (
        found,
        excluded,
        {
            "number": {classes.names[c]: int((names == classes.names[c]).sum()) for c in separations},
            "excluded": excluded,
            "separated": {classes.names[c]: f"{one.method}: {one.reason}" for c, one in separations.items()},
            "pixel": source.pixel_size._asdict() if source.pixel_size is not None else None,
        },
    )


class ObjectsOnce:
    """A context manager: it keeps a temporary file."""

    def __init__(
        self,
        options: ObjectOptions,
        metadata: Metadata,
        path: Path | None = None,
        pixel: PixelSize | None = None,
    ) -> None:
        """
        Args:
            metadata: of the model, which says what training measured of the objects, and learned of their borders.
            path: of the image's file, which may state the size of its pixels.
            pixel: the size of its pixels, of an image without a file.
        """
        self.options, self.metadata, self.path, self.pixel = options, metadata, path, pixel
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
        classes, columns, separate = pixels.classes, slice(0, pixels.size[1]), self.metadata.separate

        def borders(rows: slice) -> dict[int, NDArray[np.float32]]:
            maps = pixels.borders(rows, columns)
            return {} if maps is None else {classes.names.index(name): maps[i] for i, name in enumerate(separate)}

        source = ObjectSource(
            pixels.size,
            classes,
            lambda rows: pixels.labels(rows, columns),
            pixels.image_rows,
            self.metadata.bands.names,
            lambda rows: pixels.confidence(rows, columns),
            borders,
            pixel_size(self.path) if self.path is not None else self.pixel,
        )
        found, self.excluded, self.facts = kept_objects(source, self.options, self.metadata.objects, separate)
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
