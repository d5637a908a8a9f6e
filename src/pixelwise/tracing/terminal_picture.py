"""Pictures in a terminal: two pixels per character cell, drawn as the half block ▀ in two colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

CELL_SHAPE = 2  # a character cell is about twice as high as wide: half a cell is a square pixel
GAP = 2  # columns between pictures


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side, uint8 [H, W, 3], all of one shape. Nothing if the output is no colour terminal."""

    pictures: Sequence[NDArray[np.uint8]]
    names: Sequence[str]
    columns: int = 60  # of each picture, at most
    smooth: Sequence[bool] = ()  # False for labels, whose colours must not be mixed

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not console.is_terminal or console.color_system is None:
            return
        columns = min(self.columns, (options.max_width - GAP * (len(self.pictures) - 1)) // len(self.pictures))
        small = [
            shrunk(picture, columns, smooth)
            for picture, smooth in zip(self.pictures, self.smooth or [True] * len(self.pictures), strict=True)
        ]
        for name, picture in zip(self.names, small, strict=True):
            width = picture.shape[1]
            yield Segment(name[:width].ljust(width) + " " * GAP, Style(dim=True))
        yield Segment.line()
        for row in range(0, small[0].shape[0], CELL_SHAPE):
            for picture in small:
                for upper, lower in zip(picture[row], picture[row + 1], strict=True):
                    style = Style(color=Color.from_rgb(*map(int, upper)), bgcolor=Color.from_rgb(*map(int, lower)))
                    yield Segment("▀", style)
                yield Segment(" " * GAP)
            yield Segment.line()


def shrunk(picture_HW3: NDArray[np.uint8], columns: int, smooth: bool) -> NDArray[np.uint8]:
    """The picture at most `columns` px wide, with an even height."""
    height, width = picture_HW3.shape[:2]
    # A tall picture must not fill more than one screen.
    scale = min(columns / width, columns / height)
    new_width = max(round(width * scale), 1)
    new_height = max(round(height * scale / CELL_SHAPE), 1) * CELL_SHAPE
    kind = cv2.INTER_AREA if smooth else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture_HW3, (new_width, new_height), interpolation=kind), np.uint8)
