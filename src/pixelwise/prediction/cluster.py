"""A folder labelled by a Ray cluster: workers on many machines each hold a session and write the results themselves.

The caller keeps the list and the manifest: it hands out images, and notes each one once its results are there. So what
a lost worker or machine had in hand is handed out again, and nothing is noted twice. All machines see the images, the
model and the results under the same paths, on a file system that they share.

Ray passes images' names and records between processes by pickle. Whoever can reach a Ray cluster can run code on it
anyway: keep it in a network of its own.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pixelwise.errors import ClusterError, MissingExtraError, OutputError, PixelwiseError
from pixelwise.images.files import shown
from pixelwise.prediction.label_file import Job, LabelOptions, Record, failed, label_file, named
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.manifest import Manifest
from pixelwise.prediction.outputs import STATE
from pixelwise.version import __version__

LOCAL = "local"  # the address of a cluster that is started on this machine, for this run alone
AHEAD = 2  # images that a worker has in hand: one is being labelled, and the next one's name is there already
TRIES = 4  # an image in whose hands so many workers ended is left
FALSE_STARTS = 8  # workers that end, one after the other, before any is ready
GRACE_S = 60.0  # for what is in hand when a run is stopped


class Opening(NamedTuple):
    """What every worker opens, and must find as it is here."""

    model: Path
    digest: str
    out: Path
    version: str
    threads: int


class Worker:
    """One process of the cluster. What goes wrong on purpose is returned: Ray would wrap an exception in its own."""

    model: Model

    def open(self, what: Opening) -> str:
        """Open the model. Returns why that cannot be, or nothing."""
        here = socket.gethostname()
        if what.version != __version__:
            return f"{here} has Pixelwise {__version__}, but this is {what.version}. Install the same on all machines."
        if not (what.out / STATE).is_dir():
            return f"{here} does not see {shown(what.out)}. Name a folder that all machines share for --out."
        try:
            self.model = load(what.model, what.threads)
        except PixelwiseError as error:
            return f"on {here}: {error}"
        if self.model.digest != what.digest:
            return f"{shown(what.model)} is another model on {here}. Name a bundle that all machines share."
        return ""

    def label(self, job: Job, wanted: LabelOptions) -> Record | str:
        """Label one image: its record, or why no result can be written any more."""
        try:
            return label_file(self.model, job, wanted)
        except OutputError as error:
            return f"on {socket.gethostname()}: {error}"


def records_of(
    model: Model, jobs: Iterator[Job], wanted: LabelOptions, manifest: Manifest, address: str
) -> Generator[Record]:
    """Label images on a cluster; yields each one's record once it is in the manifest, in the order of completion.

    When it is left early, what is in hand is ended and noted, so that it need not be done again.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: the cluster cannot be reached, or a machine of it has another Pixelwise or sees other files.
        OutputError: a result cannot be written.
    """
    first = next(jobs, None)
    if first is None:
        return
    again, tries = deque([first]), Counter[Job]()
    with connected(address) as ray:
        crew = Crew(ray, model, wanted, manifest.out)
        try:
            while True:
                while crew.idle and (job := again.popleft() if again else next(jobs, None)) is not None:
                    crew.give(job)
                if crew.idle and not crew.in_hand():
                    return
                job, record = crew.wait()
                if job is not None and record is None:  # its worker was lost
                    tries[job] += 1
                    if tries[job] < TRIES:
                        again.append(job)
                        continue
                    reason = (
                        f"{shown(job.image)}: {TRIES} workers ended while they had it. Is there memory enough for it?"
                    )
                    record = failed(named(job), reason)
                if record is not None:
                    manifest.append(record)
                    yield record
        finally:
            for record in crew.last_records():
                manifest.append(record)


class Crew:
    """The workers of a cluster, one for every processor that it has at first. A lost one is replaced."""

    def __init__(self, ray: Any, model: Model, wanted: LabelOptions, out: Path) -> None:
        self.ray, self.wanted = ray, wanted
        self.out, threads = Path(os.path.realpath(out)), model.engine.threads or 1
        self.opening = Opening(Path(os.path.realpath(model.path)), model.digest, self.out, __version__, threads)
        # No second tries by Ray itself: whose fault it was would be lost.
        self.new_worker = ray.remote(num_cpus=threads, max_restarts=0, max_task_retries=0)(Worker).remote
        self.awaited: dict[Any, tuple[Any, Job | None]] = {}  # → the worker, and its image; None while it opens
        self.idle: deque[Any] = deque()  # a worker is in it as often as it can take an image
        self.false_starts = 0
        for _ in range(max(int(ray.cluster_resources().get("CPU", 1)) // threads, 1)):
            self.hire()

    def hire(self) -> None:
        worker = self.new_worker()
        self.awaited[worker.open.remote(self.opening)] = (worker, None)

    def give(self, job: Job) -> None:
        """Hand an image to the worker that has waited longest."""
        worker = self.idle.popleft()
        image = Path(os.path.abspath(job.image))  # noqa: PTH100 – a link keeps the name that was given
        self.awaited[worker.label.remote(Job(image, self.out, job.name), self.wanted)] = (worker, job)

    def in_hand(self) -> bool:
        return any(job is not None for _, job in self.awaited.values())

    def wait(self) -> tuple[Job | None, Record | None]:
        """Wait for one thing to end: an image and its record; an image whose worker was lost, and None; or neither.

        Raises:
            ClusterError, OutputError
        """
        (ended,), _ = self.ray.wait(list(self.awaited), num_returns=1)
        worker, job = self.awaited.pop(ended)
        try:
            result = self.ray.get(ended)
        except self.ray.exceptions.RayActorError:  # killed, out of memory, or gone with its machine
            self.lose(worker, ready=job is not None)
            return job, None
        if job is None:
            if result:
                raise ClusterError(result)
            self.false_starts = 0
            self.idle.extend([worker] * AHEAD)
            return None, None
        if isinstance(result, str):
            raise OutputError(result)
        self.idle.append(worker)
        return job, result

    def lose(self, worker: Any, *, ready: bool) -> None:
        """Forget a worker, and hire another in its place."""
        self.idle = deque(other for other in self.idle if other is not worker)
        self.false_starts += not ready
        if self.false_starts >= FALSE_STARTS:
            raise ClusterError(
                f"{FALSE_STARTS} workers in a row ended before they were ready. See Ray's logs on the machines, by "
                "default in /tmp/ray/session_latest/logs."
            )
        if not any(other is worker for other, _ in self.awaited.values()):  # of several images in its hands the last
            self.hire()

    def last_records(self) -> Iterator[Record]:
        """The records of what is in hand, as far as it ends soon."""
        refs = [ref for ref, (_, job) in self.awaited.items() if job is not None]
        ended = self.ray.wait(refs, num_returns=len(refs), timeout=GRACE_S)[0] if refs else []
        for ref in ended:
            try:
                result = self.ray.get(ref)
            except self.ray.exceptions.RayError:  # lost, and so the next run's
                continue
            if not isinstance(result, str):
                yield result


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, as a client of the cluster at `address`.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here reports to nobody
    own: dict[str, Any] = {}
    if address == LOCAL:  # a cluster of this machine alone listens to this machine alone; read when Ray is imported
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        own = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
    try:
        import ray
        import ray.exceptions
    except ModuleNotFoundError as error:
        raise MissingExtraError("Ray", "ray") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **own)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ClusterError(
            f"no Ray cluster can be used at --address {address}: {first_line(error)}. Start one with `ray start "
            "--head`, or leave --address out to use the processors of this machine."
        ) from error
    try:
        yield ray
    except ray.exceptions.RayTaskError:  # an error of ours in a worker: its traceback tells more
        raise
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"the Ray cluster failed: {first_line(error)}. Type the same command again to go on."
        ) from error
    finally:
        ray.shutdown()


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
