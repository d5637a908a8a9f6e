"""Leakage between splits: near copies, neighbouring video frames, groups such as patients and scenes.

Every finding needs two sources of evidence: images and names, or two image measures. Names alone prove nothing, because
many datasets restart their image numbers in every split.

Shapes: N images, T × T × 3 thumbnails, G groups.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.groups import group_of, numbered
from pixelwise.datasets.masks.inspection import ImageInspection
from pixelwise.doctor.near_copies import copies_across, median_agreement, usual_agreement
from pixelwise.records import Problem

PLAIN = 6.0  # images with a smaller spread are alike because they are nearly blank
FRAME_RATIO = 0.6  # frames of one video differ by less than this share of the usual distance
FRAME_DETAIL = 0.12  # and their details agree by this much more: similar photos agree only coarsely
MOST_COMPARED = 60  # neighbouring pairs whose details are compared
GROUP_RATIO = 0.8
CHANCES = 1000
MOST_BY_CHANCE = 0.01
FEWEST_PX = 8  # a side: images of fewer pixels look alike by chance
REACH = 3  # neighbours: frame numbers at most this many usual steps apart
VAL_SHARE = 0.2


@dataclass(frozen=True)
class InspectedImage:
    """The facts of one image that this module uses."""

    split: str
    name: str  # the file, relative to the root
    path: Path
    look: ImageInspection


def near_copies(seen: Sequence[InspectedImage]) -> list[Problem]:
    """Warnings for near copies in two splits. `findings` reports byte-identical files, tiny ones too."""
    rich = [one for one in seen if one.look.spread >= PLAIN and min(one.look.size) >= FEWEST_PX]
    if len({one.split for one in rich}) < 2:
        return []
    problems = []
    told: set[int] = set()
    for i, j in copies_across([one.look for one in rich], [one.split for one in rich]):
        first, second = sorted((rich[i], rich[j]), key=lambda one: ("train", "val", "test").index(one.split))
        if id(second) in told or first.look.fingerprint == second.look.fingerprint:
            continue
        told.add(id(second))
        message = f"nearly the same image as {first.split}'s {first.name}, in {second.split}."
        remedy = "Keep both in one split: scores on images seen in training are inflated."
        problems.append(Problem("warning", "near-copy-across-splits", second.name, message, remedy))
    return problems


def thumbnail_distance(a: ImageInspection, b: ImageInspection) -> float:
    """Mean absolute difference of two thumbnails, 0–255."""
    left = np.frombuffer(a.thumbnail, np.uint8).astype(np.float32)
    return float(np.abs(left - np.frombuffer(b.thumbnail, np.uint8)).mean())


def usual_distance(seen: Sequence[InspectedImage]) -> float:
    """The usual distance of two images of the dataset: the median of `distances_apart`."""
    apart = distances_apart(seen)
    return float(np.median(apart)) if len(apart) else 0.0


def distances_apart(seen: Sequence[InspectedImage]) -> NDArray[np.float64]:
    """Distances of 500 random pairs of images, drawn with a fixed seed."""
    picks = np.random.default_rng(0).integers(0, len(seen), (500, 2))
    return np.array([thumbnail_distance(seen[i].look, seen[j].look) for i, j in picks if i != j])


def frames_across_splits(seen: Sequence[InspectedImage]) -> list[Problem]:
    """Warnings for videos whose neighbouring frames are in different splits."""
    films: defaultdict[str, list[tuple[int, InspectedImage]]] = defaultdict(list)
    for one in seen:
        parts = numbered(one.path)
        if parts:
            films[parts[0]].append((parts[1], one))
    strangers = usual_distance(seen) if len(seen) > 2 else 0.0
    usual_detail = usual_agreement([one.look for one in seen]) if seen else 0.0
    problems = []
    for film, frames in sorted(films.items()):
        frames.sort(key=lambda frame: (frame[0], frame[1].name))
        if len(frames) < 4 or len({one.split for _, one in frames}) < 2:
            continue
        steps = np.diff([number for number, _ in frames])
        usual = max(float(np.median(steps[steps > 0])) if (steps > 0).any() else 1.0, 1.0)
        crossing = [
            (a, b) for (m, a), (n, b) in itertools.pairwise(frames) if a.split != b.split and 0 < n - m <= REACH * usual
        ]
        if len(crossing) < 2 or strangers == 0:
            continue
        between = float(np.median([thumbnail_distance(a.look, b.look) for a, b in crossing]))
        details = median_agreement([(a.look, b.look) for a, b in crossing[:MOST_COMPARED]])
        if between < FRAME_RATIO * strangers and details > usual_detail + FRAME_DETAIL:
            a, b = crossing[0]
            message = (
                f"{len(crossing)} pairs of neighbouring video frames are in different splits, such as {a.name} "
                f"({a.split}) and {b.name} ({b.split}); their difference is {between / strangers:.0%} of the usual "
                "one between two images."
            )
            remedy = "Hold out whole videos: scores on a neighbour of a training frame are inflated."
            problems.append(Problem("warning", "frames-across-splits", film.replace("#", "0"), message, remedy))
    return problems


def groups_across_splits(seen: Sequence[InspectedImage], told: Collection[str] = ()) -> list[Problem]:
    """A warning for groups (patients, scenes) in more than one split, inferred from names and confirmed by images.

    `told`: groups already reported as videos.
    """
    groups: defaultdict[str, list[InspectedImage]] = defaultdict(list)
    for one in seen:
        groups[group_of(one.path)].append(one)
    several = {group: ones for group, ones in groups.items() if len(ones) > 1}
    crossing = {group: ones for group, ones in several.items() if len({one.split for one in ones}) > 1}
    if len(groups) < 3 or not crossing.keys() - set(told) or sum(map(len, several.values())) < 0.5 * len(seen):
        return []
    inside = [
        thumbnail_distance(ones[i].look, ones[(i + len(ones) // 2) % len(ones)].look)
        for ones in several.values()
        for i in range(min(len(ones), 8))
    ]
    apart = distances_apart(seen)
    if len(apart) == 0 or float(np.median(inside)) >= GROUP_RATIO * float(np.median(apart)):
        return []
    rng = np.random.default_rng(0)  # null distribution: how often are random pairs this close by chance?
    by_chance = np.median(rng.choice(apart, (CHANCES, min(len(inside), len(seen) // 2))), axis=1)
    if float((by_chance <= np.median(inside)).mean()) > MOST_BY_CHANCE:
        return []
    listed = ", ".join(sorted(crossing)[:5]) + (" …" if len(crossing) > 5 else "")
    message = f"{len(crossing)} of {len(groups)} groups of images (by name) are in more than one split: {listed}."
    remedy = "If these are patients, scenes or videos, keep each in one split; see the suggested split."
    return [Problem("warning", "groups-across-splits", ".", message, remedy)]


def suggested_split(seen: Sequence[InspectedImage]) -> dict[str, tuple[str, ...]]:
    """Groups by split: no group in two splits, about a fifth of the images in val. {} for fewer than 3 groups.

    Existing splits are kept where possible: a group goes to the split with most of its images, unless that leaves
    val empty or too large; test keeps its groups.
    """
    where: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in seen:
        where[group_of(one.path)][one.split] += 1
    if len(where) < 3:
        return {}
    chosen = {group: counts.most_common(1)[0][0] for group, counts in where.items()}
    trained = {group: sum(counts.values()) for group, counts in where.items() if chosen[group] != "test"}
    wanted = VAL_SHARE * sum(trained.values())
    if abs(_in_val(trained, chosen) - wanted) > 0.5 * wanted:
        for group in trained:
            chosen[group] = "train"
        filled = 0
        for group, size in sorted(trained.items(), key=lambda item: (item[1], item[0])):
            if filled < wanted and filled + size <= 1.5 * wanted:
                chosen[group] = "val"
                filled += size
        if not filled and len(trained) > 1:
            chosen[min(trained, key=lambda group: (trained[group], group))] = "val"
    return {
        split: tuple(sorted(group for group, its in chosen.items() if its == split))
        for split in ("train", "val", "test")
        if split in chosen.values()
    }


def _in_val(sizes: Mapping[str, int], chosen: Mapping[str, str]) -> int:
    return sum(size for group, size in sizes.items() if chosen[group] == "val")
