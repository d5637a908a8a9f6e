"""PNGs of object pixels, as stored by annotation tools. Shapes: H, W of the PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.datasets.formats.annotated_shapes import Size
from pixelwise.images.decode import MAX_PIXELS
from pixelwise.images.decoder_reasons import because
from pixelwise.images.files import Refusal, shown


@contextmanager
def opened_png(data: bytes, name: str, remedy: str) -> Iterator[Image.Image]:
    """An opened PNG. Raises Refusal: too large, or damaged, which may only surface when pixels are read."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                what = f"has its pixels in {shown(name)} of over {MAX_PIXELS:,} pixels."
                raise Refusal("too-large", what, "Cut it into tiles.")
            yield opened
    except Refusal:
        raise
    except Exception as error:  # Pillow raises many kinds on damaged files
        what = because(f"has its pixels in {shown(name)}, which cannot be read", error)
        raise Refusal("truncated", f"{what}.", remedy) from error


def object_pixels(opened: Image.Image) -> NDArray[np.bool_]:
    """The pixels of an object [H, W]: alpha above 0, or value above 0 if there is no alpha."""
    if opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info:
        return np.asarray(np.asarray(opened.convert("RGBA"))[:, :, 3] > 0)
    values = np.asarray(opened if opened.mode in ("1", "L", "P", "I;16") else opened.convert("L"))
    return np.asarray(values > 0)


def require_size(shape: tuple[int, ...], size: Size, name: str, remedy: str) -> None:
    """Raise Refusal unless a PNG of this shape [H, W] has the size (H, W) of its image."""
    if shape != size:
        what = f"has its pixels in {shown(name)} of {shape[1]}×{shape[0]}, not {size[1]}×{size[0]}."
        raise Refusal("size-mismatch", what, remedy)
