"""Where a model is uncertain in an unlabelled image: the windows with the highest entropy.

Shapes: C classes; h, w the size of the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.records import ClassList
from pixelwise.softmax import entropy

REGIONS = 3  # listed for an image
WINDOW = 4  # a region is 1/WINDOW of the image's height and width


@dataclass(frozen=True)
class UnsureRegion:
    """A part of an image where a label would help most."""

    x: int
    y: int
    width: int
    height: int  # pixels of the image
    uncertainty: float  # mean entropy inside, 0–1
    weight: float  # its share of the image's total uncertainty, 0–1
    between: tuple[str, str]  # the two most probable classes

    def to_json(self) -> dict[str, Any]:
        return {"x": self.x, "y": self.y, "width": self.width, "height": self.height,
                "uncertainty": self.uncertainty, "weight": self.weight, "between": list(self.between)}  # fmt: skip


def unsure_regions(
    probability_Chw: NDArray[np.floating], height: int, width: int, classes: ClassList
) -> tuple[UnsureRegion, ...]:
    """The most uncertain windows of an image of height × width pixels, in order, without overlaps.

    A window has a quarter of the image's height and width.
    """
    entropy_hw = entropy(probability_Chw.astype(np.float64))
    h, w = entropy_hw.shape
    down, across = max(h // WINDOW, 1), max(w // WINDOW, 1)
    sums_hw = cv2.integral(entropy_hw)
    held_yx = sums_hw[down:, across:] - sums_hw[:-down, across:] - sums_hw[down:, :-across] + sums_hw[:-down, :-across]
    total = float(entropy_hw.sum())
    average = total * down * across / (h * w)
    found: list[UnsureRegion] = []
    while len(found) < REGIONS and held_yx.max() > average * 1.01:  # a uniform image has no region that stands out
        y, x = (int(place) for place in np.unravel_index(int(held_yx.argmax()), held_yx.shape))
        likely = probability_Chw[:, y : y + down, x : x + across].mean(axis=(1, 2)).argsort()[::-1]
        left, top = x * width // w, y * height // h
        right, bottom = -(-(x + across) * width // w), -(-(y + down) * height // h)
        between = classes.names[int(likely[0])], classes.names[int(likely[1])]
        held = float(held_yx[y, x])
        sure = held / (down * across), held / total
        found.append(UnsureRegion(left, top, right - left, bottom - top, *sure, between))
        held_yx[max(y - down + 1, 0) : y + down, max(x - across + 1, 0) : x + across] = 0
    return tuple(found)
