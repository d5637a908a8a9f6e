"""One row per image with its scores and errors, for the CSV and the bootstrap.

Shapes: C classes; N images.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pixelwise.evaluation.measure_image import Sums
from pixelwise.evaluation.measure_objects import ImageObjects
from pixelwise.metrics.confusion import Counts, Scores, class_counts, counts_of_one_class, scores_of_counts
from pixelwise.metrics.error_types import KINDS
from pixelwise.metrics.object_scores import headline
from pixelwise.metrics.outlines import TOLERANCES_PX, boundary_f
from pixelwise.records import ClassList, Sample

ROW_TOLERANCE_PX = 3  # of an image's boundary F; one of TOLERANCES_PX
OBJECT_COLUMNS = ("true_objects", "predicted_objects", "object_f1", "object_mean_average_precision")
FRAME_NUMBER = re.compile(r"(.*?)[-_. ]*[A-Za-z]{0,2}\d+$")  # the part before a frame number


@dataclass(frozen=True)
class ImageRow:
    """One image's counts and scores, 0–1; NaN where undefined."""

    sample: Sample
    height: int
    width: int
    counts_3C: NDArray[np.uint32]  # see metrics.confusion.class_counts
    boundary_f: float  # of all classes' boundary pixels together, within ROW_TOLERANCE_PX
    baseline_edges_4C: NDArray[
        np.uint32
    ]  # the same for each class predicted everywhere, see metrics.outlines.outline_counts
    confidence: float  # mean probability of the predicted class
    errors: tuple[int, ...]  # wrong pixels of each of KINDS
    milliseconds: float | None  # image array → labels; None where other images were processed at the same time
    confusions_M3: NDArray[np.uint32]  # true class, predicted class and pixels of every confusion in this image
    objects: ImageObjects | None = None  # where objects are scored

    @property
    def name(self) -> str:
        return self.sample.name

    @cached_property
    def scores(self) -> Scores:
        """Over the classes that are in this image or were predicted in it."""
        return scores_of_counts(self.counts_3C.astype(np.int64))

    @property
    def accuracy(self) -> float:
        return self.scores.accuracy

    @property
    def miou(self) -> float:
        return self.scores.miou

    def baseline(self, majority: int) -> dict[str, float]:
        """This image's scores for one class predicted everywhere."""
        found = scores_of_counts(counts_of_one_class(self.counts_3C, majority))
        predicted, near_predicted, true, near_true = self.baseline_edges_4C.astype(np.int64)
        boundary = f_of(predicted[majority], near_predicted[majority], true.sum(), near_true[majority])
        return {"baseline_miou": found.miou, "baseline_accuracy": found.accuracy,
                "baseline_boundary_f": boundary}  # fmt: skip


def row_of(
    sample: Sample,
    size: tuple[int, int],
    sums: Sums,
    milliseconds: float | None = None,
    objects: ImageObjects | None = None,
) -> ImageRow:
    counts = class_counts(sums.matrix).astype(np.uint32)
    at = TOLERANCES_PX.index(ROW_TOLERANCE_PX)
    boundary, baseline_edges = f_of(*sums.edges[at].sum(axis=1)), sums.baseline_edges[at].astype(np.uint32)
    pixels, _, confidence = sums.confidence.sum(axis=1)
    mean = float(confidence / pixels) if pixels else float("nan")
    errors = tuple(int(number) for number in sums.kinds.sum(axis=(1, 2)))
    confusions = confusions_of(sums.matrix)
    return ImageRow(sample, *size, counts, boundary, baseline_edges, mean, errors, milliseconds, confusions, objects)


def confusions_of(matrix: Counts) -> NDArray[np.uint32]:
    """The confusions of a matrix that occur, [M, 3]: true class, predicted class, pixels."""
    wrong = matrix - np.diag(np.diag(matrix))
    true, predicted = np.nonzero(wrong)
    return np.stack([true, predicted, wrong[true, predicted]], axis=1).astype(np.uint32)


def images_with(rows: Sequence[ImageRow], true: int, predicted: int) -> list[tuple[int, int]]:
    """The images with pixels of one cell of the confusion matrix, those with the most first: (index, pixels)."""
    found = [(i, pixels_of(row, true, predicted)) for i, row in enumerate(rows)]
    return sorted(((i, pixels) for i, pixels in found if pixels), key=lambda one: (-one[1], one[0]))


def pixels_of(row: ImageRow, true: int, predicted: int) -> int:
    """An image's pixels of one true and one predicted class."""
    if true == predicted:
        return int(row.counts_3C[0, true])
    here = (row.confusions_M3[:, 0] == true) & (row.confusions_M3[:, 1] == predicted)
    return int(row.confusions_M3[here, 2].sum())


def worst_first(rows: Sequence[ImageRow]) -> list[int]:
    """The images by mIoU, the lowest first; those without any, which have no labelled pixel, last."""
    return sorted(range(len(rows)), key=lambda i: (np.isnan(rows[i].miou), rows[i].miou, rows[i].name))


def f_of(predicted: int, near_predicted: int, true: int, near_true: int) -> float:
    """Boundary F of all classes' boundary pixels together; NaN where there are none."""
    counts_41 = np.array([[predicted], [near_predicted], [true], [near_true]])
    return float(boundary_f(counts_41)[0])


def counts_of(rows: Sequence[ImageRow]) -> NDArray[np.uint32]:
    """Class counts of all images, [N, 3, C], from which every pixel score of any selection of images follows."""
    return np.stack([row.counts_3C for row in rows])


def to_csv(rows: Sequence[ImageRow], classes: ClassList) -> bytes:
    """The CSV: one line per image; scores are 0–1, empty where undefined. UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    head = ["image", "sequence", "width_px", "height_px", "labelled_px", "accuracy", "miou",
            "baseline_accuracy", "baseline_miou", f"boundary_f_{ROW_TOLERANCE_PX}px",
            f"baseline_boundary_f_{ROW_TOLERANCE_PX}px", "mean_confidence",
            *(f"{kind}_error_px" for kind in KINDS),
            *(f"iou {name}" for name in classes.names)]  # fmt: skip
    scored = next((tuple(row.objects.counts) for row in rows if row.objects), ())
    head += [f"{column} {name}" for name in scored for column in OBJECT_COLUMNS]
    writer.writerow(head)
    number = "{:.6f}".format
    majority = int(counts_of(rows)[:, 1].sum(axis=0, dtype=np.int64).argmax()) if rows else 0
    for row in rows:
        guess = row.baseline(majority)
        floats = [row.accuracy, row.miou, guess["baseline_accuracy"], guess["baseline_miou"], row.boundary_f,
                  guess["baseline_boundary_f"], row.confidence]  # fmt: skip
        cells = ["" if np.isnan(value) else number(value) for value in floats]
        ious = ["" if np.isnan(value) else number(value) for value in row.scores.iou_C]
        named = plain(row.name), plain(sequence_of(row.name)), row.width, row.height, int(row.counts_3C[1].sum())
        writer.writerow([*named, *cells, *row.errors, *ious, *object_cells(row)])
    return text.getvalue().encode("utf-8", "replace")


def object_cells(row: ImageRow) -> list[str]:
    """OBJECT_COLUMNS of every class whose objects were scored."""
    if row.objects is None:
        return []
    cells = []
    for counts in row.objects.counts.values():
        found = headline(counts.vector())
        shares = (float(found[name]) for name in ("f1", "mean_average_precision"))
        cells += [str(counts.true), str(counts.predicted), *("" if np.isnan(s) else f"{s:.6f}" for s in shares)]
    return cells


def plain(text: str) -> str:
    """A cell that no spreadsheet interprets as a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text


def sequence_of(name: str) -> str:
    """The file name without its final number, which usually names a film, patient or place.

    "val/0016E5_07959" → "0016E5"; "" where nothing remains.
    """
    stem = name.rpartition("/")[2]
    match = FRAME_NUMBER.fullmatch(stem)
    return match[1] if match else stem


def sequences(rows: Sequence[ImageRow]) -> dict[str, list[int]]:
    """The images of each sequence; empty where names show no sequences: one name for all, or a name per image."""
    found: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        found.setdefault(sequence_of(row.name), []).append(i)
    return dict(sorted(found.items())) if 2 <= len(found) <= len(rows) / 2 else {}


def chosen_images(rows: Sequence[ImageRow], number: int) -> dict[str, list[int]]:
    """The worst, typical (around the median) and best images by mIoU, without repeats."""
    known = [i for i in range(len(rows)) if not np.isnan(rows[i].miou)]
    ordered = sorted(known, key=lambda i: (rows[i].miou, rows[i].name))
    number = min(number, len(ordered) // 3) if len(ordered) >= 3 else 0
    if not number:
        return {"worst": ordered}
    middle = (len(ordered) - number) // 2
    typical = ordered[middle : middle + number]
    return {"worst": ordered[:number], "typical": typical, "best": ordered[::-1][:number]}
