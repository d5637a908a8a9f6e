"""Pairs → splits: those that dataset.toml names, and otherwise by a hash of the seed and each pair's own name.

A hash and no shuffle, so that a pair stays in its split when others are added, on every machine and in any order.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from pixelwise.data.files import shown
from pixelwise.data.layouts import IMAGE_SUFFIXES, Listing
from pixelwise.data.settings import FILE_NAME, SPLITS, Settings
from pixelwise.records import Sample


def divide(listing: Listing, settings: Settings, seed: int, val_share: float) -> None:
    """Give a listing its splits: the folder's own, with val taken from train where there is none; else see the module.

    Args:
        listing: under the one split "all" where the folder has none. Changed in place, with what was decided in its
            notes.
        val_share: share of the pairs that go to val where that is decided here, 0–1, exclusive.
    """
    if "all" in listing.splits:
        _divide_all(listing, settings, seed, val_share)
        return
    if settings.splits:
        message = "[splits] is ignored, because the folders name the splits."
        listing.warn("splits-ignored", listing.root / FILE_NAME, message, "Remove it.")
    if "train" in listing.splits and "val" not in listing.splits:
        train, val = hashed_split(listing.splits["train"], seed, val_share)
        listing.splits |= {"train": train, "val": val}
        listing.notes.append(f"No val split: {len(val)} of train's pairs are held out as val (seed {seed}).")


def _divide_all(listing: Listing, settings: Settings, seed: int, val_share: float) -> None:
    """Divide the pairs of the one split "all" by dataset.toml, else by hash."""
    samples = listing.splits.pop("all")
    wanted = {_stem(name): split for split, names in settings.splits.items() for name in names}
    folder = listing.root / "images"
    keys = {
        sample.name: _stem(
            shown(sample.image.relative_to(folder if sample.image.is_relative_to(folder) else listing.root))
        )
        for sample in samples
    }
    for name in sorted(set(wanted) - set(keys.values())):
        message = f"[splits] {wanted[name]} names {name!r}, but there is no such pair."
        listing.error("split-name", listing.root / FILE_NAME, message, "Correct the name, or remove it.")
    chosen: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    rest: list[Sample] = []
    for sample in samples:
        split = wanted.get(keys[sample.name])
        (chosen[split] if split else rest).append(sample)
    if "val" in settings.splits:
        chosen["train"] += rest
        how = f"by {FILE_NAME}; pairs that it does not name are in train"
    else:
        train, val = hashed_split(rest, seed, val_share)
        chosen["train"] += train
        chosen["val"] += val
        how = f"by a hash of each name (seed {seed}, val share {val_share:g})"
        if settings.splits:
            how = f"by {FILE_NAME}, and the rest {how}"
    order = {sample.name: i for i, sample in enumerate(samples)}
    for split in SPLITS:
        if chosen[split] or split != "test":
            listing.splits[split] = sorted(chosen[split], key=lambda sample: order[sample.name])
    counts = ", ".join(f"{len(part)} {split}" for split, part in listing.splits.items())
    listing.notes.append(f"Split into {counts} {how}.")


def _stem(name: str) -> str:
    """A name as dataset.toml may write it, with or without the suffix of its image."""
    path = PurePath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name


def hashed_split(samples: Sequence[Sample], seed: int, val_share: float) -> tuple[list[Sample], list[Sample]]:
    """Divide samples into train and val by a hash of seed and name. Both are non-empty for two samples or more."""
    alike = Counter(_own_name(sample) for sample in samples)
    places = {
        sample.name: _place(_own_name(sample) if alike[_own_name(sample)] == 1 else sample.name, seed)
        for sample in samples
    }
    val_names = {name for name, place in places.items() if place < val_share}
    if len(samples) >= 2 and not val_names:
        val_names = {min(places, key=places.__getitem__)}
    elif len(samples) >= 2 and len(val_names) == len(samples):
        val_names.discard(max(places, key=places.__getitem__))
    train = [sample for sample in samples if sample.name not in val_names]
    return train, [sample for sample in samples if sample.name in val_names]


def _own_name(sample: Sample) -> str:
    """A sample's name without its folder and suffix."""
    return PurePath(sample.name).name if sample.image_part else sample.image.stem


def _place(name: str, seed: int) -> float:
    """A number from 0 to 1 that depends on the seed and a name alone."""
    digest = hashlib.sha256(f"{seed}:".encode() + os.fsencode(name)).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
