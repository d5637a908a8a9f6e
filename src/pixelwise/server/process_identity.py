"""Which process is meant, for a number alone may long be another's; and one lock round what two must not do at once.

An identity is {"pid", "started"}: the number and when that process began, in seconds since 1970.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

SAME_S = 2.0  # the system's clock may be set while a process lives
WAIT_S = 20.0  # for another server that starts a training


def identity_of(pid: int) -> dict[str, Any] | None:
    """None where there is no such process."""
    try:
        return {"pid": pid, "started": psutil.Process(pid).create_time()}
    except psutil.Error:
        return None


def process_of(identity: Any) -> psutil.Process | None:
    """The process that an identity means, alive; None where it has ended, whoever has its number now."""
    if not isinstance(identity, dict):
        return None
    pid, started = identity.get("pid"), identity.get("started")
    if type(pid) is not int or pid <= 0 or not isinstance(started, (int, float)):
        return None
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - started) <= SAME_S and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OverflowError):
        return None
    return process if is_same else None


def interrupt(process: psutil.Process) -> bool:
    """Ask it to stop as Ctrl-C does; psutil looks once more whether it is the same. False where it has ended."""
    try:
        process.send_signal(signal.SIGINT)
    except psutil.NoSuchProcess:
        return False
    return True


def identity_in(path: Path) -> Any:
    """What a lock file says of the process that holds it."""
    try:
        return json.loads(path.read_bytes()[:1000])
    except (OSError, ValueError, RecursionError):
        return None


def is_locked(path: Path) -> bool:
    """Does a training hold this lock? The operating system frees it however the training ends."""
    try:
        with path.open("rb") as file:
            if not try_lock(file.fileno(), shared=True):  # so that two who look do not see each other
                return True
            unlock(file.fileno())
    except OSError:
        return False
    return False


@contextmanager
def exclusively(path: Path) -> Iterator[bool]:
    """Hold this lock file, on any platform, for one process at a time. False where it could not be had in time."""
    with path.open("a+b") as file:
        end = time.monotonic() + WAIT_S
        while not (held := try_lock(file.fileno())) and time.monotonic() < end:
            time.sleep(0.02)
        try:
            yield held
        finally:
            if held:
                unlock(file.fileno())


if sys.platform == "win32":
    import msvcrt

    def try_lock(file: int, *, shared: bool = False) -> bool:  # noqa: ARG001 - there is no such lock here
        os.lseek(file, 0, os.SEEK_SET)
        with contextlib.suppress(OSError):
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            return True
        return False

    def unlock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(file: int, *, shared: bool = False) -> bool:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
