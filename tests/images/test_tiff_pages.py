"""Slices in the pages of a TIFF: which files hold some, and each of them alone."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from pixelwise.images.banded_image import read_bands
from pixelwise.images.tiff_pages import only_page, stack_pages
from pixelwise.records import RGB, Bands

tifffile: Any = pytest.importorskip("tifffile")
GREY = Bands(("band 1",), "float32", (0.0,), (1000.0,))
THREE = Bands(("band 1", "band 2", "band 3"), "float32", (0.0,) * 3, (1000.0,) * 3)
PAGES = np.random.default_rng(0).integers(0, 1000, (3, 20, 30)).astype(np.uint16)


def tiff(pages: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pages, **({"photometric": "minisblack", "metadata": None} | options))
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"bigtiff": True, "byteorder": ">"}])
def test_each_page_alone_holds_its_pixels(options: dict[str, Any]) -> None:
    data = tiff(PAGES, **options)
    places = stack_pages(data, GREY)
    assert len(places) == 3
    for place, page in zip(places, PAGES, strict=True):
        found = read_bands(only_page(data, place), "a.tif")
        assert np.array_equal(found.pixels[:, :, 0], page)
        assert found.pixels.shape[2] == 1
        assert not found.dropped


def test_pages_that_are_bands_are_no_slices() -> None:
    data = tiff(PAGES)
    assert not stack_pages(data, THREE)
    assert len(stack_pages(data, RGB)) == 3
    assert not stack_pages(tiff(PAGES[0]), GREY)


def test_files_that_are_damaged_or_none_hold_no_slices() -> None:
    data = tiff(PAGES)
    for other in (b"", b"II*\0", data[:12], b"\x89PNG\r\n\x1a\n", np.zeros(4).tobytes()):
        assert not stack_pages(other, RGB)
    circle = bytearray(data)
    first, second, _ = stack_pages(data, RGB)
    count = int.from_bytes(circle[second : second + 2], "little")
    at = second + 2 + 12 * count
    circle[at : at + 4] = first.to_bytes(4, "little")  # a chain without an end
    assert stack_pages(bytes(circle), RGB) == [first, second]
