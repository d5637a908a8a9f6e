"""The verb `evaluate`: score a model on a split of a dataset, in one pass.

Predictions are compared with the masks at each image's own size. `evaluation_pass` goes over the images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pixelwise.datasets.class_values import Given, GivenBands, values_of
from pixelwise.evaluation.evaluation_pass import Tally, prepare
from pixelwise.evaluation.evaluation_report import EvaluationReport
from pixelwise.evaluation.per_image import to_csv
from pixelwise.images.files import write_whole
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import Dataset
from pixelwise.trace_events import Listener, nobody

__all__ = ["EvaluationReport", "evaluate"]


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
    opened = model if isinstance(model, Model) else load(model)
    given = values_of(classes, void, masks, bands)
    work = prepare(opened, data, given, split=split, skip_bad=skip_bad, tta=tta, objects=objects)
    tally = Tally.zero(len(work.match.classes))
    for counts in work.counted():
        progress(len(tally.rows), work.images)
        tally.add(*counts)
    progress(work.images, work.images)
    report = work.report(tally)
    if csv:
        write_whole(Path(csv), to_csv(report.analysis.rows, work.match.classes))
    if html:
        from pixelwise.reports.html_page import write_page

        write_page(work.page(report), Path(html))
    tell({"event": "evaluation", **report.to_json()})
    return report
