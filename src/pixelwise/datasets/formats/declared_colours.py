"""Masks with colours declared by the format, for example Pascal VOC exports with a labelmap.txt."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pixelwise.images.decode import MaskIds, colour_codes, image_pixels
from pixelwise.images.files import Refusal, read_bytes


def ids_of_colours(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The declared id of each pixel's colour. `entry`: {"#rrggbb": id} as JSON.

    Raises:
        Refusal: a colour is not declared; as for any image.
    """
    del size
    table = {int(colour[1:], 16): number for colour, number in json.loads(entry).items()}
    codes = colour_codes(image_pixels(read_bytes(path)))
    known = np.array(sorted(table))
    place = np.clip(np.searchsorted(known, codes), 0, len(known) - 1)
    strangers = known[place] != codes
    if strangers.any():
        number = len(np.unique(codes[strangers]))
        what = f"{strangers.mean():.2%} of its pixels have {number} colours that the label map does not declare."
        raise Refusal("colour-mask", what, "Declare them, or export the mask without smoothing.")
    return np.array([table[code] for code in known.tolist()], np.uint8)[place]
