"""The fingerprint: what a training's data look like, measured; from it `plan.py` derives a recipe.

Sizes are of all images; everything else is measured on a spread of them, so that thousands of pairs take seconds.

Shapes: H, W the image size; C classes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.inspect_pair import alone
from pixelwise.datasets.read_ahead import in_threads
from pixelwise.datasets.read_sample import image_size_of, read_sample_image, read_sample_mask, streamed_mask_window
from pixelwise.datasets.streamed_pairs import has_streamed_image
from pixelwise.errors import DatasetError, PixelwiseError
from pixelwise.heap import available_bytes
from pixelwise.images.pixel_size import PixelSize, pixel_size
from pixelwise.images.tiff_windows import TiffWindows
from pixelwise.records import RGB, VOID, Bands, Dataset, Labels, OnProgress, Raster, Sample, no_progress
from pixelwise.training.object_facts import ObjectFacts, object_facts

MOST_PAIRS = 150  # are read
MOST_PIXELS = 150_000_000  # are read, in all; at least LEAST_PAIRS pairs
LEAST_PAIRS = 4
WINDOW_PX = 2048  # of a larger image, the middle is measured
FEW_PIXELS = 4096  # of each image, for the statistics of its values
CLEAR_CONTRAST = 0.05  # of the range of values: less has no sign
PARTLY = 0.9  # share of an image that is labelled, below which the outline of labels is no edge of a class
SPARSE = 0.5  # share of the pixels that are labelled, below which labels are strokes: their width is not the class's
SPECK_PX = 4  # smaller regions are left out of the widths: single wrong pixels


@dataclass(frozen=True)
class ClassFacts:
    """One class in the training images."""

    name: str
    share: float  # of the labelled pixels, 0–1
    images: float  # share of the images that have it
    width_px: float  # typical thickness of its regions in the image's pixels; NaN if it does not occur or is sparse
    regions: float  # median number of regions in an image that has it


@dataclass(frozen=True)
class BandRange:
    """The values of one band in the training images, as stored."""

    name: str
    low: float  # becomes 0 for the network: of 8 bits 0, of others the 0.5 % percentile
    high: float  # becomes 255: of 8 bits 255, of others the 99.5 % percentile
    mean: float
    spread: float  # standard deviation


@dataclass(frozen=True)
class Fingerprint:
    """What was measured. All sizes are (height, width) in pixels."""

    train: int  # images
    val: int
    groups: int  # of training images that belong together (a volume, a film …); as many as images if none do
    size: tuple[int, int]  # median
    smallest: tuple[int, int]  # by area
    largest: tuple[int, int]
    bands: tuple[BandRange, ...]
    dtype: str  # of the values as the network takes them
    missing: float  # share of the pixels without a value in some band
    grey: bool  # the bands are equal
    classes: tuple[ClassFacts, ...]
    labelled: float  # share of the pixels that are labelled, 0–1
    upright: float  # how much more top and bottom differ in their classes than left and right do, 0–1
    exposure: float  # spread of the images' brightness: standard deviation of their means, share of the range
    reversed: float  # share of the images whose contrast between objects and ground has the rarer of the two signs
    colour: float  # mean saturation, 0–1; 0: grey
    one_hue: float  # how much the hues of all images agree, 0–1
    measured: int  # pairs that were read
    pixel_size: tuple[float, float] | None  # (height, width) of the median image's pixels; None if no file states it
    pixel_unit: str  # "m" or "°"; "" if none is known
    pixel_sizes: float  # how many times larger the largest pixels are than the smallest, along a side; 1 if all agree
    cores: int
    memory_gb: float  # available
    objects: dict[str, ObjectFacts] = field(default_factory=dict)  # by class, where the data tell objects apart

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "objects" or value}

    @property
    def pixels(self) -> int:
        """Of the median image."""
        return self.size[0] * self.size[1]

    @property
    def thinnest(self) -> ClassFacts | None:
        """The class with the thinnest regions; None if no width could be measured."""
        known = [one for one in self.classes if one.width_px == one.width_px]  # not NaN
        return min(known, key=lambda one: one.width_px, default=None)

    @property
    def rarest_share(self) -> float:
        """Of the labelled pixels, that of the rarest class that occurs; 1 if only one does."""
        return min((one.share for one in self.classes if one.share > 0), default=1.0)


@dataclass(frozen=True)
class MeasuredPair:
    """What was measured in one pair."""

    counts_C: NDArray[np.int64]
    labelled: float
    widths: dict[int, tuple[float, float]]  # class → (sum over its measured pixels of the width there, their number)
    regions: dict[int, int]
    thirds_4C: NDArray[np.float64]  # class shares in the top, bottom, left and right third
    brightness: float  # mean, share of the range
    contrast: float  # brightness of the other classes minus that of the most frequent one, share of the range
    saturation: float
    hue: complex  # mean direction of the hues, weighted by saturation
    grey: bool
    missing: float  # share of the pixels without a value in some band
    mean_B: NDArray[np.float64]  # of each band, share of the range
    square_B: NDArray[np.float64]  # mean of the squares


def measure(dataset: Dataset, progress: OnProgress = no_progress) -> Fingerprint:
    """Measure the train and val splits of a dataset.

    Raises:
        DatasetError: none of its training pairs can be read.
    """
    samples, val = dataset.splits["train"], dataset.splits.get("val", ())
    sizes = sizes_of(samples)
    chosen = spread(samples, sizes)
    classes = len(dataset.classes)

    def read(sample: Sample) -> MeasuredPair | None:
        try:
            image_HWB, mask_HW = middle_or_whole(sample, dataset)
        except PixelwiseError:  # `check` reports it; a training stops there or leaves the pair out
            return None
        if not np.isfinite(image_HWB).any():  # no data: likewise
            return None
        return measured_pair(image_HWB, mask_HW, classes, dataset.bands)

    found = []
    for done, facts in enumerate(in_threads(read, chosen), start=1):
        found += [facts] if facts is not None else []
        progress(done, len(chosen))
    if not found:
        raise DatasetError(
            f"{dataset.root}: none of {len(chosen)} training pairs can be read. See: pixelwise check {dataset.root}",
            dataset.problems,
        )
    return summary(dataset, found, sizes, len(val), pixel_sizes_of(chosen))


def middle_or_whole(sample: Sample, dataset: Dataset) -> tuple[Raster, Labels]:
    """The middle of a pair, WINDOW_PX a side, or all of a smaller one. Large ones are decoded one at a time."""
    classes, size = len(dataset.classes), image_size_of(sample)
    (top, height), (left, width) = ((max((side - WINDOW_PX) // 2, 0), min(side, WINDOW_PX)) for side in size)
    with alone(size[0] * size[1]):
        if has_streamed_image(sample):
            image = TiffWindows(sample.image, dataset.bands)[top : top + height, left : left + width]
            window = (top, left, height, width)
            return image, streamed_mask_window(sample, dataset.mask_ids, classes, size, window)
        whole = read_sample_image(sample, dataset.bands)
        mask = read_sample_mask(sample, dataset.mask_ids, classes, (whole.shape[0], whole.shape[1]))
        if (height, width) == size:
            return whole, mask
        return whole[top : top + height, left : left + width].copy(), mask[
            top : top + height, left : left + width
        ].copy()


def summary(
    dataset: Dataset,
    found: Sequence[MeasuredPair],
    sizes: Sequence[tuple[int, int]],
    val: int,
    spacings: Sequence[PixelSize],
) -> Fingerprint:
    samples = dataset.splits["train"]
    by_height = sorted(spacings, key=lambda one: one.height)
    spacing = by_height[len(by_height) // 2] if by_height else None
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    thirds_N4C = np.array([facts.thirds_4C for facts in found])
    hues = [facts.hue for facts in found]
    loose = sum(not sample.group for sample in samples)
    means = [facts.brightness for facts in found]
    return Fingerprint(
        train=len(samples), val=val,
        groups=loose + len({sample.group for sample in samples if sample.group}),
        size=(int(np.median([h for h, _ in sizes])), int(np.median([w for _, w in sizes]))),
        smallest=by_area[0], largest=by_area[-1],
        bands=band_values(dataset.bands, found), dtype=dataset.bands.dtype,
        missing=float(np.mean([facts.missing for facts in found])),
        grey=all(facts.grey for facts in found),
        classes=class_facts(dataset.classes.names, found),
        labelled=float(np.mean([facts.labelled for facts in found])),
        upright=uprightness(thirds_N4C),
        exposure=float(np.std(means)),
        reversed=rarer_sign(np.array([facts.contrast for facts in found])),
        colour=float(np.mean([facts.saturation for facts in found])),
        one_hue=float(abs(sum(hues)) / max(sum(abs(hue) for hue in hues), 1e-9)),
        measured=len(found),
        pixel_size=spacing and (spacing.height, spacing.width), pixel_unit=spacing.unit if spacing else "",
        pixel_sizes=by_height[-1].height / by_height[0].height if by_height else 1.0,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=round(available_bytes() / 1e9, 1), objects=object_facts(dataset),
    )  # fmt: skip


def band_values(bands: Bands, found: Sequence[MeasuredPair]) -> tuple[BandRange, ...]:
    mean_B = np.mean([facts.mean_B for facts in found], axis=0)
    spread_B = np.sqrt(np.maximum(np.mean([facts.square_B for facts in found], axis=0) - mean_B**2, 0))
    rows = zip(bands.names, bands.low, bands.high, mean_B.tolist(), spread_B.tolist(), strict=True)
    return tuple(
        BandRange(name, low, high, low + mean * (high - low), spread * (high - low))
        for name, low, high, mean, spread in rows
    )


def sizes_of(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """(H, W) of every image that can be opened, from the headers."""

    def size(sample: Sample) -> tuple[int, int] | None:
        try:
            return image_size_of(sample)
        except PixelwiseError:
            return None

    return [found for found in in_threads(size, samples) if found is not None] or [(1, 1)]


def pixel_sizes_of(samples: Sequence[Sample]) -> list[PixelSize]:
    """Of the images whose files state it, in the unit that most of them use."""
    found = [size for size in in_threads(lambda sample: pixel_size(sample.image), samples) if size is not None]
    units = [size.unit for size in found]
    return [size for size in found if size.unit == max(set(units), key=units.count)]


def spread(samples: Sequence[Sample], sizes: Sequence[tuple[int, int]]) -> list[Sample]:
    """As many samples as may be read, evenly spaced."""
    step = max(len(samples) / MOST_PAIRS, 1.0)
    chosen = [samples[int(number * step)] for number in range(min(len(samples), MOST_PAIRS))]
    mean_px = sum(h * w for h, w in sizes) / len(sizes)
    affordable = max(int(MOST_PIXELS / mean_px), LEAST_PAIRS)
    return chosen[:: -(-len(chosen) // affordable)] if len(chosen) > affordable else chosen


def measured_pair(image_HWB: Raster, mask_HW: Labels, classes: int, bands: Bands) -> MeasuredPair:
    top, left = (max((side - WINDOW_PX) // 2, 0) for side in mask_HW.shape)
    mask_HW = np.ascontiguousarray(mask_HW[top : top + WINDOW_PX, left : left + WINDOW_PX])
    image_HWB = image_HWB[top : top + WINDOW_PX, left : left + WINDOW_PX]
    counts = np.bincount(mask_HW.ravel(), minlength=256)[:classes].astype(np.int64)
    labelled = float((mask_HW != VOID).mean())
    widths, regions = {}, {}
    for id_ in np.flatnonzero(counts) if labelled >= SPARSE else ():
        widths[int(id_)], regions[int(id_)] = width_and_regions(mask_HW, int(id_))
    step = max(int((mask_HW.size / FEW_PIXELS) ** 0.5), 1)
    stored_NB = image_HWB[::step, ::step].reshape(-1, len(bands)).astype(np.float64)
    finite_N = np.isfinite(stored_NB).all(axis=1)
    low_B, high_B = np.array(bands.low), np.array(bands.high)
    values_NB = ((stored_NB[finite_N] - low_B) / (high_B - low_B)).clip(-0.5, 1.5)
    few_N = mask_HW[::step, ::step].ravel()[finite_N]
    if not len(values_NB):
        values_NB, few_N = np.zeros((1, len(bands))), np.full(1, VOID, np.uint8)
    saturation_N, hue_N = hues_of(values_NB) if bands == RGB else (np.zeros(len(values_NB)), np.zeros(1, complex))
    return MeasuredPair(
        counts, labelled, widths, regions, thirds(mask_HW, classes),
        brightness=float(values_NB.mean()),
        contrast=contrast_of(values_NB.mean(axis=1), few_N == int(counts.argmax()), few_N != VOID),
        saturation=float(saturation_N.mean()), hue=complex(hue_N.mean()),
        grey=bool((values_NB == values_NB[:, :1]).all()),
        missing=1 - float(finite_N.mean()),
        mean_B=values_NB.mean(axis=0), square_B=(values_NB**2).mean(axis=0),
    )  # fmt: skip


def width_and_regions(mask_HW: Labels, id_: int) -> tuple[tuple[float, float], int]:
    """The typical width of a class's regions, as (sum, number) over its pixels; and the number of its regions.

    The width is that of the thinner half of the pixels' regions, so that a few thick vessels do not hide the thin
    ones. The image's border is no edge. Where much of the image is not labelled, the edge lies somewhere between the
    outline of what is and the labels of other classes: half-way, here.
    """
    inside_HW = (mask_HW == id_).astype(np.uint8)
    number, regions_HW, stats, _ = cv2.connectedComponentsWithStats(inside_HW, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if inside_HW.all():
        return (0.0, 0.0), number - 1
    distance_HW = cv2.distanceTransform(inside_HW, cv2.DIST_L2, 5)
    if np.mean(mask_HW != VOID) < PARTLY:
        others_HW = (mask_HW != id_) & (mask_HW != VOID)
        if not others_HW.any():
            return (0.0, 0.0), number - 1
        to_others_HW = cv2.distanceTransform((~others_HW).view(np.uint8), cv2.DIST_L2, 5)
        distance_HW = (distance_HW + to_others_HW * inside_HW) / 2
    big = np.flatnonzero(areas >= SPECK_PX) + 1
    if not len(big):
        return (float(areas.sum()), float(areas.sum())), number - 1
    sums = np.bincount(regions_HW.ravel(), distance_HW.ravel(), minlength=number)[big]
    weights = stats[big, cv2.CC_STAT_AREA]
    widths = strip_width(sums / weights)
    order = np.argsort(widths)
    half = int(np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)) + 1
    chosen = order[:half]
    return (float((widths[chosen] * weights[chosen]).sum()), float(weights[chosen].sum())), number - 1


def strip_width(mean_distance_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """The width of a strip whose pixels have this mean distance to the nearest pixel outside.

    A strip of w pixels, w odd, has a mean of (w + 1)² / 4w.
    """
    twice_N = 4 * mean_distance_N - 2
    return np.asarray((twice_N + np.sqrt(np.maximum(twice_N**2 - 4, 0.0))) / 2)


def thirds(mask_HW: Labels, classes: int) -> NDArray[np.float64]:
    """Class shares [4, C] of the labelled pixels in the top, bottom, left and right third."""
    height, width = (max(side // 3, 1) for side in mask_HW.shape)
    parts = (mask_HW[:height], mask_HW[-height:], mask_HW[:, :width], mask_HW[:, -width:])
    counts = np.array([np.bincount(part.ravel(), minlength=256)[:classes] for part in parts], np.float64)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def uprightness(thirds_N4C: NDArray[np.float64]) -> float:
    """How much more top and bottom differ than left and right, 0–1: total variation of the mean class shares."""
    top, bottom, left, right = thirds_N4C.mean(axis=0)
    return max(float(np.abs(top - bottom).sum() - np.abs(left - right).sum()) / 2, 0.0)


def hues_of(values_N3: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Saturation (0–1) of each pixel, and the direction of its hue with that length."""
    red, green, blue = values_N3.T
    hue_N = (red - (green + blue) / 2) + 1j * (3**0.5 / 2) * (green - blue)
    return values_N3.max(axis=1) - values_N3.min(axis=1), hue_N


def contrast_of(brightness_N: NDArray[np.float64], ground_N: NDArray[np.bool_], labelled_N: NDArray[np.bool_]) -> float:
    others_N = labelled_N & ~ground_N
    if not (others_N.any() and ground_N.any()):
        return 0.0
    return float(brightness_N[others_N].mean() - brightness_N[ground_N].mean())


def rarer_sign(contrasts_N: NDArray[np.float64]) -> float:
    """The share of the clear contrasts that have the rarer sign, 0–0.5."""
    clear_N = contrasts_N[np.abs(contrasts_N) >= CLEAR_CONTRAST]
    return float(min((clear_N > 0).mean(), (clear_N < 0).mean())) if len(clear_N) else 0.0


def class_facts(names: Sequence[str], found: Sequence[MeasuredPair]) -> tuple[ClassFacts, ...]:
    counts_NC = np.array([facts.counts_C for facts in found])
    total = max(int(counts_NC.sum()), 1)
    rows = []
    for id_, name in enumerate(names):
        sums = [facts.widths[id_] for facts in found if id_ in facts.widths and facts.widths[id_][1]]
        widths = [width / number for width, number in sums]
        regions = [facts.regions[id_] for facts in found if id_ in facts.regions]
        rows.append(
            ClassFacts(
                name,
                float(counts_NC[:, id_].sum() / total),
                float((counts_NC[:, id_] > 0).mean()),
                float(np.median(widths)) if widths else float("nan"),
                float(np.median(regions)) if regions else 0.0,
            )
        )
    return tuple(rows)
