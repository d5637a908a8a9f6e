"""Pixelwise's own layout: DATA/{train,val,test}/{images,masks}/; split names such as valid and testing also work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.file_kinds import MASK_SUFFIXES, SPLIT_WORDS
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.pair_files import pair_folders

LABELLING = ".labelling"  # in a labelling folder, whose photos/ has those that are still to be labelled
INSTANCES = "instances"  # a folder of object numbers: see `datasets/instances.py`
MOST_COUNTED = 20_000  # files counted in an unused folder


def split_folders(root: Path) -> dict[str, list[Path]]:
    """The folders named after each split: "val" → val/, valid/ or Validation/; in the order of SPLITS."""
    found: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for path in sorted(root.iterdir()):
        split = SPLIT_WORDS.get(path.name.lower())
        if split and path.is_dir():
            found[split].append(path)
    return {split: paths for split, paths in found.items() if paths}


def recognises(root: Path) -> bool:
    folders = [path for paths in split_folders(root).values() for path in paths]
    return any((path / "images").is_dir() and (path / "masks").is_dir() for path in folders)


def half(root: Path) -> bool:
    """Whether a split has images/ or masks/: reported as a problem if no other layout fits."""
    folders = [path for paths in split_folders(root).values() for path in paths]
    return any((path / part).is_dir() for path in folders for part in ("images", "masks"))


def list_pairs(root: Path) -> Listing:
    """The images and masks of every split folder, paired by name."""
    listing = Listing(root)
    for split, folders in split_folders(root).items():
        for folder in folders:
            images, masks = folder / "images", folder / "masks"
            if split == "test" and listing.splits and images.is_dir() and not masks.is_dir():
                where = listing.where(folder)
                listing.notes.append(f"Left out: {where}/ has no masks; `pixelwise predict` labels its images.")
            else:
                listing.splits.setdefault(split, []).extend(pair_folders(images, masks, listing))
    note_others([folder for folders in split_folders(root).values() for folder in folders], listing)
    return listing


def note_others(parents: Iterable[Path], listing: Listing) -> None:
    """Note image folders next to images/ and masks/: unused ones, such as a second set of masks; and instances/."""
    others: defaultdict[str, int] = defaultdict(int)
    objects: list[str] = []
    for parent in parents:
        used = ("images", "masks", "photos") if (parent / LABELLING).is_dir() else ("images", "masks")
        for folder in sorted(path for path in parent.iterdir() if path.is_dir() and path.name[0] not in "._"):
            if folder.name not in used and not folder.is_symlink():
                inside = islice(folder.rglob("*"), MOST_COUNTED)
                files = sum(path.suffix.lower() in MASK_SUFFIXES and path.name[0] != "." for path in inside)
                if folder.name == INSTANCES and files:
                    objects.append(f"{listing.where(folder)}/ ({files:,} files)")
                else:
                    others[listing.where(folder)] += files
    if objects:
        listing.notes.append(
            f"Object numbers: {', '.join(objects)}. `train --separate CLASS` learns where touching objects end, "
            "and `evaluate` scores objects."
        )
    told = [f"{where}/ ({files:,} files)" for where, files in others.items() if files]
    if told:
        more = f" and {len(told) - 6} more" if len(told) > 6 else ""
        listing.notes.append(f"Not used, next to images/ and masks/: {', '.join(told[:6])}{more}.")
