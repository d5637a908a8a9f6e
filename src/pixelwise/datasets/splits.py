"""Divide pairs into splits: by the folders, by dataset.toml, by lists, or by a hash.

The first available source decides: the folders (train/, valid/, test/ at any depth); dataset.toml's `[splits]`; lists
next to the data (`split_lists`); a hash of the seed and each pair's own name. The hash, unlike a shuffle, gives the
same split on every machine and in any order, and pairs keep their split when others are added, except a few at the
limit of the share. Groups (`groups`) are never divided: whole groups are drawn.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from pixelwise.datasets.dataset_toml import FILE_NAME, SPLITS, DatasetSettings, fail
from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES
from pixelwise.datasets.folder_roles import chance_splits, split_of_folder
from pixelwise.datasets.groups import STACK, Groups, found_groups
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.split_lists import SplitList, split_lists
from pixelwise.datasets.stacks import by_number
from pixelwise.images.files import shown
from pixelwise.records import Sample

SMALL = 50  # samples; below this, val gets its exact share, because chance may give it almost none
MOST = 0.8  # of the pairs must lie in split folders for the others to be left out


def divide(listing: Listing, settings: DatasetSettings, seed: int, val_share: float) -> None:
    """Assign splits to a listing: the folder's own, with val drawn from train if missing; otherwise see the module.

    Args:
        listing: with the single split "all" if the folder has no splits. Changed in place; its notes record the
            decisions.
        val_share: share of the pairs that go to val if val is drawn here, 0–1, exclusive.

    Raises:
        DatasetError: dataset.toml's `groups` is not a regular expression.
    """
    if "all" in listing.splits and not settings.splits:
        _divide_by_folders(listing)
    lists = split_lists(listing.root) if "val" not in listing.splits and not settings.splits else []
    if lists:
        _divide_by_lists(listing, lists)
    if "all" in listing.splits and not settings.splits and listing.splits.keys() & {"train", "val"}:
        rest = listing.splits.pop("all")  # some files name their split: the use of the others is not guessed
        if rest:
            example = f"{len(rest):,} pairs, such as {shown(rest[0].name)}"
            listing.notes.append(f"Left out, as nothing names their split: {example}.")
    if "all" in listing.splits:
        _divide_all(listing, settings, seed, val_share)
        return
    if settings.splits:
        message = "[splits] is ignored, because the folders name the splits."
        listing.warn("splits-ignored", listing.root / FILE_NAME, message, "Remove it.")
    if "train" in listing.splits and "val" not in listing.splits:
        groups = _groups_of(listing.splits["train"], settings, listing)
        train, val = hashed_split(listing.splits["train"], seed, val_share, groups)
        listing.splits |= {"train": train, "val": val}
        how = f"held out as val (seed {seed})"
        listing.notes.append(f"No val split: {len(val)} of train's pairs are {how}.{_of_groups(groups, train, val)}")


def _divide_by_folders(listing: Listing) -> None:
    """Assign each pair of "all" the split in its image's path, if the paths name several splits."""
    samples = listing.splits["all"]
    folders = {sample.image.parent for sample in samples if sample.image.is_relative_to(listing.root)}
    by_chance = chance_splits(folders, listing.root)
    of_folder = {folder: split_of_folder(folder, listing.root, by_chance) for folder in folders}
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[of_folder.get(sample.image.parent, "all")].append(sample)
    rest = found.pop("all", [])
    if "train" not in found or len(found) < 2 or len(rest) > (1 - MOST) * len(samples):
        return
    if rest:
        listing.notes.append(f"Left out, as no folder on their path names a split: {len(rest):,} pairs.")
    del listing.splits["all"]
    listing.splits |= {split: found[split] for split in SPLITS if split in found}
    counts = ", ".join(f"{len(part)} {split}" for split, part in listing.splits.items())
    listing.notes.append(f"Split into {counts} by the folders' names.")


def _divide_by_lists(listing: Listing, lists: Sequence[SplitList]) -> None:
    """Apply the first list whose names match the pairs; report the lists not applied."""
    source = "all" if "all" in listing.splits else "train"
    samples = listing.splits.get(source, [])
    for found in lists:
        of = found.splits_of(samples, listing.root)
        chosen = {split: [s for s in samples if of.get(s.name) == split] for split in SPLITS}
        if "test" in listing.splits and chosen["test"]:  # a test split that differs from the folder's
            continue
        rest = [sample for sample in samples if sample.name not in of]
        if not (chosen["val"] or chosen["test"]) or len(of) < MOST * min(found.named, len(samples)):
            listing.notes.append(f"Not used: {found.where} names {len(of)} of {len(samples):,} pairs ({found.what}).")
            continue
        if found.whole and chosen["train"]:
            if rest:
                listing.notes.append(f"Left out, as {found.where} does not name them: {len(rest):,} pairs.")
        else:
            chosen["train"] = [sample for sample in samples if of.get(sample.name, "train") == "train"]
        del listing.splits[source]
        listing.splits |= {split: part for split, part in chosen.items() if part}
        counts = ", ".join(f"{len(chosen[split])} {split}" for split in SPLITS if chosen[split])
        listing.notes.append(f"Split into {counts} by {found.where}{found.how}.")
        others = [other.where for other in lists if other is not found]
        if others:
            listing.notes.append(f"Not used, as one list is enough: {', '.join(others)}.")
        return


def _divide_all(listing: Listing, settings: DatasetSettings, seed: int, val_share: float) -> None:
    """Divide the pairs of the single split "all" by dataset.toml, else by hash."""
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
    told = ""
    if "val" in settings.splits:
        chosen["train"] += rest
        how = f"by {FILE_NAME}; pairs that it does not name are in train"
    else:
        groups = _groups_of(rest, settings, listing)
        train, val = hashed_split(rest, seed, val_share, groups)
        chosen["train"] += train
        chosen["val"] += val
        whose = "group" if groups.of else "name"
        how = f"by a hash of each {whose} (seed {seed}, val share {val_share:g})"
        told = _of_groups(groups, train, val)
        if settings.splits:
            how = f"by {FILE_NAME}, and the rest {how}"
    order = {sample.name: i for i, sample in enumerate(samples)}
    for split in SPLITS:
        if chosen[split] or split != "test":
            own = sorted(chosen[split], key=lambda sample: order[sample.name])
            listing.splits[split] = [*listing.splits.get(split, []), *own]
    counts = ", ".join(f"{len(part)} {split}" for split, part in listing.splits.items())
    listing.notes.append(f"Split into {counts} {how}.{told}")


def _stem(name: str) -> str:
    """A name from dataset.toml without its image suffix, if any."""
    path = PurePath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name


def _groups_of(samples: Sequence[Sample], settings: DatasetSettings, listing: Listing) -> Groups:
    try:
        return found_groups(samples, settings.groups)
    except re.error as error:
        fail(
            listing.root / FILE_NAME,
            f"`groups` is not a regular expression ({error}).",
            'For example: groups = "p\\\\d+".',
        )


def _of_groups(groups: Groups, train: Sequence[Sample], val: Sequence[Sample]) -> str:
    """The note on groups: their number per split, the reason, and how to split pair by pair."""
    if not groups.of:
        return ""
    own = [{groups.of[sample.name] for sample in part if sample.name in groups.of} for part in (train, val)]
    if own[0] & own[1]:
        names = f"{shown(val[0].name)} to {shown(val[-1].name)}" if len(val) > 1 else shown(val[0].name)
        which = (
            f"{groups.why}, so val is one block of them, {names}"
            if STACK in groups.of.values()
            else (f"All of them are of one group ({groups.why}), which is split anyway; val is its end, {names}")
        )
        return f" {which[0].upper()}{which[1:]}: scores on images beside those of train will be inflated."
    where = f"{len(own[0])} in train and {len(own[1])} in val"
    return (
        f" Groups stay whole, {where}: {groups.why}, such as {shown(next(iter(groups.of.values())).rstrip('/'))}; "
        f"`groups = false` in {FILE_NAME} divides pair by pair."
    )


def hashed_split(
    samples: Sequence[Sample], seed: int, val_share: float, groups: Groups | None = None
) -> tuple[list[Sample], list[Sample]]:
    """Divide samples into train and val by a hash of seed and name, groups by a hash of seed and group.

    Hashes below the share go to val, lowest first, but at most share × samples, rounded up; below 50 samples exactly
    that many, rounded to the nearest, otherwise at least three quarters of it, as far as groups allow. Both are
    non-empty for two samples or more. A single group is divided: its last samples, by their numbers, are val.
    """
    groups = found_groups(samples) if groups is None else groups
    alike = Counter(_own_name(sample) for sample in samples)
    members: defaultdict[str, list[str]] = defaultdict(list)
    places: dict[str, float] = {}
    for sample in samples:
        own = _own_name(sample) if alike[_own_name(sample)] == 1 else sample.name
        unit = groups.of.get(sample.name, "")
        key = f"group {unit}" if unit else f"name {sample.name}"
        members[key].append(sample.name)
        places.setdefault(key, _place(unit or own, seed))
    if len(members) == 1 and len(samples) > 1:
        most = min(_share(val_share, len(samples)), len(samples) - 1)
        ordered = by_number(samples)
        block = {sample.name for sample in ordered[-most:]}
        return [s for s in ordered if s.name not in block], ordered[-most:]
    val_names = _drawn(places, members, len(samples), val_share)
    train = [sample for sample in samples if sample.name not in val_names]
    return train, [sample for sample in samples if sample.name in val_names]


def _drawn(places: Mapping[str, float], members: Mapping[str, Sequence[str]], count: int, val_share: float) -> set[str]:
    """The names in val: whole units in the order of their places; the smallest unit if none fits."""
    most = min(_share(val_share, count), count - 1)
    least = most if count < SMALL else 3 * most // 4
    val: set[str] = set()
    for key in sorted(places, key=lambda key: (places[key], key)):
        if len(val) + len(members[key]) <= most and (places[key] < val_share or len(val) < least):
            val.update(members[key])
    if not val and count > 1:
        val.update(members[min(places, key=lambda key: (len(members[key]), places[key]))])
    return val


def _share(val_share: float, count: int) -> int:
    """The maximum size of val for `count` samples: the share, rounded; for few samples to the nearest, at least 1."""
    wanted = round(val_share * count, 9)
    return max(math.floor(wanted + 0.5), 1) if count < SMALL else math.ceil(wanted)


def _own_name(sample: Sample) -> str:
    """A sample's name without its folder and suffix."""
    return PurePath(sample.name).name if sample.image_part else sample.image.stem


def _place(name: str, seed: int) -> float:
    """A number from 0 to 1 that depends only on the seed and the name."""
    digest = hashlib.sha256(f"{seed}:".encode() + os.fsencode(name)).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
