"""The role of a folder: its split, and whether it holds images or masks, by its name or content.

Names take precedence: files are opened only if no word in the name gives the role. Shapes: H, W of one image.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from pixelwise.datasets.file_kinds import MASK_SUFFIXES, SPLIT_WORDS, UNREAD_PHOTOS
from pixelwise.datasets.pairing import WORD
from pixelwise.images.decode import colour_codes, image_pixels, mask_ids_of
from pixelwise.images.files import Refusal, read_bytes
from pixelwise.records import Pixels

IMAGE_WORDS = frozenset((
    "image", "images", "img", "imgs", "rgb", "jpegimages", "photo", "photos", "input", "inputs", "frames", "original",
    "originals", "raw", "sat",
))  # fmt: skip
MASK_WORDS = frozenset((
    "mask", "masks", "label", "labels", "annotation", "annotations", "annot", "annots", "ann", "gt", "gts",
    "groundtruth", "truth", "segmentation", "segmentations", "seg", "segmentationclass", "target", "targets",
    "labelled", "labeled", "annotated", "anno", "annos", "lbl", "lbls", "matte", "mattes", "manual",
))  # fmt: skip
ASIDE_WORDS = frozenset(  # derived from images or measured with them: neither image nor mask
    [
        *("dem", "dsm", "dtm", "ndsm", "chm", "height", "heights", "elevation", "depth", "depths", "disparity", "disp"),
        *("overlay", "overlays", "overlaid", "viz", "visual", "visualization", "visualisation", "visualizations"),
        *("preview", "previews", "thumb", "thumbs", "thumbnail", "thumbnails", "quicklook", "quicklooks", "blend"),
        *("superpixel", "superpixels", "heatmap", "heatmaps", "confidence", "probability", "flow", "normals"),
    ]
)
DEPTH = 6
FEW_COLOURS = 16  # these cover nearly all of a mask, but little of a photograph
SAMPLED_PX = 128  # colours are counted on about this many pixels per side
LOOKED_AT = 3  # files to open per folder if its name gives no role
MOSTLY = 0.8  # of the pixels
HALF = 0.5  # of sibling folders, and of a folder's files

ByRole = dict[str, dict[str, list[Path]]]


def roles_of(folder: Path, root: Path, no_splits: frozenset[Path] = frozenset()) -> tuple[str, str]:
    """(split or "all"; "images", "masks", "aside" or "") of a folder, by the words in its path below the root.

    "aside": heights, overlays, previews and the like, never used as images or masks automatically.

    `no_splits`: folders whose names are split words by coincidence: a video called "train" among videos.
    """
    split, role, at = "all", "", root
    for part in folder.relative_to(root).parts:
        at = at / part
        split = (split_word(part) if at not in no_splits else "") or split
        role = role_word(part) or role
    return split, role


def split_of_folder(folder: Path, root: Path, no_splits: frozenset[Path] = frozenset()) -> str:
    """The split named by a folder's path below the root, or "all"."""
    return roles_of(folder, root, no_splits)[0]


def by_role(root: Path) -> ByRole:
    """Folders by split and role: {"train": {"images": […], "masks": […], "aside": […], "": […]}}."""
    folders = folders_with_images(root)
    no_splits = chance_splits(folders, root)
    found: ByRole = defaultdict(lambda: {"images": [], "masks": [], "aside": [], "": []})
    for folder in folders:
        split, role = roles_of(folder, root, no_splits)
        found[split][role].append(folder)
    for roles in found.values():
        if roles["masks"] and not roles["images"] and len(roles[""]) == 1:  # train/ next to train_labels/
            roles["images"] = roles.pop("")
    return dict(found)


def images_and_masks(roles: Mapping[str, list[Path]]) -> tuple[list[Path], list[Path]]:
    """The image and mask folders of one split; by content if names identify only one kind or neither."""
    images, masks, bare = (roles.get(role, []) for role in ("images", "masks", ""))
    if images and not masks:  # semantic_rgb/ holds masks despite its name
        masks = [folder for folder in (*bare, *images) if looks_like_masks(folder)]
        images = [folder for folder in images if folder not in masks]
    elif masks and not images:
        images = [folder for folder in bare if not looks_like_masks(folder)]
    elif not images:
        masks = [folder for folder in bare if looks_like_masks(folder)]
        images = [folder for folder in bare if folder not in masks]
    return images, masks


def folders_with_images(root: Path) -> list[Path]:
    """Folders below the root that directly contain images, to a depth of six; no links or hidden folders.

    Images in unsupported formats count, so that other files are not mistaken for the images.
    """
    found = []
    for parent, folders, names in os.walk(root):
        depth = len(Path(parent).relative_to(root).parts)
        folders[:] = sorted(name for name in folders if name[0] not in "._") if depth < DEPTH else []
        if any(name.lower().endswith((*MASK_SUFFIXES, *UNREAD_PHOTOS)) and not name.startswith(".") for name in names):
            found.append(Path(parent))
    return found


def files_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Image files directly in one folder, by stem, including unsupported formats."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (*MASK_SUFFIXES, *UNREAD_PHOTOS) and not path.name.startswith("."):
            found[path.stem].append(path)
    return dict(found)


def without_role_words(part: str) -> str:
    """A name without role words: "train_images" → "train"."""
    return "-".join(word for word in _plain_words(part) if word not in MASK_WORDS and word not in IMAGE_WORDS)


def mostly_of(colours: int, pixels_HW3: Pixels) -> bool:
    """Whether this many colours cover four fifths of an image, as in a mask with few classes."""
    counts = np.sort(np.unique(colour_codes(pixels_HW3), return_counts=True)[1])
    return bool(counts[-colours:].sum() >= MOSTLY * counts.sum())


def looks_drawn(pixels_HW3: Pixels) -> bool:
    """Whether an image looks like a mask: few colours cover most of it, in areas rather than as noise.

    A dark photograph has few values too, but neighbours differ; masks of thin structures have very few values.
    """
    step_y, step_x = (max(side // SAMPLED_PX, 1) for side in pixels_HW3.shape[:2])
    if not mostly_of(FEW_COLOURS, pixels_HW3[::step_y, ::step_x]):
        return False
    codes_HW = colour_codes(pixels_HW3[: SAMPLED_PX * 4, : SAMPLED_PX * 4])
    if len(np.unique(codes_HW)) <= FEW_COLOURS // 2:
        return True
    return bool((codes_HW[:, 1:] == codes_HW[:, :-1]).mean() >= HALF)


def _plain_words(part: str) -> list[str]:
    """The words and numbers of a name, in lower case: "TrainMasks_2" → ["train", "masks", "2"]."""
    return WORD.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part).lower())


def _words_of(part: str) -> list[str]:
    """The plain words, the whole name, and the rest after a split word: "trainannot" → [… "annot"]."""
    words = [*_plain_words(part), part.lower()]
    joined = next((word for word in words if word.startswith(("train", "val", "test")) and len(word) > 5), "")
    return words + [joined.removeprefix(prefix) for prefix in ("train", "val", "test") if joined.startswith(prefix)]


def split_word(part: str) -> str:
    """The split in a name: "train_images", "Validation", "test1"; "" if none."""
    return next((SPLIT_WORDS[word] for word in _words_of(part) if word in SPLIT_WORDS), "")


def role_word(part: str) -> str:
    """The role in a name: "images", "masks" or "aside"; "" if none."""
    words = _words_of(part)
    if any(word in ASIDE_WORDS for word in words):
        return "aside"
    if any(word in MASK_WORDS for word in words):
        return "masks"
    return "images" if any(word in IMAGE_WORDS for word in words) else ""


def chance_splits(folders: Iterable[Path], root: Path) -> frozenset[Path]:
    """Folders called train, val or test among a majority of siblings that are not splits, such as videos or places.

    Two sibling splits, train/ and test/, are no coincidence.
    """
    beside: defaultdict[Path, set[Path]] = defaultdict(set)
    for folder in folders:
        for at in (folder, *folder.parents):
            if at == root:
                break
            beside[at.parent].add(at)
    chance: set[Path] = set()
    for inside in beside.values():
        named = {path for path in inside if not role_word(path.name)}
        splits = {path for path in named if split_word(path.name)}
        if len(splits) < HALF * len(named) and len({split_word(path.name) for path in splits}) < 2:
            chance |= splits
    return frozenset(chance)


@cache
def looks_like_masks(folder: Path) -> bool:
    """Whether few colours cover most of the folder's first images, and none is a JPEG."""
    files = [paths[0] for paths in list(files_by_stem(folder).values())[:LOOKED_AT]]
    return bool(files) and sum(map(is_drawn, files)) > HALF * len(files)


def is_drawn(path: Path) -> bool:
    """Whether one file looks like a mask; False for JPEGs and unreadable files."""
    if path.suffix.lower() in (".jpg", ".jpeg", *UNREAD_PHOTOS):
        return False
    try:
        data = read_bytes(path)
        pixels_HW3 = image_pixels(data)
    except Refusal:
        return _holds_few_ids(path)
    return looks_drawn(pixels_HW3)


def _holds_few_ids(path: Path) -> bool:
    """As `is_drawn`, for files that are not images but may be masks: a GIF, an array."""
    try:
        ids_HW = mask_ids_of(read_bytes(path))
    except Refusal:
        return False
    return len(np.unique(ids_HW[::4, ::4])) <= FEW_COLOURS
