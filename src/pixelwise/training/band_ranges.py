"""The range of each band's values in the training images: what becomes 0 and 255 for the network.

Shapes: N bands; S sampled pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.read_ahead import in_threads
from pixelwise.datasets.read_sample import indexed_image
from pixelwise.errors import DatasetError, PixelwiseError
from pixelwise.images.tiff_windows import TiffWindows
from pixelwise.records import Bands, Dataset, OnProgress, Raster, Sample, no_progress

PERCENTILES = (0.5, 99.5)
MOST_IMAGES = 512  # are read, evenly spread over the training images
MOST_VALUES = 1 << 24  # are kept, in all: 64 MB
LEAST_PIXELS = 64  # of an image


def with_ranges(dataset: Dataset, progress: OnProgress = no_progress) -> Dataset:
    """The dataset with the ranges of its training images, if its values have no range of their own as 8 bits do.

    Raises:
        DatasetError: none of the training images can be read.
    """
    if dataset.bands.dtype == "uint8":  # RGB too
        return dataset
    samples = dataset.splits.get("train", ())

    def read(sample: Sample) -> Raster | TiffWindows:
        return indexed_image(sample, dataset.bands)

    found = measured_ranges(samples, dataset.bands, read, progress)
    if found is None:
        raise DatasetError(
            f"{dataset.root}: none of {len(samples)} training images can be read. See: pixelwise check {dataset.root}",
            dataset.problems,
        )
    return replace(dataset, bands=found)


def measured_ranges(
    samples: Sequence[Sample],
    bands: Bands,
    read: Callable[[Sample], Raster | TiffWindows],
    progress: OnProgress = no_progress,
) -> Bands | None:
    """The bands with the percentiles of their values as low and high: the same for the same images, wherever measured.

    Pixels are sampled at regular distances, the same number in every image. A band without any value gets the range
    0–1; a constant one starts at its value.

    Args:
        read: an image [H, W, N], NaN where it has no data. Images that it cannot read are left out.

    Returns:
        None if no image can be read.
    """
    chosen = samples[:: -(-len(samples) // MOST_IMAGES)] if samples else ()
    pixels = max(MOST_VALUES // (max(len(chosen), 1) * len(bands)), LEAST_PIXELS)

    def sampled(sample: Sample) -> NDArray[np.float32] | None:
        try:
            image_HWN = read(sample)
        except PixelwiseError:  # `check` reports it; a training stops there or leaves the pair out
            return None
        height, width = image_HWN.shape[:2]
        step = max(round((height * width / pixels) ** 0.5), 1)
        offset = min(step, height, width) // 2
        values_SN = image_HWN[offset::step, offset::step].reshape(-1, len(bands))
        return values_SN[: 2 * pixels].astype(np.float32)

    parts = []
    for done, part in enumerate(in_threads(sampled, chosen), start=1):
        parts += [part] if part is not None else []
        progress(done, len(chosen))
    if not parts:
        return None
    values_SN = np.concatenate(parts)
    ranges = [range_of(values_SN[:, band]) for band in range(len(bands))]
    return replace(bands, low=tuple(low for low, _ in ranges), high=tuple(high for _, high in ranges))


def range_of(values_S: NDArray[np.float32]) -> tuple[float, float]:
    """The PERCENTILES of one band's values; their extremes if nearly all are equal."""
    known = values_S[np.isfinite(values_S)]
    if not len(known):
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(known, PERCENTILES))
    if high <= low:
        low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low, low + max(abs(low) * 1e-3, 1.0))
