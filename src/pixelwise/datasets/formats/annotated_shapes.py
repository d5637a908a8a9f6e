"""Shapes drawn in annotation tools, and the masks made from them.

Every reader of drawn annotations turns its file into pictures: an image name and its shapes, each with a class name.
Shapes are drawn by `z`, then in file order, later ones over earlier ones.

Coordinates are pixels from the image's top left corner: x to the right, y down. Angles are degrees, clockwise.
Shapes: H, W of the mask; N corners of a ring, each (x, y).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.formats.field_checks import number, number_text, same_size
from pixelwise.datasets.formats.polygons import Polygon, inside_rings, polygon_of
from pixelwise.datasets.formats.reader_errors import refusals
from pixelwise.datasets.overlaps import paint
from pixelwise.images.decode import MAX_PIXELS, MaskIds
from pixelwise.images.files import Refusal, shown

OBJECT = "object"  # the class of shapes without a name
MOST_CORNERS = 2048  # of an ellipse
LINE, POINT = "A line has no area.", "A point has no area."
WHY_NOT = {  # shape kinds, as the formats name them
    **dict.fromkeys(("line", "linestrip", "polyline", "linestring", "multilinestring", "path", "vector"), LINE),
    **dict.fromkeys(("point", "points", "multipoint", "keypoint", "keypoints", "keypointlabels"), POINT),
    **dict.fromkeys(("skeleton", "cuboid", "cuboid_2d", "graph"), "It has no outline on the image."),
    **dict.fromkeys(("bbox", "box", "bndbox"), "It is a bounding box, not the outline of the object."),
}

Size = tuple[int, int]  # H, W
Place = str | int  # key of a picture in its file


@dataclass(frozen=True)
class MaskPatch:
    """Pixels of a shape: a mask [h, w] and the position of its top left pixel."""

    top: int
    left: int
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class DrawnShape:
    """One annotated shape: rings (even-odd: a ring inside a ring is a hole), pixels, or the reason for neither."""

    name: str  # its class
    kind: str  # the format's own term: "polygon", "polyline", "bitmap"
    rings: tuple[Polygon, ...] = ()
    outline: Callable[[Size], Polygon] | None = None  # its one ring, if it depends on the image's (H, W)
    patch: Callable[[Size], MaskPatch] | None = None  # its pixels on an image of (H, W); raises Refusal
    undrawn: str = ""  # a sentence: "A line has no area."
    z: int = 0

    def rings_on(self, size: Size) -> tuple[Polygon, ...]:
        return (self.outline(size),) if self.outline else self.rings

    @classmethod
    def not_drawn(cls, name: str, kind: str, why: str = "", z: int = 0) -> DrawnShape:
        """A shape that is not drawn: for the reason `why`, or because its kind has no area or is not read."""
        return cls(name, kind, undrawn=why or WHY_NOT.get(kind.lower(), "This kind of shape is not read."), z=z)

    @classmethod
    def polygon(cls, name: str, kind: str, rings: Iterable[Any], z: int = 0) -> DrawnShape:
        """A shape of rings, each a list of pairs or a flat list x, y, x, y; undrawable ones carry the reason."""
        try:
            return cls(name, kind, tuple(polygon_of(ring) for ring in rings), z=z)
        except Refusal as refusal:
            return cls(name, kind, undrawn=f"It {refusal.what}", z=z)

    @classmethod
    def rectangle(cls, name: str, kind: str, *sides: Any, turned: Any = 0, z: int = 0) -> DrawnShape:
        """A shape from left, top, right, bottom; `turned` is degrees clockwise about its centre."""
        numbers = _finite(*sides, turned)
        if len(numbers) != 5:
            return cls(name, kind, undrawn="Its sides are not four finite numbers.", z=z)
        if numbers[0] == numbers[2] or numbers[1] == numbers[3]:
            return cls(name, kind, undrawn="It has no area.", z=z)
        return cls(name, kind, (box_of(*numbers),), z=z)

    @classmethod
    def box(cls, name: str, kind: str, left: Any, top: Any, width: Any, height: Any) -> DrawnShape:
        """A shape from its top left corner and its size."""
        numbers = _finite(left, top, width, height)
        sides = [*numbers[:2], numbers[0] + numbers[2], numbers[1] + numbers[3]] if len(numbers) == 4 else []
        return cls.rectangle(name, kind, *sides)

    @classmethod
    def ellipse(cls, name: str, kind: str, *numbers: Any, turned: Any = 0, z: int = 0) -> DrawnShape:
        """A shape from the centre x, y and the radii x, y; `turned` is degrees clockwise about its centre."""
        own = _finite(*numbers, turned)
        if len(own) != 5:
            return cls(name, kind, undrawn="Its centre and radii are not four finite numbers.", z=z)
        if not own[2] or not own[3]:
            return cls(name, kind, undrawn="It has no area.", z=z)
        return cls(name, kind, (ellipse_of(*own),), z=z)


@dataclass(frozen=True)
class AnnotatedImage:
    """One image named in an annotation file, with its shapes."""

    image: str  # its name or path, as the format writes it
    shapes: tuple[DrawnShape, ...] = ()
    size: Size | None = None  # of the image, if the file states it
    at: Path | None = None  # the image's path, if the format's folders determine it
    split: str = "all"
    damaged: Refusal | None = None  # why this picture cannot be read; others in the file may be intact

    @property
    def drawn(self) -> list[DrawnShape]:
        return [shape for shape in self.shapes if not shape.undrawn]


def picture_of(
    image: str, shapes: Iterable[DrawnShape], size: Callable[[], Size | None], split: str = "all"
) -> AnnotatedImage:
    """Build a picture from its shapes; an error marks this picture as damaged, not the file's others."""
    try:
        with refusals():
            return AnnotatedImage(image, tuple(shapes), size(), split=split)
    except Refusal as refusal:
        return AnnotatedImage(image, split=split, damaged=refusal)


def mask_of(picture: AnnotatedImage, ids: Mapping[str, int], size: Size) -> MaskIds:
    """The mask [H, W] of a picture; 0 where nothing is drawn. Raises Refusal: damaged, or a size mismatch."""
    if picture.damaged:
        raise Refusal(picture.damaged.kind, f"{shown(picture.image)}: {picture.damaged.what}", picture.damaged.remedy)
    same_size(picture.size, size, shown(picture.image))
    mask = blank_mask(*size, max(ids.values(), default=0))
    draw_all(mask, picture, ids)
    return mask


def objects_of(picture: AnnotatedImage, size: Size) -> MaskIds:
    """As `mask_of`, with a number from 1 for each shape instead of its class's id."""
    shapes = tuple(replace(shape, name=str(number)) for number, shape in enumerate(picture.shapes, start=1))
    return mask_of(replace(picture, shapes=shapes), {shape.name: int(shape.name) for shape in shapes}, size)


def draw_all(mask: MaskIds, picture: AnnotatedImage, ids: Mapping[str, int]) -> None:
    """Draw a picture's shapes into a mask [H, W], each with its class id. Raises Refusal."""
    for i, shape in sorted(enumerate(picture.shapes), key=lambda numbered: numbered[1].z):
        if not shape.undrawn:
            with shape_named(where_of(picture, i)):
                if shape.name not in ids:
                    raise Refusal("annotations", "was not there when the file was listed.", "Run the check again.")
                draw(mask, shape, ids[shape.name])


def draw(mask: MaskIds, shape: DrawnShape, value: int) -> None:
    """Write `value` into the pixels of `mask` [H, W] that a shape covers. Raises Refusal."""
    size = (mask.shape[0], mask.shape[1])
    if shape.patch is not None:
        patch = shape.patch(size)
        top, left = max(patch.top, 0), max(patch.left, 0)
        own = patch.mask[top - patch.top :, left - patch.left :]
        place = mask[top : top + own.shape[0], left : left + own.shape[1]]
        paint(place, own[: place.shape[0], : place.shape[1]], value)
    elif found := inside_rings(shape.rings_on(size), size):
        rows, columns, filled = found
        paint(mask[rows, columns], filled, value)


def where_of(picture: AnnotatedImage, i: int) -> str:
    shape = picture.shapes[i]
    return f"{shown(picture.image)}, shape {i} ({shown(shape.kind)} {shown(shape.name)})"


@contextmanager
def shape_named(where: str) -> Iterator[None]:
    """Prefix a Refusal's message with `where`. Skip empty polygons: the listing has reported them."""
    try:
        with refusals():
            yield
    except Refusal as refusal:
        if refusal.kind != "polygon-empty":
            raise Refusal(refusal.kind, f"{where} {refusal.what}", refusal.remedy) from refusal


def blank_mask(height: int, width: int, top_id: int) -> MaskIds:
    """Zeros [H, W] of a type that holds `top_id`. Raises Refusal: the size is not allowed."""
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise Refusal("too-large", f"{width}×{height} pixels are not allowed for a mask.", "Correct the annotation.")
    return np.zeros((height, width), np.uint8) if top_id < 256 else np.zeros((height, width), np.int32)


def box_of(left: float, top: float, right: float, bottom: float, degrees: float = 0.0) -> Polygon:
    """A box [4, 2], turned about its centre."""
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    return turned_about(corners, ((left + right) / 2, (top + bottom) / 2), degrees)


def ellipse_of(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0.0) -> Polygon:
    """An ellipse centred at (x, y), turned about its centre, with about one corner per pixel of its outline."""
    around = min(max(64, math.ceil(math.pi * (abs(radius_x) + abs(radius_y)))), MOST_CORNERS)
    angles = np.linspace(0, 2 * np.pi, around, endpoint=False)
    corners = np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)
    return turned_about(corners, (x, y), degrees)


def turned_about(ring: Polygon, centre: tuple[float, float], degrees: float) -> Polygon:
    """A ring turned clockwise about a point."""
    if not degrees:
        return ring
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    offset = ring - centre
    x = offset[:, 0] * cos - offset[:, 1] * sin
    y = offset[:, 0] * sin + offset[:, 1] * cos
    return np.asarray(np.stack([x, y], axis=1).round(9) + centre)  # rounded: quarter turns land on pixel edges


def _finite(*values: Any) -> list[float]:
    """The values that are finite numbers; others are dropped."""
    return [number for value in values if (number := number_of(value)) is not None]


def number_of(value: Any) -> float | None:
    """A finite number from a file, even if stored as text; None if it is not one."""
    try:
        return number(value, "number") if not isinstance(value, str) else number_text(value, "number")
    except Refusal:
        return None
