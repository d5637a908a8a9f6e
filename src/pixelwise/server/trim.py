"""Giving memory back to the system after something large: freed is not returned, as allocators see it."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back_memory() -> None:
    """Collect what is unreachable, and have the C library return what it holds in vain. Takes milliseconds."""
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):  # another C library than glibc returns it by itself
            return
