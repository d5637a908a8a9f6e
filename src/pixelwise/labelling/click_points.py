"""Clicks on an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pixelwise.errors import UsageError
from pixelwise.labelling.patch import Window

MAX_CLICKS = 1000


class Click(NamedTuple):
    """A pixel that belongs to the object, or does not."""

    x: int  # column
    y: int  # row
    positive: bool = True


def check_clicks(points: Sequence[tuple[int, int, bool]], window: Window) -> list[Click]:
    """The points as clicks.

    Raises:
        UsageError: none is positive, there are more than 1,000, or one lies outside the window.
    """
    clicks = [Click(int(x), int(y), bool(positive)) for x, y, positive in points]
    if not any(one.positive for one in clicks):
        raise UsageError("No click lies on the object. Click on the object first, then on what does not belong to it.")
    if len(clicks) > MAX_CLICKS:
        raise UsageError(f"{len(clicks):,} clicks; at most {MAX_CLICKS:,}. Accept the object and start another.")
    for x, y, _ in clicks:
        if not (0 <= x - window.x < window.w and 0 <= y - window.y < window.h):
            raise UsageError(
                f"The click at column {x}, row {y} lies outside the window of {window.w}×{window.h} pixels at column "
                f"{window.x}, row {window.y}."
            )
    return clicks
