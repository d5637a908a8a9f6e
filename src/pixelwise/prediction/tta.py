"""Test-time augmentation (TTA): the average prediction over variants of the image. Trades speed for accuracy.

The variants are the image, its mirror image, and both at other scales. Calibrated probabilities are averaged at the
image's size, strip by strip, and the most probable class is taken (as usual since Krizhevsky et al. 2012; for
segmentation Chen et al. 2018, arXiv:1802.02611, section 4).

A bundle that resizes every image to one input size (`stretch`, `fit`) would undo a change of scale. So a larger scale
is made of overlapping windows of the image, each enlarged by the bundle itself; a smaller one is the image shrunk onto
a canvas of its original size and padded by reflection. With `native` the image is resized.

Shapes: H, W the image's size; N bands; R rows of a strip; C classes; h, w the size of the scores; B, D a window's
height and width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.metadata import Metadata
from pixelwise.errors import UsageError
from pixelwise.images.decode import MAX_PIXELS
from pixelwise.prediction.confidence_maps import (
    STRIP_VALUES,
    RowsOfProbabilities,
    probabilities_of_rows,
    scores_of_rows,
)
from pixelwise.prediction.engines.engine import Engine
from pixelwise.prediction.in_memory import prediction_of, run_bounded_all
from pixelwise.prediction.large.tile_plan import PIECEWISE_PIXELS, Tiles, is_large, most_pixels
from pixelwise.records import Prediction, Raster, Scores

FLIP = "flip"
SCALES = (0.5, 4.0)  # the smallest and the largest; time grows with the square
OVERLAP = 0.25  # share of a window that it has in common with the next: at its edge it lacks context
EXPECTED = f"expected {FLIP} and scales from {SCALES[0]:g} to {SCALES[1]:g}, such as flip,1.25"


@dataclass(frozen=True)
class Variant:
    """One variant of an image: resized, mirrored or both."""

    scale: float
    flip: bool


@dataclass(frozen=True)
class VariantScores:
    """The scores of one window of one variant, mirrored back."""

    scores: Scores  # [C, h, w], then the probabilities of borders
    top: int  # of the window in the image
    left: int
    size: tuple[int, int]  # of the window, which may extend beyond the image to the right and below
    down: NDArray[np.float32]  # [B] weights of its rows
    across: NDArray[np.float32]  # [D] and of its columns; over all windows of a variant they add up to 1


def variants_of(text: str) -> tuple[Variant, ...]:
    """The variants that `--tta` names: "flip", "flip,1.25", "0.75,1.5". The unchanged image is always the first.

    Raises:
        UsageError: `text` is none of these.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    scales = [1.0]
    for word in words:
        if word == FLIP:
            continue
        try:
            scale = float(word)
        except ValueError as error:
            raise UsageError(f"--tta {text}: {word!r} is not a variant; {EXPECTED}.") from error
        if not SCALES[0] <= scale <= SCALES[1]:  # false for NaN too
            raise UsageError(f"--tta {text}: scale {word} is out of range; {EXPECTED}.")
        if scale not in scales:
            scales.append(scale)
    if not words:
        raise UsageError(f"--tta names no variant; {EXPECTED}.")
    return tuple(Variant(scale, flip) for scale in scales for flip in ((False, True) if FLIP in words else (False,)))


def predict_variants(engine: Engine, image_HWN: Raster, text: str) -> tuple[Prediction, RowsOfProbabilities]:
    """Label an image by the average over TTA variants. Returns also the average itself, by rows.

    The labels are those of the average at full size. `scores` are the logarithms of the average at the size of the
    first variant's scores, so that a probability is looked up in them as in any other prediction.

    Raises:
        UsageError: as `variants_of`; or the image is too large.
        BundleError: the model cannot be run on it.
    """
    metadata = engine.bundle.metadata
    variants = variants_of(text)
    height, width = image_HWN.shape[:2]
    check_size((height, width), variants, metadata)
    parts = [part for variant in variants for part in scores_of_variant(engine, image_HWN, variant, metadata.policy)]
    (maps, h, w), classes = parts[0].scores.shape, len(metadata.classes)
    centre_y = ((np.arange(h) + 0.5) * height / h).astype(np.intp)
    centre_x = ((np.arange(w) + 0.5) * width / w).astype(np.intp)
    labels_HW = np.empty((height, width), np.uint8)
    mean_Chw = np.empty((maps, h, w), np.float32)
    rows = max(STRIP_VALUES // (maps * width), 1)
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        mean_CRW = sum_of_rows(parts, classes, width, strip, metadata.temperature)
        labels_HW[strip] = mean_CRW[:classes].argmax(axis=0)
        here = (centre_y >= strip.start) & (centre_y < strip.stop)
        mean_Chw[:, here] = mean_CRW[:, centre_y[here] - top][:, :, centre_x]
    mean_Chw /= len(variants)
    np.log(np.maximum(mean_Chw[:classes], np.finfo(np.float32).tiny), out=mean_Chw[:classes])

    def mean_of_rows(strip: slice) -> NDArray[np.float32]:
        sum_CRW = sum_of_rows(parts, classes, width, strip, metadata.temperature)[:classes]
        return sum_CRW / np.float32(len(variants))

    return prediction_of(metadata, labels_HW, mean_Chw, temperature=1.0), mean_of_rows


def check_size(size: tuple[int, int], variants: tuple[Variant, ...], metadata: Metadata) -> None:
    """Raise UsageError if the image or a variant of it is too large."""
    if is_large(size, Tiles(), metadata.bands):
        most = most_pixels(PIECEWISE_PIXELS, metadata.bands)
        raise UsageError(
            f"the image has {size[1]}×{size[0]} pixels; test-time augmentation takes up to {most:,}. Leave out --tta."
        )
    largest = max(variant.scale for variant in variants)
    height, width = scaled(size, largest)
    most = most_pixels(MAX_PIXELS, metadata.bands)
    if metadata.policy == "native" and height * width > most:
        raise UsageError(
            f"--tta: at {largest:g} times its size the image has {width}×{height} pixels; the limit is "
            f"{most:,}. Leave out this scale."
        )


def sum_of_rows(
    parts: list[VariantScores], classes: int, width: int, rows: slice, temperature: float
) -> NDArray[np.float32]:
    """The sum over variants of the probabilities in the rows [start, stop) of the image, of classes and of borders.
    Returns [C + B, R, W]."""
    sum_CRW = np.zeros((len(parts[0].scores), rows.stop - rows.start, width), np.float32)
    for window in parts:
        top, bottom = max(rows.start, window.top), min(rows.stop, window.top + window.size[0])
        if top >= bottom:
            continue
        inside = slice(top - window.top, bottom - window.top)
        probability_CRD = probabilities_of_rows(window.scores[:classes], window.size, inside, temperature)
        if len(window.scores) > classes:
            borders_BRD = scores_of_rows(window.scores[classes:], window.size, inside)
            probability_CRD = np.concatenate([probability_CRD, borders_BRD])
        columns = min(width - window.left, window.size[1])
        weight_RD = window.down[inside, None] * window.across[None, :columns]
        part = (slice(None), slice(top - rows.start, bottom - rows.start), slice(window.left, window.left + columns))
        sum_CRW[part] += probability_CRD[:, :, :columns] * weight_RD
    return sum_CRW


def scores_of_variant(engine: Engine, image_HWN: Raster, variant: Variant, policy: str) -> Iterator[VariantScores]:
    """Run the bundle on one variant."""
    height, width = image_HWN.shape[:2]
    whole = (np.ones(height, np.float32), np.ones(width, np.float32))
    if variant.scale == 1 or policy == "native":
        size = scaled((height, width), variant.scale)
        yield VariantScores(run(engine, resized(image_HWN, size), variant.flip), 0, 0, (height, width), *whole)
    elif variant.scale < 1:
        h, w = scaled((height, width), variant.scale)
        smaller = resized(image_HWN, (h, w))
        canvas = cv2.copyMakeBorder(smaller, 0, height - h, 0, width - w, cv2.BORDER_REFLECT)
        padded: Any = np.asarray(canvas, smaller.dtype).reshape(height, width, -1)
        # in pixels of the image, the canvas has this size:
        size = (round(height * height / h), round(width * width / w))
        down, across = np.ones(size[0], np.float32), np.ones(size[1], np.float32)
        yield VariantScores(run(engine, padded, variant.flip), 0, 0, size, down, across)
    else:
        for top, down in windows(height, variant.scale):
            for left, across in windows(width, variant.scale):
                part = image_HWN[top : top + len(down), left : left + len(across)]
                yield VariantScores(run(engine, part, variant.flip), top, left, (len(down), len(across)), down, across)


def run(engine: Engine, image_HWN: Raster, flip: bool) -> Scores:
    """The scores of an image, or of its mirror image, mirrored back."""
    mirrored_HWN = image_HWN[:, ::-1] if flip else image_HWN
    contiguous: Any = np.ascontiguousarray(mirrored_HWN)
    _, scores_Chw = run_bounded_all(engine, contiguous)
    return np.ascontiguousarray(scores_Chw[:, :, ::-1]) if flip else scores_Chw


def windows(length: int, scale: float) -> list[tuple[int, NDArray[np.float32]]]:
    """Windows of length / scale that cover [0, length): the start of each, and the weights of its pixels.

    Weights fall towards the edges of a window, and the weights of all windows at a pixel add up to 1.
    """
    window = min(max(math.ceil(length / scale), 1), length)
    number = 1 if window == length else max(math.ceil((length - window) / (window * (1 - OVERLAP))), 1) + 1
    starts = [round(i * (length - window) / max(number - 1, 1)) for i in range(number)]
    ramp = np.minimum(np.arange(1, window + 1), np.arange(window, 0, -1)).astype(np.float64)
    total = np.zeros(length)
    for start in starts:
        total[start : start + window] += ramp
    return [(start, (ramp / total[start : start + window]).astype(np.float32)) for start in starts]


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def resized(image_HWN: Raster, size: tuple[int, int]) -> Raster:
    """The image at another size (height, width), shrunk by averaging. Next to missing values (NaN), NaN."""
    if image_HWN.shape[:2] == size:
        return image_HWN
    smooth = cv2.INTER_AREA if size[0] < image_HWN.shape[0] else cv2.INTER_LINEAR
    parts = [image_HWN[:, :, first : first + 4] for first in range(0, image_HWN.shape[2], 4)]  # OpenCV takes 4 bands
    shrunk = [cv2.resize(np.ascontiguousarray(part), (size[1], size[0]), interpolation=smooth) for part in parts]
    bands: list[Any] = [np.asarray(part, image_HWN.dtype).reshape(*size, -1) for part in shrunk]
    return bands[0] if len(bands) == 1 else np.concatenate(bands, axis=2)
