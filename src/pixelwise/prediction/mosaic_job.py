"""Many images that are labelled as one: `predict --mosaic`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pixelwise.errors import UsageError
from pixelwise.images.files import shown
from pixelwise.maps.mosaic import SUFFIX, MapMosaic, plan_mosaic, write_mosaic
from pixelwise.prediction.find_images import images_once
from pixelwise.prediction.label_file import Job
from pixelwise.prediction.masks_left_out import MasksLeftOut
from pixelwise.prediction.outputs import STATE
from pixelwise.records import Bands


def planned_mosaic(name: str, paths: Sequence[Path], out: Path, bands: Bands, masks: MasksLeftOut) -> MapMosaic:
    """Where the images lie in one map. Raises UsageError, ImageError."""
    if Path(name).name != name or name.startswith("."):
        raise UsageError(f"--mosaic {name}: expected the name of the results, without a folder, such as city.")
    images = images_once(paths, out, bands, masks)
    if same := [image for image in images if os.path.realpath(image.parent) == os.path.realpath(out)]:
        raise UsageError(
            f"{shown(same[0])} lies in --out itself: the next run would take the mosaic for one of its images. Choose "
            "another --out."
        )
    return plan_mosaic(images)


def mosaic_job(mosaic: MapMosaic, name: str, out: Path) -> Job:
    """The one image that all are."""
    path = out / STATE / f"{name}{SUFFIX}"
    write_mosaic(path, mosaic)
    return Job(path, out, name)
