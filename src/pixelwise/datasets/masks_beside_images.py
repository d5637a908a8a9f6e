"""Images and masks in one folder: "a.jpg" and "a_mask.png", "001.bmp" and "001.png"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pixelwise.datasets.channel_files import grouped_channels
from pixelwise.datasets.file_kinds import MASK_SUFFIXES, UNREAD_PHOTOS
from pixelwise.datasets.folder_roles import ASIDE_WORDS, MASK_WORDS, folders_with_images, is_drawn
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.pair_files import image_files_in, pair_files, unread_photos
from pixelwise.datasets.pairing import MOST, Files, endings_of, rekeyed, without_affix
from pixelwise.images.files import shown
from pixelwise.records import Sample

LOOKED_AT = 4  # pairs to open to distinguish images from masks of the same name
QUARTER = 0.25
HALF = 0.5  # of the masks must pair with the images


def lies_together(root: Path) -> bool:
    """Whether images and masks share a folder, distinguished by a word or an ending of the masks' names."""
    if not folders_with_images(root):
        return False
    images, masks = divided(root, Listing(root), "", {})
    return bool(masks) and len(images.keys() & masks.keys()) >= HALF * len(masks)


def divided(root: Path, listing: Listing, word: str, choices: dict[str, None]) -> tuple[Files, Files]:
    """(images, masks) among the files, under keys by which they pair: masks are those named as masks.

    Without such a word, they are distinguished by suffix, 001.bmp and 001.png, else by an extra ending of half of the
    names, a.jpg and a_L.png. Unsupported image formats count as images, so that no other file
    becomes the image in their place.
    """
    files, aside = _without_aside(image_files_in(root, listing, (*MASK_SUFFIXES, *UNREAD_PHOTOS)))
    masks = {key: paths for key, paths in files.items() if MASK_WORDS & set(words_of(Path(key).name))}
    images = {key: paths for key, paths in files.items() if key not in masks}
    if aside:
        names = f"{len(aside):,} files, such as {shown(aside[0].name)}"
        listing.notes.append(f"Left out, as their names mark them as neither images nor masks: {names}.")
    if masks and images:
        by_image = grouped_channels(images, masks, listing)
        if by_image is not images:
            return by_image, masks
    if masks and images and not endings_of(images, masks)[1:]:
        new_images, new_masks, _ = rekeyed(images, masks)
        if not new_images.keys() & new_masks.keys():  # 001/image.png next to 001/mask.png: by their folders
            new_images, new_masks = (
                {str(Path(key).parent): paths for key, paths in part.items()} for part in (images, masks)
            )
        return new_images, new_masks
    by_kind = _by_kind(files, listing)
    if by_kind:
        return by_kind
    endings = endings_of(files, files)
    ending = endings[0] if len(endings) == 1 else one_ending(files, files, word, choices)
    marked = {
        key
        for key in files
        if any(without_affix(key, one) != key and without_affix(key, one) in files for one in endings)
    }
    images = {key: paths for key, paths in files.items() if key not in marked}
    if not ending:
        return images, {}
    masks = {key: paths for key, paths in files.items() if key in marked and without_affix(key, ending) != key}
    return images, {without_affix(key, ending): paths for key, paths in masks.items()}


def _without_aside(files: Files) -> tuple[Files, list[Path]]:
    """Separate the files from heights, overlays and the like, recognised by a word in their names."""
    aside = {key for key in files if ASIDE_WORDS & set(words_of(Path(key).name))}
    if len(aside) > (1 - QUARTER) * len(files):  # nearly all of them: the word is the images' name
        return files, []
    return {key: paths for key, paths in files.items() if key not in aside}, [files[key][0] for key in sorted(aside)]


def _by_kind(files: Files, listing: Listing) -> tuple[Files, Files] | None:
    """Images and masks with the same name and two suffixes, 001.bmp and 001.png, distinguished by sampled content."""
    kinds = Counter(tuple(sorted(path.suffix for path in paths)) for paths in files.values() if len(paths) == 2)
    (kind, count), *_ = kinds.most_common(1) or [((), 0)]
    if count < MOST * len(files) or len(set(kind)) < 2:
        return None
    double = [key for key, paths in files.items() if {path.suffix for path in paths} == set(kind)]
    looked_at = double[:: max(len(double) // LOOKED_AT, 1)][:LOOKED_AT]
    drawn = {
        suffix: sum(is_drawn(path) for key in looked_at for path in files[key] if path.suffix == suffix)
        for suffix in kind
    }
    masks = [suffix for suffix in kind if drawn[suffix] > HALF * len(looked_at)]
    if len(masks) != 1:
        return None
    what = f"{masks[0]} files hold the masks of {next(suffix for suffix in kind if suffix != masks[0])} files"
    listing.notes.append(f"By what is in them, {what} of the same names.")
    parts: tuple[dict[str, list[Path]], dict[str, list[Path]]] = ({}, {})
    for key, paths in files.items():
        for path in paths:
            parts[path.suffix == masks[0]].setdefault(key, []).append(path)
    return parts


def _is_unread(path: Path) -> bool:
    return path.suffix.lower() in UNREAD_PHOTOS


def words_of(name: str) -> list[str]:
    """The words of a name in lower case, without final numbers: "a_manual1" → ["a", "manual"]."""
    return [re.sub(r"\d+$", "", word) for word in re.split(r"[-_. ]", name.lower())]


def pair_together(root: Path, listing: Listing, word: str) -> list[Sample]:
    choices: dict[str, None] = {}
    images, masks = divided(root, listing, word, choices)
    ask_which(listing, choices, word)
    with_masks = {path.parent for paths in masks.values() for path in paths}
    unlabelled = {key: paths for key, paths in images.items() if paths[0].parent not in with_masks and key not in masks}
    if unlabelled and with_masks:
        folders = sorted({listing.where(paths[0].parent) for paths in unlabelled.values()})
        where = shown(", ".join(f"{folder}/" for folder in folders[:4]))
        listing.notes.append(f"Left out, as their folders hold no masks: {len(unlabelled):,} images in {where}.")
        images = {key: paths for key, paths in images.items() if key not in unlabelled}
    unread = [path for key in images.keys() & masks.keys() for path in images[key] if _is_unread(path)]
    if len(unread) >= HALF * len(masks):
        unread_photos(root, sorted(shown(path.name) for path in unread), listing)
        return []
    images = {key: own for key, paths in images.items() if (own := [path for path in paths if not _is_unread(path)])}
    folders_ = folders_with_images(root)
    told = "" if any(note.startswith("By what") for note in listing.notes) else "; the masks' names say so"
    where = f"in {listing.where(folders_[0])}/" if len(folders_) == 1 else f"in {len(folders_):,} folders"
    listing.notes.append(f"Images and masks lie together {where}{told}.")
    return pair_files(images, masks, root, root, listing)


def one_ending(images: Files, masks: Files, word: str, choices: dict[str, None]) -> str:
    """The ending ("*_labelIds") of the masks to use, if there are several for each image; otherwise "".

    Without a choice, use the first for now and add all to the choices.
    """
    endings = endings_of(images, masks)
    if len(endings) < 2:
        return ""
    meant = [ending for ending in endings if word and word.lower() in ending.lower()]
    exact = [ending for ending in meant if ending.lower().strip("*-_. ") == word.lower().strip("-_. ")]
    if len(exact or meant) != 1:
        choices |= dict.fromkeys(ending.strip("*-_. ") for ending in endings)
    return (exact or meant or endings)[0]


def ask_which(listing: Listing, choices: Mapping[str, None], word: str) -> None:
    if not choices:
        return
    listed = ", ".join(choices)
    said = f"--masks {word} leaves" if word else "there are"
    message = f"{said} several sets of masks for the same images: {listed}. Read for now: {next(iter(choices))}."
    remedy = f"Choose one: --masks {' or --masks '.join(choices)}."
    listing.error("which-masks", listing.root, message, remedy)
    listing.choices = tuple(choices)
