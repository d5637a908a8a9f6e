"""Objects → a table of measurements, one row an object, in pixels and in the unit that the file states.

Columns have the names, and the values, of scikit-image's `regionprops`; nothing of it is needed here.

Shapes: H, W an image's size; N objects; B bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.pixel_size import PixelSize
from pixelwise.objects.object_records import FoundObjects, ObjectTable
from pixelwise.objects.object_sums import CONTEXT, MOMENTS, ObjectSums
from pixelwise.records import Raster

UNITS = ((1e-7, 1e-9, "nm"), (1e-4, 1e-6, "um"), (1e-1, 1e-3, "mm"), (1e3, 1.0, "m"), (np.inf, 1e3, "km"))
SQUARE = 0.01  # relative difference of a pixel's sides up to which a perimeter has a length


def measure_objects(
    found: FoundObjects,
    class_names: Sequence[str],
    image_HWB: Raster | None = None,
    band_names: Sequence[str] = (),
    confidence_HW: NDArray[np.float32] | None = None,
    pixel_size: PixelSize | None = None,
) -> ObjectTable:
    """Measure the objects of an image in memory.

    Args:
        image_HWB: for intensities, with a name for each band. None: no such columns.
        confidence_HW: the probability of each pixel's class, 0–1. None: no such column.
        pixel_size: for columns with a unit behind their name. None: pixels only.
    """
    height, width = found.objects_HW.shape
    sums = ObjectSums(
        found.number, width, 0 if image_HWB is None else len(band_names), with_confidence=confidence_HW is not None
    )
    sums.add(np.pad(found.objects_HW, ((CONTEXT, CONTEXT), (0, 0))), 0, image_HWB, confidence_HW)
    names = np.array(class_names, np.str_)[found.class_N] if found.number else np.array([], np.str_)
    return table_of(sums, names, (height, width), band_names, pixel_size)


def table_of(
    sums: ObjectSums,
    class_N: NDArray[np.str_],
    size: tuple[int, int],
    band_names: Sequence[str] = (),
    pixel_size: PixelSize | None = None,
) -> ObjectTable:
    """The measurements of sums over whole objects, of an image of `size` (H, W)."""
    sums.close()
    moments = dict(zip(MOMENTS, sums.moments[:, 1:], strict=True))
    area, box = moments["area"], sums.box[:, 1:]
    columns: dict[str, NDArray[Any]] = {"label": np.arange(1, sums.number + 1), "class": class_N}
    if sums.confidence is not None:
        columns["confidence_mean"] = sums.confidence[1:] / area
    columns["area"] = area.astype(np.int64)
    columns["area_convex"] = sums.convex[1:]
    perimeter = sums.perimeter[1:]
    columns["perimeter"] = perimeter
    columns["equivalent_diameter_area"] = np.sqrt(4 * area / np.pi)
    columns |= shapes(moments)
    with np.errstate(divide="ignore"):
        columns["roundness"] = np.where(perimeter > 0, 4 * np.pi * area / np.square(perimeter), np.nan)
    columns["solidity"] = area / columns["area_convex"]
    columns["euler_number"] = np.rint(sums.twelfths[1:] / 12).astype(np.int64)
    columns |= {"centroid-0": moments["y"] / area, "centroid-1": moments["x"] / area}
    columns |= {f"bbox-{i}": box[i] for i in range(4)}
    columns["touches_edge"] = (box[0] == 0) | (box[1] == 0) | (box[2] == size[0]) | (box[3] == size[1])
    columns |= intensities(sums, band_names)
    if pixel_size is None or pixel_size.unit != "m":
        return ObjectTable(columns)
    unit, metres = unit_of(pixel_size)
    return ObjectTable(columns | in_units(columns, moments, pixel_size, unit, metres), unit)


def shapes(moments: dict[str, NDArray[np.float64]], pixel: tuple[float, float] = (1.0, 1.0)) -> dict[str, NDArray[Any]]:
    """The axes, orientation and eccentricity of the ellipse with each object's second moments."""
    high, wide = pixel
    area = moments["area"]
    y, x = moments["y"] / area, moments["x"] / area
    yy = (moments["yy"] / area - y * y) * high * high
    xx = (moments["xx"] / area - x * x) * wide * wide
    xy = (moments["xy"] / area - x * y) * high * wide
    noise = 1e-12 * (y * y * high * high + x * x * wide * wide + 1)  # of sums over a large image
    yy, xx, xy = (np.where(np.abs(value) < noise, 0.0, value) for value in (yy, xx, xy))
    root = np.sqrt(4 * xy * xy + np.square(yy - xx))
    large = np.maximum(yy + xx + root, 0) / 2
    small = np.maximum(yy + xx - root, 0) / 2
    equal = np.abs(xx - yy) <= noise
    angle = np.where(equal, np.where(xy > 0, np.pi / 4, -np.pi / 4), 0.5 * np.arctan2(2 * xy, yy - xx))
    with np.errstate(invalid="ignore"):
        eccentricity = np.where(large > 0, np.sqrt(np.maximum(1 - small / np.where(large > 0, large, 1), 0)), 0.0)
    return {
        "axis_major_length": 4 * np.sqrt(large),
        "axis_minor_length": 4 * np.sqrt(small),
        "orientation": angle,
        "eccentricity": eccentricity,
    }


def intensities(sums: ObjectSums, band_names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Mean, spread and range of each band over each object's pixels with data; NaN without any."""
    columns: dict[str, NDArray[Any]] = {}
    for name, (pixels, total, squares), extent in zip(
        band_names, sums.sums[:, :, 1:], sums.range[:, :, 1:], strict=True
    ):
        some = pixels > 0
        number = np.where(some, pixels, 1)
        mean = total / number
        spread = np.sqrt(np.maximum(squares / number - mean * mean, 0))
        low, high = extent
        for kind, values in (("mean", mean), ("std", spread), ("min", low), ("max", high)):
            columns[f"intensity_{kind}-{name}"] = np.where(some, values, np.nan)
    return columns


def unit_of(pixel: PixelSize) -> tuple[str, float]:
    """The unit in which objects of an image with such pixels are measured, and its metres."""
    return next((name, metres) for limit, metres, name in UNITS if pixel.height < limit)


def in_units(
    columns: dict[str, NDArray[Any]],
    moments: dict[str, NDArray[np.float64]],
    pixel: PixelSize,
    unit: str,
    metres: float,
) -> dict[str, NDArray[Any]]:
    """The columns with the unit behind their name. Pixels that are not square have no perimeter in it."""
    high, wide = pixel.height / metres, pixel.width / metres
    area = columns["area"] * (high * wide)
    found = {f"area_{unit}2": area, f"equivalent_diameter_area_{unit}": np.sqrt(4 * area / np.pi)}
    if abs(high - wide) <= SQUARE * max(high, wide):
        found[f"perimeter_{unit}"] = columns["perimeter"] * ((high + wide) / 2)
    axes = shapes(moments, (high, wide))
    found |= {f"{name}_{unit}": axes[name] for name in ("axis_major_length", "axis_minor_length")}
    return found | {
        f"centroid-0_{unit}": columns["centroid-0"] * high,
        f"centroid-1_{unit}": columns["centroid-1"] * wide,
    }
