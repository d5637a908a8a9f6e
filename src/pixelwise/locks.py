"""Locks between processes, on every platform, and which process is meant by the name in a lock file.

A lock is a file. POSIX systems lock it with `flock`, Windows with `msvcrt.locking`; either frees it however its process
ends. Where Python has neither, the process named in the file decides: the file is locked for as long as that process
lives. An identity is {"pid", "started"}: a process's number and when it began, in seconds since 1970, because the
number alone may be another process's later.
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
from typing import IO, Any

SAME_S = 2.0  # the system's clock may be set while a process lives
WAIT_S = 20.0  # for another process to finish what only one may do at a time
FAR_BYTE = 1 << 30  # Windows forbids others to read a locked byte, so one that no file has is locked
HELD: set[IO[Any]] = set()


def try_lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Lock an open file until it is closed. False where another process holds it.

    Args:
        shared: several may hold it together, but none beside one that holds it alone. Windows has no such lock.

    Raises:
        OSError: the file system cannot lock.
    """
    try:
        import fcntl
    except ImportError:
        return _try_lock_without_fcntl(file)
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_lock_without_fcntl(file: IO[Any]) -> bool:
    if sys.platform == "win32":
        import msvcrt

        place = file.tell()
        os.lseek(file.fileno(), FAR_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            file.seek(place)
        return True
    else:  # noqa: RET505 - mypy reads one branch a platform
        return not is_alive(identity_in(Path(file.name)))


def hold(path: Path) -> IO[str] | None:
    """Lock a file, made if it is missing, and write into it who holds it; None where another process does.

    The lock lasts until the file is closed or this process ends.

    Raises:
        OSError: the file cannot be written, or the file system cannot lock.
    """
    file = path.open("a", encoding="utf-8")
    try:
        if not try_lock(file):
            file.close()
            return None
        file.truncate(0)
        file.write(json.dumps(identity_of(os.getpid())))
        file.flush()
    except BaseException:
        file.close()
        raise
    HELD.add(file)
    return file


def release(file: IO[str]) -> None:
    HELD.discard(file)
    with contextlib.suppress(OSError):  # a full disk: nothing of it is needed any more
        file.truncate(0)
    file.close()


def release_in_child() -> None:
    """In a process that was just forked: a lock lives until its last copy is closed, and a child may outlive its parent
    by seconds."""
    while HELD:
        HELD.pop().close()


if hasattr(os, "register_at_fork"):  # Windows forks nothing
    os.register_at_fork(after_in_child=release_in_child)


def is_locked(path: Path) -> bool:
    """Whether a process holds this lock file now."""
    try:
        with path.open("rb") as file:
            return not try_lock(file, shared=True)  # shared: two that look at once do not see each other
    except OSError:
        return False


@contextmanager
def exclusively(path: Path) -> Iterator[bool]:
    """Hold this lock file, waiting up to WAIT_S for it. False where another process held it for longer."""
    end = time.monotonic() + WAIT_S
    while (file := hold(path)) is None and time.monotonic() < end:
        time.sleep(0.02)
    try:
        yield file is not None
    finally:
        if file is not None:
            release(file)


def identity_of(pid: int) -> dict[str, Any] | None:
    """None where there is no such process."""
    began = began_at(pid)
    return None if began is None else {"pid": pid, "started": began}


def identity_in(path: Path) -> Any:
    """What a lock file says of the process that holds it."""
    try:
        return json.loads(path.read_bytes()[:1000])
    except (OSError, ValueError, RecursionError):
        return None


def is_alive(identity: Any) -> bool:
    """Whether the process that is meant runs; False where it has ended, whoever has its number now."""
    if not isinstance(identity, dict):
        return False
    pid, started = identity.get("pid"), identity.get("started")
    if type(pid) is not int or not 0 < pid < 1 << 31 or not isinstance(started, (int, float)):
        return False
    began = began_at(pid)
    return began is not None and abs(began - started) <= SAME_S


def began_at(pid: int) -> float | None:
    """When a process began, in seconds since 1970; None where there is none, or it has ended and waits to be reaped."""
    try:
        import psutil
    except ImportError:  # a platform that it does not know: the number alone has to do
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        return 0.0
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def interrupt(identity: dict[str, Any]) -> bool:
    """Ask a process to stop as Ctrl-C does. False where it has ended."""
    if not is_alive(identity):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(identity["pid"], getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
        return True
    return False
