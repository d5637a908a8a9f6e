"""Image and mask folders with any names: "imgs/" and "labels/", "train_images/" and "train_masks/", with split
folders above or below them.

`folder_roles` decides what each folder holds; this module matches masks to images. Files pair by the rules of
`pairing`. If several folders or endings could be the masks of the same images, `--masks WORD` chooses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pixelwise.datasets.channel_files import grouped_channels
from pixelwise.datasets.field_of_view import without_fields_of_view
from pixelwise.datasets.file_kinds import MASK_SUFFIXES
from pixelwise.datasets.folder_roles import (
    ByRole,
    by_role,
    files_by_stem,
    images_and_masks,
    looks_like_masks,
    without_role_words,
)
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.masks_beside_images import (
    ask_which,
    divided,
    lies_together,
    one_ending,
    pair_together,
    words_of,
)
from pixelwise.datasets.pair_files import image_files_in, pair_files, without_side_files
from pixelwise.datasets.pairing import Files, endings_of, rekeyed, without_affix
from pixelwise.errors import UsageError
from pixelwise.images.files import shown
from pixelwise.records import Sample

LOOKED_AT = 4  # pairs to open to distinguish images from masks of the same name
OBJECT_WORDS = frozenset(["instance", "instances", "inst", "objects", "panoptic", "instanceids"])
NAMED = 3  # pairs of folders in the notes of each split
QUARTER = 0.25
HALF = 0.5  # of the files must pair with the images for a folder to be their masks


def sets_of(roles: Mapping[str, list[Path]], root: Path) -> list[tuple[Path, list[Path]]]:
    """Image folders with their candidate mask folders: one if it is clear, several if not.

    A mask folder belongs to the images with the most similar path and file names.
    """
    images, masks = roles.get("images", []), roles.get("masks", [])
    if len(images) == 1 and len(masks) == 1:
        return [(images[0], masks)]
    images, masks = images_and_masks(roles)
    return _belonging(images, masks, root)


def _belonging(images: Sequence[Path], masks: Sequence[Path], root: Path) -> list[tuple[Path, list[Path]]]:
    names = {folder: files_by_stem(folder) for folder in (*images, *masks)}
    found: defaultdict[Path, list[tuple[int, Path]]] = defaultdict(list)
    for mask in masks:
        alike = {image: _alike(image, mask, root) for image in images if _belong(names[image], names[mask])}
        best = max(alike.values(), default=0)
        nearest = [image for image, score in alike.items() if score == best]
        exact = [image for image in nearest if names[image].keys() & names[mask].keys()]
        if len(exact or nearest) == 1:
            found[(exact or nearest)[0]].append((best, mask))
    return [
        (image, [mask for score, mask in scored if score == max(score for score, _ in scored)])
        for image, scored in sorted(found.items())
    ]


def _alike(image: Path, mask: Path, root: Path) -> int:
    """Number of parts that two paths share, ignoring role words."""
    left, right = ({without_role_words(part) for part in path.relative_to(root).parts} for path in (image, mask))
    return len((left & right) - {""})


def _belong(images: Files, masks: Files) -> bool:
    new_images, new_masks, _ = rekeyed(images, masks)
    if len(new_images.keys() & new_masks.keys()) >= HALF * min(len(new_images), len(new_masks)):
        return True
    return bool(endings_of(images, masks))


def recognises(root: Path) -> bool:
    """Whether there are image and mask folders, recognised by name, or folders that hold both."""
    return any(sets_of(roles, root) for roles in by_role(root).values()) or lies_together(root)


def list_pairs(root: Path, word: str = "") -> Listing:
    """List every split that has an image folder and a mask folder; report other image folders.

    `word`: the value of --masks, part of the masks' folder or file names.

    Raises:
        UsageError: no folder or file ending contains the word, or only image folders do; the message lists the
            choices.
    """
    listing = Listing(root)
    found = by_role(root)
    if word:
        found = _as_said(found, root, word)
    sets = {split: sets_of(roles, root) for split, roles in found.items()}
    if not any(sets.values()):
        listing.splits["all"] = pair_together(root, listing, word)
        return listing
    choices: dict[str, None] = {}
    for split in sets:
        sets[split] = _without_other_formats(sets[split], listing)
    for split, own in sorted(sets.items()):
        for images, folders in own:
            masks = sorted(_chosen(folders, root, word), key=_numbers_objects)
            if len(masks) > 1 and not word:
                masks = without_fields_of_view(masks, listing)
            if len(masks) > 1:
                choices |= dict.fromkeys(_telling(masks, listing))
            _pair_set(images, masks[0], split, listing, word, choices)
        if len(own) > NAMED:
            listing.notes.append(f"{split}: and {len(own) - NAMED} more such folders.")
    ask_which(listing, choices, word)
    used = {path for own in sets.values() for images, masks in own for path in (images, *masks)}
    if not choices and not word:
        used |= _offer_others(found, sets, listing)
    _tell_left_out(found, used, listing)
    if "all" in listing.splits and len(listing.splits) > 1:
        rest = len(listing.splits.pop("all"))
        listing.notes.append(f"Left out, as no folder on their path names a split: {rest:,} pairs.")
    return listing


def _as_said(found: ByRole, root: Path, word: str) -> ByRole:
    """The folders by role, with exactly those whose path contains the word as masks.

    If the word occurs in file names instead, nothing changes and the ending is chosen later.
    """
    every = [folder for roles in found.values() for folders in roles.values() for folder in folders]
    meant = set(_with_word(every, root, word))
    of_images = {folder for roles in found.values() for folder in roles.get("images", []) if folder in meant}
    if meant and meant == of_images and not any(map(looks_like_masks, meant)):
        names = ", ".join(f"{shown(folder.relative_to(root))}/" for folder in sorted(meant)[:3])
        raise UsageError(f"--masks {word}: {names} holds the images, not masks. {_choices_in_words(root)}")
    if not meant:
        if not _of_files(every, word):
            raise UsageError(
                f"--masks {word}: no folder's name and no ending of files' names below {shown(root)} holds this word. "
                f"{_choices_in_words(root)}"
            )
        return found
    chosen: ByRole = {}
    for split, roles in found.items():
        masks = [folder for folders in roles.values() for folder in folders if folder in meant]
        if not masks:
            continue
        images = [folder for folder in roles.get("images", []) if folder not in meant]
        bare = [folder for folder in roles.get("", []) if folder not in meant]
        photos = [folder for folder in images or bare if not looks_like_masks(folder)]
        chosen[split] = {"images": photos or images or bare, "masks": masks}
    return chosen


def _with_word(folders: Iterable[Path], root: Path, word: str) -> list[Path]:
    """The folders whose path below the root contains the word, preferably as a whole part."""
    wanted = word.lower().strip("/")
    parts = {folder: [part.lower() for part in folder.relative_to(root).parts] for folder in folders}
    exact = [folder for folder in parts if wanted in parts[folder] or "/".join(parts[folder]).endswith("/" + wanted)]
    return exact or [folder for folder in parts if wanted and any(wanted in part for part in parts[folder])]


def _of_files(folders: Iterable[Path], word: str) -> bool:
    """Whether some file names contain the word."""
    return any(word.lower() in stem.lower() for folder in folders for stem in files_by_stem(folder))


def _choices_in_words(root: Path) -> str:
    """The choices for --masks: every folder that could hold masks, and every ending."""
    found = by_role(root)
    folders = [folder for roles in found.values() for folder in roles.get("masks", [])]
    folders += [folder for roles in found.values() for folder in roles.get("", []) if looks_like_masks(folder)]
    listing = Listing(root)
    endings: dict[str, None] = {}
    for roles in found.values():
        for images, masks in sets_of(roles, root):
            one_ending(files_by_stem(images), files_by_stem(masks[0]), "", endings)
    if not folders:
        divided(root, listing, "", endings)
    names = dict.fromkeys([*sorted({folder.name for folder in folders}), *endings])
    return f"There are: {', '.join(map(shown, names))}." if names else "No folder here looks like masks."


def _offer_others(found: ByRole, sets: Mapping[str, list[tuple[Path, list[Path]]]], listing: Listing) -> set[Path]:
    """Report folders that are not named as masks but look like masks of the same images; return them."""
    others: dict[str, Path] = {}
    every: set[Path] = set()
    for split, own in sets.items():
        masks = {path for _, folders in own for path in folders}
        bare = [path for path in found[split].get("", []) if path not in masks and looks_like_masks(path)]
        for _, folders in _belonging([images for images, _ in own], bare, listing.root):
            others |= {folder.name: folder for folder in folders}
            every.update(folders)
    if others:
        first = next(masks[0] for own in sets.values() for _, masks in own)
        words = sorted(others)
        message = (
            f"{', '.join(f'{shown(word)}/' for word in words)} could also be masks of these images; "
            f"{shown(first.name)}/ is read because of its name."
        )
        remedy = f"Choose with --masks {' or --masks '.join([shown(first.name), *map(shown, words)])}."
        listing.warn("other-masks", first.parent, message, remedy)
    return every


def _tell_left_out(found: ByRole, used: set[Path], listing: Listing) -> None:
    reasons = {
        "masks": "no folder of images belongs to it",
        "images": "no folder of masks belongs to it",
        "": "no folder of masks belongs to it",
        "aside": "its name marks it as neither images nor masks",
    }
    for role, reason in reasons.items():
        lone = [path for roles in found.values() for path in roles.get(role, []) if path not in used]
        if lone:
            names = ", ".join(f"{listing.where(path)}/" for path in lone[:4])
            more = f" and {len(lone) - 4} more" if len(lone) > 4 else ""
            listing.notes.append(f"Left out, as {reason}: {names}{more}.")


def _without_other_formats(own: list[tuple[Path, list[Path]]], listing: Listing) -> list[tuple[Path, list[Path]]]:
    """Drop image folders that repeat the same names in another format: TIF/Original next to PNG/Original."""
    kept: list[tuple[Path, list[Path]]] = []
    seen: dict[frozenset[str], tuple[Path, set[str]]] = {}
    for images, masks in own:
        names = files_by_stem(images)
        kinds = {path.suffix.lower() for paths in names.values() for path in paths}
        first, its_kinds = seen.setdefault(frozenset(names), (images, kinds))
        if first != images and not kinds & its_kinds:
            what = f"{listing.where(images)}/ holds the names of {listing.where(first)}/ in another format"
            listing.notes.append(f"Left out, as a copy: {what}.")
        else:
            kept.append((images, masks))
    return kept


def _pair_set(images: Path, masks: Path, split: str, listing: Listing, word: str, choices: dict[str, None]) -> None:
    """Pair one image folder with one mask folder and add the pairs to the listing."""
    image_files = image_files_in(images, listing)
    if not image_files and any(problem.kind == "unread-images" for problem in listing.problems):
        listing.splits.setdefault(split, [])
        return
    mask_files = image_files_in(masks, listing, MASK_SUFFIXES)
    ending = one_ending(image_files, mask_files, word, choices)
    if ending:
        mask_files = {
            without_affix(key, ending): paths for key, paths in mask_files.items() if without_affix(key, ending) != key
        }
    samples = listing.splits.setdefault(split, [])
    known = len(samples)
    samples += pairs_in_folders(image_files, mask_files, images, masks, listing)
    which = f"{split}: images in "
    if known == 0 or sum(note.startswith(which) for note in listing.notes) < NAMED:
        listing.notes.append(f"{which}{listing.where(images)}/, masks in {listing.where(masks)}/.")


def pairs_in_folders(images: Files, masks: Files, of_images: Path, of_masks: Path, listing: Listing) -> list[Sample]:
    images, masks, note = rekeyed(grouped_channels(images, masks, listing), masks)
    if note and note not in listing.notes:
        listing.notes.append(note)
    return pair_files(without_side_files(images, masks, of_images, listing), masks, of_images, of_masks, listing)


def _chosen(folders: list[Path], root: Path, word: str) -> list[Path]:
    """The folders whose path below the root contains the word, preferably as a whole part; all if none does."""
    return (_with_word(folders, root, word) if word else []) or folders


def _numbers_objects(folder: Path) -> bool:
    """Whether a folder's name means object masks: instances/ ranks below class masks of the same images."""
    return bool(OBJECT_WORDS & set(words_of(folder.name)))


def _telling(folders: list[Path], listing: Listing) -> list[str]:
    """For each folder, the part of its path that no other folder has."""
    parts = [listing.where(folder).split("/") for folder in folders]
    told = []
    for own in parts:
        alone = [part for part in own if sum(part in others for others in parts) == 1]
        told.append(alone[-1] if alone else "/".join(own))
    return told
