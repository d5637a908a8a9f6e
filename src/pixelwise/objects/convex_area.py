"""The number of pixels in the convex hull of each object, for all objects of an image at once.

As scikit-image counts them: the hull is that of the middles of the pixels' sides, and pixels whose centre lies on it
belong to it. It depends only on the first and last pixel of each row. All coordinates are doubled, so that they are
whole numbers.

Shapes: U rows of objects, sorted by object and row; P points of one side of the hulls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]


def convex_areas(extremes: NDArray[np.int32], number: int) -> NDArray[np.int64]:
    """Pixels of the convex hull of objects 0 … `number`, given object, row, first and last column of their rows."""
    order = np.lexsort((extremes[1], extremes[0]))
    object_U, row_U, first_U, last_U = (values[order].astype(np.int64) for values in extremes)
    left_U = hull_columns(object_U, row_U, first_U)
    right_U = -hull_columns(object_U, row_U, -last_U)
    return np.bincount(object_U, right_U - left_U + 1, number + 1).astype(np.int64)


def hull_columns(object_U: Whole, row_U: Whole, first_U: Whole) -> Whole:
    """The first column whose pixels' centres lie in the hull, in every row of every object."""
    # Points between two rows and in the middle of each: x doubled at y doubled, for the left side of the hull.
    y = np.stack([2 * row_U - 1, 2 * row_U, 2 * row_U + 1], axis=1).ravel()
    x = np.stack([2 * first_U, 2 * first_U - 1, 2 * first_U], axis=1).ravel()
    owner = np.repeat(object_U, 3)
    order = np.lexsort((x, y, owner))
    owner, y, x = owner[order], y[order], x[order]
    new = (np.diff(owner, prepend=-1) != 0) | (np.diff(y, prepend=y[:1] - 1) != 0)
    owner, y, x = owner[new], y[new], x[new]  # of two points at one height, the left one
    while True:
        kept = convex(owner, y, x)
        if kept.all():
            break
        owner, y, x = owner[kept], y[kept], x[kept]
    span = np.int64(y.max(initial=0) - y.min(initial=0) + 8)
    low = y.min(initial=0)
    place = np.searchsorted(owner * span + (y - low), object_U * span + (2 * row_U - low), side="right")
    before, after = place - 1, place  # a hull ends half a row below its last one
    rise, run = x[after] - x[before], y[after] - y[before]
    scaled = x[before] * run + rise * (2 * row_U - y[before])  # the hull's doubled x, times `run`
    return np.asarray(-(-scaled // (2 * run)))


def convex(owner: Whole, y: Whole, x: Whole) -> NDArray[np.bool_]:
    """Whether each point lies strictly left of the line between the points before and after it, or ends its object.

    One that does not is no corner of the hull, whatever happens to its neighbours.
    """
    kept = np.ones(len(owner), np.bool_)
    inner = (owner[1:-1] == owner[:-2]) & (owner[1:-1] == owner[2:])
    cross = (x[1:-1] - x[:-2]) * (y[2:] - y[:-2]) - (x[2:] - x[:-2]) * (y[1:-1] - y[:-2])
    kept[1:-1] = ~inner | (cross < 0)
    return kept
