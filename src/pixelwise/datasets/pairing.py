"""Match masks to images by name: exactly, or without the words that distinguish images from masks.

Near matches are never paired: names that differ in case or Unicode form pair on one machine and not on another, so
they are reported as problems, with the names to change.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from pixelwise.images.files import shown

# Words in names that mean "image" or "mask" but do not identify which one.
ROLE_WORDS = frozenset((
    "image", "images", "img", "imgs", "rgb", "photo", "raw", "sat", "input", "mask", "masks", "label", "labels",
    "labelids", "gt", "groundtruth", "truth", "seg", "segmentation", "annotation", "annotations", "annot", "target",
    "trainids",
))  # fmt: skip
ROLE_AND_NUMBER = re.compile(rf"(?:{'|'.join(sorted(ROLE_WORDS))})(\d+)", re.IGNORECASE)  # img7, mask7
WORD = re.compile(r"[A-Za-z]+|\d+")
BY_NUMBERS = "Images and masks pair by their numbers, with zeros before them or not."
MOST_COMPARED = 500  # names to compare to find the nearest
MOST = 0.8  # of the masks must have an image under a rule for it to apply
AFFIX = re.compile(r"(?:[-_. ]?[A-Za-z]|[-_. ]\d+[A-Za-z])[A-Za-z0-9]*(?:[-_. ][A-Za-z0-9]+)*[-_. ]?|[-_. ]")

Files = Mapping[str, list[Path]]  # by path below their folder, without suffix


def without_role(key: str) -> str:
    """A name without role words and their separators: "img_007_mask" → "007"; "" if nothing is left."""
    path = PurePath(key)
    pieces = re.split(r"([-_. ]+)", path.name)
    kept = [
        ROLE_AND_NUMBER.sub(r"\1", piece) if ROLE_AND_NUMBER.fullmatch(piece) else piece
        for piece in pieces[::2]
        if _word(piece) not in ROLE_WORDS
    ]
    return str(path.with_name("_".join(kept))) if any(kept) else ""


def _word(piece: str) -> str:
    words = WORD.findall(piece.lower())
    return words[0] if len(words) == 1 and words[0] == piece.lower() else piece.lower()


def rekeyed(images: Files, masks: Files) -> tuple[Files, Files, str]:
    """Images and masks under keys by which they pair, and a note on the rule; unchanged if their names agree.

    Rules, tried in this order if fewer than a tenth of the masks have an image of the same name: names without role
    words; one extra suffix or prefix on all masks' names; names without the prefix and suffix common to all images, and
    those common to all masks; the same without leading zeros of numbers; names without folders.
    A rule that maps two files to one key, or finds an image for fewer than four fifths of the masks, does not apply.
    """
    shared = len(images.keys() & masks.keys())
    if not images or not masks or shared >= MOST * min(len(images), len(masks)):
        return images, masks, ""
    if shared >= 0.1 * min(len(images), len(masks)):  # 10, 11 and 12 match, 1 and 01 do not
        plain_images, plain_masks = _under(images, _without_zeros), _under(masks, _without_zeros)
        if _pairs_most(plain_images, plain_masks):
            return plain_images, plain_masks, BY_NUMBERS
        return images, masks, ""
    bare_images, bare_masks = _under(images, without_role), _under(masks, without_role)
    if _pairs_most(bare_images, bare_masks):
        return bare_images, bare_masks, "Images and masks pair by their names without words such as image and mask."
    affix = common_affix(images, masks)
    shorter = _under(masks, lambda key: without_affix(key, affix)) if affix else masks
    if affix and _pairs_most(images, shorter):
        where = "begin" if affix.endswith("*") else "end"
        more = affix.strip("*")
        return images, shorter, f"Masks pair with images by their names, which {where} with {more!r} more."
    own_images, own_masks = without_common(images), without_common(masks)
    if _pairs_most(own_images, own_masks):
        return own_images, own_masks, "Images and masks pair by their names without what all images' or masks' share."
    for one, other in ((images, masks), (bare_images, bare_masks), (images, shorter), (own_images, own_masks)):
        numbered_images, numbered_masks = _under(one, _without_zeros), _under(other, _without_zeros)
        if _pairs_most(numbered_images, numbered_masks):
            return numbered_images, numbered_masks, BY_NUMBERS
    flat_images, flat_masks = _under(images, _own_name), _under(masks, _own_name)
    if _pairs_most(flat_images, flat_masks):
        return flat_images, flat_masks, "Images and masks pair by file name; their folders differ."
    return images, masks, ""


def without_common(files: Files, *, heads: bool = True) -> Files:
    """Names without their common suffix (and prefix), up to a separator: "21_training" → "21"."""
    names = [PurePath(key).name for key in files]
    if len(names) < 2:
        return files
    head = re.sub(r"[^-_. ]*$", "", _shared_start(names)) if heads else ""
    shared = _shared_start([name[::-1] for name in names])[::-1]
    tail = re.sub(r"^[^-_. ]*", "", shared)

    def rule(key: str) -> str:
        path = PurePath(key)
        short = path.name.removeprefix(head).removesuffix(tail)
        return str(path.with_name(short)) if short else key

    return _under(files, rule)


def _shared_start(names: list[str]) -> str:
    first, last = min(names), max(names)
    alike = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:alike]


def _without_zeros(key: str) -> str:
    """A name without leading zeros in its numbers: "img_007" → "img_7"."""
    path = PurePath(key)
    return str(path.with_name(re.sub(r"(?<!\d)0+(?=\d)", "", path.name))) if path.name else key


def _own_name(key: str) -> str:
    return PurePath(key).name


def nearest_name(key: str, others: Sequence[str]) -> str:
    """The most similar name, for messages; "" if none is similar, or there are too many to compare."""
    if len(others) > MOST_COMPARED:
        return ""
    return next(iter(difflib.get_close_matches(key, others, 1, 0.6)), "")


def endings_of(images: Files, masks: Files) -> list[str]:
    """Extra endings ("*_L") of masks' names, each found for most images; most frequent first.

    Several endings mean several masks per image. `images` and `masks` may be the same files.
    """
    stems = set(images if images is masks else without_common(images, heads=False))
    lengths = sorted({len(stem) for stem in stems}, reverse=True)
    found: Counter[str] = Counter()
    with_mask: set[str] = set()
    for mask in masks:
        for length in lengths:
            if length < len(mask) and mask[:length] in stems and AFFIX.fullmatch(mask[length:]):
                found["*" + mask[length:]] += 1
                with_mask.add(mask[:length])
                break
    if len(with_mask) < (0.25 if images is masks else 0.5) * len(images):
        return []
    return [ending for ending, number in found.most_common() if number >= MOST * len(with_mask)]


def common_affix(images: Files, masks: Files) -> str:
    """The extra suffix ("*_L") or prefix ("lab-*") of most masks' names compared with their images'; or ""."""
    by_length = sorted({len(key) for key in images}, reverse=True)
    found: Counter[str] = Counter()
    for mask in masks:
        for length in by_length:
            if length < len(mask) and mask[:length] in images and AFFIX.fullmatch(mask[length:]):
                found["*" + mask[length:]] += 1
                break
            folder = PurePath(mask).parent
            tail = str(folder / mask[-length:]) if str(folder) != "." else mask[-length:]
            if length < len(mask) and tail in images and AFFIX.fullmatch(PurePath(mask).name[:-length]):
                found[PurePath(mask).name[:-length] + "*"] += 1
                break
    affix, number = found.most_common(1)[0] if found else ("", 0)
    wanted = MOST * len(masks) if images is not masks else MOST * len(masks) / 2  # in one folder, half are masks
    return affix if number >= wanted else ""


def nearly_equal(images: Iterable[str], masks: Iterable[str]) -> list[tuple[str, str, str]]:
    """Unpaired names that differ only in case or Unicode form: (image's, mask's, "case" or "unicode")."""
    folded: defaultdict[str, list[str]] = defaultdict(list)
    for key in images:
        folded[_folded(key)].append(key)
    near = []
    for key in masks:
        candidates = folded.get(_folded(key), [])
        if len(candidates) == 1:
            same_case = unicodedata.normalize("NFC", candidates[0]) == unicodedata.normalize("NFC", key)
            near.append((candidates[0], key, "unicode" if same_case else "case"))
    return near


def clashing(keys: Iterable[str]) -> list[tuple[str, ...]]:
    """Names in one folder that some file systems treat as equal: they differ only in case or Unicode form."""
    folded: defaultdict[str, list[str]] = defaultdict(list)
    for key in keys:
        folded[_folded(key)].append(key)
    return [tuple(sorted(group)) for group in folded.values() if len(group) > 1]


def _folded(key: str) -> str:
    return unicodedata.normalize("NFC", shown(key)).casefold()


def _under(files: Files, rule: Callable[[str], str]) -> Files:
    new: defaultdict[str, list[Path]] = defaultdict(list)
    for key, paths in files.items():
        new[rule(key)] += paths
    return new


def without_affix(key: str, affix: str) -> str:
    """A name without the affix from `common_affix`; unchanged if nothing else would be left."""
    path = PurePath(key)
    name = path.name
    if not name:
        return key
    if affix.startswith("*"):
        return str(path.with_name(name.removesuffix(affix[1:]))) if name != affix[1:] else key
    return str(path.with_name(name.removeprefix(affix[:-1]))) if name != affix[:-1] else key


def _pairs_most(images: Files, masks: Files) -> bool:
    if "" in images or "" in masks or any(len(paths) > 1 for files in (images, masks) for paths in files.values()):
        return False
    return len(images.keys() & masks.keys()) >= MOST * len(masks)
