"""Return freed memory to the system, and measure peak memory.

The C library of most Linux systems (glibc) keeps freed memory for the program's next allocation. After a large image
that is hundreds of megabytes, which a server would occupy for as long as it runs.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

SOON_S = 1.0
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # as glibc's malloc.h numbers them
MAPPED_BYTES = 1 << 20
HEAPS = 2
LARGE_PIXELS = 4_000_000  # after a larger image memory is given back, which takes a few milliseconds


@cache
def trimmer() -> Any:
    """glibc's malloc_trim; None if the C library has none: other systems take freed memory back by themselves."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library, such as musl
        return None


def keep_little() -> None:
    """For a program that runs for long: return each block over MAPPED_BYTES to the system as soon as it is freed.

    By itself glibc raises that size to that of the largest block that was freed, up to 32 MB, and gives each thread a
    heap of its own: between images of many sizes that leaves hundreds of megabytes which nothing uses.
    """
    if trimmer() is None:
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in (
        (M_MMAP_THRESHOLD, MAPPED_BYTES), (M_TRIM_THRESHOLD, MAPPED_BYTES), (M_ARENA_MAX, HEAPS),
    ):  # fmt: skip
        mallopt(ctypes.c_int(parameter), ctypes.c_int(value))


def give_back_soon() -> None:
    """As `give_back`, after SOON_S, when the response that is being sent has released its memory."""
    later = threading.Timer(SOON_S, give_back)
    later.daemon = True
    later.start()


def give_back() -> None:
    """Return unused memory to the system."""
    if (trim := trimmer()) is not None:
        trim(ctypes.c_size_t(0))


def peak_bytes() -> int:
    """Peak memory of this process in bytes; 0 if the platform does not record it."""
    try:
        import resource
    except ImportError:  # Windows
        with suppress(ImportError):
            import psutil

            return int(getattr(psutil.Process().memory_info(), "peak_wset", 0))
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def available_bytes() -> int:
    """Memory that a program could take now without pushing out others."""
    rows = Path("/proc/meminfo")
    if rows.exists():  # Linux, without psutil, which needs a module that only POSIX systems have
        found = dict(row.split(":", 1) for row in rows.read_text().splitlines())
        return int(found["MemAvailable"].split()[0]) * 1024
    import psutil

    return int(psutil.virtual_memory().available)
