"""Paint shapes into a mask, and count the pixels where one class hides another.

A pixel of a mask has one class. Readers that draw many shapes or files into one mask paint through this module, so that
a check can report what is hidden: no pixel is lost in silence.

Shapes: [h, w], the part of a mask that a shape covers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.decode import MaskIds

Hidden = Counter[tuple[int, int]]  # (value that is hidden, value that is kept) → pixels

recorded: ContextVar[Hidden | None] = ContextVar("recorded", default=None)


@contextmanager
def recording_overlaps() -> Iterator[Hidden]:
    """Count overlaps of all masks that are read inside, in this thread."""
    hidden: Hidden = Counter()
    token = recorded.set(hidden)
    try:
        yield hidden
    finally:
        recorded.reset(token)


def paint(place_hw: MaskIds, own_hw: NDArray[np.bool_], value: int) -> None:
    """Write `value` into the pixels `own_hw` of a mask's part; it hides what another shape painted there."""
    if (hidden := recorded.get()) is not None:
        for other, pixels in others_in(place_hw[own_hw], value):
            hidden[other, value] += pixels
    place_hw[own_hw] = value


def stay_below(place_hw: MaskIds, own_hw: NDArray[np.bool_], value: int) -> None:
    """Count the pixels `own_hw` of a shape of `value` that are not painted, because what is there stays on top."""
    if (hidden := recorded.get()) is not None:
        for other, pixels in others_in(place_hw[own_hw], value):
            hidden[value, other] += pixels


def others_in(values_N: NDArray[Any], value: int) -> Iterator[tuple[int, int]]:
    """Every value but `value` and 0, at which nothing is painted, and its pixels."""
    others_N = values_N[(values_N != 0) & (values_N != value)]
    if len(others_N):
        found, counts = np.unique(others_N, return_counts=True)
        yield from zip(found.tolist(), counts.tolist(), strict=True)
