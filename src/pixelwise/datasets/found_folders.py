"""Image and mask folders under other names than ours: "imgs/" and "labels/", "train_images/" and "train_masks/", one
folder with "a.jpg" and "a_mask.png", splits above or below the roles.

`folder_roles` tells what each folder is for; here masks meet their images, whose files pair as `pairing` pairs them.
Where several folders, or several endings, could be the masks of the same images, a person says which: `--masks WORD`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pixelwise.datasets.file_kinds import MASK_SUFFIXES, UNREAD_PHOTOS
from pixelwise.datasets.folder_roles import (
    ASIDE_WORDS,
    MASK_WORDS,
    ByRole,
    by_role,
    files_by_stem,
    folders_with_images,
    images_and_masks,
    is_drawn,
    looks_like_masks,
    without_role_words,
)
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.pair_files import image_files_in, pair_files, unread_photos, without_side_files
from pixelwise.datasets.pairing import MOST, Files, endings_of, rekeyed, without_affix
from pixelwise.errors import UsageError
from pixelwise.images.files import shown
from pixelwise.records import Sample

LOOKED_AT = 4  # pairs that are opened to tell images and masks of one name apart
OBJECT_WORDS = frozenset(["instance", "instances", "inst", "objects", "panoptic", "instanceids"])
QUARTER = 0.25
HALF = 0.5  # of the files must pair with the images for a folder to be theirs


def sets_of(roles: Mapping[str, list[Path]], root: Path) -> list[tuple[Path, list[Path]]]:
    """Folders of images with the folders that can be their masks: one where it is clear, several where it is not.

    A folder of masks belongs to the images whose path is most like its own, and whose names are.
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
    """How many parts of two paths agree, without the words that tell roles."""
    left, right = ({without_role_words(part) for part in path.relative_to(root).parts} for path in (image, mask))
    return len((left & right) - {""})


def _belong(images: Files, masks: Files) -> bool:
    new_images, new_masks, _ = rekeyed(images, masks)
    if len(new_images.keys() & new_masks.keys()) >= HALF * min(len(new_images), len(new_masks)):
        return True
    return bool(endings_of(images, masks))


def recognises(root: Path) -> bool:
    """Folders of images and of masks, told by their names, or folders that hold both."""
    return any(sets_of(roles, root) for roles in by_role(root).values()) or _mixed(root)


def list_pairs(root: Path, word: str = "") -> Listing:
    """Every split that has a folder of images and one of masks; other folders of images are told.

    `word`: what a person said of the masks: part of their folders' or files' names.

    Raises:
        UsageError: no folder and no ending of files' names has the word in it, or only images have; the message lists
            what there is.
    """
    listing = Listing(root)
    found = by_role(root)
    if word:
        found = _as_said(found, root, word)
    sets = {split: sets_of(roles, root) for split, roles in found.items()}
    if not any(sets.values()):
        listing.splits["all"] = _pair_mixed(root, listing, word)
        return listing
    choices: dict[str, None] = {}
    for split in sets:
        sets[split] = _without_other_formats(sets[split], listing)
    for split, own in sorted(sets.items()):
        for images, folders in own:
            masks = sorted(_chosen(folders, root, word), key=_numbers_objects)
            if len(masks) > 1:
                choices |= dict.fromkeys(_telling(masks, listing))
            _pair_set(images, masks[0], split, listing, word, choices)
        if len(own) > 3:
            listing.notes.append(f"{split}: and {len(own) - 3} more such folders.")
    _ask(listing, choices, word)
    used = {path for own in sets.values() for images, masks in own for path in (images, *masks)}
    if not choices and not word:
        used |= _offer_others(found, sets, listing)
    _tell_left_out(found, used, listing)
    if "all" in listing.splits and len(listing.splits) > 1:
        rest = len(listing.splits.pop("all"))
        listing.notes.append(f"Left out, for no split's name is on their path: {rest:,} pairs.")
    return listing


def _as_said(found: ByRole, root: Path, word: str) -> ByRole:
    """The folders by role, where those whose path holds the word are the masks and no others are.

    The word may be of files' names instead: then everything stays as it is, and the ending is chosen later.
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
    """The folders whose path below the root holds the word, as a whole part where one does."""
    wanted = word.lower().strip("/")
    parts = {folder: [part.lower() for part in folder.relative_to(root).parts] for folder in folders}
    exact = [folder for folder in parts if wanted in parts[folder] or "/".join(parts[folder]).endswith("/" + wanted)]
    return exact or [folder for folder in parts if wanted and any(wanted in part for part in parts[folder])]


def _of_files(folders: Iterable[Path], word: str) -> bool:
    """Whether the names of some files hold the word."""
    return any(word.lower() in stem.lower() for folder in folders for stem in files_by_stem(folder))


def _choices_in_words(root: Path) -> str:
    """What could be said with --masks: every folder that could be masks, and every ending."""
    found = by_role(root)
    folders = [folder for roles in found.values() for folder in roles.get("masks", [])]
    folders += [folder for roles in found.values() for folder in roles.get("", []) if looks_like_masks(folder)]
    listing = Listing(root)
    endings: dict[str, None] = {}
    for roles in found.values():
        for images, masks in sets_of(roles, root):
            _one_ending(files_by_stem(images), files_by_stem(masks[0]), "", endings)
    if not folders:
        _divided(root, listing, "", endings)
    names = dict.fromkeys([*sorted({folder.name for folder in folders}), *endings])
    return f"There are: {', '.join(map(shown, names))}." if names else "No folder here looks like masks."


def _offer_others(found: ByRole, sets: Mapping[str, list[tuple[Path, list[Path]]]], listing: Listing) -> set[Path]:
    """Tell of folders that no word calls masks but that look like them and belong to the same images; these folders."""
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
            f"{', '.join(f'{shown(word)}/' for word in words)} could be masks of the same images too; "
            f"{shown(first.name)}/ is read, for its name says so."
        )
        remedy = f"Say which with --masks {' or --masks '.join([shown(first.name), *map(shown, words)])}."
        listing.warn("other-masks", first.parent, message, remedy)
    return every


def _tell_left_out(found: ByRole, used: set[Path], listing: Listing) -> None:
    reasons = {
        "masks": "no folder of images belongs to it",
        "images": "no folder of masks belongs to it",
        "": "no folder of masks belongs to it",
        "aside": "its name says that it is neither photos nor masks",
    }
    for role, reason in reasons.items():
        lone = [path for roles in found.values() for path in roles.get(role, []) if path not in used]
        if lone:
            names = ", ".join(f"{listing.where(path)}/" for path in lone[:4])
            more = f" and {len(lone) - 4} more" if len(lone) > 4 else ""
            listing.notes.append(f"Left out, for {reason}: {names}{more}.")


def _without_other_formats(own: list[tuple[Path, list[Path]]], listing: Listing) -> list[tuple[Path, list[Path]]]:
    """Folders of images without those that hold the same names in another format: TIF/Original beside PNG/Original."""
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
    """Pair one folder of images with one of masks, into the listing."""
    image_files = image_files_in(images, listing)
    if not image_files and any(problem.kind == "unread-images" for problem in listing.problems):
        listing.splits.setdefault(split, [])
        return
    mask_files = image_files_in(masks, listing, MASK_SUFFIXES)
    ending = _one_ending(image_files, mask_files, word, choices)
    if ending:
        mask_files = {
            without_affix(key, ending): paths for key, paths in mask_files.items() if without_affix(key, ending) != key
        }
    samples = listing.splits.setdefault(split, [])
    known = len(samples)
    samples += pairs_in_folders(image_files, mask_files, images, masks, listing)
    if known == 0 or len(listing.notes) < 4:
        listing.notes.append(f"{split}: images in {listing.where(images)}/, masks in {listing.where(masks)}/.")


def pairs_in_folders(images: Files, masks: Files, of_images: Path, of_masks: Path, listing: Listing) -> list[Sample]:
    images, masks, note = rekeyed(images, masks)
    if note and note not in listing.notes:
        listing.notes.append(note)
    return pair_files(without_side_files(images, masks, of_images, listing), masks, of_images, of_masks, listing)


def _one_ending(images: Files, masks: Files, word: str, choices: dict[str, None]) -> str:
    """The ending ("*_labelIds") of the masks that are meant where there are several for each image; "" where not.

    Where nobody has said it, the first is taken for now and all become choices.
    """
    endings = endings_of(images, masks)
    if len(endings) < 2:
        return ""
    meant = [ending for ending in endings if word and word.lower() in ending.lower()]
    exact = [ending for ending in meant if ending.lower().strip("*-_. ") == word.lower().strip("-_. ")]
    if len(exact or meant) != 1:
        choices |= dict.fromkeys(ending.strip("*-_. ") for ending in endings)
    return (exact or meant or endings)[0]


def _chosen(folders: list[Path], root: Path, word: str) -> list[Path]:
    """The folders whose path below the root holds the word, as a whole part if it can be; all where none does."""
    return (_with_word(folders, root, word) if word else []) or folders


def _numbers_objects(folder: Path) -> bool:
    """Whether a folder is called so: instances/ come after the classes of the same images."""
    return bool(OBJECT_WORDS & set(_words(folder.name)))


def _telling(folders: list[Path], listing: Listing) -> list[str]:
    """For each of several folders the part of its path that no other has."""
    parts = [listing.where(folder).split("/") for folder in folders]
    told = []
    for own in parts:
        alone = [part for part in own if sum(part in others for others in parts) == 1]
        told.append(alone[-1] if alone else "/".join(own))
    return told


def _ask(listing: Listing, choices: Mapping[str, None], word: str) -> None:
    if not choices:
        return
    listed = ", ".join(choices)
    said = f"--masks {word} leaves" if word else "there are"
    message = (
        f"{said} several that could be the masks of the same images: {listed}. Read for now: {next(iter(choices))}."
    )
    remedy = f"Say which: --masks {' or --masks '.join(choices)}."
    listing.error("which-masks", listing.root, message, remedy)
    listing.choices = tuple(choices)


def _mixed(root: Path) -> bool:
    """Whether images and masks lie side by side, told apart by a word or an ending of the masks' names."""
    if not folders_with_images(root):
        return False
    images, masks = _divided(root, Listing(root), "", {})
    return bool(masks) and len(images.keys() & masks.keys()) >= HALF * len(masks)


def _divided(root: Path, listing: Listing, word: str, choices: dict[str, None]) -> tuple[Files, Files]:
    """Files whose name says mask, and the others, under keys by which they pair.

    Where no word says so: by their kind, 001.bmp beside 001.png; else by an ending that half of the names have more
    than another's, a.jpg beside a_L.png. Images of kinds that are not read are among the images, so that nothing else
    becomes the image in their place.
    """
    files, aside = _without_aside(image_files_in(root, listing, (*MASK_SUFFIXES, *UNREAD_PHOTOS)))
    masks = {key: paths for key, paths in files.items() if MASK_WORDS & set(_words(Path(key).name))}
    images = {key: paths for key, paths in files.items() if key not in masks}
    if aside:
        names = f"{len(aside):,} files, such as {shown(aside[0].name)}"
        listing.notes.append(f"Left out, for their names say that they are neither photos nor masks: {names}.")
    if masks and images and not endings_of(images, masks)[1:]:
        new_images, new_masks, _ = rekeyed(images, masks)
        if not new_images.keys() & new_masks.keys():  # 001/image.png beside 001/mask.png: by their folders
            new_images, new_masks = (
                {str(Path(key).parent): paths for key, paths in part.items()} for part in (images, masks)
            )
        return new_images, new_masks
    by_kind = _by_kind(files, listing)
    if by_kind:
        return by_kind
    endings = endings_of(files, files)
    ending = endings[0] if len(endings) == 1 else _one_ending(files, files, word, choices)
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
    """Files without heights, overlays and the like, told by a word of their names; and those."""
    aside = {key for key in files if ASIDE_WORDS & set(_words(Path(key).name))}
    if len(aside) > (1 - QUARTER) * len(files):  # all of them: the word is what the images are called
        return files, []
    return {key: paths for key, paths in files.items() if key not in aside}, [files[key][0] for key in sorted(aside)]


def _by_kind(files: Files, listing: Listing) -> tuple[Files, Files] | None:
    """Images and masks of one name and two kinds, 001.bmp beside 001.png, told apart by what is in some of them."""
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


def _words(name: str) -> list[str]:
    """The words of a name in lower case, numbers at their ends left away: "a_manual1" → ["a", "manual"]."""
    return [re.sub(r"\d+$", "", word) for word in re.split(r"[-_. ]", name.lower())]


def _pair_mixed(root: Path, listing: Listing, word: str) -> list[Sample]:
    choices: dict[str, None] = {}
    images, masks = _divided(root, listing, word, choices)
    _ask(listing, choices, word)
    with_masks = {path.parent for paths in masks.values() for path in paths}
    unlabelled = {key: paths for key, paths in images.items() if paths[0].parent not in with_masks and key not in masks}
    if unlabelled and with_masks:
        folders = sorted({listing.where(paths[0].parent) for paths in unlabelled.values()})
        where = shown(", ".join(f"{folder}/" for folder in folders[:4]))
        listing.notes.append(f"Left out, for their folders hold no masks: {len(unlabelled):,} images in {where}.")
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
