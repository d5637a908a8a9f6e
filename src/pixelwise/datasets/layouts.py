"""The folder layouts that are read in place, each → pairs of image and mask files by split. Nothing is decoded.

A layout is a function from a root folder to `Listing`; `folder` chooses it and adds classes and splits. What is wrong
with the files' names and kinds is collected, never raised, so that all of it can be shown at once.
"""

from __future__ import annotations

import os
import re
import stat
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePath

from pixelwise.datasets.dataset_toml import SPLITS
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
from pixelwise.datasets.unread_files import ENDINGS, unread_files
from pixelwise.images.files import is_file, shown
from pixelwise.records import Colour, Problem, Sample

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".gif",
    ".avif", ".heic", ".heif", ".jp2", ".j2k", ".tga",
)  # fmt: skip
NUMPY_SUFFIX = ".npy"  # of masks alone: an array of an image has no documented range
LAYER_SUFFIXES = IMAGE_SUFFIXES  # of files that may be masks
MASK_SUFFIXES = (*LAYER_SUFFIXES, NUMPY_SUFFIX)
OF_IMAGES = ("images", "image", "imgs", "img")  # folders of these names hold no masks
UNREAD_SUFFIXES = (".npy", *ENDINGS)
_PHOTOS = (
    *(".jp2", ".j2k", ".jpx", ".jxl", ".heic", ".heif", ".avif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".psd"),
    *(".exr", ".tga", ".ecw", ".sid", ".svs", ".ndpi", ".czi", ".lif", ".nd2"),
)
UNREAD_PHOTOS = tuple(suffix for suffix in _PHOTOS if suffix not in IMAGE_SUFFIXES)  # images, but of kinds not read
# Tables, settings and texts, which are read where they mean something and are expected beside images where not.
SIDE_SUFFIXES = (
    ".csv", ".tsv", ".txt", ".md", ".toml", ".yaml", ".yml", ".ini", ".html", ".jsonl", ".ndjson", ".parquet", ".log",
    ".geojson", ".names", ".rst", ".lst", ".xlsx",
)  # fmt: skip
DRAWING_SUFFIXES = (".json", ".xml")
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
MOST_COUNTED = 20_000  # files of a folder that is only mentioned
LONGEST_LINE = 4096  # of a list of files
_HOW = {"case": "upper and lower case", "unicode": "the Unicode form of a letter (NFC and NFD)"}
LISTED_NAME = re.compile(
    r"(\S.*?\.(?:png|jpe?g|webp|bmp|tiff?|p[bgpn]m|gif|avif|hei[cf]|jp2|tga))(?=\s|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class DeclaredClasses:
    """The classes that a format names, before dataset.toml has its say."""

    names: tuple[str, ...]
    ids: tuple[int, ...]  # of each, in the masks as they are read
    colours: tuple[Colour | None, ...]
    void: frozenset[int]  # ids in the masks
    source: str  # where the names are from, for the note
    by_name: bool = False  # ids were made from the names: dataset.toml's classes are met by name


@dataclass
class Listing:
    """What a layout found; filled while its folders are read."""

    root: Path
    splits: dict[str, list[Sample]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    declared: DeclaredClasses | None = None
    # Where a format's ids are classes for sure, but too many to declare them all: those that occur are the classes.
    names: Mapping[int, str] = field(default_factory=dict)  # of ids in the masks, as far as the format names them
    void: frozenset[int] = frozenset()  # ids in the masks
    source: str = ""  # what says so, for people; "" where nothing does
    choices: tuple[str, ...] = ()  # words for `--masks`, where several folders could be the masks
    near: list[Sample] = field(default_factory=list)  # names that differ in case or Unicode form only: not in splits

    def where(self, path: Path) -> str:
        return shown(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def error(self, kind: str, path: Path, message: str, remedy: str) -> None:
        self.problems.append(Problem("error", kind, self.where(path), message, remedy))

    def warn(self, kind: str, path: Path, message: str, remedy: str) -> None:
        self.problems.append(Problem("warning", kind, self.where(path), message, remedy))


def split_folders(root: Path) -> dict[str, list[Path]]:
    """The folders whose name is a split's: "val" → val/, valid/ or Validation/; in the order of SPLITS."""
    found: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for path in sorted(root.iterdir()):
        split = SPLIT_WORDS.get(path.name.lower())
        if split and path.is_dir():
            found[split].append(path)
    return {split: paths for split, paths in found.items() if paths}


def is_native(root: Path) -> bool:
    """DATA/{train,val,test}/{images,masks}/, also under names such as valid and testing"""
    folders = [path for paths in split_folders(root).values() for path in paths]
    return any((path / "images").is_dir() and (path / "masks").is_dir() for path in folders)


def is_half_native(root: Path) -> bool:
    """The same with one of images/ and masks/ missing: told as a problem, when nothing else fits."""
    folders = [path for paths in split_folders(root).values() for path in paths]
    return any((path / part).is_dir() for path in folders for part in ("images", "masks"))


def is_camvid(root: Path) -> bool:
    """CamVid as SegNet's authors publish it: DATA/train/, trainannot/, val/, valannot/ …"""
    return any((root / f"{split}annot").is_dir() for split in SPLITS)


def is_pairs(root: Path) -> bool:
    """DATA/{images,masks}/, not divided into splits below."""
    divided = any((root / "masks" / split).is_dir() and (root / "images" / split).is_dir() for split in SPLITS)
    return (root / "images").is_dir() and (root / "masks").is_dir() and not divided


def is_half_pairs(root: Path) -> bool:
    """The same with one of them missing: told as a problem, when nothing else fits."""
    return (root / "images").is_dir() or (root / "masks").is_dir()


def list_native(root: Path) -> Listing:
    """Every split folder that is there, its images and masks paired by name."""
    listing = Listing(root)
    for split, folders in split_folders(root).items():
        for folder in folders:
            images, masks = folder / "images", folder / "masks"
            if split == "test" and listing.splits and images.is_dir() and not masks.is_dir():
                where = listing.where(folder)
                listing.notes.append(f"Left out: {where}/ has no masks; `pixelwise predict` labels its images.")
            else:
                listing.splits.setdefault(split, []).extend(pair_folders(images, masks, listing))
    note_others([folder for folders in split_folders(root).values() for folder in folders], listing)
    return listing


def list_pairs(root: Path) -> Listing:
    """All pairs under the one split "all"; `folder` divides them."""
    listing = Listing(root)
    listing.splits["all"] = pair_folders(root / "images", root / "masks", listing)
    note_others([root], listing)
    return listing


def note_others(parents: Iterable[Path], listing: Listing) -> None:
    """Name the folders of images beside images/ and masks/, which are not used: instances/, a second set of masks."""
    others: defaultdict[str, int] = defaultdict(int)
    for parent in parents:
        for folder in sorted(path for path in parent.iterdir() if path.is_dir() and path.name[0] not in "._"):
            if folder.name not in ("images", "masks") and not folder.is_symlink():
                inside = islice(folder.rglob("*"), MOST_COUNTED)
                files = sum(path.suffix.lower() in MASK_SUFFIXES and path.name[0] != "." for path in inside)
                others[listing.where(folder)] += files
    told = [f"{where}/ ({files:,} files)" for where, files in others.items() if files]
    if told:
        more = f" and {len(told) - 6} more" if len(told) > 6 else ""
        listing.notes.append(f"Not used, beside images/ and masks/: {', '.join(told[:6])}{more}.")


def list_camvid(root: Path) -> Listing:
    """Every split whose folder is there. A list such as train.txt says which pairs; without it, names pair them."""
    listing = Listing(root)
    for split in SPLITS:
        images, masks, names = root / split, root / f"{split}annot", root / f"{split}.txt"
        if not images.is_dir() and not masks.is_dir():
            continue
        if names.is_file():
            listing.splits[split] = _listed_pairs(names, images, masks, listing)
        else:
            listing.splits[split] = pair_folders(images, masks, listing)
    return listing


def pair_folders(images: Path, masks: Path, listing: Listing) -> list[Sample]:
    """Pair the files of two folders by their path below them without suffix, in the order of these names."""
    image_files, mask_files, note = rekeyed(
        image_files_in(images, listing), image_files_in(masks, listing, MASK_SUFFIXES)
    )
    if note and note not in listing.notes:
        listing.notes.append(note)
    image_files = without_side_files(image_files, mask_files, images, listing)
    return pair_files(image_files, mask_files, images, masks, listing)


def without_side_files(images: Files, masks: Files, folder: Path, listing: Listing) -> Files:
    """The images without those that lie beside an image under its name and one ending more: a_superpixels.png."""
    paired, alone = images.keys() & masks.keys(), {key: images[key] for key in images.keys() - masks.keys()}
    ending = common_affix({key: images[key] for key in paired}, alone)
    beside = {key for key in alone if ending and without_affix(key, ending) in paired}
    if not beside or len(beside) < MOST * len(paired):
        return images
    what = f"{len(beside):,} files of {listing.where(folder)}/ whose names end with {ending.strip('*')!r} more"
    listing.notes.append(f"Left out, as they lie beside images and have no masks: {what}.")
    return {key: paths for key, paths in images.items() if key not in beside}


def pair_files(image_files: Files, mask_files: Files, images: Path, masks: Path, listing: Listing) -> list[Sample]:
    """Pair files by their keys; everything that stays alone is a problem."""
    samples = []
    near = nearly_equal(image_files.keys() - mask_files.keys(), mask_files.keys() - image_files.keys())
    for image_key, mask_key, how in sorted(near):
        image, mask = image_files[image_key][0], mask_files[mask_key][0]
        message = f"differs from its mask {shown(mask.name)} in {_HOW[how]}: they pair on some machines only."
        listing.near.append(sample_of(image, mask, listing))
        listing.error(
            f"name-{how}", image, message, "Give both the same name, or train without the pair (`train --skip-bad`)."
        )
    told = {key for image_key, mask_key, _ in near for key in (image_key, mask_key)}
    for group in clashing(image_files):
        paths = [image_files[key][0] for key in group]
        message = f"and {', '.join(shown(path.name) for path in paths[1:])} are one name on some machines."
        listing.warn("name-clash", paths[0], message, "Rename one: copied to such a machine, one would be lost.")
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
    return samples


def _nearest(key: str, lone: Sequence[str], files: Files) -> str:
    """The file without a partner whose name is nearest, in words; "" where none is near."""
    near = nearest_name(key, lone)
    return f" The nearest name is {shown(files[near][0].name)}." if near else ""


def sample_of(image: Path, mask: Path, listing: Listing) -> Sample:
    part = "numpy:ids" if mask.suffix.lower() == NUMPY_SUFFIX else ""
    return Sample(listing.where(image.with_suffix("")), image, mask, mask_part=part)


def image_files_in(folder: Path, listing: Listing, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> dict[str, list[Path]]:
    """Image files below a folder by their relative path without suffix. Hidden files and other kinds are passed over.

    Folders inside are entered; links to folders are not, because they can lead round in a circle.
    """
    if not folder.is_dir():
        listing.error("folder-missing", folder, "no such folder.", "Create it, with one file for each pair.")
        return {}
    found: defaultdict[str, list[Path]] = defaultdict(list)
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
            elif suffix in DRAWING_SUFFIXES:
                drawings.append(name)
            elif suffix in UNREAD_SUFFIXES or suffix in UNREAD_PHOTOS:
                unread.append(name)
            elif suffix not in SIDE_SUFFIXES:
                others.append(name)
    beside, drawings = len(drawings), _without_masks(drawings, found)
    beside -= len(drawings)
    if beside:
        listing.notes.append(f"Not used, beside the masks of pixels: {beside:,} drawings in {listing.where(folder)}/.")
    if drawings and folder.name.lower() not in OF_IMAGES:
        message = (
            f"holds {len(drawings)} annotation files, such as {shown(drawings[0])}: polygons, not masks of pixels."
        )
        remedy = (
            "LabelMe, COCO, CVAT, Label Studio and YOLO are read in place, in a folder of their own: see the formats."
        )
        listing.error("polygon-masks", folder, message, remedy)
    if unread and not found and any(name.lower().endswith(UNREAD_PHOTOS) for name in unread):
        return unread_photos(folder, unread, listing)
    if unread:
        message = (
            f"holds {len(unread)} files of kinds that are not read ({_kinds(unread)}), such as {shown(unread[0])}."
        )
        remedy = " ".join(unread_files(unread)) or "Convert them to PNG if they belong to the data."
        listing.warn("unread-kind", folder, message, remedy)
    if others:
        number = "1 file of another kind" if len(others) == 1 else f"{len(others):,} files of other kinds"
        listing.notes.append(f"Passed over in {listing.where(folder)}/: {number} ({_kinds(others)}).")
    if hidden:
        message = f"holds {len(hidden)} hidden image files, such as {shown(hidden[0])}; they are passed over."
        remedy = "Remove them: such files are left by file managers and are no images, as a rule."
        listing.warn("hidden-files", folder, message, remedy)
    if not found:
        listing.error("folder-empty", folder, "holds no image files.", f"Add files: {', '.join(IMAGE_SUFFIXES)}.")
    return found


def _kinds(names: Sequence[str]) -> str:
    """The endings of files, those of most files first: ".txt 3, .xyz"."""
    counts = Counter(shown(PurePath(name).suffix.lower()) or "no ending" for name in names)
    told = [f"{kind} {number:,}" if number > 1 and len(counts) > 1 else kind for kind, number in counts.most_common(8)]
    return ", ".join(told) + (" …" if len(counts) > 8 else "")


def unread_photos(folder: Path, names: Sequence[str], listing: Listing) -> dict[str, list[Path]]:
    """Tell that the images are there but cannot be read, so that nothing else is taken for them. Always {}."""
    kinds = ", ".join(sorted({PurePath(name).suffix.lower() for name in names}))
    message = f"the images cannot be read: {len(names):,} files of other kinds ({kinds}), such as {shown(names[0])}."
    listing.error("unread-images", folder, message, "Convert them to PNG or TIFF, under the same names.")
    return {}


def _without_masks(drawings: list[str], found: Mapping[str, list[Path]]) -> list[str]:
    """Drawings that have no mask of pixels beside them: a_gtFine_polygons.json beside a_gtFine_labelIds.png has."""
    stems = sorted({PurePath(key).name for key in found})
    alone = []
    for name in drawings:
        own = name.rpartition(".")[0]
        heads = (own, own.rpartition("_")[0] or own)
        places = (bisect_left(stems, head) for head in heads)
        if not any(i < len(stems) and stems[i].startswith(head) for i, head in zip(places, heads, strict=True)):
            alone.append(name)
    return alone


def _listed_pairs(names: Path, images: Path, masks: Path, listing: Listing) -> list[Sample]:
    """The pairs that a list names, a line each: image and mask, or the image alone.

    The paths in such lists are often those of the machine on which they were made, so only file names count.
    """
    samples = []
    seen: set[str] = set()
    for line in names.read_text("utf-8", errors="surrogateescape").splitlines():
        listed = LISTED_NAME.findall(line) if len(line) <= LONGEST_LINE else ()  # looking takes time by its square
        files = [re.split(r"[/\\]", entry)[-1] for entry in listed]
        if not files:
            if line.strip():
                listing.warn(
                    "list-line", names, f"no image name in the line {shown(line[:80])!r}.", "Correct the line."
                )
            continue
        image = images / files[0]
        mask = masks / files[1] if len(files) > 1 else _same_stem(masks, image)
        missing = [path for path in (image, mask) if not is_file(path)]
        for path in missing:
            kind = "image-missing" if path is image else "mask-missing"
            remedy = f"Add it, or remove the line from {names.name}, or train without the pair (`train --skip-bad`)."
            listing.error(kind, path, f"no such file, but {names.name} names it.", remedy)
        if files[0] in seen:
            listing.warn("list-line", names, f"names {shown(files[0])} twice.", "Remove one of the lines.")
        elif not missing:
            samples.append(sample_of(image, mask, listing))
        seen.add(files[0])
    if not samples:
        listing.error("list-empty", names, "names no pair that is there.", "Remove the list to pair files by name.")
    present = {path.name for paths in _quiet_files(images).values() for path in paths}
    left_out = len(present - seen)
    if left_out:
        listing.notes.append(f"{left_out} files of {images.name}/ are not in {names.name} and left out.")
    return sorted(samples, key=lambda sample: sample.name)


def _same_stem(folder: Path, image: Path) -> Path:
    candidates = [folder / f"{image.stem}{suffix}" for suffix in IMAGE_SUFFIXES]
    return next((path for path in candidates if is_file(path)), candidates[0])


def _quiet_files(folder: Path) -> dict[str, list[Path]]:
    """As `image_files_in`, where a list has already said what matters."""
    return image_files_in(folder, Listing(folder)) if folder.is_dir() else {}


def _is_file(path: Path, listing: Listing) -> bool:
    """True for a file or a link to one; else the problem is noted. Never opens: a pipe would block."""
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
