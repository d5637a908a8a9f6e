"""Change the outline of one class in a mask: fill holes, grow, shrink, smooth, remove specks.

What a pixel becomes:

- Holes, and pixels that growing or smoothing adds, become the class. They cover what is not labelled and every other
  class that is not locked.
- Shrinking leaves its pixels not labelled, as nobody said what is there instead.
- Specks, and pixels that smoothing takes away, become what the nearest pixel outside the class is: another class, or
  not labelled. If that is a locked class, they become not labelled.

A locked class neither loses nor gains a pixel. The image's border is no outline: a class that reaches it is neither
shrunk from there nor smoothed there, and what touches it is no hole.

Shapes: H, W height and width of the image; h, w of a part of it. Memory: about 8 bytes for each pixel of the class's
bounding box for holes and specks; tiles beside the mask and its copy for the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import UsageError
from pixelwise.labelling.patch import MAX_KEY, Keys, Mask, Patch, Window
from pixelwise.records import VOID

MAX_AREA = 1 << 31  # pixels
MAX_RADIUS = 500  # pixels; exact distances up to here
TILE_PX = 1024  # side of what is worked at a time
EXACT_BLUR = 8  # pixels; wider blurs are three box filters, whose cost does not grow with their size
SMOOTHING = 0.741  # σ of the blur to a line's width: one of this width keeps just half its height in the middle
OPERATIONS = ("fill-holes", "grow", "shrink", "smooth", "remove-specks")


def change_mask(
    operation: str, keys_HW: Keys, key: int, amount: int, window: Window | None = None, locked: Collection[int] = ()
) -> Patch:
    """Carry out one of `OPERATIONS` on a class; the mask itself stays as it is.

    Args:
        operation: "fill-holes", "grow", "shrink", "smooth" or "remove-specks".
        keys_HW: uint8 [H, W], class keys, 255 where not labelled.
        key: the class, 0–253.
        amount: in pixels, as the function of the operation takes it.
        window: only pixels inside change; None: the whole mask.
        locked: keys of classes that stay as they are.

    Raises:
        UsageError: no such operation or key, the class is locked, the amount is out of range, or the window is outside.
    """
    functions: dict[str, Callable[..., Patch]] = {
        "fill-holes": fill_holes, "grow": grow, "shrink": shrink, "smooth": smooth, "remove-specks": remove_specks,
    }  # fmt: skip
    if operation not in functions:
        raise UsageError(f"There is no operation {operation[:40]!r}. Choose one of: {', '.join(OPERATIONS)}.")
    return functions[operation](keys_HW, key, amount, window, locked)


def fill_holes(
    keys_HW: Keys, key: int, max_pixels: int = 0, window: Window | None = None, locked: Collection[int] = ()
) -> Patch:
    """Give the class the regions of other pixels that it encloses.

    A hole is connected by its pixels' sides; one that touches the window's or image's border is none.

    Args:
        max_pixels: of the largest hole to fill; 0: holes of any size.
    """
    _check(key, locked, max_pixels, 0, MAX_AREA)
    view = _whole_or(window, keys_HW)
    part = keys_HW[view.slices]
    inside = Window.around(part == key)
    if inside is None:
        return Patch.between(part, part, view.x, view.y)
    part = part[inside.slices]
    count, names_hw, facts, _ = cv2.connectedComponentsWithStats((part != key).view(np.uint8), connectivity=4)
    # Outside the class's bounding box there is nothing that encloses: what reaches the box's border is open.
    is_hole = ~_at_border(names_hw, count, (True, True, True, True))
    is_hole[0] = False
    if max_pixels:
        is_hole &= facts[:, cv2.CC_STAT_AREA] <= max_pixels
    filled_hw = is_hole[names_hw] & ~_locked_pixels(part, locked)
    after = np.where(filled_hw, np.uint8(key), part)
    return Patch.between(part, after, view.x + inside.x, view.y + inside.y)


def remove_specks(
    keys_HW: Keys, key: int, max_pixels: int, window: Window | None = None, locked: Collection[int] = ()
) -> Patch:
    """Remove the class's regions of at most this many pixels.

    A region is connected by its pixels' sides or corners. One that the window cuts is as large as the part inside at
    least, and therefore stays. Its pixels become what the nearest pixel outside the class is.

    Args:
        max_pixels: of the largest region to remove, at least 1.
    """
    _check(key, locked, max_pixels, 1, MAX_AREA)
    view = _whole_or(window, keys_HW)
    part = keys_HW[view.slices]
    inside = Window.around(part == key)
    if inside is None:
        return Patch.between(part, part, view.x, view.y)
    box = Window(view.x + inside.x, view.y + inside.y, inside.w, inside.h)
    part = keys_HW[box.slices]
    count, names_hw, facts, _ = cv2.connectedComponentsWithStats((part == key).view(np.uint8), connectivity=8)
    height, width = keys_HW.shape
    cut = (
        0 < view.y == box.y,
        0 < view.x == box.x,
        box.y + box.h == view.y + view.h < height,
        box.x + box.w == view.x + view.w < width,
    )
    is_speck = (facts[:, cv2.CC_STAT_AREA] <= max_pixels) & ~_at_border(names_hw, count, cut)
    is_speck[0] = False
    lost_hw = is_speck[names_hw]
    del names_hw
    after = part.copy()
    _replace_by_nearest(keys_HW, key, lost_hw, box, after, locked)
    return Patch.between(part, after, box.x, box.y)


def grow(keys_HW: Keys, key: int, radius: int = 1, window: Window | None = None, locked: Collection[int] = ()) -> Patch:
    """Give the class all pixels within a distance of it.

    Args:
        radius: the distance between pixel centres, 1–500 pixels.
    """
    _check(key, locked, radius, 1, MAX_RADIUS)

    def grown(part: Keys) -> Keys:
        near = _distance(part != key) <= radius + 1e-4
        return np.where(near & ~_locked_pixels(part, locked), np.uint8(key), part)

    return _in_tiles(keys_HW, key, radius + 1, window, grown)


def shrink(
    keys_HW: Keys, key: int, radius: int = 1, window: Window | None = None, locked: Collection[int] = ()
) -> Patch:
    """Take from the class all pixels within a distance of others; they are then not labelled.

    Args:
        radius: the distance between pixel centres, 1–500 pixels.
    """
    _check(key, locked, radius, 1, MAX_RADIUS)

    def shrunk(part: Keys) -> Keys:
        own = part == key
        return np.where(own & (_distance(own) <= radius + 1e-4), np.uint8(VOID), part)

    return _in_tiles(keys_HW, key, radius + 1, window, shrunk)


def smooth(
    keys_HW: Keys, key: int, radius: int = 2, window: Window | None = None, locked: Collection[int] = ()
) -> Patch:
    """Round the class's outline: parts narrower than about `radius` pixels disappear, such gaps close.

    The class is blurred and cut at one half. Pixels that it loses become what the nearest pixel outside it is.

    Args:
        radius: 1–500 pixels.
    """
    _check(key, locked, radius, 1, MAX_RADIUS)
    sigma = radius * SMOOTHING
    box = 2 * round((math.sqrt(4 * sigma * sigma + 1) - 1) / 2) + 1  # three of this width blur as much
    reach = math.ceil(4 * sigma) if radius <= EXACT_BLUR else 3 * (box // 2)

    def smoothed(part: Keys) -> Keys:
        own = part == key
        blurred = own.astype(np.float32)
        if radius <= EXACT_BLUR:
            side = 2 * reach + 1
            blurred = cv2.GaussianBlur(blurred, (side, side), sigma, borderType=cv2.BORDER_REFLECT)
        else:
            for _ in range(3):
                blurred = cv2.blur(blurred, (box, box), borderType=cv2.BORDER_REFLECT)
        gained = (blurred > 0.5) & ~own & ~_locked_pixels(part, locked)
        lost = (blurred < 0.5) & own
        after = np.where(gained, np.uint8(key), part)
        _replace_by_nearest(part, key, lost, Window.whole(*part.shape), after, locked)
        return after

    return _in_tiles(keys_HW, key, 2 * reach, window, smoothed)


def _check(key: int, locked: Collection[int], amount: int, least: int, most: int) -> None:
    if not 0 <= key <= MAX_KEY:
        raise UsageError(f"{key} is not the key of a class: keys are 0 to {MAX_KEY}.")
    if key in locked:
        raise UsageError("The class is locked. Unlock it to change its outline.")
    if not least <= amount <= most:
        raise UsageError(f"The amount is {amount} pixels; expected {least} to {most:,}.")


def _whole_or(window: Window | None, keys_HW: Keys) -> Window:
    height, width = keys_HW.shape
    return Window.whole(height, width) if window is None else window.clipped(height, width)


def _locked_pixels(part_hw: Keys, locked: Collection[int]) -> Mask:
    table = np.zeros(256, np.uint8)
    table[[one for one in locked if 0 <= one <= MAX_KEY]] = 1
    return np.asarray(cv2.LUT(part_hw, table)).reshape(part_hw.shape).view(np.bool_)


def _at_border(names_hw: NDArray[np.int32], count: int, sides: tuple[bool, bool, bool, bool]) -> Mask:
    """Which of the numbered regions touch the chosen sides of the array: top, left, bottom, right. Returns [count]."""
    found = np.zeros(count, np.bool_)
    for chosen, line in zip(sides, (names_hw[0], names_hw[:, 0], names_hw[-1], names_hw[:, -1]), strict=True):
        if chosen:
            found[line] = True
    return found


def _distance(inside_hw: Mask) -> NDArray[np.float32]:
    """Of each true pixel to the nearest false one, exact, between centres; very large if all are true."""
    return np.asarray(cv2.distanceTransform(inside_hw.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def _in_tiles(keys_HW: Keys, key: int, reach: int, window: Window | None, change: Callable[[Keys], Keys]) -> Patch:
    """Apply a change that looks at most `reach` pixels far, tile by tile, where the class's outline is near.

    Args:
        change: from a part of the mask to its new values, exact except within `reach` of the part's edges.
    """
    height, width = keys_HW.shape
    view = _whole_or(window, keys_HW)
    around = view.grown(reach).clipped(height, width)
    inside = Window.around(keys_HW[around.slices] == key)
    if inside is None:
        return Patch.between(keys_HW[:0], keys_HW[:0], view.x, view.y)
    near = Window(around.x + inside.x, around.y + inside.y, inside.w, inside.h).grown(reach)
    box = near.clipped(height, width).overlap(view)
    if box is None:
        return Patch.between(keys_HW[:0], keys_HW[:0], view.x, view.y)
    after = keys_HW[box.slices].copy()
    for tile in box.tiles(max(TILE_PX, 2 * reach)):
        outer = tile.grown(reach).clipped(height, width)
        part = keys_HW[outer.slices]
        own = int(np.count_nonzero(part == key))
        if 0 < own < part.size:
            after[tile.within(box).slices] = change(part)[tile.within(outer).slices]
    return Patch.between(keys_HW[box.slices], after, box.x, box.y)


def _replace_by_nearest(
    keys_HW: Keys, key: int, lost_hw: Mask, box: Window, after_hw: Keys, locked: Collection[int]
) -> None:
    """Give lost pixels the value of the nearest pixel outside the class, in place; not labelled where that is locked.

    Args:
        lost_hw: bool [h, w], pixels of the class in `box` of the mask.
        after_hw: uint8 [h, w], the new values of `box`.
    """
    height, width = keys_HW.shape
    for tile in box.tiles(TILE_PX):
        place = tile.within(box).slices
        lost, reach = lost_hw[place], 16
        if not lost.any():
            continue
        while True:  # until no nearer pixel can lie outside
            outer = tile.grown(reach).clipped(height, width)
            inner = np.zeros((outer.h, outer.w), np.bool_)
            inner[tile.within(outer).slices] = lost
            values, farthest = _nearest_other(keys_HW[outer.slices], key, inner)
            if farthest <= reach or (outer.w, outer.h) == (width, height):
                break
            reach *= 4
        values[_locked_pixels(values, locked)] = VOID
        after_hw[place][lost] = values


def _nearest_other(part_hw: Keys, key: int, lost_hw: Mask) -> tuple[Keys, float]:
    """For each lost pixel the value of the nearest one that is not of the class, and the farthest of their distances.

    Not labelled, and infinite, if there is no other pixel.
    """
    own = part_hw == key
    if own.all():
        return np.full(int(np.count_nonzero(lost_hw)), VOID, np.uint8), math.inf
    distance, names = cv2.distanceTransformWithLabels(
        own.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.full(int(names.max()) + 1, VOID, np.uint8)
    table[names[~own]] = part_hw[~own]
    return table[names[lost_hw]], float(distance[lost_hw].max())
