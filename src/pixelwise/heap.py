"""Memory that was freed → back to the system.

The C library of most Linux systems (glibc) keeps what a program frees, for its next wish. After a large image that is
hundreds of megabytes, which a server would hold for as long as it runs.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from contextlib import suppress
from functools import cache
from typing import Any

SOON_S = 1.0
LARGE_PIXELS = 4_000_000  # an image of more is worth giving memory back for, which takes a few milliseconds


@cache
def trimmer() -> Any:
    """glibc's malloc_trim; None where the C library has none: on other systems freed memory goes back by itself."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library, such as musl
        return None


def give_back_soon() -> None:
    """As `give_back`, in a moment: when what is in work now, an answer that is being sent, has let go of its memory."""
    later = threading.Timer(SOON_S, give_back)
    later.daemon = True
    later.start()


def give_back() -> None:
    """Hand memory that nothing uses back to the system."""
    if (trim := trimmer()) is not None:
        trim(ctypes.c_size_t(0))


def peak_bytes() -> int:
    """The most memory that this process has held; 0 where the platform does not keep it."""
    try:
        import resource
    except ImportError:  # Windows, which keeps it elsewhere
        with suppress(ImportError):
            import psutil

            return int(getattr(psutil.Process().memory_info(), "peak_wset", 0))
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
