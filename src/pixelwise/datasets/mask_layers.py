"""Several mask files per image, each with 0 and one other value: one file per class or per object.

    DATA/images/a.jpg        DATA/images/a.jpg            DATA/a/images/a.png
    DATA/masks/car/a.png     DATA/masks/a_car.png         DATA/a/masks/1.png, 2.png …
    DATA/masks/tree/a.png    DATA/masks/a_tree.png        one class: object

Read in place as one mask: pixels in no file are background; where files overlap, the later class wins, and `check`
reports how many pixels it hides.

Shapes: H, W of one mask.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.file_kinds import LAYER_SUFFIXES
from pixelwise.datasets.folder_roles import by_role, mostly_of, roles_of
from pixelwise.datasets.listing import DeclaredClasses, Listing
from pixelwise.datasets.overlaps import paint
from pixelwise.datasets.pair_files import image_files_in
from pixelwise.datasets.pairing import ROLE_WORDS, rekeyed
from pixelwise.images.decode import MaskIds, image_pixels, mask_ids_of
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import MAX_CLASSES, VOID, Sample

Layer = tuple[str, Path]  # class, file
OBJECT = "object"
BACKGROUND_WORDS = frozenset(["background", "bg", "backgrounds"])
OPENED = 6  # masks to open to recognise the layout
GLANCE = 200  # names to examine to recognise the layout
MOST = 0.8  # of the names must follow a rule


def mask_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """One mask from many files, uint8 [H, W]: ids from 1 where a file marks a pixel, 0 elsewhere.

    `entry`: [[id, path relative to the folder of `path`], …] as JSON, later ones on top. No files: all background.

    Raises:
        Refusal: a file cannot be read, or differs in size from the first.
    """
    return _layered(path, json.loads(entry), size, np.zeros(size, np.uint8))


def object_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """As `mask_ids`, with a number from 1 for each file instead of its class's id."""
    rows = [(number, name) for number, (_, name) in enumerate(json.loads(entry), start=1)]
    return _layered(path, rows, size, np.zeros(size, np.int32))


def has_objects(entry: str) -> bool:
    """Whether the files of a mask are objects: a class has several."""
    ids = [class_id for class_id, _ in json.loads(entry)]
    return len(set(ids)) < len(ids)


def _layered(path: Path, rows: Iterable[tuple[int, str]], size: tuple[int, int], blank_HW: MaskIds) -> MaskIds:
    ids_HW: MaskIds | None = None
    for number, name in rows:
        held_HW = held(read_bytes(path.parent / name))
        if ids_HW is None:
            ids_HW = blank_HW if held_HW.shape == size else np.zeros(held_HW.shape, blank_HW.dtype)
        if held_HW.shape != ids_HW.shape:
            (height, width), (first_h, first_w) = held_HW.shape, ids_HW.shape
            what = f"{shown(name)} is {width}×{height} pixels, but the first mask of its image is {first_w}×{first_h}."
            raise Refusal("size-mismatch", what, "Export all masks of an image at its size.")
        paint(ids_HW, held_HW, number)
    return blank_HW if ids_HW is None else ids_HW


def held(data: bytes) -> NDArray[np.bool_]:
    """The pixels [H, W] in a mask of one class: all but 0; if the maximum is 128 to 255, those in the upper half."""
    try:
        values: NDArray[np.integer] = mask_ids_of(data)
    except Refusal as refusal:
        if refusal.kind not in ("jpeg-mask", "rgb-mask", "alpha-mask", "colour-mask"):
            raise
        values = image_pixels(data).max(axis=2)
    top = int(values.max(initial=0))
    if 128 <= top <= 255:
        return np.asarray(values >= 128)
    return np.asarray(values > 0)


def recognises(root: Path) -> bool:
    return bool(_object_folders(root)) or any(
        _class_folders(roles) or _class_endings(roles, root) for roles in by_role(root).values()
    )


def list_pairs(root: Path) -> Listing:
    """List every image with all its mask files, by split."""
    listing = Listing(root)
    found: dict[str, list[tuple[Path, list[Layer]]]] = {}
    if folders := _object_folders(root):
        for folder in folders:
            images, masks = (_files(folder / part) for part in ("images", "masks"))
            found.setdefault(roles_of(folder, root)[0], []).append((images[0], [(OBJECT, mask) for mask in masks]))
    else:
        for split, roles in sorted(by_role(root).items()):
            if by_class := _class_folders(roles):
                found[split] = _of_class_folders(roles["images"][0], by_class, listing)
            elif _class_endings(roles, root):
                found[split] = _of_endings(roles["images"][0], roles["masks"][0], listing)
    names = sorted({name for rows in found.values() for _, layers in rows for name, _ in layers})
    names = [name for name in names if name.lower() not in BACKGROUND_WORDS]
    ids = {name: i for i, name in enumerate(names[: MAX_CLASSES - 1], start=1)}
    for split, rows in found.items():
        listing.splits[split] = [_sample(image, layers, ids, listing) for image, layers in rows]
    classes = ("background", *ids)
    listing.declared = DeclaredClasses(
        classes, tuple(range(len(classes))), (None,) * len(classes), frozenset({VOID}), "one mask file for each"
    )
    files = sum(len(layers) for rows in found.values() for _, layers in rows)
    images_in_all = sum(map(len, found.values()))
    what = "an object" if names == [OBJECT] else "a class"
    listing.notes.append(
        f"{files:,} mask files of {what} each for {images_in_all:,} images: read as one mask per image, background "
        "where none holds a pixel."
    )
    return listing


def _sample(image: Path, layers: list[Layer], ids: dict[str, int], listing: Listing) -> Sample:
    if not layers:
        remedy = "Add its masks, or train without the image (`train --skip-bad`)."
        listing.error("mask-missing", image, "has no mask file of any class.", remedy)
        return Sample(listing.where(image.with_suffix("")), image, None)
    first = layers[0][1]
    kept = sorted((ids.get(name, 0), os.path.relpath(path, first.parent)) for name, path in layers)
    entry = json.dumps(kept, ensure_ascii=True)
    return Sample(listing.where(image.with_suffix("")), image, first, mask_part=f"layers:{entry}")


def _files(folder: Path) -> list[Path]:
    """Image files directly in one folder."""
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in LAYER_SUFFIXES and not path.name.startswith(".")
    )


def _object_folders(root: Path) -> list[Path]:
    """Folders with one image in images/ and its masks in masks/: one folder per image."""
    for parent in (root, *(path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith("."))):
        folders = (path for path in sorted(parent.iterdir()) if path.is_dir() and not path.is_symlink())
        both = [path for path in folders if (path / "images").is_dir() and (path / "masks").is_dir()]
        if len(both) < 2:
            continue
        glance = both[:10]
        single = all(len(_files(path / "images")) == 1 for path in glance)
        several = sum(len(_files(path / "masks")) > 1 for path in glance)
        if single and several >= max(len(glance) // 4, 1):
            return [path for path in both if len(_files(path / "images")) == 1]
    return []


def _class_folders(roles: dict[str, list[Path]]) -> dict[str, Path]:
    """Folders of one class each below one mask folder, by class; their files have the images' names."""
    masks = roles.get("masks", [])
    if len(roles.get("images", [])) != 1 or len(masks) < 2 or len({path.parent for path in masks}) != 1:
        return {}
    if (
        len(masks) >= MAX_CLASSES
        or _files(masks[0].parent)
        or roles_of(masks[0].parent, masks[0].parents[1])[1] != "masks"
    ):
        return {}  # manual1/ and mask/ next to images/ are two kinds of mask, not two classes
    if not all(_of_one_class(path) for folder in masks[:OPENED] for path in _files(folder)[:1]):
        return {}
    stems = {path.stem for path in _files(roles["images"][0])}
    counts: Counter[str] = Counter()
    for folder in masks:
        names = [path.stem for path in islice(_files(folder), GLANCE)]
        if not names or sum(_bare(name, folder.name) in stems for name in names) < MOST * len(names):
            return {}
        counts.update(_bare(name, folder.name) for name in names)
    return {path.name: path for path in masks} if max(counts.values()) > 1 else {}


def _bare(stem: str, class_name: str) -> str:
    """A mask's name without a final class or word such as mask: "a_car" → "a" in the folder car."""
    ending = re.compile(rf"[-_. ]({re.escape(class_name)}|{'|'.join(ROLE_WORDS)})$", re.IGNORECASE)
    return ending.sub("", stem)


def _of_class_folders(images: Path, by_class: dict[str, Path], listing: Listing) -> list[tuple[Path, list[Layer]]]:
    files = {path.stem: path for path in _files(images)}
    found: dict[str, list[Layer]] = {stem: [] for stem in files}
    for name, folder in sorted(by_class.items()):
        for path in _files(folder):
            _add(found, path.stem if path.stem in files else _bare(path.stem, name), (name, path), images, listing)
    return [(files[stem], layers) for stem, layers in found.items()]


def _class_endings(roles: dict[str, list[Path]], root: Path) -> bool:
    """Whether a mask folder has, for most images, several files named after the image and a class."""
    if len(roles.get("images", [])) != 1 or len(roles.get("masks", [])) != 1:
        return False
    listing = Listing(root)  # its problems are reported again when the pairs are listed
    images, masks = (image_files_in(roles[part][0], listing, LAYER_SUFFIXES) for part in ("images", "masks"))
    if len(masks) <= len(images) or rekeyed(images, masks)[2] or len(images.keys() & masks.keys()) > 0.1 * len(images):
        return False
    split = [_ending(key, images) for key in islice(masks, GLANCE)]
    endings = [found for found in split if found]
    several = Counter(stem for stem, _ in endings)
    if len(endings) < MOST * len(split) or not several or sum(n > 1 for n in several.values()) < 0.5 * len(several):
        return False
    some = [paths[0] for paths in list(masks.values())[:OPENED]]
    if not all(map(_of_one_class, some)):  # a_labelIds.png and a_color.png are two kinds of mask, not two classes
        return False
    kinds = {ending for _, ending in endings}
    return len(kinds) < MAX_CLASSES and (kinds == {OBJECT} or len(kinds) <= max(len(endings) // 2, 2))


def _of_one_class(path: Path) -> bool:
    """Whether two values, one of which may be 0, cover nearly all of a mask: it holds one class or one object."""
    try:
        return mostly_of(2, image_pixels(read_bytes(path)))
    except Refusal:
        return True  # reported when it is read


def _ending(key: str, images: Container[str]) -> tuple[str, str] | None:
    """(the image's key, the class) of a mask's key such as "a_car" or "a_mask_3"; a bare number is an object."""
    pieces = re.split(r"([-_. ]+)", key)
    for end in range(len(pieces) - 2, 0, -2):
        stem = "".join(pieces[:end])
        if stem in images:
            words = [word for word in pieces[end + 1 :: 2] if word.lower() not in ROLE_WORDS and not word.isdigit()]
            return stem, "_".join(words) or OBJECT
    return None


def _of_endings(images: Path, masks: Path, listing: Listing) -> list[tuple[Path, list[Layer]]]:
    files = image_files_in(images, listing)
    found: defaultdict[str, list[Layer]] = defaultdict(list, {key: [] for key in files})
    keys = set(files)
    for key, paths in image_files_in(masks, listing, LAYER_SUFFIXES).items():
        split = _ending(key, keys)
        for path in paths:
            _add(found, split[0] if split else key, (split[1] if split else OBJECT, path), images, listing)
    return [(files[key][0], layers) for key, layers in found.items()]


def _add(found: dict[str, list[Layer]], key: str, layer: Layer, images: Path, listing: Listing) -> None:
    if key in found:
        found[key].append(layer)
    else:
        remedy = f"Add the image to {listing.where(images)}/, or train without the mask (`train --skip-bad`)."
        listing.error("image-missing", layer[1], f"has no image of its name in {listing.where(images)}/.", remedy)
