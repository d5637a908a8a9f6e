"""Tasks for a labelling tool, with the model's masks to correct: that is quicker than drawing.

    OUT/images/…            the images
    OUT/values/…            images of other bands than red, green and blue; those in images/ show three of their bands
    OUT/annotations.xml     for CVAT: create a task of the images with labels.json, then upload this as "CVAT 1.1"
    OUT/tasks.json          for Label Studio: import it into a project with label_config.xml; images as local files
    OUT/dataset.toml        the classes, in the model's order

Masks are written pixel by pixel. What the tool exports comes back with `accept`. Shapes: H, W an image's own size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from pixelwise.datasets.dataset_toml import dataset_toml
from pixelwise.datasets.formats import cvat, labelstudio
from pixelwise.datasets.new_folder import new_folder, require_new
from pixelwise.images.declared_no_data import void_where
from pixelwise.images.false_colour import false_colour
from pixelwise.images.files import shown, utf8, write_whole
from pixelwise.images.image_files import write_png
from pixelwise.prediction.load_model import Model, absent_in, as_input
from pixelwise.records import RGB, Labels

KINDS = ("cvat", "labelstudio")
VALUES = "values"  # folder of images that the labelling tool cannot show


def write_tasks(model: Model, images: Sequence[Path], out: Path, kind: str) -> None:
    """Write images and tasks into a new folder.

    Raises:
        OutputError: the folder is not empty, or cannot be written.
        ImageError: an image cannot be read.
        BundleError: the model cannot be run on it.
    """
    require_new(out)
    with new_folder(out, None) as part:
        (part / "images").mkdir(parents=True)
        tasks = labelled_images(model, images, part / "images")
        classes = model.classes
        if kind == "cvat":
            images_xml = (cvat.image_text(i, *task, classes, masks=True) for i, task in enumerate(tasks))
            write_whole(part / "annotations.xml", cvat.cvat_text(images_xml, classes))
            write_whole(part / "labels.json", cvat.labels_json(classes))
        else:
            rows = [labelstudio.prediction_of(*task, classes, model.digest) for task in tasks]
            write_whole(part / "tasks.json", utf8(json.dumps(rows, ensure_ascii=False) + "\n"))
            write_whole(part / "label_config.xml", labelstudio.labelling_config(classes))
        write_whole(part / "dataset.toml", dataset_toml(classes).encode())


def labelled_images(model: Model, images: Sequence[Path], folder: Path) -> Iterator[tuple[str, Labels]]:
    """Copy each image into `folder`, under a unique name, and label it. Yields (name, mask [H, W])."""
    taken: set[str] = set()
    bands = model.metadata.bands
    for path in images:
        suffix = path.suffix.lower() if bands == RGB else ".png"
        stem, number = shown(path.stem), 1
        name = f"{stem}{suffix}"
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        taken.add(name.casefold())
        image_HWN = as_input(path, bands)
        labels_HW = void_where(model.predict(image_HWN).labels, absent_in(path, bands))
        if bands == RGB:
            write_whole(folder / name, path.read_bytes())
        else:
            write_png(folder / name, false_colour(image_HWN, bands))
            (folder.parent / VALUES).mkdir(exist_ok=True)
            write_whole(folder.parent / VALUES / Path(name).with_suffix(path.suffix.lower()), path.read_bytes())
        yield name, labels_HW


def original_of(tasks: Path, name: str) -> Path:
    """The image as it was given, of the image NAME in images/ of these tasks."""
    values = tasks / VALUES
    stem = PurePath(name).stem
    found = [path for path in values.glob("*") if path.stem == stem] if values.is_dir() else []
    return found[0] if found else tasks / "images" / name
