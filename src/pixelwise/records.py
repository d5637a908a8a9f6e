"""The few frozen records that several parts of Pixelwise share.

Shapes: H, W image height and width in pixels; h, w the same of the low-resolution scores; C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.softmax import highest_probability, softmax

COUNTED_AT_ONCE = 1 << 20
VOID = 255  # the id of unlabelled pixels inside the program; excluded from every loss, metric and chart
MAX_CLASSES = 255  # ids 0 … 254 fit a uint8 mask beside VOID

Labels = NDArray[np.uint8]  # [H, W] class ids, VOID where unlabelled
Pixels = NDArray[np.uint8]  # [H, W, 3] RGB
Raster = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]  # [H, W, bands], as stored; NaN: no data
Scores = NDArray[np.float32]  # [C, h, w]
Colour = tuple[int, int, int]  # RGB, 0–255 each
OnProgress = Callable[[int, int], None]  # called with (done, total)


def no_progress(_done: int, _total: int) -> None:
    """A `OnProgress` that shows nothing."""


@dataclass(frozen=True)
class ClassList:
    """The classes of a dataset or model, in the order of their ids."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MAX_CLASSES:
            raise ValueError(f"{len(self.names)} classes; expected 1 to {MAX_CLASSES}")
        if len(self.names) != len(self.colours):
            raise ValueError(f"{len(self.names)} class names but {len(self.colours)} colours")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"class names repeat: {', '.join(self.names)}")

    def __len__(self) -> int:
        return len(self.names)

    def palette(self) -> NDArray[np.uint8]:
        """The colours as a [256, 3] look-up table; ids without a class, and void, are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = self.colours
        return table

    def to_json(self) -> list[dict[str, Any]]:
        return [{"name": name, "colour": list(colour)} for name, colour in zip(self.names, self.colours, strict=True)]

    @classmethod
    def from_json(cls, rows: list[dict[str, Any]]) -> ClassList:
        return cls(
            tuple(str(row["name"]) for row in rows),
            tuple((int(r), int(g), int(b)) for r, g, b in (row["colour"] for row in rows)),
        )


@dataclass(frozen=True)
class Bands:
    """The bands of a dataset's images, which are those that a model trained on it takes."""

    names: tuple[str, ...]
    dtype: Literal["uint8", "float32"]  # of the values that a model takes; float32 also for 16-bit and signed images
    low: tuple[float, ...]  # for each band, the stored value that becomes 0 for the network
    high: tuple[float, ...]  # for each band, the stored value that becomes 255

    def __post_init__(self) -> None:
        if not self.names or len({len(self.names), len(self.low), len(self.high)}) > 1:
            raise ValueError(f"{len(self.names)} bands, {len(self.low)} low and {len(self.high)} high values")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"band names repeat: {', '.join(self.names)}")
        if any(low >= high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"a band's low value is not below its high one: {self.low}, {self.high}")

    def __len__(self) -> int:
        return len(self.names)

    def to_json(self) -> dict[str, Any]:
        return {"names": list(self.names), "dtype": self.dtype, "low": list(self.low), "high": list(self.high)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Bands:
        dtype: Literal["uint8", "float32"] = "uint8" if value["dtype"] == "uint8" else "float32"
        low, high = (tuple(float(one) for one in value[name]) for name in ("low", "high"))
        return cls(tuple(str(name) for name in value["names"]), dtype, low, high)


RGB = Bands(("red", "green", "blue"), "uint8", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0))


@dataclass(frozen=True)
class Sample:
    """One image and its mask, if it is labelled."""

    name: str  # unique within its dataset: the path of the image below the dataset's root, without suffix
    image: Path
    mask: Path | None
    # Where one file holds many images or masks, or drawings of them: "reader:entry", as `data.sources` reads it.
    image_part: str = ""
    mask_part: str = ""
    group: str = ""  # what it was cut from: a volume, film, patient or image; a split never divides one. "": nothing


@dataclass(frozen=True)
class Problem:
    """One problem of a dataset: what, where, and the remedy."""

    severity: Literal["error", "warning"]
    kind: str  # short and stable, for machines: "size-mismatch", "mask-missing", …
    where: str  # the file, relative to the dataset's root, or the split or class
    message: str  # what was expected and what came
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} {self.remedy}".strip()


@dataclass(frozen=True)
class Dataset:
    """A folder of images and masks whose layout was recognised. No file has been decoded yet."""

    root: Path
    layout: str  # "native", "pairs", "camvid", "coco" …: a key of `list_dataset.LAYOUTS`
    classes: ClassList
    splits: Mapping[str, tuple[Sample, ...]]  # "train", "val", "test" → samples in a fixed order
    mask_ids: Mapping[int, int] = field(default_factory=dict)  # id in a mask file → class id or VOID
    notes: tuple[str, ...] = ()  # decisions made for the user: how it was split, which classes were found
    problems: tuple[Problem, ...] = ()  # found while listing: images without masks and the like
    bands: Bands = RGB  # as its images are read; RGB: as 8-bit red, green and blue


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one image."""

    labels: Labels  # uint8 [H, W]; VOID where the image has no data in any band
    scores: Scores  # float32 [C, h, w], class scores at the network's own resolution
    classes: ClassList
    temperature: float = 1.0  # scores are divided by it before the softmax, so that probabilities are calibrated
    borders: Scores | None = None  # [B, h, w], 0–1: borders between objects, where the model separates them
    separated: tuple[int, ...] = ()  # class ids of the B maps of borders

    @property
    def shares(self) -> dict[str, float]:
        """Each class's share of this image's pixels, 0–1, in class order."""
        counts = np.zeros(256, np.int64)
        flat = self.labels.ravel()
        for start in range(0, len(flat), COUNTED_AT_ONCE):  # bincount takes 8 bytes per label
            counts += np.bincount(flat[start : start + COUNTED_AT_ONCE], minlength=256)
        return {name: float(counts[i]) / self.labels.size for i, name in enumerate(self.classes.names)}

    @property
    def confidence(self) -> float:
        """The probability of the most probable class, 0–1, averaged over the positions of the scores."""
        return float(highest_probability(self.scores, self.temperature).mean())

    def probabilities(self, x: int, y: int) -> dict[str, float]:
        """The probability of every class at pixel (x, y) of the image, in class order.

        Equal to the softmax of the full-resolution scores at that pixel: a bilinear look-up (pixel centres at
        half-integers, as in the graph) in the low-resolution scores.

        Raises:
            IndexError: (x, y) lies outside the image.
        """
        height, width = self.labels.shape
        if not (0 <= x < width and 0 <= y < height):
            raise IndexError(f"pixel ({x}, {y}) lies outside the image of {width}×{height} pixels")
        scores_C = bilinear_lookup(self.scores, (x + 0.5) / width, (y + 0.5) / height)
        return dict(zip(self.classes.names, softmax(scores_C, self.temperature).tolist(), strict=True))


def bilinear_lookup(scores_Chw: Scores, u: float, v: float) -> NDArray[np.float64]:
    """Scores at the relative position (u, v), each 0–1 from the left and top edge. Returns [C] float64."""
    _, h, w = scores_Chw.shape
    x = min(max(u * w - 0.5, 0.0), w - 1.0)
    y = min(max(v * h - 0.5, 0.0), h - 1.0)
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, w - 1), min(y0 + 1, h - 1)
    fx, fy = x - x0, y - y0
    corners = scores_Chw[:, [y0, y0, y1, y1], [x0, x1, x0, x1]].astype(np.float64)
    weights = np.array([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx])
    return np.asarray(corners @ weights)
