"""Tasks for a labelling tool, with the model's masks as a start: correcting is quicker than drawing.

    OUT/images/…            the images
    OUT/annotations.xml     for CVAT: create a task of the images with labels.json, then upload this as "CVAT 1.1"
    OUT/tasks.json          for Label Studio: import it into a project with label_config.xml; images as local files
    OUT/dataset.toml        the classes, in the model's order

Masks go over pixel by pixel. What the tool exports comes back with `accept`.

Formats: docs.cvat.ai/docs/dataset_management/formats/format-cvat and labelstud.io/guide/predictions.

Shapes: H, W an image's own size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.dataset_toml import dataset_toml
from pixelwise.datasets.new_folder import new_folder, require_new
from pixelwise.images.files import shown, utf8, write_whole
from pixelwise.prediction.load_model import Model
from pixelwise.records import ClassList, Labels

KINDS = ("cvat", "labelstudio")
WORD_BITS = 8
RUN_BITS = (3, 4, 8, 16)  # from which Label Studio's packing chooses for each run; here it is always the last
LONGEST_RUN = 1 << RUN_BITS[-1]

Task = tuple[str, Labels]  # the image's name in OUT/images, and its mask [H, W]


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
            write_whole(part / "annotations.xml", cvat_xml(tasks, classes).encode())
            labels = [
                {"name": name, "color": hexadecimal(classes, i), "attributes": []}
                for i, name in enumerate(classes.names)
            ]
            write_whole(part / "labels.json", as_json(labels))
        else:
            drawn = [labelstudio_task(*task, classes, model.digest) for task in tasks]
            write_whole(part / "tasks.json", as_json(drawn))
            write_whole(part / "label_config.xml", labelstudio_config(classes).encode())
        write_whole(part / "dataset.toml", dataset_toml(classes).encode())


def labelled_images(model: Model, images: Sequence[Path], folder: Path) -> Iterator[Task]:
    """Copy each image into `folder`, under a name of its own, and label it."""
    taken: set[str] = set()
    for path in images:
        stem, number = shown(path.stem), 1
        name = f"{stem}{path.suffix.lower()}"
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}{path.suffix.lower()}"
        taken.add(name.casefold())
        labels_HW = model.predict(path).labels
        write_whole(folder / name, path.read_bytes())
        yield name, labels_HW


def cvat_xml(tasks: Iterator[Task], classes: ClassList) -> str:
    """CVAT for images 1.1: a mask for each class of each image."""
    parts = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    for i, (name, labels_HW) in enumerate(tasks):
        height, width = labels_HW.shape
        parts.append(f'  <image id="{i}" name={quoteattr(name)} width="{width}" height="{height}">')
        for c in np.unique(labels_HW):
            left, top, mask_hw = cut_out(labels_HW == c)
            runs = ", ".join(map(str, run_lengths(mask_hw.ravel())))
            h, w = mask_hw.shape
            parts.append(f'    <mask label={quoteattr(classes.names[c])} source="auto" occluded="0" rle="{runs}" '
                         f'left="{left}" top="{top}" width="{w}" height="{h}" z_order="0"/>')  # fmt: skip
        parts.append("  </image>")
    return "\n".join([*parts, "</annotations>", ""])


def cut_out(mask_HW: NDArray[np.bool_]) -> tuple[int, int, NDArray[np.bool_]]:
    """Left, top, and the part of the mask inside its bounding box."""
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return left, top, mask_HW[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]


def run_lengths(mask_N: NDArray[np.bool_]) -> list[int]:
    """Lengths of runs, of False first; that one may be 0."""
    changes = np.flatnonzero(np.diff(mask_N)) + 1
    lengths: list[int] = np.diff([0, *changes.tolist(), len(mask_N)]).tolist()
    return [0, *lengths] if mask_N[0] else lengths


def labelstudio_task(name: str, labels_HW: Labels, classes: ClassList, digest: str) -> dict[str, Any]:
    """One task with a prediction: a brush mask for each class."""
    height, width = labels_HW.shape
    results = [
        {"id": f"{classes.names[c]}-{c}", "type": "brushlabels", "from_name": "label", "to_name": "image",
         "original_width": width, "original_height": height, "image_rotation": 0,
         "value": {"format": "rle", "rle": brush_runs(labels_HW == c), "brushlabels": [classes.names[c]]}}
        for c in np.unique(labels_HW)
    ]  # fmt: skip
    image = f"/data/local-files/?d=images/{name}"
    return {"data": {"image": image}, "predictions": [{"model_version": digest[:12], "result": results}]}


def brush_runs(mask_HW: NDArray[np.bool_]) -> list[int]:
    """A mask as Label Studio's brush keeps it: bytes of packed run lengths of RGBA values.

    A head (32 bits for the number of values, 5 for the bits of a value, 4 for each size of a run's length), then for
    each run: 1, the number of its size, its length less one, its value.
    """
    mask_N = mask_HW.ravel()
    lengths = np.array(run_lengths(mask_N), np.int64) * 4
    values = np.where(np.arange(len(lengths)) % 2 == 1, 255, 0)
    parts = np.maximum(-(-lengths // LONGEST_RUN), 0)
    value = np.repeat(values, parts)
    last = parts.cumsum() - 1
    length = np.full(len(value), LONGEST_RUN, np.int64)
    length[last[parts > 0]] = ((lengths - 1) % LONGEST_RUN + 1)[parts > 0]
    head = [bits_of(np.array([4 * mask_N.size]), 32), bits_of(np.array([WORD_BITS - 1]), 5)]
    head += [bits_of(np.array([size - 1]), 4) for size in RUN_BITS]
    code = (0b111 << (RUN_BITS[-1] + WORD_BITS)) | (length - 1) << WORD_BITS | value
    bits = np.concatenate([*head, bits_of(code, 3 + RUN_BITS[-1] + WORD_BITS)])
    packed: list[int] = np.packbits(bits).tolist()
    return packed


def bits_of(values_N: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """The bits of each value, highest first, one value after the other."""
    return ((values_N[:, None] >> np.arange(width - 1, -1, -1)) & 1).astype(np.uint8).ravel()


def labelstudio_config(classes: ClassList) -> str:
    """The labelling interface of the project."""
    labels = "".join(f"    <Label value={quoteattr(name)} background={quoteattr(hexadecimal(classes, i))}/>\n"
                     for i, name in enumerate(classes.names))  # fmt: skip
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="label" toName="image">\n{labels}  </BrushLabels>\n</View>\n'
    )


def hexadecimal(classes: ClassList, index: int) -> str:
    red, green, blue = classes.colours[index]
    return f"#{red:02x}{green:02x}{blue:02x}"


def as_json(value: Any) -> bytes:
    return utf8(json.dumps(value, ensure_ascii=False) + "\n")
