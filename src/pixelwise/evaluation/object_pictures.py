"""The images whose objects were found worst, as pictures: true and predicted outlines, coloured by what became of them.

They are read and labelled again: neither labels nor objects were kept.

Shapes: H, W an image's own size; h, w the picture's; N objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.instances import class_objects, instances_of
from pixelwise.evaluation.example_images import ModelOf
from pixelwise.evaluation.labelled_pairs import read_pair
from pixelwise.evaluation.match_classes import Match
from pixelwise.evaluation.measure_objects import predicted_objects
from pixelwise.evaluation.object_analysis import ObjectScores
from pixelwise.evaluation.per_image import ImageRow
from pixelwise.images.false_colour import false_colour
from pixelwise.metrics.boundary import square
from pixelwise.metrics.object_matching import MatchedObjects, match_objects
from pixelwise.objects.object_records import ObjectMap
from pixelwise.records import VOID, Colour, Dataset, Pixels
from pixelwise.reports.pictures import PagePicture, page_picture

WIDTH_PX = 720  # of a picture, at most; smaller images are enlarged to nearly that, so that outlines stay thin
PICTURED = 3  # images of each class
MATCHED, MISSED, EXTRA, SPLIT, MERGED = "matched", "missed", "extra", "split", "merged"
COLOURS: dict[str, Colour] = {  # told apart by people with any colour vision (Okabe & Ito)
    MATCHED: (0, 158, 115),
    MISSED: (230, 159, 0),
    EXTRA: (213, 94, 0),
    SPLIT: (86, 180, 233),
    MERGED: (204, 121, 167),
}
IGNORED: Colour = (150, 150, 150)


@dataclass(frozen=True)
class ObjectExample:
    name: str
    f1: float
    pictures: tuple[PagePicture, ...]


def object_examples(scored: ObjectScores, model_of: ModelOf, dataset: Dataset, match: Match) -> list[ObjectExample]:
    """Photo, truth and prediction of the worst images of a class."""
    return [
        ObjectExample(row.name, f1, object_pictures(row, scored.name, model_of, dataset, match))
        for row, f1 in scored.worst(PICTURED)
    ]


def object_pictures(
    row: ImageRow, class_name: str, model_of: ModelOf, dataset: Dataset, match: Match
) -> tuple[PagePicture, ...]:
    assert row.objects is not None
    plan, model = row.objects.plan, model_of(row.sample)
    sample, image_HWN, true_HW = read_pair(dataset, row.sample)
    size = (true_HW.shape[0], true_HW.shape[1])
    predicted_HW = predicted_objects(plan, class_name, model.predict(image_HWN))
    true_HW = match.true[true_HW]
    objects_HW = class_objects(true_HW, instances_of(sample, size), plan.ids[class_name])
    found = match_objects(predicted_HW, objects_HW, true_HW == VOID)
    image_HW3 = false_colour(image_HWN, model.metadata.bands)
    truth = outlined(image_HW3, objects_HW, found.true_number_T, colours_of_true(found))
    model_says = outlined(image_HW3, predicted_HW, found.predicted_number_P, colours_of_predicted(found))
    return (
        page_picture(image_HW3, WIDTH_PX, f"The photo {row.name}", "photo"),
        page_picture(truth, WIDTH_PX, f"Outlines of the true objects of {class_name} in {row.name}", "true objects"),
        page_picture(
            model_says,
            WIDTH_PX,
            f"Outlines of the predicted objects of {class_name} in {row.name}",
            "predicted objects",
        ),
    )


def colours_of_true(found: MatchedObjects) -> NDArray[np.uint8]:
    """The colour of each true object's outline, [T, 3]: split or merged before matched, as that is the error to see."""
    return coloured(
        len(found.true_area_T),
        (COLOURS[MISSED], None),
        (COLOURS[MATCHED], found.partner_T >= 0),
        (COLOURS[MERGED], found.merged_T),
        (COLOURS[SPLIT], found.split_T),
    )


def colours_of_predicted(found: MatchedObjects) -> NDArray[np.uint8]:
    """The colour of each predicted object's outline, [P, 3]."""
    return coloured(
        len(found.predicted_area_P),
        (COLOURS[EXTRA], None),
        (IGNORED, found.void_P),
        (COLOURS[MATCHED], found.partner_P >= 0),
        (COLOURS[SPLIT], found.split_P),
        (COLOURS[MERGED], found.merged_P),
    )


def coloured(number: int, *rules: tuple[Colour, NDArray[np.bool_] | None]) -> NDArray[np.uint8]:
    """A colour for each object; of several rules, the last that applies."""
    colours_N3 = np.zeros((number, 3), np.uint8)
    for colour, chosen in rules:
        colours_N3[... if chosen is None else chosen] = colour
    return colours_N3


def outlined(
    image_HW3: Pixels, objects_HW: ObjectMap, numbers_N: NDArray[np.uint32], colours_N3: NDArray[np.uint8]
) -> Pixels:
    """The photo at the picture's size with a line of two pixels inside of each object's edge.

    Args:
        numbers_N: of the objects in `objects_HW`, ascending; others get no line.
    """
    height, width = objects_HW.shape
    scale = WIDTH_PX / max(height, width)
    h, w = max(round(height * scale), 1), max(round(width * scale), 1)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = np.ascontiguousarray(cv2.resize(image_HW3, (w, h), interpolation=how), np.uint8)
    rows, columns = (np.arange(h) + 0.5) * height / h, (np.arange(w) + 0.5) * width / w
    small_hw = objects_HW[rows.astype(np.intp)[:, None], columns.astype(np.intp)]
    padded = np.pad(small_hw, 1, mode="edge")
    edge_hw = np.zeros(small_hw.shape, np.bool_)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        edge_hw |= padded[dy : dy + h, dx : dx + w] != small_hw
    edge_hw = cv2.dilate(edge_hw.view(np.uint8), square(1)).view(np.bool_) & (small_hw > 0)
    at = np.searchsorted(numbers_N, small_hw[edge_hw])
    known = np.flatnonzero(np.isin(small_hw[edge_hw], numbers_N))
    places = np.flatnonzero(edge_hw)[known]
    picture.reshape(-1, 3)[places] = colours_N3[at[known]]
    return np.asarray(picture, np.uint8)
