"""Out-of-fold evaluation: each image is scored by the model of the fold that held it out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pixelwise.bundle.model_card import OUT_OF_FOLD
from pixelwise.evaluation.evaluation_pass import CountedImage, analysis_of, counted, typical_milliseconds
from pixelwise.evaluation.evaluation_report import EvaluationReport
from pixelwise.evaluation.match_classes import Match, match_classes
from pixelwise.evaluation.per_image import to_csv
from pixelwise.images.files import shown, write_whole
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import Dataset, Sample


@dataclass(frozen=True)
class Fold:
    """A model, and the images that it was not trained on."""

    run: Path
    held_out: tuple[Sample, ...]


def evaluate_folds(
    folds: Sequence[Fold],
    dataset: Dataset,
    *,
    name: str,
    html: Path,
    csv: Path,
    notes: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EvaluationReport:
    """Score every image once, as `evaluate` scores a split, and write the same report page and CSV.

    Args:
        dataset: to whose masks the held-out samples belong.
        name: of the cross-validation, for the report.
        notes: shown in the report before the dataset's own.

    Raises:
        DatasetError, BundleError, OutputError: as `evaluate`.
    """
    match = match_classes(load(folds[0].run).classes, dataset.classes)
    total = sum(len(fold.held_out) for fold in folds)
    analysis = analysis_of(counted_folds(folds, dataset, match), match.classes, total, progress)
    report = EvaluationReport(
        model=name,
        digest=digest_of(folds),
        data=shown(dataset.root),
        split=OUT_OF_FOLD,
        analysis=analysis,
        milliseconds=typical_milliseconds(analysis.rows),
        notes=tuple(note for note in (*notes, *dataset.notes, match.note) if note),
    )
    write_whole(csv, to_csv(analysis.rows, match.classes))
    write_report_page(report, folds, dataset, match, html)
    return report


def counted_folds(folds: Sequence[Fold], dataset: Dataset, match: Match) -> Iterator[CountedImage]:
    """The counts of every image, one fold after the other; one model is open at a time."""
    for fold in folds:
        own = replace(dataset, splits={OUT_OF_FOLD: fold.held_out})
        yield from counted(load(fold.run), match, own, OUT_OF_FOLD, skip_bad=False)


def write_report_page(
    report: EvaluationReport, folds: Sequence[Fold], dataset: Dataset, match: Match, html: Path
) -> None:
    from pixelwise.evaluation.evaluation_page import page_of
    from pixelwise.reports.html_page import write_page

    run_of = {sample.name: fold.run for fold in folds for sample in fold.held_out}
    opened: dict[Path, Model] = {}

    def model_of(sample: Sample) -> Model:
        run = run_of[sample.name]
        if run not in opened:
            opened.clear()
            opened[run] = load(run)
        return opened[run]

    write_page(page_of(report, model_of, dataset, match), html)


def digest_of(folds: Sequence[Fold]) -> str:
    """SHA-256 over the digests of the folds' networks."""
    return hashlib.sha256("".join(load(fold.run).digest for fold in folds).encode()).hexdigest()


def seconds_per_image(fold: Fold, dataset: Dataset, images: int) -> float:
    """How long an image of a fold takes to score: the mean of up to `images`, after one that pays for what is done
    once."""
    match = match_classes(load(fold.run).classes, dataset.classes)

    def seconds(samples: tuple[Sample, ...]) -> float:
        began = time.perf_counter()
        analysis_of(counted_folds([replace(fold, held_out=samples)], dataset, match), match.classes, len(samples))
        return time.perf_counter() - began

    seconds(fold.held_out[:1])
    some = fold.held_out[:images]
    return seconds(some) / len(some)
