"""Experiment trackers as listeners: TensorBoard and MLflow log the trace events of RUN/trace.jsonl.

RUN/tensorboard/         event files; view them with `tensorboard --logdir` on RUN or its parent folder
RUN/../mlflow.db         MLflow's store, unless MLFLOW_TRACKING_URI names another; shared by the runs in that folder,
                         with images in mlartifacts/. SQLite, because MLflow dropped its file store.
RUN/tracking.json        the trackers of this run, so that a resumed run continues with them

Epochs are the steps: scores and losses as scalars, previews as images, the recipe as hyperparameters. A resumed run
continues the same tracked run: whatever is missing there is logged, and nothing twice.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from pixelwise.errors import MissingExtraError, OutputError, TrainingError, UsageError
from pixelwise.images.files import write_whole
from pixelwise.images.image_files import read_image
from pixelwise.trace_events import Event, Listener, finite
from pixelwise.training.recipe import Recipe

# Field of an epoch event → its name in the tracker. "miou" is logged last: it marks the epoch as complete.
SCALARS = {
    "loss": "train/loss",
    "train_accuracy": "train/accuracy",
    "learning_rate": "train/learning_rate",
    "images_per_second": "train/images_per_second",
    "val_loss": "val/loss",
    "accuracy": "val/accuracy",
    "miou": "val/miou",
}


# Why the run stopped → MLflow's status.
STATUS = {"finished": "FINISHED", "KeyboardInterrupt": "KILLED", "SIGTERM": "KILLED"}


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker needs before the first event."""

    run: Path
    recipe: Recipe
    history: Sequence[Event]  # the finished epochs of a resumed run


def require_trackers(names: Sequence[str]) -> None:
    """Check the trackers before any work is done.

    Raises:
        UsageError: unknown tracker.
        MissingExtraError: its package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UsageError(f"unknown tracker {name!r}; expected one of: {', '.join(TRACKERS)}.")
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(f"the package {name}", "tracking")


def data_of(run: Path) -> dict[str, str]:
    """The run's data folder and digest."""
    data = json.loads((run / "data.json").read_text(encoding="utf-8"))
    return {"data": str(data["root"]), "data.sha256": str(data["sha256"])}


@contextmanager
def tracked(names: Sequence[str], followed: TrackedRun) -> Iterator[list[Listener]]:
    """Listeners for the named trackers and those that the run had before; closed at the end.

    Raises:
        MissingExtraError: the package of a tracker that the run had before is not installed.
        TrainingError: a tracker failed; resuming logs what it missed.
    """
    before = read_notes(followed.run)
    require_trackers([name for name in before if name in TRACKERS])
    with ExitStack() as stack:
        yield [stack.enter_context(TRACKERS[name](followed)) for name in TRACKERS if name in names or name in before]


def read_notes(run: Path) -> dict[str, Any]:
    """The content of RUN/tracking.json: tracker → where it stores this run.

    Raises:
        TrainingError: the file is damaged.
    """
    path = run / "tracking.json"
    if not path.exists():
        return {}
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(notes, dict):
            return notes
    except ValueError:
        pass
    raise TrainingError(f"{path}: damaged. Delete it to track this run as a new one.")


def note(run: Path, tracker: str, where: dict[str, str]) -> None:
    write_whole(run / "tracking.json", (json.dumps({**read_notes(run), tracker: where}, indent=1) + "\n").encode())


def scalars_of(event: Event) -> dict[str, float]:
    """An epoch's numbers by their names in a tracker; undefined ones (the IoU of an absent class) are left out."""
    values = {f"iou/{name}": value for name, value in event["iou"].items()}
    values |= {name: event[key] for key, name in SCALARS.items()}
    return {name: float(value) for name, value in values.items() if finite(value) is not None}


def previews_of(run: Path, epoch: int) -> list[tuple[str, Path]]:
    """The preview images of an epoch: (name, file)."""
    return [(f"previews/{path.stem}", path) for path in sorted((run / "previews" / f"epoch-{epoch:04d}").glob("*.png"))]


@contextmanager
def to_tensorboard(followed: TrackedRun) -> Iterator[Listener]:
    """Log the run to RUN/tensorboard."""
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    folder = followed.run / "tensorboard"
    logged = steps_in(folder)
    whole = max(logged, default=0)
    note(followed.run, "tensorboard", {"folder": "tensorboard"})
    parameters = {name: value if isinstance(value, bool | int | float | str) else str(value)
                  for name, value in vars(followed.recipe).items()}  # fmt: skip
    # add_hparams() would write these to a separate run.
    experiment, start, end = hparams(parameters, {"val/miou": 0.0, "val/accuracy": 0.0})  # type: ignore[no-untyped-call]
    # An interrupted epoch is logged again; readers drop earlier entries from that step on.
    writer = SummaryWriter(str(folder), purge_step=whole + 1)

    file = cast(Any, writer.file_writer)

    def write(event: Event) -> None:
        epoch = event["epoch"]
        if epoch in logged:
            return
        for name, path in previews_of(followed.run, epoch):
            writer.add_image(name, read_image(path), epoch, dataformats="HWC")
        for name, value in scalars_of(event).items():
            writer.add_scalar(name, value, epoch)
        writer.flush()
        logged.add(epoch)

    def tell(event: Event) -> None:
        with explained("TensorBoard", folder):
            if event["event"] == "epoch":
                write(event)
            elif event["event"] == "stop" and event["reason"] == "finished":
                file.add_summary(end)

    with explained("TensorBoard", folder):
        if not logged:
            for summary in (experiment, start):
                file.add_summary(summary)
            said = [f"{name} = {value}" for name, value in data_of(followed.run).items()]
            text = "".join(f"    {line}\n" for line in [*said, *followed.recipe.to_toml().splitlines()])
            writer.add_text("recipe", text)
        for event in followed.history:
            write(event)
    try:
        yield tell
    finally:
        writer.close()


def steps_in(folder: Path) -> set[int]:
    """The epochs that are complete in TensorBoard's `folder`."""
    if not folder.is_dir():
        return set()
    from tensorboard.backend.event_processing.event_accumulator import SCALARS as KIND
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance={KIND: 0})
    reader.Reload()
    name = SCALARS["miou"]
    return {int(point.step) for point in reader.Scalars(name)} if name in reader.Tags()[KIND] else set()


@contextmanager
def to_mlflow(followed: TrackedRun) -> Iterator[Listener]:
    """Log the run to MLflow: to MLFLOW_TRACKING_URI, or mlflow.db next to the run directory."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no usage statistics are sent
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs every database table
    run = followed.run.resolve()
    earlier = read_notes(run).get("mlflow", {})
    uri = earlier.get("uri") or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.parent / 'mlflow.db'}"
    with explained("MLflow", uri):
        client = MlflowClient(tracking_uri=uri)
        run_id = earlier.get("run_id") or new_run(client, uri, followed)
        note(run, "mlflow", {"uri": uri, "run_id": run_id})
        client.update_run(run_id, status="RUNNING")
        there = client.get_run(run_id).data.params  # MLflow parameters cannot be changed later, as a budget's plan is
        own = {name: str(value) for name, value in vars(followed.recipe).items() if name not in there}
        client.log_batch(run_id, params=[Param(name, value) for name, value in own.items()])
        logged = {point.step for point in client.get_metric_history(run_id, SCALARS["miou"])}
        shown = {Path(file.path).name.split("+timestamp")[0] for file in client.list_artifacts(run_id, "images")}

    def write(event: Event) -> None:
        epoch = event["epoch"]
        if epoch in logged:
            return
        for name, path in previews_of(run, epoch):
            if f"{name.replace('/', '~')}+step+{epoch}" not in shown:  # already logged if the epoch was interrupted
                client.log_image(run_id, np.asarray(read_image(path)), key=name, step=epoch)
        time_ms = int(1000 * time.time())
        metrics = [Metric(allowed(name), value, time_ms, epoch) for name, value in scalars_of(event).items()]
        client.log_batch(run_id, metrics=metrics)  # atomic
        logged.add(epoch)

    status = "FAILED"

    def tell(event: Event) -> None:
        nonlocal status
        with explained("MLflow", uri):
            if event["event"] == "epoch":
                write(event)
            elif event["event"] == "stop":
                status = STATUS.get(event["reason"], "FAILED")

    with explained("MLflow", uri):
        for event in followed.history:
            write(event)
    try:
        yield tell
    finally:
        with explained("MLflow", uri):
            client.set_terminated(run_id, status)


def new_run(client: Any, uri: str, followed: TrackedRun) -> str:
    """A run in the experiment "pixelwise"; returns its id."""
    run = followed.run.resolve()
    experiment = client.get_experiment_by_name("pixelwise")
    if experiment is None:
        files = (
            (run.parent / "mlartifacts").as_uri() if uri.startswith("sqlite:") else None
        )  # a server stores them itself
        experiment_id = client.create_experiment("pixelwise", artifact_location=files)
    else:
        experiment_id = experiment.experiment_id
    tags = {**data_of(run), "folder": str(run)}
    return str(client.create_run(experiment_id, tags=tags, run_name=run.name).info.run_id)


def allowed(name: str) -> str:
    """A valid MLflow name: other characters become underscores."""
    return re.sub(r"[^\w./: -]", "_", name)


@contextmanager
def explained(tracker: str, where: object) -> Iterator[None]:
    """Turn a tracker's own error into a TrainingError with a remedy."""
    try:
        yield
    except (UsageError, TrainingError, OutputError, ModuleNotFoundError):
        raise
    except Exception as error:  # the trackers' errors have no common base class
        raise TrainingError(
            f"{tracker} at {where} could not be written: {error}. The training is not lost: fix this and use "
            "--resume, which logs what is missing."
        ) from error


TRACKERS: dict[str, Callable[[TrackedRun], Any]] = {"tensorboard": to_tensorboard, "mlflow": to_mlflow}
