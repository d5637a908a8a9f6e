"""Labelled images for benchmarks/labelling.py: pixels, masks, classes and the score to reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

VOID = 255
WHITE = 255
DATA = Path(__file__).parents[2] / "shared/data"


@dataclass(frozen=True)
class Labelled:
    """One image with its mask."""

    name: str
    image_HW3: NDArray[np.uint8]
    truth_HW: NDArray[np.uint8]
    classes: int


@dataclass(frozen=True)
class LabelSet:
    """One set: where its pairs lie, and what is to be reached."""

    name: str
    goal: float
    binary: bool  # scored by the IoU of class 1, else by the mean over the classes that the mask holds
    pairs: Callable[[Path], list[tuple[Path, Path]]]
    classes: int
    side_px: int | None = None  # a window of this side, where the rarest class is densest, instead of the whole image

    def images(self, number: int, data: Path = DATA) -> Iterator[Labelled]:
        """`number` images, spread over the set."""
        pairs = sorted(self.pairs(data))
        places = np.unique(np.linspace(0, len(pairs) - 1, number + 2).round().astype(int)[1:-1])
        for place in places:
            image, mask = pairs[place]
            yield self.read(image, mask)

    def read(self, image: Path, mask: Path) -> Labelled:
        image_HW3 = np.asarray(Image.open(image).convert("RGB"))
        truth_HW = READ_MASK[self.name](mask)
        if self.side_px is not None:
            image_HW3, truth_HW = densest(image_HW3, truth_HW, self.side_px)
        return Labelled(image.stem, image_HW3, truth_HW, self.classes)

    def score(self, result_HW: NDArray[np.uint8], truth_HW: NDArray[np.uint8]) -> float:
        known = truth_HW != VOID
        result, truth = result_HW[known], truth_HW[known]
        ious = [
            np.count_nonzero((result == key) & (truth == key)) / np.count_nonzero((result == key) | (truth == key))
            for key in ([1] if self.binary else np.unique(truth))
        ]
        return float(np.mean(ious))


def densest(
    image_HW3: NDArray[np.uint8], truth_HW: NDArray[np.uint8], side_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The window with the most pixels of class 1, not counting those where the picture is plain white: masks of aerial
    photos go on where the flight missed the ground."""
    height, width = (min(side_px, side) for side in truth_HW.shape)
    sums = cv2.integral(((truth_HW == 1) & (image_HW3.min(axis=2) < WHITE)).astype(np.uint8))
    held = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    y, x = np.unravel_index(int(held.argmax()), held.shape)
    part = np.s_[y : y + height, x : x + width]
    return np.ascontiguousarray(image_HW3[part]), np.ascontiguousarray(truth_HW[part])


def grey(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("L"))


def as_stored(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path)).astype(np.uint8)


def three_greys(path: Path) -> NDArray[np.uint8]:
    """0, 128 and 255 → 0 background, 1 cytoplasm, 2 nucleus."""
    return np.digitize(grey(path), (64, 192)).astype(np.uint8)


def camvid(path: Path) -> NDArray[np.uint8]:
    found = as_stored(path)
    return np.where(found > 10, VOID, found).astype(np.uint8)


def any_colour(path: Path) -> NDArray[np.uint8]:
    return (np.asarray(Image.open(path).convert("RGB")).any(axis=2)).astype(np.uint8)


def beside(images: str, masks: str, endings: str = "*") -> Callable[[Path], list[tuple[Path, Path]]]:
    """Pairs of two folders by their sorted names."""

    def pairs(data: Path) -> list[tuple[Path, Path]]:
        return list(zip(sorted((data / images).glob(endings)), sorted((data / masks).iterdir()), strict=True))

    return pairs


def wbc(data: Path) -> list[tuple[Path, Path]]:
    return [(path, path.with_suffix(".png")) for path in sorted((data / "own/wbc/Dataset 1").glob("*.bmp"))]


def nha12d(data: Path) -> list[tuple[Path, Path]]:
    root = data / "own/nha12d"
    return [(image, image.parents[1] / "Masks" / f"{image.stem}.png") for image in sorted(root.glob("*/Raw_images/*"))]


READ_MASK: dict[str, Callable[[Path], NDArray[np.uint8]]] = {
    "camvid": camvid,
    "nuclei": lambda path: (as_stored(path) > 0).astype(np.uint8),
    "drive": lambda path: (grey(path) > 127).astype(np.uint8),
    "wbc": three_greys,
    "cracks": any_colour,
    "roads": lambda path: (grey(path) > 127).astype(np.uint8),
}
SETS = (
    LabelSet("camvid", 0.85, False, beside("camvid/val", "camvid/valannot"), 11),
    LabelSet("nuclei", 0.75, True, beside("nuclei/val/images", "nuclei/val/masks"), 2),
    LabelSet("drive", 0.75, True, beside("own/drive/training/images", "own/drive/training/1st_manual"), 2, 320),
    LabelSet("wbc", 0.85, False, wbc, 3),
    LabelSet("cracks", 0.75, True, nha12d, 2, side_px=320),
    LabelSet("roads", 0.75, True, beside("own/mass_roads/images", "own/mass_roads/masks"), 2, side_px=320),
)
