"""Reading in threads: the order, the errors, and what OpenCV may start beside them."""

from __future__ import annotations

import cv2
import pytest

from pixelwise.datasets.read_ahead import in_threads


def test_results_come_in_order_and_errors_come_through() -> None:
    assert list(in_threads(lambda number: number * 2, range(600))) == list(range(0, 1200, 2))
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // number, [1, 0]))


def test_opencv_starts_no_threads_until_the_last_reading_ends() -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        first, second = (in_threads(lambda _: cv2.getNumThreads(), range(4)) for _ in range(2))
        assert next(first) == next(second) == 1
        first.close()
        assert list(second) == [1, 1, 1]
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
