"""Images of any bands as RGB for display."""

import numpy as np
import pytest

from pixelwise.images.false_colour import NO_DATA, false_colour, shown_bands
from pixelwise.records import RGB, Bands


def bands_of(*names: str, low: float = 0.0, high: float = 1000.0) -> Bands:
    return Bands(names, "float32", (low,) * len(names), (high,) * len(names))


def test_rgb_images_are_returned_as_they_are() -> None:
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    assert np.shares_memory(false_colour(image, RGB), image)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("thermal",), (0, 0, 0)),
        (("a", "b"), (0, 1, 0)),
        (("B2", "B3", "B4", "B8"), (0, 1, 2)),
        (("coastal", "Blue", "Green", "Red", "nir"), (3, 2, 1)),
        (("red", "nir", "swir"), (0, 1, 2)),
    ],
)
def test_bands_shown_by_default(names: tuple[str, ...], chosen: tuple[int, int, int]) -> None:
    assert shown_bands(bands_of(*names)) == chosen


def test_each_band_is_stretched_from_its_own_range() -> None:
    bands = Bands(("a", "b", "c"), "float32", (0.0, -10.0, 100.0), (1.0, 10.0, 300.0))
    image = np.array([[[0.5, 10, 100], [2, -50, 200]]], np.float32)
    assert false_colour(image, bands).tolist() == [[[128, 255, 0], [255, 0, 128]]]


def test_chosen_bands_and_window() -> None:
    image = np.array([[[100, 200, 300, 400, 65535]]], np.uint16)
    shown = false_colour(image, bands_of("a", "b", "c", "d", "e"), (4, 1, 0), (100, 300))
    assert shown.tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_values_are_striped_and_warn_nothing(value: float) -> None:
    image = np.full((3, 16, 2), 500, np.float32)
    image[1, :, 1] = value
    shown = false_colour(image, bands_of("a", "b"))
    assert shown[0].tolist() == shown[2].tolist() == [[128] * 3] * 16
    assert [pixel[0] for pixel in shown[1].tolist()] == ([NO_DATA[0]] * 4 + [NO_DATA[1]] * 4) * 2
    assert false_colour(image, bands_of("a", "b"), (0, 0, 0))[1].tolist() == [[128] * 3] * 16


def test_strips_of_rows_fit_together() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 1000, (700, 600, 4)).astype(np.float32)
    image[rng.uniform(size=image.shape[:2]) < 0.1] = np.nan
    bands = bands_of("a", "b", "c", "d")
    whole = false_colour(image, bands)
    parts = [false_colour(image[top : top + 100], bands) for top in range(0, 700, 100)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_what_does_not_fit() -> None:
    image = np.zeros((2, 2, 4), np.float32)
    with pytest.raises(ValueError, match="an image of 4 bands, and 2 band names: a, b"):
        false_colour(image, bands_of("a", "b"))
    with pytest.raises(ValueError, match="of 4"):
        false_colour(image, bands_of("a", "b", "c", "d"), (0, 1, 4))
    with pytest.raises(ValueError, match="must be higher"):
        false_colour(image, bands_of("a", "b", "c", "d"), None, (5, 5))
