"""Superpixels: an image divided into connected regions of about one size that keep to its edges.

Simple linear iterative clustering (Achanta et al., SLIC superpixels compared to state-of-the-art, PAMI 2012) of all
bands, as matrix products: each pixel belongs to one of the nine cells of a grid around it, so that the distances of a
cell's pixels to nine centres are one product.

Shapes: H, W height and width in pixels; N bands; gy, gx rows and columns of the grid; s side of a cell; F features.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import UsageError
from pixelwise.labelling.stretched_bands import stretched_bands
from pixelwise.records import Raster

MAX_PIXELS = 2_000_000  # worked at full resolution; larger parts of images are reduced first
MAX_NUMBER = 65_535  # of superpixels: their numbers are uint16
ROUNDS = 5
SMOOTHING = 0.8  # σ in pixels of the blur before
COMPACTNESS = 0.15  # of the bands' range, that weighs as much as one cell's width
SMALLEST = 0.2  # of a cell's area; smaller pieces join a neighbour

Features = NDArray[np.float32]


def superpixels(image_HWN: Raster, size: int = 16, compactness: float = COMPACTNESS) -> NDArray[np.uint16]:
    """Number the superpixels of an image, or of a window of one.

    Args:
        image_HWN: uint8, uint16 or float32 [H, W, N]; NaN where there is no data.
        size: about the side of a superpixel, 4–256 pixels. Images of more than 2 megapixels are divided at lower
            resolution; their superpixels then have edges of whole blocks of pixels.
        compactness: the difference of band values, as a part of their range here, that weighs as much as the distance
            of `size` pixels. Higher: rounder, lower: closer to edges.

    Returns:
        uint16 [H, W]: 0 … number of superpixels − 1; each is connected by its pixels' sides.

    Raises:
        UsageError: the size is out of range, or there would be more than 65,535 superpixels.
    """
    height, width, count = image_HWN.shape
    if not 4 <= size <= 256:
        raise UsageError(f"Superpixels of {size} pixels; expected a size of 4 to 256.")
    by = max(math.ceil(math.sqrt(height * width / MAX_PIXELS)), 1)
    if by > 1:
        reduced = np.dstack([
            cv2.resize(np.asarray(image_HWN[:, :, band], np.float32), (-(-width // by), -(-height // by)),
                       interpolation=cv2.INTER_AREA)
            for band in range(count)
        ])  # fmt: skip
        found = superpixels(reduced.astype(np.float32), max(round(size / by), 4), compactness)
        return np.repeat(np.repeat(found, by, axis=0), by, axis=1)[:height, :width]
    if (height // size + 1) * (width // size + 1) > MAX_NUMBER:
        raise UsageError(
            f"{width}×{height} pixels hold more than {MAX_NUMBER:,} superpixels of size {size}. "
            "Choose larger ones, or a smaller window."
        )
    bands_HWN: Features = stretched_bands(image_HWN)
    bands_HWN = np.asarray(cv2.GaussianBlur(bands_HWN, (5, 5), SMOOTHING), np.float32).reshape(height, width, count)
    return _connected(_clustered(bands_HWN / np.float32(compactness), size), bands_HWN, size)


def _clustered(bands_HWN: Features, side: int) -> NDArray[np.int32]:
    """The number of each pixel's cluster, [H, W]; clusters may be in pieces."""
    height, width, count = bands_HWN.shape
    rows, columns = -(-height // side), -(-width // side)
    features = np.empty((rows * side, columns * side, count + 2), np.float32)
    features[:, :, :count] = cv2.copyMakeBorder(
        bands_HWN, 0, rows * side - height, 0, columns * side - width, cv2.BORDER_REPLICATE
    ).reshape(rows * side, columns * side, count)
    features[:, :, count] = np.arange(rows * side, dtype=np.float32)[:, None] / side
    features[:, :, count + 1] = np.arange(columns * side, dtype=np.float32) / side
    cells = features.reshape(rows, side, columns, side, -1).swapaxes(1, 2).reshape(rows, columns, side * side, -1)
    cells = np.ascontiguousarray(cells)  # [gy, gx, s², F]
    centres = cells.mean(axis=2)  # [gy, gx, F]
    neighbours = _neighbours(rows, columns)
    for turn in range(ROUNDS):
        nearest = _nearest(cells, centres, neighbours)
        if turn < ROUNDS - 1:
            centres = _centres(cells, nearest, centres)
    at = np.take_along_axis(neighbours, nearest.reshape(rows, columns, -1).astype(np.int64), axis=2)
    numbers = at.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, columns * side)
    return np.ascontiguousarray(numbers[:height, :width], np.int32)


def _neighbours(rows: int, columns: int) -> NDArray[np.int64]:
    """The numbers of the nine cells around each, [gy, gx, 9]; those outside are −1."""
    numbers = np.full((rows + 2, columns + 2), -1, np.int64)
    numbers[1:-1, 1:-1] = np.arange(rows * columns).reshape(rows, columns)
    shifted = [numbers[dy : dy + rows, dx : dx + columns] for dy in range(3) for dx in range(3)]
    return np.stack(shifted, axis=2)


def _nearest(cells: Features, centres: Features, neighbours: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Which of the nine centres around its cell is nearest to each pixel: uint8 [gy, gx, s²]."""
    rows, columns, pixels, _ = cells.shape
    flat = centres.reshape(rows * columns, -1)
    nearest = np.empty((rows, columns, pixels), np.uint8)
    for row in range(rows):
        around = flat[neighbours[row]]  # [gx, 9, F]
        # |f − c|² = |f|² − 2 f·c + |c|², of which |f|² is the same for all centres
        squares = np.einsum("gkf,gkf->gk", around, around)
        squares[neighbours[row] < 0] = np.inf
        distance = squares[:, :, None] - 2 * (around @ cells[row].swapaxes(1, 2))  # [gx, 9, s²]
        nearest[row] = distance.argmin(axis=1)
    return nearest


def _centres(cells: Features, nearest: NDArray[np.uint8], before: Features) -> Features:
    """The means of the clusters' pixels, [gy, gx, F]; that of an empty one stays."""
    rows, columns, _, count = cells.shape
    sums = np.zeros((rows + 2, columns + 2, count), np.float64)
    sizes = np.zeros((rows + 2, columns + 2), np.int64)
    for place in range(9):
        dy, dx = divmod(place, 3)
        chosen = nearest == place
        sums[dy : dy + rows, dx : dx + columns] += (chosen[:, :, None].astype(np.float32) @ cells)[:, :, 0]
        sizes[dy : dy + rows, dx : dx + columns] += np.count_nonzero(chosen, axis=2)
    sums, sizes = sums[1:-1, 1:-1], sizes[1:-1, 1:-1]
    means = sums / np.maximum(sizes, 1)[:, :, None]
    return np.where(sizes[:, :, None] > 0, means, before).astype(np.float32)


def _connected(numbers_HW: NDArray[np.int32], bands_HWN: Features, side: int) -> NDArray[np.uint16]:
    """Join small pieces of clusters to the neighbour of the most similar mean, and number the regions from 0."""
    pieces_HW = connected_pieces(numbers_HW)
    count = int(pieces_HW.max()) + 1
    flat = pieces_HW.reshape(-1)
    sizes = np.bincount(flat, minlength=count)
    means = np.stack(
        [np.bincount(flat, band.reshape(-1), count) for band in np.moveaxis(bands_HWN, 2, 0)], axis=1
    ) / sizes[:, None]  # fmt: skip
    small = sizes < SMALLEST * side * side
    if small.all():
        small[sizes.argmax()] = False
    pairs = _adjacent(pieces_HW, count)
    owner = np.arange(count)
    while small.any():  # each round joins what touches a large region; chains take several
        of, beside = pairs[small[pairs[:, 0]] & ~small[pairs[:, 1]]].T
        difference = ((means[of] - means[owner[beside]]) ** 2).sum(axis=1)
        order = np.lexsort((difference, of))
        of, first = np.unique(of[order], return_index=True)
        owner[of] = owner[beside[order][first]]
        small[of] = False
    _, renumbered = np.unique(owner, return_inverse=True)
    return renumbered.astype(np.uint16)[pieces_HW]


def connected_pieces(numbers_HW: NDArray[Any]) -> NDArray[np.int32]:
    """Number the regions of equal values that are connected by their pixels' sides, from 0: int32 [H, W]."""
    height, width = numbers_HW.shape
    # On a grid of pixels and the gaps between them, a gap is open where both its pixels have the same value.
    grid = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    grid[::2, ::2] = 1
    grid[1::2, ::2] = numbers_HW[1:] == numbers_HW[:-1]
    grid[::2, 1::2] = numbers_HW[:, 1:] == numbers_HW[:, :-1]
    _, found = cv2.connectedComponents(grid, connectivity=4)
    return np.asarray(found[::2, ::2] - 1, np.int32)


def _adjacent(pieces_HW: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """The pairs of regions whose pixels touch by their sides, each in both orders: [pairs, 2]."""
    codes = []
    for one, other in ((pieces_HW[1:], pieces_HW[:-1]), (pieces_HW[:, 1:], pieces_HW[:, :-1])):
        differ = one != other
        a, b = one[differ].astype(np.int64), other[differ].astype(np.int64)
        codes += [a * count + b, b * count + a]
    found = np.unique(np.concatenate(codes))
    return np.stack(np.divmod(found, count), axis=1)
