"""Suspected label errors of a dataset: where a confident model and the mask disagree, by the rules of `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask
from pixelwise.errors import DataError, UsageError
from pixelwise.images.files import shown
from pixelwise.metrics.calibration import sample_grid, sampled_confidence
from pixelwise.metrics.error_types import LISTED, suspects
from pixelwise.records import VOID, ClassList, Dataset, Labels, Pixels, Prediction, Sample

MARGIN_PX = 16  # around a patch in its crop


class Predicts(Protocol):
    """The part of a model that this module uses."""

    @property
    def classes(self) -> ClassList: ...

    def predict(self, image: Any) -> Prediction: ...  # [H, W, bands] as the model takes it


@dataclass(frozen=True)
class SuspectedLabel:
    """One patch whose label is probably wrong."""

    sample: Sample
    box: tuple[int, int, int, int]  # x, y, width, height of the patch, pixels
    area_px: int
    labelled: str  # the mask's class
    predicted: str
    confidence: float  # the model's mean probability of its class in the patch, 0–1

    def __str__(self) -> str:
        x, y, width, height = self.box
        return (
            f"{shown(self.sample.name)}: {self.area_px:,} px at x {x}–{x + width}, y {y}–{y + height} are labelled "
            f"{self.labelled!r}, but the model predicts {self.predicted!r} ({self.confidence:.0%})"
        )

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "sample": shown(self.sample.name), "box": list(self.box)}


@dataclass(frozen=True)
class ExaminedImage:
    """One image that a model has seen beside its mask."""

    sample: Sample
    mask_HW: Labels
    prediction: Prediction
    suspects: list[SuspectedLabel]


def find_suspects(
    dataset: Dataset,
    splits: Mapping[str, Sequence[Sample]],
    model: Predicts,
    progress: Callable[[int], None] = lambda done: None,
) -> list[SuspectedLabel]:
    """The suspected label errors of the samples, largest first, at most LISTED. Unreadable pairs are skipped.

    Args:
        splits: the samples of each split.
        progress: called with the number of samples done.

    Raises:
        UsageError: the model's classes are not the dataset's.
    """
    found: list[SuspectedLabel] = []
    for done, one in enumerate(examined_images(dataset, splits, model), start=1):
        found = largest([*found, *one.suspects]) if one is not None and one.suspects else found
        progress(done)
    return found


def examined_images(
    dataset: Dataset, splits: Mapping[str, Sequence[Sample]], model: Predicts
) -> Iterator[ExaminedImage | None]:
    """Every sample as the model sees it; None for one that cannot be read. Raises as `find_suspects`."""
    if model.classes.names != dataset.classes.names:
        raise UsageError(
            f"the model's classes ({', '.join(model.classes.names)}) are not the dataset's "
            f"({', '.join(dataset.classes.names)}). Use a model trained on these classes."
        )
    for samples in splits.values():
        for turn, sample in enumerate(samples):
            yield _examined(dataset, sample, model, turn)


def _examined(dataset: Dataset, sample: Sample, model: Predicts, turn: int) -> ExaminedImage | None:
    try:
        image = read_sample_image(sample, dataset.bands)
        size = (image.shape[0], image.shape[1])
        mask_HW = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes), size)
    except DataError:
        return None
    if mask_HW.shape != size:
        return None
    prediction = model.predict(image)
    return ExaminedImage(sample, mask_HW, prediction, suspects_in(sample, mask_HW, prediction, turn))


def largest(found: Sequence[SuspectedLabel]) -> list[SuspectedLabel]:
    """The largest LISTED of them, in order."""
    return sorted(found, key=lambda suspect: -suspect.area_px)[:LISTED]


def suspects_in(sample: Sample, mask_HW: Labels, prediction: Prediction, turn: int) -> list[SuspectedLabel]:
    """The suspected label errors of one image; `turn`: see `sample_grid`."""
    names, (height, width) = prediction.classes.names, mask_HW.shape
    predicted_HW = np.where(mask_HW == VOID, np.uint8(VOID), prediction.labels)
    rows, columns = sample_grid(height, width, turn)
    confidence_yx = sampled_confidence(prediction.scores, height, width, rows, columns, prediction.temperature)
    return [
        SuspectedLabel(sample, (s.x, s.y, s.width, s.height), s.pixels, names[s.true], names[s.predicted], s.confidence)
        for s in suspects(predicted_HW, mask_HW, confidence_yx, rows, columns)[0]
    ]


def crop_around(pixels: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    """The part of an image [H, W, 3] around a region, with a margin."""
    x, y, width, height = box
    top, left = max(y - MARGIN_PX, 0), max(x - MARGIN_PX, 0)
    return pixels[top : y + height + MARGIN_PX, left : x + width + MARGIN_PX]
