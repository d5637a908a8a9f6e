"""Content of a file that is not used: channels beyond red, green and blue, pages beyond the first, bits beyond eight.

Nothing is dropped silently: `predict` reports it per image, `check` and `train` per dataset.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.images.decoder_limits import MOST_FRAMES

CHANNELS, PAGES, DEPTH, LEFT_OVER = "unused-channels", "more-pages", "reduced-depth", "left-over-bytes"


class DroppedContent(NamedTuple):
    """One part of an image's file that is not used."""

    kind: str  # short and stable: one of the constants above
    what: str  # "the 4th channel varies (60 to 209)"
    so: str  # "is not used", or what is used instead

    def sentence(self, used: str = "used") -> str:
        return f"{self.what}{self.so.format(used=used)}."


def pages_dropped(pages: int, page: str = "page") -> tuple[DroppedContent, ...]:
    """The unused pages of a file with `pages` pictures."""
    if pages < 2:
        return ()
    number = f"more than {MOST_FRAMES:,}" if pages > MOST_FRAMES else f"{pages:,}"
    return (DroppedContent(PAGES, f"{number} {page}s", ", the first is {used}"),)


def depth_dropped(bits: int) -> tuple[DroppedContent, ...]:
    if bits <= 8:
        return ()
    return (DroppedContent(DEPTH, f"{bits}-bit values", " are reduced to 8 bits: the full range becomes 0–255"),)


def channel_dropped(values_HW: NDArray[Any], number: int = 4) -> tuple[DroppedContent, ...]:
    """An unused channel, reported unless it is constant."""
    if values_HW.dtype == np.uint8 or values_HW.dtype == np.uint16:
        lowest, highest, _, _ = cv2.minMaxLoc(values_HW)
    else:
        lowest, highest = values_HW.min(), values_HW.max()
    return varying_channel(int(lowest), int(highest), number)


def varying_channel(lowest: int, highest: int, number: int = 4) -> tuple[DroppedContent, ...]:
    if lowest >= highest:
        return ()
    nth = {2: "2nd", 4: "4th"}.get(number, f"{number}th")
    return (DroppedContent(CHANNELS, f"the {nth} channel varies ({lowest} to {highest})", " and is not used"),)


def bands_dropped(first: int, last: int) -> tuple[DroppedContent, ...]:
    """Unused bands that the decoder does not return; their content is unknown."""
    if last < first:
        return ()
    which = f"band {first}" if first == last else f"bands {first} to {last}"
    return (DroppedContent(CHANNELS, f"{which} of {last}", f" {'is' if first == last else 'are'} not used"),)
