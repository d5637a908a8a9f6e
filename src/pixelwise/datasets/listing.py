"""What a layout finds in a folder: pairs by split, problems, notes, and the classes that its format declares.

What is wrong with names and files is collected, never raised, so that all of it is shown at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pixelwise.datasets.file_kinds import NUMPY_SUFFIX
from pixelwise.images.files import shown
from pixelwise.records import Colour, Problem, Sample


@dataclass(frozen=True)
class DeclaredClasses:
    """The classes that a format names, before dataset.toml has its say."""

    names: tuple[str, ...]
    ids: tuple[int, ...]  # of each, in the masks as they are read
    colours: tuple[Colour | None, ...]
    void: frozenset[int]  # ids in the masks
    source: str  # where the names are from, for the note
    by_name: bool = False  # ids were made from the names: dataset.toml's classes are met by name


@dataclass
class Listing:
    """What a layout found; filled while its folders are read."""

    root: Path
    splits: dict[str, list[Sample]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    declared: DeclaredClasses | None = None
    # Where a format's ids are classes for sure, but too many to declare them all: those that occur are the classes.
    names: Mapping[int, str] = field(default_factory=dict)  # of ids in the masks, as far as the format names them
    void: frozenset[int] = frozenset()  # ids in the masks
    source: str = ""  # what says so, for people; "" where nothing does
    choices: tuple[str, ...] = ()  # words for `--masks`, where several folders could be the masks
    near: list[Sample] = field(default_factory=list)  # names that differ in case or Unicode form only: not in splits

    def where(self, path: Path) -> str:
        return shown_below(path, self.root)

    def error(self, kind: str, path: Path, message: str, remedy: str) -> None:
        self.problems.append(Problem("error", kind, self.where(path), message, remedy))

    def warn(self, kind: str, path: Path, message: str, remedy: str) -> None:
        self.problems.append(Problem("warning", kind, self.where(path), message, remedy))


def shown_below(path: Path, root: Path) -> str:
    """A path as messages name it: relative to the dataset's root."""
    return shown(path.relative_to(root) if path.is_relative_to(root) else path)


def shown_sample(sample: Sample, root: Path, *, mask: bool) -> str:
    """A sample's image or mask as messages name it, with its place in a file of many."""
    path, part = (sample.mask, sample.mask_part) if mask and sample.mask else (sample.image, sample.image_part)
    where = shown_below(path, root)
    return f"{where} ({part.partition(':')[2][:60]})" if part and sample.image_part else where


def sample_of(image: Path, mask: Path, listing: Listing) -> Sample:
    part = "numpy:ids" if mask.suffix.lower() == NUMPY_SUFFIX else ""
    return Sample(listing.where(image.with_suffix("")), image, mask, mask_part=part)
