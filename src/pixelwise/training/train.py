"""train: a folder of images and masks → a run directory with a bundle (run_directory.py says what is in it)."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelwise.datasets.class_values import Given, GivenBands, Values, values_of
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.images.files import write_whole
from pixelwise.model.zoo import wanted
from pixelwise.records import Dataset
from pixelwise.trace_events import Event, Listener, match_checkpoint, nobody, to_file
from pixelwise.training import distributed, loop
from pixelwise.training.calibration_images import as_taken, middle_of
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.data_summary import Progress
from pixelwise.training.disk_copies import DiskCopies, kept_to_resume
from pixelwise.training.experiment_trackers import TrackedRun, require_trackers, tracked
from pixelwise.training.export_run import export, rehearse_export
from pixelwise.training.fingerprint import measure as measure_data
from pixelwise.training.initial_weights import (
    NETWORK_FIELDS,
    InitialWeights,
    beginning_at,
    recipe_of_start,
    start_place,
    take_weights,
)
from pixelwise.training.loader import Pairs
from pixelwise.training.loop import EpochData
from pixelwise.training.opening_time import within
from pixelwise.training.plan import plan_from, write_fingerprint
from pixelwise.training.prepare import (
    build_training,
    check_data,
    dataset_from_manifest,
    pairs_of,
    prepare,
)
from pixelwise.training.progress_file import progress_written
from pixelwise.training.recipe import Recipe
from pixelwise.training.run_directory import (
    choose_recipe,
    choose_values,
    describe_data,
    locked,
    remove_leftovers,
    require_same_budget,
    require_same_data,
    require_same_start,
)
from pixelwise.training.separation import separable
from pixelwise.training.signals import stoppable
from pixelwise.training.stop_report import RunReport
from pixelwise.training.throughput import measure
from pixelwise.training.training_state import Training, restore, start_alike
from pixelwise.training.validation_split import with_validation

STATISTICS_IMAGES = 16  # on which a bundle's network is measured before it is trained further


@dataclass(frozen=True)
class Trained:
    """The result of a training."""

    run: Path
    bundle: Path
    best_epoch: int
    best_miou: float
    epochs: tuple[Event, ...]
    seconds: float  # of this process, including set-up and export
    keeps_last: bool = False  # `best_epoch` is the last one, whatever its scores
    trained_on_val: bool = False  # `best_miou` is then too high
    ended_early: str | None = None  # why training ended before its last epoch


@dataclass(frozen=True)
class Start:
    """How a training starts: fresh, from other weights, or from its own last checkpoint."""

    resume: bool
    start_from: Path | str | None
    weights: InitialWeights | None
    budget_s: float | None
    began: float  # of the budget's clock


@distributed.together
def train(
    data: Path | str,
    out: Path | str,
    recipe: Recipe | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    start_from: Path | str | None = None,
    budget_s: float | None = None,
    resume: bool = False,
    skip_bad: bool = False,
    classes: Mapping[str, Given] | None = None,
    void: Given = (),
    masks: str = "",
    bands: GivenBands = (),
    device: str = "auto",
    track: Sequence[str] = (),
    splits: Callable[[Dataset], Dataset] | None = None,
    tell: Listener = nobody,
    progress: Progress = lambda what, done, total: None,
    began: float | None = None,
) -> Trained:
    """Train a model on a folder of images and masks, and export its best epoch as a bundle.

    Under torchrun, each of its processes calls this function; see docs/how-to/several-machines.md.

    Args:
        data: folder of images and masks, in any layout that `open_dataset` reads.
        out: run directory, created if it does not exist. The bundle is OUT/model.onnx.
        recipe: how to train. None: planned from the data, or on `resume` the run's own recipe, which it must equal if
            given.
        settings: fields of the recipe by name, which a plan keeps, or which replace those of `recipe`. None: none.
        start_from: run directory whose best weights to start from, instead of ImageNet weights; or a bundle, or the
            name of a built-in model. Layers whose shape depends on other classes start untrained. None: none.
        budget_s: time limit in seconds for everything, validation and export included. The number of epochs is planned
            from the measured throughput and written into the recipe. On `resume` it must equal the run's own. None: no
            limit.
        resume: continue from the last checkpoint in `out`.
        skip_bad: skip broken pairs instead of raising DatasetError.
        classes: class name → the mask values of the class: numbers, "1-99" for a range, "#rrggbb" for a colour. None:
            detected. On `resume`, `classes`, `void`, `masks` and `bands` must be left out or equal the run's own.
        void: mask values that mean unlabelled; they count in no loss and no score. Default: detected.
        masks: if an image has several masks: part of the folder or file name of the masks to use. Default: any.
        bands: bands of the images to use, in order: names, or numbers from 1; "nir,red", or ["nir", 3]. Default: all.
        device: "auto" (an NVIDIA GPU if there is one, otherwise the CPU), "cpu", "cuda" or "mps".
        track: experiment trackers to log to: "tensorboard", "mlflow". A resumed run keeps those that it had.
        splits: called with the dataset as it is read; returns it with the train and val splits to use. None: its own.
        tell: called with every trace event (a dict), as RUN/trace.jsonl records them.
        progress: called with (what is being done, done, total).
        began: when the budget's clock started, as time.perf_counter() counts. None: now.

    Returns:
        Trained: paths of the run and the bundle, best epoch, its mean IoU on the val split (0–1), every epoch's scores.

    Raises:
        DatasetError: the data cannot be trained on; every problem is listed.
        UsageError: `out` already holds a training, or none to resume; a mask value that no mask has; the budget is too
            short; no such device; a batch that the processes cannot divide evenly; no usable weights in `start_from`.
        TrainingError: another process of this training was lost.
        RunLockedError: another process trains in `out`.
        DivergedError: the loss became NaN or infinite.
        OutOfMemoryError: a step or the data did not fit into memory; the error names a batch size that does.
        WorkerError: data loading processes died again and again.
        OutputError: `out` cannot be written: disk full, read-only, or gone.
        StoppedError: Ctrl-C or SIGTERM; the step in progress was finished and saved first.

    Example:
        >>> import pixelwise as pw
        >>> recipe = pw.Recipe(model="unet", size=(32, 64), batch=2, epochs=1)
        >>> done = pw.train("my_data", "my_run", recipe)
        >>> done.best_epoch, done.bundle.name
        (1, 'model.onnx')
    """
    called = time.perf_counter()
    out, where = Path(out), distributed.choose_device(device)
    require_trackers(track)
    if not distributed.is_first():
        return train_along(out, where)
    if distributed.belongs_to_this_job(out) and checkpoints(out / "checkpoints"):
        resume, recipe, budget_s = True, None, None  # torchrun restarted this command
    settings = dict(settings or {})
    recipe = choose_recipe(out, recipe, settings, resume)
    known = recipe or Recipe().with_values(settings, "settings")
    start = choose_start(start_from, recipe, resume, budget_s, called if began is None else began)
    values = choose_values(out, values_of(classes, void, masks, bands), resume)
    with stoppable() as stop:
        dataset = open_dataset(data, seed=known.seed, **values.arguments())
        dataset = separable(splits(dataset) if splits else with_validation(dataset, known.seed), known.separate)
        with locked(out), kept_to_resume(out / "cache", lambda: is_resumable(out)) as copies, ExitStack() as trackers:
            remove_leftovers(out)
            progress = trackers.enter_context(progress_written(out, progress))
            saved = saved_state(out) if resume else None
            match_checkpoint(out / "trace.jsonl", saved[1].get("history", []) if saved else [])
            report = RunReport(data, out, [to_file(out / "trace.jsonl"), tell])
            with report.of_stops():
                opening = within(None if resume else budget_s, start.began, progress)
                checked = check_data(dataset, skip_bad, opening)
                recipe = recipe or plan_recipe(out, checked.dataset, settings, start, report.tell, opening)
                distributed.require_equal_shares(recipe.batch)
                manifest = describe_data(checked.dataset, checked.used, known.separate)
                record_data(out, manifest, start, values)
                training, epoch_data = prepare(checked, recipe, copies, report.tell, opening, where)
                report.training = training
                resume_or_start(training, epoch_data, manifest, start, saved, report)
                followed = TrackedRun(out, training.recipe, training.history)
                report.listeners += trackers.enter_context(tracked(track, followed))
                loop.run_epochs(training, epoch_data, out, report.tell, progress, stop)
                progress("exporting and checking the model", 0, 0)
                export(out, validation=epoch_data.validation.spaced(training.recipe.val_images), tell=report.tell)
            report_end(training, report.tell)
    return trained(training, out, time.perf_counter() - called)


def choose_start(
    start_from: Path | str | None, recipe: Recipe | None, resume: bool, budget_s: float | None, began: float
) -> Start:
    """How a training starts, with the weights read that it starts from. Raises as `beginning_at`."""
    place = None if start_from is None else start_place(start_from)
    weights = None if place is None or resume else beginning_at(place, recipe)
    return Start(resume, place, weights, budget_s, began)


def saved_state(out: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and state of a run's last checkpoint."""
    return load_checkpoint(checkpoints(out / "checkpoints")[-1])


def report_end(training: Training, tell: Listener) -> None:
    why = loop.why_ended(training)
    tell({"event": "stop", "reason": "finished", "epoch": training.epoch, **({"message": why} if why else {})})


def is_resumable(out: Path) -> bool:
    return bool(checkpoints(out / "checkpoints"))


def plan_recipe(
    out: Path,
    dataset: Dataset,
    settings: Mapping[str, Any],
    start: Start,
    tell: Listener,
    progress: Progress,
) -> Recipe:
    """Measure the data, plan the recipe, report it with its reasons, and write RUN/fingerprint.json.

    Raises:
        DatasetError, UsageError: as `fingerprint.measure` and `plan.plan_from`.
    """
    fixed = dict(settings)
    if start.start_from is not None:  # other weights fit only the network that they were trained in
        theirs = recipe_of_start(Path(start.start_from))
        fixed = {**{name: getattr(theirs, name) for name in NETWORK_FIELDS}, **fixed}
    found = measure_data(dataset, lambda done, total: progress("measuring the data", done, total))
    planned = plan_from(found, fixed, start.budget_s)
    write_fingerprint(out / "fingerprint.json", planned)
    tell(planned.event())
    return planned.recipe


def record_data(out: Path, manifest: dict[str, Any], start: Start, values: Values) -> None:
    """Write RUN/data.json, or for a resumed run, verify it.

    Raises:
        UsageError: the data or the initial weights are not those with which the run was started.
    """
    recorded = out / "data.json"
    if start.resume:
        require_same_data(recorded, manifest)
        require_same_start(recorded, start.start_from)
    else:
        if values:
            manifest["values"] = values.to_json()
        if start.weights is not None:
            manifest["start"] = start.weights.facts
        write_whole(recorded, (json.dumps(manifest, indent=1) + "\n").encode())
    distributed.remember_job(out)


def resume_or_start(
    training: Training,
    data: EpochData,
    manifest: dict[str, Any],
    start: Start,
    saved: tuple[dict[str, Tensor], dict[str, Any]] | None,
    report: RunReport,
) -> None:
    """Restore the last checkpoint, or prepare the first step: initial weights, plan. In every process.

    Args:
        manifest: the data as RUN/data.json describes them.
        saved: tensors and state of the checkpoint to resume from.
    """
    training.clock.began = start.began
    recipe, planned_s = training.recipe, None if saved else start.budget_s
    distributed.from_first(vars(Briefing(recipe.to_toml(), manifest, data.pixels_C, planned_s)))
    share_pairs(data.pairs)
    if saved:
        restore(training, *saved)
        require_same_budget(report.out, training.budget, start.budget_s)
    elif wanted(recipe.model, recipe.encoder):
        rehearse_export(training.network, data.validation.preprocess)
    if start.weights is not None:
        untrained = take_weights(training, start.weights, some_inputs(data, next(training.network.parameters()).device))
        report.tell({"event": "start", **start.weights.facts, "anew": untrained})
    if planned_s is not None:
        fit_to_budget(training, data, planned_s, report.tell)
    start_alike(training)
    write_whole(report.out / "recipe.toml", training.recipe.to_toml().encode())


def some_inputs(data: EpochData, device: torch.device) -> list[torch.Tensor]:
    """Normalised network inputs of up to STATISTICS_IMAGES training images, evenly spaced; of large ones the middle."""
    preprocess, pairs = data.validation.preprocess, data.pairs
    chosen = range(0, len(pairs), max(len(pairs) // STATISTICS_IMAGES, 1))[:STATISTICS_IMAGES]
    images = (as_taken(middle_of(pairs[index][0]), pairs.bands) for index in chosen)
    return [preprocess.of_any_size(torch.from_numpy(image_HWN)[None]).to(device) for image_HWN in images]


def fit_to_budget(training: Training, data: EpochData, budget_s: float, tell: Listener) -> None:
    """Fit the recipe to a budget, by measuring the throughput of some steps."""
    recipe = replace(training.recipe, plan=(), last_step=0)
    pass_steps = len(loop.order_of(replace(training, recipe=recipe), data.pairs))
    device = next(training.network.parameters()).device
    budget, val_images = measure(recipe, data, budget_s, device, training.clock)
    recipe = replace(recipe, val_images=val_images)
    training.recipe, training.budget = budget.first_plan(recipe, pass_steps, training.clock.seconds()), budget
    val = {"val_images": val_images, "val": len(data.validation.pairs)} if val_images else {}
    tell({**budget.event(training.recipe, 0, training.clock.seconds()), **val})


# ── several processes ──


@dataclass(frozen=True)
class Briefing:
    """What the first of several processes sends to the others before the first step."""

    recipe: str  # as TOML
    manifest: dict[str, Any]  # the data as RUN/data.json describes them
    pixels_C: Sequence[int]
    budget_s: float | None  # None if nothing is to be planned


def share_pairs(pairs: Pairs) -> None:
    """Give what the first process found in the pairs to the others: where classes lie, and which pairs are large."""
    if distributed.processes() > 1:
        pairs.class_positions = pairs.class_positions.shared(distributed.tensors_from_first)
        for index in distributed.from_first(sorted(pairs.large)):
            pairs.open_large(index)


def train_along(out: Path, device: torch.device) -> Trained:
    """The work of every process but the first: train on its part of each batch. It writes no files into the run."""
    began = time.perf_counter()
    with stoppable() as stop, copies_for_others(out) as copies:
        briefing = Briefing(**distributed.from_first())
        recipe, dataset = Recipe.from_toml(briefing.recipe), dataset_from_manifest(briefing.manifest)
        pairs = pairs_of(dataset, recipe, copies)
        share_pairs(pairs[0])
        training, data = build_training(recipe, dataset.classes, pairs, briefing.pixels_C, device)
        if briefing.budget_s is not None:
            measure(replace(recipe, plan=()), data, briefing.budget_s, device)
        start_alike(training)
        loop.run_epochs(training, data, out, nobody, stop=stop)
    return trained(training, out, time.perf_counter() - began)


@contextmanager
def copies_for_others(out: Path) -> Iterator[DiskCopies]:
    """Copies of large images for a process that is not the first: those of the run, or if its folder is on another
    machine, own ones in a temporary folder."""
    if out.is_dir():
        yield DiskCopies(out / "cache")
    else:
        with tempfile.TemporaryDirectory(prefix="pixelwise-") as folder:
            yield DiskCopies(Path(folder))


def trained(training: Training, out: Path, seconds: float) -> Trained:
    return Trained(
        out,
        out / "model.onnx",
        training.best_epoch,
        training.best_miou,
        tuple(training.history),
        seconds,
        training.recipe.keeps_last,
        training.recipe.also_val,
        loop.why_ended(training),
    )
