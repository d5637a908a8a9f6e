"""What lies in a folder that no layout recognises, in words: files of kinds that are not read, and what to do."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pixelwise.data.files import shown

FILES = 20_000  # are looked at, by their names
PEEK_BYTES = 4096
RUNS = re.compile(r"(?:^|[,\"])\d+ \d+(?: \d+ \d+)*(?:[,\"\r]|$)", re.MULTILINE)
KINDS = {  # endings → what they are, and the remedy
    (".mat",): (
        "MATLAB files",
        "Save the images and masks in them as PNG, one file each (scipy.io.loadmat or MATLAB).",
    ),
    (".h5", ".hdf5"): ("HDF5 files", "Save the images and masks in them as PNG, one file each (h5py)."),
    (".nii", ".nii.gz"): (
        "NIfTI volumes",
        "Put images into imagesTr/ and their labels, of the same names, into labelsTr/.",
    ),
    (".dcm",): ("DICOM files", "Export them as PNG or NIfTI first."),
    (".npz",): ("NumPy archives", "Save each mask as .npy or PNG, each image as PNG."),
    (".tfrecord", ".tfrecords"): ("TFRecord files", "Export images and masks as PNG first."),
    (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar", ".gz"): ("archives", "Unpack them first."),
}


def what_is_there(root: Path) -> list[str]:
    """Sentences about files that explain why a folder is no dataset yet; [] where nothing does."""
    found: Counter[str] = Counter()
    first: dict[str, Path] = {}
    told: list[str] = []
    for path in islice(_files(root), FILES):
        kind = next((what for ends, (what, _) in KINDS.items() if path.name.lower().endswith(ends)), "")
        found[kind] += 1
        first.setdefault(kind, path)
        if path.suffix.lower() in (".csv", ".json", ".xml") and len(told) < 4:
            sentence = _of_text(path, root)
            if sentence and sentence.partition(" ")[2] not in {other.partition(" ")[2] for other in told}:
                told.append(sentence)
    for what, remedy in KINDS.values():
        if found[what]:
            name = shown(first[what].relative_to(root))
            told.append(f"{found[what]:,} {what}, such as {name}, are not read. {remedy}")
    return told


def _files(root: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _of_text(path: Path, root: Path) -> str:
    """What a table or drawing is, by its beginning; "" where it says nothing."""
    try:
        with path.open("rb") as file:
            text = file.read(PEEK_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    name = shown(path.relative_to(root))
    if path.suffix.lower() == ".csv":
        head, _, rows = text.partition("\n")
        if RUNS.search(rows):
            return (
                f"{name} holds run lengths (columns {head.strip()}), which are not read: whether they run down or "
                "to the right is not in the file. Draw them as PNG masks first."
            )
    elif path.suffix.lower() == ".json":
        if '"classTitle"' in text or ('"objects"' in text and '"geometryType"' in text):
            return f"{name} is a drawing of Supervisely, which is not read. Export it as masks, COCO or Pascal VOC."
    elif "<Annotations" in text and "<Annotation" in text:
        return f"{name} holds outlines of Aperio ImageScope, which are not read. Export them as GeoJSON from QuPath."
    elif "<annotation>" in text:
        return f"{name} holds boxes of Pascal VOC: boxes, not masks of pixels."
    return ""
