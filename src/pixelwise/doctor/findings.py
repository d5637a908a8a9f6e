"""The facts of all pairs → findings: everything that prevents training, in one list.

`validate_pair` reports the problems of one pair; this module adds those of whole splits and of the dataset.

Shapes: H, W of one image; C classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.dataset_toml import FILE_NAME, SPLITS
from pixelwise.datasets.inspect_pair import inspect_pair
from pixelwise.datasets.read_ahead import in_threads
from pixelwise.datasets.read_sample import image_digest
from pixelwise.doctor.band_checks import BandRow, examine_bands
from pixelwise.doctor.overlap_check import overlap_problems
from pixelwise.doctor.unused_input import dropped_problems
from pixelwise.doctor.validate_pair import PairFacts, validate_pair, where
from pixelwise.errors import DatasetError, UsageError
from pixelwise.images.files import shown
from pixelwise.records import VOID, Dataset, Problem, Sample

# Errors of single pairs: dropping the pair repairs the dataset.
ABOUT_ONE_PAIR = frozenset((
    "mask-missing", "image-missing", "duplicate-stem", "name-case", "name-unicode", "size-mismatch", "ids-outside",
    "missing", "unreadable", "not-a-file", "too-large", "empty-file", "not-an-image", "truncated", "unread-kind",
    "many-pages", "rgb-mask", "all-void", "jpeg-mask", "alpha-mask", "float-mask", "colour-mask", "unknown-codes",
    "no-data", "bands-differ", "depth-differs",
))  # fmt: skip


@dataclass(frozen=True)
class SplitFacts:
    """Counts over the sound pairs of one split."""

    pairs: int
    pixels_C: NDArray[np.int64]  # pixels of each class
    void_pixels: int
    images_C: NDArray[np.int64]  # images in which each class occurs
    smallest: tuple[int, int] | None  # (H, W) of the image with the fewest pixels; None without pairs
    largest: tuple[int, int] | None


@dataclass(frozen=True)
class Findings:
    """The doctor's result: errors first, then warnings, each in the order of the dataset."""

    problems: tuple[Problem, ...]
    splits: Mapping[str, SplitFacts]
    bad: frozenset[str]  # names of the samples with an error
    bands: tuple[BandRow, ...] = ()  # of images that are not read as RGB

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "warning")


def find_problems(
    dataset: Dataset,
    splits: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Read every pair and list every problem, including `dataset.problems`.

    Errors: unreadable files, sizes that differ, masks without class ids or with unknown ids, unpaired files, no pair
    to train on, only one image, void masks. Warnings: classes without pixels or missing from a split, masks of only
    one class, equal images in two splits.

    Args:
        splits: the splits to read; None: all. Problems of other splits are left out, so a sound test split is usable
            even if train is broken.
        progress: called with (pairs done, total pairs), in the calling thread.

    Raises:
        UsageError: a split that the dataset does not have.
    """
    chosen = tuple(dataset.splits) if splits is None else tuple(splits)
    for split in chosen:
        if split not in dataset.splits:
            known = ", ".join(dataset.splits) or "none"
            raise UsageError(f"{shown(dataset.root)}: has no {split!r} split; it has: {known}.")
    jobs = [(split, sample) for split in chosen for sample in dataset.splits[split]]
    facts = list(_judge_all(dataset, jobs, progress))
    return with_bands(gather(dataset, chosen, facts, asked=splits), dataset, [pair for _, pair in facts])


def with_bands(findings: Findings, dataset: Dataset, pairs: Sequence[PairFacts]) -> Findings:
    """The findings with those on the bands of images that are not read as RGB."""
    rows, problems = examine_bands(dataset, pairs)
    ordered = sorted((*findings.problems, *problems), key=lambda problem: problem.severity != "error")
    return replace(findings, problems=tuple(ordered), bands=rows)


def gather(
    dataset: Dataset,
    chosen: Sequence[str],
    facts: Iterable[tuple[str, PairFacts]],
    *,
    asked: Sequence[str] | None = None,
) -> Findings:
    """The findings of validated pairs, each given with its split."""
    problems = [problem for problem in dataset.problems if _concerns(problem, chosen, dataset)]
    census = {split: _Census(len(dataset.classes)) for split in chosen}
    copies: defaultdict[tuple[int, int], list[tuple[str, Sample]]] = defaultdict(list)
    bad = set()
    facts = list(facts)
    if asked is None:
        facts, withheld = _without_withheld(facts)
        problems += withheld
    for split, pair in facts:
        problems += pair.problems
        if any(problem.severity == "error" for problem in pair.problems):
            bad.add(pair.sample.name)
        if pair.fingerprint:
            copies[pair.fingerprint].append((split, pair.sample))
        census[split].add(pair)
    counted = {split: census[split].facts() for split in chosen}
    problems += _too_few(dataset, chosen, asked)
    problems += _class_problems(dataset, counted)
    problems += _copies_across_splits(dataset.root, copies.values())
    problems += overlap_problems(
        dataset, [(where(dataset, pair.sample.mask or pair.sample.image), pair.overlaps) for _, pair in facts]
    )
    problems += dropped_problems((where(dataset, pair.sample.image), one) for _, pair in facts for one in pair.dropped)
    problems.sort(key=lambda problem: problem.severity != "error")  # stable: errors first, order kept
    return Findings(tuple(problems), counted, frozenset(bad))


def _without_withheld(
    facts: Sequence[tuple[str, PairFacts]],
) -> tuple[list[tuple[str, PairFacts]], list[Problem]]:
    """Report a test split with only void masks (a benchmark that withholds its labels) once, not for each pair."""
    of_test = [pair for split, pair in facts if split == "test"]
    void = [pair for pair in of_test if [problem.kind for problem in pair.problems] == ["all-void"]]
    if len(void) < 2 or len(void) < len(of_test):
        return list(facts), []
    message = f"all {len(void)} masks are void: the labels of this split are withheld, as benchmarks do."
    remedy = "It can be used for prediction, but not for evaluation."
    kept = [(s, replace(pair, problems=(), pixels=None) if s == "test" else pair) for s, pair in facts]
    return kept, [Problem("warning", "labels-withheld", "test", message, remedy)]


def require_sound(findings: Findings) -> None:
    """Raise DatasetError with every error found; warnings do not raise."""
    errors = findings.errors
    if errors:
        skippable = all(problem.kind in ABOUT_ONE_PAIR for problem in errors)
        rest = " With --skip-bad all of them are left out." if skippable else ""
        number = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
        raise DatasetError(f"The dataset has {number} to fix first.{rest}", errors)


def without_bad(dataset: Dataset, findings: Findings) -> Dataset:
    """The dataset without the pairs that have errors, and without the problems of those pairs.

    Raises:
        DatasetError: errors remain that dropping pairs does not fix, or train or val would be empty.
    """
    splits = {
        split: tuple(sample for sample in samples if sample.name not in findings.bad)
        for split, samples in dataset.splits.items()
    }
    remaining = [problem for problem in findings.errors if problem.kind not in ABOUT_ONE_PAIR]
    for split in findings.splits:
        if dataset.splits[split] and not splits[split]:
            message = f"all {len(dataset.splits[split])} of its pairs have errors."
            remaining.append(Problem("error", "split-empty", split, message, "Repair some of them."))
    if remaining:
        raise DatasetError("The dataset has problems that leaving out pairs does not solve.", remaining)
    dropped = sum(len(samples) for samples in dataset.splits.values()) - sum(len(part) for part in splits.values())
    unpaired = sum(problem.severity == "error" for problem in dataset.problems)
    note = f"Left out: {dropped} pairs with errors, and {unpaired} files without partner or not readable."
    kept = tuple(problem for problem in dataset.problems if problem.severity != "error")
    return replace(dataset, splits=splits, problems=kept, notes=(*dataset.notes, note))


def _judge_all(
    dataset: Dataset, jobs: Sequence[tuple[str, Sample]], progress: Callable[[int, int], None] | None
) -> Iterator[tuple[str, PairFacts]]:
    """Read every (split, pair) once."""
    looks = in_threads(partial(inspect_pair, bands=dataset.bands), [sample for _, sample in jobs])
    for done, ((split, _), look) in enumerate(zip(jobs, looks, strict=True), start=1):
        yield split, validate_pair(dataset, look)
        if progress:
            progress(done, len(jobs))


def _concerns(problem: Problem, chosen: Sequence[str], dataset: Dataset) -> bool:
    """False for a problem of a split that has samples but is not read."""
    first = PurePosixPath(problem.where).parts[:1]
    split = first[0].removesuffix(".txt").removesuffix("annot") if first else ""
    return split not in SPLITS or split in chosen or split not in dataset.splits


def _too_few(dataset: Dataset, chosen: Sequence[str], asked: Sequence[str] | None) -> list[Problem]:
    """Problems if there are too few pairs to train on."""
    total = sum(len(samples) for samples in dataset.splits.values())
    if asked is not None and "train" not in asked:
        if any(dataset.splits[split] for split in chosen):
            return []
        return [Problem("error", "split-empty", split, "holds no pair.", "Add images and masks.") for split in chosen]
    if total == 0:
        why = any(problem.severity == "error" for problem in dataset.problems)
        remedy = "The other errors explain why." if why else "Add images and masks."
        return [Problem("error", "no-pairs", ".", "no image has a mask.", remedy)]
    if total == 1 and "train" in dataset.splits:
        remedy = "Add more pairs: with one, nothing is left for validation."
        return [Problem("error", "one-image", ".", "only one pair of image and mask; expected two or more.", remedy)]
    if "train" not in dataset.splits:
        message = f"no train split; the folder holds {', '.join(dataset.splits) or 'none'} only."
        return [
            Problem("warning", "no-train-split", ".", message, "It can be used for evaluation, but not for training.")
        ]
    problems = []
    for split in ("train", "val"):
        if not dataset.splits.get(split) and (split in chosen or asked is None):
            message = "holds no pair of image and mask; expected one or more."
            problems.append(Problem("error", "split-empty", split, message, "Add images and masks."))
    return problems


def _class_problems(dataset: Dataset, counted: Mapping[str, SplitFacts]) -> list[Problem]:
    """Warnings about classes, from the counts of all sound pairs."""
    filled = {split: facts for split, facts in counted.items() if facts.pairs}
    if not filled:
        return []
    problems = []
    for c, name in enumerate(dataset.classes.names):
        present = [split for split, facts in filled.items() if facts.pixels_C[c]]
        missing = [split for split in filled if split not in present]
        if not present:
            remedy = f"Remove the class from {FILE_NAME}, or label some pixels with it; a model cannot learn it."
            problems.append(Problem("warning", "class-empty", name, "no mask has a pixel of this class.", remedy))
        elif missing:
            message = f"occurs in {' and '.join(present)}, but not in {' and '.join(missing)}."
            remedy = "Its score there is undefined. Split so that every class is in every split."
            problems.append(Problem("warning", "class-missing", name, message, remedy))
    used = [name for c, name in enumerate(dataset.classes.names) if any(f.pixels_C[c] for f in filled.values())]
    if len(used) == 1 and any(problem.kind == "not-drawn" for problem in dataset.problems):
        message = f"no shape could be drawn, so every labelled pixel is {used[0]!r}, even on objects."
        remedy = "Draw them as polygons or masks: boxes, lines and points have no area."
        problems.append(Problem("error", "nothing-drawn", ".", message, remedy))
    elif len(used) == 1:
        message = f"every labelled pixel is {used[0]!r}: there is nothing to distinguish."
        problems.append(Problem("warning", "one-class", ".", message, "Check that the masks hold class ids."))
    return problems


def _copies_across_splits(root: Path, groups: Iterable[Sequence[tuple[str, Sample]]]) -> list[Problem]:
    """Warnings for byte-identical image files in different splits: they inflate validation scores."""
    problems = []
    for group in groups:
        split, sample = group[0]
        if len({name for name, _ in group}) == 1:
            continue
        # Equal size and checksum are a hint, not proof.
        content = image_digest(sample)
        for other_split, other in group[1:]:
            if other_split != split and image_digest(other) == content:
                message = f"the same image as {split}'s {shown(sample.image.relative_to(root))}, in {other_split}."
                where = shown(other.image.relative_to(root))
                remedy = "Keep it in one split: scores on images seen in training are inflated."
                problems.append(Problem("warning", "copy-across-splits", where, message, remedy))
    return problems


class _Census:
    """Running counts over one split."""

    def __init__(self, num_classes: int) -> None:
        self.pairs = 0
        self.void_pixels = 0
        self.pixels_C = np.zeros(num_classes, np.int64)
        self.images_C = np.zeros(num_classes, np.int64)
        self.sizes: set[tuple[int, int]] = set()

    def add(self, pair: PairFacts) -> None:
        if pair.pixels is None or pair.size is None:
            return
        self.pairs += 1
        self.sizes.add(pair.size)
        for label, number in pair.pixels.items():
            if label == VOID:
                self.void_pixels += number
            else:
                self.pixels_C[label] += number
                self.images_C[label] += 1

    def facts(self) -> SplitFacts:
        ordered = sorted(self.sizes, key=lambda size: (size[0] * size[1], size))
        smallest, largest = (ordered[0], ordered[-1]) if ordered else (None, None)
        return SplitFacts(self.pairs, self.pixels_C, self.void_pixels, self.images_C, smallest, largest)
