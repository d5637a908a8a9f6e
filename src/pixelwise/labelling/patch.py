"""Rectangles of an image, and what an edit changes in one.

Shapes: H, W height and width of the image; h, w of the rectangle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import UsageError

Keys = NDArray[np.uint8]  # [H, W] class keys, 255 where not labelled
Mask = NDArray[np.bool_]  # [H, W]
MAX_KEY = 253  # the highest key of a class


@dataclass(frozen=True)
class Window:
    """A rectangle of an image, in pixels; column x and row y are its first."""

    x: int
    y: int
    w: int
    h: int

    @classmethod
    def whole(cls, height: int, width: int) -> Window:
        """All of an image of this size."""
        return cls(0, 0, width, height)

    @classmethod
    def around(cls, inside: Mask) -> Window | None:
        """The smallest one that holds all true pixels of a mask [H, W]; None if it has none."""
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            return None
        y, x = int(rows[0]), int(columns[0])
        return cls(x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns, to index an array [H, W, …]."""
        return slice(self.y, self.y + self.h), slice(self.x, self.x + self.w)

    def grown(self, by: int) -> Window:
        """Larger by this many pixels on each side; it may then reach beyond the image."""
        return Window(self.x - by, self.y - by, self.w + 2 * by, self.h + 2 * by)

    def clipped(self, height: int, width: int) -> Window:
        """The part of it inside an image of this size.

        Raises:
            UsageError: no pixel of it is inside.
        """
        inside = self.overlap(Window.whole(height, width))
        if inside is None:
            raise UsageError(
                f"The window of {self.w}×{self.h} pixels at column {self.x}, row {self.y} holds no pixel of the image "
                f"of {width}×{height}. Choose one inside the image."
            )
        return inside

    def overlap(self, other: Window) -> Window | None:
        """What both hold; None if they have no pixel in common."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.x + self.w, other.x + other.w), min(self.y + self.h, other.y + other.h)
        return Window(left, top, right - left, bottom - top) if right > left and bottom > top else None

    def within(self, outer: Window) -> Window:
        """The same rectangle, counted from the first pixel of another one."""
        return Window(self.x - outer.x, self.y - outer.y, self.w, self.h)

    def tiles(self, side: int) -> Iterator[Window]:
        """Squares of at most this side that cover it, row by row."""
        for y in range(self.y, self.y + self.h, side):
            for x in range(self.x, self.x + self.w, side):
                yield Window(x, y, min(side, self.x + self.w - x), min(side, self.y + self.h - y))


@dataclass(frozen=True)
class Patch:
    """New values of some pixels of a rectangle."""

    x: int  # column and row of its first pixel in the image
    y: int
    values_hw: Keys  # uint8 [h, w]; 255 where not labelled; counts only where `changed_hw`
    changed_hw: Mask  # bool [h, w]

    def __post_init__(self) -> None:
        if self.values_hw.shape != self.changed_hw.shape or self.values_hw.ndim != 2:
            raise ValueError(
                f"values {list(self.values_hw.shape)}, changed {list(self.changed_hw.shape)}; not one [h, w]"
            )

    @classmethod
    def between(cls, before_HW: Keys, after_HW: Keys, x: int = 0, y: int = 0) -> Patch:
        """What changed from one mask to another, cut to the smallest rectangle; [0, 0] if nothing changed.

        Args:
            x, y: column and row in the image of the masks' first pixel.
        """
        changed = before_HW != after_HW
        inside = Window.around(changed)
        if inside is None:
            return cls(x, y, np.empty((0, 0), np.uint8), np.empty((0, 0), np.bool_))
        cut = inside.slices
        return cls(x + inside.x, y + inside.y, after_HW[cut].copy(), changed[cut].copy())

    @property
    def window(self) -> Window:
        height, width = self.values_hw.shape
        return Window(self.x, self.y, width, height)

    @property
    def pixels(self) -> int:
        """How many pixels it changes."""
        return int(np.count_nonzero(self.changed_hw))

    def apply(self, keys_HW: Keys) -> None:
        """Write its values into a mask, in place."""
        np.copyto(keys_HW[self.window.slices], self.values_hw, where=self.changed_hw)


@dataclass(frozen=True)
class Region:
    """One object: the true pixels of a rectangle."""

    x: int
    y: int
    mask_hw: Mask  # bool [h, w]

    @property
    def window(self) -> Window:
        height, width = self.mask_hw.shape
        return Window(self.x, self.y, width, height)
