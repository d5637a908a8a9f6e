"""Pair the images and masks of two folders by name. No file is decoded."""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from pixelwise.datasets.channel_files import grouped_channels, with_channels
from pixelwise.datasets.file_kinds import (
    DRAWING_SUFFIXES,
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    NUMPY_SUFFIX,
    OF_GIS,
    OF_IMAGES,
    SIDE_SUFFIXES,
    UNREAD_PHOTOS,
    UNREAD_SUFFIXES,
)
from pixelwise.datasets.listing import Listing, sample_of
from pixelwise.datasets.pairing import (
    MOST,
    Files,
    clashing,
    common_affix,
    nearest_name,
    nearly_equal,
    rekeyed,
    without_affix,
)
from pixelwise.datasets.unread_files import unread_files
from pixelwise.images.files import shown
from pixelwise.records import Sample

_HOW = {"case": "upper and lower case", "unicode": "the Unicode form of a letter (NFC and NFD)"}


def pair_folders(images: Path, masks: Path, listing: Listing) -> list[Sample]:
    """Pair the files of two folders by relative path without suffix, in the order of these names."""
    of_images, of_masks = image_files_in(images, listing), image_files_in(masks, listing, MASK_SUFFIXES)
    image_files, mask_files, note = rekeyed(grouped_channels(of_images, of_masks, listing), of_masks)
    if note and note not in listing.notes:
        listing.notes.append(note)
    image_files = without_side_files(image_files, mask_files, images, listing)
    return pair_files(image_files, mask_files, images, masks, listing)


def without_side_files(images: Files, masks: Files, folder: Path, listing: Listing) -> Files:
    """Drop side files, which have an image's name plus an extra ending: a_superpixels.png."""
    paired, alone = images.keys() & masks.keys(), {key: images[key] for key in images.keys() - masks.keys()}
    ending = common_affix({key: images[key] for key in paired}, alone)
    beside = {key for key in alone if ending and without_affix(key, ending) in paired}
    if not beside or len(beside) < MOST * len(paired):
        return images
    what = f"{len(beside):,} files of {listing.where(folder)}/ whose names have the extra ending {ending.strip('*')!r}"
    listing.notes.append(f"Left out, as they accompany images and have no masks: {what}.")
    return {key: paths for key, paths in images.items() if key not in beside}


def pair_files(image_files: Files, mask_files: Files, images: Path, masks: Path, listing: Listing) -> list[Sample]:
    """Pair files by their keys; report every unpaired file as a problem."""
    samples = []
    near = nearly_equal(image_files.keys() - mask_files.keys(), mask_files.keys() - image_files.keys())
    for image_key, mask_key, how in sorted(near):
        image, mask = image_files[image_key][0], mask_files[mask_key][0]
        message = f"differs from its mask {shown(mask.name)} in {_HOW[how]}: they match on some systems only."
        listing.near.append(sample_of(image, mask, listing))
        listing.error(
            f"name-{how}", image, message, "Give both the same name, or train without the pair (`train --skip-bad`)."
        )
    told = {key for image_key, mask_key, _ in near for key in (image_key, mask_key)}
    for group in clashing(image_files):
        paths = [image_files[key][0] for key in group]
        message = f"and {', '.join(shown(path.name) for path in paths[1:])} are the same name on some systems."
        listing.warn("name-clash", paths[0], message, "Rename one: on such a system, one would overwrite the other.")
    lone_images, lone_masks = (
        sorted(some.keys() - other.keys()) for some, other in ((image_files, mask_files), (mask_files, image_files))
    )
    for key in sorted(image_files.keys() | mask_files.keys()):
        of_image, of_mask = image_files.get(key, []), mask_files.get(key, [])
        for files in (of_image, of_mask):
            if len(files) > 1:
                others = ", ".join(shown(file.name) for file in files[1:])
                message = f"{len(files)} files have this name without suffix (also {others}); expected one."
                listing.error("duplicate-stem", files[0], message, "Keep one, or rename the others.")
        if key in told:
            continue
        if not of_mask and masks.is_dir():
            where = listing.where(masks)
            remedy = f"Add {where}/{shown(key)}.png, or train without the image (`train --skip-bad`)."
            what = f"has no mask of the same name in {where}/.{_nearest(key, lone_masks, mask_files)}"
            listing.error("mask-missing", of_image[0], what, remedy)
        elif not of_image and images.is_dir():
            where = listing.where(images)
            remedy = f"Add the image to {where}/, or train without the mask (`train --skip-bad`)."
            what = f"has no image of the same name in {where}/.{_nearest(key, lone_images, image_files)}"
            listing.error("image-missing", of_mask[0], what, remedy)
        if len(of_image) == 1 and len(of_mask) == 1:
            samples.append(sample_of(of_image[0], of_mask[0], listing))
    return with_channels(samples, listing)


def _nearest(key: str, lone: Sequence[str], files: Files) -> str:
    """A sentence on the unpaired file with the nearest name; "" if none is near."""
    near = nearest_name(key, lone)
    return f" The nearest name is {shown(files[near][0].name)}." if near else ""


def image_files_in(folder: Path, listing: Listing, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> dict[str, list[Path]]:
    """Image files below a folder, by relative path without suffix. Hidden files and other kinds are skipped.

    NumPy arrays count only where there are no other images. Subfolders are searched; links to folders are not, because
    they can form a cycle.
    """
    if not folder.is_dir():
        listing.error("folder-missing", folder, "no such folder.", "Create it, with one file for each pair.")
        return {}
    found: defaultdict[str, list[Path]] = defaultdict(list)
    arrays: defaultdict[str, list[Path]] = defaultdict(list)
    unread: list[str] = []
    hidden: list[str] = []
    drawings: list[str] = []
    others: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: _unreadable(error, listing)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if Path(parent, name).is_symlink():
                where, message = Path(parent, name), "is a link to a folder, which is not followed."
                listing.warn("linked-folder", where, message, "Move the files here, if they belong here.")
        for name in sorted(names):
            path = Path(parent, name)
            suffix = path.suffix.lower()
            if name.startswith("."):
                hidden += [name] if suffix in suffixes else []
                continue
            if suffix in suffixes:
                if _is_file(path, listing):
                    found[str(path.relative_to(folder).with_suffix(""))].append(path)
            elif suffix == NUMPY_SUFFIX and _is_file(path, listing):
                arrays[str(path.relative_to(folder).with_suffix(""))].append(path)
            elif name.lower().endswith(OF_GIS):
                continue
            elif suffix in DRAWING_SUFFIXES:
                drawings.append(name)
            elif suffix in UNREAD_SUFFIXES or suffix in UNREAD_PHOTOS:
                unread.append(name)
            elif suffix not in SIDE_SUFFIXES:
                others.append(name)
    if not found:
        found = arrays
    else:
        unread += [path.name for paths in arrays.values() for path in paths]
    beside, drawings = len(drawings), _without_masks(drawings, found)
    beside -= len(drawings)
    if beside:
        listing.notes.append(
            f"Not used, as there are pixel masks: {beside:,} annotation files in {listing.where(folder)}/."
        )
    if drawings and folder.name.lower() not in OF_IMAGES:
        message = f"holds {len(drawings)} annotation files, such as {shown(drawings[0])}: polygons, not pixel masks."
        remedy = "LabelMe, COCO, CVAT, Label Studio and YOLO files are read in place, but in a folder of their own."
        listing.error("polygon-masks", folder, message, remedy)
    if unread and not found and any(name.lower().endswith(UNREAD_PHOTOS) for name in unread):
        return unread_photos(folder, unread, listing)
    if unread:
        message = f"holds {len(unread)} files in unsupported formats ({_kinds(unread)}), such as {shown(unread[0])}."
        remedy = " ".join(unread_files(unread)) or "Convert them to PNG if they belong to the data."
        listing.warn("unread-kind", folder, message, remedy)
    _tell_skipped(folder, others, hidden, listing)
    if not found:
        listing.error("folder-empty", folder, "holds no image files.", f"Add files: {', '.join(IMAGE_SUFFIXES)}.")
    return found


def _tell_skipped(folder: Path, others: Sequence[str], hidden: Sequence[str], listing: Listing) -> None:
    """Report files of other formats, and hidden ones."""
    if others:
        number = "1 file in another format" if len(others) == 1 else f"{len(others):,} files in other formats"
        listing.notes.append(f"Skipped in {listing.where(folder)}/: {number} ({_kinds(others)}).")
    if hidden:
        message = f"holds {len(hidden)} hidden image files, such as {shown(hidden[0])}; they are skipped."
        remedy = "Remove them: file managers leave such files, and they are usually not images."
        listing.warn("hidden-files", folder, message, remedy)


def _kinds(names: Sequence[str]) -> str:
    """The endings of files, most frequent first: ".txt 3, .xyz"."""
    counts = Counter(shown(PurePath(name).suffix.lower()) or "no ending" for name in names)
    told = [f"{kind} {number:,}" if number > 1 and len(counts) > 1 else kind for kind, number in counts.most_common(8)]
    return ", ".join(told) + (" …" if len(counts) > 8 else "")


def unread_photos(folder: Path, names: Sequence[str], listing: Listing) -> dict[str, list[Path]]:
    """Report images in unsupported formats, so that no other file is taken for them. Always returns {}."""
    kinds = ", ".join(sorted({PurePath(name).suffix.lower() for name in names}))
    message = f"the images cannot be read: {len(names):,} files in other formats ({kinds}), such as {shown(names[0])}."
    listing.error("unread-images", folder, message, "Convert them to PNG or TIFF, under the same names.")
    return {}


def _without_masks(drawings: list[str], found: Mapping[str, list[Path]]) -> list[str]:
    """Annotation files without a pixel mask of the same name: not a_gtFine_polygons.json with a_gtFine_labelIds.png."""
    stems = sorted({PurePath(key).name for key in found})
    alone = []
    for name in drawings:
        own = name.rpartition(".")[0]
        heads = (own, own.rpartition("_")[0] or own)
        places = (bisect_left(stems, head) for head in heads)
        if not any(i < len(stems) and stems[i].startswith(head) for i, head in zip(places, heads, strict=True)):
            alone.append(name)
    return alone


def _is_file(path: Path, listing: Listing) -> bool:
    """Whether it is a file or a link to one; otherwise add a problem. Never opens it: a pipe would block."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        reason = error.strerror or str(error)
        listing.error("unreadable", path, f"cannot be reached ({reason}).", "Repair the link, or remove it.")
        return False
    if not stat.S_ISREG(mode):
        listing.error("not-a-file", path, "is a pipe, socket or device; expected a file.", "Remove it.")
        return False
    return True


def _unreadable(error: OSError, listing: Listing) -> None:
    path = Path(error.filename)
    listing.error("unreadable", path, f"cannot be listed ({error.strerror}).", "Check the folder's permissions.")
