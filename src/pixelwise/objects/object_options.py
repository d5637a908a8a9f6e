"""What a person may choose of objects: the classes, how touching ones are separated, and which are left out.

Shapes: N objects.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pixelwise.errors import UsageError
from pixelwise.objects.object_records import METHODS, ClassObjects, Separation, classes_of_objects
from pixelwise.objects.separate import separation_for
from pixelwise.objects.stream_objects import MeasuredObjects
from pixelwise.records import ClassList

AUTO = "auto"
Excluded = dict[str, int]  # reason → objects; an object counts for the first reason that holds


@dataclass(frozen=True)
class ObjectOptions:
    """Everything that, with the labels, determines the objects."""

    classes: tuple[str, ...] = ()  # names; none: all but the background
    separate: str = AUTO  # or a method of `Separation`
    min_area_px: float | None = None  # None: `Separation.least_px`, a quarter of what 95 % of training's objects exceed
    max_area_px: float | None = None  # None: no limit
    min_confidence: float = 0  # mean over the object's pixels, 0–1
    drop_edge: bool = False  # leave out objects that touch the image's edge

    def __post_init__(self) -> None:
        if self.separate not in (AUTO, *METHODS):
            raise UsageError(f"{self.separate!r} separates no objects; known: {', '.join((AUTO, *METHODS))}.")
        most = float("inf") if self.max_area_px is None else self.max_area_px
        if not 0 <= (least := self.min_area_px or 0) <= most:
            raise UsageError(f"areas from {least:g} to {most:g} pixels: no object has one.")
        if not 0 <= self.min_confidence <= 1:
            raise UsageError(f"a confidence of {self.min_confidence:g}: it is a probability, from 0 to 1.")


def separations_of(
    classes: ClassList,
    options: ObjectOptions,
    known: Mapping[str, ClassObjects],
    with_border: Collection[str] = (),
) -> dict[int, Separation]:
    """Class id → how its objects are separated.

    Args:
        known: class name → what training measured of its objects.
        with_border: names of the classes whose border the model learned.

    Raises:
        UsageError: a class that there is not, or the method "border" for a class without a learned border.
    """
    found = {}
    for c in classes_of_objects(classes, options.classes):
        name = classes.names[c]
        separation = separation_for(known.get(name), has_border=name in with_border)
        if options.separate == "border" and name not in with_border:
            raise UsageError(
                f"the model learned no border of {name!r}, so it cannot separate its objects. Choose --separate "
                f"distance, or train with --separate {name}."
            )
        if options.separate not in (AUTO, separation.method):
            separation = replace(separation, method=options.separate, reason="chosen")  # type: ignore[arg-type]
        found[c] = separation if options.min_area_px is None else replace(separation, least_px=options.min_area_px)
    return found


def without_excluded(
    measured: MeasuredObjects, options: ObjectOptions, least: Mapping[str, float]
) -> tuple[MeasuredObjects, Excluded]:
    """The objects that the options keep, with new numbers, and how many were left out for each reason.

    Args:
        least: class name → the smallest area, in pixels, that counts.
    """
    columns = measured.table.columns
    area = columns["area"]
    reasons = {
        f"{name} smaller than {px:.3g} px": (area < px) & (columns["class"] == name) for name, px in least.items() if px
    }
    reasons["at the image's edge"] = columns["touches_edge"] & options.drop_edge
    if options.max_area_px is not None:
        reasons[f"larger than {options.max_area_px:g} px"] = area > options.max_area_px
    if "confidence_mean" in columns:
        reasons[f"confidence below {options.min_confidence:g}"] = columns["confidence_mean"] < options.min_confidence
    kept = np.ones(len(measured.table), np.bool_)
    excluded = {}
    for reason, left_out in reasons.items():
        if number := int((kept & left_out).sum()):
            excluded[reason] = number
        kept &= ~left_out
    return (measured.only(kept), excluded) if excluded else (measured, {})
