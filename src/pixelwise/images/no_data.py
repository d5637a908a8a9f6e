"""Stored values of any type → uint8, uint16 or float32, with NaN where an image holds no data.

Shapes: H, W height and width in pixels; B bands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.dropped_content import DEPTH, DroppedContent
from pixelwise.records import VOID, Labels, Raster

EXACT = 1 << 24  # float32 holds every whole number up to here
HUGE = 1e38  # declared values of this size lose digits when they are written as text
# What programs write where nothing was measured. Taken as such only where no other value is near.
SENTINELS = (-9999.0, -32768.0, -32767.0, -99999.0)


def as_raster(
    values: NDArray[Any], no_data: float | None = None, absent: NDArray[np.bool_] | None = None, *, sparse: bool = False
) -> Raster:
    """Stored values [H, W, B] as uint8, uint16 or float32.

    Args:
        no_data: the declared value, which becomes NaN; the result is float32, whether it occurs or not.
        absent: [H, W], pixels that the file does not hold.
        sparse: the file does not hold all pixels, here or elsewhere: the result is float32.
    """
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2 and no_data is None and not sparse:
        return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
    with np.errstate(over="ignore", invalid="ignore"):
        raster = values.astype(np.float32)
        if no_data is not None:
            raster[_equal(values, no_data)] = np.nan
    if values.dtype.kind == "f":
        raster[~np.isfinite(raster)] = np.nan
    if absent is not None:
        raster[absent] = np.nan
    return raster


def _equal(values: NDArray[Any], no_data: float) -> NDArray[np.bool_]:
    if values.dtype.kind == "f" and abs(no_data) > HUGE:
        return np.asarray(values < -HUGE if no_data < 0 else values > HUGE)
    return np.asarray(values == values.dtype.type(no_data))


def infinite_values(values: NDArray[Any]) -> tuple[str, ...]:
    """Reported: infinite values, which `as_raster` makes NaN."""
    count = int(np.count_nonzero(np.isinf(values))) if values.dtype.kind == "f" else 0
    if not count:
        return ()
    return (f"{count:,} {'value is' if count == 1 else 'values are'} infinite: taken as no data.",)


def without_sentinels(raster: Raster, stored: np.dtype[Any]) -> tuple[Raster, tuple[str, ...]]:
    """NaN for −9999 and the like in signed and float images that declare no value for missing data.

    A sentinel is lower than any measurement: no other value lies between it and half of it. Returns the raster and
    what was found.
    """
    if stored.kind not in "if" or raster.dtype != np.float32 or not np.fmin.reduce(raster, axis=None) <= max(SENTINELS):
        return raster, ()  # of most images after one look; without any value it is NaN
    notes = []
    low = raster < -HUGE
    if low.any():
        notes.append(_note("the lowest floating-point value", low))
        raster = np.where(low, np.float32(np.nan), raster)
    lowest = float(np.nanmin(raster)) if np.isfinite(raster).any() else 0.0
    if lowest in SENTINELS:
        here = raster == lowest
        others = raster[~here & np.isfinite(raster)]
        if not others.size or others.min() > lowest / 2:
            notes.append(_note(f"{lowest:.0f}".replace("-", "−"), here))
            raster = np.where(here, np.float32(np.nan), raster)
    return raster, tuple(notes)


def _note(value: str, where: NDArray[np.bool_]) -> str:
    count = int(np.count_nonzero(where))
    are = "value is" if count == 1 else "values are"
    return f"{count:,} {are} {value}, far below all others: taken as no data."


def without_data(image_HWB: Raster) -> NDArray[np.bool_] | None:
    """The pixels [H, W] without a finite value in any band; None if there are none."""
    if image_HWB.dtype.kind != "f":
        return None
    missing_HW = ~np.isfinite(image_HWB[:, :, 0])
    for band in range(1, image_HWB.shape[2]):  # band by band: few images miss any
        if not missing_HW.any():
            return None
        missing_HW &= ~np.isfinite(image_HWB[:, :, band])
    return missing_HW if missing_HW.any() else None


def areas_of(absent_HW: NDArray[np.bool_], top: int = 0) -> list[tuple[slice, slice]]:
    """The runs of such pixels in each row: rows, the first one being `top`, and columns."""
    found = []
    for y in np.flatnonzero(absent_HW.any(axis=1)).tolist():
        turns = np.flatnonzero(np.diff(absent_HW[y], prepend=False, append=False)).tolist()
        here = slice(top + y, top + y + 1)
        found += [(here, slice(left, right)) for left, right in zip(turns[::2], turns[1::2], strict=True)]
    return found


def labels_with_data(image_HWB: Raster, mask_HW: Labels) -> Labels:
    """The labels [H, W], VOID where the image has no data. A pixel with some of its bands keeps its label."""
    missing_HW = without_data(image_HWB)
    return mask_HW if missing_HW is None else np.where(missing_HW, np.uint8(VOID), mask_HW)


def rounding(values: NDArray[Any]) -> tuple[DroppedContent, ...]:
    """Reported: stored values that float32 cannot hold exactly."""
    bits = values.dtype.itemsize * 8
    if values.dtype.kind in "iu" and bits >= 32 and values.size:
        kind, rounded = "whole numbers", max(abs(int(values.min())), abs(int(values.max()))) > EXACT
    elif values.dtype.kind == "f" and bits > 32:
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = values.astype(np.float32)
            kind, rounded = "floating-point values", bool(((narrow != values) & ~np.isnan(values)).any())
    else:
        return ()
    return (DroppedContent(DEPTH, f"{bits}-bit {kind}", " are rounded to 32-bit floating-point"),) if rounded else ()
