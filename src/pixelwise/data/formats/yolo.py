"""YOLO polygons: a text file an image, a line an object: class x y x y …, each from 0 to 1 of width and height.

Format: docs.ultralytics.com/datasets/segment. Class names are data.yaml's `names`. In the masks a class is its number
plus one; 0 is where nothing is drawn. Later lines are drawn over earlier ones.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.decode import MaskIds
from pixelwise.data.files import Refusal, read_bytes
from pixelwise.data.formats.drawing import BACKGROUND, blank_mask, files_below, peek, split_of
from pixelwise.data.formats.polygons import fill, outlines, polygon_of
from pixelwise.data.layouts import IMAGE_SUFFIXES, Declared, Listing
from pixelwise.data.palettes import VOID_NAMES
from pixelwise.records import Sample

OBJECT = re.compile(r"\s*\d+(\s+-?[\d.]+(e-?\d+)?){4,}\s*", re.IGNORECASE)


def label_files(root: Path) -> list[Path]:
    """Text files below a folder "labels" whose first line is an object (or that are empty beside such a file)."""
    return [path for path in files_below(root, (".txt",)) if "labels" in path.relative_to(root).parts]


def is_yolo(root: Path) -> bool:
    return any(OBJECT.fullmatch((peek(path).splitlines() or [""])[0]) for path in label_files(root)[:50])


def list_yolo(root: Path) -> Listing:
    """Every image under "images" with the text file of its name under "labels"; no file means: nothing on it."""
    listing = Listing(root)
    top = 0
    for path in label_files(root):
        parts = list(path.relative_to(root).parts)
        parts[parts.index("labels")] = "images"
        stem = root.joinpath(*parts).with_suffix("")
        image = next((p for suffix in IMAGE_SUFFIXES if (p := stem.with_name(stem.name + suffix)).is_file()), None)
        if image is None:
            listing.error("image-missing", path, "has no image of the same name.", "Add it, or remove the labels.")
            continue
        top = max([top, *_judge(path, listing)])
        sample = Sample(listing.where(image.with_suffix("")), image, path, mask_part="yolo:")
        listing.splits.setdefault(split_of(path, root), []).append(sample)
    names = names_of(root) or tuple(f"class {i}" for i in range(top + 1))
    void = frozenset(i + 1 for i, name in enumerate(names) if name.lower() in VOID_NAMES)
    chosen = [(name, i + 1) for i, name in enumerate(names) if i + 1 not in void]
    if BACKGROUND in names:
        void |= {0}
    else:
        chosen = [(BACKGROUND, 0), *chosen]
    listing.declared = Declared(
        tuple(name for name, _ in chosen), tuple(i for _, i in chosen), (None,) * len(chosen), void, "data.yaml's names"
    )
    return listing


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask that a text file draws on an image of this size (H, W)."""
    del entry
    ids = blank_mask(*size, 255)
    for line in read_bytes_or_empty(path).decode("utf-8", "replace").splitlines():
        numbers = line.split()
        if not OBJECT.fullmatch(line) or len(numbers) < 7:
            continue
        corners = np.array([float(n) for n in numbers[1 : 1 + (len(numbers) - 1) // 2 * 2]]).reshape(-1, 2)
        fill(ids, polygon_of(corners * [size[1], size[0]]), min(int(numbers[0]) + 1, 255))
    return ids


def read_bytes_or_empty(path: Path) -> bytes:
    """An empty text file means an image without objects; it is no error here as it is for images."""
    return b"" if path.is_file() and path.stat().st_size == 0 else read_bytes(path)


def yolo_lines(labels: NDArray[np.uint8], void: int) -> str:
    """The text file of a mask [H, W]: every piece of every class; void is not drawn."""
    height, width = labels.shape
    lines = []
    for c in np.unique(labels):
        if c != void:
            for polygon in outlines(labels == c):
                numbers = " ".join(f"{x:.17g} {y:.17g}" for x, y in polygon / [width, height])
                lines.append(f"{int(c)} {numbers}\n")
    return "".join(lines)


def names_of(root: Path) -> tuple[str, ...]:
    """`names` of data.yaml, in each of the three ways in which it is written; () where there is none."""
    for path in files_below(root, (".yaml", ".yml"), depth=1):
        try:
            text = read_bytes(path).decode("utf-8", "replace")
        except Refusal:
            continue
        inline = re.search(r"^names:\s*\[(.*?)\]", text, re.MULTILINE | re.DOTALL)
        if inline:
            return tuple(re.findall(r"""['"]?([^'",\[\]\n]+?)['"]?\s*(?:,|$)""", inline.group(1).strip()))
        block = re.search(r"^names:\s*\n((?:[ \t]*(?:-|\d+:).*\n?)+)", text, re.MULTILINE)
        if block:
            return tuple(
                re.sub(r"^\s*(?:-|\d+:)\s*", "", line).split(" #")[0].strip().strip("'\"")
                for line in block.group(1).splitlines()
            )
    return ()


def _judge(path: Path, listing: Listing) -> list[int]:
    """Warn of lines that are no polygons inside the image; the classes that occur."""
    classes = []
    for number, line in enumerate(peek(path).splitlines(), start=1) if path.stat().st_size < 4096 else ():
        numbers = line.split()
        if not line.strip():
            continue
        if not OBJECT.fullmatch(line) or len(numbers) < 7:
            what = "is a box, not a polygon" if len(numbers) == 5 else "is no class with a polygon"
            listing.warn("polygon-empty", path, f"line {number} {what}.", "It is passed over; draw it, or remove it.")
            continue
        classes.append(int(numbers[0]))
        if any(not -0.01 <= float(n) <= 1.01 for n in numbers[1:]):
            listing.warn("polygon-outside", path, f"line {number} leaves 0 to 1.", "What is outside is cut off.")
    return classes
