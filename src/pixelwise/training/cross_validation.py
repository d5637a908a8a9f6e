"""Cross-validation: K trainings, each of which holds out another part of the data, and one bundle of the K networks.

RUN/folds.json     the folds, what is done, and at the end the out-of-fold scores and suspected label errors
RUN/recipe.toml    the recipe of every fold
RUN/data.json      the data of all folds together
RUN/fold-1 …       one run directory per fold; its val split is what it holds out
RUN/out-of-fold.html, RUN/out-of-fold.csv    the report: each image is scored by the network that was not trained on it
RUN/model.onnx     the bundle: the mean of the K networks' probabilities

Each fold keeps its last epoch: an epoch chosen by its scores on held-out images would make these scores too high.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.bundle.graph_template import seconds_to_trace
from pixelwise.bundle.model_card import OUT_OF_FOLD
from pixelwise.datasets.class_values import Given, GivenBands, Values, quoted, values_of
from pixelwise.datasets.dataset_toml import read_settings
from pixelwise.datasets.folds import grouped_folds, pooled_groups
from pixelwise.datasets.groups import Groups
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.errors import StoppedError, UsageError, signal_name
from pixelwise.evaluation.evaluation_report import EvaluationReport
from pixelwise.evaluation.out_of_fold import Fold, evaluate_folds, seconds_per_image
from pixelwise.images.files import write_whole
from pixelwise.records import Dataset, Sample
from pixelwise.trace_events import Event, Listener, finite, nobody
from pixelwise.training import distributed
from pixelwise.training.band_ranges import with_ranges
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.data_summary import Progress
from pixelwise.training.ensemble_bundle import description, export_ensemble, require_bundle_size, unscored
from pixelwise.training.fold_record import (
    RECORD,
    as_json,
    chosen_seed,
    first_recipe,
    read_record,
    require_same,
    write_record,
)
from pixelwise.training.fold_time import FoldBudget, FoldProgress
from pixelwise.training.initial_weights import start_place
from pixelwise.training.recipe import Recipe
from pixelwise.training.run_directory import choose_values, describe_data, locked, require_same_data
from pixelwise.training.separation import separable
from pixelwise.training.signals import stoppable
from pixelwise.training.time_budget import TooShortError
from pixelwise.training.train import Start, Trained, train
from pixelwise.training.validation_split import with_validation

TIMED_IMAGES = 4  # of the first fold are scored to estimate the time of the last steps


@dataclass(frozen=True)
class CrossValidation:
    """The result of a cross-validation."""

    run: Path
    bundle: Path  # the mean of the folds' networks
    folds: tuple[Event, ...]  # of each fold: run, images, epochs, miou on what it held out, seconds
    report: EvaluationReport  # out-of-fold scores
    seconds: float  # of this process
    has_test: bool = False  # the dataset has a test split, on which the bundle can be measured


def cross_validate(
    data: Path | str,
    out: Path | str,
    recipe: Recipe | None = None,
    *,
    folds: int = 5,
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
    tell: Listener = nobody,
    progress: Progress = lambda what, done, total: None,
    began: float | None = None,
) -> CrossValidation:
    """Train `folds` times, each time without another part of the data, and score every image by the network that was
    not trained on it. The networks are averaged in one bundle.

    The train and val splits are pooled and divided again; groups (slices of a volume, a patient's images) stay whole.
    The test split is not touched. A prediction with the bundle runs all networks.

    Args:
        data: folder of images and masks, in any layout that `open_dataset` reads.
        out: folder of the cross-validation, created if it does not exist. The bundle is OUT/model.onnx.
        recipe: of every fold. None: planned from the data of the first fold, or on `resume` the one that it was started
            with, which it must equal if given. Every fold keeps its last epoch.
        folds: number of parts, 2 or more.
        settings: fields of the recipe by name, as in `train`. None: none.
        start_from: run directory or bundle whose weights every fold starts from, or a built-in model. The scores are
            honest only if it was not trained on these images. None: ImageNet weights.
        budget_s: time limit in seconds for all folds, the report and the bundle. None: no limit.
        resume: continue in the fold that was stopped.
        skip_bad: skip broken pairs instead of raising DatasetError.
        classes: class name → the mask values of the class, as in `train`. None: detected.
        void: mask values that mean unlabelled. Default: detected.
        masks: part of the folder or file name of the masks to use, if an image has several. Default: any.
        bands: bands of the images to use, in order, as in `train`. Default: all.
        device: "auto", "cpu", "cuda" or "mps", as in `train`.
        track: experiment trackers that each fold logs to: "tensorboard", "mlflow".
        tell: called with every fold's trace events (dicts), with the number of the `fold` in them, and with a "fold"
            event when one ends.
        progress: called with (what is being done, done, total).
        began: when the budget's clock started, as time.perf_counter() counts. None: now.

    Returns:
        CrossValidation: the bundle, the folds, and the out-of-fold scores (0–1).

    Raises:
        UsageError: fewer groups than folds; `out` already holds a training, or none to resume; another recipe, budget,
            or other data on `resume`; a recipe with also_val, target_miou or patience; several processes.
        PixelwiseError: as `train` and `evaluate`.

    Example:
        >>> import pixelwise as pw
        >>> recipe = pw.Recipe(model="unet", size=(32, 64), batch=2, epochs=1)
        >>> done = pw.cross_validate("my_data", "my_folds", recipe, folds=2)
        >>> len(done.folds), done.report.images, done.bundle.name
        (2, 6, 'model.onnx')
    """
    called = time.perf_counter()
    out, settings = Path(out), dict(settings or {})
    require_one_process()
    recorded = read_record(out, resume)
    values = choose_values(out, values_of(classes, void, masks, bands), resume, RECORD)
    clock = called if began is None else began
    with locked(out, ["."]), stoppable(), reported_stops(data, out, folds):
        seed = chosen_seed(out, recipe, settings, recorded)
        separate = (recipe or Recipe()).with_values(dict(settings), "settings").separate
        if recorded is not None:
            separate = Recipe.from_file(out / "recipe.toml").separate
        dataset = separable(open_dataset(data, seed=seed, **values.arguments()), separate)
        dataset = with_ranges(dataset)
        groups, parts = divided(dataset, folds, seed)
        start_from = None if start_from is None else start_place(start_from)
        asked: dict[str, Any] = {
            "folds": folds,
            "budget_s": budget_s,
            "start_from": str(start_from) if start_from else None,
        }
        asked |= {"held_out": [[sample.name for sample in held_out] for _, held_out in parts]}
        if recorded is None:
            first = Start(False, start_from, None, FoldBudget(budget_s, folds).share_s(1, 0.0), clock)
            chosen = first_recipe(out, fold_of(dataset, parts[0], ""), recipe, settings, first, tell, progress)
            require_bundle_size(chosen, len(dataset.classes), folds)
            record: dict[str, Any] = {**asked, "values": values.to_json(), "groups": groups.why, "done": []}
            write_whole(out / "recipe.toml", chosen.to_toml().encode())
            write_record(out, record)
        else:
            record, chosen = recorded, require_same(out, recorded, asked, recipe, settings)
        how = {"start_from": start_from, "skip_bad": skip_bad, "device": device, "track": track, **values.arguments()}
        budget = FoldBudget(record["budget_s"], folds, record.get("last_s"))
        work = FoldRuns(data, out, dataset, parts, chosen, values, record, budget, how, tell, progress)
        for number in range(len(record["done"]) + 1, folds + 1):
            clock = run_fold(work, number, clock)
        report = finish(work, groups)
    spent_s, has_test = time.perf_counter() - called, bool(dataset.splits.get("test"))
    return CrossValidation(out, out / "model.onnx", tuple(record["done"]), report, spent_s, has_test)


@dataclass(frozen=True)
class FoldRuns:
    """A cross-validation in progress."""

    data: Path | str
    out: Path
    dataset: Dataset
    parts: Sequence[tuple[Sequence[Sample], Sequence[Sample]]]  # of each fold: trained on, held out
    recipe: Recipe
    values: Values
    record: dict[str, Any]  # RUN/folds.json
    budget: FoldBudget
    how: Mapping[str, Any]  # the other arguments of `train`
    tell: Listener
    progress: Progress

    @property
    def folds(self) -> int:
        return len(self.parts)

    def run(self, number: int) -> Path:
        return self.out / f"fold-{number}"


# ── the folds ──


def divided(
    dataset: Dataset, folds: int, seed: int
) -> tuple[Groups, Sequence[tuple[Sequence[Sample], Sequence[Sample]]]]:
    """The groups of the train and val splits together, and their folds.

    Raises:
        DatasetError: there are no training pairs.
        UsageError: fewer groups or images than folds.
    """
    splits = {split: dataset.splits.get(split, ()) for split in ("train", "val")}
    samples = (*splits["train"], *splits["val"])
    if not samples:
        with_validation(dataset, seed)  # raises
    groups = pooled_groups(splits, read_settings(dataset.root).groups)
    return groups, grouped_folds(samples, folds, seed, groups)


def fold_of(dataset: Dataset, part: tuple[Sequence[Sample], Sequence[Sample]], note: str) -> Dataset:
    """The dataset with one fold's samples as its train and val splits."""
    splits = {**dataset.splits, "train": tuple(part[0]), "val": tuple(part[1])}
    return replace(dataset, splits=splits, notes=(*dataset.notes, *([note] if note else [])))


def run_fold(work: FoldRuns, number: int, clock: float) -> float:
    """Train one fold, or resume it, and record its result. Returns the time at its end.

    Args:
        clock: time.perf_counter() at the end of the fold before.
    """
    run, part, done = work.run(number), work.parts[number - 1], work.record["done"]
    saved = checkpoints(run / "checkpoints")
    if not saved and run.exists():
        shutil.rmtree(run)  # started, but without a checkpoint
    if (work.out / "data.json").exists():
        require_same_data(work.out / "data.json", pooled(work))
    share_s = None if saved else work.budget.share_s(number, sum(fold["seconds"] for fold in done))
    earlier_s = done[-1]["seconds"] if done else None
    shown = FoldProgress(number, work.folds, work.recipe.epochs, earlier_s, work.tell, work.progress)
    note = f"Fold {number} of {work.folds}: its val split is what it holds out."

    def trained_with(recipe: Recipe | None, budget_s: float | None) -> Trained:
        return train(
            work.data, run, recipe, resume=bool(saved), budget_s=budget_s, began=clock,
            splits=lambda dataset: fold_of(dataset, part, note), tell=shown.tell, progress=shown.progress, **work.how,
        )  # fmt: skip

    try:
        trained = trained_with(None if saved else work.recipe, share_s)
    except TooShortError as error:
        shutil.rmtree(run)
        same_steps = after_the_budget(work, number, error)
        shown.epochs = same_steps.epochs
        trained = trained_with(same_steps, None)
    state = load_checkpoint(checkpoints(run / "checkpoints")[-1])[1]
    scored = read_bundle(run / "model.onnx").metadata.provenance["metrics"]
    ended = time.perf_counter()
    fold = {"run": run.name, "held_out": len(held_out(work, number)), "epochs": len(trained.epochs),
            "miou": scored["miou"], "seconds": round(max(ended - clock, state["used_s"]), 2)}  # fmt: skip
    done.append(finite(fold))
    if number == 1:
        write_whole(work.out / "data.json", as_json({**pooled(work), **recorded_values(work.values)}))
        if work.budget.total_s is not None:
            image_s = seconds_per_image(Fold(run, held_out(work, 1)), work.dataset, TIMED_IMAGES)
            export_s = (
                state["budget"]["export_s"] + seconds_to_trace()
            )  # the average is traced once more, network by network
            work.budget.measured(image_s, sum(len(part[1]) for part in work.parts), export_s)
            work.record["last_s"] = work.budget.last_s
    write_record(work.out, work.record)
    work.tell({"event": "fold", "fold": number, "folds": work.folds, **done[-1]})
    return ended


def held_out(work: FoldRuns, number: int) -> tuple[Sample, ...]:
    """What a finished fold held out; without broken pairs, if these were to be skipped."""
    data = json.loads((work.run(number) / "data.json").read_text(encoding="utf-8"))
    names = {row[0] for row in data["splits"]["val"]}
    return tuple(sample for sample in work.parts[number - 1][1] if sample.name in names)


def pooled(work: FoldRuns) -> dict[str, Any]:
    """The content of RUN/data.json: what the first fold trained on and held out."""
    data = json.loads((work.run(1) / "data.json").read_text(encoding="utf-8"))
    names = {row[0] for rows in data["splits"].values() for row in rows}
    samples = [sample for part in work.parts[0] for sample in part if sample.name in names]
    return describe_data(work.dataset, {"train": samples})


def recorded_values(values: Values) -> dict[str, Any]:
    return {"values": values.to_json()} if values else {}


def after_the_budget(work: FoldRuns, number: int, error: TooShortError) -> Recipe:
    """How to train a fold for which a budget leaves too little time: as the first one, so that nothing is lost.

    Raises:
        TooShortError: it is the first one.
    """
    if number == 1:
        raise TooShortError(
            f"--budget is divided among {work.folds} folds, the report and the bundle. For one fold: {error}"
        ) from error
    what = f"the budget leaves too little time for fold {number}, which therefore trains as many steps as fold 1"
    work.tell({"event": "warning", "message": f"{what} ({error})"})
    return Recipe.from_file(work.run(1) / "recipe.toml")


# ── the last steps ──


def finish(work: FoldRuns, groups: Groups) -> EvaluationReport:
    """Score every image out of fold, write the report, and export the bundle."""
    folds = [Fold(work.run(number), held_out(work, number)) for number in range(1, work.folds + 1)]
    report = evaluate_folds(
        folds, work.dataset, name=str(work.out), html=work.out / "out-of-fold.html",
        csv=work.out / "out-of-fold.csv", notes=notes_of(work, groups),
        progress=lambda done, total: work.progress("scoring out of fold", done, total),
    )  # fmt: skip
    metrics = {
        "split": OUT_OF_FOLD,
        "folds": work.folds,
        "images": report.images,
        **report.scores.to_json(report.classes),
        "calibration_error": {"after": round(report.analysis.calibration.error, 5)},
    }
    export_ensemble([fold.run for fold in folds], work.out, work.recipe, metrics, tell=work.tell)
    write_record(work.out, {**work.record, "ensemble": description(work.folds), "out_of_fold": report.to_json()})
    return report


def notes_of(work: FoldRuns, groups: Groups) -> tuple[str, ...]:
    """How the data were divided, for the report."""
    of = f"{len(groups)} groups, which stay whole ({groups.why})" if groups.of else "images"
    pool = "its train and val splits together" if work.dataset.splits.get("val") else "its train split"
    left = "; the test split was not used" if work.dataset.splits.get("test") else ""
    return (
        f"Cross-validation of {pool}{left}: {work.folds} folds of {of}. Each image is scored by the network of the "
        "fold that held it out, after its last epoch.",
        f"model.onnx averages the {work.folds} networks. {unscored(work.folds)}",
    )


@contextmanager
def reported_stops(data: Path | str, out: Path, folds: int) -> Iterator[None]:
    """A signal's error says how to resume the whole, not one fold."""
    try:
        yield
    except StoppedError as stopped:
        raise StoppedError(
            stopped.number,
            f"Stopped by {signal_name(stopped.number)}. Resume with: pixelwise train {quoted(str(data))} "
            f"--out {quoted(str(out))} --folds {folds} --resume",
            stopped.at_once,
        ) from stopped


def require_one_process() -> None:
    if distributed.launched():
        raise UsageError(
            f"--folds trains one fold after the other in one process, but torchrun started {distributed.processes()}. "
            "Start it without torchrun, or train without --folds."
        )
