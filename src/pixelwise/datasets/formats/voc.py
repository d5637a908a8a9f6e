"""Pascal VOC: JPEGImages/, SegmentationClass/ as palette PNG, ImageSets/Segmentation/{train,val,test}.txt; 255 is void.

Exports by CVAT and others add a labelmap.txt (name:r,g,b::) and may store RGB colours instead of a palette; that map
decodes them. Without it, the classes are VOC's if the image names are; otherwise they come from a table next to the
masks (labelme2voc's class_names.txt), or are numbers. Format: the VOC 2012 development kit.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES
from pixelwise.datasets.formats.field_checks import whole_text
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.listing import DeclaredClasses, Listing
from pixelwise.datasets.pair_files import image_files_in, pair_files
from pixelwise.datasets.palettes import VOC_NAMES, VOID_NAMES, numbered_colour, voc_colour
from pixelwise.images.decode import open_image
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import VOID, Colour, Sample


def recognises(root: Path) -> bool:
    return (root / "SegmentationClass").is_dir() and (root / "JPEGImages").is_dir()


def list_pairs(root: Path) -> Listing:
    """The pairs that the lists name; all pairs if there are no lists."""
    listing = Listing(root)
    images, masks = root / "JPEGImages", root / "SegmentationClass"
    lists = root / "ImageSets/Segmentation"
    listed: dict[str, list[str]] = {}
    for split in SPLITS:
        with problems_of(listing, lists / f"{split}.txt"):
            listed[split] = _names(lists / f"{split}.txt")
    listed = {split: names for split, names in listed.items() if names}
    image_files, mask_files = image_files_in(images, listing), image_files_in(masks, listing)
    for split, names in listed.items() or {"all": sorted(mask_files)}.items():
        own = set(names)
        for name in sorted(own - image_files.keys() - mask_files.keys()):
            what = f"names {shown(name[:200])!r}, but there is no such image below {images.name}/."
            listing.error("image-missing", lists / f"{split}.txt", what, "Correct the list.")
        listing.splits[split] = pair_files(
            {key: files for key, files in image_files.items() if key in own},
            {key: files for key, files in mask_files.items() if key in own},
            images,
            masks,
            listing,
        )
    colours: dict[str, Colour] = {}
    with problems_of(listing, root / "labelmap.txt"):
        colours = label_map(root)
    samples = [sample for part in listing.splits.values() for sample in part]
    if colours or _is_pascals(samples):
        listing.declared = _declared(colours)
    if colours and samples and _holds_colours(samples[0].mask):
        ids = {f"#{r:02x}{g:02x}{b:02x}": _id(name, i) for i, (name, (r, g, b)) in enumerate(colours.items())}
        part = "colours:" + json.dumps(ids)
        listing.splits = {
            split: [replace(sample, mask_part=part) for sample in part_] for split, part_ in listing.splits.items()
        }
    return listing


def _is_pascals(samples: list[Sample]) -> bool:
    """Whether image names are Pascal VOC's (2007_000032): many tools use VOC's folders for other data."""
    own = sum(re.fullmatch(r"20\d\d_\d{6}", sample.image.stem) is not None for sample in samples)
    return own > 0.5 * len(samples)


def label_map(root: Path) -> dict[str, Colour]:
    """Names and colours of labelmap.txt, in its order; {} if it is missing."""
    path = root / "labelmap.txt"
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text("utf-8", "replace").splitlines():
        match = re.match(r"([^#:][^:]*):(\d+),(\d+),(\d+)", line)
        if match:
            levels = [whole_text(match[i], f"colour of {shown(match[1].strip())}", 0, 255) for i in (2, 3, 4)]
            found[match[1].strip()] = (levels[0], levels[1], levels[2])
    return found


def label_map_text(names: tuple[str, ...], colours: tuple[Colour, ...]) -> bytes:
    rows = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in zip(names, colours, strict=True)]
    return "\n".join(["# label:color_rgb:parts:actions", *rows, ""]).encode()


def _declared(colours: dict[str, Colour]) -> DeclaredClasses:
    if colours:
        chosen = [(name, _id(name, i), colour) for i, (name, colour) in enumerate(colours.items())]
        chosen = [row for row in chosen if row[1] != VOID]
        if not chosen:
            return DeclaredClasses((), (), (), frozenset({VOID}), "labelmap.txt's")
        names, ids, own = (tuple(column) for column in zip(*chosen, strict=True))
        return DeclaredClasses(names, ids, own, frozenset({VOID}), "labelmap.txt's")
    own = tuple(numbered_colour(voc_colour(i)) for i in range(len(VOC_NAMES)))
    own = ((64, 64, 64), *own[1:])  # black is reserved for void throughout Pixelwise
    return DeclaredClasses(
        tuple(VOC_NAMES), tuple(range(21)), own, frozenset({VOID}), "Pascal VOC's twenty and background"
    )


def _id(name: str, place: int) -> int:
    return VOID if name.lower() in VOID_NAMES else place


def _holds_colours(mask: Path | None) -> bool:
    try:
        return mask is not None and open_image(read_bytes(mask)).image.mode in ("RGB", "RGBA")
    except Refusal:
        return False


def _names(path: Path) -> list[str]:
    if not path.is_file():
        return []
    lines = path.read_text("utf-8", "surrogateescape").splitlines()
    names = [line.split()[0] for line in lines if line.strip()]
    return [name.rpartition(".")[0] if name.lower().endswith(IMAGE_SUFFIXES) else name for name in names]
