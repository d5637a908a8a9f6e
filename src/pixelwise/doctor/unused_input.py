"""Unused content of a dataset's image files: one warning per kind, with its count and first file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pixelwise.images.dropped_content import CHANNELS, DEPTH, LEFT_OVER, PAGES, DroppedContent
from pixelwise.records import Problem

TOLD = {  # kind → wording for several images, remedy
    CHANNELS: (
        "channels that vary and are not used",
        "Three channels are read, as red, green and blue. If the others matter, choose the three that show the classes "
        "best and save them as RGB; if not, ignore this warning.",
    ),
    PAGES: (
        "more than one page or frame, of which the first is used",
        "If the others are images too, save each as a separate file.",
    ),
    LEFT_OVER: (
        "bytes left over after the pixels, so that they may be damaged",
        "Look at them, and copy them again from their source.",
    ),
}


def dropped_problems(found: Iterable[tuple[str, DroppedContent]]) -> list[Problem]:
    """One warning for each kind of unused content.

    Args:
        found: (file relative to the dataset's root, its unused content), in the order of the dataset.
    """
    by_kind: defaultdict[str, list[tuple[str, DroppedContent]]] = defaultdict(list)
    for where, dropped in found:
        by_kind[dropped.kind].append((where, dropped))
    problems = []
    for kind, (many, remedy) in TOLD.items():
        if of_kind := by_kind.get(kind):
            where, first = of_kind[0]
            message = first.sentence()
            if len(of_kind) > 1:
                message = f"{message} {len(of_kind):,} images have {many}; this is the first."
            problems.append(Problem("warning", kind, where, message, remedy))
    return problems


def depth_notes(dropped: Sequence[Sequence[DroppedContent]]) -> list[str]:
    """One line about images of more than 8 bits. `dropped`: the unused content of each image."""
    deep = [one for of_image in dropped for one in of_image if one.kind == DEPTH]
    if not deep:
        return []
    return [f"{len(deep):,} of {len(dropped):,} images: {deep[0].sentence()}"]
