"""Ctrl-C and SIGTERM: a training finishes the current step before it stops, so that nothing is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pixelwise.errors import StoppedError
from pixelwise.training import distributed

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)  # SIGBREAK: what Windows sends in place of the others
IMPATIENT_S = 1.0  # a second signal after this long stops at once; before, it is the same one, sent twice


class Stop:
    """Whether a signal asked the training to stop."""

    def __init__(self) -> None:
        self.asked: int | None = None  # which signal did
        self.asked_at = 0.0
        self.patient = False  # while steps are finished first

    def check(self) -> None:
        """Raise StoppedError if a signal reached any of the processes; all call this at the same point."""
        with self.finishing_steps():  # a signal may come while this one waits here for others
            asked = distributed.largest(self.asked or 0)
        if asked:
            if self.asked is None:
                self.asked, self.asked_at = asked, time.monotonic()
            raise StoppedError(asked)

    @contextmanager
    def finishing_steps(self) -> Iterator[None]:
        """Inside, a signal waits for the next `check`; outside, it stops at once."""
        before, self.patient = self.patient, True
        try:
            yield
        finally:
            self.patient = before

    def hear(self, number: int, _frame: FrameType | None = None) -> None:
        now = time.monotonic()
        if self.asked is None:
            self.asked, self.asked_at = number, now
            if self.patient:
                return
        elif now - self.asked_at < IMPATIENT_S:
            return
        raise StoppedError(self.asked, at_once=True)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Listen for the signals; in the main thread only, because Python delivers none elsewhere."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}  # nohup stays nohup
    for number in heard:
        signal.signal(number, stop.hear)
    try:
        yield stop
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
