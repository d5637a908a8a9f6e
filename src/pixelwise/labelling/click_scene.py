"""Parts of an image around clicks, each as superpixels and a tree of regions; and which parts those are.

An object may be of any size, so that a click is looked at in several windows: the smallest is enlarged, large ones are
reduced. Windows lie on a fixed grid: the clicks of one object, and later objects, share them.

Shapes: H, W the image's size; h, w that of a scene's picture; P superpixels; N bands; F features.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.labelling.click_points import Click
from pixelwise.labelling.patch import Mask, Window
from pixelwise.labelling.pixel_features import ImageFeatures
from pixelwise.labelling.region_tree import (
    Floats,
    Pieces,
    RegionTree,
    edge_strength,
    join,
    means_of,
    neighbours,
)
from pixelwise.labelling.stretched_bands import stretched_bands
from pixelwise.labelling.superpixels import superpixels
from pixelwise.records import Raster

SIDES_PX = (96, 256, 512, 1024, 2048)  # of windows; the next one is the whole image
PICTURE_PX = (192, 256)  # of the picture of the smallest window, and of all others at most
PIECE_PX = (4, 6)  # of a superpixel in pictures of up to 256 pixels' width of the image, and of more
LOOKS = 8  # principal components of the encoder's features
JOIN_WEIGHTS = (0.4, 1.0, 0.35)  # edge, colour, looks
KEPT = 12  # scenes of one image


@dataclass(frozen=True)
class ClickScene:
    """One window of an image."""

    window: Window
    bands_hwN: Floats  # stretched to 0–1
    pieces: Pieces
    tree: RegionTree
    cut: tuple[bool, bool, bool, bool]  # does the image continue at the top, left, bottom, right?

    def place(self, click: Click) -> tuple[int, int]:
        """Row and column of a click in the picture."""
        height, width = self.pieces.ids_hw.shape
        y = (2 * (click.y - self.window.y) + 1) * height // (2 * self.window.h)
        x = (2 * (click.x - self.window.x) + 1) * width // (2 * self.window.w)
        return y, x

    def piece(self, click: Click) -> int:
        """The superpixel of a click."""
        return int(self.pieces.ids_hw[self.place(click)])

    def holds(self, click: Click) -> bool:
        x, y = click.x - self.window.x, click.y - self.window.y
        return 0 <= x < self.window.w and 0 <= y < self.window.h

    def share(self, inside_HW: Mask) -> Floats:
        """The part of each superpixel that a mask of the image covers, about: [P]."""
        height, width = self.pieces.ids_hw.shape
        part = inside_HW[self.window.slices].view(np.uint8)
        small = cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST)
        covered = np.bincount(self.pieces.ids_hw.reshape(-1), small.reshape(-1), self.pieces.count)
        return np.asarray(covered / self.pieces.areas_P)

    def full_size(self, inside_P: Mask) -> Mask:
        """Chosen superpixels as a mask of the window's pixels."""
        picture = inside_P[self.pieces.ids_hw].astype(np.float32)
        large: Any = cv2.resize(picture, (self.window.w, self.window.h), interpolation=cv2.INTER_LINEAR)
        return np.asarray(large >= 0.5)


class ClickScenes:
    """The scenes of one image, made when asked for; the last ones are kept."""

    def __init__(self, image_HWN: Raster, features: ImageFeatures | None) -> None:
        self.image_HWN, self.features = image_HWN, features
        self.made: OrderedDict[Window, ClickScene] = OrderedDict()

    def at(self, click: Click) -> list[ClickScene]:
        """Those that a click is looked at in, the smallest window first."""
        return [self.of(window) for window in windows_at(click, *self.image_HWN.shape[:2])]

    def of(self, window: Window) -> ClickScene:
        found = self.made.get(window)
        if found is None:
            found = self.made[window] = make_scene(self.image_HWN, window, self.features)
            while len(self.made) > KEPT:
                self.made.popitem(last=False)
        else:
            self.made.move_to_end(window)
        return found


def windows_at(click: Click, height: int, width: int) -> list[Window]:
    """Windows around a click, from small to large; the last is the whole image, as far as a side of 4,096 allows."""
    found = []
    for side in SIDES_PX:
        if side > 0.75 * max(height, width):
            break
        x, y = (nearest_start(at, side, length) for at, length in ((click.x, width), (click.y, height)))
        found.append(Window(x, y, side, side).clipped(height, width))
    side = 2 * SIDES_PX[-1]
    x, y = (nearest_start(at, side, length) for at, length in ((click.x, width), (click.y, height)))
    found.append(Window(x, y, side, side).clipped(height, width))
    return list(dict.fromkeys(found))


def nearest_start(at: int, side: int, length: int) -> int:
    """Where the window begins, on a grid of a quarter of its side, whose middle is nearest."""
    step = side // 4
    return max(min(round((at - side / 2) / step) * step, length - side), 0)


def make_scene(image_HWN: Raster, window: Window, features: ImageFeatures | None) -> ClickScene:
    height, width, count = image_HWN.shape
    bands = stretched_bands(image_HWN[window.slices])
    wanted = PICTURE_PX[0] if max(window.w, window.h) <= SIDES_PX[0] else PICTURE_PX[1]
    scale = wanted / max(window.w, window.h)
    if scale < 1 or max(window.w, window.h) <= SIDES_PX[0]:
        size = (max(round(window.w * scale), 1), max(round(window.h * scale), 1))
        bands = np.asarray(
            cv2.resize(bands, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.float32
        ).reshape(size[1], size[0], count)
    pieces = divided(bands, window, features, (height, width))
    cut = (window.y > 0, window.x > 0, window.y + window.h < height, window.x + window.w < width)
    return ClickScene(window, bands, pieces, join(pieces, JOIN_WEIGHTS), cut)


def divided(bands_hwN: Floats, window: Window, features: ImageFeatures | None, size: tuple[int, int]) -> Pieces:
    """The superpixels of a picture, in units of the usual difference between neighbours."""
    height, width = bands_hwN.shape[:2]
    ids = superpixels(bands_hwN.astype(np.float32), PIECE_PX[max(window.w, window.h) > SIDES_PX[1]])
    count = int(ids.max()) + 1
    pairs, lengths, edges = neighbours(ids, edge_strength(bands_hwN, 0.8), count)
    areas = np.bincount(ids.reshape(-1), minlength=count).astype(float)
    looks: Floats = np.zeros((count, 1))
    if features is not None:
        grid = np.dstack([*np.mgrid[:height, :width]]).astype(np.float32) + np.float32(0.5)
        middles = means_of(ids, grid, count) * (window.h / height, window.w / width) + (window.y - 0.5, window.x - 0.5)
        looks = principal(read_features(features, middles, size))
    edges = edges / max(float(np.median(edges)) if len(edges) else 0.0, 1e-3)
    return Pieces(ids, areas, in_units(means_of(ids, bands_hwN, count), pairs), in_units(looks, pairs), pairs,
                  lengths, edges)  # fmt: skip


def read_features(features: ImageFeatures, middles_P2: Floats, size: tuple[int, int]) -> Floats:
    """The encoder's features in the middle of each superpixel, normalised: [P, F].

    They may be those of the image at a smaller scale; `size` is the image's own height and width.
    """
    middles_P2 = (middles_P2 + 0.5) * (features.height / size[0], features.width / size[1]) - 0.5
    limits = (features.height - 1, features.width - 1)
    ys, xs = (np.clip(np.rint(middles_P2[:, i]), 0, limits[i]).astype(np.intp) for i in (0, 1))
    values = features.at(ys, xs)
    return np.asarray((values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-3))


def principal(values_PF: Floats) -> Floats:
    centred = values_PF - values_PF.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ axes[:, : -LOOKS - 1 : -1])


def in_units(values_PF: Floats, pairs_E2: NDArray[np.int64]) -> Floats:
    """Scaled so that neighbours differ by 1 in the mean."""
    if not len(pairs_E2):
        return values_PF
    differences = values_PF[pairs_E2[:, 0]] - values_PF[pairs_E2[:, 1]]
    return values_PF / max(float(np.sqrt((differences**2).sum(axis=1)).mean()), 1e-6)
