"""Image and mask folders under other names than ours: "imgs/" and "labels/", "train_images/" and "train_masks/", one
folder with "a.jpg" and "a_mask.png", splits above or below the roles.

Roles and splits are told by the words of the folders' names; files pair as `pairing` pairs them.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

from pixelwise.data.files import shown
from pixelwise.data.layouts import IMAGE_SUFFIXES, Listing, image_files_in, pair_files, pair_folders
from pixelwise.data.pairing import WORD, rekeyed
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
        if any(name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".") for name in names):
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


def is_found(root: Path) -> bool:
    """A folder of images and one of masks, told by their names, or one folder that holds both."""
    found = by_role(root)
    if any(len(roles["images"]) == 1 and len(roles["masks"]) == 1 for roles in found.values()):
        return True
    return bool(_mixed(root))


def list_found(root: Path) -> Listing:
    """Every split that has a folder of images and one of masks; other folders of images are told."""
    listing = Listing(root)
    listing.splits = {}
    mixed = _mixed(root)
    if mixed:
        listing.splits["all"] = _pair_mixed(mixed, listing)
        return listing
    for split, roles in sorted(by_role(root).items()):
        if len(roles["images"]) == 1 and len(roles["masks"]) == 1:
            images, masks = roles["images"][0], roles["masks"][0]
            listing.splits[split] = pair_folders(images, masks, listing)
            listing.notes.append(f"{split}: images in {listing.where(images)}/, masks in {listing.where(masks)}/.")
        elif roles["images"] or roles["masks"]:
            names = ", ".join(f"{listing.where(path)}/" for part in ("images", "masks") for path in roles[part][:4])
            message = f"{names}: expected one folder of images and one of masks."
            listing.warn("folders-unpaired", root, message, "Move or rename them, if they belong to the data.")
    if "all" in listing.splits and len(listing.splits) > 1:
        del listing.splits["all"]
    return listing


def _mixed(root: Path) -> Path | None:
    """The one folder that holds images and masks side by side, told apart by a word in the masks' names."""
    folders = folders_with_images(root)
    if len(folders) != 1:
        return None
    listing = Listing(root)
    images, masks = _divided(folders[0], listing)
    return folders[0] if masks and len(images.keys() & masks.keys()) >= 0.5 * len(masks) else None


def _divided(folder: Path, listing: Listing) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Files whose name says mask, and the others, under keys by which they pair."""
    files = image_files_in(folder, listing)
    masks = {
        key: paths for key, paths in files.items() if MASK_WORDS & set(re.split(r"[-_. ]", Path(key).name.lower()))
    }
    images = {key: paths for key, paths in files.items() if key not in masks}
    new_images, new_masks, _ = rekeyed(images, masks)
    return dict(new_images), dict(new_masks)


def _pair_mixed(folder: Path, listing: Listing) -> list[Sample]:
    images, masks = _divided(folder, listing)
    listing.notes.append(f"Images and masks lie together in {shown(folder.name)}/; the masks' names say so.")
    return pair_files(images, masks, folder, folder, listing)
