"""Explain why a folder is not a dataset: the content of each folder, the two closest to images and masks, the missing
parts, and the remedy.

Names are counted and a few headers read; only some small images are decoded, so a large tree takes no longer than a
small one. The advice never leads to training on wrong data.
"""

from __future__ import annotations

import os
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.datasets.file_kinds import MASK_SUFFIXES, NUMPY_SUFFIX, UNREAD_PHOTOS
from pixelwise.datasets.folder_roles import is_drawn, role_word
from pixelwise.datasets.pairing import rekeyed
from pixelwise.datasets.unread_files import what_is_there
from pixelwise.images.decode import open_image
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.images.tiff_header import BITS, HEIGHT, SAMPLES, WIDTH, tiff_at

FILES = 20_000  # names to examine
TOLD = 8  # folders to describe
OPENED = 3  # files to open per folder
LARGE = 1 << 26  # bytes; larger files are not opened
SAMPLE_FORMAT = 339  # TIFF tag: 1 unsigned, 2 signed, 3 floating-point
FORMATS = {1: "", 2: "signed ", 3: "floating-point "}
READ = (
    "Read in place are images and masks in folders of any names, with splits at any depth "
    "(DATA/{train,val,test}/{images,masks}/, DATA/{images,masks}/, CamVid's train/ + trainannot/), side by side "
    "(a.jpg, a_mask.png), or one mask file per class; and Cityscapes, Pascal VOC, ADE20K, COCO, YOLO, LabelMe, CVAT, "
    "Label Studio, VIA, Supervisely, SuperAnnotate, Darwin, Segments.ai, GeoJSON, run lengths in CSV, MATLAB, NIfTI, "
    "parquet and Hugging Face's image folders."
)


@dataclass(frozen=True)
class FolderContents:
    """The contents of all folders with the same name."""

    name: str  # "mask" for a/mask/ and b/mask/ together
    folders: int
    images: tuple[Path, ...]  # possible images or masks, including unsupported formats
    others: tuple[tuple[str, int], ...]  # other endings, with their counts
    kind: str = ""  # description of the images
    readable: bool = False
    drawn: bool = False  # they look like masks

    @property
    def label(self) -> str:
        return f"{self.name}/" + (f" ({self.folders} folders of this name)" if self.folders > 1 else "")

    def in_words(self) -> str:
        parts = [f"{len(self.images):,} {self.kind}"] if self.images else []
        parts += [f"{number:,} {ending or 'files without ending'}" for ending, number in self.others[:4]]
        return f"{self.label}: {', '.join(parts)}"


def why_unrecognised(root: Path) -> str:
    """The message for a folder that no layout recognises."""
    return "\n".join([f"{shown(root)}: not recognised as a dataset.", *diagnosis(root), READ])


def diagnosis(root: Path) -> list[str]:
    """The contents of each folder, one line each, and how to turn them into images and masks."""
    holdings, complete = _holdings(root)
    told = [f"  {holding.in_words()}" for holding in holdings[:TOLD]] or ["found: nothing."]
    if len(holdings) > TOLD:
        told.append(f"  and {len(holdings) - TOLD} more folders")
    empty = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name[0] != "." and _is_empty(path))
    if empty:
        told.append(f"  empty: {', '.join(f'{shown(name)}/' for name in empty[:TOLD])}")
    if not complete:
        told.append(f"  (only the first {FILES:,} files were examined)")
    return told + (what_is_there(root) or _what_helps([holding for holding in holdings if holding.images]))


def _is_empty(folder: Path) -> bool:
    try:
        return next(folder.iterdir(), None) is None
    except OSError:  # an unreadable folder may hold anything
        return False


def _holdings(root: Path) -> tuple[list[FolderContents], bool]:
    """All folders with files, merged by name, largest first; and whether all files were seen."""
    images: defaultdict[str, list[Path]] = defaultdict(list)
    others: defaultdict[str, Counter[str]] = defaultdict(Counter)
    places: defaultdict[str, set[str]] = defaultdict(set)
    seen = 0
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name[0] not in "._")
        label = shown(Path(parent).name) if Path(parent) != root else "."
        for name in sorted(names):
            if name.startswith("."):
                continue
            seen += 1
            if seen > FILES:
                break
            places[label].add(parent)
            suffix = Path(name).suffix.lower()
            if suffix in (*MASK_SUFFIXES, *UNREAD_PHOTOS):
                images[label].append(Path(parent, name))
            else:
                others[label][suffix] += 1
        if seen > FILES:
            break
    labels = sorted(places, key=lambda label: (-len(images[label]), -sum(others[label].values()), label))
    found = []
    for label in labels:
        kind, readable, drawn = _kind_of(images[label]) if images[label] else ("", False, False)
        rest = tuple(others[label].most_common())
        found.append(FolderContents(label, len(places[label]), tuple(images[label]), rest, kind, readable, drawn))
    return found, seen <= FILES


def _kind_of(paths: Sequence[Path]) -> tuple[str, bool, bool]:
    """(description of these images, whether they can be read, whether they look like masks)."""
    some = paths[:: max(len(paths) // OPENED, 1)][:OPENED]
    heads = [describe(path) for path in some]
    kind = Counter(what for what, _ in heads).most_common(1)[0][0]
    readable = sum(can for _, can in heads) > len(heads) / 2
    drawn = readable and sum(is_drawn(path) for path in some if path.stat().st_size < LARGE) > len(some) / 2
    endings = ", ".join(f"{ending}" for ending in sorted({path.suffix.lower() for path in paths[:FILES]})[:3])
    what = f"masks of few flat values ({endings}, {kind})" if drawn else f"images ({endings}, {kind})"
    if not readable:
        what = f"images that are not read ({endings}, {kind})"
    return what, readable, drawn


def describe(path: Path) -> tuple[str, bool]:
    """(size, bands and type of an image file from its header, whether it can be read as an image or mask)."""
    suffix = path.suffix.lower()
    if suffix == NUMPY_SUFFIX:
        return "NumPy arrays", False
    if suffix in UNREAD_PHOTOS:
        return "of a kind that is not read", False
    if suffix in (".tif", ".tiff"):
        try:
            with tiff_at(path) as file:
                page = file.first()
                width, height, bands, bits = (file.number(page, tag, 1) for tag in (WIDTH, HEIGHT, SAMPLES, BITS))
                sort = file.number(page, SAMPLE_FORMAT, 1)
        except (struct.error, OSError, ValueError, Refusal):
            return "damaged", False
        plural = "bands" if bands > 1 else "band"
        what = f"{width}×{height}, {bands} {plural} of {bits}-bit {FORMATS.get(sort, '')}values"
        return what, bands in (1, 3, 4) and bits <= 16 and sort == 1
    try:
        if path.stat().st_size > LARGE:
            return "large", True
        image = open_image(read_bytes(path)).image
    except (Refusal, OSError):
        return "damaged, or of a kind that is not read", False
    modes = {"1": "black and white", "L": "grey", "P": "palette", "RGB": "colour", "RGBA": "colour and alpha"}
    return f"{image.width}×{image.height}, {modes.get(image.mode, image.mode)}", True


def _what_helps(holdings: Sequence[FolderContents]) -> list[str]:
    """The closest pair of folders, the missing parts, and the remedy."""
    if not holdings:
        return ["It holds no images. Check the path; unpack archives first."]
    masks = [one for one in holdings if one.drawn or role_word(one.name) == "masks"]
    aside = [one for one in holdings if role_word(one.name) == "aside"]
    photos = [one for one in holdings if one not in masks and one not in aside]
    good = [one for one in photos if one.readable]
    bad = [one for one in (*photos, *aside) if not one.readable]
    if not masks:
        return [
            "No masks were found: no folder is named after masks, and none holds images of a few flat values. Add them "
            "to masks/, under the images' names, or put the annotation files of your labelling tool next to the images."
        ]
    if not good and bad:
        which = " and ".join(f"{one.label} holds {one.kind}" for one in bad[:3])
        return [
            f"{masks[0].label} could be the masks, but no readable images are next to them: {which}. "
            "Export the images as 8- or 16-bit PNG or TIFF of 1, 3 or 4 bands, under the same names, into images/."
        ]
    if not good:
        names = ", ".join(one.label for one in masks[:3])
        return [f"{names} could be masks, but no images are next to them. Add the images to images/."]
    return _closest(good, masks)


def _closest(photos: Sequence[FolderContents], masks: Sequence[FolderContents]) -> list[str]:
    """The message about the image and mask folders whose file names agree most."""
    best = max(
        ((photo, mask, *_agreeing(photo.images, mask.images)) for photo in photos for mask in masks),
        key=lambda found: found[2],
    )
    photo, mask, agreeing, rule = best
    of = min(len({path.stem for path in one.images}) for one in (photo, mask))
    head = f"Closest: {photo.label} as images and {mask.label} as masks: {agreeing:,} of {of:,} names agree"
    head += f" ({rule[:1].lower()}{rule[1:].rstrip('.')})." if rule else "."
    others = [one for one in photos if one is not photo and _agreeing(one.images, mask.images)[0] >= agreeing > 0]
    if others:
        names = ", ".join(one.label for one in (photo, *others[:3]))
        return [head, f"But {names} could all be the images. Rename the right one to images/."]
    if agreeing < max(of // 2, 1):
        one, other = photo.images[0].name, mask.images[0].name
        return [
            head,
            f"What is missing: matching names, such as {shown(one)} with {shown(Path(one).stem)}_mask.png; "
            f"the first names are {shown(one)} and {shown(other)}. Give each mask its image's name.",
        ]
    return [head, f"Move them to images/ and masks/; or name the masks: --masks {mask.name}."]


def _agreeing(images: Iterable[Path], masks: Iterable[Path]) -> tuple[int, str]:
    """(number of mask names that match an image, the change of names needed)."""
    left, right = _by_stem(images), _by_stem(masks)
    new_left, new_right, rule = rekeyed(left, right)
    return len(new_left.keys() & new_right.keys()), rule


def _by_stem(paths: Iterable[Path]) -> dict[str, list[Path]]:
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in paths:
        found[path.stem].append(path)
    return dict(found)
