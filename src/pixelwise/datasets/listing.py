"""The result of listing a folder: pairs by split, problems, notes, the classes that its format declares, and its bands.

Problems with names and files are collected, never raised, so that all are shown at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pixelwise.datasets.dataset_toml import DatasetSettings
from pixelwise.datasets.file_kinds import NUMPY_SUFFIX
from pixelwise.datasets.stacked_files import names_and_sample
from pixelwise.images.files import shown
from pixelwise.records import RGB, Bands, Colour, Problem, Sample


@dataclass(frozen=True)
class DeclaredClasses:
    """The classes that a format declares, before dataset.toml overrides them."""

    names: tuple[str, ...]
    ids: tuple[int, ...]  # of each class, in the masks as read
    colours: tuple[Colour | None, ...]
    void: frozenset[int]  # ids in the masks
    source: str  # of the names, for the note
    by_name: bool = False  # ids were made from the names: dataset.toml's classes are matched by name


@dataclass
class Listing:
    """The files found; filled while the folders are read."""

    root: Path
    splits: dict[str, list[Sample]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    declared: DeclaredClasses | None = None
    # If a format's ids are surely classes, but too many to declare them all: those that occur are the classes.
    names: Mapping[int, str] = field(default_factory=dict)  # of ids in the masks, where the format names them
    void: frozenset[int] = frozenset()  # ids in the masks
    source: str = ""  # of `names`, for messages; "" if none
    choices: tuple[str, ...] = ()  # words for `--masks`, if several folders could be the masks
    channels: dict[Path, list[tuple[str, Path]]] = field(default_factory=dict)  # of images with one file a channel
    near: list[Sample] = field(default_factory=list)  # names that differ in case or Unicode form only: not in splits

    def where(self, path: Path) -> str:
        return shown_below(path, self.root)

    def error(self, kind: str, path: Path, message: str, remedy: str) -> None:
        self.problems.append(Problem("error", kind, self.where(path), message, remedy))

    def warn(self, kind: str, path: Path, message: str, remedy: str) -> None:
        self.problems.append(Problem("warning", kind, self.where(path), message, remedy))


@dataclass(frozen=True)
class Listed:
    """A recognised folder: files are paired and divided into splits; classes are not yet known."""

    layout: str
    listing: Listing
    settings: DatasetSettings
    bands: Bands = RGB  # as its images are read


def shown_below(path: Path, root: Path) -> str:
    """A path for messages: relative to the dataset's root."""
    return shown(path.relative_to(root) if path.is_relative_to(root) else path)


def shown_sample(sample: Sample, root: Path, *, mask: bool) -> str:
    """A sample's image or mask for messages, with its position in a file of many."""
    _, inner = names_and_sample(sample)
    path, part = (sample.mask, sample.mask_part) if mask and sample.mask else (sample.image, inner.image_part)
    where = shown_below(path, root)
    of_many = inner.image_part and not inner.image_part.startswith("stack:")
    return f"{where} ({part.partition(':')[2][:60]})" if part and of_many else where


def sample_of(image: Path, mask: Path, listing: Listing) -> Sample:
    part = "numpy:ids" if mask.suffix.lower() == NUMPY_SUFFIX else ""
    return Sample(listing.where(image.with_suffix("")), image, mask, mask_part=part)
