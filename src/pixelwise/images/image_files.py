"""Image files → RGB pixels, mask files → class ids, and both back to PNG. No torch.

`decode` documents and implements the rules for grey, 16-bit, alpha, palette, CMYK and EXIF. The functions here take
paths or bytes.

Shapes: H, W height and width in pixels of the upright image; C classes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.errors import ImageError, MaskError
from pixelwise.images.decode import MaskIds, image_pixels, mask_ids_of
from pixelwise.images.files import Refusal, read_bytes, shown, write_whole
from pixelwise.images.png_writer import label_png
from pixelwise.records import VOID, ClassList, Labels, Pixels

COUNTED_AT_ONCE = 1 << 20


def read_image(path: Path | str) -> Pixels:
    """Read an image file as RGB.

    Args:
        path: an image file in any supported format: PNG, JPEG, TIFF, WebP and others.

    Returns:
        uint8 [H, W, 3], RGB, rotated upright by the EXIF orientation.

    Raises:
        ImageError: missing, unreadable, empty, truncated, not an image, unsupported, or too large.

    Example:
        >>> import pixelwise as pw
        >>> pw.read_image("photo.jpg").shape
        (64, 96, 3)
    """
    path = Path(path)
    try:
        return image_pixels(read_bytes(path))
    except Refusal as refusal:
        raise ImageError(f"{shown(path)}: {refusal}") from refusal


def decode_image(data: bytes, name: str) -> Pixels:
    """Decode an image in memory, such as an upload. `name` is used in error messages.

    Returns and raises as `read_image`.
    """
    try:
        return image_pixels(data)
    except Refusal as refusal:
        raise ImageError(f"{name}: {refusal}") from refusal


def read_mask_ids(path: Path) -> MaskIds:
    """Read the values of one mask file, as stored.

    Single-channel (1 to 16 bits; 32-bit integers in TIFF) or palette: the index is kept, not the colour.

    Returns:
        [H, W], upright; uint8, uint16 or int32, depending on the file.

    Raises:
        MaskError: as `read_image`; also JPEG (its compression alters ids), colours, alpha, floats, and more than one
            page.
    """
    try:
        return mask_ids_of(read_bytes(path))
    except Refusal as refusal:
        raise MaskError(f"{shown(path)}: {refusal}") from refusal


def decode_mask_ids(data: bytes, name: str) -> MaskIds:
    """As `read_mask_ids`, from memory. `name` is used in error messages."""
    try:
        return mask_ids_of(data)
    except Refusal as refusal:
        raise MaskError(f"{name}: {refusal}") from refusal


def read_mask(path: Path, mask_ids: Mapping[int, int], num_classes: int) -> Labels:
    """Read one mask as class ids.

    Args:
        mask_ids: id in the file → class id or VOID. Empty: ids are class ids, and 255 is VOID.
        num_classes: C.

    Returns:
        uint8 [H, W]: 0 … C − 1, VOID where unlabelled.

    Raises:
        MaskError: as `read_mask_ids`; also ids missing from `mask_ids`, listed with their pixel counts.
    """
    try:
        return labels_from_ids(mask_ids_of(read_bytes(path)), mask_ids, num_classes)
    except Refusal as refusal:
        raise MaskError(f"{shown(path)}: {refusal}") from refusal


def encode_png(array: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """A uint8 [H, W], uint16 [H, W] or uint8 RGB [H, W, 3] array as a PNG file's bytes."""
    if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"{array.dtype} {list(array.shape)} cannot be a PNG; expected uint8 or uint16 [H, W], or RGB")
    if array.ndim == 3 and (array.shape[2] != 3 or array.dtype != np.uint8):
        raise ValueError(f"{array.dtype} {list(array.shape)}: expected uint8 [H, W, 3]")
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def write_png(path: Path, array: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write an array that `encode_png` takes, whole or not at all. Raises OutputError."""
    write_whole(path, encode_png(array))


def encode_label_png(labels: Labels, palette: ClassList) -> bytes:
    """Labels [H, W] as a palette PNG: the indices are the class ids, shown in the classes' colours, void in black.

    `read_mask_ids` gives the same labels back.
    """
    return label_png(labels, palette.palette())


def count_ids(ids: MaskIds) -> dict[int, int]:
    """Id → pixel count, for every id that occurs."""
    values, numbers = counted_ids(ids)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def counted_ids(ids: MaskIds) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The ids that occur, ascending, and the number of pixels of each."""
    if ids.dtype == np.uint8 and ids.size < 2**24:  # calcHist counts in float32, exact up to here
        counts = cv2.calcHist([ids], [0], None, [256], [0, 256]).ravel()
    elif ids.dtype in (np.uint8, np.uint16):
        counts = np.zeros(256 if ids.dtype == np.uint8 else 2**16, np.int64)
        flat = ids.ravel()
        for start in range(0, len(flat), COUNTED_AT_ONCE):  # bincount needs 8 bytes per id
            counts += np.bincount(flat[start : start + COUNTED_AT_ONCE], minlength=len(counts))
    else:
        values, numbers = np.unique(ids, return_counts=True)
        return values, numbers.astype(np.int64)
    present = np.flatnonzero(counts)
    return present, counts[present].astype(np.int64)


def full_mapping(mask_ids: Mapping[int, int], num_classes: int) -> Mapping[int, int]:
    """`mask_ids`, or if it is empty the identity on class ids, with 255 as VOID."""
    return mask_ids or {**{i: i for i in range(num_classes)}, VOID: VOID}


def labels_from_ids(ids: MaskIds, mask_ids: Mapping[int, int], num_classes: int) -> Labels:
    """Map stored values [H, W] to class ids uint8 [H, W]. Raises Refusal, see `read_mask`."""
    mapping = full_mapping(mask_ids, num_classes)
    counts = count_ids(ids)
    refuse_unknown_ids(counts, mapping)
    if ids.dtype == np.uint8 or max(counts) < 2**16:
        table = np.full(256 if ids.dtype == np.uint8 else 2**16, VOID, np.uint8)
        for mask_id, label in mapping.items():
            if 0 <= mask_id < len(table):
                table[mask_id] = label
        return np.asarray(cv2.LUT(ids, table) if ids.dtype == np.uint8 else table[ids], np.uint8)
    known = np.array(sorted(mapping))
    return np.array([mapping[int(i)] for i in known], np.uint8)[np.searchsorted(known, ids)]


def refuse_unknown_ids(counts: Mapping[int, int], mapping: Mapping[int, int]) -> None:
    """Raise Refusal if a mask holds ids without a class. `counts`: id → pixel count."""
    unknown = {i: n for i, n in counts.items() if i not in mapping}
    if not unknown:
        return
    listed = ", ".join(f"{i} ({n:,} px)" for i, n in list(unknown.items())[:8])
    more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    known = ids_in_words(mapping)
    what = f"holds {'ids' if len(unknown) > 1 else 'id'} {listed}{more} outside the classes; known ids: {known}."
    remedy = "Correct the mask, or declare these ids in dataset.toml: [[classes]] with id = …, or void = […]."
    raise Refusal("ids-outside", what, remedy)


def ids_in_words(ids: Mapping[int, int]) -> str:
    """ "0–10, 255" for the keys of a mapping."""
    runs: list[list[int]] = []
    for i in sorted(ids):
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in runs)
