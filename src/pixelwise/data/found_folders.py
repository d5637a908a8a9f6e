"""Image and mask folders under other names than ours: "imgs/" and "labels/", "train_images/" and "train_masks/", one
folder with "a.jpg" and "a_mask.png", splits above or below the roles.

Roles and splits are told by the words of the folders' names; files pair as `pairing` pairs them.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

from pixelwise.data.layouts import MASK_SUFFIXES, Listing, image_files_in, pair_files, pair_folders
from pixelwise.data.pairing import WORD, Files, common_affix, cut, rekeyed
from pixelwise.records import Sample

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
IMAGE_WORDS = frozenset(
    [
        "image",
        "images",
        "img",
        "imgs",
        "rgb",
        "jpegimages",
        "photo",
        "photos",
        "input",
        "inputs",
        "frames",
        "original",
        "originals",
        "sat",
    ]
)
MASK_WORDS = frozenset(
    [
        "mask",
        "masks",
        "label",
        "labels",
        "annotation",
        "annotations",
        "annot",
        "annots",
        "ann",
        "gt",
        "groundtruth",
        "truth",
        "segmentation",
        "segmentations",
        "seg",
        "segmentationclass",
        "target",
        "targets",
        "labelled",
        "labeled",
        "annotated",
        "anno",
        "annos",
        "lbl",
        "lbls",
        "matte",
        "mattes",
        "manual",
    ]
)
DEPTH = 4


def roles_of(folder: Path, root: Path) -> tuple[str, str]:
    """(split or "all", "images", "masks" or "") of a folder, by the words of its path below the root."""
    split, role = "all", ""
    for part in folder.relative_to(root).parts:
        words = [*WORD.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part).lower()), part.lower()]
        joined = next((word for word in words if word.startswith(("train", "val", "test")) and len(word) > 5), "")
        words += [joined.removeprefix(prefix) for prefix in ("train", "val", "test") if joined.startswith(prefix)]
        split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), split)
        if any(word in MASK_WORDS for word in words):
            role = "masks"
        elif any(word in IMAGE_WORDS for word in words):
            role = "images"
    return split, role


def folders_with_images(root: Path) -> list[Path]:
    """Folders below the root that hold image files themselves, to a depth of four; no links, nothing hidden."""
    found = []
    for parent, folders, names in os.walk(root):
        depth = len(Path(parent).relative_to(root).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < DEPTH else []
        if any(name.lower().endswith(MASK_SUFFIXES) and not name.startswith(".") for name in names):
            found.append(Path(parent))
    return found


def by_role(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Folders by split and role: {"train": {"images": […], "masks": […]}}."""
    found: defaultdict[str, dict[str, list[Path]]] = defaultdict(lambda: {"images": [], "masks": [], "": []})
    for folder in folders_with_images(root):
        split, role = roles_of(folder, root)
        found[split][role].append(folder)
    for roles in found.values():
        if roles["masks"] and not roles["images"] and len(roles[""]) == 1:  # train/ beside train_labels/
            roles["images"] = roles.pop("")
    return dict(found)


def beside(roles: dict[str, list[Path]], root: Path) -> list[tuple[Path, Path]]:
    """Folders of images with their folders of masks: one of each, or by what their paths share but the roles' words."""
    if len(roles["images"]) == 1 and len(roles["masks"]) == 1:
        return [(roles["images"][0], roles["masks"][0])]
    keyed: defaultdict[tuple[str, ...], dict[str, list[Path]]] = defaultdict(lambda: {"images": [], "masks": []})
    for role in ("images", "masks"):
        for folder in roles[role]:
            key = tuple(part for part in folder.relative_to(root).parts if not roles_of(root / part, root)[1])
            keyed[key][role].append(folder)
    return [
        (here["images"][0], here["masks"][0])
        for _, here in sorted(keyed.items())
        if len(here["images"]) == len(here["masks"]) == 1
    ]


def is_found(root: Path) -> bool:
    """Folders of images and of masks, told by their names, or folders that hold both."""
    return any(beside(roles, root) for roles in by_role(root).values()) or _mixed(root)


def list_found(root: Path) -> Listing:
    """Every split that has a folder of images and one of masks; other folders of images are told."""
    listing = Listing(root)
    found = by_role(root)
    if not any(beside(roles, root) for roles in found.values()):
        listing.splits["all"] = _pair_mixed(root, listing)
        return listing
    for split, roles in sorted(found.items()):
        pairs = beside(roles, root)
        for images, masks in pairs:
            listing.splits.setdefault(split, []).extend(pair_folders(images, masks, listing))
        for images, masks in pairs[:3]:
            listing.notes.append(f"{split}: images in {listing.where(images)}/, masks in {listing.where(masks)}/.")
        if len(pairs) > 3:
            listing.notes.append(f"{split}: and {len(pairs) - 3} more such folders.")
        paired = {folder for pair in pairs for folder in pair}
        lone = [path for role in ("images", "masks") for path in roles[role] if path not in paired]
        if lone:
            names = ", ".join(f"{listing.where(path)}/" for path in lone[:4])
            message = f"{names}: expected a folder of images and one of masks."
            listing.warn("folders-unpaired", root, message, "Move or rename them, if they belong to the data.")
    if "all" in listing.splits and len(listing.splits) > 1:
        del listing.splits["all"]
    return listing


def _mixed(root: Path) -> bool:
    """Whether images and masks lie side by side, told apart by a word or an ending of the masks' names."""
    if not folders_with_images(root):
        return False
    images, masks = _divided(root, Listing(root))
    return bool(masks) and len(images.keys() & masks.keys()) >= 0.5 * len(masks)


def _divided(root: Path, listing: Listing) -> tuple[Files, Files]:
    """Files whose name says mask, and the others, under keys by which they pair.

    Where no word says so, one ending that half of the names have more than another's: a.jpg beside a_L.png.
    """
    files = image_files_in(root, listing, MASK_SUFFIXES)
    masks = {key: paths for key, paths in files.items() if MASK_WORDS & set(_words(Path(key).name))}
    images = {key: paths for key, paths in files.items() if key not in masks}
    if masks and images:
        new_images, new_masks, _ = rekeyed(images, masks)
        if not new_images.keys() & new_masks.keys():  # 001/image.png beside 001/mask.png: by their folders
            new_images, new_masks = (
                {str(Path(key).parent): paths for key, paths in part.items()} for part in (images, masks)
            )
        return new_images, new_masks
    affix = common_affix(files, files)
    masks = {
        key: paths for key, paths in files.items() if affix and cut(key, affix) != key and cut(key, affix) in files
    }
    images = {key: paths for key, paths in files.items() if key not in masks}
    return images, {cut(key, affix): paths for key, paths in masks.items()}


def _words(name: str) -> list[str]:
    """The words of a name in lower case, numbers at their ends left away: "a_manual1" → ["a", "manual"]."""
    return [re.sub(r"\d+$", "", word) for word in re.split(r"[-_. ]", name.lower())]


def _pair_mixed(root: Path, listing: Listing) -> list[Sample]:
    images, masks = _divided(root, listing)
    folders = folders_with_images(root)
    where = f"in {listing.where(folders[0])}/" if len(folders) == 1 else f"in {len(folders):,} folders"
    listing.notes.append(f"Images and masks lie together {where}; the masks' names say so.")
    return pair_files(images, masks, root, root, listing)
