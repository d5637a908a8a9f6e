"""Masks among the files of a folder to label: those of a dataset are left out, and reported.

Names decide whether a folder is looked at as a dataset at all, so that a million photos are listed as fast as before:
one on its path means masks, or some of its files are named so. Then the folder that was named is listed once, as
`check` lists it.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pixelwise.datasets.file_kinds import MASK_SUFFIXES, VOLUME_SUFFIXES, stem_of
from pixelwise.datasets.folder_roles import MASK_WORDS, role_word
from pixelwise.datasets.found_folders import OBJECT_WORDS
from pixelwise.datasets.masks_beside_images import words_of
from pixelwise.errors import PixelwiseError
from pixelwise.images.files import shown

LOOKED_AT = 32  # files of a folder whose names are looked at
FEW, MOST = 0.2, 0.8  # of them
PHOTOS = frozenset((".jpg", ".jpeg", ".heic", ".heif"))  # compressed with loss: no masks
LISTED = 4  # folders in the report


@dataclass(frozen=True)
class MasksOfDataset:
    """The mask files below one folder; none if it is no dataset."""

    is_dataset: bool = False
    with_images: frozenset[Path] = frozenset()  # folders
    beside: dict[Path, set[str]] = field(default_factory=dict)  # folder of images, too → names of its masks


class MasksLeftOut:
    """What is left out of the folders that were named, and which files that are."""

    def __init__(self, named: Iterable[Path]) -> None:
        self.named = frozenset(map(os.path.realpath, named))  # asked for: what lies directly in them is labelled
        self.counts: dict[str, int] = {}  # folder, or the first file beside images → how many files
        self._known: dict[Path, MasksOfDataset] = {}

    def without_masks(self, names: list[str], place: Path, start: Path) -> list[str]:
        """The names of the image files in `place`, which lies in the folder `start` that was named, less its masks."""
        if not names:
            return names
        if place != start and named_as_masks(place, start):
            if self._is_asked_for(place, start):
                return names
            found = self._masks_below(start)
            if found.is_dataset and place not in found.with_images:
                self.counts[shown(place)] = len(names)
                return []
        elif not masks_among(names):
            return names
        masks = self._masks_below(start).beside.get(place, set()).intersection(names)
        if not masks or len(masks) < FEW * len(names):
            return names
        self.counts[shown(place / min(masks))] = len(masks)
        return [name for name in names if name not in masks]

    def _is_asked_for(self, place: Path, start: Path) -> bool:
        between = [place, *(path for path in place.parents if path != start and start in path.parents)]
        return any(os.path.realpath(path) in self.named for path in between)

    def _masks_below(self, start: Path) -> MasksOfDataset:
        if start not in self._known:
            self._known[start] = masks_below(start)
        return self._known[start]


def masks_in_words(counts: Mapping[str, int]) -> str:
    """One sentence on what `MasksLeftOut.counts` holds, and one on how to label it."""
    listed = ", ".join(f"{where} ({count:,})" for where, count in list(counts.items())[:LISTED])
    more = f" and {len(counts) - LISTED:,} more" if len(counts) > LISTED else ""
    files = sum(counts.values())
    what = "mask of a dataset is" if files == 1 else "masks of a dataset are"
    example = next(iter(counts))
    return f"{files:,} {what} left out: {listed}{more}. To label them too, name their folders or files: {example}"


def masks_below(folder: Path) -> MasksOfDataset:
    """The masks of a dataset's images, as `check` pairs them."""
    from pixelwise.datasets.list_dataset import pairs_below  # with every format: only where it may be a dataset

    try:
        pairs = pairs_below(folder)
    except PixelwiseError:  # a reader that is not installed, for example: labelled as any folder
        return MasksOfDataset()
    with_images = frozenset(sample.image.parent for sample in pairs)
    masks: defaultdict[Path, set[str]] = defaultdict(set)
    for sample in pairs:
        if sample.mask and sample.mask != sample.image and is_image(sample.mask):
            masks[sample.mask.parent].add(sample.mask.name)
    beside = {at: masks[at] for at in masks.keys() & with_images}
    if sum(map(len, beside.values())) == 1:  # by chance: two photos, one of a mask
        beside = {}
    return MasksOfDataset(bool(masks), with_images, beside)


def is_image(path: Path) -> bool:
    return path.name.lower().endswith((*MASK_SUFFIXES, *VOLUME_SUFFIXES))


def named_as_masks(place: Path, start: Path) -> bool:
    """Whether the last word on the path below `start` that tells images from masks means masks."""
    roles = [role for part in place.relative_to(start).parts if (role := role_of(part))]
    return bool(roles) and roles[-1] == "masks"


@lru_cache(maxsize=10_000)
def role_of(part: str) -> str:
    return role_word(part) or ("masks" if OBJECT_WORDS & set(words_of(part)) else "")


def masks_among(names: Sequence[str]) -> bool:
    """Whether some files may be masks of others beside them: a.jpg and a_mask.png, or 001.bmp and 001.png.

    Looks at a few, in pairs of neighbours, as an image and its mask often are.
    """
    step = max(2 * len(names) // LOOKED_AT, 2)
    seen = [Path(name) for at in range(0, len(names), step) for name in names[at : at + 2]]
    share = sum(bool(MASK_WORDS & set(words_of(path.stem))) for path in seen) / len(seen)
    if FEW <= share <= MOST:
        return True
    stems = Counter(map(stem_of, seen))
    kinds = {path.suffix.lower() for path in seen}
    return len(kinds) == 2 and not kinds <= PHOTOS and sum(count > 1 for count in stems.values()) >= FEW * len(seen)
