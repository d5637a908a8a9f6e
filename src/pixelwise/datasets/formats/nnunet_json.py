"""nnU-Net's dataset.json: the names of channels and labels.

Format: nnU-Net's documentation/dataset_format.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pixelwise.datasets.formats.annotation_files import read_json
from pixelwise.datasets.formats.field_checks import table_of, text_of
from pixelwise.datasets.listing import DeclaredClasses
from pixelwise.datasets.palettes import VOID_NAMES
from pixelwise.images.files import Refusal
from pixelwise.records import VOID, ClassList

CHANNELS = {"0": "R", "1": "G", "2": "B"}


def channel_names(path: Path) -> tuple[str, ...]:
    """The channels that dataset.json names, in numerical order; () if it names none."""
    try:
        table = table_of(read_json(path), "content")
        names = table_of(table.get("channel_names") or table.get("modality"), "channel_names")
        return tuple(text_of(names.get(str(i)), "channel") for i in range(len(names)))
    except Refusal:
        return ()  # names are optional: without them channels go by number


def declared_labels(path: Path) -> DeclaredClasses | None:
    """The classes that it declares; None without labels."""
    try:
        labels = read_json(path)["labels"]
        rows = (
            {int(k): str(v) for k, v in labels.items()}
            if all(str(k).isdigit() for k in labels)
            else {int(v): str(k) for k, v in labels.items() if isinstance(v, int)}
        )
    except (Refusal, KeyError, TypeError, ValueError, AttributeError):
        return None
    void = {i for i, name in rows.items() if name.lower() in VOID_NAMES}
    ids = tuple(sorted(rows.keys() - void))
    names = tuple(rows[i] for i in ids)
    return DeclaredClasses(names, ids, (None,) * len(ids), frozenset({VOID, *void} - set(ids)), "dataset.json's labels")


def dataset_json(classes: ClassList) -> dict[str, Any]:
    """nnU-Net's dataset.json without the case count: colour channels; background 0, classes from 1, then "ignore"."""
    labels = {"background": 0}
    labels |= {name: i for i, name in enumerate((n for n in classes.names if n != "background"), start=1)}
    return {"channel_names": CHANNELS, "labels": {**labels, "ignore": len(labels)}, "file_ending": ".nii.gz"}
