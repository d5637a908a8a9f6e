"""A simulated annotator: strokes where the current result is wrong, as a careful person draws them.

The usual protocol of interactive segmentation: first one stroke in the largest region of every class that the image
shows; then, again and again, one in the largest connected region of errors of one class, through its middle and along
it. A stroke is 5 pixels wide, at most a tenth of the image's longer side long, and covers no pixel of another class.

Shapes: H, W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

VOID = 255
WIDTH_PX = 5
LENGTH = 10  # a stroke is at most 1/LENGTH of the longer side
STEP_PX = 3

Keys = NDArray[np.uint8]  # [H, W] classes, VOID where unlabelled
Proposer = Callable[[Keys], Keys]  # strokes so far → the class of every pixel


@dataclass(frozen=True)
class Progress:
    """The score after a number of strokes."""

    strokes: int
    score: float


def annotate(truth_HW: Keys, classes: int, propose: Proposer, score: Callable[[Keys], float],
             goal: float, most: int, start_HW: Keys | None = None) -> Iterator[Progress]:  # fmt: skip
    """Draw until the score reaches `goal` or `most` strokes are drawn.

    Args:
        start_HW: the result before the first stroke, where there is a model. None: the first strokes are one a class.
    """
    drawn_HW, number = np.full_like(truth_HW, VOID), 0
    result_HW = start_HW
    if result_HW is None:
        for key in range(classes):
            if (truth_HW == key).any():
                draw(drawn_HW, largest_region(truth_HW == key)[0], truth_HW, key)
                number += 1
        result_HW = propose(drawn_HW)
    while True:
        reached = score(result_HW)
        yield Progress(number, reached)
        if reached >= goal or number >= most:
            return
        draw(drawn_HW, *largest_error(result_HW, truth_HW, classes))
        number += 1
        result_HW = propose(drawn_HW)


def largest_error(result_HW: Keys, truth_HW: Keys, classes: int) -> tuple[NDArray[np.bool_], Keys, int]:
    """The largest connected region of wrong pixels of one true class; the truth; that class."""
    best: tuple[int, NDArray[np.bool_], int] = (0, np.zeros(truth_HW.shape, bool), 0)
    for key in range(classes):
        wrong_HW = (truth_HW == key) & (result_HW != key)
        if np.count_nonzero(wrong_HW) > best[0]:
            region_HW, pixels = largest_region(wrong_HW)
            if pixels > best[0]:
                best = (pixels, region_HW, key)
    return best[1], truth_HW, best[2]


def largest_region(mask_HW: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    _, labels_HW, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8), connectivity=8)
    number = int(stats[1:, cv2.CC_STAT_AREA].argmax()) + 1
    return labels_HW == number, int(stats[number, cv2.CC_STAT_AREA])


def draw(drawn_HW: Keys, region_HW: NDArray[np.bool_], truth_HW: Keys, key: int) -> None:
    """One stroke through the middle of a region, in place."""
    line_HW = np.zeros(truth_HW.shape, np.uint8)
    points = middle_line(region_HW, max(truth_HW.shape) / LENGTH - WIDTH_PX)
    cv2.polylines(line_HW, [np.array([*points, points[-1]], np.int32)], False, 1, WIDTH_PX)  # one point draws nothing
    drawn_HW[(line_HW > 0) & (truth_HW == key)] = key


def middle_line(region_HW: NDArray[np.bool_], length_px: float) -> list[tuple[int, int]]:
    """A line of at most `length_px` along the ridge of the region's distance to its outline, from its middle both ways.

    From the point farthest from the outline, each way goes step by step to the nearby point farthest from the outline,
    turning by at most 45 degrees.
    """
    inside_HW = cv2.distanceTransform(np.pad(region_HW, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(inside_HW.argmax()), inside_HW.shape)
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ends = [reach(inside_HW, float(x), float(y), angle, length_px / 2) for angle in angles]
    heading = angles[int(np.argmax(ends))]
    ways = [walk(inside_HW, float(x), float(y), heading + turn, length_px / 2) for turn in (0, np.pi)]
    return [*ways[1][::-1], (int(x), int(y)), *ways[0]]


def reach(inside_HW: NDArray[np.float32], x: float, y: float, angle: float, length_px: float) -> float:
    """How far a straight line stays inside, both ways, and how deep it lies."""
    total = 0.0
    for sign in (-1, 1):
        for step in np.arange(1, max(length_px, 1)):
            depth = depth_at(inside_HW, x + sign * step * np.cos(angle), y + sign * step * np.sin(angle))
            if depth < 1:
                break
            total += 1 + depth * 1e-3
    return total


def walk(inside_HW: NDArray[np.float32], x: float, y: float, heading: float, length_px: float) -> list[tuple[int, int]]:
    points: list[tuple[int, int]] = []
    for _ in range(int(length_px / STEP_PX)):
        turns = heading + np.linspace(-np.pi / 4, np.pi / 4, 7)
        depths = [depth_at(inside_HW, x + STEP_PX * np.cos(a), y + STEP_PX * np.sin(a)) for a in turns]
        found = [depth - 0.1 * abs(a - heading) for depth, a in zip(depths, turns, strict=True)]
        best = int(np.argmax(found))
        if depths[best] < 1:
            break
        heading = turns[best]
        x, y = x + STEP_PX * np.cos(heading), y + STEP_PX * np.sin(heading)
        points.append((round(x), round(y)))
    return points


def depth_at(inside_HW: NDArray[np.float32], x: float, y: float) -> float:
    row, column = round(y), round(x)
    if not (0 <= row < inside_HW.shape[0] and 0 <= column < inside_HW.shape[1]):
        return 0.0
    return float(inside_HW[row, column])
