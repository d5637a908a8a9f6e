"""Recognise that consecutively numbered images are slices of one stack, or frames of one film, by what is in them.

Many datasets number independent images, so names alone prove nothing: the images of a stack are most alike to their
neighbours.

Shapes: N images; F values of a small grey copy.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.inspect_bands import values_in
from pixelwise.datasets.read_ahead import in_threads
from pixelwise.datasets.read_sample import image_bytes, sample_bands
from pixelwise.errors import PixelwiseError
from pixelwise.images.decode import image_pixels
from pixelwise.images.files import Refusal
from pixelwise.records import Sample

LAST_NUMBER = re.compile(r"(\d{1,9})\D*$")
FEWEST = 8  # images
COMPARED = 16  # consecutive images, from the middle
REGULAR = 0.9  # of the steps between numbers must be 1
NEAREST = 0.75  # of the images must be most alike to a neighbour; by chance it is 2 of 15
LARGEST_PX = 16_000_000  # larger images are not compared: decoding several would take too long
COPY_PX = 64  # side of the small copies


def by_number(samples: Sequence[Sample]) -> list[Sample]:
    """Samples in the order of the last numbers in their names, where all have one, else as they are."""
    numbers = [_number(sample) for sample in samples]
    if any(number is None for number in numbers):
        return list(samples)
    order = sorted(range(len(samples)), key=lambda i: (PurePath(samples[i].name).parent, numbers[i] or 0))
    return [samples[i] for i in order]


def is_one_stack(samples: Sequence[Sample]) -> bool:
    """Whether all samples are consecutive pictures of one thing: most are more like a neighbour than like any other."""
    numbers = [_number(sample) for sample in samples]
    if len(samples) < FEWEST or None in numbers or len({PurePath(sample.name).parent for sample in samples}) > 1:
        return False
    heads = {LAST_NUMBER.sub("", PurePath(sample.name).name) for sample in samples}
    known = sorted(number for number in numbers if number is not None)
    steps = [b - a for a, b in itertools.pairwise(known)]
    if len(heads) > 1 or sum(step == 1 for step in steps) < REGULAR * len(steps):
        return False
    ordered = by_number(samples)
    if values_in(ordered[0]) > LARGEST_PX:
        return False
    start = (len(ordered) - min(len(ordered), COMPARED)) // 2
    copies = list(in_threads(_small_copy, ordered[start : start + COMPARED]))
    found = [copy for copy in copies if copy is not None]
    return len(found) == len(copies) and _alike_to_neighbours(np.stack(found))


def _alike_to_neighbours(copies_NF: NDArray[np.float32]) -> bool:
    alike_NN = copies_NF @ copies_NF.T
    if float(np.diag(alike_NN).min()) == 0:  # a blank image is like no other
        return False
    np.fill_diagonal(alike_NN, -np.inf)
    nearest_N = alike_NN.argmax(axis=1)
    return bool((np.abs(nearest_N - np.arange(len(copies_NF))) == 1).mean() >= NEAREST)


def _small_copy(sample: Sample) -> NDArray[np.float32] | None:
    """An image's first band or grey, small, with mean 0 and length 1, [F]; None if it cannot be read."""
    try:
        grey_HW = _grey(sample)
    except (Refusal, PixelwiseError):
        return None
    copy = cv2.resize(grey_HW, (COPY_PX, COPY_PX), interpolation=cv2.INTER_AREA).ravel()
    copy = np.nan_to_num(copy - np.nanmean(copy) if np.isfinite(copy).any() else np.zeros_like(copy))
    length = float(np.linalg.norm(copy))
    return np.asarray(copy / length if length > 0 else copy, np.float32)


def _grey(sample: Sample) -> NDArray[np.float32]:
    try:
        return np.asarray(image_pixels(image_bytes(sample)).mean(axis=2), np.float32)
    except Refusal:
        return np.ascontiguousarray(sample_bands(sample).pixels[:, :, 0], np.float32)


def _number(sample: Sample) -> int | None:
    found = LAST_NUMBER.search(PurePath(sample.name).name)
    return int(found[1]) if found else None
