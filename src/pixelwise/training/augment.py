"""Augmentation: random crops of an image and its mask, mirrored and relit at random.

Every choice is drawn from a generator seeded by (seed, pass, sample), so that an epoch can be repeated exactly from
any point. Image and mask share one box in the original image, so that they stay aligned; pixels outside the image are
void.

Shapes: H, W the original size; h, w the input size of the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.images.tiff_windows import TiffWindows
from pixelwise.records import VOID, Labels, Pixels, Raster
from pixelwise.training.disk_copies import DiskArray, WithOverview

Picture = Raster | DiskArray | TiffWindows | WithOverview  # [H, W, bands]: in memory or, if large, read where it lies
Mask = Labels | DiskArray  # [H, W]
PADDING = 127  # grey level of pixels outside the image: near 0 once normalised


@dataclass(frozen=True)
class Crop:
    """A box in the original, in its pixels; it may reach outside the image."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool


def generator(seed: int, passes: int, sample: int) -> np.random.Generator:
    """The random generator for one sample after so many passes over all of them."""
    return np.random.Generator(np.random.PCG64([seed, passes, sample]))


def random_crop(
    rng: np.random.Generator,
    image_size: tuple[int, int],
    seen_size: tuple[int, int],
    size: tuple[int, int],
    zoom: tuple[float, float],
    flip: bool,
) -> Crop:
    """Draw a crop: scaled by `zoom`, its aspect ratio changed by up to 10 % each way, anywhere on the image.

    Args:
        image_size: H, W.
        seen_size: the input size of a whole image in prediction; zoom 1 keeps its scale.
        size: h, w of the crop at the network's input.
    """
    magnification = float(np.exp(rng.uniform(*np.log(zoom))))
    bend = float(np.exp(rng.uniform(-0.1, 0.1)))
    box = []
    for full, seen, out, factor in zip(image_size, seen_size, size, (bend, 1 / bend), strict=True):
        length = max(round(out * full / (seen * magnification * factor)), 1)
        slack = full - length  # negative: the box is larger than the image, which then lies anywhere inside it
        box.append((round(rng.uniform(min(slack, 0), max(slack, 0))), length))
    (top, height), (left, width) = box
    return Crop(top, left, height, width, mirrored=flip and bool(rng.random() < 0.5))


def rarest_crop(crops: Sequence[Crop], mask_HW: Mask, size: tuple[int, int], rare: Sequence[int]) -> Crop:
    """The crop with the largest share of rare classes; the first of equals.

    Random crops show mostly frequent classes; poles and riders should occur more often than by chance.

    Args:
        size: of the crops at the network's input; every fourth pixel in each direction is counted.
        rare: ids of the rare classes.
    """
    few = (-(-size[0] // 4), -(-size[1] // 4))
    shares = [np.isin(crop_mask(mask_HW, crop, few), rare).mean() for crop in crops]
    return crops[int(np.argmax(shares))]


def centred_on_rare(
    rng: np.random.Generator, crop: Crop, size: tuple[int, int], rare_places: Sequence[NDArray[np.int32]]
) -> Crop:
    """`crop` moved so that a pixel of a rare class lies near its middle.

    Args:
        size: H, W of the image.
        rare_places: for each rare class in the mask, rows and columns of some of its pixels; every class is equally
            likely, however few pixels it has.
    """
    places = rare_places[int(rng.integers(len(rare_places)))]
    pixel = places[int(rng.integers(len(places)))]
    moved = []
    for at, length, full in zip(pixel, (crop.height, crop.width), size, strict=True):
        start = int(at) - round(length * rng.uniform(0.25, 0.75))
        moved.append(min(max(start, min(full - length, 0)), max(full - length, 0)))
    return replace(crop, top=moved[0], left=moved[1])


def enlarged(crop: Crop, size: tuple[int, int], angle: float) -> tuple[Crop, tuple[int, int]]:
    """The crop and its size at the network's input, so much larger around the same middle that it can be rotated by
    `angle` degrees without empty corners."""
    if not angle:
        return crop, size
    cosine, sine = abs(np.cos(np.radians(angle))), abs(np.sin(np.radians(angle)))
    wide = math.ceil(size[0] * cosine + size[1] * sine), math.ceil(size[1] * cosine + size[0] * sine)
    height, width = round(crop.height * wide[0] / size[0]), round(crop.width * wide[1] / size[1])
    top, left = crop.top - (height - crop.height) // 2, crop.left - (width - crop.width) // 2
    return replace(crop, top=top, left=left, height=height, width=width), wide


def rotated(array: NDArray[Any], angle: float, size: tuple[int, int], fill: int) -> NDArray[Any]:
    """The middle of an image [h, w, N] or of labels [h, w], rotated by `angle` degrees, at `size`.

    Labels are never mixed: nearest neighbour.
    """
    height, width = array.shape[:2]
    turn_2x3 = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    turn_2x3[:, 2] += ((size[1] - width) / 2, (size[0] - height) / 2)
    how = cv2.INTER_NEAREST if array.ndim == 2 else cv2.INTER_LINEAR
    parts = [array] if array.ndim == 2 else [array[:, :, first : first + 3] for first in range(0, array.shape[2], 3)]
    turned = [
        cv2.warpAffine(np.ascontiguousarray(part), turn_2x3, size[::-1], flags=how, borderValue=(fill,) * 4)
        for part in parts
    ]
    if array.ndim == 2:
        return np.asarray(turned[0], array.dtype)
    return np.concatenate([part if part.ndim == 3 else part[:, :, None] for part in turned], axis=2)


def crop_image(image_HWN: Picture, crop: Crop) -> Raster:
    """The pixels in the crop, grey (in floats, missing) outside the image; not yet scaled, resized or mirrored."""
    height, width = image_HWN.shape[:2]
    outside = PADDING if image_HWN.dtype == np.uint8 else np.nan
    top, left = max(crop.top, 0), max(crop.left, 0)
    bottom, right = min(crop.top + crop.height, height), min(crop.left + crop.width, width)
    if bottom <= top or right <= left:  # the crop lies outside, as part of a larger one may
        return np.full((crop.height, crop.width, *image_HWN.shape[2:]), outside, image_HWN.dtype)
    inside: Raster = image_HWN[top:bottom, left:right]
    if inside.shape[:2] == (crop.height, crop.width):
        return inside
    out = np.full((crop.height, crop.width, *image_HWN.shape[2:]), outside, image_HWN.dtype)
    out[top - crop.top : bottom - crop.top, left - crop.left : right - crop.left] = inside
    return out


def crop_mask(mask_HW: Mask, crop: Crop, size: tuple[int, int]) -> Labels:
    """The labels in the crop at `size`, void where it reaches outside, mirrored like the image will be."""
    labels: Labels = crop_numbers(mask_HW, crop, size, VOID)
    return labels


def crop_numbers(mask_HW: NDArray[Any] | DiskArray, crop: Crop, size: tuple[int, int], outside: int) -> NDArray[Any]:
    """Class ids, or numbers of objects, in the crop at `size`, `outside` where it reaches outside the image, mirrored
    like the image will be.

    Nearest-neighbour: numbers are never mixed. Only the rows that are shown are read.
    """
    height, width = mask_HW.shape
    rows = crop.top + ((np.arange(size[0]) + 0.5) * crop.height / size[0]).astype(int)
    columns = crop.left + ((np.arange(size[1]) + 0.5) * crop.width / size[1]).astype(int)
    if crop.mirrored:
        columns = columns[::-1]
    inside_h, inside_w = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    left, right = max(crop.left, 0), min(crop.left + crop.width, width)
    shown_hw = mask_HW[rows[inside_h], left : max(right, left)][:, columns[inside_w] - left]
    if shown_hw.shape == size:
        return np.ascontiguousarray(shown_hw)
    numbers_hw = np.full(size, outside, mask_HW.dtype)
    numbers_hw[np.ix_(inside_h, inside_w)] = shown_hw
    return numbers_hw


def relight(rng: np.random.Generator, image_hw3: Pixels, strength: float) -> Pixels:
    """Simulate other light and cameras: exposure, contrast, gamma, colour cast, saturation, blur, grain.

    The strength is drawn for each crop between 0 and `strength`, so that unchanged light occurs too. Without this, a
    model trained on photos of one day fails at dusk and under clouds.
    """
    if strength == 0:
        return image_hw3
    strength *= rng.random()
    contrast = np.exp(rng.uniform(-0.4, 0.4) * strength)
    gamma = np.exp(rng.uniform(-0.5, 0.5) * strength)
    exposure = np.exp(rng.uniform(-0.4, 0.3) * strength)
    cast_3 = np.exp(rng.uniform(-0.15, 0.15, 3) * strength)
    saturation = max(1 + rng.uniform(-0.7, 0.5) * strength, 0.0)

    levels = (np.arange(256) / 255.0) ** gamma
    curves_256x3 = ((levels[:, None] * cast_3 * exposure - 0.5) * contrast + 0.5).clip(0, 1) * 255
    out = cv2.LUT(image_hw3, curves_256x3.round().astype(np.uint8)[None])
    luma_3 = np.array([0.299, 0.587, 0.114])
    out = cv2.transform(out, saturation * np.eye(3) + (1 - saturation) * luma_3)
    if rng.random() < 0.2 * strength:
        out = cv2.GaussianBlur(out, (3, 3), rng.uniform(0.3, 1.0))
    if rng.random() < 0.3 * strength:
        # Grain tiled from a small patch: a draw for every pixel would take longer than the network's first layers.
        patch = rng.normal(0, rng.uniform(2, 10), (64, 64, 3))
        repeats = (-(-out.shape[0] // 64), -(-out.shape[1] // 64), 1)
        grain = np.tile(patch, repeats)[: out.shape[0], : out.shape[1]]
        out = (out + grain).clip(0, 255).astype(np.uint8)
    return np.asarray(out, np.uint8)
