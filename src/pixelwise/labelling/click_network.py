"""Clicks → an object, by a small network that compares places with those clicked: `model/click_decoder.py`, exported.

It looks at a square around the region so far and the clicks, resized to 256×256 pixels, and at a larger one where the
object reaches beyond it. Nothing of the region is left outside the square.

Shapes: H, W the size of the picture; K clicks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.labelling.click_points import Click
from pixelwise.labelling.encoder_features import FeatureSession, opened
from pixelwise.labelling.patch import Mask, Window
from pixelwise.prediction.engines.engine import usable_cores
from pixelwise.records import Pixels

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BUILT_IN = Path(__file__).parents[1] / "built_in" / "features" / "clicks.onnx"
SIDE_PX = 256  # of the square that the network is given
MOST_CLICKS = 24  # that it is given: the last ones
DISC_PX = 4  # radius of a click, in the square
GROWN = 2.0  # side of the square over the longer side of what it is laid around
LEAST_PX = 48  # side of the square, in pixels of the picture
REACHES = 0.1  # part of a side of the square: an object that covers more of it goes on beyond
WIDENED = 1.6  # times the side of the square, where the object goes on
OUTSIDE = -9.0  # logits where the network did not look


def object_at(shown_HW3: Pixels, clicks: Sequence[Click], before_HW: Mask, features: FeatureSession) -> Mask:
    """The region that the clicks mean: bool [H, W]. Clicks may lie on its wrong side by a little.

    Args:
        shown_HW3: the picture.
        clicks: in the order in which they were made, at least one.
        before_HW: the region before the last of them; empty before the first.
        features: the encoder.

    Raises:
        BundleError: a graph cannot be run.
    """
    square = square_around(before_HW, clicks)
    while True:
        logits = logits_of(shown_HW3, square, clicks, before_HW, features)
        if square.w >= max(before_HW.shape) or not goes_on(logits > 0, square, before_HW.shape):
            return put_back(logits, square, before_HW.shape) > 0
        square = around(square, round(square.w * WIDENED), before_HW.shape)


def logits_of(
    shown_HW3: Pixels, square: Window, clicks: Sequence[Click], before_HW: Mask, features: FeatureSession
) -> NDArray[np.float32]:
    """What the network says of a square: logits [256, 256]."""
    scale = SIDE_PX / square.w
    points = [
        (int((one.x + 0.5 - square.x) * scale), int((one.y + 0.5 - square.y) * scale), one.positive)
        for one in clicks
        if square.x <= one.x < square.x + square.w and square.y <= one.y < square.y + square.h
    ]
    picture = taken(shown_HW3, square)
    region = (taken(before_HW.view(np.uint8) * np.uint8(255), square, repeat=False) > 127).view(np.uint8)
    maps = {f"stride{one.stride}": one.values_hwC for one in features.maps(picture)}
    given = {**maps, "image": picture, "region": region, **guides(points[-MOST_CLICKS:])}
    return np.asarray(session_of(BUILT_IN).run(None, given)[0], np.float32)


def goes_on(inside_hw: Mask, square: Window, size: tuple[int, ...]) -> bool:
    """Whether the object reaches a side of the square beyond which the picture goes on."""
    sides = (
        (square.y > 0, inside_hw[0]),
        (square.x > 0, inside_hw[:, 0]),
        (square.y + square.h < size[0], inside_hw[-1]),
        (square.x + square.w < size[1], inside_hw[:, -1]),
    )
    return any(more and float(side.mean()) > REACHES for more, side in sides)


def square_around(region_HW: Mask, clicks: Sequence[Click]) -> Window:
    """The square that is looked at: around the region and the clicks; it may reach beyond the picture where that is
    smaller."""
    xs, ys = [one.x for one in clicks], [one.y for one in clicks]
    found = Window.around(region_HW)
    if found is not None:
        xs, ys = [*xs, found.x, found.x + found.w - 1], [*ys, found.y, found.y + found.h - 1]
    longer = max(max(xs) - min(xs), max(ys) - min(ys)) + 1
    held = Window(min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1)
    return around(held, max(round(longer * GROWN), LEAST_PX), region_HW.shape)


def around(held: Window, side: int, size: tuple[int, ...]) -> Window:
    """A square around the middle of a window, at most as large as the picture's longer side."""
    side = min(side, max(size))
    x = start(held.x + held.w // 2, side, size[1])
    return Window(x, start(held.y + held.h // 2, side, size[0]), side, side)


def start(middle: int, side: int, length: int) -> int:
    """Where the square begins: inside the picture if it fits, else around it."""
    return (length - side) // 2 if side >= length else min(max(middle - side // 2, 0), length - side)


def taken(values_HW: NDArray[np.uint8], square: Window, *, repeat: bool = True) -> NDArray[np.uint8]:
    """The square, resized to SIDE_PX; outside the picture its edge is repeated, or 0."""
    height, width = values_HW.shape[:2]
    part = square.clipped(height, width)
    top, left = part.y - square.y, part.x - square.x
    border = cv2.BORDER_REPLICATE if repeat else cv2.BORDER_CONSTANT
    whole = cv2.copyMakeBorder(
        values_HW[part.slices], top, square.h - top - part.h, left, square.w - left - part.w, border
    )
    how = cv2.INTER_AREA if square.w > SIDE_PX else cv2.INTER_LINEAR
    result: Any = cv2.resize(whole, (SIDE_PX, SIDE_PX), interpolation=how)
    return np.asarray(result, np.uint8)


def put_back(logits: NDArray[np.float32], square: Window, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Logits of the square as those of the whole picture: [H, W]."""
    result = np.full(size, OUTSIDE, np.float32)
    large: Any = cv2.resize(logits, (square.w, square.h), interpolation=cv2.INTER_LINEAR)
    part = square.clipped(*size)
    result[part.slices] = large[part.y - square.y :, part.x - square.x :][: part.h, : part.w]
    return result


def guides(points: Sequence[tuple[int, int, bool]]) -> dict[str, NDArray[Any]]:
    """Clicks in the square as the network's inputs."""
    discs = np.zeros((2, SIDE_PX, SIDE_PX), np.uint8)
    clicks, sides = np.zeros((MOST_CLICKS, 2), np.float32), np.zeros((2, MOST_CLICKS), np.float32)
    for place, (x, y, positive) in enumerate(points):
        side = 0 if positive else 1
        cv2.circle(discs[side], (x, y), DISC_PX, 1, -1)
        clicks[place], sides[side, place] = (x, y), 1
    return {"discs": discs, "clicks": clicks, "sides": sides}


@lru_cache(maxsize=2)
def session_of(path: Path) -> InferenceSession:
    """The network, opened once. Raises BundleError: it cannot be read or loaded."""
    return opened(path, "network of the click tool", usable_cores())
