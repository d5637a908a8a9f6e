"""The files for all images of a folder: one COCO file, and a dataset.toml with the classes.

With it, results and images in one folder are a dataset that `pixelwise check` and `evaluate` read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

from pixelwise.datasets.dataset_toml import FILE_NAME as SETTINGS_NAME
from pixelwise.datasets.dataset_toml import dataset_toml
from pixelwise.datasets.formats.annotation_files import named_toml
from pixelwise.datasets.formats.coco_writer import join_pieces
from pixelwise.errors import OutputError
from pixelwise.images.files import shown, write_whole, writing_whole
from pixelwise.prediction.manifest import read_records, results_of
from pixelwise.prediction.outputs import OUTPUTS
from pixelwise.records import ClassList

OBJECTS_COCO_NAME = "objects.coco.json"
COCO_NAME = "predictions.coco.json"
MASKS = ("labels", "index", "numpy")
POLYGONS = ("labelme", "geojson")


def write_joined(out: Path, classes: ClassList, save: Sequence[str]) -> None:
    """Write the files for all images, from the manifest and the results in OUT.

    Raises:
        OutputError: a file cannot be written, or a piece of the COCO file is missing.
    """
    if "coco" in save:
        join_coco(out, classes, "coco", COCO_NAME)
    if "objects-coco" in save:
        join_coco(out, classes, "objects-coco", OBJECTS_COCO_NAME)
    # Of several formats in one folder, readers take COCO first, then polygons, then masks.
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


def join_coco(out: Path, classes: ClassList, key: str, name: str) -> None:
    """One COCO file of all images' pieces of one output.

    Raises:
        OutputError: it cannot be written, or a piece is missing.
    """
    with writing_whole(out / name) as file:
        try:
            join_pieces(file, classes, lambda: pieces(out, key), things=key == "objects-coco")
        except ValueError as error:
            piece, reason = error.args
            raise damaged(Path(piece.name), reason) from error


def pieces(out: Path, key: str) -> Iterator[BufferedReader]:
    """Every image's piece, open, in the order of the manifest. See `coco_piece`."""
    folder = OUTPUTS[key].folder
    for record in good_records(out):
        path = next(path for path in results_of(record, out) if path.is_relative_to(out / folder))
        try:
            file = path.open("rb")
        except OSError as error:
            raise damaged(path, str(error.strerror)) from error
        with file:
            yield file


def damaged(piece: Path, reason: str) -> OutputError:
    remedy = "Remove it and run the same command again: this image will be labelled again."
    return OutputError(f"{shown(piece)}: cannot be read ({reason}). {remedy}")


def good_records(out: Path) -> Iterator[dict[str, Any]]:
    return (record for record in read_records(out) if record["error"] is None)
