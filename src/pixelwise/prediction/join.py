"""What belongs to all images of a folder: one COCO file, and a dataset.toml with the classes' names.

With it the results and the images, in one folder, are a dataset that `pixelwise check` and `evaluate` read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pixelwise.data.files import shown, write_whole, writing_whole
from pixelwise.data.formats.drawing import named_toml
from pixelwise.data.settings import FILE_NAME as SETTINGS_NAME
from pixelwise.data.settings import dataset_toml
from pixelwise.errors import OutputError
from pixelwise.prediction.manifest import read_records, results_of
from pixelwise.prediction.outputs import OUTPUTS
from pixelwise.records import ClassList

COCO_NAME = "predictions.coco.json"
MASKS = ("labels", "index", "numpy")
POLYGONS = ("labelme", "geojson")


def write_joined(out: Path, classes: ClassList, save: Sequence[str]) -> None:
    """Write what belongs to all images, from the manifest and what lies there.

    Raises:
        OutputError: it cannot be written, or a piece of it has gone.
    """
    if "coco" in save:
        join_coco(out, classes)
    # Of several forms in one folder the readers take COCO first, then polygons, then masks.
    if "coco" in save:
        text = dataset_toml(classes, range(1, len(classes) + 1), void=[0])
    elif any(form in save for form in POLYGONS):
        text = named_toml(classes, drawn_classes(out, classes))
    elif any(form in save for form in MASKS):
        text = dataset_toml(classes)
    else:
        return
    write_whole(out / SETTINGS_NAME, text.encode())


def drawn_classes(out: Path, classes: ClassList) -> set[int]:
    """Ids of the classes that occur in any image."""
    ids = {name: i for i, name in enumerate(classes.names)}
    return {ids[name] for record in good_records(out) for name, share in record["shares"].items() if share}


def join_coco(out: Path, classes: ClassList) -> None:
    """One COCO file of all images' pieces, one piece in memory at a time."""
    categories = [
        {"id": i + 1, "name": classes.names[i], "color": list(classes.colours[i])} for i in range(len(classes))
    ]
    with writing_whole(out / COCO_NAME) as file:
        file.write(b'{"categories": ' + json.dumps(categories).encode() + b', "images": [')
        for number, (image, _) in enumerate(pieces(out), start=1):
            file.write(b",\n"[: 2 * (number > 1)] + json.dumps({**image, "id": number}).encode())
        file.write(b'], "annotations": [')
        drawn = 0
        for number, (_, annotations) in enumerate(pieces(out), start=1):
            for annotation in annotations:
                drawn += 1
                row = {**annotation, "id": drawn, "image_id": number}
                file.write(b",\n"[: 2 * (drawn > 1)] + json.dumps(row).encode())
        file.write(b"]}\n")


def pieces(out: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Every image's row and annotations, in the order of the manifest."""
    folder = OUTPUTS["coco"].folder
    for record in good_records(out):
        path = next(path for path in results_of(record, out) if path.is_relative_to(out / folder))
        try:
            table = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            remedy = "Type the same command again: this image will be labelled again."
            raise OutputError(f"{shown(path)}: cannot be read again ({error}). {remedy}") from error
        yield table["images"][0], table["annotations"]


def good_records(out: Path) -> Iterator[dict[str, Any]]:
    return (record for record in read_records(out) if record["error"] is None)
