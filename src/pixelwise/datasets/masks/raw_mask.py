"""Raw values of a mask that does not hold plain class ids: grey values, colours, floats, with alpha or JPEG.

Shapes: H, W of one mask. A code is a mask value: a grey value, or a colour as 0xRRGGBB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.images.decode import (
    colour_codes,
    load,
    mask_ids_of,
    open_image,
    oriented,
    refusing,
    stored_depth,
    stored_turn,
)
from pixelwise.images.files import Refusal

STRIP_PIXELS = 1 << 20  # to process at a time
FEW_CODES = 3
JPEG_RIPPLE = 12  # neighbours in a flat area of a JPEG differ by less than this at common qualities


@dataclass(frozen=True)
class RawMask:
    """The stored content of a mask file, before interpretation."""

    codes: NDArray[np.int32]  # [H, W]
    coloured: bool  # codes are colours
    lossy: bool
    bits: int
    turn: int  # the EXIF orientation that was applied
    transparent: NDArray[np.bool_] | None = None  # [H, W], where alpha is 0
    translucent: bool = False  # alpha has values other than 0 and 255
    stored_colour: bool = False  # three channels in the file, though codes may be grey values

    @property
    def size(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1]

    def planes(self) -> NDArray[np.uint8]:
        """The codes as channels, uint8 [H, W, 3]; a grey value in all three. Values over 255 are clipped."""
        if not self.coloured:
            return np.repeat(np.clip(self.codes, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
        return np.stack([self.codes >> 16, self.codes >> 8 & 255, self.codes & 255], axis=-1).astype(np.uint8)

    def flat(self) -> NDArray[np.bool_]:
        """[H, W]: where the 3×3 neighbourhood has one code (in a JPEG, nearly)."""
        # Grey values over 255 are compared exactly, in all strips of a mask.
        exactly = not self.lossy or (not self.coloured and self.codes.max(initial=0) > 255)
        return self._in_strips(lambda strip: strip.flat_strip(exactly=exactly))

    def between(self) -> NDArray[np.bool_]:
        """[H, W]: where a value lies strictly between those of two opposite neighbours, as a blend does on an edge.

        False on a thin line: its two sides are alike, and the value is constant along it.
        """
        return self._in_strips(RawMask.between_strip)

    def _in_strips(self, judge: Callable[[RawMask], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """Apply `judge`, which needs each pixel's 3×3 neighbourhood, to some rows at a time: its arrays are many times
        larger than the mask."""
        height, width = self.size
        judged = np.empty((height, width), np.bool_)
        step = max(STRIP_PIXELS // max(width, 1), 1)
        for top in range(0, height, step):
            bottom = min(top + step, height)
            first = max(top - 1, 0)  # one extra row on each side, for the neighbours
            strip = replace(self, codes=self.codes[first : min(bottom + 1, height)], transparent=None)
            judged[top:bottom] = judge(strip)[top - first : bottom - first]
        return judged

    def flat_strip(self, *, exactly: bool) -> NDArray[np.bool_]:
        """As `flat`, for a few rows at once."""
        kernel = np.ones((3, 3), np.uint8)
        if exactly:
            values = self.codes.astype(np.float32)
            return np.asarray(cv2.erode(values, kernel) == cv2.dilate(values, kernel))
        planes = self.planes() if self.coloured else np.ascontiguousarray(self.planes()[:, :, 0])
        range_ = cv2.subtract(cv2.dilate(planes, kernel), cv2.erode(planes, kernel))
        largest = range_.max(axis=2) if range_.ndim == 3 else range_
        return np.asarray(largest <= JPEG_RIPPLE)

    def between_strip(self) -> NDArray[np.bool_]:
        """As `between`, for a few rows at once."""
        padded = np.pad(self.codes, 1, "edge")
        height, width = self.size
        found = np.zeros((height, width), bool)
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            a = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            b = padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
            # Few pixels differ from both sides. Only their channels are compared.
            differs = (self.codes != a) & (self.codes != b) & ~found
            places = np.unravel_index(np.flatnonzero(differs), differs.shape)
            own, one, other = (self.channels(codes[places]) for codes in (self.codes, a, b))
            to_one, to_other = np.abs(own - one).sum(axis=1), np.abs(own - other).sum(axis=1)
            rounding = 2 * own.shape[1] if self.coloured else 0
            found[places] = to_one + to_other <= np.abs(one - other).sum(axis=1) + rounding
        return found

    def channels(self, codes_P: NDArray[np.int32]) -> NDArray[np.int32]:
        """Codes of some pixels as channels, [P, 3]; a grey value in one."""
        if not self.coloured:
            return codes_P[:, None]
        return np.stack([codes_P >> 16, codes_P >> 8 & 255, codes_P & 255], axis=1)

    def histogram(self, kept: int) -> Histogram:
        """Pixels by code, for the `kept` most frequent codes."""
        codes, numbers = counted(self.codes)
        flat = _commonest(*counted(self.codes, self.flat()), kept)
        blends = self.lossy or len(codes) > FEW_CODES  # few values are not blends: smoothing makes many
        between = _commonest(*counted(self.codes, self.between()), kept) if blends else {}
        return Histogram(_commonest(codes, numbers, kept), flat, between, len(codes))


@dataclass(frozen=True)
class Histogram:
    """Pixels by code."""

    pixels: dict[int, int]
    flat: dict[int, int]  # those in a uniform 3×3 neighbourhood
    between: dict[int, int]  # those between two opposite neighbours
    distinct: int


def raw_mask_of(data: bytes) -> RawMask:
    """Decode a mask of any kind.

    Raises:
        Refusal: not an image, damaged, or with values that cannot be class values: fractional floats, CMYK, pages.
    """
    with refusing("its pixels cannot be decoded"):
        return _raw_mask(data)


def _raw_mask(data: bytes) -> RawMask:
    opened = open_image(data)
    image = load(opened.image)
    turn = stored_turn(image)
    bits = stored_depth(opened)
    lossy = opened.lossy
    transparent, translucent = None, False
    stored_colour = image.mode not in ("LA", "La")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        rgba = np.array(image.convert("RGBA"))
        alpha = oriented(rgba[:, :, 3], turn)
        transparent = alpha == 0 if (alpha == 0).any() else None
        translucent = bool(((alpha > 0) & (alpha < 255)).any())
        if (
            not (rgba[:, :, :3] != rgba[0, 0, :3]).any() and (alpha != alpha[0, 0]).any()
        ):  # one colour: alpha is the mask
            return RawMask(alpha.astype(np.int32), False, lossy, bits, turn)
        image = image.convert("RGBA").convert("RGB")
    if image.mode == "F":
        return RawMask(_whole(np.array(image), turn), False, False, 32, turn)
    if image.mode == "RGB":
        rgb = oriented(np.array(image), turn)
        grey = _is_grey(rgb, lossy)
        codes = rgb[:, :, 1].astype(np.int32) if grey else colour_codes(rgb)
        return RawMask(codes, not grey, lossy, bits, turn, transparent, translucent, stored_colour)
    if lossy and image.mode == "L":
        return RawMask(oriented(np.array(image), turn).astype(np.int32), False, True, 8, turn)
    return RawMask(mask_ids_of(data).astype(np.int32), False, lossy, bits, turn)


def _is_grey(rgb: NDArray[np.uint8], lossy: bool) -> bool:
    """Whether all three channels are equal, or nearly equal in a JPEG, where colours are rounded."""
    tolerance = 6 if lossy else 0
    step = max(STRIP_PIXELS // max(rgb.shape[1], 1), 1)
    for top in range(0, len(rgb), step):
        red, green, blue = np.moveaxis(rgb[top : top + step].astype(np.int16), 2, 0)
        if (np.abs(red - green) > tolerance).any() or (np.abs(green - blue) > tolerance).any():
            return False
    return True


def _whole(values: NDArray[np.float32], turn: int) -> NDArray[np.int32]:
    """Convert floats that are integers, or integers divided by 255, to these integers."""
    if not np.isfinite(values).all():
        raise Refusal("float-mask", "holds NaN or infinite values; expected whole class ids.", "Export it again.")
    for scale in (1, 255):
        scaled = values * scale
        whole = np.rint(scaled)
        if np.abs(scaled - whole).max(initial=0) < 1e-3 and np.abs(whole).max(initial=0) < 2**24:
            return np.asarray(oriented(whole.astype(np.int32), turn))
    what = "holds floating-point values that are not whole; expected class ids."
    raise Refusal("float-mask", what, "They look like scores, not classes: take the arg max, and save class ids.")


def counted(
    codes_HW: NDArray[np.int32], where_HW: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The distinct codes, ascending, and the number of pixels of each; `where_HW`: pixels to count."""
    if not codes_HW.size:
        return np.empty(0, np.int32), np.empty(0, np.int64)
    lowest, highest = int(codes_HW.min()), int(codes_HW.max())
    small = lowest >= 0 and highest < 2**16
    if not 0 <= lowest <= highest < 2**24 or (not small and codes_HW.size <= STRIP_PIXELS):
        return np.unique(codes_HW if where_HW is None else codes_HW[where_HW], return_counts=True)
    # Some rows at a time: sorting the colours of a large mask takes several times its memory.
    numbers = np.zeros(highest + 1, np.uint32)
    step = max(STRIP_PIXELS // codes_HW.shape[1], 1)
    for top in range(0, len(codes_HW), step):
        part = codes_HW[top : top + step]
        chosen = part.ravel() if where_HW is None else part[where_HW[top : top + step]]
        if small:
            found = np.bincount(chosen, minlength=len(numbers))
            numbers += found.astype(np.uint32)
        else:
            # Neighbours are mostly equal: sorting one of each run is a hundredth of the work.
            starts = np.flatnonzero(np.diff(chosen, prepend=chosen[:1] - 1))
            values, which = np.unique(chosen[starts], return_inverse=True)
            lengths = np.diff(starts, append=chosen.size)
            numbers[values] += np.bincount(which, lengths, len(values)).astype(np.uint32)
    present = np.flatnonzero(numbers)
    return present.astype(np.int32), numbers[present].astype(np.int64)


def _commonest(codes: NDArray[np.int32], numbers: NDArray[np.int64], kept: int) -> dict[int, int]:
    order = np.argsort(-numbers, kind="stable")[:kept]
    return dict(zip(codes[order].tolist(), numbers[order].tolist(), strict=True))
