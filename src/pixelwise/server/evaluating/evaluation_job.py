"""One evaluation or comparison as a job: it reports its progress, can be stopped, and goes on after a restart."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pixelwise.errors import DataError, DatasetError, PixelwiseError
from pixelwise.server.error_responses import RequestError
from pixelwise.server.evaluating.evaluation_request import EvaluationRequest
from pixelwise.server.evaluating.evaluation_store import EvaluationStore
from pixelwise.server.evaluating.evaluation_work import JobWork

LOG = logging.getLogger(__name__)
SAVE_EVERY_S = 5.0
SHOWN_PROBLEMS = 8  # of a dataset, in a message
Progress = Literal["waiting", "running", "done", "stopped", "failed"]
UNFINISHED = ("waiting", "running")


@dataclass
class EvaluationJob:
    """A request, how far it is, and where its counts are."""

    request: EvaluationRequest
    store: EvaluationStore
    created: float = field(default_factory=time.time)
    state: Progress = "waiting"
    done: int = 0
    images: int = 0
    seconds: float = 0.0  # of computing, over all times that it was started
    error: dict[str, str] | None = None
    kept: bool = True  # on disk: it survives a restart
    work: JobWork | None = None
    stopping: bool = False
    result: dict[str, Any] | None = None  # where it is not kept on disk
    files: dict[str, bytes] = field(default_factory=dict)  # likewise
    rate_s: float | None = None  # seconds an image

    @property
    def id(self) -> str:
        return self.request.id

    def to_json(self) -> dict[str, Any]:
        left = None
        if self.state == "running" and self.rate_s is not None:
            left = self.rate_s * (self.images - self.done)
        return {
            "id": self.id, "kind": self.request.kind, "models": list(self.request.models), "split": self.request.split,
            "state": self.state, "done": self.done, "images": self.images, "seconds": self.seconds,
            "seconds_left": left, "error": self.error, "kept": self.kept, "created": self.created,
            "skip_bad": self.request.skip_bad,
        }  # fmt: skip

    def save(self) -> None:
        facts = {
            "request": self.request.to_json(), "created": self.created, "state": self.state, "done": self.done,
            "images": self.images, "seconds": self.seconds, "error": self.error,
        }  # fmt: skip
        self.kept = self.store.write(self.id, "request.json", json.dumps(facts).encode())

    @classmethod
    def of(cls, value: dict[str, Any], store: EvaluationStore) -> EvaluationJob:
        """From what `save` wrote. Raises KeyError, TypeError, ValueError."""
        job = cls(EvaluationRequest.from_json(value["request"]), store, float(value["created"]))
        if value["state"] not in ("waiting", "running", "done", "stopped", "failed"):
            raise ValueError(value["state"])
        job.state, job.error = value["state"], value["error"]
        job.done, job.images, job.seconds = int(value["done"]), int(value["images"]), float(value["seconds"])
        return job

    def run(self, open_work: Callable[[], JobWork], closing: Callable[[], bool]) -> None:
        """Count every image that is left, then write the results.

        Args:
            closing: whether the server stops: the job is then left as running, to go on after a restart.
        """
        self.state, self.error = "running", None
        self.save()
        began, before = time.monotonic(), self.seconds
        try:
            self.work = self.work or self.restored(open_work())
            self.images, self.done = self.work.images, self.work.done
            finished = self.count(self.work, closing, before - began)
            if finished:
                self.finish(self.work)
            elif not closing():
                self.state = "stopped"
        except RequestError as error:
            self.fail(error.message, error.remedy)
        except PixelwiseError as error:
            self.fail(*in_few_words(error))
        except Exception:  # the job's thread must live on, for the jobs after this one
            LOG.exception("An evaluation failed.")
            self.fail("The server has an internal error.", "See its log.")
        self.save()

    def count(self, work: JobWork, closing: Callable[[], bool], offset_s: float) -> bool:
        """Whether all images were counted; False: it was stopped."""
        first, began = work.done, time.monotonic()
        saved = began
        for _ in work.steps():
            now = time.monotonic()
            self.done, self.seconds = work.done, now + offset_s
            self.rate_s = (now - began) / (work.done - first)
            if now - saved > SAVE_EVERY_S:
                self.keep(work)
                saved = time.monotonic()
            if self.stopping or closing():
                self.keep(work)
                return work.done >= work.images
        return True

    def finish(self, work: JobWork) -> None:
        self.images = self.done = work.done  # broken pairs that were left out do not count
        result, files = work.result(), work.files()
        self.keep(work)
        written = [self.store.write(self.id, name, data) for name, data in files.items()]
        if not (all(written) and self.store.write(self.id, "result.json", json.dumps(result).encode())):
            self.result, self.files = result, files
        self.state = "done"

    def keep(self, work: JobWork) -> None:
        self.kept = self.store.write(self.id, "counts.npz", work.saved())
        self.save()

    def restored(self, work: JobWork) -> JobWork:
        """The work with what was counted before."""
        data = self.store.read(self.id, "counts.npz")
        if data is not None:
            try:
                work.restore(data)
            except DataError as error:  # images were added or removed, or the file is damaged: count all of them
                LOG.warning("An evaluation starts over: %s", error)
        return work

    def fail(self, message: str, remedy: str) -> None:
        self.state, self.error = "failed", {"message": message, "remedy": remedy}


def in_few_words(error: PixelwiseError) -> tuple[str, str]:
    """What went wrong and what to do; of a dataset's many problems, the first."""
    if not isinstance(error, DatasetError) or not error.problems:
        return str(error), ""
    lines = [error.summary, *(str(problem) for problem in error.problems[:SHOWN_PROBLEMS])]
    more = len(error.problems) - SHOWN_PROBLEMS
    if more > 0:
        lines.append(f"… and {more:,} more problems; list them with: pixelwise check DATA")
    return "\n".join(lines), "Repair the files, or leave the broken pairs out."
