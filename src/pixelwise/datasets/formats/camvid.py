"""CamVid as SegNet's authors publish it: DATA/train/, trainannot/, val/, valannot/ …, with lists such as train.txt."""

from __future__ import annotations

import re
from pathlib import Path

from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES
from pixelwise.datasets.listing import DeclaredClasses, Listing, sample_of
from pixelwise.datasets.pair_files import image_files_in, pair_folders
from pixelwise.images.files import is_file, shown
from pixelwise.records import ClassList, Sample

CAMVID = ClassList(  # SegNet's names and order; CamVid's hues where possible, separated for colour-blind readers
    ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    (
        (160, 168, 251),
        (144, 12, 16),
        (156, 236, 116),
        (124, 44, 152),
        (20, 32, 207),
        (84, 156, 54),
        (203, 114, 132),
        (231, 201, 205),
        (104, 0, 84),
        (255, 24, 32),
        (12, 108, 236),
    ),
)
CAMVID_VOID = 11
LONGEST_LINE = 4096  # in a list of files
LISTED_NAME = re.compile(
    r"(\S.*?\.(?:png|jpe?g|webp|bmp|tiff?|p[bgpn]m|gif|avif|hei[cf]|jp2|tga))(?=\s|$)", re.IGNORECASE
)


def recognises(root: Path) -> bool:
    return any((root / f"{split}annot").is_dir() for split in SPLITS)


def list_pairs(root: Path) -> Listing:
    """Every split with a folder. A list such as train.txt gives the pairs; without one, files are paired by name."""
    listing = Listing(root)
    for split in SPLITS:
        images, masks, names = root / split, root / f"{split}annot", root / f"{split}.txt"
        if not images.is_dir() and not masks.is_dir():
            continue
        if names.is_file():
            listing.splits[split] = _listed_pairs(names, images, masks, listing)
        else:
            listing.splits[split] = pair_folders(images, masks, listing)
    ids, void = tuple(range(len(CAMVID))), frozenset({CAMVID_VOID})
    source = "CamVid's eleven, as SegNet publishes them"
    listing.declared = DeclaredClasses(CAMVID.names, ids, CAMVID.colours, void, source)
    return listing


def _listed_pairs(names: Path, images: Path, masks: Path, listing: Listing) -> list[Sample]:
    """The pairs that a list names, one per line: image and mask, or the image alone.

    Paths in such lists often belong to the machine that made them, so only file names are used.
    """
    samples = []
    seen: set[str] = set()
    for line in names.read_text("utf-8", errors="surrogateescape").splitlines():
        listed = LISTED_NAME.findall(line) if len(line) <= LONGEST_LINE else ()  # the search takes quadratic time
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
    """`image_files_in` without reports: the list has already reported problems."""
    return image_files_in(folder, Listing(folder)) if folder.is_dir() else {}
