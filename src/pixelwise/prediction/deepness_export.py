"""Any model as a file that QGIS's plugin Deepness runs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.bundle.deepness import tile_side, write_deepness
from pixelwise.images.files import shown
from pixelwise.prediction.large.tile_plan import tile_size
from pixelwise.prediction.load_model import find_bundle

FINGERPRINT = "fingerprint.json"


@dataclass(frozen=True)
class DeepnessFile:
    """What was written."""

    path: Path
    tile_px: int
    pixel_m: float | None

    def __str__(self) -> str:
        scale = "the resolution of your map as it is" if self.pixel_m is None else f"{self.pixel_m:g} m a pixel"
        return f"{shown(self.path)}: for Deepness, in tiles of {self.tile_px} px; set {scale}"


def export_deepness(model: Path, out: Path, *, run: Path | None = None) -> DeepnessFile:
    """Write a model for QGIS's plugin Deepness.

    Args:
        model: what `load` takes: a bundle, a run directory, or the name of a built-in model.
        run: a run directory whose fingerprint states the size of the training images' pixels, if the model is another.

    Raises:
        UsageError: no such model, or one that takes other than 8-bit images.
        BundleError: it is damaged.
        OutputError: `out` cannot be written.
    """
    bundle = read_bundle(find_bundle(model))
    tile, _ = tile_size(bundle.metadata)
    pixel_m = pixel_side_m((run or model) / FINGERPRINT)
    write_deepness(bundle, tile, out, pixel_m)
    return DeepnessFile(out, tile_side(tile), pixel_m)


def pixel_side_m(fingerprint: Path) -> float | None:
    """The side of a training image's pixel in metres, as a run's fingerprint states it; None if it does not."""
    try:
        found: Any = json.loads(fingerprint.read_text())
    except (OSError, ValueError):  # not a run, or none that can be read: the plugin then asks
        return None
    sides = found.get("pixel_size") if isinstance(found, dict) and found.get("pixel_unit") == "m" else None
    if not isinstance(sides, list) or len(sides) != 2 or not all(isinstance(one, (int, float)) for one in sides):
        return None
    return math.sqrt(sides[0] * sides[1]) or None
