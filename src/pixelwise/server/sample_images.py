"""Sample images: the held-out images of a model's run, rendered street scenes, or the bundle's test image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.datasets.dataset_toml import parse_toml
from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask
from pixelwise.errors import PixelwiseError
from pixelwise.images.false_colour import false_colour
from pixelwise.images.image_files import encode_png
from pixelwise.images.no_data import labels_with_data
from pixelwise.prediction.load_model import Model
from pixelwise.records import RGB, VOID, Bands, Labels, Raster, Sample
from pixelwise.scenes.render_scene import SCENE_CLASSES, render_scene
from pixelwise.server.error_responses import RequestError
from pixelwise.server.responses import mapped

SEED = 71  # not used for training scenes
SCENES = (4, 11, 17, 23)
SCENE_PX = (384, 512)
SCORED_SCENE_PX = (256, 320)
HELD_OUT = 6
HELD_OUT_NAME = "held-out"
SHIPPED_NAME = "validation"  # of images that a built-in model brings with the log of its training: open to everyone
KEPT = 4  # samples whose PNGs are cached
GOLDEN = "golden"


@dataclass(frozen=True)
class SampleImage:
    """An image, usually with its true mask."""

    name: str
    title: str
    source: str
    has_truth: bool = True


class Samples:
    """The sample images of a model: first its run's held-out images that are still on this machine, or those that a
    built-in model brings in the `log` of its training."""

    def __init__(self, model: Model, run: Path | None, log: Path | None = None) -> None:
        self.classes, self.bands = model.classes, model.metadata.bands
        self.golden = model.engine.bundle.golden.image
        shared = set(SCENE_CLASSES.names) & set(model.classes.names)
        self.shared_classes = len(shared) if self.bands == RGB else 0  # scenes are RGB
        self.held_out = held_out_pairs(run or log)
        self.mask_ids = mask_ids_of(run or log)
        self.kind = "also used for training" if trained_on(run or log) else "held out during training"
        self.kept: dict[str, tuple[bytes, bytes]] = {}
        self.examples = [
            SampleImage(f"{HELD_OUT_NAME}-{i}", sample.name.rpartition("/")[2], self.kind)
            if run
            else SampleImage(f"{SHIPPED_NAME}-{i}", f"validation image {i + 1}", self.kind)
            for i, sample in enumerate(self.held_out[:HELD_OUT])
        ]
        if not self.held_out and self.shared_classes < 2:
            self.examples.append(
                SampleImage(GOLDEN, "the model’s own test image", "part of its file; it has no true mask", False)
            )
        if self.shared_classes >= 2:  # scenes show a model of other classes nothing, and their masks would be all void
            self.examples += [
                SampleImage(f"scene-{i}", f"street scene {number + 1}", "rendered, with an exact mask")
                for number, i in enumerate(SCENES)
            ]

    def to_json(self) -> list[dict[str, Any]]:
        return [vars(example) for example in self.examples]

    def read(self, name: str) -> tuple[Raster, Labels]:
        """Pixels [H, W, N] and true labels [H, W] in this model's classes, void where it has no such class."""
        kind, _, number = name.rpartition("-")
        if name not in {example.name for example in self.examples}:
            raise RequestError(404, "sample-unknown", "There is no such sample.", "List them with GET /v1/samples.")
        if name == GOLDEN:
            return self.golden, np.full(self.golden.shape[:2], VOID, np.uint8)
        if kind == "scene":
            return self.scene(int(number), SCENE_PX)
        return self.read_held_out(int(number))

    def read_held_out(self, index: int) -> tuple[Raster, Labels]:
        sample = self.held_out[index]
        try:
            return read_held_out(sample, self.bands, self.mask_ids, len(self.classes))
        except PixelwiseError as error:
            raise RequestError(
                410, "sample-gone", "This image is no longer at its recorded path.", "Choose another one."
            ) from error

    def labelled(self, most: int) -> tuple[str, Iterator[tuple[Raster, Labels]]] | None:
        """Images [H, W, N] and true labels [H, W] to score this model on, and what they are; None if there are none.

        They are the first of the run's held-out images or, without any, rendered scenes.
        """
        if self.held_out:
            count = min(len(self.held_out), most)
            these = f"the first {count} of {len(self.held_out)}" if count < len(self.held_out) else f"{count}"
            source = f"{these} {'image' if count == len(self.held_out) == 1 else 'images'} {self.kind}"
            return source, (self.read_held_out(i) for i in range(count))
        if self.shared_classes >= 2:
            source = f"{most} rendered street scenes, which show {self.shared_classes} of this model’s classes"
            return source, (self.scene(1000 + i, SCORED_SCENE_PX) for i in range(most))
        return None

    def scene(self, number: int, size: tuple[int, int]) -> tuple[Raster, Labels]:
        pixels, labels = render_scene(SEED, number, *size)
        return pixels, mapped(labels, SCENE_CLASSES, self.classes)

    def pngs(self, name: str) -> tuple[bytes, bytes]:
        """Image and true mask as PNG, with a cache of the latest."""
        if name not in self.kept:
            pixels, labels = self.read(name)
            self.kept[name] = (encode_png(false_colour(pixels, self.bands)), encode_png(labels))
            while len(self.kept) > KEPT:
                self.kept.pop(next(iter(self.kept)))
        return self.kept[name]


def is_held_out(name: str) -> bool:
    """Whether this sample is read from a folder of this machine."""
    return name.startswith(HELD_OUT_NAME)


def data_of(run: Path | None) -> dict[str, Any]:
    """The run's record of its data; empty without a run."""
    if run is None:
        return {}
    try:
        data: dict[str, Any] = json.loads((run / "data.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data


def held_out_pairs(run: Path | None) -> list[Sample]:
    """The validation pairs of a run that still exist."""
    rows = data_of(run).get("splits", {}).get("val", [])
    # The log of a built-in model has its images inside: their paths begin at its folder.
    samples = [Sample(str(name), run / image, run / mask, *parts) for name, image, mask, *parts in rows if run and mask]
    return [one for one in samples if one.image.is_file() and one.mask is not None and one.mask.is_file()]


def trained_on(run: Path | None) -> bool:
    """Whether a run trained on its validation images, too."""
    try:
        return run is not None and bool(parse_toml((run / "recipe.toml").read_text(encoding="utf-8")).get("also_val"))
    except (OSError, ValueError):
        return False


def read_held_out(sample: Sample, bands: Bands, mask_ids: dict[int, int], classes: int) -> tuple[Raster, Labels]:
    """Pixels [H, W, N] and true labels [H, W], read as in the run, void without data. Raises PixelwiseError."""
    pixels = read_sample_image(sample, bands)
    labels = read_sample_mask(sample, mask_ids, classes, (pixels.shape[0], pixels.shape[1]))
    return pixels, labels_with_data(pixels, labels)


def bands_of(run: Path) -> Bands:
    """The bands of a run's images."""
    stored = data_of(run).get("bands")
    return Bands.from_json(stored) if stored else RGB


def mask_ids_of(run: Path | None) -> dict[int, int]:
    return {int(key): int(value) for key, value in data_of(run).get("mask_ids", {}).items()}
