"""How a raster is cut into chips, and which split each goes to: by blocks of space, so that neighbours share a split.

Chips that touch are alike: with one in train and the other in val, a score shows memory, not skill. So whole blocks go
to a split, and of two neighbours in different splits one is left out, from train before val and from val before test.

Shapes: N chips, C classes, B blocks, P pairs of neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Window = tuple[int, int, int, int]  # top, left, height, width in pixels
LEFT_OUT, TRAIN, VAL, TEST = -1, 0, 1, 2
BLOCK_SIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24)  # of a block, in chips
SHUFFLES = 12
GAP = 0.25  # of a chip's side: chips nearer than this are neighbours


class Split(NamedTuple):
    """Where chips go."""

    of_N: NDArray[np.int64]  # LEFT_OUT, TRAIN, VAL or TEST
    block_N: NDArray[np.int64]  # number of the block


def windows_of(height: int, width: int, size: int) -> Iterator[Window]:
    """Parts of at most `size` pixels a side that cover a raster, of equal size to a pixel."""
    rows, columns = _edges(height, size), _edges(width, size)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield top, left, bottom - top, right - left


def _edges(length: int, size: int) -> list[int]:
    parts = -(-length // size)
    return [length * i // parts for i in range(parts + 1)]


def split_by_blocks(boxes_N4: NDArray[np.float64], pixels_NC: NDArray[np.int64], val: float, test: float) -> Split:
    """Divide chips by space: the division that loses few chips and has every class in every split.

    Args:
        boxes_N4: left, bottom, right, top of each chip in one CRS.
        pixels_NC: of each class.
        val, test: shares of the chips.

    Returns:
        A split in which TRAIN or VAL may be empty if there are too few chips.
    """
    sides = np.maximum(boxes_N4[:, 2] - boxes_N4[:, 0], boxes_N4[:, 3] - boxes_N4[:, 1])
    side = float(np.median(sides))
    centres = (boxes_N4[:, :2] + boxes_N4[:, 2:]) / 2
    pairs_P2 = _neighbours(boxes_N4, GAP * side)
    random = np.random.default_rng(0)
    best: tuple[float, Split] | None = None
    for chips in BLOCK_SIDES:
        cells = np.floor((centres - boxes_N4[:, :2].min(axis=0)) / (chips * side)).astype(np.int64)
        cells_B2, block_N = np.unique(cells, axis=0, return_inverse=True)
        for order_B in _orders(cells_B2, random):
            of_N = _dealt(order_B, block_N.ravel(), val, test)
            of_N = without_neighbours(of_N, pairs_P2)
            cost = _cost(of_N, pixels_NC, val, test)
            if best is None or cost < best[0] - 1e-9:
                best = cost, Split(of_N, block_N.ravel())
    assert best is not None
    return best[1]


def _neighbours(boxes_N4: NDArray[np.float64], distance: float) -> NDArray[np.int64]:
    """Pairs of chips that are nearer than this to each other."""
    import shapely

    boxes: Any = shapely.box(*boxes_N4.T)
    first, second = shapely.STRtree(boxes).query(boxes, predicate="dwithin", distance=distance)
    return np.asarray(np.stack([first, second], axis=1)[first < second], np.int64)


def _orders(cells_B2: NDArray[np.int64], random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Orders of blocks: from one side or corner to the other, which cut off few neighbours, and any."""
    x, y = cells_B2.T
    for first, second in ((x, y), (y, x), (x + y, x), (x - y, x)):
        yield np.lexsort((second, first))
    for _ in range(SHUFFLES):
        yield random.permutation(len(cells_B2))


def _dealt(order_B: NDArray[np.int64], block_N: NDArray[np.int64], val: float, test: float) -> NDArray[np.int64]:
    """Test from the beginning of the order, val from its end, to the nearest block."""
    number_B = np.bincount(block_N, minlength=len(order_B))[order_B]
    middle_B = np.cumsum(number_B) - number_B / 2
    total = len(block_N)
    split_B = np.full(len(order_B), TRAIN)
    split_B[order_B[middle_B < test * total]] = TEST
    split_B[order_B[middle_B > (1 - val) * total]] = VAL
    return np.asarray(split_B[block_N])


def without_neighbours(of_N: NDArray[np.int64], pairs_P2: NDArray[np.int64]) -> NDArray[np.int64]:
    """Leave out chips beside one of another split."""
    kept_N = of_N.copy()
    both = np.concatenate([pairs_P2, pairs_P2[:, ::-1]])
    for lower in (TRAIN, VAL):
        beside = (kept_N[both[:, 0]] == lower) & (kept_N[both[:, 1]] > lower)
        kept_N[both[beside, 0]] = LEFT_OUT
    return kept_N


def _cost(of_N: NDArray[np.int64], pixels_NC: NDArray[np.int64], val: float, test: float) -> float:
    """Lower is better: 1 for a class that a split lacks, the share of chips left out, and how far shares are off."""
    wanted = {TRAIN: 1 - val - test, VAL: val, TEST: test}
    total_C = np.maximum(pixels_NC.sum(axis=0), 1)
    known_C = pixels_NC.sum(axis=0) > 0
    kept = max(int(np.count_nonzero(of_N >= TRAIN)), 1)
    cost = float(np.count_nonzero(of_N == LEFT_OUT)) / len(of_N)
    for split, share in wanted.items():
        if not share:
            continue
        own_C = pixels_NC[of_N == split].sum(axis=0)
        cost += float(np.count_nonzero(known_C & (own_C == 0)))
        cost += 10.0 * (not (of_N == split).any())
        cost += abs(np.count_nonzero(of_N == split) / kept - share)
        cost += 0.5 * float(np.abs(own_C / total_C - share)[known_C].mean()) if known_C.any() else 0.0
    return cost
