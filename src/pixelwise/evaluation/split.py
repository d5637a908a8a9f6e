"""The verb `evaluate`: a model over a split of a dataset → one confusion matrix → a report.

Masks are compared at each image's own size, as they were drawn: a label is right where its pixel is.

Shapes: H, W an image's own size; C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pixelwise.data.doctor import find_problems, require_sound, without_bad
from pixelwise.data.files import shown
from pixelwise.data.folder import open_dataset
from pixelwise.data.images import read_image, read_mask
from pixelwise.errors import DataError, MaskError, UsageError
from pixelwise.evaluation.classes import match_classes
from pixelwise.evaluation.report import Report
from pixelwise.metrics.confusion import count_pairs
from pixelwise.prediction.image import Model, load
from pixelwise.records import Dataset
from pixelwise.tracing.recorder import Listener, nobody

__all__ = ["Report", "evaluate"]

DEFAULT_SPLITS = ("test", "val")  # the first of these that holds images


def unwatched(_done: int, _total: int) -> None:
    """The progress of work that nobody watches."""


def evaluate(
    model: Model | str | Path,
    data: Dataset | str | Path,
    *,
    split: str | None = None,
    skip_bad: bool = False,
    tell: Listener = nobody,
    progress: Callable[[int, int], None] = unwatched,
) -> Report:
    """Measure a model on one split of a dataset.

    Args:
        model: open, or what `load` takes.
        data: a dataset, or its folder.
        split: "train", "val" or "test"; None: test where there is one, otherwise val.
        skip_bad: leave out pairs that cannot be read instead of refusing the split.
        tell: hears one "evaluation" event with the whole report.
        progress: called with (images done, images in all).

    Raises:
        UsageError: no such model, folder or split.
        DataError: the model's classes are not the dataset's.
        DatasetError: the split is not sound; every problem is named.
        BundleError: the model is not sound.
    """
    opened = model if isinstance(model, Model) else load(model)
    dataset = data if isinstance(data, Dataset) else open_dataset(data)
    split = split or default_split(dataset)
    match = match_classes(opened.classes, dataset.classes)  # before every pair is read, which takes longer
    findings = find_problems(dataset, [split])
    if skip_bad:
        dataset = without_bad(dataset, findings)
    else:
        require_sound(findings)
    samples = dataset.splits[split]
    classes = len(match.classes)
    matrix = np.zeros((classes, classes), np.int64)
    times = []
    for done, sample in enumerate(samples):
        progress(done, len(samples))
        if sample.mask is None:  # require_sound has refused these
            continue
        image_HW3 = read_image(sample.image)
        true_HW = match.true[read_mask(sample.mask, dataset.mask_ids, len(dataset.classes))]
        began = time.perf_counter()
        labels_HW = opened.predict(image_HW3).labels
        times.append((time.perf_counter() - began) * 1e3)
        if true_HW.shape != labels_HW.shape:  # changed since it was checked
            raise MaskError(f"{shown(sample.mask)}: {true_HW.shape}, but its image is {labels_HW.shape}.")
        matrix += count_pairs(match.predicted[labels_HW], true_HW, classes)
    progress(len(samples), len(samples))
    if not times:
        raise DataError(f"{shown(dataset.root)}: the {split} split holds no labelled image. Name another --split.")
    report = Report(
        model=shown(opened.path),
        digest=opened.digest,
        data=shown(dataset.root),
        split=split,
        classes=match.classes,
        matrix=matrix,
        images=len(times),
        milliseconds=float(np.median(times)),
        notes=tuple(note for note in (*dataset.notes, match.note) if note),
    )
    tell({"event": "evaluation", **report.to_json()})
    return report


def default_split(dataset: Dataset) -> str:
    """Test where it holds images, otherwise val. Raises UsageError where neither does."""
    for split in DEFAULT_SPLITS:
        if dataset.splits.get(split):
            return split
    known = ", ".join(name for name, samples in dataset.splits.items() if samples) or "none"
    raise UsageError(
        f"{shown(dataset.root)}: no test or val split to evaluate on; it has: {known}. Name one with --split."
    )
