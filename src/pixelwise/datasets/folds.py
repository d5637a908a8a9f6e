"""Divide samples into the folds of a cross-validation: every sample is held out exactly once, groups stay whole."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pixelwise.datasets.groups import Groups, found_groups
from pixelwise.errors import UsageError
from pixelwise.images.files import shown
from pixelwise.records import Sample

FEWEST = 2  # folds
DIGITS = re.compile(r"(\d+)")

T = TypeVar("T")


def pooled_groups(splits: Mapping[str, Sequence[Sample]], rule: str | bool = True) -> Groups:
    """The groups of several splits together.

    A folder that is a whole split ("train/0001", "train/0002" …) looks like a film or a volume, but is none, unless the
    files or dataset.toml say so.

    Args:
        splits: the samples of each split.
        rule: dataset.toml's `groups`, see `found_groups`.
    """
    groups = found_groups([sample for samples in splits.values() for sample in samples], rule)
    if isinstance(rule, str) or any(sample.group for samples in splits.values() for sample in samples):
        return groups
    wholes = [{groups.of.get(sample.name, "") for sample in samples} for samples in splits.values() if samples]
    if len(wholes) > 1 and len(groups) == len(wholes) and all(len(whole) == 1 for whole in wholes):
        return Groups({})
    return groups


def grouped_folds(
    samples: Sequence[Sample], k: int, seed: int = 0, groups: Groups | None = None
) -> list[tuple[list[Sample], list[Sample]]]:
    """The training and the held-out samples of each of `k` folds, both in the order of `samples`.

    Held-out parts differ in size by at most the largest group; without groups, by at most one sample. The result
    depends on the names, the groups and the seed only, not on the order. Where all samples are one group, such as the
    slices of one stack, each held-out part is a block of consecutive samples.

    Args:
        samples: with different names.
        k: number of folds, 2 or more.
        seed: seed of the assignment; blocks of one group do not depend on it.
        groups: which samples stay together. None: detected, see `groups`.

    Raises:
        UsageError: fewer than two folds, or fewer groups or samples than folds.
    """
    if k < FEWEST:
        raise UsageError(f"{k} folds: a cross-validation needs at least {FEWEST}.")
    groups = found_groups(samples) if groups is None else groups
    units: defaultdict[str, list[str]] = defaultdict(list)
    for sample in samples:
        group = groups.of.get(sample.name, "")
        units[f"group {group}" if group else f"name {sample.name}"].append(sample.name)
    if len(units) == 1 and len(samples) >= k:
        held_out: Sequence[Sequence[str]] = blocks(sorted((sample.name for sample in samples), key=natural), k)
    else:
        require_enough(len(units), len(samples), k, groups)
        held_out = evenly_dealt(units, k, seed)
    folds = []
    for part in held_out:
        names = set(part)
        folds.append(([s for s in samples if s.name not in names], [s for s in samples if s.name in names]))
    return folds


def require_enough(units: int, samples: int, k: int, groups: Groups) -> None:
    """Raise UsageError where a fold would hold out nothing."""
    if units >= k:
        return
    if samples < k or not groups.of:
        raise UsageError(
            f"{k} folds, but only {samples} labelled images: every fold holds out at least one. Choose at most "
            f"--folds {samples}, or add labelled images."
            if samples >= FEWEST
            else f"{k} folds, but only {samples} labelled image: add labelled images."
        )
    example = shown(next(iter(groups.of.values())).rstrip("/"))
    raise UsageError(
        f"{k} folds, but the {samples} labelled images are of only {units} groups, which stay whole ({groups.why}, "
        f"such as {example}). Choose at most --folds {units}; `groups = false` in dataset.toml divides pair by pair."
    )


def evenly_dealt(units: dict[str, list[str]], k: int, seed: int) -> list[list[str]]:
    """The names of each fold: the largest unit first, always to the fold with the fewest names; equals by a hash."""
    folds: list[list[str]] = [[] for _ in range(k)]
    for unit in sorted(units, key=lambda unit: (-len(units[unit]), place(unit, seed), unit)):
        min(folds, key=len).extend(units[unit])
    return folds


def blocks(ordered: Sequence[T], k: int) -> list[Sequence[T]]:
    """`k` consecutive parts, whose sizes differ by at most one."""
    count = len(ordered)
    return [ordered[count * i // k : count * (i + 1) // k] for i in range(k)]


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """A key that sorts slice 2 before slice 10."""
    pieces = (piece for piece in DIGITS.split(name) if piece)
    return tuple((0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces)


def place(name: str, seed: int) -> str:
    """A place in an order that depends only on the seed and the name."""
    return hashlib.sha256(f"fold {seed}:".encode() + os.fsencode(name)).hexdigest()
