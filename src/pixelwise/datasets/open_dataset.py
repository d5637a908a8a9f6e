"""Open a folder of images and masks: list its files, then find the meaning of the mask values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pixelwise.datasets.class_values import Given, GivenBands, values_of
from pixelwise.datasets.list_dataset import list_dataset
from pixelwise.datasets.read_masks import open_listed
from pixelwise.records import Dataset


def open_dataset(
    path: Path | str,
    *,
    seed: int = 0,
    val_share: float = 0.2,
    classes: Mapping[str, Given] | None = None,
    void: Given = (),
    masks: str = "",
    bands: GivenBands = (),
) -> Dataset:
    """Open a folder of images and masks in any supported layout.

    Splits come from the folder or dataset.toml. Without either, a hash of the seed and the pair's name assigns each
    pair to "train" or "val": the same on every machine, in any order, and a pair keeps its split when others are
    added. A folder with "train" but no "val" is split in the same way.

    Classes come from `classes`, dataset.toml, the format, or the values found in the masks; 0 and 255, or any other two
    values, are background and foreground.

    Images of 8 bits in grey or colour are read as RGB; any others with all their bands, in full depth: `bands` of the
    result. The `notes` and `problems` of the result report how masks are read.

    Args:
        path: the dataset's folder.
        seed: seed of the split.
        val_share: share of the pairs that go to val if there is no split yet, between 0 and 1 (exclusive).
        classes: class name → the mask values of the class: numbers, "1-99" for a range, "#rrggbb" for a colour. None:
            detected.
        void: mask values that mean unlabelled. Default: detected.
        masks: if an image has several masks: part of the folder or file name of the masks to use. Default: any.
        bands: bands of the images to use, in order: names, or numbers from 1; "nir,red" or ["nir", 3]. Default:
            all.

    Returns:
        Dataset: classes, and samples by split; no image has been decoded yet.

    Raises:
        UsageError: no such folder, a share outside 0–1, a value that no mask contains, or a band that no image has.
        DatasetError: no layout is detected, dataset.toml is wrong, or the masks cannot be read as classes. If no class
            is found at all, `problems` contains "no-classes" and the classes are a placeholder.

    Example:
        >>> import pixelwise as pw
        >>> data = pw.open_dataset("my_data")
        >>> {split: len(samples) for split, samples in data.splits.items()}
        {'train': 4, 'val': 2, 'test': 2}
    """
    values = values_of(classes, void, masks, bands)
    listed = list_dataset(path, seed=seed, val_share=val_share, masks=masks, bands=values.bands)
    return open_listed(listed, values)
