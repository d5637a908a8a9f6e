"""A picture as superpixels and as a tree of their unions: the most alike neighbours are joined first.

The objects that a click may mean are among the unions that hold the clicked superpixel: from small to large, each
inside the next (Arbeláez et al., Contour detection and hierarchical image segmentation, PAMI 2011).

Shapes: h, w the picture's size; P superpixels ("pieces"); E pairs of neighbouring ones; F features; T = 2P − 1 nodes.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Numbers = NDArray[np.int64]

SMALL_FIRST = 0.25  # how much earlier small regions are joined: the power of their size


@dataclass(frozen=True)
class Pieces:
    """The superpixels of a picture, and which are neighbours."""

    ids_hw: NDArray[np.uint16]
    areas_P: Floats  # pixels
    colours_PN: Floats  # means of the bands
    looks_PF: Floats  # means of the encoder's features, a few principal components
    pairs_E2: Numbers
    lengths_E: Floats  # pixel sides that a pair shares
    edges_E: Floats  # mean strength of the edge between them, in units of the picture's median

    @property
    def count(self) -> int:
        return len(self.areas_P)


def means_of(ids_hw: NDArray[np.uint16], values_hwF: Floats, count: int) -> Floats:
    """The mean of each superpixel: [P, F]."""
    flat = ids_hw.reshape(-1)
    sizes = np.bincount(flat, minlength=count)
    sums = [np.bincount(flat, values_hwF[:, :, i].reshape(-1), count) for i in range(values_hwF.shape[2])]
    return np.stack(sums, axis=1) / np.maximum(sizes, 1)[:, None]


def neighbours(ids_hw: NDArray[np.uint16], strength_hw: Floats, count: int) -> tuple[Numbers, Floats, Floats]:
    """Pairs of superpixels that touch [E, 2], the sides they share and the mean strength there [E]."""
    codes, values = [], []
    for one, other in (((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
                       ((slice(None), slice(1, None)), (slice(None), slice(None, -1)))):  # fmt: skip
        a, b = ids_hw[one].astype(np.int64), ids_hw[other].astype(np.int64)
        differ = a != b
        low, high = np.minimum(a, b)[differ], np.maximum(a, b)[differ]
        codes.append(low * count + high)
        values.append(np.maximum(strength_hw[one], strength_hw[other])[differ])
    found, which = np.unique(np.concatenate(codes), return_inverse=True)
    lengths = np.bincount(which, minlength=len(found)).astype(float)
    sums = np.bincount(which, np.concatenate(values), len(found))
    return np.stack(np.divmod(found, count), axis=1), lengths, sums / np.maximum(lengths, 1)


def edge_strength(bands_hwN: Floats, sigma: float = 1.0) -> Floats:
    """The length of the gradient over all bands: [h, w]."""
    smooth = cv2.GaussianBlur(bands_hwN, (0, 0), sigma)
    total = np.zeros(bands_hwN.shape[:2], np.float32)
    for order in ((1, 0), (0, 1)):
        one = np.asarray(cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3, scale=1 / 8)) ** 2
        total += one if one.ndim == 2 else one.sum(axis=2)
    return np.sqrt(total)


@dataclass(frozen=True)
class RegionTree:
    """Nodes 0 … P − 1 are the superpixels, each later one joins two earlier ones."""

    parents_T: Numbers  # −1 for the last
    heights_T: Floats  # how unlike the two joined were; 0 for superpixels
    first_T: Numbers  # of the superpixels in `order_P` that a node holds
    last_T: Numbers
    order_P: Numbers

    def holds(self, node: int) -> NDArray[np.bool_]:
        """Which superpixels a node holds: [P]."""
        found = np.zeros(len(self.order_P), np.bool_)
        found[self.order_P[self.first_T[node] : self.last_T[node]]] = True
        return found

    def above(self, node: int) -> list[int]:
        """A node and all that hold it, the smallest first."""
        found = []
        while node >= 0:
            found.append(node)
            node = int(self.parents_T[node])
        return found


def join(pieces: Pieces, weights: tuple[float, float, float]) -> RegionTree:
    """Join neighbours until one region is left.

    Args:
        weights: of the edge between two regions, the difference of their colours, and that of their looks.
    """
    count = pieces.count
    areas = list(pieces.areas_P) + [0.0] * (count - 1)
    vectors = np.concatenate([pieces.colours_PN * weights[1], pieces.looks_PF * weights[2]], axis=1)
    features: list[Any] = [*vectors, *([None] * (count - 1))]
    beside: list[dict[int, tuple[float, float]]] = [{} for _ in range(2 * count - 1)]
    unit = float(np.mean(pieces.areas_P))

    def unlike(a: int, b: int) -> float:
        length, strength = beside[a][b]
        difference = features[a] - features[b]
        smaller = min(areas[a], areas[b]) / unit
        cost = weights[0] * strength / length + float(np.sqrt(difference @ difference))
        return float(cost * smaller**SMALL_FIRST)

    heap: list[tuple[float, int, int]] = []
    for (a, b), length, strength in zip(pieces.pairs_E2.tolist(), pieces.lengths_E, pieces.edges_E, strict=True):
        beside[a][b] = beside[b][a] = (float(length), float(length * strength))
    difference = vectors[pieces.pairs_E2[:, 0]] - vectors[pieces.pairs_E2[:, 1]]
    cost = weights[0] * pieces.edges_E + np.sqrt((difference**2).sum(axis=1))
    smaller = pieces.areas_P[pieces.pairs_E2].min(axis=1) / unit
    heap = [
        (value, a, b)
        for value, (a, b) in zip((cost * smaller**SMALL_FIRST).tolist(), pieces.pairs_E2.tolist(), strict=True)
    ]
    heapq.heapify(heap)
    parents, heights = np.full(2 * count - 1, -1), np.zeros(2 * count - 1)
    children: list[tuple[int, int]] = []
    node = count
    while heap and node < 2 * count - 1:
        value, a, b = heapq.heappop(heap)
        if parents[a] >= 0 or parents[b] >= 0:
            continue
        parents[a] = parents[b] = node
        heights[node] = max(value, heights[a], heights[b])
        children.append((a, b))
        total = areas[a] + areas[b]
        features[node] = (features[a] * areas[a] + features[b] * areas[b]) / total
        areas[node] = total
        joined = beside[a]
        del joined[b], beside[b][a]
        for other, (length, strength) in beside[b].items():
            before = joined.get(other, (0.0, 0.0))
            joined[other] = (before[0] + length, before[1] + strength)
        beside[node] = joined
        beside[a] = beside[b] = {}
        for other, shared in joined.items():
            of = beside[other]
            of.pop(a, None)
            of.pop(b, None)
            of[node] = shared
            heapq.heappush(heap, (unlike(node, other), node, other))
        node += 1
    return _numbered(parents, heights, children, count)


def _numbered(parents: Numbers, heights: Floats, children: list[tuple[int, int]], count: int) -> RegionTree:
    """Order the superpixels so that each node holds a run of them."""
    sizes = np.ones(len(parents), np.int64)
    for place, (a, b) in enumerate(children):
        sizes[count + place] = sizes[a] + sizes[b]
    first = np.zeros(len(parents), np.int64)
    for place in range(len(children) - 1, -1, -1):
        a, b = children[place]
        first[a], first[b] = first[count + place], first[count + place] + sizes[a]
    order = np.empty(count, np.int64)
    order[first[:count]] = np.arange(count)
    return RegionTree(parents, heights, first, first + sizes, order)
