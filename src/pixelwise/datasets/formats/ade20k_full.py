"""ADE20K's full releases (2016 to 2021), which have more classes than an 8-bit mask can hold.

images/ADE/training/urban/street/ADE_train_00016858.jpg
                                 ADE_train_00016858_seg.png      class = R // 10 · 256 + G, 0 is void; B numbers objects
                                 ADE_train_00016858.json         names of its classes (2021)
                                 ADE_train_00016858_parts_1.png  parts of objects: not read
                                 ADE_train_00016858/             one mask per object: not read

With at most 255 classes, it is read in place; otherwise `check` requests a selection. The index files (.pkl, .mat)
are never opened. Source: Zhou et al., IJCV 2018, and the release's own README.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES, split_of
from pixelwise.datasets.formats.annotation_files import read_json
from pixelwise.datasets.listing import Listing
from pixelwise.images.decode import MaskIds, image_pixels
from pixelwise.images.files import Refusal, read_bytes
from pixelwise.records import Sample

END = "_seg.png"
BESIDE = (".json", "_atr.txt", "_parts_1.png")  # one of these accompanies every pair
STEP = 10  # of the red channel
GLANCE = 3  # masks opened to recognise the layout
NAMED = 2000  # JSON files read for class names, evenly spaced
DEPTH = 8


def recognises(root: Path) -> bool:
    glance = list(islice(_pairs(root), GLANCE))
    return bool(glance) and all(_is_coded(mask) for _, mask in glance)


def list_pairs(root: Path) -> Listing:
    """Every image with its `_seg.png`; its folders give the split."""
    listing = Listing(root)
    pairs = sorted(_pairs(root))
    for image, mask in pairs:
        sample = Sample(listing.where(image.with_suffix("")), image, mask, mask_part="ade20k-full:")
        listing.splits.setdefault(split_of(image, root), []).append(sample)
    listing.names = names_of([image.with_suffix(".json") for image, _ in pairs])
    listing.void = frozenset({0})
    listing.source = "ADE20K's full release: class = R // 10 · 256 + G of each _seg.png"
    return listing


def mask_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The class numbers of a `_seg.png`, int32 [H, W]."""
    del entry, size
    rgb = image_pixels(read_bytes(path))
    return rgb[:, :, 0].astype(np.int32) // STEP * 256 + rgb[:, :, 1]


def names_of(tables: Sequence[Path]) -> dict[int, str]:
    """Class names by number, from the JSON files next to the images; duplicate names get their number appended."""
    chosen = [tables[i * len(tables) // NAMED] for i in range(NAMED)] if len(tables) > NAMED else tables
    found: dict[int, str] = {}
    for path in chosen:
        try:
            objects = read_json(path)["annotation"]["object"]
            found |= {int(row["name_ndx"]): str(row["name"]).strip() for row in objects}
        except (Refusal, KeyError, TypeError, ValueError, OverflowError):
            continue  # names are optional: without one a class goes by number
    names: dict[int, str] = {}
    for number, name in sorted(found.items()):
        names[number] = name if name not in names.values() else f"{name} ({number})"
    return names


def _pairs(root: Path) -> Iterator[tuple[Path, Path]]:
    for parent, folders, files in os.walk(root):
        deep = len(Path(parent).relative_to(root).parts) >= DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        own = set(files)
        for name in sorted(own):
            stem = name.removesuffix(END)
            image = next((stem + suffix for suffix in IMAGE_SUFFIXES if stem + suffix in own), "")
            if name.endswith(END) and image and any(stem + end in own for end in BESIDE):
                yield Path(parent, image), Path(parent, name)


def _is_coded(mask: Path) -> bool:
    """Whether red values are multiples of STEP and green is not all zero."""
    try:
        rgb = image_pixels(read_bytes(mask))
    except Refusal:
        return False
    return bool((rgb[:, :, 0] % STEP == 0).all() and rgb[:, :, 1].any())
