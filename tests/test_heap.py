"""A server's freed memory goes back to the system, whatever was allocated after it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pixelwise.heap import trimmer

CODE = """
import numpy as np, psutil
from pixelwise.heap import keep_little
{call}
used = lambda: psutil.Process().memory_info().rss / 2**20
first = np.ones(30 << 20, np.uint8)
del first  # from here on, glibc by itself takes blocks of this size from its heap
before = used()
blocks = [np.ones(8 << 20, np.uint8) for _ in range(20)]
later = [np.ones(1 << 16, np.uint8) for _ in range(8)]  # on the heap, behind them
del blocks
print(used() - before)
"""


def kept_mb(call: str) -> float:
    done = subprocess.run([sys.executable, "-c", CODE.format(call=call)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(trimmer() is None, reason="only glibc keeps freed memory")
def test_freed_blocks_are_returned_to_the_system() -> None:
    assert kept_mb("keep_little()") < 40
    assert kept_mb("") > 100, "glibc now does so by itself: keep_little is not needed any more"
