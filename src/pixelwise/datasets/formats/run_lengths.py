"""Run lengths of every format ↔ masks, within the memory that the image's pixels need.

Each reader takes the actual image size (H, W). Every run, and their sum in arbitrary-precision integers, is compared
with H × W before anything is allocated: an int64 sum wraps around, so 2⁶³ − 1 twice looks small.

Formats: COCO (down the columns, plain or compressed), CVAT (along the rows of a box), Label Studio's brush (bits, see
`brush_mask`), Kaggle's pairs of start and length (down the columns, from 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.decode import MAX_PIXELS
from pixelwise.images.files import Refusal

AGAIN = "Export the annotations again."
WORD_BITS = 8  # of a value that `brush_runs` writes
RUN_BITS = (3, 4, 8, 16)  # the sizes of lengths that it declares
LONGEST_RUN = 1 << RUN_BITS[-1]


def coco_mask(counts: Any, height: int, width: int) -> NDArray[np.bool_]:
    """COCO's run lengths, plain (a list) or compressed (text), as a mask [H, W]. Down the columns, zeros first.

    Raises:
        Refusal: they are damaged, or do not add up to H × W.
    """
    return filled_runs(coco_runs(counts, height, width), height * width).reshape(width, height).T


def coco_runs(counts: Any, height: int, width: int) -> NDArray[np.int64]:
    """COCO's run lengths, checked but not expanded. Raises Refusal."""
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "replace")
    pixels = _pixels(height, width)
    return checked_runs(_unpacked(counts, pixels) if isinstance(counts, str) else counts, height, width)


def cvat_mask(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """CVAT's run lengths of a box of H × W pixels, "0, 12, 3", as a mask [H, W]. Along the rows, zeros first.

    The box must lie within the image: the caller checks it first. Raises Refusal.
    """
    runs = checked_runs(numbers_in(text), height, width)
    return filled_runs(runs, height * width).reshape(height, width)


def start_length_mask(
    pairs: str | Sequence[int], height: int, width: int, *, first: int = 1, down_columns: bool = True
) -> NDArray[np.bool_]:
    """Pairs of start and length, "1 3 10 5", as a mask [H, W].

    Args:
        first: the number of the image's first pixel.
        down_columns: whether pixels are numbered down the columns, as Kaggle does, or along the rows.

    Raises:
        Refusal: not pairs of integers, or a run that leaves the image.
    """
    pixels = _pixels(height, width)
    numbers = numbers_in(pairs) if isinstance(pairs, str) else pairs
    if len(numbers) % 2 or not set(map(type, numbers)) <= {int}:
        raise Refusal("run-lengths", "has run lengths that are not pairs of start and length.", AGAIN)
    starts, lengths = numbers[::2], numbers[1::2]
    if numbers and (min(starts) < first or min(lengths) < 0 or max(lengths) > pixels or max(starts) > pixels + first):
        raise _no_fit(height, width)
    begins = np.asarray(starts, np.int64) - first
    ends = begins + np.asarray(lengths, np.int64)
    if len(ends) and int(ends.max()) > pixels:
        raise _no_fit(height, width)
    steps = np.zeros(pixels + 1, np.int32)  # changed in place: int32 at 40 megapixels takes 160 MB
    np.add.at(steps, begins, 1)
    np.subtract.at(steps, ends, 1)
    flat = np.cumsum(steps, out=steps)[:-1] > 0
    return flat.reshape(width, height).T if down_columns else flat.reshape(height, width)


def brush_mask(packed: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Label Studio's run lengths of RGBA bytes as a mask [H, W]: true where alpha is above 0.

    Bits: 32 for the number of values, 5 for the value width less one, four times 4 for the length widths less one; then
    per run a flag, the index of its length width and its length less one, followed by one value (flag 1) or all values
    (flag 0). Source: label_studio_converter's brush.py.

    Raises:
        Refusal: they are damaged or of another size.
    """
    pixels = _pixels(height, width)
    if not isinstance(packed, list) or not set(map(type, packed)) <= {int}:
        raise Refusal("run-lengths", "has run lengths that are not bytes.", AGAIN)
    if packed and (min(packed) < 0 or max(packed) > 255):
        raise Refusal("run-lengths", "has run lengths that are not bytes.", AGAIN)
    bits = _Bits(bytes(packed))
    total = bits.read(32)
    if total != 4 * pixels:
        of = f"has {total:,} values, not the {4 * pixels:,} of an image of {width}×{height} pixels."
        raise Refusal("run-lengths", of, AGAIN)
    word = bits.read(5) + 1
    sizes = [bits.read(4) + 1 for _ in range(4)]
    alpha = np.zeros(pixels, np.bool_)
    at = 0
    while at < total:
        repeated = bits.read(1)
        stop = at + 1 + bits.read(sizes[bits.read(2)])
        if stop > total:
            raise _no_fit(height, width)
        place = alpha[at // 4 : stop // 4]  # every fourth value in at … stop is alpha
        if repeated:
            place[:] = bits.read(word) > 0
        else:
            place[:] = bits.values(stop - at, word)[3 - at % 4 :: 4]
        at = stop
    return alpha.reshape(height, width)


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """The run lengths of a flat mask [N], zeros first; that run may be 0."""
    changes = np.flatnonzero(np.diff(mask)) + 1
    lengths: list[int] = np.diff([0, *changes.tolist(), len(mask)]).tolist()
    return [0, *lengths] if mask[0] else lengths


def brush_runs(mask: NDArray[np.bool_]) -> list[int]:
    """A mask [H, W] in Label Studio's brush packing, see `brush_mask`; every run uses the largest length width."""
    flat = mask.ravel()
    lengths = np.array(run_lengths(flat), np.int64) * 4
    values = np.where(np.arange(len(lengths)) % 2 == 1, 255, 0)
    parts = -(-lengths // LONGEST_RUN)
    value = np.repeat(values, parts)
    length = np.full(len(value), LONGEST_RUN, np.int64)
    length[parts.cumsum()[parts > 0] - 1] = ((lengths - 1) % LONGEST_RUN + 1)[parts > 0]
    head = [_bits_of(np.array([4 * flat.size]), 32), _bits_of(np.array([WORD_BITS - 1]), 5)]
    head += [_bits_of(np.array([size - 1]), 4) for size in RUN_BITS]
    code = (0b111 << (RUN_BITS[-1] + WORD_BITS)) | (length - 1) << WORD_BITS | value
    bits = np.concatenate([*head, _bits_of(code, 3 + RUN_BITS[-1] + WORD_BITS)])
    packed: list[int] = np.packbits(bits).tolist()
    return packed


def _bits_of(values: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """The concatenated bits of the values, highest bit first."""
    return ((values[:, None] >> np.arange(width - 1, -1, -1)) & 1).astype(np.uint8).ravel()


def checked_runs(runs: Any, height: int, width: int) -> NDArray[np.int64]:
    """Run lengths that fill H × W pixels exactly. Raises Refusal for others, before anything is allocated."""
    pixels = _pixels(height, width)
    if not isinstance(runs, list) or not set(map(type, runs)) <= {int}:
        raise Refusal("run-lengths", "has run lengths that are not integers.", AGAIN)
    if runs and min(runs) < 0:
        raise Refusal("run-lengths", "has negative run lengths.", AGAIN)
    if not runs or max(runs) > pixels or sum(runs) != pixels:
        raise _no_fit(height, width)
    return np.asarray(runs, np.int64)


def filled_runs(runs: NDArray[np.int64], pixels: int) -> NDArray[np.bool_]:
    """Checked run lengths as a flat mask; the first run is zeros."""
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    assert mask.size == pixels
    return mask


def numbers_in(text: str) -> list[int]:
    """Integers of up to ten digits, separated by commas or spaces. Raises Refusal."""
    words = text.replace(",", " ").split()
    if not all(word.isascii() and word.isdigit() and len(word) <= 10 for word in words):
        raise Refusal("run-lengths", "has run lengths that are not integers.", AGAIN)
    return list(map(int, words))


class _Bits:
    """A bit reader over bytes, highest bit first."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def read(self, count: int) -> int:
        """The next bits, at most 32, as a number. Raises Refusal: too few left."""
        self._ask(count)
        byte, off = divmod(self.at, 8)
        self.at += count
        five = int.from_bytes(self.data[byte : byte + 5].ljust(5, b"\0"), "big")
        return five >> (40 - off - count) & ((1 << count) - 1)

    def values(self, number: int, word: int) -> NDArray[np.bool_]:
        """Which of the next `number` values of `word` bits are above 0."""
        self._ask(number * word)
        byte, off = divmod(self.at, 8)
        self.at += number * word
        raw = np.frombuffer(self.data, np.uint8, -(-(off + number * word) // 8), byte)
        bits = np.unpackbits(raw)[off : off + number * word].reshape(number, word)
        return np.asarray(bits.any(axis=1))

    def _ask(self, count: int) -> None:
        if self.at + count > 8 * len(self.data):
            raise Refusal("run-lengths", "has run lengths that are cut short.", AGAIN)


def _pixels(height: int, width: int) -> int:
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise Refusal("too-large", f"{width}×{height} pixels are not allowed for a mask.", "Correct the annotation.")
    return height * width


def _no_fit(height: int, width: int) -> Refusal:
    what = f"has run lengths that do not add up to {width}×{height} pixels."
    return Refusal("run-lengths", what, AGAIN)


def _unpacked(text: str, pixels: int) -> list[int]:
    """COCO's compressed runs: five bits per character, the sixth flags continuation; later runs are differences."""
    if text and (min(text) < "0" or max(text) > "o"):
        raise Refusal("run-lengths", "has run lengths with characters that COCO does not use.", AGAIN)
    runs: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            if at >= len(text) or shift > 60:
                raise Refusal("run-lengths", "has run lengths that are cut short.", AGAIN)
            bits = ord(text[at]) - 48
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            at, shift = at + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        value += runs[-2] if len(runs) > 2 else 0
        if not 0 <= value <= pixels:
            raise Refusal("run-lengths", "has run lengths that leave the image.", AGAIN)
        runs.append(value)
    return runs
