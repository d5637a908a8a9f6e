"""The records of objects: what is known of a class's objects, how they are separated, and what was found and measured.

Shapes: H, W an image's size; N objects, numbered 1 … N in an object map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import UsageError
from pixelwise.records import ClassList

ObjectMap = NDArray[np.uint32]  # [H, W]: the number of the object of each pixel; 0: no object
Method = Literal["components", "distance", "intensity", "border"]
METHODS: tuple[Method, ...] = get_args(Method)
BACKGROUNDS = frozenset(["background", "bg", "_background_", "back_ground", "back", "other", "nothing", "none"])


@dataclass(frozen=True)
class ClassObjects:
    """What training measured of one class's objects, over the training masks."""

    area_px: float  # median
    area_low_px: float  # 5 % are smaller
    area_high_px: float  # 5 % are larger
    roundness: float  # median of 4π·area/perimeter²: about 1 for a disc
    number: int  # of objects measured

    def __post_init__(self) -> None:
        values = (self.area_px, self.area_low_px, self.area_high_px, self.roundness)
        if not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError(f"areas and roundness of a class's objects are above 0, but are {values}")
        if not self.area_low_px <= self.area_px <= self.area_high_px or self.number < 1:
            raise ValueError(f"areas out of order, or no object: {self}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ClassObjects:
        low, middle, high, roundness = (
            float(value[name]) for name in ("area_low_px", "area_px", "area_high_px", "roundness")
        )
        return cls(middle, low, high, roundness, int(value["number"]))


@dataclass(frozen=True)
class Separation:
    """How the touching objects of one class are separated."""

    method: Method = "components"  # connected pixels are one object; the other three separate those that touch
    min_distance_px: float = 0.0  # between the centres of two objects
    smooth_px: float = 0.0  # sigma of the Gaussian filter before centres are sought
    neck: float = 0.85  # two centres are one object if the part between them is wider than this share of the smaller
    reason: str = ""  # in words, for people
    least_px: float = 0.0  # what is smaller is a speck of wrong labels, not an object

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"{self.method!r} is not a way to separate objects; known: {', '.join(METHODS)}")


@dataclass(frozen=True)
class FoundObjects:
    """The objects of one image."""

    objects_HW: ObjectMap
    class_N: NDArray[np.uint8]  # the class id of objects 1 … N

    @property
    def number(self) -> int:
        return len(self.class_N)


@dataclass(frozen=True)
class ObjectTable:
    """Measurements: one row an object, in the order of their numbers."""

    columns: Mapping[str, NDArray[Any]]  # name → N values; text columns hold str
    unit: str = ""  # of lengths in columns with a unit behind their name: "um", "m" …; "": pixels only

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.intp] | slice) -> ObjectTable:
        return ObjectTable({name: values[chosen] for name, values in self.columns.items()}, self.unit)


def classes_of_objects(classes: ClassList, chosen: Sequence[str] = ()) -> tuple[int, ...]:
    """The ids of the classes that have objects: those chosen by name, otherwise all but the background.

    Raises:
        UsageError: a class that there is not.
    """
    if unknown := [name for name in chosen if name not in classes.names]:
        raise UsageError(f"{unknown[0]!r} is not a class; known: {', '.join(classes.names)}.")
    if chosen:
        return tuple(sorted({classes.names.index(name) for name in chosen}))
    return tuple(i for i, name in enumerate(classes.names) if name.strip().lower() not in BACKGROUNDS)
