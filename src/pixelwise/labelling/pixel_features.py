"""What each pixel looks like, from all bands: colour, gradient, structure and curvature at strides 1 to 8; and lists of
feature maps at several strides, which are read at single pixels or brought to one grid.

Shapes: H, W the image's size; h, w that of a map; N bands; C channels of a map; F features of a pixel: those of all
maps; P points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Bands, Raster

Values = NDArray[np.floating[Any]]  # float32

MOST_BANDS = 12  # of more, neighbouring bands are averaged
CURVED = 3  # bands whose curvature is measured
STRIDES = (1, 2, 4, 8)
MOST_PLACES = 1 << 17  # of a grid: a megapixel has stride 4
USUAL = 1.5  # standard deviations from the mean
SMOOTHING_PX = 1.0  # σ, in pixels of each stride


@dataclass(frozen=True)
class FeatureMap:
    """Features of a grid of places."""

    values_hwC: Values
    stride: int  # pixels between places, a power of 2
    first_px: float  # where the middle of the first place lies, in pixels from the middle of the first pixel


class ImageFeatures:
    """The feature maps of one image or window."""

    def __init__(self, maps: Sequence[FeatureMap], height: int, width: int) -> None:
        self.maps = sorted(maps, key=lambda one: -one.stride)
        self.height, self.width = height, width

    @property
    def count(self) -> int:
        return sum(one.values_hwC.shape[2] for one in self.maps)

    @property
    def nbytes(self) -> int:
        return sum(one.values_hwC.nbytes for one in self.maps)

    def at(self, ys: NDArray[np.intp], xs: NDArray[np.intp]) -> Values:
        """The features of pixels, between the places of a map interpolated: [P, F]."""
        return np.concatenate([read(one, ys, xs) for one in self.maps], axis=1)

    def statistics(self) -> tuple[Values, Values]:
        """Mean and standard deviation of each feature, [F] each, of some of the places of its map."""
        flat = [one.values_hwC.reshape(-1, one.values_hwC.shape[2]) for one in self.maps]
        some = [values[:: max(len(values) // 20_000, 1)] for values in flat]
        return np.concatenate([one.mean(axis=0) for one in some]), np.concatenate([one.std(axis=0) for one in some])

    def grid(self) -> FeatureGrid:
        """All features on one grid, of the finest stride that has at most MOST_PLACES places."""
        stride = 1
        while -(-self.height // stride) * -(-self.width // stride) > MOST_PLACES:
            stride *= 2
        size = -(-self.height // stride), -(-self.width // stride)
        values_Fhw = np.empty((self.count, *size), np.float32)
        prior = np.empty(self.count, np.float32)
        place = 0
        for one in self.maps:
            part = slice(place, place + one.values_hwC.shape[2])
            values_Fhw[part] = np.moveaxis(refined(one, stride, size), 2, 0)
            prior[part] = 1 / one.values_hwC.shape[2]
            place = part.stop
        flat = values_Fhw.reshape(self.count, -1)
        some = flat[:, :: max(size[0] * size[1] // 10_000, 1)]
        mean, std = some.mean(axis=1), np.maximum(some.std(axis=1), 1e-6)
        for feature_P, middle, usual in zip(flat, mean, std, strict=True):
            bounded(feature_P, middle, usual)
        return FeatureGrid(values_Fhw, stride, mean, std, np.maximum(some.std(axis=1), 1e-6), prior)


@dataclass(frozen=True)
class FeatureGrid:
    """All features of an image at the places of one grid."""

    values_Fhw: Values  # bounded
    stride: int
    mean: Values  # [F] before
    std: Values  # [F] before
    spread: Values  # [F] standard deviation of those bounded
    prior: Values  # [F]: one over the number of channels of its map, so that each map weighs the same

    def bounded(self, features_PF: Values) -> Values:
        """Features of single pixels as those of the grid are: [P, F]."""
        return bounded(np.array(features_PF, np.float32), self.mean, self.std)


def bounded(values: Values, mean: Values, std: Values) -> Values:
    """Within −1 and 1, in place: how far beyond the usual a value lies counts little."""
    values -= mean
    values /= std * np.float32(USUAL)
    return np.asarray(np.tanh(values, out=values))


def refined(one: FeatureMap, to: int, size: tuple[int, int]) -> Values:
    """A map at a finer stride, or at a coarser one, of `size` places."""
    values_hwC, stride = one.values_hwC, one.stride
    centred = one.first_px == (stride - 1) / 2
    while stride > to:
        values_hwC = doubled_centred(values_hwC) if centred else doubled_late(values_hwC)
        stride //= 2
    if stride < to:
        step = to // stride
        values_hwC = values_hwC[(step - 1) // 2 :: step, (step - 1) // 2 :: step]
    below, right = (wanted - there for wanted, there in zip(size, values_hwC.shape, strict=False))
    if below > 0 or right > 0:
        values_hwC = np.pad(values_hwC, ((0, max(below, 0)), (0, max(right, 0)), (0, 0)), mode="edge")
    return values_hwC[: size[0], : size[1]]


def doubled_centred(values_hwC: Values) -> Values:
    """Twice the resolution; each place becomes two by two around its middle."""
    height, width, count = values_hwC.shape
    finer: Any = cv2.resize(values_hwC, (2 * width, 2 * height))
    return np.asarray(finer.reshape(2 * height, 2 * width, count))


def doubled_late(values_hwC: Values) -> Values:
    """Twice the resolution; each place is the second of two, and the first lies half-way from the place before."""
    for axis in (0, 1):
        before = np.concatenate([np.take(values_hwC, [0], axis), np.delete(values_hwC, -1, axis)], axis)
        values_hwC = np.stack([(before + values_hwC) / 2, values_hwC], axis + 1)
        shape = list(values_hwC.shape)
        shape[axis : axis + 2] = [2 * shape[axis]]
        values_hwC = values_hwC.reshape(shape)
    return values_hwC


def read(one: FeatureMap, ys: NDArray[np.intp], xs: NDArray[np.intp]) -> Values:
    """Values at pixels, bilinear: [P, C]."""
    height, width, _ = one.values_hwC.shape
    y = np.clip((ys - one.first_px) / one.stride, 0, height - 1).astype(np.float32)
    x = np.clip((xs - one.first_px) / one.stride, 0, width - 1).astype(np.float32)
    top, left = y.astype(np.intp), x.astype(np.intp)
    if one.stride == 1:
        return one.values_hwC[top, left]
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (y - top)[:, None], (x - left)[:, None]
    upper = one.values_hwC[top, left] * (1 - across) + one.values_hwC[top, right] * across
    lower = one.values_hwC[below, left] * (1 - across) + one.values_hwC[below, right] * across
    return np.asarray(upper * (1 - down) + lower * down)


def pixel_maps(image_HWN: Raster, bands: Bands) -> list[FeatureMap]:
    """The maps of an image's own pixels, at STRIDES."""
    level_HWN = unit_range(image_HWN, bands)
    maps = []
    for stride in STRIDES:
        maps.append(FeatureMap(looks(level_HWN, with_values=stride == 1), stride, (stride - 1) / 2))
        level_HWN = halved(level_HWN)
    return maps


def unit_range(image_HWN: Raster, bands: Bands) -> Values:
    """Values from low … high to 0 … 1, a little beyond at most; pixels without data take the mean of their band."""
    low, high = (np.array(ends, np.float32) for ends in (bands.low, bands.high))
    groups = np.array_split(np.arange(len(bands)), min(len(bands), MOST_BANDS))
    result = np.empty((*image_HWN.shape[:2], len(groups)), np.float32)
    for place, group in enumerate(groups):
        total = np.zeros(image_HWN.shape[:2], np.float32)
        for band in group:
            values = np.clip((image_HWN[:, :, band].astype(np.float32) - low[band]) / (high - low)[band], -0.5, 1.5)
            known = np.isfinite(values)
            if not known.all():
                values[~known] = values[known].mean() if known.any() else 0
            total += values
        result[:, :, place] = total / len(group)
    return result


def looks(level_HWN: Values, *, with_values: bool) -> Values:
    """Smoothed values, structure tensor strengths over all bands, and curvatures of some bands."""
    smooth = three_axes(cv2.GaussianBlur(level_HWN, (0, 0), SMOOTHING_PX))
    dx, dy = (three_axes(cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3, scale=1 / 8)) for order in ((1, 0), (0, 1)))
    tensor = [cv2.GaussianBlur((a * b).sum(axis=2), (0, 0), SMOOTHING_PX) for a, b in ((dy, dy), (dy, dx), (dx, dx))]
    strengths = [np.sqrt(np.maximum(one, 0)) for one in eigenvalues(*tensor)]
    curved = smooth[:, :, :CURVED]
    second = [
        three_axes(cv2.Sobel(curved, cv2.CV_32F, *order, ksize=3, scale=scale))
        for order, scale in (((0, 2), 1 / 4), ((1, 1), 1 / 4), ((2, 0), 1 / 4))
    ]
    parts = [smooth, *(one[:, :, None] for one in strengths), *eigenvalues(*second)]
    return np.concatenate([level_HWN, *parts] if with_values else parts, axis=2)


def eigenvalues(yy: Values, yx: Values, xx: Values) -> tuple[Values, Values]:
    """Of the symmetric matrices [[yy, yx], [yx, xx]]: the larger and the smaller."""
    middle, half = (yy + xx) / 2, np.sqrt(((yy - xx) / 2) ** 2 + yx**2)
    return middle + half, middle - half


def halved(level_HWN: Values) -> Values:
    """Half the resolution, each place the mean of two by two pixels; an odd side is padded."""
    height, width = level_HWN.shape[:2]
    even = np.pad(level_HWN, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def three_axes(values: Any) -> Values:
    """OpenCV drops the last axis of one channel."""
    return np.asarray(values[:, :, None] if values.ndim == 2 else values)
