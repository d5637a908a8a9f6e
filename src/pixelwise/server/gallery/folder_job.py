"""Long work on a folder, on a thread of its own: how far it is, how long it still takes, and how to stop it.

One at a time for each folder. It waits while the server works for a person.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from pixelwise.errors import DatasetError, PixelwiseError

LOG = logging.getLogger(__name__)
WAIT_S = 0.05  # between looks at whether the server works for a person
PATIENCE_S = 5.0  # after which it goes on all the same: a crowd must not stop it for ever
LISTED = 20  # problems of an error that are shown

Kind = Literal["check", "score", "repair"]


class JobStopped(PixelwiseError):
    """A person stopped it."""


class FolderJob:
    """One piece of work. It calls `progress`, which raises JobStopped once it is to stop."""

    def __init__(self, kind: Kind, work: Callable[[FolderJob], dict[str, Any]], is_busy: Callable[[], bool]) -> None:
        """
        Args:
            work: returns the result, to be shown. Raises PixelwiseError: it failed, which is shown, too.
        """
        self.kind, self.work, self.is_busy = kind, work, is_busy
        self.step, self.done, self.total = "", 0, 0
        self.began = time.monotonic()
        self.state: Literal["running", "finished", "stopped", "failed"] = "running"
        self.result: dict[str, Any] = {}
        self.failure, self.problems = "", list[str]()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, name=f"pixelwise-{kind}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Ask it to end after the image that it is at."""
        self.stopping.set()

    def progress(self, step: str, done: int, total: int) -> None:
        """Called after each image. Raises JobStopped."""
        if step != self.step:
            self.step, self.began = step, time.monotonic()
        self.done, self.total = done, total
        self.wait()

    def wait(self) -> None:
        """While the server works for a person, for a while. Raises JobStopped."""
        waited = time.monotonic() + PATIENCE_S
        while self.is_busy() and time.monotonic() < waited and not self.stopping.wait(WAIT_S):
            pass
        if self.stopping.is_set():
            raise JobStopped("it was stopped.")

    def run(self) -> None:
        try:
            self.wait()
            self.result = self.work(self)
            self.state = "finished"
        except JobStopped:
            self.state = "stopped"
        except PixelwiseError as error:
            self.failure = error.summary if isinstance(error, DatasetError) else str(error)
            self.problems = [str(one) for one in error.problems[:LISTED]] if isinstance(error, DatasetError) else []
            self.state = "failed"
        except Exception:
            LOG.exception("The work %r on a folder failed.", self.kind)
            self.failure, self.state = "the work failed unexpectedly; the server's terminal says why.", "failed"

    def seconds_left(self) -> float | None:
        """Of this step, from its pace; None before there is one."""
        passed = time.monotonic() - self.began
        if self.state != "running" or not 0 < self.done < self.total or passed < 1.0:
            return None
        return passed * (self.total - self.done) / self.done

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind, "state": self.state, "step": self.step, "done": self.done, "total": self.total,
            "seconds_left": self.seconds_left(), "failure": self.failure, "problems": self.problems,
            "result": self.result,
        }  # fmt: skip
