"""A training as its user starts it: folder in, run directory out (see run_folder.py for what is in it)."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pixelwise.datasets.class_values import Given, quoted, values_of
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.splits import hashed_split
from pixelwise.doctor.findings import find_problems, require_sound, without_bad
from pixelwise.errors import DatasetError, OutOfMemoryError, OutputError, StoppedError, signal_name
from pixelwise.images.files import write_whole
from pixelwise.model.preprocess import Preprocess
from pixelwise.model.zoo import wanted
from pixelwise.records import ClassList, Dataset, Sample
from pixelwise.trace_events import Event, Listener, mend, nobody, to_all, to_file
from pixelwise.training import distributed, loop
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.data_summary import Progress, data_event, pixels_as_seen, show_flow
from pixelwise.training.experiment_trackers import TrackedRun, require_trackers, tracked
from pixelwise.training.export_run import export, rehearse_export, samples_of
from pixelwise.training.initial_weights import beginning_at, take_weights
from pixelwise.training.loader import Pairs
from pixelwise.training.out_of_memory import is_out_of_memory
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
from pixelwise.training.signals import stoppable
from pixelwise.training.throughput import measure
from pixelwise.training.training_state import CPU, Training, restore, start, start_alike
from pixelwise.training.validate import Validation


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    run: Path
    bundle: Path
    best_epoch: int
    best_miou: float
    epochs: tuple[Event, ...]
    seconds: float  # of this process, set-up and export included
    learnt_val: bool = False  # the val split too, so that `best_miou` flatters and the last epoch is the one kept
    ended_early: str | None = None  # why, in words, where not all epochs were needed


@distributed.together
def train(
    data: Path | str,
    out: Path | str,
    recipe: Recipe | None = None,
    *,
    start_from: Path | str | None = None,
    budget_s: float | None = None,
    resume: bool = False,
    skip_bad: bool = False,
    classes: Mapping[str, Given] | None = None,
    void: Given = (),
    masks: str = "",
    device: str = "auto",
    track: Sequence[str] = (),
    tell: Listener = nobody,
    progress: Progress = lambda what, done, total: None,
    began: float | None = None,
) -> Trained:
    """Train on the folder `data`, into the run directory `out`, which ends with a bundle.

    Where torchrun started several processes, each calls this; see docs/how-to/several-machines.md.

    Args:
        recipe: how; on `resume` the run's own recipe is used and this must be None or equal to it.
        start_from: a run directory whose best epoch's weights this training starts from, instead of ImageNet's. What
            depends on the classes starts anew where they are others.
        budget_s: seconds for all of it, evaluation and export included. The recipe's epochs, small views and steps are
            planned from the pace of the first steps; the plan is written into the run's recipe. On `resume` the run's
            own budget holds, and this must be None or equal to it.
        resume: go on from the last checkpoint in `out`.
        skip_bad: leave out pairs that are broken instead of refusing the dataset.
        classes: class name → the mask values that mean it: numbers, "1-99" for a range, "#rrggbb" for colours. On
            `resume` the run's own hold, and these must be left out or equal.
        void: mask values that mean unlabelled.
        masks: part of the names of the folders or files that are the masks, where several could be.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        track: trackers that follow the run: "tensorboard", "mlflow". A resumed run keeps those that it had.
        tell: hears every trace event, as RUN/trace.jsonl does.
        began: when the budget's clock began, as time.perf_counter() counts; None: now.

    Raises:
        DatasetError: the data are not sound; every problem is named.
        UsageError: `out` already holds a training, or holds none to resume; a mask value that no mask holds; the
            budget is too short; there is no such device; the recipe's batch cannot be shared out among the processes;
            or `start_from` holds no weights of this network.
        TrainingError: another process of this training was lost.
        RunLockedError: another process trains in `out`.
        DivergedError: the loss stopped being a number.
        OutOfMemoryError: a step, or the data, did not fit; a batch that does is named.
        WorkerError: processes that prepare batches died again and again.
        OutputError: `out` cannot be written: disk full, read-only, gone.
        StoppedError: Ctrl-C or SIGTERM; the step at hand is finished and saved first.
    """
    called = time.perf_counter()
    out, where = Path(out), distributed.choose_device(device)
    require_trackers(track)
    if not distributed.is_first():
        return train_along(out, where)
    if distributed.belongs_to_this_job(out) and checkpoints(out / "checkpoints"):
        resume, recipe, budget_s = True, None, None  # torchrun started this very command again
    recipe = choose_recipe(out, recipe, resume)
    distributed.require_equal_shares(recipe.batch)
    beginning = None if start_from is None or resume else beginning_at(Path(start_from), recipe)
    values = choose_values(out, values_of(classes, void, masks), resume)
    with stoppable() as stop:
        dataset = with_validation(open_dataset(data, seed=recipe.seed, **values.arguments()), recipe.seed)
        with locked(out), ExitStack() as stack:
            remove_leftovers(out)
            tensors, state = load_checkpoint(checkpoints(out / "checkpoints")[-1]) if resume else ({}, {})
            mend(out / "trace.jsonl", state.get("history", []))
            tell = to_all(to_file(out / "trace.jsonl"), tell)
            training: Training | None = None
            try:

                def record(manifest: dict[str, Any]) -> None:
                    if resume:
                        require_same_data(out / "data.json", manifest)
                        require_same_start(out / "data.json", start_from)
                    else:
                        if values:
                            manifest["values"] = values.to_json()
                        if beginning is not None:
                            manifest["start"] = beginning.facts
                        write_whole(out / "data.json", (json.dumps(manifest, indent=1) + "\n").encode())
                    distributed.remember_job(out)

                ready = prepare(dataset, record, recipe, skip_bad, tell, progress, where)
                training = ready.training
                training.clock.began = called if began is None else began
                distributed.from_first(
                    vars(Told(recipe.to_toml(), ready.manifest, ready.pixels_C, None if resume else budget_s))
                )
                if resume:
                    restore(training, tensors, state)
                    require_same_budget(out, training.budget, budget_s)
                elif wanted(recipe.model, recipe.encoder):
                    rehearse_export(training.network, ready.validation.preprocess)
                if beginning is not None:
                    tell({"event": "start", **beginning.facts, "anew": take_weights(training, beginning)})
                if budget_s is not None and not resume:
                    plan(ready, budget_s, tell)
                start_alike(training)
                write_whole(out / "recipe.toml", training.recipe.to_toml().encode())
                followed = TrackedRun(out, training.recipe, training.history)
                tell = to_all(tell, *stack.enter_context(tracked(track, followed)))
                best = loop.run_epochs(
                    training, ready.dataset, ready.pixels_C, ready.pairs, ready.validation, out, tell, progress, stop
                )
                if where.type != "cpu":  # a bundle's scores are those of its float32 weights on a CPU
                    best = None
                export(out, validation=ready.validation, measured=best, tell=tell)
            except (Exception, KeyboardInterrupt) as reason:
                clearer = tell_stop(reason, data, out, training, tell)
                if clearer is reason:
                    raise
                raise clearer from reason
            why = loop.why_ended(training)
            early = {"message": why} if why else {}
            tell({"event": "stop", "reason": "finished", "epoch": training.epoch, **early})
    seconds = time.perf_counter() - called
    return trained(training, out, seconds)


@dataclass(frozen=True)
class Told:
    """What the first of several processes tells the others before the first step."""

    recipe: str  # as TOML
    manifest: dict[str, Any]  # the data as RUN/data.json describes them
    pixels_C: Sequence[int]
    budget_s: float | None  # where there is one still to be planned for


def train_along(out: Path, device: torch.device) -> Trained:
    """What every process but the first does: learn from its part of each batch, as it is told. It writes nothing."""
    began = time.perf_counter()
    with stoppable() as stop:
        told = Told(**distributed.from_first())
        recipe, dataset = Recipe.from_toml(told.recipe), dataset_of(told.manifest)
        classes = len(dataset.classes)
        train_pairs, val_pairs = (
            Pairs(samples, dataset.mask_ids, classes, recipe.cache_mb)
            for samples in (learnt_from(dataset.splits, recipe), dataset.splits["val"])
        )
        training = start(recipe, classes, device)
        network = training.network
        preprocess = Preprocess(recipe.size, recipe.policy, network.mean, network.std, recipe.even_exposure)
        validation = Validation(val_pairs, preprocess, dataset.classes)
        if told.budget_s is not None:
            measure(replace(recipe, plan=()), classes, told.pixels_C, train_pairs, validation, told.budget_s, device)
        start_alike(training)
        loop.run_epochs(training, dataset, told.pixels_C, train_pairs, validation, out, nobody, stop=stop)
    return trained(training, out, time.perf_counter() - began)


def trained(training: Training, out: Path, seconds: float) -> Trained:
    return Trained(
        out,
        out / "model.onnx",
        training.best_epoch,
        training.best_miou,
        tuple(training.history),
        seconds,
        training.recipe.also_val,
        loop.why_ended(training),
    )


def dataset_of(manifest: dict[str, Any]) -> Dataset:
    """The dataset that `describe_data` described, where it lay then."""
    return Dataset(
        Path(manifest["root"]),
        manifest["layout"],
        ClassList.from_json(manifest["classes"]),
        {split: samples_of(rows) for split, rows in manifest["splits"].items()},
        {int(key): value for key, value in manifest["mask_ids"].items()},
        tuple(manifest["notes"]),
    )


@dataclass(frozen=True)
class Ready:
    """What is there before the first step."""

    dataset: Dataset
    pairs: Pairs
    pixels_C: Sequence[int]
    validation: Validation
    training: Training
    manifest: dict[str, Any]  # the data as RUN/data.json describes them


def prepare(
    dataset: Dataset,
    record: Callable[[dict[str, Any]], None],
    recipe: Recipe,
    skip_bad: bool,
    tell: Listener,
    progress: Progress,
    device: torch.device = CPU,
) -> Ready:
    """Check the data, read them, tell what is in them, and start a training that has not seen an image yet.

    Args:
        record: gets the description of the data once they are known to be sound.
    """
    used = {split: dataset.splits[split] for split in ("train", "val")}
    findings = find_problems(dataset, list(used), lambda done, total: progress("checking the data", done, total))
    if skip_bad:
        dataset = without_bad(dataset, findings)
        used = {split: dataset.splits[split] for split in ("train", "val")}
    else:
        require_sound(findings)
    manifest = describe_data(dataset, used)
    record(manifest)

    classes = len(dataset.classes)
    learnt = learnt_from(used, recipe)
    pairs = {
        name: Pairs(samples, dataset.mask_ids, classes, recipe.cache_mb)
        for name, samples in {**used, "train": learnt}.items()
    }
    pixels_C = pixels_as_seen(pairs["train"], recipe, classes, progress)
    problems = [vars(problem) for problem in findings.problems]
    if recipe.also_val:
        note = "Learnt from too (also_val): the val split. Its scores flatter, and the last epoch is kept."
        dataset = replace(dataset, notes=(*dataset.notes, note))
    tell(data_event(dataset, used, pixels_C, problems))

    training = start(recipe, classes, device)
    network = training.network
    preprocess = Preprocess(recipe.size, recipe.policy, network.mean, network.std, recipe.even_exposure)
    validation = Validation(pairs["val"], preprocess, dataset.classes)
    show_flow(network, preprocess, pairs["train"], dataset, tell)
    return Ready(dataset, pairs["train"], pixels_C, validation, training, manifest)


def plan(ready: Ready, budget_s: float, tell: Listener) -> None:
    """Fit the recipe to a budget, from the pace of the first steps."""
    training, classes = ready.training, len(ready.dataset.classes)
    recipe = replace(training.recipe, plan=(), last_step=0)
    pass_steps = len(loop.order_of(replace(training, recipe=recipe), ready.pairs))
    device = next(training.network.parameters()).device
    budget = measure(recipe, classes, ready.pixels_C, ready.pairs, ready.validation, budget_s, device, training.clock)
    training.recipe, training.budget = budget.first_plan(recipe, pass_steps, training.clock.seconds()), budget
    tell(budget.event(training.recipe, 0, training.clock.seconds()))


def tell_stop(
    reason: BaseException, data: Path | str, out: Path, training: Training | None, tell: Listener
) -> BaseException:
    """Tell the trace why a training stops. Returns the error for people, which says how to go on."""
    clearer = reason
    if isinstance(reason, KeyboardInterrupt):
        number = reason.number if isinstance(reason, StoppedError) else signal.SIGINT
        clearer = StoppedError(number, how_to_go_on(signal_name(number), data, out, training), at_once=True)
    elif isinstance(reason, OutputError) and not (out / "lock").exists():
        clearer = OutputError(
            f"{out}: the run directory vanished while training: deleted, renamed, or its disk was taken away "
            f"({reason}). Put it back and go on with --resume, or start anew."
        )
    elif distributed.lost_another(reason):
        clearer = distributed.lost_error()
    elif is_out_of_memory(reason):
        clearer = OutOfMemoryError(
            f"memory ran out ({reason}). Keep fewer decoded images (--set cache_mb=256), use fewer --workers or a "
            "smaller --size, or close other programs; a new recipe needs another --out."
        )
    name = type(reason).__name__ if not isinstance(reason, KeyboardInterrupt) else "KeyboardInterrupt"
    if isinstance(reason, StoppedError) and reason.number != signal.SIGINT:
        name = signal_name(reason.number)
    epoch, step = (training.epoch, training.step) if training else (0, 0)
    with suppress(OutputError):  # where nothing can be written any more, the first error says so
        tell({"event": "stop", "reason": name, "message": str(clearer), "epoch": epoch, "step": step})
    return clearer


def how_to_go_on(by: str, data: Path | str, out: Path, training: Training | None) -> str:
    kept = checkpoints(out / "checkpoints")
    if not kept or training is None:
        return f"Stopped by {by} before there was anything to keep. The same command starts again."
    step = int(kept[-1].stem.removeprefix("step-"))
    where = f"in epoch {training.epoch + 1}" if training.epoch < training.recipe.epochs else "after the last epoch"
    return (
        f"Stopped by {by} {where}; everything up to step {step} is kept. "
        f"Go on with: pixelwise train {quoted(str(data))} --out {quoted(str(out))} --resume"
    )


def with_validation(dataset: Dataset, seed: int) -> Dataset:
    """A dataset that has something to validate on: a fifth of the training split where no val split is given.

    Raises:
        DatasetError: there is nothing to train on, or too little to hold anything out.
    """
    train_samples = dataset.splits.get("train", ())
    if not train_samples:
        raise DatasetError(
            f"{dataset.root}: no training pairs; the splits are: {', '.join(dataset.splits) or 'none'}. Expected "
            "train/images and train/masks, or images/ and masks/.",
            dataset.problems,
        )
    if dataset.splits.get("val"):
        return dataset
    kept, held_out = hashed_split(train_samples, seed, 0.2)
    if not kept or not held_out:
        raise DatasetError(
            f"{dataset.root}: {len(train_samples)} pair is too few to train on: at least one to learn from and one to "
            "check on are needed. Add labelled images.",
            dataset.problems,
        )
    note = f"No val split: {len(held_out)} of {len(train_samples)} training pairs are held out (seed {seed})."
    splits = {**dataset.splits, "train": tuple(kept), "val": tuple(held_out)}
    return replace(dataset, splits=splits, notes=(*dataset.notes, note))


def learnt_from(splits: Mapping[str, tuple[Sample, ...]], recipe: Recipe) -> tuple[Sample, ...]:
    """The samples that weights are fitted to."""
    return (*splits["train"], *splits["val"]) if recipe.also_val else splits["train"]
