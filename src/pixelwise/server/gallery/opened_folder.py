"""A folder of data as the page shows it: first its names, then its masks, then the facts of every image.

Listing a folder takes a moment and shows its images; opening it finds the classes and shows the masks; a check reads
every pair and finds sizes, classes and problems; a model adds a score for each image.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pixelwise.datasets.class_values import Values
from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.list_dataset import layout_of, list_dataset
from pixelwise.datasets.listing import Listed, shown_sample
from pixelwise.datasets.read_masks import open_listed
from pixelwise.doctor.diagnose import Diagnosis
from pixelwise.doctor.label_errors import SuspectedLabel
from pixelwise.errors import PixelwiseError
from pixelwise.images.files import shown
from pixelwise.labelling.photo_list import find_photos
from pixelwise.records import VOID, Dataset, Problem, Sample

Stage = Literal["opening", "open", "photos", "failed"]
PHOTOS = "photos"  # the only split of a folder without masks


@dataclass(frozen=True)
class ImageFacts:
    """What a check found in one image."""

    size: tuple[int, int] | None = None  # (H, W)
    pixels: Mapping[int, int] | None = None  # by class id, void with it; None where the pair has errors


@dataclass(frozen=True)
class CheckedFolder:
    """What a check found."""

    diagnosis: Diagnosis
    facts: Sequence[ImageFacts]  # of each image, in the order of the folder
    problems: Mapping[int, Sequence[Problem]]  # by the place of the image


@dataclass(frozen=True)
class SuspectedRegion:
    """A suspected label error with its pixels."""

    suspect: SuspectedLabel
    runs: tuple[int, ...]  # as `LabelDecision.runs`


@dataclass
class ScoredFolder:
    """What a model says about the images, so far."""

    model: str
    title: str
    miou: dict[int, float] = field(default_factory=dict)  # by the place of the image, 0–1
    regions: Sequence[SuspectedRegion] = ()  # the largest first


class OpenedFolder:
    """One folder. Thread-safe: what is found is replaced as a whole."""

    def __init__(self, key: str, root: Path) -> None:
        self.key, self.root = key, root
        self.listed: Listed | None = None
        self.dataset: Dataset | None = None
        self.failure: PixelwiseError | None = None
        self.samples: Sequence[tuple[str, Sample]] = ()  # (split, sample) of every image, in a fixed order
        self.checked: CheckedFolder | None = None
        self.scored: ScoredFolder | None = None
        self.version = 0  # of the pictures: higher once masks can be drawn
        self.opened = threading.Event()

    def start(self) -> None:
        """List it now, which takes a moment, and open it on a thread, which may read many masks."""
        try:
            if layout_of(self.root) is None:
                photos = find_photos(self.root, self.root / ".labelling").photos
                self.samples = [(PHOTOS, photo.sample) for photo in photos]
                self.opened.set()
                return
            self.listed = list_dataset(self.root)
        except PixelwiseError as error:
            self.failure = error
            self.opened.set()
            return
        self.samples = in_order(self.listed.listing.splits)
        threading.Thread(target=self._open, args=(self.listed,), name="pixelwise-open-data", daemon=True).start()

    def _open(self, listed: Listed) -> None:
        try:
            dataset = open_listed(listed, Values())
            self.samples = in_order(dataset.splits)
            self.dataset = dataset
            self.version += 1
        except PixelwiseError as error:
            self.failure = error  # the images are shown all the same, and a check lists what is wrong
        self.opened.set()

    @property
    def stage(self) -> Stage:
        if self.dataset is not None:
            return "open"
        if self.failure is not None:
            return "failed"
        return "opening" if self.listed is not None else "photos"

    def take_check(self, diagnosis: Diagnosis) -> None:
        """Keep what a check found."""
        of_sample = {pair.sample.name: pair for _, pair in diagnosis.pairs}
        of_file: defaultdict[str, list[Problem]] = defaultdict(list)
        for problem in diagnosis.report.findings.problems:
            of_file[problem.where].append(problem)
        facts, problems = [], {}
        for place, (_, sample) in enumerate(self.samples):
            pair = of_sample.get(sample.name)
            facts.append(ImageFacts(pair.size, pair.pixels) if pair else ImageFacts())
            names = dict.fromkeys(shown_sample(sample, diagnosis.dataset.root, mask=mask) for mask in (False, True))
            if found := [problem for name in names for problem in of_file.get(name, ())]:
                problems[place] = found
        self.checked = CheckedFolder(diagnosis, facts, problems)

    def facts_of(self, place: int) -> ImageFacts:
        return self.checked.facts[place] if self.checked else ImageFacts()

    def problems_of(self, place: int) -> Sequence[Problem]:
        return self.checked.problems.get(place, ()) if self.checked else ()

    def shares_of(self, place: int) -> dict[int, float]:
        """The share of an image's labelled pixels that each class in it has; {} where they are not known."""
        pixels = {label: number for label, number in (self.facts_of(place).pixels or {}).items() if label != VOID}
        labelled = sum(pixels.values())
        return {label: number / labelled for label, number in pixels.items() if number}

    def place_of(self, name: str) -> int | None:
        """The place of an image by its name, as reports show it."""
        return next((place for place, (_, one) in enumerate(self.samples) if shown(one.name) == name), None)


def in_order(splits: Mapping[str, Sequence[Sample]]) -> list[tuple[str, Sample]]:
    return [(split, sample) for split in SPLITS for sample in splits.get(split, ())]
