"""Show an image of any bands as RGB: three of its bands, each stretched from a window of its values to 0–255.

Every place that shows an image of other bands than red, green and blue does so by this rule: overlays, reports, the
page, the pictures of a trace.

Shapes: H, W height and width in pixels.
"""

from __future__ import annotations

import numpy as np

from pixelwise.records import RGB, Bands, Pixels, Raster

STRIP_VALUES = 1 << 20  # converted at a time: float32 copies stay small beside the image
NO_DATA = (104, 136)  # greys of the stripes where a band has no value
STRIPE_PX = 4  # wide; upright, so that strips of rows fit together


def false_colour(
    pixels: Raster,
    bands: Bands,
    choose: tuple[int, int, int] | None = None,
    window: tuple[float, float] | None = None,
) -> Pixels:
    """An image for display: uint8 [H, W, 3].

    Args:
        pixels: [H, W, bands], uint8, uint16 or float32, NaN where there is no data.
        bands: the names and ranges of its bands.
        choose: the bands shown as red, green and blue, counted from 0. None: those that `shown_bands` takes.
        window: the values that become black and full colour, for all three. None: each band's low and high.

    Returns:
        Upright grey stripes where a shown band is NaN or infinite. RGB images are returned as they are, without a copy.

    Raises:
        ValueError: the number of bands is another one, a chosen band does not exist, or the window is empty.

    Example:
        >>> import numpy as np
        >>> from pixelwise.records import Bands
        >>> bands = Bands(("red", "nir"), "float32", (0.0, 0.0), (1.0, 2.0))
        >>> false_colour(np.ones((1, 1, 2), np.float32), bands, (0, 1, 0)).tolist()
        [[[255, 128, 255]]]
    """
    height, width, count = pixels.shape
    if count != len(bands):
        raise ValueError(f"an image of {count} bands, and {len(bands)} band names: {', '.join(bands.names)}")
    if bands == RGB and pixels.dtype == np.uint8 and choose is None and window is None:
        return np.asarray(pixels, np.uint8)
    chosen = shown_bands(bands) if choose is None else choose
    if any(not 0 <= band < count for band in chosen):
        raise ValueError(f"bands {chosen} of {count}")
    if window is not None and not window[0] < window[1]:
        raise ValueError(f"the window is {window[0]:g} to {window[1]:g}; the second value must be higher")
    low, high = (
        np.array([one[band] if window is None else window[end] for band in chosen], np.float64)
        for end, one in enumerate((bands.low, bands.high))
    )
    scale, shown = (255 / (high - low)).astype(np.float32), np.empty((height, width, 3), np.uint8)
    rows = max(STRIP_VALUES // (3 * max(width, 1)), 1)
    for top in range(0, height, rows):
        values = pixels[top : top + rows][:, :, list(chosen)].astype(np.float32)
        values -= low.astype(np.float32)
        values *= scale
        known = np.isfinite(values).all(axis=2)
        np.clip(values, 0, 255, out=values)
        values[~known] = 0
        strip = shown[top : top + rows]
        strip[...] = np.rint(values)
        if not known.all():
            strip[~known] = no_data(width)[np.nonzero(~known)[1], None]
    return shown


def shown_bands(bands: Bands) -> tuple[int, int, int]:
    """The bands that are shown as red, green and blue where nobody chooses.

    Those of these names if there are all three; else the first three; of two bands the first, the second and the first
    again; a single band as grey.
    """
    names = [name.casefold() for name in bands.names]
    if all(name in names for name in RGB.names):
        red, green, blue = (names.index(name) for name in RGB.names)
        return red, green, blue
    return {1: (0, 0, 0), 2: (0, 1, 0)}.get(len(bands), (0, 1, 2))


def no_data(width: int) -> Pixels:
    """One row of the stripes that stand for missing values: uint8 [W]."""
    return np.asarray(np.array(NO_DATA, np.uint8)[np.arange(width) // STRIPE_PX % 2])
