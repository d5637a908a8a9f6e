"""The worst, most typical and best images of a split, as pictures: photo, truth, prediction, and where they differ.

They are read and labelled again: only their names were kept.

Shapes: H, W an image's own size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.evaluation.analysis import Analysis
from pixelwise.evaluation.labelled_pairs import read_pair
from pixelwise.evaluation.match_classes import Match
from pixelwise.evaluation.per_image import ImageRow
from pixelwise.images.false_colour import false_colour
from pixelwise.metrics.error_types import Suspect
from pixelwise.prediction.load_model import Model
from pixelwise.prediction.overlay import overlay
from pixelwise.records import VOID, Dataset, Labels, Pixels, Sample
from pixelwise.reports.pictures import PagePicture, page_picture

WIDTH_PX = 480  # of a picture in the page, at most
WRONG = (230, 30, 60)  # over the grey photo
CROP_PX = 140  # width and height of what is cut out around a suspect, at least
CROPS = 6  # suspected label errors that are shown

ModelOf = Callable[[Sample], Model]  # the model that labels an image: in a cross-validation, that of its fold


@dataclass(frozen=True)
class Example:
    row: ImageRow
    pictures: tuple[PagePicture, ...]


def examples(analysis: Analysis, model_of: ModelOf, dataset: Dataset, match: Match) -> dict[str, list[Example]]:
    """Pictures of the images that are chosen: "worst", "typical", "best"."""
    chosen = analysis.chosen()
    return {
        kind: [example(analysis.rows[i], model_of, dataset, match) for i in found]
        for kind, found in chosen.items()
        if found
    }


def example(row: ImageRow, model_of: ModelOf, dataset: Dataset, match: Match) -> Example:
    image_HW3, true_HW, predicted_HW = again(row.sample, model_of, dataset, match)
    wrong_HW = (predicted_HW != true_HW) & (true_HW != VOID)
    name, classes = row.name, match.classes
    pictures = (  # each is encoded before the next is made: one may have 40 megapixels
        page_picture(image_HW3, WIDTH_PX, f"The photo {name}", "photo"),
        page_picture(
            overlay(image_HW3, true_HW, classes), WIDTH_PX, f"The true mask of {name} over the photo", "truth"
        ),
        page_picture(
            overlay(image_HW3, predicted_HW, classes), WIDTH_PX, f"The predicted mask of {name} over the photo", "model"
        ),
        page_picture(errors_over(image_HW3, wrong_HW), WIDTH_PX, f"Wrong pixels of {name} in red", "errors"),
    )
    return Example(row, pictures)


def again(sample: Sample, model_of: ModelOf, dataset: Dataset, match: Match) -> tuple[Pixels, Labels, Labels]:
    """Photo for display, truth and prediction of one image, in the classes of the comparison."""
    _, image_HWN, true_HW = read_pair(dataset, sample)
    model = model_of(sample)
    labels_HW = model.predict(image_HWN).labels
    return false_colour(image_HWN, model.metadata.bands), match.true[true_HW], match.predicted[labels_HW]


def errors_over(image_HW3: Pixels, wrong_HW: NDArray[np.bool_]) -> Pixels:
    """The photo in pale grey, wrong pixels red."""
    grey_HW = cv2.cvtColor(image_HW3, cv2.COLOR_RGB2GRAY) // 2 + 110
    picture_HW3 = np.repeat(grey_HW[:, :, None].astype(np.uint8), 3, axis=2)
    picture_HW3[wrong_HW] = WRONG
    return picture_HW3


def suspect_crops(
    analysis: Analysis, model_of: ModelOf, dataset: Dataset, match: Match
) -> list[tuple[str, Suspect, tuple[PagePicture, ...]]]:
    """The largest suspected label errors, cut out: mask and model side by side."""
    rows = {row.name: row for row in analysis.rows}
    crops: list[tuple[str, Suspect, tuple[PagePicture, ...]]] = []
    for name, suspect in analysis.suspects[:CROPS]:
        image_HW3, true_HW, predicted_HW = again(rows[name].sample, model_of, dataset, match)
        side = max(CROP_PX, suspect.width + 16, suspect.height + 16)
        box = tuple(
            slice(max(min(start + extent // 2 - side // 2, limit - side), 0), None)
            for start, extent, limit in zip(
                (suspect.y, suspect.x), (suspect.height, suspect.width), true_HW.shape, strict=True
            )
        )
        box = tuple(slice(part.start, part.start + side) for part in box)
        mask_says, model_says = match.classes.names[suspect.true], match.classes.names[suspect.predicted]
        cut = np.ascontiguousarray(image_HW3[box])
        mask, model_labels = overlay(cut, true_HW[box], match.classes), overlay(cut, predicted_HW[box], match.classes)
        pictures = (
            page_picture(cut, WIDTH_PX, f"Part of {name}", "photo"),
            page_picture(mask, WIDTH_PX, f"Mask: {mask_says}", "mask"),
            page_picture(model_labels, WIDTH_PX, f"Prediction: {model_says}", "model"),
        )
        crops.append((name, suspect, pictures))
    return crops
