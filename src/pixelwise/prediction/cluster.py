"""Label a folder on a Ray cluster: workers on many machines open the model, label images and write the results.

The caller keeps the list and the manifest: it assigns images to workers, and records each one once its results are
written. So images of a lost worker or machine are assigned again, and none is recorded twice. All machines must see the
images, the model and the results under the same paths, on a shared file system.

Ray passes names and records of images between processes by pickle. Whoever can reach a Ray cluster can run code on it
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

from pixelwise.errors import ClusterError, MissingExtraError, OutputError, PixelwiseError, first_line
from pixelwise.images.files import shown
from pixelwise.prediction.label_file import Job, LabelOptions, Record, failed, label_file, names_of
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.manifest import Manifest
from pixelwise.prediction.outputs import STATE
from pixelwise.version import __version__

LOCAL = "local"  # the address of a cluster started on this machine for this run only
AHEAD = 2  # images assigned to a worker: one is being labelled, the next is queued
TRIES = 4  # workers lost with one image before it fails
FALSE_STARTS = 8  # workers in a row that end before they are ready
GRACE_S = 60.0  # to finish assigned images when a run is stopped


class WorkerSetup(NamedTuple):
    """What every worker opens, and must find unchanged."""

    model: Path
    digest: str
    out: Path
    version: str
    threads: int


class Worker:
    """One process of the cluster. It returns expected errors: Ray would wrap exceptions in its own."""

    model: Model

    def open(self, setup: WorkerSetup) -> str:
        """Open the model. Returns the error, or ""."""
        host = socket.gethostname()
        if setup.version != __version__:
            return f"{host} has Pixelwise {__version__}, but this is {setup.version}. Install the same on all machines."
        if not (setup.out / STATE).is_dir():
            return f"{host} does not see {shown(setup.out)}. Choose a folder that all machines share for --out."
        try:
            self.model = load(setup.model, setup.threads)
        except PixelwiseError as error:
            return f"on {host}: {error}"
        if self.model.digest != setup.digest:
            return f"{shown(setup.model)} is another model on {host}. Name a bundle that all machines share."
        return ""

    def label(self, job: Job, options: LabelOptions) -> Record | str:
        """Label one image. Returns its record, or the reason why no more results can be written."""
        try:
            return label_file(self.model, job, options)
        except OutputError as error:
            return f"on {socket.gethostname()}: {error}"


def label_on_cluster(
    model: Model, jobs: Iterator[Job], options: LabelOptions, manifest: Manifest, address: str
) -> Generator[Record]:
    """Label images on a cluster; yields each record once it is in the manifest, in the order of completion.

    If it is closed early, assigned images are finished and recorded, so that they need not be labelled again.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: the cluster cannot be reached, or one of its machines has another Pixelwise or sees other files.
        OutputError: a result cannot be written.
    """
    first = next(jobs, None)
    if first is None:
        return
    again, tries = deque([first]), Counter[Job]()
    with connected(address) as ray:
        crew = Crew(ray, model, options, manifest.out)
        try:
            while True:
                while crew.idle and (job := again.popleft() if again else next(jobs, None)) is not None:
                    crew.assign(job)
                if crew.idle and not crew.busy():
                    return
                job, record = crew.wait()
                if job is not None and record is None:  # its worker was lost
                    tries[job] += 1
                    if tries[job] < TRIES:
                        again.append(job)
                        continue
                    lost = f"{TRIES} workers ended while labelling it, perhaps for lack of memory. Make it smaller."
                    record = failed(names_of(job), f"{shown(job.image)}: {lost}")
                if record is not None:
                    manifest.append(record)
                    yield record
        finally:
            for record in crew.last_records():
                manifest.append(record)


class Crew:
    """The workers of a cluster, one per processor at the start. A lost one is replaced."""

    def __init__(self, ray: Any, model: Model, options: LabelOptions, out: Path) -> None:
        self.ray, self.options = ray, options
        self.out, threads = Path(os.path.realpath(out)), model.engine.threads or 1
        self.setup = WorkerSetup(Path(os.path.realpath(model.path)), model.digest, self.out, __version__, threads)
        # No retries by Ray itself: they would hide which image ended the worker.
        self.new_worker = ray.remote(num_cpus=threads, max_restarts=0, max_task_retries=0)(Worker).remote
        self.awaited: dict[Any, tuple[Any, Job | None]] = {}  # → the worker, and its image or, while it starts, None
        self.idle: deque[Any] = deque()  # contains a worker once per image that it can take
        self.false_starts = 0
        for _ in range(max(int(ray.cluster_resources().get("CPU", 1)) // threads, 1)):
            self.start_worker()

    def start_worker(self) -> None:
        worker = self.new_worker()
        self.awaited[worker.open.remote(self.setup)] = (worker, None)

    def assign(self, job: Job) -> None:
        """Assign an image to the worker that has waited longest."""
        worker = self.idle.popleft()
        image = Path(os.path.abspath(job.image))  # noqa: PTH100 – a link keeps the name that was given
        self.awaited[worker.label.remote(Job(image, self.out, job.name), self.options)] = (worker, job)

    def busy(self) -> bool:
        return any(job is not None for _, job in self.awaited.values())

    def wait(self) -> tuple[Job | None, Record | None]:
        """Wait for one event. Returns an image and its record, an image and None if its worker was lost, or neither.

        Raises:
            ClusterError: a worker cannot start.
            OutputError: a result cannot be written.
        """
        (ended,), _ = self.ray.wait(list(self.awaited), num_returns=1)
        worker, job = self.awaited.pop(ended)
        try:
            result = self.ray.get(ended)
        except self.ray.exceptions.RayActorError:  # killed, out of memory, or lost with its machine
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
        """Replace a lost worker."""
        self.idle = deque(other for other in self.idle if other is not worker)
        self.false_starts += not ready
        if self.false_starts >= FALSE_STARTS:
            raise ClusterError(
                f"{FALSE_STARTS} workers in a row ended before they were ready. See Ray's logs on the machines, by "
                "default in /tmp/ray/session_latest/logs."
            )
        if not any(other is worker for other, _ in self.awaited.values()):  # once, not for each of its images
            self.start_worker()

    def last_records(self) -> Iterator[Record]:
        """The records of assigned images that end soon."""
        refs = [ref for ref, (_, job) in self.awaited.items() if job is not None]
        ended = self.ray.wait(refs, num_returns=len(refs), timeout=GRACE_S)[0] if refs else []
        for ref in ended:
            try:
                result = self.ray.get(ref)
            except self.ray.exceptions.RayError:  # lost: the next run labels it
                continue
            if not isinstance(result, str):
                yield result


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry from a cluster started here
    own: dict[str, Any] = {}
    if address == LOCAL:  # listens to this machine only; read when Ray is imported
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
            f"cannot connect to a Ray cluster at --address {address}: {first_line(error)}. Start one with `ray start "
            "--head`, or leave --address out to use the processors of this machine."
        ) from error
    try:
        yield ray
    except ray.exceptions.RayTaskError:  # a bug in a worker: show its traceback
        raise
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"the Ray cluster failed: {first_line(error)}. Run the same command again to resume."
        ) from error
    finally:
        ray.shutdown()
