"""MATLAB: masks in `.mat` files named after their images, next to them or in a separate folder.

A file's mask is its only integer matrix of the image's size. If there are several, the variable name decides
(`type_map`, `labels`, `mask`). Numbered objects with a class each (`inst_map` and `inst_type` of HoVer-Net, `GTinst` of
SBD) become their classes; a struct's field Segmentation (`GTcls`) is read. Several segmentations of one image (BSDS:
five annotators, numbered regions) are not classes and are refused by name.

Version 7.3 is HDF5 and refused; the message gives the command to save it again. Shapes: H, W of the mask; N objects.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES, split_of
from pixelwise.datasets.folder_roles import IMAGE_WORDS, MASK_WORDS
from pixelwise.datasets.formats.annotated_shapes import Size
from pixelwise.datasets.formats.annotation_files import stated_size
from pixelwise.datasets.formats.image_lookup import files_below
from pixelwise.datasets.formats.mat_file import NUMERIC, Variable, numbers_of, parts_of, variables_of
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.pairing import WORD
from pixelwise.images.decode import MaskIds
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import Sample

SUFFIXES = (".mat",)
HALF = 0.5  # of the .mat files must match an image's name to be masks
ENDING = re.compile(r"[-_ ]?(masks?|labels?|gt|ground_?truth|seg(mentation)?|manual|ann(ot(ation)?)?)$", re.IGNORECASE)
BEST = (  # names of class matrices, best first
    "type_map", "class_map", "classmap", "labelmap", "label_map", "labels", "label", "classes", "mask", "masks",
    "groundtruth", "ground_truth", "gt", "segmentation", "seg", "s", "annotation", "annot", "gtcls",
)  # fmt: skip
OBJECTS = (("inst_map", "inst_type"), ("inst_map", "class"), ("instance_map", "instance_type"))
BEST_FOLDERS = ("cls", "class", "classes", "labels", "masks")
SPARE_BYTES = 1 << 26  # per file beyond 64 bytes per pixel: boxes, centres, outlines
SAVE_MASK = "Save the mask alone, as one matrix of class numbers: save(file, 'mask'), or imwrite(uint8(mask), 'a.png')."


def recognises(root: Path) -> bool:
    """Whether most .mat files are named after an image, and no mask images have those names."""
    mats = files_below(root, SUFFIXES)
    if not mats:
        return False
    images = _images(root)
    found = [images.get(_stem(path, images), []) for path in mats]
    masks = any(_says(path, MASK_WORDS) for paths in found for path in paths)
    return not masks and sum(map(bool, found)) >= HALF * len(mats) and not any(map(_beside, found))


def list_pairs(root: Path) -> Listing:
    """Every image with a .mat file of its name; a folder's first file determines how all are read."""
    listing, images = Listing(root), _images(root)
    folders: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in files_below(root, SUFFIXES):
        folders[path.parent].append(path)
    taken: dict[Path, Path] = {}
    for folder in sorted(folders, key=lambda path: (path.name.lower() not in BEST_FOLDERS, path)):
        pairs = [(path, _nearest(path, images.get(_stem(path, images), []))) for path in folders[folder]]
        alone = [path for path, image in pairs if image is None]
        again = [path for path, image in pairs if image in taken]
        for paths, why in ((alone, "have no image of their name"), (again, "belong to images with a mask already")):
            if paths:
                first = listing.where(paths[0])
                listing.warn("unread-kind", folder, f"{len(paths):,} .mat files {why}, such as {first}.", "Left out.")
        own = [(path, image) for path, image in pairs if image is not None and image not in taken]
        taken |= {image: path for path, image in own}
        if own and _says_how(*own[0], len(own), listing):
            for path, image in own:
                split = next((s for f in (folder, image.parent) if (s := split_of(f, root)) != "all"), "all")
                sample = Sample(listing.where(image.with_suffix("")), image, path, mask_part="matlab:")
                listing.splits.setdefault(split, []).append(sample)
    return listing


def mask_ids(path: Path, _entry: str, size: Size) -> MaskIds:
    """The mask [H, W] of a .mat file. Raises Refusal."""
    chosen, _ = _chosen(path, size)
    ids = _sized(_whole(numbers_of(chosen[0])), size) if chosen[0].kind in NUMERIC else _of_struct(chosen[0], size)
    return _classes_of(ids, numbers_of(chosen[1])) if len(chosen) > 1 else ids


def _images(root: Path) -> dict[str, list[Path]]:
    """Images by name without suffix; of several, those in folders named for images (Images/, not Overlay/)."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in files_below(root, IMAGE_SUFFIXES):
        found[path.stem].append(path)
    for stem, paths in found.items():
        if len(paths) > 1 and not any(_says(path, MASK_WORDS) for path in paths):
            found[stem] = [path for path in paths if _says(path, IMAGE_WORDS)] or paths
    return found


def _says(path: Path, words: frozenset[str]) -> bool:
    """Whether the name of a file's folder contains one of these words."""
    return not words.isdisjoint(word.lower() for word in WORD.findall(path.parent.name))


def _stem(path: Path, images: dict[str, list[Path]]) -> str:
    """The image name for a .mat file: its own, or without a suffix such as "_mask"."""
    return path.stem if path.stem in images else ENDING.sub("", path.stem)


def _nearest(path: Path, images: list[Path]) -> Path | None:
    """Of same-named images in several folders, the one whose folders best match the file's."""
    parts = set(path.parts)
    return max(images, key=lambda image: (len(parts & set(image.parts[:-1])), image), default=None)


def _beside(paths: list[Path]) -> bool:
    """Whether two same-named files are in one folder, like a photo and its mask image."""
    return len({path.parent for path in paths}) < len(paths)


def _says_how(path: Path, image: Path, count: int, listing: Listing) -> bool:
    """Note how a folder's files are read, judged by the first; False if none can be read."""
    size = stated_size(image)
    if size is None:
        return True  # the image is damaged: reported when read
    try:
        how, others = _chosen(path, size)
    except Refusal as refusal:
        if refusal.kind not in ("matlab-regions", "matlab-73"):
            return True  # possibly this file only: reported when read
        which = f"{count:,} .mat files, such as {shown(path.name)}: each " if count > 1 else f"{shown(path.name)} "
        listing.error(refusal.kind, path.parent, which + refusal.what, refusal.remedy)
        return False
    names = " by ".join(one.name for one in how)
    rest = f"; not used: {', '.join(map(shown, others[:8]))}" if others else ""
    listing.notes.append(f"Masks are {shown(names)} of the .mat files in {listing.where(path.parent)}/{rest}.")
    return True


def _chosen(path: Path, size: Size) -> tuple[list[Variable], list[str]]:
    """The mask variables (one, or numbered objects and their classes), and the other names. Raises Refusal."""
    room = 64 * size[0] * size[1] + SPARE_BYTES
    if path.stat().st_size > room:
        raise Refusal("too-large", f"is too large for a mask of {size[1]}×{size[0]} pixels.", SAVE_MASK)
    variables = {variable.name: variable for variable in variables_of(read_bytes(path), room)}

    def taken(*names: str) -> tuple[list[Variable], list[str]]:
        return [variables[name] for name in names], [name for name in variables if name not in names]

    fitting = [name for name, one in variables.items() if one.shape == size and one.kind in NUMERIC]
    ranked = sorted((name for name in fitting if name.lower() in BEST), key=lambda name: BEST.index(name.lower()))
    for numbered, kinds in OBJECTS:
        if numbered in fitting and kinds in variables and "type_map" not in fitting:
            return taken(numbered, kinds)
    if len(fitting) == 1 or ranked:
        return taken(ranked[0] if ranked else fitting[0])
    if fitting:
        what = f"holds {len(fitting)} matrices of the image's size ({', '.join(map(shown, fitting[:6]))})."
        raise Refusal("matlab-several", what, SAVE_MASK)
    nested = [one for one in variables.values() if one.kind in ("struct", "cell")]
    people = next((one for one in nested if one.size > 1 and one.name.lower() == "groundtruth"), None)
    if people:
        what = f"holds {people.size} segmentations by as many people (groundTruth), which number regions, not classes."
        raise Refusal("matlab-regions", what, "Assign a class to each region, and save that as one matrix.")
    inner = [one.name for one in nested if one.size == 1]
    if len(inner) == 1:
        return taken(inner[0])
    rows = (f"{shown(one.name)} {'×'.join(map(str, one.shape))} {one.kind}" for one in variables.values())
    there = ", ".join(list(rows)[:6]) or "nothing"
    what = f"holds no matrix of the image's size, {size[0]}×{size[1]} (rows × columns), but {there}."
    raise Refusal("matlab-none", what, SAVE_MASK)


def _of_struct(value: Variable, size: Size) -> MaskIds:
    """The ids of a struct's field Segmentation, or of its one matrix of the image's size. Raises Refusal."""
    fields = parts_of(value)
    if set(fields) == {""}:  # a struct in a cell
        fields = parts_of(fields[""])
    fitting = [name for name, field in fields.items() if field.shape == size and field.kind in NUMERIC]
    best = "Segmentation" if "Segmentation" in fitting else fitting[0] if len(fitting) == 1 else ""
    if not best:
        what = f"holds a {value.kind} of {', '.join(map(shown, list(fields)[:8])) or 'nothing'}; none is the mask."
        raise Refusal("matlab-none", what, SAVE_MASK)
    own = _whole(numbers_of(fields[best]))
    return _classes_of(own, numbers_of(fields["Categories"])) if "Categories" in fields else own


def _classes_of(numbered: MaskIds, kinds: NDArray[Any]) -> MaskIds:
    """Numbered objects [H, W], from 1, and the class of each [N] → classes. Raises Refusal."""
    classes = _whole(kinds).ravel()
    if int(numbered.max()) > len(classes):
        what = f"numbers {int(numbered.max())} objects, but has classes for {len(classes)}."
        raise Refusal("matlab-none", what, SAVE_MASK)
    return np.concatenate([np.zeros(1, classes.dtype), classes])[numbered]


def _sized(ids: MaskIds, size: Size) -> MaskIds:
    if ids.shape != size:
        what = f"holds a matrix of {'×'.join(map(str, ids.shape))}, not {size[0]}×{size[1]}."
        raise Refusal("size-mismatch", what, SAVE_MASK)
    return ids


def _whole(values: NDArray[Any]) -> MaskIds:
    """Numbers as integer ids: MATLAB stores doubles by default. Raises Refusal."""
    if values.dtype.kind not in "biuf" or (values.dtype.kind == "f" and not (values == np.floor(values)).all()):
        raise Refusal("matlab-none", f"holds {values.dtype} numbers that are not whole.", SAVE_MASK)
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if not 0 <= low <= high < 2**16:
        raise Refusal("matlab-none", f"holds numbers from {low} to {high}; expected 0 to 65535.", SAVE_MASK)
    return values.astype(np.uint8) if high < 256 else values.astype(np.uint16)
