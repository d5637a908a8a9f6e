"""A folder for each band beside the masks:

    red/a.tif, nir/a.tif, masks/a.png
    train_red/red_a.tif, train_nir/nir_a.tif, train_gt/gt_a.tif       names that begin or end with their folder's word
    train/red/a.tif, train/nir/a.tif, train/masks/a.tif               below folders of splits

Folders are taken for bands only if their names say which, and most images have a file in each.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from pixelwise.datasets.channel_files import CHANNEL, NUMBERS, group_channels
from pixelwise.datasets.file_kinds import MASK_SUFFIXES
from pixelwise.datasets.folder_roles import (
    ASIDE_WORDS,
    MASK_WORDS,
    files_by_stem,
    folders_with_images,
    split_of_folder,
)
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.pair_files import image_files_in, pair_files
from pixelwise.datasets.pairing import MOST, Files, rekeyed
from pixelwise.records import Sample

PARTS = re.compile(r"[-_. ]+")
HALF = 0.5  # of the images must have all bands


@dataclass
class BandFolders:
    """The folders of one set of images."""

    bands: dict[str, Path] = field(default_factory=dict)
    masks: list[Path] = field(default_factory=list)


def recognises(root: Path, word: str = "") -> bool:
    """Whether there are folders of at least two bands with files of the same names, and one of masks.

    `word`: the value of --masks, part of the names of the masks' folders.
    """
    return any(len(own.masks) == 1 and _share_names(own.bands) for own in sets_of(root, word).values())


def list_pairs(root: Path, word: str = "") -> Listing:
    """All pairs by split; images that lack a band are errors. `word`: as for `recognises`."""
    listing = Listing(root)
    for (parent, rest), own in sorted(sets_of(root, word).items()):
        folders = ", ".join(f"{listing.where(path)}/" for path in own.bands.values())
        if len(own.bands) < 2:
            listing.notes.append(f"Left out, as no folder of another band is beside it: {folders}.")
            continue
        if len(own.masks) != 1:
            why = "several folders of masks belong" if own.masks else "no folder of masks belongs"
            listing.notes.append(f"Left out, as {why} to them: {folders}.")
            continue
        split = split_of_folder(next(iter(own.bands.values())), root)
        samples = _paired(own, parent, rest, listing)
        listing.splits.setdefault(split, []).extend(samples)
        listing.notes.append(f"{split}: bands in {folders}, masks in {listing.where(own.masks[0])}/.")
    used = {path for own in sets_of(root, word).values() for path in (*own.bands.values(), *own.masks)}
    if others := [path for path in folders_with_images(root) if path not in used]:
        named = ", ".join(f"{listing.where(path)}/" for path in others[:4]) + (" …" if len(others) > 4 else "")
        listing.notes.append(f"Left out, as they are folders of no band: {named}.")
    return listing


def sets_of(root: Path, word: str = "") -> dict[tuple[Path, str], BandFolders]:
    """The folders of bands and of masks, by the folder that holds them and what their names share: "train" of
    train_red/ and train_gt/. `word`: what tells the masks from other folders.
    """
    meant = {
        folder: rest for folder in folders_with_images(root) if (rest := _rest_of_masks(folder.name, word)) is not None
    }
    if word and any(word.lower() in PARTS.split(folder.name.lower()) for folder in meant):
        meant = {folder: rest for folder, rest in meant.items() if word.lower() in PARTS.split(folder.name.lower())}
    found: defaultdict[tuple[Path, str], BandFolders] = defaultdict(BandFolders)
    masks: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)
    for folder in folders_with_images(root):
        if folder == root:
            continue
        band, rest = _named(folder.name)
        if folder in meant and (word or not band):
            masks[folder.parent, meant[folder]].append(folder)
        elif band:
            found[folder.parent, rest].bands[band] = folder
    for key, own in found.items():
        own.masks = masks[key]
        if not own.masks and sum(parent == key[0] for parent, _ in found) == 1:  # red/, nir/, all_masks/
            own.masks = [path for (parent, _), paths in masks.items() if parent == key[0] for path in paths]
    return dict(found)


def _named(name: str) -> tuple[str, str]:
    """The band in a folder's name and the rest: ("red", "train") of train_red; ("", "") of others."""
    parts = PARTS.split(name)
    for count in (2, 1):  # near_infrared, band_3
        for band, rest in ((parts[-count:], parts[:-count]), (parts[:count], parts[count:])):
            word = "_".join(band)
            if len(parts) >= count and _is_band(word) and not any(_is_band(one) for one in rest):
                return word, "_".join(rest).lower()
    return "", ""


def _is_band(word: str) -> bool:
    """Heights and depths are no bands by themselves, and numbers may be years or images."""
    return bool(CHANNEL.fullmatch(word)) and not NUMBERS.fullmatch(word) and word.lower() not in ASIDE_WORDS


def _rest_of_masks(name: str, word: str) -> str | None:
    """What the name of a folder of masks holds beside the words that mean masks, "train" of train_gt; None of others.

    `word`: if not "", the name must hold it.
    """
    parts, wanted = PARTS.split(name.lower()), word.lower()
    rest = [part for part in parts if part not in MASK_WORDS and not (wanted and wanted in part)]
    return "_".join(rest) if len(rest) < len(parts) and wanted in name.lower() else None


def _share_names(bands: Mapping[str, Path]) -> bool:
    """Whether most images have a file of each band: those that lack one are errors, not other data."""
    if len(bands) < 2:
        return False
    names = [set(_without_words(files_by_stem(path), path, band)) for band, path in bands.items()]
    return len(set.intersection(*names)) >= HALF * max(map(len, names))


def _without_words(files: Files, folder: Path, band: str = "") -> dict[str, list[Path]]:
    """Files under names without a word of their folder's name: red_a of train_red/ under "a"."""
    words = [folder.name, band] if band else [folder.name, *(PARTS.split(folder.name))]
    for word in words:
        ends = re.compile(rf"^{re.escape(word)}[-_. ]+|[-_. ]+{re.escape(word)}$", re.IGNORECASE)
        shorter = {key: ends.sub("", key, count=1) for key in files}
        changed = sum(short != key for key, short in shorter.items())
        if files and changed >= MOST * len(files) and all(shorter.values()):
            found: defaultdict[str, list[Path]] = defaultdict(list)
            for key, paths in files.items():
                found[shorter[key]] += paths
            return dict(found)
    return dict(files)


def _paired(own: BandFolders, parent: Path, rest: str, listing: Listing) -> list[Sample]:
    """The pairs of one set of folders, of which `rest` is what the names share."""
    place = PurePath(listing.where(parent), rest)
    channels: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for band, folder in own.bands.items():
        for key, paths in _without_words(image_files_in(folder, listing), folder, band).items():
            channels[key][band] = paths[0]
            if len(paths) > 1:
                what = f"and {paths[1].name} are both the band {band} of the image {key}; the first is used."
                listing.error("duplicate-stem", paths[0], what, "Keep one, or rename the other.")
    (folder,) = own.masks
    masks: Files = _without_words(image_files_in(folder, listing, MASK_SUFFIXES), folder)
    keys = {key: [Path(key)] for key in channels}  # first, as masks may pair by another rule
    by_key, masks, note = rekeyed(keys, masks)
    if note and note not in listing.notes:
        listing.notes.append(note)
    found = {key: channels[str(paths[0])] for key, paths in by_key.items()}
    images = group_channels(found, list(own.bands), listing)
    incomplete = by_key.keys() - images.keys()  # errors already
    masks = {key: paths for key, paths in masks.items() if key not in incomplete}
    names = {paths[0]: str(place / key) for key, paths in images.items()}
    samples = pair_files(images, masks, parent, folder, listing)
    return [replace(sample, name=names[sample.image]) for sample in samples]
