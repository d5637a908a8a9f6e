"""The pairs of a split, read once, ahead of whoever uses them; and all that is wrong with them, said at once.

Shapes: H, W an image's own size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from pixelwise.data.doctor import find_problems, require_sound, without_bad
from pixelwise.data.files import shown
from pixelwise.data.sources import read_sample_image, read_sample_mask
from pixelwise.errors import DataError, MaskError, UsageError
from pixelwise.records import Dataset, Labels, Pixels, Sample

AHEAD = 4  # pairs that are read before they are asked for

Pair = tuple[Sample, Pixels, Labels]


def sound_split(dataset: Dataset, split: str, *, skip_bad: bool) -> Dataset:
    """Read every pair of a split and refuse it where one is bad, naming all; or leave the bad ones out.

    Raises:
        UsageError: no such split.
        DatasetError: the split is not sound.
    """
    findings = find_problems(dataset, [split])
    if skip_bad:
        return without_bad(dataset, findings)
    require_sound(findings)
    return dataset


def checked_listing(dataset: Dataset, split: str, *, skip_bad: bool) -> Dataset:
    """Refuse, or mend, what can be seen to be wrong before any pair is read. Raises as `sound_split`."""
    if split not in dataset.splits:
        known = ", ".join(name for name in dataset.splits) or "none"
        raise UsageError(f"{shown(dataset.root)}: has no {split!r} split; it has: {known}.")
    listed = any(problem.severity == "error" for problem in dataset.problems)
    if listed or not dataset.splits[split] or any(sample.mask is None for sample in dataset.splits[split]):
        return sound_split(dataset, split, skip_bad=skip_bad)
    return dataset


def read_pair(dataset: Dataset, sample: Sample) -> Pair:
    """One image and its mask, as class ids of the dataset.

    Raises:
        ImageError, MaskError: one of them cannot be read, or their sizes differ.
    """
    if sample.mask is None:
        raise MaskError(f"{shown(sample.image)}: has no mask. Add it, or drop the image with --skip-bad.")
    image_HW3 = read_sample_image(sample)
    true_HW = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes))
    if true_HW.shape != image_HW3.shape[:2]:
        (mask_h, mask_w), (height, width) = true_HW.shape, image_HW3.shape[:2]
        raise MaskError(
            f"{shown(sample.mask)}: {mask_w}×{mask_h} pixels, but its image is {width}×{height}. Re-export the mask, "
            "or drop the pair with --skip-bad."
        )
    return sample, image_HW3, true_HW


def read_ahead(dataset: Dataset, split: str) -> Iterator[Pair]:
    """The pairs of a split in order, a few of them read while the last is used. Raises as `read_pair`."""
    samples = iter(dataset.splits[split])
    waiting: deque[Future[Pair]] = deque()
    with ThreadPoolExecutor(1) as pool:
        try:
            for sample in samples:
                waiting.append(pool.submit(read_pair, dataset, sample))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for job in waiting:
                job.cancel()


def sound_pairs(dataset: Dataset, split: str, *, skip_bad: bool) -> Iterator[Pair]:
    """The pairs of a split, each read once. Where one is bad, every pair is examined and all problems are named.

    With `skip_bad` the bad ones are left out, here and in everything that follows.

    Raises:
        DatasetError: the split is not sound.
    """
    done = 0
    try:
        for pair in read_ahead(dataset, split):
            yield pair
            done += 1
    except DataError:
        mended = sound_split(dataset, split, skip_bad=skip_bad)
        kept = {sample.name for sample in mended.splits[split]}
        rest = tuple(sample for sample in dataset.splits[split][done:] if sample.name in kept)
        if len(rest) == len(dataset.splits[split]) - done:  # the doctor finds nothing; then this error is all we know
            raise
        yield from read_ahead(replace(mended, splits={**mended.splits, split: rest}), split)
