"""DATA/images/ and DATA/masks/, without splits."""

from __future__ import annotations

from pathlib import Path

from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.formats.native import note_others
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.pair_files import pair_folders


def recognises(root: Path) -> bool:
    divided = any((root / "masks" / split).is_dir() and (root / "images" / split).is_dir() for split in SPLITS)
    return (root / "images").is_dir() and (root / "masks").is_dir() and not divided


def half(root: Path) -> bool:
    """Whether images/ or masks/ is present: reported as a problem if no other layout fits."""
    return (root / "images").is_dir() or (root / "masks").is_dir()


def list_pairs(root: Path) -> Listing:
    """All pairs under the one split "all"; `folder` divides them."""
    listing = Listing(root)
    listing.splits["all"] = pair_folders(root / "images", root / "masks", listing)
    note_others([root], listing)
    return listing
