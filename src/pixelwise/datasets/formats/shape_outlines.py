"""Shapes that annotation tools draw besides polygons, as the outline that `polygons.fill` fills.

All in pixels: x to the right, y down, from the image's top left corner. Angles in degrees, clockwise on the screen.
"""

from __future__ import annotations

import math

import numpy as np

from pixelwise.datasets.formats.polygons import Polygon

MOST_CORNERS = 2048


def box_of(left: float, top: float, right: float, bottom: float, degrees: float = 0.0) -> Polygon:
    """A box [4, 2], turned about its centre."""
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    return turned(corners, ((left + right) / 2, (top + bottom) / 2), degrees)


def ellipse_of(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0.0) -> Polygon:
    """An ellipse about (x, y), turned about its centre, with corners as close as pixels are."""
    around = min(max(64, math.ceil(math.pi * (abs(radius_x) + abs(radius_y)))), MOST_CORNERS)
    angles = np.linspace(0, 2 * np.pi, around, endpoint=False)
    corners = np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)
    return turned(corners, (x, y), degrees)


def turned(polygon: Polygon, about: tuple[float, float], degrees: float) -> Polygon:
    """A polygon turned clockwise about a point."""
    if not degrees:
        return polygon
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    offset = polygon - about
    x = offset[:, 0] * cos - offset[:, 1] * sin
    y = offset[:, 0] * sin + offset[:, 1] * cos
    return np.asarray(np.stack([x, y], axis=1).round(9) + about)  # rounded: a quarter turn ends on the pixels' edges
