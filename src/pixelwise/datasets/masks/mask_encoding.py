"""How the masks of a dataset encode their classes, from all masks together.

A code is a mask value: a stored number, or a colour as 0xRRGGBB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import gcd
from typing import Literal

import numpy as np

from pixelwise.datasets.masks.inspection import KEPT_CODES, MaskInspection
from pixelwise.datasets.masks.mask_colours import ValueBook, find_values, jpeg_tolerance, points_of, rippled
from pixelwise.records import MAX_CLASSES, VOID

Kind = Literal["ids", "one-based", "gaps", "steps", "binary", "instances", "class-instances", "one-value", "lost"]

FEW_MORE = 8  # more colours than twice a table's are too many to be classes: then use the table
TABLE_REACH = 24  # maximum difference in levels of a pixel from its colour in a table
STRAY_SHARE = 1e-4  # of all pixels: in blended masks, a rarer value without a flat count is a blend
LOST_GAP = 8  # grey codes of a JPEG closer than this are indistinguishable from its noise
INSTANCE_MASKS = 3  # fewer masks give no evidence of how ids vary from mask to mask
CITYSCAPES_BASE = 1000  # in "instance ids", class × 1000 + number
OBJECT_PX = 8  # values with fewer pixels per mask are not objects
INSTANCE_IDS = 8  # fewer objects per mask than this may be classes


@dataclass(frozen=True)
class MaskEncoding:
    """The codes of the masks of one kind, numbers or colours, and their statistics."""

    book: ValueBook
    kind: Kind
    masks: int
    void: int | None  # the code that is void by convention: 255 among other ids
    step: int = 1  # of kind "steps": the greatest common divisor
    images: Mapping[int, int] = field(default_factory=dict)  # number of masks that contain each code
    distinct: int = 0  # number of different codes
    flat: float = 1.0  # share of pixels in a uniform 3×3 neighbourhood, if counted

    @property
    def class_codes(self) -> tuple[int, ...]:
        return tuple(code for code in self.book.codes if code != self.void)


def find_encoding(
    looks: Sequence[MaskInspection], *, coloured: bool, classes: bool = False, table: Collection[int] = ()
) -> MaskEncoding | None:
    """The encoding of all masks whose codes are colours (or numbers); None if there is no such mask.

    `classes`: the format declares the numbers as classes, regardless of their values. `table`: the colours of a table
    stored with the masks; if nearly all pixels are close to these, they are the codes.
    """
    ours = [look for look in looks if look.coloured == coloured]
    if not ours:
        return None
    exact = [look for look in ours if look.storage != "jpeg-mask"]
    chosen = exact or ours  # JPEGs are read by the codes of the lossless masks
    pixels: Counter[int] = Counter()
    images: Counter[int] = Counter()
    for look in chosen:
        pixels.update(look.codes)
        images.update(look.codes.keys())
    distinct = max(len(pixels), max(look.distinct for look in chosen))
    if classes and not coloured:
        total = max(sum(pixels.values()), 1)
        shares = {code: n / total for code, n in pixels.most_common()}
        book = ValueBook(tuple(sorted(shares)), False, False, 0, shares, 0.0)
        return MaskEncoding(book, "ids", len(ours), None, images=images, distinct=distinct)
    if not coloured and exact:
        instances = _instances(chosen, distinct)
        if instances:
            total = sum(pixels.values())
            shares = {code: n / total for code, n in pixels.most_common(KEPT_CODES)}
            book = ValueBook(tuple(sorted(shares)), False, False, 0, shares, 0.0)
            return MaskEncoding(book, instances, len(ours), None, images=images, distinct=distinct)
    book = _book(chosen, pixels, coloured, lossy=not exact)
    if coloured and table and len(book.codes) > 2 * len(table) + FEW_MORE:
        book = _book_of_table(pixels, sorted(table)) or book
    kind, step, void = ("ids", 1, None) if coloured else number_kind(book.codes)
    if not exact and not coloured and ((len(book.codes) < 2 and distinct > 1) or lost_in_jpeg(book.codes)):
        kind = "lost"
    return MaskEncoding(book, kind, len(ours), void, step, images, distinct, _flat_share(chosen))


def _flat_share(looks: Sequence[MaskInspection]) -> float:
    counted = [look for look in looks if look.flat is not None]
    flat = sum(sum((look.flat or {}).values()) for look in counted)
    return flat / max(sum(look.size[0] * look.size[1] for look in counted), 1) if counted else 1.0


def number_kind(codes: Sequence[int]) -> tuple[Kind, int, int | None]:
    """The kind of ascending stored numbers, their common step, and the one that is void by convention."""
    if len(codes) == 1:
        return "one-value", 1, None
    if len(codes) == 2 and codes[0] == 0 and codes[1] > 1:
        return "binary", 1, None
    even = evenly_spread(codes)  # 0, 85, 170, 255 or, rounded, 0, 127, 255: then 255 is one of the steps
    if even:
        return "steps", even, None
    void = VOID if codes[-1] == VOID and len(codes) > 2 else None
    classes = [code for code in codes if code != void]
    step = gcd(*classes)
    if step > 1 and len(classes) >= 2:
        return "steps", step, void
    if classes[0] == 1 and classes[-1] == len(classes):
        return "one-based", 1, void
    if classes[0] > 0 or classes[-1] >= len(classes):
        return "gaps", 1, void
    return "ids", 1, void


def evenly_spread(codes: Sequence[int]) -> int:
    """The step of grey values that divide 0 to 255 evenly with rounding, such as 0, 127, 255; otherwise 0."""
    if len(codes) < 3 or codes[0] != 0 or codes[-1] not in (254, 255):
        return 0
    steps = [b - a for a, b in pairwise(codes)]
    return steps[0] if min(steps) >= 8 and max(steps) - min(steps) <= 1 else 0


def _book(looks: Sequence[MaskInspection], pixels: Counter[int], coloured: bool, *, lossy: bool) -> ValueBook:
    """The code book, if flat pixels were counted; otherwise every value is a code."""
    counted = [look for look in looks if look.flat is not None]
    flat: Counter[int] = Counter()
    between: Counter[int] = Counter()
    seen: Counter[int] = Counter()
    for look in counted:
        flat.update(look.flat or {})
        between.update(look.between)
        seen.update(look.codes)
    book = find_values(seen, flat, between, coloured=coloured, lossy=lossy) if seen else None
    blended = book is not None and book.blurred
    if not lossy:  # values that occur only in masks without a count of flat pixels
        least = STRAY_SHARE * sum(pixels.values()) if blended else 0
        rest = [code for code in set(pixels) - set(seen) if pixels[code] >= least]
        for code in rest:
            seen[code] = flat[code] = pixels[code]
        if rest or book is None:
            book = find_values(seen, flat, between, coloured=coloured, lossy=lossy)
    assert book is not None
    if not lossy and (book.blurred or blended) and rippled(book.codes, pixels, coloured=coloured):
        return find_values(pixels, flat, between, coloured=coloured, lossy=True)
    total = max(sum(pixels.values()), 1)
    if not lossy:
        shares = {code: pixels[code] / total for code in book.codes}
        unfit = max(1.0 - sum(shares.values()), 0.0) if book.blurred or blended else 0.0
        return ValueBook(book.codes, coloured, book.blurred or blended, 0, shares, unfit)
    return book


def _book_of_table(pixels: Counter[int], table: list[int]) -> ValueBook | None:
    """The code book of declared colours; None if they do not match the masks."""
    points_K3 = points_of(table, True)
    tolerance = min(2 * jpeg_tolerance(points_K3), TABLE_REACH)
    shares = dict.fromkeys(table, 0.0)
    total = max(sum(pixels.values()), 1)
    values = list(pixels)
    for start in range(0, len(values), 4096):
        part = values[start : start + 4096]
        distance_NK = np.abs(points_of(part, True)[:, None] - points_K3[None]).max(axis=2)
        for value, place, gap in zip(part, distance_NK.argmin(axis=1), distance_NK.min(axis=1), strict=True):
            if gap <= tolerance:
                shares[table[place]] += pixels[value] / total
    shares = {code: share for code, share in shares.items() if share > 0}
    unfit = 1.0 - sum(shares.values())
    blurred = unfit > 0 or any(value not in shares for value in values)
    return ValueBook(tuple(shares), True, blurred, tolerance, shares, max(unfit, 0.0)) if unfit < 0.1 else None


def _instances(looks: Sequence[MaskInspection], distinct: int) -> Literal["instances", "class-instances"] | None:
    """Whether the ids number objects instead of classes.

    Either each mask numbers its own from 1 without gaps, to a different end, or there are more ids than possible
    classes; and wherever connected components were counted, an id is one connected object.
    """
    ids = {code for look in looks for code in look.codes}
    large = [code for code in ids if code >= CITYSCAPES_BASE]
    if large and len({code // CITYSCAPES_BASE for code in large}) <= MAX_CLASSES and len(large) >= len(ids) / 4:
        small = [code for code in ids if code < CITYSCAPES_BASE]
        by_class = {code // CITYSCAPES_BASE for code in large}
        counted_up = sum(code % CITYSCAPES_BASE < 200 for code in large) > 0.9 * len(large)
        if counted_up and max(large) < 256 * CITYSCAPES_BASE and len(small) <= 64 and len(large) > len(by_class):
            return "class-instances"
    if distinct > MAX_CLASSES + 1:
        return "instances" if _one_piece(looks, 0.5) and _object_px(looks) >= OBJECT_PX else None
    ends = []
    contiguous = 0
    for look in looks:
        own = [code for code in look.codes if code != 0]
        if own:
            ends.append(len(own))
            contiguous += max(own) == len(own)
    if len(ends) < INSTANCE_MASKS or max(ends) < INSTANCE_IDS:
        return None
    varied = len(set(ends)) >= min(4, len(ends))
    if varied and contiguous >= 0.8 * len(ends) and _one_piece(looks, 0.85):
        return "instances"
    return None


def _object_px(looks: Sequence[MaskInspection]) -> float:
    """Median number of pixels per id other than 0 in a mask: a photograph has as many values as pixels."""
    return float(np.median([n for look in looks for code, n in look.codes.items() if code != 0]))


def lost_in_jpeg(codes: Sequence[int]) -> bool:
    """Whether grey codes are closer to each other than a JPEG's noise."""
    ordered = sorted(codes)
    return len(ordered) > 1 and min(b - a for a, b in pairwise(ordered)) < LOST_GAP


def _one_piece(looks: Sequence[MaskInspection], share: float) -> bool:
    """Whether at least this share of the ids other than 0 are one connected component each."""
    parts = [n for look in looks for code, n in look.parts.items() if code != 0]
    return not parts or sum(n == 1 for n in parts) >= share * len(parts)
