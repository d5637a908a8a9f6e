"""PNG files written row by row, read back by Pillow and OpenCV."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conftest import THREE, blobs
from pixelwise.images import png_writer
from pixelwise.images.image_files import decode_mask_ids
from pixelwise.images.png_writer import label_png, png_of_strips


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    rows=st.integers(1, 60),
    wide=st.booleans(),
    smooth=st.booleans(),
    library=st.booleans(),
    seed=st.integers(0, 99),
)
def test_strips_are_read_back(
    height: int, width: int, rows: int, wide: bool, smooth: bool, library: bool, seed: int
) -> None:
    dtype = np.uint16 if wide else np.uint8
    values = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width)).astype(dtype)
    strips = [values[top : top + rows] for top in range(0, height, rows)]
    with pytest.MonkeyPatch.context() as patch:
        if not library:
            patch.setattr(png_writer, "isal_zlib", None)  # as on a platform without ISA-L
        data = png_of_strips(strips, (height, width), dtype, smooth=smooth)
    with Image.open(io.BytesIO(data)) as image:
        assert (np.asarray(image) == values).all()
    assert (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) == values).all()


def test_labels_keep_their_numbers_and_show_their_colours() -> None:
    labels = blobs(1, 3, 50, 70)
    labels[10:20, 10:20] = 255
    coloured = label_png(labels, THREE.palette())
    assert (decode_mask_ids(coloured, "x") == labels).all()
    with Image.open(io.BytesIO(coloured)) as image:
        assert (np.asarray(image.convert("RGB")) == THREE.palette()[labels]).all()
    grey = label_png(labels)
    assert (cv2.imdecode(np.frombuffer(grey, np.uint8), cv2.IMREAD_UNCHANGED) == labels).all()


def test_rows_that_do_not_fit_are_refused() -> None:
    rows = np.zeros((3, 4), np.uint8)
    for strips, size in (([rows], (4, 4)), ([rows, rows], (3, 4)), ([rows], (3, 5)), ([], (0, 4))):
        with pytest.raises(ValueError, match="expected"):
            png_of_strips(strips, size, np.uint8)
    with pytest.raises(ValueError, match="uint16"):
        png_of_strips([rows.astype(np.uint16)], (3, 4), np.uint8)
