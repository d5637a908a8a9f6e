"""Read files with two threads, in order and a little ahead: one is decoded while another is examined."""

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

THREADS = 2  # decoding frees the interpreter's lock; more than two only fills the memory with images on a laptop
AT_ONCE = 256  # items handed to the threads at a time, so that 100,000 pairs need no more memory than these


def in_threads(read: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`read` of every item, in order; some items ahead, never all of them. Raises what `read` raises."""
    waiting = iter(items)
    with opencv_without_threads(), ThreadPoolExecutor(THREADS) as pool:
        while batch := list(islice(waiting, AT_ONCE)):
            yield from pool.map(read, batch)


class OpenCVThreads:
    """How many threads OpenCV had before the first of those who want it to have none, and how many want that now."""

    lock = threading.Lock()
    before = waiting = 0


@contextmanager
def opencv_without_threads() -> Iterator[None]:
    """OpenCV computes on the threads that call it. Its own would take the cores from them, and each thread that ever
    allocated keeps 64 MB of addresses reserved (glibc), which a limit on addresses (ulimit -v) counts."""
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
