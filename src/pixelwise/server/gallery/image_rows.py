"""The images of a folder as rows: filtered, ordered, a part at a time; and how many each filter would show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pixelwise.images.files import shown
from pixelwise.server.gallery.opened_folder import OpenedFolder

Order = Literal["name", "worst", "best", "class", "large", "small"]
ANY_FINDING, NO_FINDING = "any", "none"
MOST_SIZES = 12  # that a person chooses from; all others are one choice
OTHER_SIZES = "other"


@dataclass(frozen=True)
class RowFilter:
    """Which images, in which order. An empty field lets every image pass."""

    split: str = ""
    class_id: int | None = None  # only images that hold it
    size: str = ""  # "640x480", or OTHER_SIZES
    finding: str = ""  # a kind, ANY_FINDING or NO_FINDING
    score_below: float | None = None  # mIoU, 0–1
    search: str = ""  # in the name
    order: Order = "name"


def chosen_places(folder: OpenedFolder, wanted: RowFilter) -> list[int]:
    """The places of the images that pass, in order."""
    tests = _tests(folder, wanted)
    found = [place for place in range(len(folder.samples)) if all(test(place) for test in tests)]
    scores = folder.scored.miou if folder.scored else {}
    keys: dict[str, Callable[[int], Any]] = {
        "worst": lambda place: scores.get(place, 2.0),  # images without a score come last
        "best": lambda place: -scores.get(place, -1.0),
        "class": lambda place: -folder.shares_of(place).get(wanted.class_id or 0, 0.0),
        "large": lambda place: -_area(folder, place),
        "small": lambda place: _area(folder, place) or float("inf"),
    }
    return sorted(found, key=keys[wanted.order]) if wanted.order in keys else found


def row_json(folder: OpenedFolder, place: int) -> dict[str, Any]:
    """What a thumbnail's caption says."""
    split, sample = folder.samples[place]
    size = folder.facts_of(place).size
    problems = folder.problems_of(place)
    return {
        "place": place,
        "name": shown(sample.name),
        "split": split,
        "masked": sample.mask is not None,
        "width": size[1] if size else None,
        "height": size[0] if size else None,
        "errors": sum(problem.severity == "error" for problem in problems),
        "warnings": sum(problem.severity == "warning" for problem in problems),
        "score": folder.scored.miou.get(place) if folder.scored else None,
    }


def image_json(folder: OpenedFolder, place: int) -> dict[str, Any]:
    """All that is known of one image."""
    _, sample = folder.samples[place]
    return {
        **row_json(folder, place),
        "image": shown(sample.image.name),
        "mask": shown(sample.mask.name) if sample.mask else None,
        "shares": [{"class": label, "share": share} for label, share in sorted(
            folder.shares_of(place).items(), key=lambda item: -item[1])],
        "problems": [vars(problem) for problem in folder.problems_of(place)],
    }  # fmt: skip


def filter_counts(folder: OpenedFolder) -> dict[str, Any]:
    """The number of images in each split, and, after a check, of each class, size and kind of finding."""
    splits = Counter(split for split, _ in folder.samples)
    places = range(len(folder.samples))
    sizes = _sizes(folder)
    classes = Counter(label for place in places for label in folder.shares_of(place))
    kinds = Counter(kind for place in places for kind in {p.kind for p in folder.problems_of(place)})
    listed = sizes.most_common(MOST_SIZES)
    others = sum(sizes.values()) - sum(number for _, number in listed)
    return {
        "splits": dict(splits),
        "classes": {str(label): number for label, number in sorted(classes.items())},
        "sizes": {**dict(listed), **({OTHER_SIZES: others} if others else {})},
        "findings": dict(kinds.most_common()),
        "with_finding": sum(bool(folder.problems_of(place)) for place in places),
        "scored": len(folder.scored.miou) if folder.scored else 0,
    }


def _tests(folder: OpenedFolder, wanted: RowFilter) -> list[Callable[[int], bool]]:
    tests: list[Callable[[int], bool]] = []
    if wanted.split:
        tests.append(lambda place: folder.samples[place][0] == wanted.split)
    if wanted.search:
        text = wanted.search.casefold()
        tests.append(lambda place: text in shown(folder.samples[place][1].name).casefold())
    if wanted.class_id is not None:
        tests.append(lambda place: wanted.class_id in folder.shares_of(place))
    if wanted.size:
        listed = {size for size, _ in _sizes(folder).most_common(MOST_SIZES)}
        other = wanted.size == OTHER_SIZES
        tests.append(
            lambda place: _size(folder, place) not in {"", *listed} if other else _size(folder, place) == wanted.size
        )
    if wanted.finding == NO_FINDING:
        tests.append(lambda place: not folder.problems_of(place))
    elif wanted.finding:
        tests.append(lambda place: any(wanted.finding in (ANY_FINDING, p.kind) for p in folder.problems_of(place)))
    if wanted.score_below is not None:
        limit, scores = wanted.score_below, folder.scored.miou if folder.scored else {}
        tests.append(lambda place: scores.get(place, 2.0) < limit)
    return tests


def _sizes(folder: OpenedFolder) -> Counter[str]:
    return Counter(size for place in range(len(folder.samples)) if (size := _size(folder, place)))


def _size(folder: OpenedFolder, place: int) -> str:
    """ "640x480", width first; "" where it is not known."""
    size = folder.facts_of(place).size
    return f"{size[1]}x{size[0]}" if size else ""


def _area(folder: OpenedFolder, place: int) -> int:
    size = folder.facts_of(place).size
    return size[0] * size[1] if size else 0
