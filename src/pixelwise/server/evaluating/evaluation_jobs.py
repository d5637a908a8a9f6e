"""All evaluations of a server: one is computed at a time, the others wait in order.

Only models and folders that the server was started with are evaluated, and shown again after a restart.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pixelwise.errors import PixelwiseError
from pixelwise.evaluation.image_views import ComparedImage
from pixelwise.server.data_folders import DataFolder, DataFolders
from pixelwise.server.error_responses import RequestError
from pixelwise.server.evaluating.evaluation_job import UNFINISHED, EvaluationJob, in_few_words
from pixelwise.server.evaluating.evaluation_request import EvaluationRequest
from pixelwise.server.evaluating.evaluation_store import UNREADABLE, EvaluationStore
from pixelwise.server.evaluating.evaluation_work import JobWork, open_work
from pixelwise.server.model_cache import ModelCache

LOG = logging.getLogger(__name__)
OPEN_AT_A_TIME = 3  # finished evaluations whose images can be shown without reading the folder again
COMPARED = 16  # images of which photo, truth and prediction are kept
COMPARED_PIXELS = 60_000_000  # of them together
WAITING = 20  # evaluations that may wait or run
KEPT = 60  # evaluations on disk; the oldest finished ones make room
REBUILT_AFTER = 3.0  # times as long as the last report took to make, before a live one is made again


class EvaluationJobs:
    """The jobs by id, the thread that computes them, and what is open of them. Thread-safe."""

    def __init__(
        self, models: ModelCache, data: DataFolders, store: EvaluationStore, closing: Callable[[], bool]
    ) -> None:
        self.models, self.data, self.store, self.closing = models, data, store, closing
        self.jobs: dict[str, EvaluationJob] = {}
        self.lock = threading.RLock()
        self.queue: SimpleQueue[EvaluationJob | None] = SimpleQueue()
        self.works: OrderedDict[str, JobWork] = OrderedDict()
        self.pictures: OrderedDict[tuple[str, int, int], ComparedImage] = OrderedDict()
        self.showing = threading.Lock()  # one image is labelled for a picture at a time
        self.live: dict[str, tuple[int, float, dict[str, Any]]] = {}

    def start(self) -> None:
        """Find the evaluations on disk, and go on with those that were not finished."""
        for name, value in self.store.requests():
            try:
                job = EvaluationJob.of(value, self.store)
                if job.id != name:
                    raise ValueError(job.id)
            except (KeyError, TypeError, ValueError):
                LOG.warning(UNREADABLE, name)
                continue
            self.jobs[name] = job
        for job in sorted(self.jobs.values(), key=lambda one: one.created):
            if job.state in UNFINISHED and self.is_served(job):
                job.state = "waiting"
                self.queue.put(job)
        threading.Thread(target=self.compute, name="pixelwise-evaluation", daemon=True).start()

    def close(self) -> None:
        self.queue.put(None)

    def compute(self) -> None:
        while (job := self.queue.get()) is not None and not self.closing():
            if job.state == "waiting" and not job.stopping:
                job.run(partial(self.open, job), self.closing)
                self.remember(job)

    def served(self) -> list[EvaluationJob]:
        """Those that this server may show, the newest first."""
        with self.lock:
            found = [job for job in self.jobs.values() if self.is_served(job)]
        return sorted(found, key=lambda job: -job.created)

    def is_served(self, job: EvaluationJob) -> bool:
        names = {row["name"] for row in self.models.names()}
        return self.folder_of(job) is not None and names.issuperset(job.request.models)

    def folder_of(self, job: EvaluationJob) -> tuple[DataFolder, str] | None:
        """The folder of data that the job's own is in, and its path from there."""
        folder = Path(job.request.folder)
        for one in self.data.all():
            if folder.is_relative_to(one.path):
                below = folder.relative_to(one.path).as_posix()
                return one, "" if below == "." else below
        return None

    def describe(self, job: EvaluationJob) -> dict[str, Any]:
        found = self.folder_of(job)
        if found is None:
            raise unknown()
        folder, below = found
        place = {"data": folder.key, "data_name": folder.path.name or folder.key, "below": below}
        return {**job.to_json(), **place, "titles": [self.models.title_of(name) for name in job.request.models]}

    def get(self, name: str) -> EvaluationJob:
        with self.lock:
            job = self.jobs.get(name)
        if job is None or not self.is_served(job):
            raise unknown()
        return job

    def ask(self, request: EvaluationRequest, *, again: bool) -> EvaluationJob:
        """The job of a request: a finished one as it is, one that was stopped goes on; with `again` all starts over."""
        with self.lock:
            job = self.jobs.get(request.id)
            if job is not None and job.state in UNFINISHED:
                return job
            if sum(one.state in UNFINISHED for one in self.jobs.values()) >= WAITING:
                raise RequestError(409, "many-waiting", f"{WAITING} evaluations are waiting.", "Wait, or stop some.")
            if job is None or again:
                self.forget(request.id)
                job = self.jobs[request.id] = EvaluationJob(request, self.store)
                self.prune()
            if job.state != "done":
                self.submit(job)
            return job

    def submit(self, job: EvaluationJob) -> None:
        job.state, job.stopping, job.error = "waiting", False, None
        job.save()
        self.queue.put(job)

    def stop(self, name: str) -> EvaluationJob:
        """Raises RequestError: it is not running."""
        with self.lock:
            job = self.get(name)
            if job.state not in UNFINISHED:
                raise RequestError(409, "not-running", "This evaluation is not running.")
            job.stopping = True
            if job.state == "waiting":
                job.state = "stopped"
                job.save()
        return job

    def resume(self, name: str) -> EvaluationJob:
        """Raises RequestError: there is nothing left to do."""
        with self.lock:
            job = self.get(name)
            if job.state not in ("stopped", "failed"):
                raise RequestError(409, "nothing-to-resume", "This evaluation is running, or has finished.")
            self.submit(job)
        return job

    def remove(self, name: str) -> None:
        """Raises RequestError: it is running."""
        with self.lock:
            if self.get(name).state in UNFINISHED:
                raise RequestError(409, "running", "This evaluation is running.", "Stop it first.")
            self.forget(name)

    def forget(self, name: str) -> None:
        with self.lock:
            self.jobs.pop(name, None)
            self.works.pop(name, None)
            self.live.pop(name, None)
            for key in [key for key in self.pictures if key[0] == name]:
                del self.pictures[key]
            self.store.forget(name)

    def prune(self) -> None:
        finished = sorted((job for job in self.jobs.values() if job.state == "done"), key=lambda job: job.created)
        for job in finished[: max(len(self.jobs) - KEPT, 0)]:
            self.forget(job.id)

    def result(self, job: EvaluationJob) -> dict[str, Any] | None:
        """The whole report, or that of the images so far; None before the first."""
        if job.state == "done":
            if job.result is not None:
                return job.result
            data = self.store.read(job.id, "result.json")
            if data is None:
                raise gone()
            return json.loads(data)  # type: ignore[no-any-return]
        work = job.work
        if work is None and job.done and job.kept:
            work = self.work_of(job)
        if work is None or not work.done:
            return None
        done, until, found = self.live.get(job.id, (0, 0.0, {}))
        if done != work.done and time.monotonic() >= until:
            began = time.monotonic()
            done, found = work.done, work.result()
            ended = time.monotonic()
            self.live[job.id] = done, ended + REBUILT_AFTER * (ended - began), found
        return found

    def file(self, job: EvaluationJob, name: str) -> bytes:
        """Raises RequestError: there is no such file, or not yet."""
        data = job.files.get(name) or self.store.read(job.id, name)
        if job.state != "done" or data is None:
            raise RequestError(404, "file-unknown", "This evaluation has no such file.", "Wait until it is done.")
        return data

    def open(self, job: EvaluationJob) -> JobWork:
        """Raises RequestError: a model has changed; PixelwiseError: as `open_work`."""
        models = [self.models.get(name).model for name in job.request.models]
        if tuple(model.digest for model in models) != job.request.digests:
            raise RequestError(409, "model-changed", "A model was trained again since.", "Evaluate it again.")
        return open_work(models, job.request)

    def work_of(self, job: EvaluationJob) -> JobWork:
        """What is needed to show the job's images. Raises RequestError."""
        if job.work is not None:
            return job.work
        with self.showing:
            if job.id not in self.works:
                try:
                    self.works[job.id] = job.restored(self.open(job))
                except PixelwiseError as error:
                    raise RequestError(409, "data-changed", *in_few_words(error)) from error
                while len(self.works) > OPEN_AT_A_TIME:
                    self.works.popitem(last=False)
            self.works.move_to_end(job.id)
            return self.works[job.id]

    def remember(self, job: EvaluationJob) -> None:
        """Let go of the counts of a finished job that are on disk."""
        if job.state == "done" and job.result is None and job.work is not None:
            with self.showing:
                self.works[job.id] = job.work
                job.work = None
                while len(self.works) > OPEN_AT_A_TIME:
                    self.works.popitem(last=False)

    def compared(self, job: EvaluationJob, index: int, side: int) -> ComparedImage:
        """An image with its truth and prediction, labelled again unless it was shown lately. Raises RequestError."""
        work = self.work_of(job)
        if not (0 <= index < work.done and 0 <= side < len(job.request.models)):
            raise RequestError(404, "image-unknown", "This evaluation has no such image.", "GET …/images lists them.")
        key = job.id, index, side
        with self.showing:
            if key not in self.pictures:
                try:
                    self.pictures[key] = work.compared(index, side)
                except PixelwiseError as error:
                    raise RequestError(
                        410, "image-gone", "This image or its mask cannot be read any more.", "Evaluate again."
                    ) from error
                self.let_go()
            self.pictures.move_to_end(key)
            return self.pictures[key]

    def let_go(self) -> None:
        while len(self.pictures) > 1 and (
            len(self.pictures) > COMPARED or sum(one.true_HW.size for one in self.pictures.values()) > COMPARED_PIXELS
        ):
            self.pictures.popitem(last=False)


def unknown() -> RequestError:
    return RequestError(
        404, "evaluation-unknown", "This evaluation does not exist.", "GET /v1/evaluations lists the evaluations."
    )


def gone() -> RequestError:
    return RequestError(410, "evaluation-gone", "The files of this evaluation are gone.", "Evaluate again.")
