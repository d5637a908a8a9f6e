"""Labels → the outlines of all regions, from strips of rows, as soon as they end: only the corners of those that go on
are kept.

A region is a piece of pixels of one label that touch along their sides. The corners of pixels where an outline turns,
or where more than two regions meet, are nodes. Between two nodes runs one straight edge, with a half-edge for each
region beside it, which has its region on the right. At its end, the next half-edge of the same region is the first
one in turning order; following them gives the rings. Two neighbours share all nodes of their common outline.

For the sum of a map (of confidence) over a region only its outline is needed, as in Green's theorem: the map's integral
image at the nodes.

Shapes: H, W the image's size; R rows of a strip; N nodes; M half-edges of all rings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ImageError
from pixelwise.records import VOID, Labels

Whole = NDArray[np.int64]
Small = NDArray[np.int32]
EAST, SOUTH, WEST, NORTH = range(4)  # directions in which a half-edge leaves its node; y points down
NODES_AT_ONCE = 3_000_000  # some 400 MB
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
    strips: Iterable[Labels],
    size: tuple[int, int],
    kept: Sequence[int],
    values: Iterable[NDArray[np.uint16]] | None = None,
    *,
    at_once: int = NODES_AT_ONCE,
) -> Iterator[RegionRings]:
    """The regions of the labels `kept`, as they end: of an image with few nodes all at once, at least an empty record.

    Args:
        strips: all labels in strips of rows from the top, uint8 [R, W]; VOID is never a region.
        size: (H, W).
        values: a map in the same strips, uint16 [R, W], which is summed over each region; None: none.
        at_once: nodes after which regions that have ended are given, and forgotten.

    Raises:
        ImageError: outlines of regions that have not ended, with more than half a billion corners.
    """
    wanted = np.zeros(256, np.bool_)
    wanted[[label for label in kept if label != VOID]] = True
    void = np.full((1, size[1]), VOID, np.uint8)
    above, top, limit = void, 0, at_once
    summed = np.zeros(size[1] + 1, np.int64) if values is not None else None
    maps = iter(values) if values is not None else None
    nodes: Nodes | None = None
    waiting: list[Nodes] = []
    for strip in strips:
        sums = None
        if maps is not None and summed is not None:
            sums = integral(next(maps), summed)
            summed = sums[-1].copy()
        waiting.append(nodes_of(np.concatenate([above, strip]), top, sums, wanted))
        above, top = strip[-1:].copy(), top + len(strip)
        if top < size[0] and sum(len(part.xs) for part in waiting) > limit:
            below = nodes_of(np.concatenate([above, void]), top, None if summed is None else summed[None], wanted)
            nodes = joined(waiting)
            ended, nodes = regions_ended(nodes, below)
            waiting, limit = [nodes], max(at_once, 2 * len(nodes.xs))
            yield ended
    assert top == size[0], f"{top} rows of labels; expected {size[0]}"
    waiting.append(nodes_of(np.concatenate([above, void]), top, None if summed is None else summed[None], wanted))
    yield regions_ended(joined(waiting), None)[0]


def integral(values_RW: NDArray[np.uint16], above: Whole) -> Whole:
    """The sums of a map above and to the left of the corners of pixels, [R + 1, W + 1]. `above`: the first row."""
    sums = np.zeros((len(values_RW) + 1, len(above)), np.int64)
    sums[1:, 1:] = values_RW.astype(np.int64).cumsum(axis=0).cumsum(axis=1)
    sums += above
    return sums


class Nodes(NamedTuple):
    """In rows from the top, each from the left."""

    xs: Small
    ys: Small
    flags: NDArray[np.uint8]  # bit d: an edge leaves in direction d
    right: NDArray[np.uint8]  # [N, 4]: the label to the right of the edge in each direction
    used: NDArray[np.bool_]  # [N, 4]: whether that half-edge is one of a region that is still to be given
    run_starts: Small  # where the run of equal labels that ends at the edge to the south begins
    integral: Whole | None  # the sum of the map above and to the left


def joined(parts: Sequence[Nodes]) -> Nodes:
    columns = [np.concatenate(column) if column[0] is not None else None for column in zip(*parts, strict=True)]
    return Nodes(*columns)  # type: ignore[arg-type]


def regions_ended(nodes: Nodes, below: Nodes | None) -> tuple[RegionRings, Nodes]:
    """The regions that do not reach the row of nodes `below`, and the nodes that the others need; None: all."""
    every = nodes if below is None else joined([nodes, below])
    if len(every.xs) > MOST_NODES:
        raise ImageError(f"the outlines have {len(every.xs):,} corners; at most {MOST_NODES:,} can be joined.")
    by_column = np.argsort(every.xs, kind="stable").astype(np.int32)
    path, starts = split_where_touching(*walked(*half_edges(every, by_column)), every.flags)
    if len(starts) == 1:
        return grouped(every, path, starts, np.empty(0, np.int64), np.empty(0, np.int64)), nodes
    areas = signed_areas(every, path, starts)
    ring_of = np.full(4 * len(every.xs), -1, np.int32)
    ring_of[path] = np.repeat(np.arange(len(starts) - 1, dtype=np.int32), np.diff(starts))
    outer = outer_rings(every, by_column, path, starts, areas, ring_of)
    if below is None:
        return grouped(every, path, starts, areas, outer), nodes
    reaches = np.maximum.reduceat(every.ys[path >> 2], starts[:-1]) == below.ys[0] if len(below.xs) else areas < areas
    goes_on = np.zeros(len(areas), np.bool_)
    goes_on[outer[reaches]] = True
    goes_on = goes_on[outer]
    used = np.append(goes_on, False)[ring_of[: 4 * len(nodes.xs)]].reshape(-1, 4)  # −1: none
    stays = used.any(axis=1)
    rest = Nodes(*(None if column is None else column[stays] for column in nodes._replace(used=used)))  # type: ignore[arg-type]
    return grouped(every, *only(~goes_on, path, starts, areas, outer)), rest


def only(
    chosen: NDArray[np.bool_], path: Small, starts: Whole, areas: Whole, outer: Whole
) -> tuple[Small, Whole, Whole, Whole]:
    """Some of the rings; of each region all or none."""
    lengths = np.diff(starts)
    number = np.cumsum(chosen) - 1
    kept_starts = np.concatenate([[0], np.cumsum(lengths[chosen])]).astype(np.int64)
    return path[np.repeat(chosen, lengths)], kept_starts, areas[chosen], number[outer[chosen]]


def nodes_of(labels: Labels, top: int, sums: Whole | None, wanted: NDArray[np.bool_]) -> Nodes:
    """The nodes between the rows of `labels` [R + 1, W], the first of them at row `top` of the image."""
    around = np.pad(labels, ((0, 0), (1, 1)), constant_values=VOID)
    upper_left, upper_right, lower_left, lower_right = (
        around[:-1, :-1],
        around[:-1, 1:],
        around[1:, :-1],
        around[1:, 1:],
    )
    north, south = upper_left != upper_right, lower_left != lower_right
    west, east = upper_left != lower_left, upper_right != lower_right
    at = ys, xs = np.nonzero((north | south) & (west | east))
    edges = np.stack([east[at], south[at], west[at], north[at]], axis=1)
    right = np.stack([lower_right[at], lower_left[at], upper_left[at], upper_right[at]], axis=1)
    begun = np.where(south, np.arange(south.shape[1], dtype=np.int32), 0)
    np.maximum.accumulate(begun, axis=1, out=begun)
    return Nodes(
        xs.astype(np.int32),
        (ys + top).astype(np.int32),
        np.packbits(edges, axis=1, bitorder="little")[:, 0],
        right,
        edges & wanted[right],
        np.where(xs > 0, begun[ys, np.maximum(xs - 1, 0)], 0).astype(np.int32),
        None if sums is None else sums[at],
    )


def half_edges(nodes: Nodes, by_column: Small) -> tuple[Small, Small]:
    """Half-edge 4·node + direction → the next one of its ring, −1 where it is not used; and those that leave to the
    east, of which each ring has one."""
    number = len(nodes.xs)
    following = np.full(4 * number, -1, np.int32)
    begins = np.empty(0, np.int32)
    place = np.empty(number, np.int32)  # of each node among `by_column`
    place[by_column] = np.arange(number, dtype=np.int32)
    for direction in range(4):
        start = np.flatnonzero(nodes.used[:, direction]).astype(np.int32)
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


def signed_areas(nodes: Nodes, path: Small, starts: Whole) -> Whole:
    """Of each ring, in pixels; of holes below 0."""
    node = path >> 2
    after = next_in_ring(node, starts)
    return np.asarray(
        np.add.reduceat(nodes.xs[node] * (nodes.ys[after] - nodes.ys[node]).astype(np.int64), starts[:-1])
    )


def next_in_ring(node: Small, starts: Whole) -> Small:
    after = np.concatenate([node[1:], node[:1]])
    after[starts[1:] - 1] = node[starts[:-1]]
    return after


def grouped(nodes: Nodes, path: Small, starts: Whole, areas: Whole, outer: Whole) -> RegionRings:
    """Each outer ring with its holes."""
    if not len(areas):
        none = np.empty(0, np.int64)
        sums = none if nodes.integral is not None else None
        return RegionRings(*(none.astype(np.int32),) * 2, starts[:1], starts[:1], none.astype(np.uint8), none, sums)
    firsts, node = starts[:-1], path >> 2
    order = np.lexsort((areas < 0, outer))  # regions in the order of their outer rings, which come before the holes
    regions, region_starts = np.unique(outer[order], return_index=True)
    sums = None
    if nodes.integral is not None:
        after = next_in_ring(node, starts)
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


def outer_rings(nodes: Nodes, by_column: Small, path: Small, starts: Whole, areas: Whole, ring_of: Small) -> Whole:
    """For each ring, the outer ring of its region: itself, or that of the ring to the left of a hole, and so on."""
    tall = int(nodes.ys.max()) + 1
    keys = nodes.xs[by_column].astype(np.int64) * tall + nodes.ys[by_column]  # ascending
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
