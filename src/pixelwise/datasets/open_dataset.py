"""The door to a folder of images and masks: its files listed, then its masks read for what their values mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pixelwise.datasets.class_values import Given, values_of
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
) -> Dataset:
    """Recognise a folder of images and masks.

    Splits are those of the folder. Where there are none (`images/` + `masks/`), dataset.toml's `[splits]` name them,
    and otherwise each pair falls into "train" or "val" by a hash of the seed and its own name: the same on every
    machine, whatever the order, and a pair stays where it is when others are added. Where a folder has a "train" split
    but no "val", val is taken from train in the same way.

    Classes are those that `classes` names, dataset.toml's, CamVid's for its layout, or the values found in the masks: 0
    and 255, or any other two values, are background and foreground. Masks that are no plain files of ids (colours,
    JPEG, objects' numbers …) are read by these values; `notes` and `problems` say how.

    Args:
        path: the dataset's root.
        seed: of the split.
        val_share: share of the pairs that go to val where the split is made here, 0–1, exclusive.
        classes: class name → the mask values that mean it: numbers, "1-99" for a range, "#rrggbb" for colours.
        void: mask values that mean unlabelled.
        masks: part of the names of the folders or files that are the masks, where several could be.

    Raises:
        UsageError: no such folder, a share outside 0–1, or a value that no mask holds.
        DatasetError: no layout recognised, dataset.toml is wrong, or the masks cannot be read as classes. Where no
            classes can be found at all, `problems` says so ("no-classes") and a stand-in is returned.
    """
    listed = list_dataset(path, seed=seed, val_share=val_share, masks=masks)
    return open_listed(listed, values_of(classes, void, masks))
