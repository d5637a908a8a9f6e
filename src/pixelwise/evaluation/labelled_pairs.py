"""The image and mask pairs of a split, read in parallel; all problems are reported at once.

Shapes: H, W an image's own size.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from threading import Event, Lock
from typing import TypeVar

from pixelwise.datasets.class_values import Values
from pixelwise.datasets.list_dataset import list_dataset
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_masks import open_listed
from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask
from pixelwise.doctor.findings import find_problems, require_sound, without_bad
from pixelwise.errors import DataError, MaskError, UsageError
from pixelwise.heap import give_back
from pixelwise.images.files import real_path, shown
from pixelwise.images.no_data import labels_with_data
from pixelwise.prediction.load_model import Model
from pixelwise.records import Dataset, Labels, Raster, Sample

AHEAD = 4  # finished results that may wait for an earlier one
LARGE_PX = 16_000_000  # images of more pixels are processed one at a time, to bound memory

Result = TypeVar("Result")
Pair = tuple[Sample, Raster, Labels]


def open_data(data: Dataset | str | Path, models: Sequence[Model], asked: Values) -> Dataset:
    """The dataset to evaluate on. Its masks are read as `asked`, otherwise as in a model's training run.

    Raises:
        UsageError, DatasetError: as `open_dataset`.
    """
    if isinstance(data, Dataset):
        if asked:
            raise UsageError(
                f"{asked.options()}: pass this to open_dataset(folder, classes=…) instead: the dataset is already open."
            )
        return data
    recorded = next((found for found in (values_of_run(model.path.parent) for model in models) if found[0]), None)
    if asked or recorded is None:
        return open_dataset(data, **asked.arguments())
    values, root = recorded
    masks = values.masks if real_path(Path(data)) == root else ""  # another dataset may have other kinds of masks
    return open_listed(list_dataset(data, masks=masks, bands=values.bands), values, strict=False)


def values_of_run(run: Path) -> tuple[Values, Path]:
    """The mask values given for a run's data, and the data's folder; empty without a run or without such values."""
    try:
        data = json.loads((run / "data.json").read_text("utf-8"))
        return Values.from_json(data.get("values")), Path(data.get("root", ""))
    except FileNotFoundError:
        return Values(), Path()
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{shown(run / 'data.json')}: cannot be read ({error}). Evaluate a copy of model.onnx alone."
        ) from error


def sound_split(dataset: Dataset, split: str, *, skip_bad: bool) -> Dataset:
    """Check every pair of a split. Without `skip_bad`, problems raise DatasetError; with it, bad pairs are left out.

    Raises:
        UsageError: no such split.
        DatasetError: the split has errors.
    """
    findings = find_problems(dataset, [split])
    if skip_bad:
        return without_bad(dataset, findings)
    require_sound(findings)
    return dataset


def checked_listing(dataset: Dataset, split: str, *, skip_bad: bool) -> Dataset:
    """As `sound_split`, if problems are known before any pair is read; otherwise the dataset as it is."""
    if split not in dataset.splits:
        known = ", ".join(name for name in dataset.splits) or "none"
        raise UsageError(f"{shown(dataset.root)}: no {split!r} split; it has: {known}.")
    listed = any(problem.severity == "error" for problem in dataset.problems)
    if listed or not dataset.splits[split] or any(sample.mask is None for sample in dataset.splits[split]):
        return sound_split(dataset, split, skip_bad=skip_bad)
    return dataset


def read_pair(dataset: Dataset, sample: Sample) -> Pair:
    """One image and its mask, as class ids of the dataset, void where the image has no data.

    Raises:
        ImageError, MaskError: one of them cannot be read, or their sizes differ.
    """
    if sample.mask is None:
        raise MaskError(f"{shown(sample.image)}: no mask. Add it, or leave the image out with --skip-bad.")
    image_HWN = read_sample_image(sample, dataset.bands)
    size = (image_HWN.shape[0], image_HWN.shape[1])
    true_HW = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes), size)
    if true_HW.shape != image_HWN.shape[:2]:
        (mask_h, mask_w), (height, width) = true_HW.shape, image_HWN.shape[:2]
        raise MaskError(
            f"{shown(sample.mask)}: {mask_w}×{mask_h} pixels, but its image is {width}×{height}. Re-export the mask, "
            "or leave the pair out with --skip-bad."
        )
    return sample, image_HWN, labels_with_data(image_HWN, true_HW)


def each_pair(
    dataset: Dataset,
    split: str,
    work: Callable[[Pair, int], Result],
    *,
    skip_bad: bool,
    workers: int,
    alone: int = 0,
    first: int = 0,
) -> Iterator[Result]:
    """`work` of every pair of a split and its number, in order; several pairs at a time.

    If one is bad, every pair is checked and all problems are reported; with `skip_bad` the bad ones are left out.

    Args:
        work: called in threads; its exceptions are raised here.
        workers: number of threads, each of which reads and processes one pair.
        alone: number of pairs at the start that are processed one at a time.
        first: number of the first pair: so many were done before.

    Raises:
        DatasetError: the split has errors.
    """
    done = 0
    try:
        for result in in_order(dataset, dataset.splits[split], work, first, workers, alone - first):
            yield result
            done += 1
    except DataError:
        sound = sound_split(dataset, split, skip_bad=skip_bad)
        kept = {sample.name for sample in sound.splits[split]}
        rest = tuple(sample for sample in dataset.splits[split][done:] if sample.name in kept)
        if len(rest) == len(dataset.splits[split]) - done:  # the check found no problem: report the error itself
            raise
        yield from in_order(sound, rest, work, first + done, workers, alone - first - done)


def in_order(
    dataset: Dataset,
    samples: Sequence[Sample],
    work: Callable[[Pair, int], Result],
    first: int,
    workers: int,
    alone: int,
) -> Iterator[Result]:
    """As `each_pair`, for samples whose numbers start at `first`. Raises as `read_pair` and as `work`."""
    jobs = iter(enumerate(samples, start=first))
    large, met = Lock(), Event()

    def one(turn: int, sample: Sample) -> Result:
        with ExitStack() as held:
            if met.is_set():  # sizes are known only after reading: from the first large pair on, read one at a time
                held.enter_context(large)
                pairs = [read_pair(dataset, sample)]
                if pairs[0][2].size <= LARGE_PX:
                    held.close()
            else:
                pairs = [read_pair(dataset, sample)]
                if pairs[0][2].size > LARGE_PX:
                    met.set()
                    if not large.acquire(blocking=False):  # do not hold a large image while waiting
                        pairs.clear()
                        large.acquire()
                        pairs.append(read_pair(dataset, sample))
                    held.callback(large.release)
            if pairs[0][2].size > LARGE_PX:  # return freed memory before the next needs as much
                give_back()
                held.callback(give_back)
            return work(pairs.pop(), turn)  # only `work` holds it, and can free it

    for turn, sample in islice(jobs, max(alone, 0)):
        yield one(turn, sample)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for turn, sample in jobs:
                waiting.append(pool.submit(one, turn, sample))
                if len(waiting) > workers + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for job in waiting:
                job.cancel()
