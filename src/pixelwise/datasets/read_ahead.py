"""Files are read by two threads, in order and a little ahead: decoding one while another is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = 2  # decoding frees the interpreter's lock; more than two only fills the memory with images on a laptop
AT_ONCE = 256  # items handed to the threads at a time, so that 100,000 pairs need no more memory than these


def in_threads(read: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`read` of every item, in order; some items ahead, never all of them. Raises what `read` raises."""
    waiting = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        while batch := list(islice(waiting, AT_ONCE)):
            yield from pool.map(read, batch)
