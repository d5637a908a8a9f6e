"""GeoTIFFs whose masks lie elsewhere on the earth: another CRS, a shifted grid, another place; and scales that differ.

Training pairs pixels by row and column, so that a mask of another grid labels the wrong ones. Only headers are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pixelwise.doctor.validate_pair import where
from pixelwise.errors import ImageError, MissingExtraError
from pixelwise.images.files import shown
from pixelwise.maps.grid import Grid, grid_of
from pixelwise.records import Dataset, Problem, Sample

TIFF_SUFFIXES = (".tif", ".tiff")
LEAST_SHIFT_PX = 0.1
DEGREES = 360  # coordinates up to here, with pixels this much smaller, are degrees
DEGREES_PER_PIXEL = 0.1
REMEDIES = {
    "map-crs": "Bring the mask onto the image's grid (gdalwarp), or cut both from polygons with pixelwise chips.",
    "map-elsewhere": "Pair each image with the mask of its own place; pixelwise chips does it from polygons.",
    "map-shifted": "Bring the mask onto the image's grid (gdalwarp), or cut both from polygons with pixelwise chips.",
    "map-scale": "Give all images one scale and offset: gdal_translate -unscale -ot Float32 IN OUT.tif",
}
MANY = {
    "map-crs": "masks are in another CRS than their images",
    "map-elsewhere": "masks lie outside their images",
    "map-shifted": "masks are shifted against their images",
}


class Fault(NamedTuple):
    """How a mask's place differs from its image's."""

    kind: str  # of MANY
    message: str


def map_problems(dataset: Dataset) -> list[Problem]:
    """At most one warning of each kind, at the first file, with the number of others."""
    found: defaultdict[str, list[tuple[Sample, str]]] = defaultdict(list)
    scales: dict[tuple[tuple[float, ...], tuple[float, ...]], Sample] = {}
    samples = sorted((one for split in dataset.splits.values() for one in split), key=lambda sample: sample.name)
    for sample in samples:
        grid = None if sample.image_part else _grid(sample.image)
        if grid is None:
            continue
        scales.setdefault((grid.scale, grid.offset), sample)
        mask = _grid(sample.mask) if sample.mask and not sample.mask_part else None
        for fault in _faults(grid, mask) if mask is not None else ():
            found[fault.kind].append((sample, fault.message))
    problems = []
    for kind, many in MANY.items():
        if of_kind := found.get(kind):
            sample, message = of_kind[0]
            if len(of_kind) > 1:
                message = f"{message} {len(of_kind):,} {many}; this is the first."
            problems.append(
                Problem("warning", kind, where(dataset, sample.mask or sample.image), message, REMEDIES[kind])
            )
    if len(scales) > 1:
        first, other = list(scales.items())[:2]
        message = (
            f"has {_scale_in_words(other[0])}, but {shown(first[1].image.name)} has {_scale_in_words(first[0])}: equal "
            "stored values mean different measurements."
        )
        problems.append(Problem("warning", "map-scale", where(dataset, other[1].image), message, REMEDIES["map-scale"]))
    return problems


def _grid(path: Path) -> Grid | None:
    """The place of a GeoTIFF. None where it has none, or only GDAL could tell: training does not need it."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return None
    try:
        return grid_of(path)
    except (ImageError, MissingExtraError):  # what prevents reading its pixels is reported with the pair
        return None


def _faults(image: Grid, mask: Grid) -> Iterator[Fault]:
    if image.crs and mask.crs and image.crs != mask.crs:
        yield Fault("map-crs", f"is in {_crs_in_words(mask)}; its image in {_crs_in_words(image)}.")
        return
    if _in_degrees(image) != _in_degrees(mask):
        yield Fault("map-crs", f"is in {_unit(mask)}, by its coordinates; its image in {_unit(image)}.")
        return
    height, width = mask.size
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    places = image.to_pixels(mask.to_map(corners))
    if (places.max(axis=0) <= 0).any() or (places.min(axis=0) >= np.array(image.size[::-1])).any():
        yield Fault("map-elsewhere", "lies outside its image: the two do not overlap on the earth.")
        return
    shift_px = float(np.abs(places - corners).max())
    if image.size == mask.size and shift_px > LEAST_SHIFT_PX:
        across, down = (places - corners).mean(axis=0)
        yield Fault(
            "map-shifted",
            f"lies up to {shift_px:.2f} pixels beside its image "
            f"(on average {across:+.2f} to the right, {down:+.2f} down).",
        )


def _in_degrees(grid: Grid) -> bool:
    return max(map(abs, grid.bounds)) <= DEGREES and max(grid.pixel_sides) < DEGREES_PER_PIXEL


def _unit(grid: Grid) -> str:
    return "degrees" if _in_degrees(grid) else "metres"


def _crs_in_words(grid: Grid) -> str:
    crs = grid.crs or ""
    return f"{crs if len(crs) < 30 else 'a CRS of its own'} ({_unit(grid)}, by its coordinates)"


def _scale_in_words(scale: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    scales, offsets = ([f"{one:g}" for one in dict.fromkeys(values)] for values in scale)
    return f"scale {', '.join(scales[:3])} and offset {', '.join(offsets[:3])}"
