"""One pass of a model over a split: prepared before the long work, counted image by image, summed up at any time.

One thread reads, labels and counts an image; as many images are processed at a time as there are cores.

Shapes: H, W an image's own size; C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from heapq import nlargest
from pathlib import Path

import cv2
import numpy as np

from pixelwise.datasets.class_values import Values
from pixelwise.errors import DataError, UsageError
from pixelwise.evaluation.analysis import Analysis
from pixelwise.evaluation.evaluation_report import EvaluationReport
from pixelwise.evaluation.labelled_pairs import Pair, checked_listing, each_pair, open_data
from pixelwise.evaluation.match_bands import with_bands_of
from pixelwise.evaluation.match_classes import Match, match_classes
from pixelwise.evaluation.measure_image import Sums, measure
from pixelwise.evaluation.measure_objects import ObjectPlan, measure_objects_of, plan_objects
from pixelwise.evaluation.per_image import ImageRow, row_of
from pixelwise.images.files import shown
from pixelwise.metrics.error_types import LISTED, Suspect
from pixelwise.prediction.engines.engine import usable_cores
from pixelwise.prediction.load_model import Model
from pixelwise.prediction.tta import Variant, variants_of
from pixelwise.records import ClassList, Dataset, Labels, Prediction

DEFAULT_SPLITS = ("test", "val")  # the first of these that has images
TIMED = 3  # images that are labelled one at a time, on all cores, to measure the time per image
CountedImage = tuple[ImageRow, Sums, list[Suspect]]  # of one image


@dataclass
class Tally:
    """The counts of the images so far."""

    sums: Sums
    rows: list[ImageRow]
    suspects: list[tuple[str, Suspect]]  # with the image's name; the largest first
    suspects_in_all: int = 0

    @classmethod
    def zero(cls, classes: int) -> Tally:
        return cls(Sums.zero(classes), [], [])

    def add(self, row: ImageRow, sums: Sums, found: Sequence[Suspect]) -> None:
        self.sums.add(sums)
        self.rows.append(row)
        self.suspects_in_all += len(found)
        largest = [*self.suspects, *((row.name, suspect) for suspect in found)]
        self.suspects = nlargest(LISTED, largest, key=lambda pair: pair[1].pixels)

    def analysis(self, classes: ClassList) -> Analysis:
        """Of a copy: more images may be added afterwards."""
        return Analysis(classes, deepcopy(self.sums), tuple(self.rows), tuple(self.suspects), self.suspects_in_all)


@dataclass(frozen=True)
class EvaluationPass:
    """A model, a split and how they are compared. All that fails before the long work has passed."""

    model: Model
    dataset: Dataset
    split: str
    match: Match
    plan: ObjectPlan | None  # of the objects that are scored
    skip_bad: bool = False
    tta: str = ""

    @property
    def images(self) -> int:
        """Images of the split."""
        return len(self.dataset.splits[self.split])

    def counted(self, seen: Collection[str] = ()) -> Iterator[CountedImage]:
        """The counts of every labelled image, in order.

        Args:
            seen: names of images that were counted before: a pass goes on where another one stopped.

        Raises:
            DatasetError: the split has broken pairs; every problem is listed.
        """
        rest = tuple(sample for sample in self.dataset.splits[self.split] if sample.name not in seen)
        dataset = replace(self.dataset, splits={**self.dataset.splits, self.split: rest})
        return counted(
            self.model, self.match, dataset, self.split,
            skip_bad=self.skip_bad, tta=self.tta, plan=self.plan, first=len(seen),
        )  # fmt: skip

    def report(self, tally: Tally) -> EvaluationReport:
        """Raises DataError: no image was labelled."""
        if not tally.rows:
            raise without_images(self.dataset, self.split)
        note = note_of(variants_of(self.tta) if self.tta else ())
        return EvaluationReport(
            model=shown(self.model.path),
            digest=self.model.digest,
            data=shown(self.dataset.root),
            split=self.split,
            analysis=tally.analysis(self.match.classes),
            milliseconds=typical_milliseconds(tally.rows),
            notes=tuple(note for note in (*self.dataset.notes, self.match.note, note) if note),
        )

    def page(self, report: EvaluationReport) -> str:
        """The report as HTML; the images in it are labelled again."""
        from pixelwise.evaluation.evaluation_page import page_of

        return page_of(report, lambda sample: self.model, self.dataset, self.match)


def prepare(
    model: Model,
    data: Dataset | str | Path,
    given: Values,
    *,
    split: str | None = None,
    skip_bad: bool = False,
    tta: str = "",
    objects: Sequence[str] | None = None,
) -> EvaluationPass:
    """A pass that is ready to count. Arguments and errors as in `evaluate`; `given`: classes, void, masks and bands."""
    if tta:
        variants_of(tta)  # all of this fails before the long work
    dataset = open_data(data, [model], given)
    split = split or default_split(dataset)
    dataset = with_bands_of([model], dataset)
    match = match_classes(model.classes, dataset.classes)
    plan = plan_objects(model, match, dataset.splits.get(split, ()), objects)
    dataset = checked_listing(dataset, split, skip_bad=skip_bad)
    return EvaluationPass(model, dataset, split, match, plan, skip_bad, tta)


def without_images(dataset: Dataset, split: str) -> DataError:
    return DataError(f"{shown(dataset.root)}: the {split} split has no labelled image. Choose another --split.")


def analysis_of(
    counts: Iterable[CountedImage],
    classes: ClassList,
    total: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Analysis:
    """The sum of the counts of `total` images, as `counted` gives them."""
    tally = Tally.zero(len(classes))
    for one in counts:
        progress(len(tally.rows), total)
        tally.add(*one)
    progress(total, total)
    return tally.analysis(classes)


def typical_milliseconds(rows: Sequence[ImageRow]) -> float:
    """The median time of the images that were labelled alone."""
    return float(np.median([row.milliseconds for row in rows if row.milliseconds is not None]))


def counted(
    model: Model,
    match: Match,
    dataset: Dataset,
    split: str,
    *,
    skip_bad: bool,
    tta: str = "",
    plan: ObjectPlan | None = None,
    first: int = 0,
) -> Iterator[CountedImage]:
    """The counts of every labelled image of a split, in order; `first` is the number of the first. Raises as
    `evaluate`."""
    workers = model.engine.threads or usable_cores()
    single = Model(model.engine.one_threaded())

    def count(pair: Pair, turn: int) -> CountedImage:
        sample, image_HWN, true_HW = pair
        del pair
        began = time.perf_counter()
        prediction = (model if turn < TIMED else single).predict(image_HWN, tta=tta)
        milliseconds = (time.perf_counter() - began) * 1e3 if turn < TIMED else None
        objects = measure_objects_of(plan, match, sample, prediction, true_HW) if plan else None
        del image_HWN  # counting needs the memory of a large one
        sums, found = measure_pair(match, prediction, true_HW, turn)
        return row_of(sample, (true_HW.shape[0], true_HW.shape[1]), sums, milliseconds, objects), sums, found

    return each_pair(dataset, split, count, skip_bad=skip_bad, workers=workers, alone=TIMED, first=first)


def measure_pair(match: Match, prediction: Prediction, true_HW: Labels, turn: int) -> tuple[Sums, list[Suspect]]:
    """The counts of one image, from the ids of the model and of the dataset; `turn` as in `measure`."""
    return measure(
        np.asarray(cv2.LUT(prediction.labels, match.predicted), np.uint8),
        np.asarray(cv2.LUT(true_HW, match.true), np.uint8),
        prediction.scores,
        len(match.classes),
        temperature=prediction.temperature,
        turn=turn,
    )


def note_of(variants: Sequence[Variant]) -> str:
    """The report's note on test-time augmentation; "" without any."""
    if not variants:
        return ""
    listed = (f"scale {variant.scale:g}{', mirrored' if variant.flip else ''}" for variant in variants)
    return f"Predictions are averaged over {len(variants)} TTA variants of each image: {'; '.join(listed)}."


def default_split(dataset: Dataset) -> str:
    """Test if it has images, otherwise val. Raises UsageError if neither has."""
    for split in DEFAULT_SPLITS:
        if dataset.splits.get(split):
            return split
    known = ", ".join(name for name, samples in dataset.splits.items() if samples) or "none"
    raise UsageError(
        f"{shown(dataset.root)}: no images in a test or val split; splits with images: {known}. Choose one: --split."
    )
