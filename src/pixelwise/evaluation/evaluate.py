"""The verb `evaluate`: score a model on a split of a dataset, in one pass.

Predictions are compared with the masks at each image's own size. One thread reads, labels and counts an image; as many
images are processed at a time as there are cores.

Shapes: H, W an image's own size; C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from pathlib import Path

import cv2
import numpy as np

from pixelwise.datasets.class_values import Given, GivenBands, values_of
from pixelwise.errors import DataError, UsageError
from pixelwise.evaluation.analysis import Analysis
from pixelwise.evaluation.evaluation_report import EvaluationReport
from pixelwise.evaluation.labelled_pairs import Pair, checked_listing, each_pair, open_data
from pixelwise.evaluation.match_bands import with_bands_of
from pixelwise.evaluation.match_classes import Match, match_classes
from pixelwise.evaluation.measure_image import Sums, measure
from pixelwise.evaluation.measure_objects import ObjectPlan, measure_objects_of, plan_objects
from pixelwise.evaluation.per_image import ImageRow, row_of, to_csv
from pixelwise.images.files import shown, write_whole
from pixelwise.metrics.error_types import LISTED, Suspect
from pixelwise.prediction.engines.engine import usable_cores
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.tta import Variant, variants_of
from pixelwise.records import ClassList, Dataset, Labels, Prediction
from pixelwise.trace_events import Listener, nobody

__all__ = ["EvaluationReport", "evaluate"]

DEFAULT_SPLITS = ("test", "val")  # the first of these that has images
TIMED = 3  # images that are labelled one at a time, on all cores, to measure the time per image


def evaluate(
    model: Model | str | Path,
    data: Dataset | str | Path,
    *,
    split: str | None = None,
    skip_bad: bool = False,
    classes: Mapping[str, Given] | None = None,
    void: Given = (),
    masks: str = "",
    bands: GivenBands = (),
    html: str | Path | None = None,
    csv: str | Path | None = None,
    tta: str = "",
    objects: Sequence[str] | None = None,
    tell: Listener = nobody,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EvaluationReport:
    """Evaluate a model on a labelled split, at each image's own resolution.

    Args:
        model: an open model, or what `load` takes.
        data: a dataset, or its folder.
        split: "train", "val" or "test". None: test, or val if there is no test split.
        skip_bad: skip broken pairs instead of raising DatasetError.
        classes: class name → the mask values of the class, as in `open_dataset`. None: as in the model's training.
        void: mask values that mean unlabelled; they count in no score. Default: detected.
        masks: if an image has several masks: part of the folder or file name of the masks to use. Default: any.
        bands: bands of the images to use, in order: names, or numbers from 1; "nir,red", or ["nir", 3].
        html: HTML file to write: charts, tables, and the worst, typical and best images. None: none.
        csv: CSV file to write with the scores of every image. None: none.
        tta: test-time augmentation, as `Model.predict` takes it; the pictures in `html` are made without. "": none.
        objects: names of classes whose single objects are scored, too: F1, average precision, panoptic quality and AJI
            over IoU 0.5–0.95, counts, split and merged objects. None: those that the model learned to separate, where
            the data name single objects.
        tell: called with one "evaluation" event (a dict) that holds the whole report.
        progress: called with (images done, total).

    Returns:
        EvaluationReport: mean IoU and accuracy (0–1), confusion matrix, confidence intervals, error breakdown.

    Raises:
        UsageError: no such model, folder or split; unknown `tta`; a value that no mask has; a class in `objects` that
            the dataset lacks.
        DataError: the model's classes or bands are not the dataset's.
        DatasetError: the split has broken pairs; every problem is listed.
        BundleError: the model is corrupt or cannot be run.
        OutputError: `html` or `csv` cannot be written.

    Example:
        >>> import pixelwise as pw
        >>> report = pw.evaluate("my_run", "my_data", split="test")
        >>> 0 <= report.miou <= report.accuracy <= 1
        True
    """
    variants = variants_of(tta) if tta else ()
    opened = model if isinstance(model, Model) else load(model)
    dataset = open_data(data, [opened], values_of(classes, void, masks, bands))
    split = split or default_split(dataset)
    dataset = with_bands_of([opened], dataset)  # both fail before the long work
    match = match_classes(opened.classes, dataset.classes)
    plan = plan_objects(opened, match, dataset.splits.get(split, ()), objects)
    dataset = checked_listing(dataset, split, skip_bad=skip_bad)
    counts = counted(opened, match, dataset, split, skip_bad=skip_bad, tta=tta, plan=plan)
    analysis = analysis_of(counts, match.classes, len(dataset.splits[split]), progress)
    if not analysis.rows:
        raise DataError(f"{shown(dataset.root)}: the {split} split has no labelled image. Choose another --split.")
    report = EvaluationReport(
        model=shown(opened.path),
        digest=opened.digest,
        data=shown(dataset.root),
        split=split,
        analysis=analysis,
        milliseconds=typical_milliseconds(analysis.rows),
        notes=tuple(note for note in (*dataset.notes, match.note, note_of(variants)) if note),
    )
    if csv:
        write_whole(Path(csv), to_csv(analysis.rows, match.classes))
    if html:
        from pixelwise.evaluation.evaluation_page import page_of
        from pixelwise.reports.html_page import write_page

        write_page(page_of(report, lambda sample: opened, dataset, match), Path(html))
    tell({"event": "evaluation", **report.to_json()})
    return report


def analysis_of(
    counts: Iterable[tuple[ImageRow, Sums, list[Suspect]]],
    classes: ClassList,
    total: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Analysis:
    """The sum of the counts of `total` images, as `counted` gives them."""
    sums, seen = Sums.zero(len(classes)), 0
    rows: list[ImageRow] = []
    suspected: list[tuple[str, Suspect]] = []
    for row, own, found in counts:
        progress(len(rows), total)
        sums.add(own)
        rows.append(row)
        seen += len(found)
        suspected = nlargest(LISTED, [*suspected, *((row.name, s) for s in found)], key=lambda pair: pair[1].pixels)
    progress(total, total)
    return Analysis(classes, sums, tuple(rows), tuple(suspected), seen)


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
) -> Iterator[tuple[ImageRow, Sums, list[Suspect]]]:
    """The counts of every labelled image of a split, in order. Raises as `evaluate`."""
    workers = model.engine.threads or usable_cores()
    single = Model(model.engine.one_threaded())

    def count(pair: Pair, turn: int) -> tuple[ImageRow, Sums, list[Suspect]]:
        sample, image_HWN, true_HW = pair
        del pair
        began = time.perf_counter()
        prediction = (model if turn < TIMED else single).predict(image_HWN, tta=tta)
        milliseconds = (time.perf_counter() - began) * 1e3 if turn < TIMED else None
        objects = measure_objects_of(plan, match, sample, prediction, true_HW) if plan else None
        del image_HWN  # counting needs the memory of a large one
        sums, found = measure_pair(match, prediction, true_HW, turn)
        return row_of(sample, (true_HW.shape[0], true_HW.shape[1]), sums, milliseconds, objects), sums, found

    return each_pair(dataset, split, count, skip_bad=skip_bad, workers=workers, alone=TIMED)


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
