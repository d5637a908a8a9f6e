"""A plan for the page, made in a process of its own: what was measured, the choices with their reasons, and training
crops of some of the person's own images.

Run as `python -m pixelwise.server.plan_job DATA '{"epochs": 20}' '{"bands": ["nir"]}'`: fields of the recipe, and how
the data are read, as arguments of `plan`.
Writes one JSON object a line: "progress", "plan", "crops" for each image, or "error". The process is the limit: the
server stays small, and whoever no longer wants the answer ends it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelwise.errors import PixelwiseError
from pixelwise.trace_events import finite

IMAGES = 4  # whose crops are shown
EPOCHS = (0, 0.35, 0.65, 0.95)  # of the training, as shares: crops of the first epochs are smaller
SHOWN_PX = 192  # longest side of a picture


def main(data: Path, settings: dict[str, Any], reading: dict[str, Any]) -> None:
    try:
        plan_and_crops(data, settings, reading)
    except PixelwiseError as error:
        say({"event": "error", "message": str(error)})


def plan_and_crops(data: Path, settings: dict[str, Any], reading: dict[str, Any]) -> None:
    from pixelwise.training.plan import plan

    def progress(done: int, total: int) -> None:
        say({"event": "progress", "what": "measuring the data", "done": done, "total": total})

    planned = plan(data, settings, **reading, progress=progress)
    found = planned.fingerprint
    facts = {"train": found.train, "val": found.val, "size": list(found.size), "measured": found.measured}
    recipe = planned.recipe.to_json()
    say({"event": "plan", **planned.to_json(), "facts": facts, "recipe": recipe})
    for row in crops_of(data, planned, reading):
        say({"event": "crops", **row})


def crops_of(data: Path, planned: Any, reading: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Crops of images spread over the training split, as training makes them; each with its labels laid over it."""
    from pixelwise.datasets.open_dataset import open_dataset
    from pixelwise.images.false_colour import false_colour
    from pixelwise.prediction.overlay import overlay
    from pixelwise.reports.pictures import data_url
    from pixelwise.training.band_ranges import with_ranges
    from pixelwise.training.data_summary import pixels_as_seen
    from pixelwise.training.loader import Pairs, augment
    from pixelwise.training.loop import augmentation_of
    from pixelwise.training.validation_split import with_validation

    recipe = planned.recipe
    dataset = with_ranges(with_validation(open_dataset(data, **reading, seed=recipe.seed), recipe.seed))
    samples = dataset.splits["train"]
    chosen = sorted({round(i * (len(samples) - 1) / max(IMAGES - 1, 1)) for i in range(IMAGES)})
    few = Pairs(
        [samples[i] for i in chosen], dataset.mask_ids, len(dataset.classes), recipe.cache_mb, None, dataset.bands
    )
    pixels_as_seen(few, recipe, len(dataset.classes), lambda what, done, total: None)  # where its rare classes are
    shares = {one.name: one.share for one in planned.fingerprint.classes}
    pixels_C = [round(shares.get(name, 0.0) * 1e9) for name in dataset.classes.names]
    how = augmentation_of(recipe, dataset.bands, pixels_C)
    for index, sample in enumerate(few.samples):
        rare = [places for id_ in how.rare if len(places := few.positions(index, id_))]
        exposure = few.exposure(index) if how.even_exposure else None
        image_HWN, mask_HW = few[index]
        pictures = []
        for share in EPOCHS:
            epoch = min(int(share * recipe.epochs), recipe.epochs - 1)
            crop_hwN, labels_hw = augment(image_HWN, mask_HW, how, epoch, index, rare, exposure)
            crop = shown_crop(crop_hwN, dataset.bands)
            pictures.append({"epoch": epoch + 1, "image": data_url(crop, SHOWN_PX),
                             "labels": data_url(overlay(crop, labels_hw, dataset.classes), SHOWN_PX)})  # fmt: skip
        whole = false_colour(image_HWN[:], dataset.bands)
        yield {"name": sample.name, "whole": data_url(whole, SHOWN_PX), "crops": pictures}


def shown_crop(crop_hwN: Any, bands: Any) -> Any:
    """A crop as a picture. Crops of other bands than red, green and blue are scaled to 0–255 already."""
    import numpy as np

    from pixelwise.images.false_colour import shown_bands
    from pixelwise.records import RGB

    if bands == RGB:
        return crop_hwN
    chosen = np.nan_to_num(crop_hwN[:, :, list(shown_bands(bands))])
    return np.ascontiguousarray(chosen.clip(0, 255).round().astype(np.uint8))


def say(row: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(finite(row), ensure_ascii=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3]))
