"""The four stages of every prediction, as `flow` events made from the stages' real outputs.

1. input image → 2. preprocess → 3. model → 4. pixel-wise classification
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import ClassList
from pixelwise.reports.pictures import data_url
from pixelwise.trace_events import Event

STAGES = ("input image", "preprocess", "model", "pixel-wise classification")
THUMBNAIL_PX = 96  # longest side


def flow_event(
    stage: str, array: NDArray[Any], milliseconds: float, *, picture: NDArray[np.uint8] | None = None, **more: Any
) -> Event:
    """A stage's output: shape, type, range and time, and a thumbnail if there is a picture.

    Args:
        stage: one of STAGES.
        array: the output, height × width first.
        milliseconds: time that the stage took.
        picture: of the output, uint8 [H, W, 3].
        more: further fields, such as the number of classes.
    """
    minimum, maximum = extremes(array)
    event: Event = {
        "event": "flow",
        "stage": stage,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "minimum": minimum,
        "maximum": maximum,
        "milliseconds": round(milliseconds, 3),
        **more,
    }
    if picture is not None:
        event["thumbnail"] = thumbnail(picture)
    return event


def extremes(array: NDArray[Any]) -> tuple[float, float]:
    """The lowest and the highest value, without those that are missing (NaN, infinite)."""
    low, high = float(array.min()), float(array.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    known = array[np.isfinite(array)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def thumbnail(picture_HW3: NDArray[np.uint8]) -> str:
    """A small PNG of the picture as a data URL."""
    return data_url(picture_HW3, THUMBNAIL_PX, lossless=True)


def coloured(labels_HW: NDArray[np.uint8], classes: ClassList) -> NDArray[np.uint8]:
    """Labels as a picture, each class in its colour, void black. Returns uint8 [H, W, 3]."""
    return classes.palette()[labels_HW]
