"""The val split of a dataset, or one held out of its training split."""

from __future__ import annotations

from dataclasses import replace

from pixelwise.datasets.splits import hashed_split
from pixelwise.errors import DatasetError
from pixelwise.records import Dataset


def with_validation(dataset: Dataset, seed: int) -> Dataset:
    """A dataset with a val split: a fifth of the training split if it has none.

    Raises:
        DatasetError: there are no training pairs, or too few to split.
    """
    train_samples = dataset.splits.get("train", ())
    if not train_samples:
        raise DatasetError(
            f"{dataset.root}: no training pairs; the splits are: {', '.join(dataset.splits) or 'none'}. Expected "
            "train/images and train/masks, or images/ and masks/.",
            dataset.problems,
        )
    if dataset.splits.get("val"):
        return dataset
    kept, held_out = hashed_split(train_samples, seed, 0.2)
    if not kept or not held_out:
        raise DatasetError(
            f"{dataset.root}: {len(train_samples)} pair is too few: at least one to train on and one to "
            "validate on are needed. Add labelled images.",
            dataset.problems,
        )
    note = f"No val split: {len(held_out)} of {len(train_samples)} training pairs are held out for it (seed {seed})."
    splits = {**dataset.splits, "train": tuple(kept), "val": tuple(held_out)}
    return replace(dataset, splits=splits, notes=(*dataset.notes, note))
