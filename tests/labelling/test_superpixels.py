"""Superpixels: numbered without gaps, connected, of the asked size, along edges."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pixelwise.errors import UsageError
from pixelwise.images.image_files import read_image
from pixelwise.labelling import superpixels as module
from pixelwise.labelling.superpixels import connected_pieces, superpixels
from pixelwise.records import Raster

ndimage = pytest.importorskip(
    "scipy.ndimage", reason="scipy, which scikit-learn brings, is what these are compared with"
)
NUCLEI = Path(__file__).parents[3] / "shared/data/nuclei/val"


def check(ids: NDArray[np.uint16], shape: tuple[int, ...]) -> int:
    """Numbered from 0 without gaps, and each region connected; returns their number."""
    assert ids.shape == shape[:2]
    assert ids.dtype == np.uint16
    count = int(ids.max()) + 1
    assert set(np.unique(ids)) == set(range(count))
    assert connected_pieces(ids).max() + 1 == count
    return count


def outline(ids: NDArray[np.integer]) -> NDArray[np.bool_]:
    found = np.zeros(ids.shape, np.bool_)
    found[1:] |= ids[1:] != ids[:-1]
    found[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    return found


def recall(ids: NDArray[np.integer], true: NDArray[np.integer]) -> float:
    """The part of the true outline that has one of the superpixels within a pixel."""
    near = ndimage.binary_dilation(outline(ids), np.ones((3, 3)))
    return float(near[outline(true)].mean())


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([np.uint8, np.uint16, np.float32]), st.integers(1, 4), st.integers(4, 20))
def test_any_image_is_divided_into_connected_regions(data: st.DataObject, dtype: type, bands: int, size: int) -> None:
    shape = (data.draw(st.integers(1, 50)), data.draw(st.integers(1, 50)), bands)
    elements = st.floats(-1e6, 1e6, width=32) | st.just(np.nan) if dtype == np.float32 else None
    check(superpixels(data.draw(arrays(dtype, shape, elements=elements)), size), shape)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3)))
def test_connected_pieces_are_those_of_scipy(values: NDArray[np.uint8]) -> None:
    expected, count = np.zeros(values.shape, int), 0
    for value in np.unique(values):
        names, found = ndimage.label(values == value)
        expected[names > 0] = names[names > 0] + count
        count += found
    pieces = connected_pieces(values)
    assert pieces.max() + 1 == count
    assert len(np.unique(np.stack([pieces.ravel(), expected.ravel()]), axis=1).T) == count


@pytest.mark.parametrize("size", [8, 16, 40])
def test_they_have_about_the_size_that_was_asked_for(size: int) -> None:
    noise = np.random.default_rng(1).normal(100, 3, (200, 320, 3)).astype(np.uint8)
    count = check(superpixels(noise, size), noise.shape)
    assert 0.6 < count / (200 * 320 / size**2) < 1.5


def test_edges_of_every_band_are_kept() -> None:
    y, x = np.mgrid[:120, :160]
    disc, bar = np.hypot(y - 60, x - 60) < 35, (x + y > 190) & (x + y < 215)
    image = np.stack([disc * 50 + 1000, bar * 3 + 7, np.zeros_like(disc, int)], axis=2).astype(np.uint16)
    ids = superpixels(image, 12)
    assert recall(ids, disc.astype(int) + 2 * bar) > 0.99


@pytest.mark.skipif(not NUCLEI.is_dir(), reason="real nuclei are not at ../shared/data/nuclei beside the repository")
def test_they_keep_more_of_real_outlines_than_squares_of_more_number() -> None:
    cases = sorted((NUCLEI / "images").glob("*.png"))[::17]
    assert cases
    for case in cases:
        image = read_image(case)
        true = cv2.imread(str(NUCLEI / "masks" / case.name), cv2.IMREAD_UNCHANGED)
        assert true is not None
        ids = superpixels(image, 12)
        y, x = np.mgrid[: image.shape[0], : image.shape[1]] // 8
        assert recall(ids, true) > 0.9 > recall(y * 1000 + x, true)


def test_large_images_are_divided_at_lower_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[:150, :210]
    image = (np.hypot(y - 70, x - 100) < 50)[:, :, None].astype(np.uint8) * 99
    monkeypatch.setattr(module, "MAX_PIXELS", 150 * 210 // 3)
    ids = superpixels(image, 20)
    assert 0.5 < check(ids, image.shape) / (150 * 210 / 400) < 1.5
    assert recall(ids, image[:, :, 0].astype(int)) > 0.8


def test_images_without_contrast_or_data_are_divided_too() -> None:
    for image in (np.full((30, 30, 1), 5, np.uint8), np.full((30, 30, 2), np.nan, np.float32)):
        assert check(superpixels(image, 10), image.shape) == 9


@pytest.mark.parametrize(
    ("image", "size", "words"),
    [
        (np.zeros((9, 9, 1), np.uint8), 3, "Superpixels of 3 pixels; expected a size of 4 to 256"),
        (np.zeros((9, 9, 1), np.uint8), 257, "of 257 pixels"),
        (np.zeros((1100, 1100, 1), np.uint8), 4, "more than 65,535 superpixels of size 4. Choose larger"),
    ],
)
def test_wrong_sizes_are_named(image: Raster, size: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        superpixels(image, size)
