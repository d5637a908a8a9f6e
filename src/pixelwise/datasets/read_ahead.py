"""Read files with two threads, in order and slightly ahead: one file is decoded while another is examined."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = 2  # decoding releases the GIL; more than two threads only fill a laptop's memory with images
AT_ONCE = 256  # items submitted to the threads at a time, to bound memory for 100,000 pairs


def in_threads(read: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield `read` of every item in order, reading a few items ahead. Raises what `read` raises."""
    waiting = iter(items)
    with opencv_without_threads(), ThreadPoolExecutor(THREADS) as pool:
        while batch := list(islice(waiting, AT_ONCE)):
            yield from pool.map(read, batch)


class OpenCVThreads:
    """OpenCV's thread count before the first active caller turned threads off, and the number of active callers."""

    lock = threading.Lock()
    before = waiting = 0


@contextmanager
def opencv_without_threads() -> Iterator[None]:
    """Make OpenCV compute on the calling threads. Its own would compete for cores, and each thread that ever allocated
    reserves 64 MB of address space (glibc), which an address-space limit (ulimit -v) counts."""
    with OpenCVThreads.lock:
        if not OpenCVThreads.waiting:
            OpenCVThreads.before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        OpenCVThreads.waiting += 1
    try:
        yield
    finally:
        with OpenCVThreads.lock:
            OpenCVThreads.waiting -= 1
            if not OpenCVThreads.waiting:
                cv2.setNumThreads(OpenCVThreads.before)
