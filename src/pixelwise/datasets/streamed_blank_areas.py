"""`blank_areas` for images too large to be decoded at once: areas are found on a grid of blocks, strip by strip.

A block is blank if all of its pixels are. So areas that touch by less than a block are two, each with a class of its
own; at the edge of an area every blank pixel of the blocks around it gets its class.

Shapes: H, W height and width in pixels, h, w in blocks; R rows of a strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.blank_areas import BLANKS, EDGE_PX, LEAST_SHARE, equal_to, structure_class
from pixelwise.records import VOID, Labels

BLOCK_PX = 8
STRIP_PIXELS = 1 << 22  # of an image, read at a time
COUNTED_PIXELS = 1 << 20  # at a time
assert BLOCK_PX > EDGE_PX  # so that the blocks inside an area are beyond its edge


class RowsAndColumns(Protocol):
    """An image [H, W, N] that is indexed by slices of rows and columns."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, key: Any) -> Any: ...


class BlankBlocks(NamedTuple):
    """The large blank areas of one value."""

    value: int
    areas_hw: NDArray[np.int32]  # number of the area that a blank block belongs to; 0: none
    blocks: dict[int, int]  # in each area


def strips_without_structure_in_blanks(
    image: RowsAndColumns, strips: Callable[[], Iterable[Labels]]
) -> tuple[Iterable[Labels], float]:
    """As `labels_without_structure_in_blanks`, of labels in strips.

    Args:
        strips: gives all labels in strips of rows from the top, uint8 [R, W]; called up to twice for each value.

    Returns:
        labels in strips, and the share of the pixels in areas that had several classes.
    """
    if image.dtype != np.uint8:
        return strips(), 0.0
    changed, blocks = [], 0
    for found in blank_blocks(image):
        classes = {
            area: class_id
            for area, counts in inner_counts(found, strips()).items()
            if (class_id := structure_class(counts)) is not None
        }
        if classes:
            changed.append((found, classes))
            blocks += sum(found.blocks[area] for area in classes)
    if not changed:
        return strips(), 0.0
    share = blocks * BLOCK_PX**2 / (image.shape[0] * image.shape[1])
    return with_one_class(image, strips(), changed), min(share, 1.0)


def blank_blocks(image: RowsAndColumns) -> list[BlankBlocks]:
    """The large blank areas of each value that has some."""
    height, width = image.shape[:2]
    size = -(-height // BLOCK_PX), -(-width // BLOCK_PX)
    blank_hw = {value: np.zeros(size, np.uint8) for value in BLANKS}
    rows = BLOCK_PX * max(STRIP_PIXELS // (BLOCK_PX * width), 1)
    for top in range(0, height, rows):
        strip = image[top : top + rows, 0:width]
        beyond = ((0, -len(strip) % BLOCK_PX), (0, -width % BLOCK_PX))
        for value, found_hw in blank_hw.items():
            blocks = np.pad(equal_to(strip, value), beyond, constant_values=1)
            few = blocks.reshape(-1, BLOCK_PX, size[1], BLOCK_PX).min(axis=(1, 3))
            found_hw[top // BLOCK_PX : top // BLOCK_PX + len(few)] = few
    least = LEAST_SHARE * height * width / BLOCK_PX**2
    return [found for value, blank in blank_hw.items() if (found := large_areas(value, blank, least)).blocks]


def large_areas(value: int, blank_hw: NDArray[np.uint8], least: float) -> BlankBlocks:
    """Connected areas of at least so many blocks."""
    _, areas_hw, stats, _ = cv2.connectedComponentsWithStats(blank_hw, connectivity=4)
    counts = {area: int(stats[area, cv2.CC_STAT_AREA]) for area in range(1, len(stats))}
    large = {area: count for area, count in counts.items() if count >= least}
    kept = np.zeros(len(stats), np.int32)
    kept[list(large)] = list(large)
    return BlankBlocks(value, kept[areas_hw], large)


def inner_counts(found: BlankBlocks, strips: Iterable[Labels]) -> dict[int, NDArray[np.int64]]:
    """For each area, how many pixels of each label lie in blocks that only blank ones surround."""
    blank_hw = (found.areas_hw > 0).astype(np.uint8)
    inner_hw = np.asarray(cv2.erode(blank_hw, np.ones((3, 3), np.uint8), borderValue=1), np.int32) * found.areas_hw
    counts = np.zeros((int(found.areas_hw.max()) + 1) * 256, np.int64)
    for top, labels_RW in in_parts(strips):
        areas_RW = pixels_of(inner_hw, top, labels_RW.shape)
        counts += np.bincount((areas_RW * 256 + labels_RW).ravel(), minlength=len(counts))
    return {area: counts[area * 256 : area * 256 + 256] for area in found.blocks}


def with_one_class(
    image: RowsAndColumns, strips: Iterable[Labels], changed: list[tuple[BlankBlocks, dict[int, int]]]
) -> Iterator[Labels]:
    """Labels in strips, of one class in each of these areas."""
    tables = []
    for found, classes in changed:
        class_of = np.full(int(found.areas_hw.max()) + 1, VOID, np.uint8)
        class_of[list(classes)] = list(classes.values())
        # The largest number wins where two areas are neighbours: a block between them is of neither.
        around_hw = np.asarray(cv2.dilate(found.areas_hw.astype(np.float64), np.ones((3, 3), np.uint8)), np.int32)
        around_hw[found.areas_hw > 0] = found.areas_hw[found.areas_hw > 0]
        tables.append((found.value, around_hw, class_of))
    for top, labels_RW in in_parts(strips):
        image_RWN = image[top : top + len(labels_RW), 0 : labels_RW.shape[1]]
        filled_RW = labels_RW
        for value, around_hw, class_of in tables:
            new_RW = class_of[pixels_of(around_hw, top, labels_RW.shape)]
            here_RW = (new_RW != VOID) & (labels_RW != VOID) & (equal_to(image_RWN, value) > 0)
            filled_RW = np.where(here_RW, new_RW, filled_RW)
        yield filled_RW


def in_parts(strips: Iterable[Labels]) -> Iterator[tuple[int, Labels]]:
    """Strips in parts of at most COUNTED_PIXELS or one row, each with its first row in the image."""
    top = 0
    for strip in strips:
        rows = max(COUNTED_PIXELS // strip.shape[1], 1)
        for start in range(0, len(strip), rows):
            yield top + start, strip[start : start + rows]
        top += len(strip)


def pixels_of(blocks_hw: NDArray[np.int32], top: int, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """The numbers of the blocks at each pixel of a part [R, W] that begins in the row `top`."""
    rows, columns = (top + np.arange(shape[0])) // BLOCK_PX, np.arange(shape[1]) // BLOCK_PX
    return np.asarray(blocks_hw[rows[:, None], columns])
