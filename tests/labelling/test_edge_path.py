"""Live-wire: paths follow edges, reach every target, and stay inside the image."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pixelwise.errors import UsageError
from pixelwise.labelling.edge_path import EdgePaths, edge_path
from pixelwise.records import Raster


def disc(side: int, radius: float, bands: int = 3, dtype: type = np.uint8) -> Raster:
    """A bright disc in the middle of a dark square, with noise: [side, side, bands]."""
    y, x = np.mgrid[:side, :side] - side // 2
    values = np.where(np.hypot(y, x) < radius, 160, 60)[:, :, None] + np.random.default_rng(0).normal(
        0, 4, (side, side, bands)
    )
    top = {np.uint8: 1, np.uint16: 200}.get(dtype, 0.001)
    return (values * top).astype(dtype)


@pytest.mark.parametrize(("bands", "dtype"), [(1, np.uint8), (3, np.uint8), (2, np.uint16), (5, np.float32)])
def test_a_path_follows_the_edge_and_not_the_chord(bands: int, dtype: type) -> None:
    image = disc(201, 60, bands, dtype)
    points = edge_path(image, (160, 100), (100, 40))
    assert points[0] == (160, 100)
    assert points[-1] == (100, 40)
    steps = np.abs(np.diff(points, axis=0)).max(axis=1)
    assert (steps == 1).all()
    off = [abs(math.hypot(x - 100, y - 100) - 60) for x, y in points]
    assert max(off) < 4  # the chord is 17 pixels off


def test_one_anchor_serves_many_targets_near_and_far() -> None:
    image = disc(1201, 500, 1)
    paths = EdgePaths(image, (1100, 600))
    for degrees in (2, 10, 60, 90, 179):
        x, y = 600 + 500 * math.cos(math.radians(degrees)), 600 + 500 * math.sin(math.radians(degrees))
        points = paths.to((round(x), round(y)))
        assert points[0] == (1100, 600)
        assert points[-1] == (round(x), round(y))
        off = [abs(math.hypot(px - 600, py - 600) - 500) for px, py in points]
        assert np.median(off) < 4
        assert all(0 <= px < 1201 and 0 <= py < 1201 for px, py in points)
    assert paths.to((1100, 600)) == [(1100, 600)]


def test_images_without_edges_and_without_data_have_paths_too() -> None:
    flat = np.full((40, 50, 1), 9, np.uint8)
    assert edge_path(flat, (0, 0), (49, 39))[-1] == (49, 39)
    empty = np.full((40, 50, 2), np.nan, np.float32)
    assert edge_path(empty, (3, 0), (49, 39))[0] == (3, 0)
    assert edge_path(flat[:1, :1], (0, 0), (0, 0)) == [(0, 0)]


@pytest.mark.parametrize(("anchor", "target", "name"), [((-1, 0), (1, 1), "anchor"), ((0, 0), (1, 40), "target")])
def test_points_outside_are_refused(anchor: tuple[int, int], target: tuple[int, int], name: str) -> None:
    with pytest.raises(UsageError, match=f"The {name} at column .* outside the image of 50×40"):
        edge_path(np.zeros((40, 50, 1), np.uint8), anchor, target)
