"""Whether a dataset's images have the bands that models take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pixelwise.errors import DataError
from pixelwise.images.files import shown
from pixelwise.images.read_as import in_words, positions
from pixelwise.prediction.load_model import Model
from pixelwise.records import RGB, Bands, Dataset


def with_bands_of(models: Sequence[Model], dataset: Dataset) -> Dataset:
    """The dataset, its images read as these models take them.

    Raises:
        DataError: its images have other bands, or the models take different ones; the message names both.
    """
    wanted = models[0].metadata.bands
    for model in models:
        bands = model.metadata.bands
        if (bands.names, bands.dtype) != (wanted.names, wanted.dtype):
            raise DataError(
                f"{shown(model.path)} takes {said(bands)}; {shown(models[0].path)} takes {said(wanted)}. Compare "
                "models that take the same bands."
            )
        if not are_there(bands, dataset.bands):
            raise DataError(
                f"{shown(dataset.root)}: its images have {said(dataset.bands)}; the model {shown(model.path)} takes "
                f"{said(bands)}. Give images with these bands, choose among theirs with --bands, or train a model on "
                "such images."
            )
    return replace(dataset, bands=wanted)


def are_there(wanted: Bands, own: Bands) -> bool:
    """Whether images of the bands `own` can be read as `wanted`.

    A model of RGB takes deep grey and colour images, which are reduced to 8 bits.
    """
    if wanted == RGB:
        return own == RGB or len(own) == 1 or own.names == RGB.names
    return positions(own.names, wanted) is not None and wanted.dtype in (own.dtype, "float32")


def said(bands: Bands) -> str:
    return f"{in_words(bands.names)} of {bands.dtype}"
