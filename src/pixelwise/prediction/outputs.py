"""What can be saved of a prediction, each form as the bytes of one file.

Masks are written as `pixelwise check` and `evaluate` read them, beside the images in one folder.

Shapes: H, W the image's own size.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from pixelwise.datasets.formats.coco_writer import coco_piece
from pixelwise.datasets.formats.geojson import geojson_text
from pixelwise.datasets.formats.labelme import labelme_text
from pixelwise.errors import UsageError
from pixelwise.images.image_files import encode_label_png
from pixelwise.images.png_writer import label_png, png_of_strips
from pixelwise.prediction.confidence_maps import confidence_strips, entropy_strips, size_of
from pixelwise.prediction.overlay import encode_overlay, overlay
from pixelwise.records import Labels, Pixels, Prediction

STRIP_PIXELS = 1 << 22  # whose runs are looked for at a time
STATE = ".predictions"  # the folder in OUT that holds what a run needs to go on: hidden, so nothing takes it for data

Encode = Callable[[Pixels, Prediction, str], bytes]  # the image, what is said about it, its file's name


@dataclass(frozen=True)
class Output:
    """One form in which a prediction can be saved."""

    what: str
    ending: str  # the file is OUT/NAME + ending
    encode: Encode
    folder: str = ""  # the file is OUT/folder/NAME + ending


def palette_png(_image: Pixels, prediction: Prediction, _name: str) -> bytes:
    return encode_label_png(prediction.labels, prediction.classes)


def index_png(_image: Pixels, prediction: Prediction, _name: str) -> bytes:
    return label_png(prediction.labels)


def overlay_png(image_HW3: Pixels, prediction: Prediction, _name: str) -> bytes:
    return encode_overlay(overlay(image_HW3, prediction.labels, prediction.classes))


def numpy_file(_image: Pixels, prediction: Prediction, _name: str) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, prediction.labels, allow_pickle=False)
    return buffer.getvalue()


def coco_lines(_image: Pixels, prediction: Prediction, name: str) -> bytes:
    return b"".join(coco_piece(name, prediction.labels.shape, column_strips(prediction.labels)))


def column_strips(labels_HW: Labels) -> Iterator[Labels]:
    """All labels in strips of columns from the left, as views: runs down the columns are made strip by strip."""
    step = max(STRIP_PIXELS // labels_HW.shape[0], 1)
    for left in range(0, labels_HW.shape[1], step):
        yield labels_HW[:, left : left + step]


def labelme_file(_image: Pixels, prediction: Prediction, name: str) -> bytes:
    return labelme_text(prediction.labels, prediction.classes.names, PurePath(name).name)


def geojson_file(_image: Pixels, prediction: Prediction, name: str) -> bytes:
    return geojson_text(prediction.labels, prediction.classes, PurePath(name).name)


def confidence_png(_image: Pixels, prediction: Prediction, _name: str) -> bytes:
    return png_of_strips(confidence_strips(prediction), size_of(prediction), np.uint16, smooth=True)


def entropy_png(_image: Pixels, prediction: Prediction, _name: str) -> bytes:
    return png_of_strips(entropy_strips(prediction), size_of(prediction), np.uint16, smooth=True)


OUTPUTS: dict[str, Output] = {
    "labels": Output("class ids as a palette PNG, in the classes' colours", ".png", palette_png),
    "index": Output("class ids as a grey PNG, instead of labels", ".png", index_png),
    "overlay": Output("the photo under its labels", ".overlay.png", overlay_png),
    "numpy": Output("class ids as a NumPy array", ".npy", numpy_file),
    "coco": Output("COCO run lengths, one predictions.coco.json", ".jsonl", coco_lines, f"{STATE}/coco"),
    "labelme": Output("LabelMe polygons", ".json", labelme_file),
    "geojson": Output("GeoJSON polygons, in pixels", ".geojson", geojson_file),
    "confidence": Output(
        "the likeliest class's probability as a 16-bit PNG, 0–65535", ".confidence.png", confidence_png
    ),
    "entropy": Output(
        "how undecided it is, 16-bit PNG: 0 certain, 65535 all classes alike", ".entropy.png", entropy_png
    ),
}  # in the order in which they are written
DEFAULT = ("labels",)


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """The outputs of these names, each once, in the order of OUTPUTS.

    Raises:
        UsageError: an unknown name, none at all, or two that would be one file.
    """
    wanted = [name.strip() for name in names if name.strip()]
    unknown = [name for name in wanted if name not in OUTPUTS]
    if unknown or not wanted:
        said = f"{unknown[0]!r} is nothing that can be saved" if unknown else "nothing to save was named"
        raise UsageError(f"{said}; known: {', '.join(OUTPUTS)}.")
    if {"labels", "index"} <= set(wanted):
        raise UsageError("labels and index are both NAME.png, with and without colours. Save one of them.")
    return tuple(name for name in OUTPUTS if name in wanted)
