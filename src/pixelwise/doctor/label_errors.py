"""Suspected label errors: regions where a confident model and the mask disagree, the most telling first.

Follows the idea of confident learning for segmentation (Lad and Mueller, "Estimating label quality and errors in
semantic segmentation data via any model", 2023): what counts is how sure the model is against the given label, summed
over a connected region, so that a thin line of uncertain pixels along an edge counts for little.

Shapes: H, W of the image; h, w of the scores; C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask
from pixelwise.errors import DataError, UsageError
from pixelwise.images.files import shown
from pixelwise.records import VOID, ClassList, Dataset, Labels, Pixels, Prediction, Sample

CONFIDENT = 0.8  # the model's probability of its own class
SMALLEST_PX = 64  # regions of fewer pixels are edges' business
MARGIN_PX = 16  # around a region in its crop
KEPT = 50


class Predicts(Protocol):
    """A model, as far as this module needs it."""

    @property
    def classes(self) -> ClassList: ...

    def predict(self, image: Pixels) -> Prediction: ...


@dataclass(frozen=True)
class Suspect:
    """One region whose label is doubted."""

    sample: Sample
    box: tuple[int, int, int, int]  # x, y, width, height of the region
    area_px: int
    labelled: str  # the mask's class
    predicted: str
    confidence: float  # the model's mean probability of its class in the region, 0–1
    doubt_px: float  # summed over the region: probability of the model's class less that of the mask's

    def __str__(self) -> str:
        x, y, width, height = self.box
        return (
            f"{shown(self.sample.name)}: {self.area_px:,} px at x {x}–{x + width}, y {y}–{y + height} are labelled "
            f"{self.labelled!r}, but the model says {self.predicted!r} ({self.confidence:.0%})"
        )

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "sample": shown(self.sample.name), "box": list(self.box)}


def find_suspects(
    dataset: Dataset,
    samples: Iterable[Sample],
    model: Predicts,
    progress: Callable[[int], None] = lambda done: None,
    kept: int = KEPT,
) -> list[Suspect]:
    """The most doubtful regions of some samples, by falling doubt. Pairs that cannot be read are passed over.

    Raises:
        UsageError: the model's classes are not the dataset's.
    """
    if model.classes.names != dataset.classes.names:
        raise UsageError(
            f"the model's classes ({', '.join(model.classes.names)}) are not the dataset's "
            f"({', '.join(dataset.classes.names)}). Use a model trained on these classes."
        )
    found: list[Suspect] = []
    for done, sample in enumerate(samples, start=1):
        try:
            image = read_sample_image(sample)
            size = (image.shape[0], image.shape[1])
            mask = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes), size)
        except DataError:
            continue
        if mask.shape == image.shape[:2]:
            found += suspects_in(sample, mask, model.predict(image))
            found = sorted(found, key=lambda suspect: -suspect.doubt_px)[:kept]
        progress(done)
    return found


def suspects_in(sample: Sample, mask: Labels, prediction: Prediction) -> list[Suspect]:
    """Regions of one image, each of one labelled and one predicted class."""
    labels = prediction.labels
    own, given = _probabilities(prediction, mask)
    doubted = (labels != mask) & (mask != VOID) & (labels != VOID) & (own >= CONFIDENT)
    pairs = np.where(doubted, mask.astype(np.int32) * 256 + labels, -1)
    found = []
    for pair in np.unique(pairs[pairs >= 0]):
        number, parts, boxes, _ = cv2.connectedComponentsWithStats((pairs == pair).astype(np.uint8), connectivity=4)
        for part in range(1, number):
            x, y, width, height, area = (int(value) for value in boxes[part])
            if area < SMALLEST_PX:
                continue
            inside = parts[y : y + height, x : x + width] == part
            sure = own[y : y + height, x : x + width][inside]
            doubt = float((sure - given[y : y + height, x : x + width][inside]).sum())
            names = prediction.classes.names
            found.append(
                Suspect(
                    sample,
                    (x, y, width, height),
                    area,
                    names[pair // 256],
                    names[pair % 256],
                    float(sure.mean()),
                    doubt,
                )
            )
    return found


def crop_around(pixels: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    """The part of an image [H, W, 3] around a region, with a margin."""
    x, y, width, height = box
    top, left = max(y - MARGIN_PX, 0), max(x - MARGIN_PX, 0)
    return pixels[top : y + height + MARGIN_PX, left : x + width + MARGIN_PX]


def _probabilities(prediction: Prediction, mask: Labels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probability of the predicted and of the labelled class at every pixel, each [H, W]: one class at a time."""
    scores_Chw = prediction.scores / prediction.temperature
    exp_Chw = np.exp(scores_Chw - scores_Chw.max(axis=0))
    probabilities_Chw = (exp_Chw / exp_Chw.sum(axis=0)).astype(np.float32)
    height, width = mask.shape
    own, given = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for c, plane_hw in enumerate(probabilities_Chw):
        plane = cv2.resize(plane_hw, (width, height), interpolation=cv2.INTER_LINEAR)
        own = np.where(prediction.labels == c, plane, own)
        given = np.where(mask == c, plane, given)
    return own, given
