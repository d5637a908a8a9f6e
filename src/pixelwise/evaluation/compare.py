"""The verb `compare`: two models on the same images. Is B better than A, where, and is the difference significant?

The bootstrap is paired: both models are scored on the same draws of images, which cancels the images' difficulty.

Shapes: N images; B draws; C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.class_values import Given, GivenBands, Values, values_of
from pixelwise.errors import DataError
from pixelwise.evaluation.evaluation_pass import default_split, measure_pair, without_images
from pixelwise.evaluation.evaluation_report import WHOLE
from pixelwise.evaluation.labelled_pairs import Pair, checked_listing, each_pair, open_data
from pixelwise.evaluation.match_bands import with_bands_of
from pixelwise.evaluation.match_classes import Match, match_classes
from pixelwise.evaluation.measure_image import Sums
from pixelwise.evaluation.measure_objects import ImageObjects, ObjectPlan, measure_objects_of, plan_objects
from pixelwise.evaluation.per_image import ROW_TOLERANCE_PX
from pixelwise.images.files import shown
from pixelwise.metrics.bootstrap import drawn_sums, interval, p_value
from pixelwise.metrics.confusion import class_counts, mean, ratio, scores_of_sums
from pixelwise.metrics.error_types import BOUNDARY_PX
from pixelwise.metrics.object_scores import headline
from pixelwise.metrics.outlines import TOLERANCES_PX, boundary_f
from pixelwise.metrics.regions import SIZE_NAMES
from pixelwise.prediction.engines.engine import usable_cores
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import ClassList, Dataset
from pixelwise.trace_events import finite

if TYPE_CHECKING:
    from rich.console import RenderableType

DRAWS = 2000
LISTED = 5  # images with the largest changes
OBJECT_SCORES = {"F1": "f1", "mAP": "mean_average_precision", "panoptic quality": "panoptic_quality"}
SAME = 1e-9  # smaller differences count as none
SIGNIFICANT = 0.05  # p below which a verdict is given
OneCount = tuple[Sums, ImageObjects | None]  # of one image by one model


@dataclass(frozen=True)
class Difference:
    """One score of both models, 0–1; `low` to `high` is the 95 % interval of the difference B − A."""

    name: str
    a: float
    b: float
    low: float
    high: float
    p: float  # two-sided, of no difference; not corrected for multiple comparisons

    @property
    def difference(self) -> float:
        return self.b - self.a

    @property
    def verdict(self) -> str:
        if not self.p < SIGNIFICANT or abs(self.difference) < SAME:
            return ""
        return "better" if self.difference > 0 else "worse"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "a": self.a, "b": self.b, "difference": self.difference, "low": self.low,
                "high": self.high, "p": self.p, "verdict": self.verdict}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`. B is better where a difference is above zero."""

    a: str
    b: str
    data: str
    split: str
    classes: ClassList
    whole: tuple[Difference, ...]  # mean IoU first
    by_class: tuple[Difference, ...]  # IoU
    by_region: tuple[Difference, ...]  # near boundaries, elsewhere, by size of the true regions
    images: tuple[tuple[str, float, float], ...]  # name, mIoU of A and of B
    notes: tuple[str, ...] = ()

    @property
    def miou(self) -> Difference:
        return self.whole[0]

    def worse_by(self, points: float) -> bool:
        """Whether B's mean IoU is more than `points` percentage points below A's."""
        return -self.miou.difference * 100 > points

    @property
    def changes(self) -> list[tuple[str, float]]:
        """The change in mIoU (B − A) of each image, most improved first; images where it is undefined are left out."""
        known = [(name, b - a) for name, a, b in self.images if a == a and b == b]
        return sorted(known, key=lambda change: (-change[1], change[0]))

    def to_json(self) -> dict[str, Any]:
        value = {
            "a": self.a, "b": self.b, "data": self.data, "split": self.split, "images": len(self.images),
            "whole": [row.to_json() for row in self.whole],
            "classes": [row.to_json() for row in self.by_class],
            "regions": [row.to_json() for row in self.by_region],
            "per_image": [{"image": name, "a": a, "b": b, "difference": b - a} for name, a, b in self.images],
            "draws": DRAWS, "notes": list(self.notes),
        }  # fmt: skip
        return finite(value)  # type: ignore[no-any-return]

    def to_rich(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        from pixelwise.evaluation.report_text import percent, table_of

        table = table_of("", "A", "B", "B − A, points", "95 %", "p", "")
        for heading, rows in (("", self.whole), ("IoU of", self.by_class), ("", self.by_region)):
            for row in rows:
                ends = f"{row.low * 100:+.1f} to {row.high * 100:+.1f}" if row.low == row.low else "–"
                change = f"{row.difference * 100:+.1f}" if row.difference == row.difference else "–"
                p = "–" if row.p != row.p else f"{row.p:.3f}"
                style = {"better": "green", "worse": "red"}.get(row.verdict, "")
                table.add_row(f"{heading} {row.name}".strip(), percent(row.a), percent(row.b), change, ends, p,
                              Text(row.verdict, style=style))  # fmt: skip
            table.add_section()
        changes = self.changes
        better, worse = sum(d > SAME for _, d in changes), sum(d < -SAME for _, d in changes)
        lines = [
            f"A  {self.a}",
            f"B  {self.b}",
            f"{len(self.images):,} images of the {self.split} split of {self.data}",
        ]
        after = [f"{better} images improved, {worse} got worse, {len(changes) - better - worse} are unchanged."]
        for word, ends_ in (("gains", changes[:LISTED]), ("losses", changes[::-1][:LISTED])):
            listed = [f"{name} ({d * 100:+.1f})" for name, d in ends_ if abs(d) > SAME and (d > 0) == (word == "gains")]
            if listed:
                after.append(f"Largest {word}, mIoU in points: {', '.join(listed)}")
        after.append("p: two-sided, paired by image; not corrected for multiple comparisons.")
        after += [f"Note: {note}" for note in self.notes]
        return Group(*(Text(line) for line in lines), Text(), table, Text(), *(Text(line) for line in after))


@dataclass
class ModelCounts:
    """One model's counts per image."""

    counts: list[NDArray[np.uint32]]  # [3, C], see metrics.confusion.class_counts
    near: list[NDArray[np.uint32]]  # the same, near true boundaries
    sizes: list[NDArray[np.uint32]]  # [sizes, 2] pixels, correct pixels
    edges: list[NDArray[np.uint32]]  # [4, C] see metrics.outlines.outline_counts
    objects: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)  # class → see ObjectCounts.vector

    def add(self, sums: Sums, objects: ImageObjects | None = None) -> None:
        for name, counts in ({} if objects is None else objects.counts).items():
            self.objects.setdefault(name, []).append(counts.vector())
        self.counts.append(class_counts(sums.matrix).astype(np.uint32))
        self.near.append(class_counts(sums.near).astype(np.uint32))
        self.sizes.append(sums.sizes[:, :, 2:].sum(axis=1).astype(np.uint32))
        self.edges.append(sums.edges[TOLERANCES_PX.index(ROW_TOLERANCE_PX)].astype(np.uint32))

    def scores(self, drawn: bool) -> dict[str, NDArray[np.float64]]:
        """Every score over all images, or over each draw of them: name → [] or [B], and "iou" [C] or [B, C]."""

        def summed(rows: Sequence[NDArray[np.uint32] | NDArray[np.float64]]) -> NDArray[np.float64]:
            stacked: NDArray[Any] = np.stack(rows)
            return drawn_sums(stacked, DRAWS) if drawn else stacked.sum(axis=0, dtype=np.float64)

        counts, near = summed(self.counts), summed(self.near)
        away, sizes = scores_of_sums(counts - near), np.moveaxis(summed(self.sizes), -2, 0)
        close = scores_of_sums(near)
        found = scores_of_sums(counts)
        regions = {
            f"boundary F within {ROW_TOLERANCE_PX} px": mean(boundary_f(summed(self.edges))),
            f"mean IoU within {BOUNDARY_PX} px of boundaries": close["miou"],
            "mean IoU elsewhere": away["miou"],
        }
        for name, row in zip(SIZE_NAMES, sizes, strict=True):
            regions[f"accuracy in regions {name}"] = ratio(row[..., 1], row[..., 0])
        for name, vectors in self.objects.items():
            of_class = headline(summed(vectors))
            regions |= {f"objects of {name}: {title}": of_class[score] for title, score in OBJECT_SCORES.items()}
        return {**{name: found[name] for name in WHOLE}, "iou": found["iou"], **regions}


@dataclass
class PairedTally:
    """Both models' counts of the images so far."""

    names: list[str]
    sides: tuple[ModelCounts, ModelCounts]

    @classmethod
    def empty(cls) -> PairedTally:
        return cls([], (ModelCounts([], [], [], []), ModelCounts([], [], [], [])))

    def add(self, name: str, found: Sequence[OneCount]) -> None:
        for side, counts in zip(self.sides, found, strict=True):
            side.add(*counts)
        self.names.append(name)


@dataclass(frozen=True)
class ComparisonPass:
    """Two models, a split and how they are compared. All that fails before the long work has passed."""

    models: tuple[Model, ...]
    dataset: Dataset
    split: str
    matches: tuple[Match, ...]
    plans: tuple[ObjectPlan | None, ...]
    skip_bad: bool = False

    @property
    def images(self) -> int:
        """Images of the split."""
        return len(self.dataset.splits[self.split])

    def counted(self, seen: Collection[str] = ()) -> Iterator[tuple[str, list[OneCount]]]:
        """Each labelled image's name and the counts of both models, in order.

        Args:
            seen: names of images that were counted before: a pass goes on where another one stopped.

        Raises:
            DatasetError: the split has broken pairs; every problem is listed.
        """
        singles = [Model(model.engine.one_threaded()) for model in self.models]

        def count(pair: Pair, turn: int) -> tuple[str, list[OneCount]]:
            sample, image_HWN, true_HW = pair
            found = []
            for single, match, plan in zip(singles, self.matches, self.plans, strict=True):
                prediction = single.predict(image_HWN)
                own = measure_objects_of(plan, match, sample, prediction, true_HW) if plan else None
                found.append((measure_pair(match, prediction, true_HW, turn)[0], own))
            return sample.name, found

        rest = tuple(sample for sample in self.dataset.splits[self.split] if sample.name not in seen)
        dataset = replace(self.dataset, splits={**self.dataset.splits, self.split: rest})
        workers = self.models[0].engine.threads or usable_cores()
        return each_pair(dataset, self.split, count, skip_bad=self.skip_bad, workers=workers, first=len(seen))

    def comparison(self, tally: PairedTally) -> Comparison:
        """Raises DataError: no image was labelled."""
        if not tally.names:
            raise without_images(self.dataset, self.split)
        notes = (*self.dataset.notes, *(match.note for match in self.matches))
        paths, data = [shown(model.path) for model in self.models], shown(self.dataset.root)
        return comparison(
            *tally.sides, tally.names, self.matches[0].classes, paths, data, self.split,
            tuple(dict.fromkeys(note for note in notes if note)),
        )  # fmt: skip


def prepare_comparison(
    models: Sequence[Model],
    data: Dataset | str | Path,
    given: Values,
    *,
    split: str | None = None,
    skip_bad: bool = False,
    objects: Sequence[str] = (),
) -> ComparisonPass:
    """A pass of two models that is ready to count. Arguments and errors as in `compare`."""
    dataset = open_data(data, models, given)
    dataset = with_bands_of(models, dataset)
    split = split or default_split(dataset)
    matches = tuple(match_classes(model.classes, dataset.classes) for model in models)
    if matches[0].classes.names != matches[1].classes.names:
        raise DataError(
            f"A calls the dataset's classes {', '.join(matches[0].classes.names)}, but B calls them "
            f"{', '.join(matches[1].classes.names)}. Name them in dataset.toml."
        )
    plans = tuple(plan_objects(model, match, (), objects) for model, match in zip(models, matches, strict=True))
    dataset = checked_listing(dataset, split, skip_bad=skip_bad)
    return ComparisonPass(tuple(models), dataset, split, matches, plans, skip_bad)


def compare(
    a: Model | str | Path,
    b: Model | str | Path,
    data: Dataset | str | Path,
    *,
    split: str | None = None,
    skip_bad: bool = False,
    classes: Mapping[str, Given] | None = None,
    void: Given = (),
    masks: str = "",
    bands: GivenBands = (),
    objects: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Compare two models on the same images: differences of B from A with 95 % confidence intervals.

    Args:
        a: the baseline: an open model, or what `load` takes.
        b: the model to compare, likewise. Its classes may come in another order.
        data: a dataset, or its folder.
        split: "train", "val" or "test". None: test, or val if there is no test split.
        skip_bad: skip broken pairs instead of raising DatasetError.
        classes: class name → the mask values of the class, as in `open_dataset`. None: as in the model's training.
        void: mask values that mean unlabelled. Default: detected.
        masks: if an image has several masks: part of the folder or file name of the masks to use. Default: any.
        bands: bands of the images to use, in order: names, or numbers from 1; "nir,red", or ["nir", 3].
        objects: names of classes whose single objects are compared, too. Default: none.
        progress: called with (images done, total).

    Returns:
        Comparison: the differences (0–1) of mean IoU, per class, per region and per image.

    Raises:
        UsageError: no such model, folder or split; a value that no mask has; a class in `objects` that the dataset
            lacks.
        DataError: a model's classes or bands are not the dataset's.
        DatasetError: the split has broken pairs; every problem is listed.
        BundleError: a model is corrupt or cannot be run.

    Example:
        >>> import pixelwise as pw
        >>> found = pw.compare("my_run", "other_run", "my_data", split="test")
        >>> found.miou.difference, found.worse_by(0.5)  # here: a copy of the same model
        (0.0, False)
    """
    models = [model if isinstance(model, Model) else load(model) for model in (a, b)]
    given = values_of(classes, void, masks, bands)
    work = prepare_comparison(models, data, given, split=split, skip_bad=skip_bad, objects=objects)
    tally = PairedTally.empty()
    for name, found in work.counted():
        progress(len(tally.names), work.images)
        tally.add(name, found)
    progress(work.images, work.images)
    return work.comparison(tally)


def comparison(
    a: ModelCounts,
    b: ModelCounts,
    names: Sequence[str],
    classes: ClassList,
    models: Sequence[str],
    data: str,
    split: str,
    notes: tuple[str, ...] = (),
) -> Comparison:
    """The comparison of both models' counts."""
    (of_a, of_b), (drawn_a, drawn_b) = ([side.scores(drawn) for side in (a, b)] for drawn in (False, True))

    def differ(key: str, name: str, index: int | None = None) -> Difference:
        at: Any = ... if index is None else (..., index)
        drawn = drawn_b[key][at] - drawn_a[key][at]
        low, high = interval(drawn)
        return Difference(name, float(of_a[key][at]), float(of_b[key][at]), float(low), float(high), p_value(drawn))

    per_image = [scores_of_sums(np.stack(side.counts))["miou"].tolist() for side in (a, b)]
    regions = [key for key in of_a if key not in WHOLE and key != "iou"]
    return Comparison(
        a=models[0],
        b=models[1],
        data=data,
        split=split,
        classes=classes,
        whole=tuple(differ(key, name) for key, name in WHOLE.items()),
        by_class=tuple(differ("iou", name, i) for i, name in enumerate(classes.names)),
        by_region=tuple(differ(key, key) for key in regions),
        images=tuple(zip(names, *per_image, strict=True)),
        notes=notes,
    )
