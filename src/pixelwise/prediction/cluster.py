"""Label a folder on a Ray cluster: processes on many machines open the model, label images and write the results.

The caller keeps the list and the manifest, and records each image once its results are written. Ray runs an image again
if its process or machine is lost, and none is recorded twice. All machines must see the images, the model and the
results under the same paths, on a shared file system.

Ray passes names and records of images between processes by pickle. Whoever can reach a Ray cluster can run code on it
anyway: keep it in a network of its own.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cache
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
AHEAD = 2  # images per process: one is being labelled, the next is queued
TRIES = 4  # processes lost with one image before it fails
LOST_IN_A_ROW = 3  # images that fail so before the run fails
GRACE_S = 60.0  # to finish images in progress when a run is stopped


class WorkerSetup(NamedTuple):
    """What every process opens, and must find unchanged."""

    model: Path
    digest: str
    out: Path
    version: str
    threads: int


def label_remotely(setup: WorkerSetup, job: Job, options: LabelOptions) -> Record | PixelwiseError:
    """Label one image in a process of the cluster. Errors that end the run are returned: Ray would wrap them."""
    try:
        return label_file(open_model(setup), job, options)
    except (ClusterError, OutputError) as error:
        return type(error)(f"on {socket.gethostname()}: {error}")


@cache
def open_model(setup: WorkerSetup) -> Model:
    """The model of this process. Raises ClusterError if this machine does not match the caller's."""
    if setup.version != __version__:
        raise ClusterError(f"Pixelwise is {__version__} here, but the caller has {setup.version}. Install the same.")
    if not (setup.out / STATE).is_dir():
        raise ClusterError(f"{shown(setup.out)} does not exist here. Choose an --out that all machines share.")
    try:
        model = load(setup.model, setup.threads)
    except PixelwiseError as error:
        raise ClusterError(str(error)) from error
    if model.digest != setup.digest:
        raise ClusterError(f"{shown(setup.model)} is another model here. Name a bundle that all machines share.")
    return model


def label_on_cluster(
    model: Model, jobs: Iterator[Job], options: LabelOptions, manifest: Manifest, address: str
) -> Generator[Record]:
    """Label images on a cluster; yields each record once it is in the manifest, in the order of completion.

    If it is closed early, images in progress are finished and recorded, so that they need not be labelled again.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: the cluster cannot be reached, its machines do not match, or their processes keep ending.
        OutputError: a result cannot be written.
    """
    job = next(jobs, None)
    if job is None:
        return
    out, threads = Path(os.path.realpath(manifest.out)), model.engine.threads or 1
    setup = WorkerSetup(Path(os.path.realpath(model.path)), model.digest, out, __version__, threads)
    with connected(address) as ray:
        label = ray.remote(num_cpus=threads, max_retries=TRIES - 1)(label_remotely)
        slots = AHEAD * max(int(ray.cluster_resources().get("CPU", 1)) // threads, 1)
        running: dict[Any, Job] = {}
        lost_in_a_row = 0
        try:
            while True:
                while job is not None and len(running) < slots:
                    # abspath, not resolve: a link keeps the name that was given
                    image, *channels = (Path(os.path.abspath(one)) for one in (job.image, *job.channels))  # noqa: PTH100
                    running[label.remote(setup, Job(image, out, job.name, tuple(channels)), options)] = job
                    job = next(jobs, None)
                if not running:
                    return
                (ended,), _ = ray.wait(list(running), num_returns=1)
                record, is_lost = record_of(ray, ended, running.pop(ended))
                lost_in_a_row = lost_in_a_row + 1 if is_lost else 0
                if lost_in_a_row == LOST_IN_A_ROW:
                    raise ClusterError(
                        "processes of the cluster keep ending. See Ray's logs on its machines, by default in "
                        "/tmp/ray/session_latest/logs."
                    )
                manifest.append(record)
                yield record
        finally:
            refs = list(running)
            for ended in ray.wait(refs, num_returns=len(refs), timeout=GRACE_S)[0] if refs else []:
                with suppress(PixelwiseError):
                    record, is_lost = record_of(ray, ended, running[ended])
                    if not is_lost:  # the next run labels it
                        manifest.append(record)


def record_of(ray: Any, ended: Any, job: Job) -> tuple[Record, bool]:
    """The record of an image, and whether its processes were lost. Raises ClusterError, OutputError."""
    try:
        result = ray.get(ended)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError):
        reason = f"{TRIES} processes ended while labelling it, perhaps for lack of memory. Make it smaller."
        return failed(names_of(job), f"{shown(job.image)}: {reason}"), True
    if isinstance(result, PixelwiseError):
        raise result
    return result, False


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: there is no cluster.
    """
    os.environ.setdefault("RAY_task_oom_retries", str(TRIES - 1))  # by default it retries without end
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
