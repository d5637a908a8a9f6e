"""Live-wire: the path between two points that follows the edges of an image, by OpenCV's intelligent scissors.

Mortensen and Barrett, Intelligent scissors for image composition, SIGGRAPH 1995.

Shapes: H, W height and width in pixels; N bands.
"""

from __future__ import annotations

import cv2
import numpy as np
from cv2 import segmentation

from pixelwise.errors import UsageError
from pixelwise.labelling.patch import Window
from pixelwise.labelling.stretched_bands import three_channels
from pixelwise.records import Raster

SIDE_PX = 512  # of the square in which paths are sought
REACH_PX = 224  # of a square from its middle to a target; the rest lets paths bend outwards
CANNY = (32, 100)  # thresholds of the edges that paths follow
STEEPEST = 200.0  # gradients above count alike

Point = tuple[int, int]  # column, row


class EdgePaths:
    """Paths along edges from one anchor, which stays while the target moves with the pointer.

    Paths are sought in a square of 512×512 pixels around the anchor, built once. A target outside it is reached in a
    square of the same size of the image reduced by 2, 4, 8 …: the path is then exact to as many pixels.

    Args:
        image_HWN: [H, W, N], uint8, uint16 or float32; only the square is read.
        anchor: column and row of the first point.

    Raises:
        UsageError: the anchor lies outside the image.
    """

    def __init__(self, image_HWN: Raster, anchor: Point) -> None:
        self.image_HWN = image_HWN
        self.anchor = _inside(anchor, image_HWN, "anchor")
        self._built: dict[int, tuple[Window, segmentation.IntelligentScissorsMB]] = {}

    def to(self, target: Point) -> list[Point]:
        """The path from the anchor to the target, both included, each point beside the one before.

        At a reduction of 2 and more, points are that many pixels apart.

        Raises:
            UsageError: the target lies outside the image.
        """
        target = _inside(target, self.image_HWN, "target")
        far = max(abs(target[0] - self.anchor[0]), abs(target[1] - self.anchor[1]))
        reduction = 1
        while far > REACH_PX * reduction:
            reduction *= 2
        window, scissors = self._scissors(reduction)
        end = ((target[0] - window.x) // reduction, (target[1] - window.y) // reduction)
        found = scissors.getContour(end).reshape(-1, 2)
        half = (reduction - 1) // 2
        points = [(window.x + int(x) * reduction + half, window.y + int(y) * reduction + half) for x, y in found]
        if reduction == 1:
            return points
        return [self.anchor, *points[1:-1], target]

    def _scissors(self, reduction: int) -> tuple[Window, segmentation.IntelligentScissorsMB]:
        """The window whose reduced pixels are searched, and the search from the anchor."""
        if reduction not in self._built:
            height, width, _ = self.image_HWN.shape
            side, (x, y) = SIDE_PX * reduction, self.anchor
            window = Window(x - side // 2, y - side // 2, side, side).clipped(height, width)
            picture = three_channels(_reduced(self.image_HWN[window.slices], reduction))
            scissors = segmentation.IntelligentScissorsMB()
            scissors.setEdgeFeatureCannyParameters(*CANNY)
            scissors.setGradientMagnitudeMaxLimit(STEEPEST)
            scissors.applyImage(picture)
            scissors.buildMap(((x - window.x) // reduction, (y - window.y) // reduction))
            self._built[reduction] = window, scissors
        return self._built[reduction]


def edge_path(image_HWN: Raster, anchor: Point, target: Point) -> list[Point]:
    """The path between two points of an image that follows its edges.

    Args:
        image_HWN: [H, W, N].
        anchor, target: column and row.

    Raises:
        UsageError: a point lies outside the image.
    """
    return EdgePaths(image_HWN, anchor).to(target)


def _inside(point: Point, image_HWN: Raster, name: str) -> Point:
    height, width = image_HWN.shape[:2]
    x, y = int(point[0]), int(point[1])
    if not (0 <= x < width and 0 <= y < height):
        raise UsageError(f"The {name} at column {x}, row {y} lies outside the image of {width}×{height}.")
    return x, y


def _reduced(part_HWN: Raster, by: int) -> Raster:
    """Means of squares of this side; those at the right and bottom may be cut."""
    if by == 1:
        return part_HWN
    height, width, count = part_HWN.shape
    size = (-(-width // by), -(-height // by))
    planes = []
    for band in range(count):
        values = np.asarray(part_HWN[:, :, band], np.float32)
        padded = cv2.copyMakeBorder(values, 0, size[1] * by - height, 0, size[0] * by - width, cv2.BORDER_REPLICATE)
        planes.append(cv2.resize(padded, size, interpolation=cv2.INTER_AREA))
    return np.asarray(np.dstack(planes), np.float32)
