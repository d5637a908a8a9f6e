"""What an evaluation and a comparison have in common for the server: counted image by image, saved, shown at any time.

The counting and every score are those of `pixelwise evaluate` and `pixelwise compare`.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from threading import RLock
from typing import Any

import numpy as np

from pixelwise.datasets.class_values import Values
from pixelwise.evaluation.compare import SAME, ComparisonPass, PairedTally, prepare_comparison
from pixelwise.evaluation.evaluation_pass import EvaluationPass, Tally, prepare
from pixelwise.evaluation.example_images import again
from pixelwise.evaluation.image_views import ComparedImage
from pixelwise.evaluation.match_classes import Match
from pixelwise.evaluation.per_image import ImageRow, images_with, to_csv, worst_first
from pixelwise.evaluation.tally_file import paired_bytes, paired_of, tally_bytes, tally_of
from pixelwise.metrics.confusion import scores_of_sums
from pixelwise.metrics.error_types import KINDS
from pixelwise.prediction.load_model import Model
from pixelwise.records import Dataset, Sample
from pixelwise.server.evaluating.evaluation_request import EvaluationRequest
from pixelwise.trace_events import finite

Rows = list[dict[str, Any]]  # of a list of images
Cell = tuple[int, int]  # true and predicted class
SIDES = ("a", "b")


class EvaluationWork:
    """One model on a split."""

    def __init__(self, models: Sequence[Model], request: EvaluationRequest) -> None:
        """Raises PixelwiseError, as `prepare`."""
        self.work: EvaluationPass = prepare(
            models[0], request.folder, Values(), split=request.split, skip_bad=request.skip_bad
        )
        self.tally = Tally.zero(len(self.work.match.classes))
        self.lock = RLock()  # a report may be asked for while an image is added

    @property
    def images(self) -> int:
        return self.work.images

    @property
    def done(self) -> int:
        return len(self.tally.rows)

    def steps(self) -> Iterator[None]:
        """One step an image, in order. Raises DatasetError, ImageError …: an image or mask cannot be read."""
        counted = self.work.counted({row.name for row in self.tally.rows})
        try:
            for one in counted:
                with self.lock:
                    self.tally.add(*one)
                yield
        finally:
            close(counted)

    def saved(self) -> bytes:
        with self.lock:
            return tally_bytes(self.tally)

    def restore(self, data: bytes) -> None:
        """Raises DataError: damaged, or of other images."""
        self.tally = tally_of(data, by_name(self.work.dataset, self.work.split), self.work.plan)

    def result(self) -> dict[str, Any]:
        """The report of `pixelwise evaluate --json`, and the classes with their colours."""
        with self.lock:
            report = self.work.report(self.tally)
        return {**report.to_json(), "class_rows": self.work.match.classes.to_json()}

    def files(self) -> dict[str, bytes]:
        """The files of `pixelwise evaluate`: the report page, and the scores of every image."""
        report = self.work.report(self.tally)
        return {
            "report.html": self.work.page(report).encode(),
            "images.csv": to_csv(report.analysis.rows, self.work.match.classes),
        }

    def listed(self, order: str, cell: Cell) -> Rows:
        """The images, "worst" or "best" first, or with "cell" those that have pixels of it."""
        with self.lock:
            rows = list(self.tally.rows)
        if order == "cell":
            return [{**row_json(i, rows[i]), "pixels": pixels} for i, pixels in images_with(rows, *cell)]
        found = worst_first(rows)
        if order == "best":
            known = [i for i in found if not np.isnan(rows[i].miou)]
            found = known[::-1] + found[len(known) :]
        return [row_json(i, rows[i]) for i in found]

    def compared(self, index: int, side: int) -> ComparedImage:
        """Raises IndexError, ImageError, MaskError."""
        model = (self.work.model,)[side]
        return compared(self.tally.rows[index].sample, model, self.work.dataset, self.work.match)


class ComparisonWork:
    """Two models on a split."""

    def __init__(self, models: Sequence[Model], request: EvaluationRequest) -> None:
        """Raises PixelwiseError, as `prepare_comparison`."""
        self.work: ComparisonPass = prepare_comparison(
            models, request.folder, Values(), split=request.split, skip_bad=request.skip_bad
        )
        self.tally = PairedTally.empty()
        self.samples = by_name(self.work.dataset, self.work.split)
        self.lock = RLock()

    @property
    def images(self) -> int:
        return self.work.images

    @property
    def done(self) -> int:
        return len(self.tally.names)

    def steps(self) -> Iterator[None]:
        """As those of an evaluation."""
        counted = self.work.counted(set(self.tally.names))
        try:
            for name, found in counted:
                with self.lock:
                    self.tally.add(name, found)
                yield
        finally:
            close(counted)

    def saved(self) -> bytes:
        with self.lock:
            return paired_bytes(self.tally)

    def restore(self, data: bytes) -> None:
        """Raises DataError: damaged."""
        self.tally = paired_of(data)

    def result(self) -> dict[str, Any]:
        """The comparison of `pixelwise compare --json`, and the classes with their colours."""
        with self.lock:
            found = self.work.comparison(self.tally)
        changes = [difference for _, difference in found.changes]
        return {
            **found.to_json(),
            "class_rows": self.work.matches[0].classes.to_json(),
            "better": sum(change > SAME for change in changes),
            "worse": sum(change < -SAME for change in changes),
            "unchanged": sum(abs(change) <= SAME for change in changes),
        }

    def files(self) -> dict[str, bytes]:
        return {"comparison.json": json.dumps(self.work.comparison(self.tally).to_json(), indent=1).encode()}

    def listed(self, order: str, _: Cell) -> Rows:
        """The images that got "better" or "worse" from A to B, the largest change first."""
        with self.lock:
            names, sides = list(self.tally.names), [np.array(side.counts) for side in self.tally.sides]
        if not names:
            return []
        a, b = (scores_of_sums(counts)["miou"] for counts in sides)
        change = np.nan_to_num(b - a) * (-1 if order == "worse" else 1)
        found = sorted(np.flatnonzero(change > SAME), key=lambda i: (-change[i], names[i]))
        return [
            {"index": int(i), "name": names[i], "a": float(a[i]), "b": float(b[i]), "difference": float(b[i] - a[i])}
            for i in found
        ]

    def compared(self, index: int, side: int) -> ComparedImage:
        """Raises IndexError, ImageError, MaskError."""
        sample = self.samples[self.tally.names[index]]
        return compared(sample, self.work.models[side], self.work.dataset, self.work.matches[side])


JobWork = EvaluationWork | ComparisonWork


def open_work(models: Sequence[Model], request: EvaluationRequest) -> JobWork:
    """Raises PixelwiseError: no such split, other classes or bands, or the split has errors that are known at once."""
    if request.kind == "evaluation":
        return EvaluationWork(models, request)
    return ComparisonWork(models, request)


def row_json(index: int, row: ImageRow) -> dict[str, Any]:
    value = {
        "index": index,
        "name": row.name,
        "miou": row.miou,
        "accuracy": row.accuracy,
        "confidence": row.confidence,
        "labelled_px": int(row.counts_3C[1].sum()),
        "errors": dict(zip(KINDS, row.errors, strict=True)),
    }
    return finite(value)  # type: ignore[no-any-return]


def by_name(dataset: Dataset, split: str) -> dict[str, Sample]:
    return {sample.name: sample for sample in dataset.splits[split]}


def compared(sample: Sample, model: Model, dataset: Dataset, match: Match) -> ComparedImage:
    return ComparedImage(*again(sample, lambda _: model, dataset, match), match.classes)


def close(counted: Iterator[Any]) -> None:
    """Stop what still runs ahead, where a pass ends early."""
    if isinstance(counted, Generator):
        counted.close()
