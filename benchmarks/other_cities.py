"""`street` in cities that its training never saw: accuracy, and the mIoU of the six classes that the labels share.

    python benchmarks/other_cities.py [--data FOLDER] [MODEL …]

FOLDER holds LabelMeFacade's images/ and labels/ (colour masks; Fröhlich, Rodner and Denzler 2010). Doors and windows
count as building; unlabelled pixels do not count. Whatever else a model says of a labelled pixel is wrong.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

import pixelwise as pw

DATA = Path(__file__).parents[2] / "shared/data/own/facade"
CLASSES = ("sky", "building", "road", "pavement", "tree", "car")
COLOURS = {
    (0, 128, 128): "sky",
    (128, 0, 0): "building",
    (128, 128, 0): "building",  # door
    (0, 0, 128): "building",  # window
    (128, 64, 0): "road",
    (128, 128, 128): "pavement",
    (0, 128, 0): "tree",
    (128, 0, 128): "car",
}


def confusion(model: pw.Model, data: Path) -> NDArray[np.int64]:
    """Pixels by true class, of CLASSES, and by what the model says."""
    counts = np.zeros((len(CLASSES), len(model.classes)), np.int64)
    for image in sorted((data / "images").iterdir()):
        labels_HW = model.predict(image).labels
        (mask,) = (data / "labels").glob(f"{image.stem}.*")
        colours_HW3 = np.asarray(Image.open(mask).convert("RGB"))
        for colour, name in COLOURS.items():
            said = labels_HW[(colours_HW3 == colour).all(axis=2)]
            counts[CLASSES.index(name)] += np.bincount(said, minlength=counts.shape[1])
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=["street", "street-int8"], metavar="MODEL")
    parser.add_argument("--data", type=Path, default=DATA)
    chosen = parser.parse_args()
    if not (chosen.data / "images").is_dir():
        sys.exit(f"{chosen.data}: no images/ in it; name LabelMeFacade's folder with --data.")
    table = Table("model", "accuracy", "mIoU", *CLASSES)
    for name in chosen.models:
        model = pw.load(name)
        counts, places = confusion(model, chosen.data), [model.classes.names.index(one) for one in CLASSES]
        right = np.array([counts[row, place] for row, place in enumerate(places)])
        iou = right / (counts.sum(axis=1) + counts.sum(axis=0)[places] - right)
        table.add_row(name, *(f"{value:.3f}" for value in (right.sum() / counts.sum(), iou.mean(), *iou)))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
