"""ADE20K, scene parsing benchmark: images/{training,validation}/, annotations/{…}/; 0 is void.

Names come from objectInfo150.txt if it exists. Source: Zhou et al., CVPR 2017; `ade20k_full` reads the full dataset.
"""

from __future__ import annotations

from pathlib import Path

from pixelwise.datasets.listing import DeclaredClasses, Listing
from pixelwise.datasets.pair_files import pair_folders

FOLDERS = {"training": "train", "validation": "val", "testing": "test"}
NUMBER = 150


def recognises(root: Path) -> bool:
    return any((root / "annotations" / folder).is_dir() and (root / "images" / folder).is_dir() for folder in FOLDERS)


def list_pairs(root: Path) -> Listing:
    listing = Listing(root)
    for folder, split in FOLDERS.items():
        images, masks = root / "images" / folder, root / "annotations" / folder
        if images.is_dir() and masks.is_dir():
            listing.splits[split] = pair_folders(images, masks, listing)
    names = object_names(root)
    if names:
        ids = tuple(range(1, len(names) + 1))
        listing.declared = DeclaredClasses(names, ids, (None,) * len(names), frozenset({0, 255}), "objectInfo150.txt's")
    return listing


def object_names(root: Path) -> tuple[str, ...]:
    """The first name in each row of objectInfo150.txt; () if it is missing or not as published."""
    path = root / "objectInfo150.txt"
    if not path.is_file():
        return ()
    rows = [line.split("\t") for line in path.read_text("utf-8", "replace").splitlines()[1:] if line.strip()]
    names = [row[-1].split(",")[0].strip() for row in rows if len(row) > 1]
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(unique[:NUMBER])


def object_text(names: tuple[str, ...]) -> bytes:
    rows = [f"{i}\t0\t0\t0\t0\t{name}" for i, name in enumerate(names, start=1)]
    return "\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *rows, ""]).encode()
