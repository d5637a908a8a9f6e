"""Recipe search: many training runs, each with a recipe chosen from the results so far.

OUT/search.json       the first trial's recipe, the fixed fields, the data's digest
OUT/study.db          every trial in Optuna's format (SQLite); `optuna-dashboard sqlite:///OUT/study.db` opens it too
OUT/trials/0000 …     one run directory per trial; only the best trial keeps its weights
OUT/best              link to the best trial's run directory, with its bundle
OUT/recipe.toml       its recipe
OUT/trials.csv, OUT/search.html    the trials, and the importance of each parameter

TPE (Bergstra et al. 2011) proposes the trials, and the median rule (Golovin et al. 2017) stops them early: after an
epoch at which a trial's best mIoU so far is below the median of the finished trials at that epoch. Trial n depends only
on (seed, n, the earlier trials): a search that was killed and resumed runs the same trials.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import Trial, TrialState

from pixelwise.datasets.class_values import Given, GivenBands, values_of
from pixelwise.errors import DivergedError, StoppedError, UsageError, signal_name
from pixelwise.images.files import write_whole
from pixelwise.trace_events import Event, Listener, nobody
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.data_summary import Progress
from pixelwise.training.export_run import export
from pixelwise.training.recipe import Recipe
from pixelwise.training.run_directory import choose_values, locked
from pixelwise.training.search.search_space import recipe_of, space_of
from pixelwise.training.search.study import (
    best_of,
    drop_weights,
    expected_s,
    folders_of,
    importances_of,
    keep_best,
    link_best,
    open_study,
    row_of,
    rows_of,
    sampler_of,
)
from pixelwise.training.search.trials_report import TrialRow, write_report
from pixelwise.training.train import train


@dataclass(frozen=True)
class SearchResult:
    """The result of a search."""

    out: Path
    best: Path  # run directory of the best trial
    recipe: Recipe  # its recipe
    miou: float  # on the val split, which selected it: measure on another split too
    trials: tuple[TrialRow, ...]
    importances: dict[str, float]  # of each parameter, summing to 1, largest first; empty with too few trials
    seconds: float  # spent on trials, including earlier processes


class StoppedEarly(Exception):
    """This trial is not worth finishing."""


class OutOfTime(Exception):
    """Another epoch does not fit into the budget."""


def search(
    data: Path | str,
    out: Path | str,
    recipe: Recipe | None = None,
    *,
    trials: int = 20,
    budget_s: float = math.inf,
    fixed: Collection[str] = (),
    resume: bool = False,
    skip_bad: bool = False,
    classes: Mapping[str, Given] | None = None,
    void: Given = (),
    masks: str = "",
    bands: GivenBands = (),
    track: Sequence[str] = (),
    tell: Listener = nobody,
    tell_trial: Callable[[TrialRow], None] = lambda row: None,
    progress: Progress = lambda what, done, total: None,
) -> SearchResult:
    """Search for a better recipe: train many times, each recipe chosen from the results so far (TPE).

    The best trial is a run directory like any other, OUT/best, with its bundle. Unpromising trials stop early.

    Args:
        data: folder of images and masks, in any layout that `open_dataset` reads.
        out: folder of the search, created if it does not exist.
        recipe: the recipe of the first trial, whose fields the others vary. None: the defaults, or on `resume` the
            search's own recipe; a given one must equal it.
        trials: number of trials, including those stopped early. Resume with a larger number for more.
        budget_s: total seconds for all trials, over all processes. Default: no limit.
        fixed: names of recipe fields that must not change.
        resume: continue the search in `out`.
        skip_bad: skip broken pairs instead of raising DatasetError.
        classes: class name → the mask values of the class, as in `train`. None: detected.
        void: mask values that mean unlabelled. Default: detected.
        masks: part of the folder or file name of the masks to use, if an image has several. Default: any.
        bands: bands of the images to use, in order: names, or numbers from 1; "nir,red", or ["nir", 3].
        track: experiment trackers that each trial logs to: "tensorboard", "mlflow".
        tell: called with every trial's trace events (dicts).
        tell_trial: called with the result of each trial when it ends.
        progress: called with (current step, done, total).

    Returns:
        SearchResult: the best run, recipe and val mIoU (0–1), all trials, and the importance of each recipe field.

    Raises:
        UsageError: `out` already holds a search, holds none to resume, or holds one with another recipe or other data.
        TrainingError: the loss of every trial diverged.
        PixelwiseError: as `train`, except that a diverging loss only ends its trial.

    Example:
        >>> import pixelwise as pw
        >>> recipe = pw.Recipe(model="unet", size=(32, 64), batch=2, epochs=1)
        >>> found = pw.search("my_data", "my_search", recipe, trials=2)
        >>> len(found.trials), found.best.name
        (2, 'best')
    """
    out = Path(out)
    start, fixed = choose_search(out, recipe, sorted(fixed), resume)
    values = choose_values(out, values_of(classes, void, masks, bands), resume, "search.json")
    how: dict[str, Any] = {"skip_bad": skip_bad, "track": track, **values.arguments()}
    space = space_of(start, fixed)
    with locked(out, ["trials"]):
        if not resume:
            asked = {"recipe": start.to_toml(), "fixed": fixed, "values": values.to_json()}
            write_whole(out / "search.json", as_json(asked))
        study = open_study(out, start, space)
        work = Work(data, out, start, space, study, Clock(study, budget_s), how, trials, tell, progress)
        while (finished := work.finished()) < trials:
            trial = next_trial(work, finished)
            if trial is None:
                break
            in_time = run_trial(work, trial, finished + 1)
            tell_trial(row_of(study.trials[trial.number]))
            if not in_time:
                break
            require_same_data(out, work.folder(trial))
            keep_best(study, out, start)
            write_report(out, rows_of(study), importances_of(study), list(space))
        best = best_of(study, out)
        folder = out / "trials" / best.user_attrs["folder"]
        if not (folder / "model.onnx").is_file():
            export(folder)
        link_best(out, best, start)
        importances = importances_of(study)
        rows = rows_of(study)
        write_report(out, rows, importances, list(space))
    found = recipe_of(start, best.params)
    return SearchResult(out, out / "best", found, row_of(best).miou, rows, importances, work.clock.spent_s)


@dataclass(frozen=True)
class Work:
    """A search in progress."""

    data: Path | str
    out: Path
    start: Recipe
    space: dict[str, BaseDistribution]
    study: optuna.Study
    clock: Clock
    how: Mapping[str, Any]  # the other arguments of `train`
    trials: int
    tell: Listener
    progress: Progress

    def finished(self) -> int:
        return len(rows_of(self.study, "done", "stopped early", "diverged"))

    def folder(self, trial: Trial) -> Path:
        return self.out / "trials" / str(trial.user_attrs["folder"])


def next_trial(work: Work, finished: int) -> Trial | None:
    """The next trial: one that an earlier process left unfinished, or a new one; None if the budget is spent."""
    study = work.study
    waiting = study.get_trials(states=(TrialState.WAITING,), deepcopy=False)
    if not waiting and work.clock.left_s() < expected_s(study):
        return None
    study.sampler = sampler_of(work.start.seed, finished)
    trial = study.ask(work.space)
    if "folder" not in trial.user_attrs:
        trial.set_user_attr("folder", f"{len(folders_of(study)):04d}")
    return trial


def run_trial(work: Work, trial: Trial, number: int) -> bool:
    """Train with one recipe, resume an earlier process if there is one, and record the outcome.

    Returns:
        False if the budget ended before the trial did, else True.
    """
    study, clock, folder = work.study, work.clock, work.folder(trial)
    recipe = recipe_of(work.start, trial.params)

    def judge(event: Event) -> None:
        miou, epoch = event["miou"], event["epoch"]
        if not math.isnan(miou):
            trial.report(miou, epoch)
        if epoch < recipe.epochs:
            if trial.should_prune():
                raise StoppedEarly
            if clock.left_s() < event["seconds"]:
                raise OutOfTime

    def listen(event: Event) -> None:
        work.tell(event)
        if event["event"] == "epoch":
            clock.note(trial)
            judge(event)

    def show(what: str, done: int, total: int) -> None:
        work.progress(f"trial {number} of {work.trials}: {what}", done, total)

    saved = checkpoints(folder / "checkpoints")
    clock.start()
    try:
        if saved:
            for event in load_checkpoint(saved[-1])[1]["history"]:
                judge(event)
        elif folder.exists():
            shutil.rmtree(folder)  # started, but without a finished epoch
        done = train(work.data, folder, recipe, resume=bool(saved), tell=listen, progress=show, **work.how)
        clock.note(trial)
        study.tell(trial, done.best_miou)
    except StoppedEarly:
        drop_weights(folder)
        study.tell(trial, state=TrialState.PRUNED)
    except DivergedError:
        clock.note(trial)
        drop_weights(folder)
        trial.set_user_attr("diverged", True)
        study.tell(trial, state=TrialState.PRUNED)
    except OutOfTime:
        return False
    except StoppedError as stopped:
        raise StoppedError(
            stopped.number,
            f"Stopped by {signal_name(stopped.number)} in trial {number}. "
            f"Resume with: pixelwise train {work.data} --out {work.out} --search {work.trials} --resume",
            stopped.at_once,
        ) from stopped
    return True


class Clock:
    """The time spent on trials, including earlier processes; saved with each trial."""

    def __init__(self, study: optuna.Study, budget_s: float) -> None:
        self.budget_s = budget_s
        self.spent_s = sum(row.seconds for row in rows_of(study))
        self.since = time.monotonic()

    def start(self) -> None:
        self.since = time.monotonic()

    def left_s(self) -> float:
        return self.budget_s - self.spent_s

    def note(self, trial: Trial) -> None:
        """Add the time since the last call."""
        now = time.monotonic()
        passed_s, self.since = now - self.since, now
        self.spent_s += passed_s
        trial.set_user_attr("seconds", trial.user_attrs.get("seconds", 0.0) + passed_s)


# ── starting and resuming ──


def choose_search(
    out: Path, recipe: Recipe | None, fixed: Sequence[str], resume: bool
) -> tuple[Recipe, tuple[str, ...]]:
    """The first trial's recipe and the fixed fields; a resumed search keeps its own."""
    there = out / "search.json"
    unknown = [name for name in fixed if name not in vars(Recipe())]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is not a field of a recipe, so it cannot be fixed.")
    if not resume:
        if there.exists() or checkpoints(out / "checkpoints") or (out / "model.onnx").exists():
            kind = "search" if there.exists() else "training"
            raise UsageError(f"{out}: already holds a {kind}. Resume it with --resume, or choose another --out.")
        return recipe or Recipe(), tuple(fixed)
    if not there.exists():
        raise UsageError(f"{out}: holds no search to resume. Leave out --resume to start one there.")
    asked = json.loads(there.read_text(encoding="utf-8"))
    own = Recipe.from_toml(asked["recipe"], str(there))
    if recipe is not None and recipe != own:
        different = [name for name, value in vars(own).items() if getattr(recipe, name) != value]
        raise UsageError(
            f"{out}: the search was started with another recipe (different: {', '.join(different)}). Resume without "
            "options that change the recipe, or start over with another --out."
        )
    return own, tuple(asked["fixed"])


def require_same_data(out: Path, folder: Path) -> None:
    """All trials must use the data of the first one."""
    asked = json.loads((out / "search.json").read_text(encoding="utf-8"))
    digest = json.loads((folder / "data.json").read_text(encoding="utf-8"))["sha256"]
    if "data" not in asked:
        write_whole(out / "search.json", as_json({**asked, "data": digest}))
    elif asked["data"] != digest:
        raise UsageError(
            f"{folder}: trained on other data than the earlier trials (SHA-256 {digest[:12]}…, before "
            f"{asked['data'][:12]}…). Restore them, or start over with another --out."
        )


def as_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
