"""Where masks or shapes of two classes overlap, one of them hides the other: which, and how many pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from pixelwise.records import VOID, Dataset, Problem

LISTED = 3  # pairs of classes in a message
REMEDY = (
    "A pixel has one class. If the order is right (a car on a road), nothing needs to be done. If both are true, train "
    "one model for each class, or make a class of the overlap: docs/how-to/overlapping-classes.md."
)


def overlap_problems(dataset: Dataset, found: Iterable[tuple[str, Mapping[tuple[int, int], int]]]) -> list[Problem]:
    """One warning about all overlaps of a dataset.

    Args:
        found: for each mask, its name and its pixels by (hidden class id, kept class id).
    """
    pixels: Counter[tuple[int, int]] = Counter()
    masks: Counter[tuple[int, int]] = Counter()
    first: dict[tuple[int, int], str] = {}
    for name, overlaps in found:
        for pair, number in overlaps.items():
            pixels[pair] += number
            masks[pair] += 1
            first.setdefault(pair, name)
    if not pixels:
        return []

    def named(class_id: int) -> str:
        return "void" if class_id == VOID else dataset.classes.names[class_id]

    parts = [
        f"{named(kept)!r} hides {number:,} pixels of {named(hidden)!r} in {masks[hidden, kept]:,} "
        f"{'mask' if masks[hidden, kept] == 1 else 'masks'} (the first: {first[hidden, kept]})"
        for (hidden, kept), number in pixels.most_common(LISTED)
    ]
    rest = sum(pixels.values()) - sum(number for _, number in pixels.most_common(LISTED))
    more = f"; and {rest:,} pixels of {len(pixels) - LISTED} further pairs of classes" if rest else ""
    return [Problem("warning", "overlapping-classes", ".", f"classes overlap: {'; '.join(parts)}{more}.", REMEDY)]
