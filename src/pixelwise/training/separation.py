"""What `separate` asks of a dataset: classes that exist, and objects that the data tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pixelwise.datasets.instances import has_instances
from pixelwise.errors import UsageError
from pixelwise.records import ClassList, Dataset

PLACEHOLDERS = ("background", "foreground")  # the names of two mask values that nobody named


def separable(dataset: Dataset, separate: Sequence[str]) -> Dataset:
    """The dataset, whose classes have the names that `separate` gives.

    Of masks with two values that nobody named, the only name given is that of the foreground.

    Raises:
        UsageError: a class that there is not, or data without instances.
    """
    if not separate:
        return dataset
    names = dataset.classes.names
    if names == PLACEHOLDERS and len(separate) == 1 and separate[0] not in names:
        renamed = ClassList((names[0], separate[0]), dataset.classes.colours)
        note = f"The foreground is named {separate[0]}, as `separate` names the only class that it can mean."
        dataset = replace(dataset, classes=renamed, notes=(*dataset.notes, note))
    elif unknown := [name for name in separate if name not in names]:
        raise UsageError(
            f"--separate {unknown[0]}: no such class; the classes are: {', '.join(names)}. "
            "Name mask values with --class NAME=VALUE."
        )
    if not any(has_instances(sample) for sample in dataset.splits.get("train", ())):
        raise UsageError(
            f"--separate {', '.join(separate)}: the data do not tell objects apart that touch. Expected object numbers "
            "in instances/ beside masks/, a file of the same name for each mask; or polygons, one an object. Without "
            "them, `pixelwise objects` separates by shape."
        )
    return dataset
