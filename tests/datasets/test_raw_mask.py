"""What is done with every pixel of a large mask or image, by its plain definition, in strips of any height."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pixelwise.datasets.blank_areas import equal_to
from pixelwise.datasets.masks import raw_mask, relabel
from pixelwise.datasets.masks.raw_mask import RawMask, counted
from pixelwise.records import VOID

OPPOSITE = ((0, 1), (1, 0), (1, 1), (1, -1))


def channels(code: int, *, coloured: bool) -> NDArray[np.int64]:
    return np.array([code >> 16, code >> 8 & 255, code & 255] if coloured else [code], np.int64)


def is_between(mask: RawMask, row: int, column: int) -> bool:
    def at(row: int, column: int) -> NDArray[np.int64]:
        inside = min(max(row, 0), mask.size[0] - 1), min(max(column, 0), mask.size[1] - 1)
        return channels(int(mask.codes[inside]), coloured=mask.coloured)

    own, rounding = at(row, column), 6 if mask.coloured else 0
    for dy, dx in OPPOSITE:
        one, other = at(row + dy, column + dx), at(row - dy, column - dx)
        to_one, to_other = np.abs(own - one).sum(), np.abs(own - other).sum()
        if to_one and to_other and to_one + to_other <= np.abs(one - other).sum() + rounding:
            return True
    return False


@pytest.mark.parametrize("coloured", [False, True])
@pytest.mark.parametrize("strip_pixels", [1, 30, 1 << 20])
def test_neighbours_by_definition(coloured: bool, strip_pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_mask, "STRIP_PIXELS", strip_pixels)
    rng = np.random.default_rng(strip_pixels)
    few = rng.integers(0, 1 << 24 if coloured else 300, 4)
    codes = few[rng.integers(0, 4, (6, 5))].repeat(2, 0).repeat(2, 1).astype(np.int32)
    codes[5:7] = few[0] + np.arange(10) // 3  # values that lie between, and that differ by little
    mask = RawMask(codes, coloured, False, 8, 1)
    expected = [[is_between(mask, row, column) for column in range(10)] for row in range(12)]
    assert mask.between().tolist() == expected
    assert np.any(expected)
    padded = np.pad(codes, 1, "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    assert mask.flat().tolist() == (windows == codes[:, :, None, None]).all(axis=(2, 3)).tolist()


@pytest.mark.parametrize("largest", [200, 60_000, 1 << 24])
def test_pixels_by_code_are_counted_in_strips(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_mask, "STRIP_PIXELS", 40)
    rng = np.random.default_rng(1)
    codes = rng.integers(0, largest, 5)[rng.integers(0, 5, (20, 4))].repeat(5, 1).astype(np.int32)
    chosen = rng.random(codes.shape) < 0.5
    chosen[6:10] = False  # a strip in which nothing is chosen
    for where in (None, chosen):
        values, numbers = counted(codes, where)
        expected = np.unique(codes if where is None else codes[where], return_counts=True)
        assert values.tolist() == expected[0].tolist()
        assert numbers.tolist() == expected[1].tolist()


@pytest.mark.parametrize("lowest", [0, -3])
@pytest.mark.parametrize("largest", [200, 1 << 24, 1 << 30])
def test_classes_are_looked_up(largest: int, lowest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relabel, "STRIP_PIXELS", 40)
    rng = np.random.default_rng(2)
    values = [lowest, *rng.integers(1, largest, 5).tolist()]
    codes = rng.choice(values, (9, 7)).astype(np.int32)
    table = {value: place for place, value in enumerate(values[:-1])} | {largest - 1: 77}
    expected = [[table.get(code, VOID) for code in row] for row in codes.tolist()]
    labels = relabel.looked_up(codes, table)
    assert labels.dtype == np.uint8
    assert labels.tolist() == expected


@pytest.mark.parametrize("bands", [1, 3, 4, 6])
def test_plain_pixels_are_those_whose_bands_all_have_the_value(bands: int) -> None:
    image = np.random.default_rng(bands).choice(np.array([0, 254, 255], np.uint8), (30, 20, bands), p=[0.1, 0.1, 0.8])
    assert equal_to(image, 255).tolist() == (image == 255).all(axis=2).astype(int).tolist()
    assert equal_to(image[:, ::2], 255).any()
