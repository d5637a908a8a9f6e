"""Labels → the outlines of all regions, from strips of rows: memory grows with the corners, not with the pixels.

A region is a piece of pixels of one label that touch along their sides. The corners of pixels where an outline turns,
or where more than two regions meet, are nodes. Between two nodes runs one straight edge, with a half-edge for each
region beside it, which has its region on the right. At its end, the next half-edge of the same region is the first
one in turning order; following them gives the rings. Two neighbours share all nodes of their common outline.

For the sum of a map (of confidence) over a region only its outline is needed, as in Green's theorem: the map's integral
image at the nodes.

Shapes: H, W the image's size; R rows of a strip; N nodes; M half-edges of all rings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ImageError
from pixelwise.records import VOID, Labels

Whole = NDArray[np.int64]
Small = NDArray[np.int32]
EAST, SOUTH, WEST, NORTH = range(4)  # directions in which a half-edge leaves its node; y points down
MOST_NODES = (1 << 29) - 1  # their half-edges are numbered in 32 bits
# [arriving direction, edges at the node as bits] → leaving direction: right, else straight on, else left.
TURNS = np.array(
    [[next((t for t in ((d + 1) % 4, d, (d + 3) % 4) if bits >> t & 1), 0) for bits in range(16)] for d in range(4)],
    np.int32,
)


@dataclass(frozen=True)
class RegionRings:
    """The regions of a label map: each an outer ring, then its holes; corners (x, y) in pixels from the top left."""

    xs: Small  # [M], ring after ring; the first corner of a ring is not repeated
    ys: Small
    ring_starts: Whole  # [rings + 1], into xs and ys
    region_starts: Whole  # [regions + 1], into the rings
    labels: NDArray[np.uint8]  # [regions], in the order of their topmost rows
    pixels: Whole  # [regions]
    sums: Whole | None  # [regions], of the map over the region's pixels

    def __len__(self) -> int:
        return len(self.labels)


def region_rings(
    strips: Iterable[Labels], size: tuple[int, int], kept: Sequence[int], values: Iterable[NDArray[np.uint16]] | None
) -> RegionRings:
    """The regions of the labels `kept`.

    Args:
        strips: all labels in strips of rows from the top, uint8 [R, W]; VOID is never a region.
        size: (H, W).
        values: a map in the same strips, uint16 [R, W], which is summed over each region; None: none.

    Raises:
        ImageError: outlines with more than half a billion corners.
    """
    wanted = np.zeros(256, np.bool_)
    wanted[[label for label in kept if label != VOID]] = True
    nodes = found_nodes(strips, size, values)
    if len(nodes.xs) > MOST_NODES:
        raise ImageError(f"the outlines have {len(nodes.xs):,} corners; at most {MOST_NODES:,} can be joined.")
    by_column = np.argsort(nodes.xs, kind="stable").astype(np.int32)
    following, begins = half_edges(nodes, by_column, wanted)
    path, starts = split_where_touching(*walked(following, begins), nodes.flags)
    return grouped(nodes, by_column, path, starts)


@dataclass(frozen=True)
class Nodes:
    """In rows from the top, each from the left."""

    xs: Small
    ys: Small
    flags: NDArray[np.uint8]  # bit d: an edge leaves in direction d
    right: NDArray[np.uint8]  # [N, 4]: the label to the right of the edge in each direction
    run_starts: Small  # where the run of equal labels that ends at the edge to the south begins
    integral: Whole | None  # the sum of the map above and to the left


def found_nodes(strips: Iterable[Labels], size: tuple[int, int], values: Iterable[NDArray[np.uint16]] | None) -> Nodes:
    height, width = size
    above = np.full((1, width), VOID, np.uint8)
    outside = above.copy()
    carried = np.zeros(width + 1, np.int64)
    maps = None if values is None else iter(values)
    parts: list[tuple[NDArray[np.int64], ...]] = []
    top = 0

    def scan(labels_RW: Labels, sums: Whole | None) -> None:
        around = np.pad(np.concatenate([above, labels_RW]), ((0, 0), (1, 1)), constant_values=VOID)
        parts.append(nodes_of(around, top, sums))

    for strip in strips:
        sums = None
        if maps is not None:
            inner = next(maps).astype(np.int64).cumsum(axis=0).cumsum(axis=1)
            sums = np.zeros((len(strip) + 1, width + 1), np.int64)
            sums[1:, 1:] = inner
            sums += carried
            carried = sums[-1].copy()
        scan(strip, sums)
        above, top = strip[-1:].copy(), top + len(strip)
    assert top == height, f"{top} rows of labels; expected {height}"
    scan(outside, None if maps is None else carried[None])
    xs, ys, flags, right, run_starts, *rest = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Nodes(xs, ys, flags, right, run_starts, rest[0] if rest else None)


def nodes_of(around: Labels, top: int, sums: Whole | None) -> tuple[NDArray[np.int64], ...]:
    """The nodes between the rows of `around` [R + 1, W + 2], the first of them at row `top` of the image."""
    upper_left, upper_right, lower_left, lower_right = (
        around[:-1, :-1],
        around[:-1, 1:],
        around[1:, :-1],
        around[1:, 1:],
    )
    north, south = upper_left != upper_right, lower_left != lower_right
    west, east = upper_left != lower_left, upper_right != lower_right
    ys, xs = np.nonzero((north | south) & (west | east))
    at = ys, xs
    flags = (
        east[at].astype(np.uint8) | south[at].astype(np.uint8) << 1
        | west[at].astype(np.uint8) << 2 | north[at].astype(np.uint8) << 3
    )  # fmt: skip
    right = np.stack([lower_right[at], lower_left[at], upper_left[at], upper_right[at]], axis=1)
    begun = np.where(south, np.arange(south.shape[1], dtype=np.int32), 0)
    np.maximum.accumulate(begun, axis=1, out=begun)
    runs = np.where(xs > 0, begun[ys, np.maximum(xs - 1, 0)], 0).astype(np.int32)
    found = xs.astype(np.int32), (ys + top).astype(np.int32), flags, right, runs
    return (*found, sums[at]) if sums is not None else found  # type: ignore[return-value]


def half_edges(nodes: Nodes, by_column: Small, wanted: NDArray[np.bool_]) -> tuple[Small, Small]:
    """Half-edge 4·node + direction → the next one of its ring, −1 where it is none of a wanted region; and those that
    leave to the east, of which each ring has one."""
    number = len(nodes.xs)
    following = np.full(4 * number, -1, np.int32)
    begins = np.empty(0, np.int32)
    place = np.empty(number, np.int32)  # of each node among `by_column`
    place[by_column] = np.arange(number, dtype=np.int32)
    for direction in range(4):
        leaving = (nodes.flags >> direction & 1).astype(np.bool_) & wanted[nodes.right[:, direction]]
        start = np.flatnonzero(leaving).astype(np.int32)
        step = 1 if direction in (EAST, SOUTH) else -1
        end = start + step if direction in (EAST, WEST) else by_column[place[start] + step]
        following[4 * start + direction] = 4 * end + TURNS[direction][nodes.flags[end]]
        if direction == EAST:
            begins = 4 * start
    return following, begins


def walked(following: Small, begins: Small) -> tuple[Small, Whole]:
    """The half-edges ring after ring, and where each ring starts, with the end of the last. Uses up `following`."""
    path = np.empty(int(np.count_nonzero(following >= 0)), np.int32)
    ahead, out = following.data, path.data
    starts, at = [0], 0
    for first in begins.data:
        here, after = first, ahead[first]
        while after >= 0:
            out[at] = here
            ahead[here] = -1
            at += 1
            here, after = after, ahead[after]
        if at > starts[-1]:
            starts.append(at)
    return path, np.array(starts, np.int64)


def split_where_touching(path: Small, starts: Whole, flags: NDArray[np.uint8]) -> tuple[Small, Whole]:
    """Cut rings that pass a node twice, so that each is simple: one that touches itself is a ring and its hole."""
    number = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    crossed = np.flatnonzero(flags[path >> 2] == 15)
    keys = number[crossed] * len(flags) + (path[crossed] >> 2)
    values, times = np.unique(keys, return_counts=True)
    touching = np.unique(values[times > 1] // max(len(flags), 1))
    if not len(touching):
        return path, starts
    loops: list[Small] = []
    for ring in touching.tolist():
        loops += simple_loops(path[starts[ring] : starts[ring + 1]])
    stays = np.ones(len(starts) - 1, np.bool_)
    stays[touching] = False
    lengths = [*np.diff(starts)[stays].tolist(), *map(len, loops)]
    return np.concatenate([path[stays[number]], *loops]), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def simple_loops(ring: Small) -> list[Small]:
    seen: dict[int, int] = {}
    open_, loops = list[int](), list[Small]()
    for half_edge in ring.tolist():
        at = seen.get(half_edge >> 2)
        if at is not None:
            loops.append(np.array(open_[at:], np.int32))
            for passed in open_[at:]:
                del seen[passed >> 2]
            del open_[at:]
        seen[half_edge >> 2] = len(open_)
        open_.append(half_edge)
    return [*loops, np.array(open_, np.int32)]


def grouped(nodes: Nodes, by_column: Small, path: Small, starts: Whole) -> RegionRings:
    """Each outer ring with its holes."""
    if len(starts) == 1:
        none = np.empty(0, np.int64)
        sums = none if nodes.integral is not None else None
        return RegionRings(*(none.astype(np.int32),) * 2, starts, starts, none.astype(np.uint8), none, sums)
    firsts, lasts = starts[:-1], starts[1:] - 1
    node = path >> 2
    after = np.concatenate([node[1:], node[:1]])
    after[lasts] = node[firsts]
    areas = np.add.reduceat(nodes.xs[node] * (nodes.ys[after] - nodes.ys[node]).astype(np.int64), firsts)
    outer = outer_rings(nodes, by_column, path, starts, areas)
    order = np.lexsort((areas < 0, outer))  # regions in the order of their outer rings, which come before the holes
    regions, region_starts = np.unique(outer[order], return_index=True)
    sums = None
    if nodes.integral is not None:
        steps = np.where((path & 1).astype(np.bool_), nodes.integral[after] - nodes.integral[node], 0)
        sums = np.add.reduceat(np.add.reduceat(steps, firsts)[order], region_starts)
    lengths = np.diff(starts)[order]
    ends = np.cumsum(lengths)
    places = np.arange(len(path)) + np.repeat(firsts[order] - (ends - lengths), lengths)
    sorted_node = node[places]
    return RegionRings(
        nodes.xs[sorted_node],
        nodes.ys[sorted_node],
        np.concatenate([[0], ends]).astype(np.int64),
        np.concatenate([region_starts, [len(order)]]).astype(np.int64),
        nodes.right[node[firsts[regions]], path[firsts[regions]] & 3],
        np.add.reduceat(areas[order], region_starts),
        sums,
    )


def outer_rings(nodes: Nodes, by_column: Small, path: Small, starts: Whole, areas: Whole) -> Whole:
    """For each ring, the outer ring of its region: itself, or that of the ring to the left of a hole, and so on."""
    tall = int(nodes.ys.max()) + 1
    keys = nodes.xs[by_column].astype(np.int64) * tall + nodes.ys[by_column]  # ascending
    ring_of = np.full(4 * len(nodes.xs), -1, np.int32)
    ring_of[path] = np.repeat(np.arange(len(starts) - 1, dtype=np.int32), np.diff(starts))
    node = path >> 2
    leftmost = np.minimum.reduceat(nodes.xs[node].astype(np.int64) * tall + nodes.ys[node], starts[:-1])
    holes = np.flatnonzero(areas < 0)
    corner = by_column[np.searchsorted(keys, leftmost[holes])]
    run_start = nodes.run_starts[corner].astype(np.int64) * tall + nodes.ys[corner]
    bottom = by_column[np.searchsorted(keys, run_start, side="right")]  # of the edge at the start of the run
    outer = np.arange(len(areas))
    outer[holes] = ring_of[4 * bottom + NORTH]
    while (areas[outer] < 0).any():
        outer = outer[outer]
    return outer
