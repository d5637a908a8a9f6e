"""Masks that are nearly the same in every image show the instrument's field of view, not what is in the image.

Retina and endoscopy sets publish them beside the labels, often in a folder named mask.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.folder_roles import files_by_stem
from pixelwise.datasets.listing import Listing
from pixelwise.images.decode import image_pixels
from pixelwise.images.files import Refusal, read_bytes, shown

VIEW_WORD = re.compile(r"mask|fov|roi|view|field|valid|border", re.IGNORECASE)  # in a folder's name
LOOKED_AT = 8  # masks of a folder
FEWEST = 3
COPY_PX = 64
SAME = 0.9  # IoU of any two of the masks
LEAST_AREA = 0.2  # of the image is in view


def without_fields_of_view(folders: Sequence[Path], listing: Listing) -> list[Path]:
    """The candidate mask folders without fields of view, if exactly one is left; otherwise all of them."""
    views = [folder for folder in folders if VIEW_WORD.search(folder.name) and is_field_of_view(folder)]
    rest = [folder for folder in folders if folder not in views]
    if not views or len(rest) != 1:
        return list(folders)
    names = ", ".join(f"{listing.where(folder)}/" for folder in views)
    note = (
        f"{listing.where(rest[0])}/ holds the masks; those in {names} are nearly the same for every image: a field of "
        f"view. To read them instead: --masks {shown(views[0].name)}."
    )
    if note not in listing.notes:
        listing.notes.append(note)
    return rest


def is_field_of_view(folder: Path) -> bool:
    """Whether the masks of a folder hold two values each, and are nearly the same."""
    paths = [found[0] for found in files_by_stem(folder).values()]
    count = min(len(paths), LOOKED_AT)
    copies = [_small_mask(paths[i * len(paths) // count]) for i in range(count)]
    known = [copy for copy in copies if copy is not None]
    if len(known) < FEWEST or len(known) < len(copies):
        return False
    return all(float(copy.mean()) >= LEAST_AREA for copy in known) and all(
        (a & b).sum() >= SAME * (a | b).sum() for a, b in combinations(known, 2)
    )


def _small_mask(path: Path) -> NDArray[np.bool_] | None:
    """Where a mask of two values holds the higher one, at COPY_PX × COPY_PX; None for others."""
    try:
        highest_HW = image_pixels(read_bytes(path)).max(axis=2)
    except Refusal:
        return None
    if len(np.unique(highest_HW)) != 2:
        return None
    return np.asarray(cv2.resize(highest_HW, (COPY_PX, COPY_PX), interpolation=cv2.INTER_AREA) > highest_HW.max() / 2)
