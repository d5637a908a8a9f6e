"""Masks as NumPy arrays: .npy files [H, W] of integers, as written by `predict --save numpy`.

Format: numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Arrays of Python objects are refused, because
they require pickle.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from pixelwise.images.decode import MAX_PIXELS, MaskIds
from pixelwise.images.files import Refusal, read_bytes
from pixelwise.images.numpy_bands import NUMPY_MAGIC, array_header


def mask_ids(path: Path, _entry: str, _size: tuple[int, int]) -> MaskIds:
    """The mask values of a .npy file [H, W]. Raises Refusal."""
    data = read_bytes(path)
    remedy = "Save it with numpy.save, as a uint8 array [height, width] of class ids."
    if not data.startswith(NUMPY_MAGIC):
        raise Refusal("numpy-mask", "is not a NumPy array, despite its suffix.", remedy)
    shape, dtype, start = array_header(data)
    if len(shape) != 2 or min(shape) < 1 or dtype.kind not in "biu":
        raise Refusal("numpy-mask", f"holds {dtype} {list(shape)}; expected whole numbers [height, width].", remedy)
    if shape[0] * shape[1] > MAX_PIXELS:
        raise Refusal("too-large", f"{shape[1]}×{shape[0]} pixels; the limit is {MAX_PIXELS:,}.", "Cut it into tiles.")
    expected = start + shape[0] * shape[1] * dtype.itemsize
    if len(data) < expected:
        raise Refusal("truncated", f"the file is truncated: {len(data)} of {expected} bytes.", "Copy it again.")
    ids = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= 2**16:
        raise Refusal("numpy-mask", f"holds numbers from {low} to {high}; expected 0 to 65535.", remedy)
    return ids.astype(np.uint8) if high < 256 else ids.astype(np.uint16)
