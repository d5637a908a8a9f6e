"""A search's trials in Optuna's database, OUT/study.db: open, resume, summarise, and keep the best."""

from __future__ import annotations

import math
import shutil
import statistics
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from pixelwise.errors import OutputError, TrainingError
from pixelwise.images.files import write_whole
from pixelwise.training.recipe import Recipe
from pixelwise.training.search.search_space import params_of, recipe_of
from pixelwise.training.search.trials_report import TrialRow

RANDOM_TRIALS = 6  # before TPE takes over; the first one is the given recipe
FULL_TRIALS = 3  # finished trials before any may be stopped early


def open_study(out: Path, start: Recipe, space: dict[str, BaseDistribution]) -> optuna.Study:
    """Open the search's study; trials of a killed process are queued again, to resume in their folders."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = (out / "study.db").resolve()
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{path}",
            study_name="pixelwise",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=FULL_TRIALS, n_warmup_steps=max(start.epochs // 4, 1)),
            load_if_exists=True,
        )
    except Exception as error:  # from SQLAlchemy or SQLite
        raise OutputError(f"{path}: the study cannot be opened: {error}") from error
    if not study.trials:
        own = params_of(start)
        study.enqueue_trial({name: own[name] for name in space})
    waiting = folders_of(study, TrialState.WAITING)
    for left in study.get_trials(states=(TrialState.RUNNING,), deepcopy=False):
        folder = left.user_attrs.get("folder")
        if folder not in waiting:
            study.enqueue_trial(left.params, user_attrs=dict(left.user_attrs))
        study.tell(left.number, state=TrialState.FAIL)
    return study


def folders_of(study: optuna.Study, *states: TrialState) -> set[str]:
    trials = study.get_trials(states=states or None, deepcopy=False)
    return {trial.user_attrs["folder"] for trial in trials if "folder" in trial.user_attrs}


def sampler_of(seed: int, finished: int) -> optuna.samplers.BaseSampler:
    """A new sampler for each trial: the state of a longer-lived one would be lost on resume."""
    number = int(np.random.SeedSequence([seed, finished]).generate_state(1)[0])
    return optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=number)


def expected_s(study: optuna.Study) -> float:
    """The median time of the finished trials, in seconds; 0 without one."""
    whole = study.get_trials(states=(TrialState.COMPLETE,), deepcopy=False)
    return statistics.median(trial.user_attrs["seconds"] for trial in whole) if whole else 0.0


def importances_of(study: optuna.Study) -> dict[str, float]:
    """The importance of each parameter for good scores (PED-ANOVA, Watanabe et al. 2023); they sum to 1.

    Trials that were stopped early count with their score so far, trials that diverged as the worst. Empty with fewer
    than five trials.
    """
    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED), deepcopy=False)
    scores = [row_of(trial).miou for trial in ended]
    known = [score for score in scores if not math.isnan(score)]
    if len(ended) < 5 or len(set(known)) < 2:
        return {}
    judged = optuna.create_study(direction="maximize")
    for trial, score in zip(ended, scores, strict=True):
        value = min(known) if math.isnan(score) or trial.user_attrs.get("diverged") else score
        judged.add_trial(optuna.create_trial(params=trial.params, distributions=trial.distributions, value=value))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.4)
    shares = optuna.importance.get_param_importances(judged, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def rows_of(study: optuna.Study, *states: str) -> tuple[TrialRow, ...]:
    """The trials in the order of their folders; for a restarted trial, its last attempt."""
    rows = {
        row.number: row
        for row in (row_of(trial) for trial in study.get_trials(deepcopy=False) if "folder" in trial.user_attrs)
    }
    return tuple(rows[number] for number in sorted(rows) if not states or rows[number].state in states)


def row_of(trial: FrozenTrial) -> TrialRow:
    state = {TrialState.COMPLETE: "done", TrialState.PRUNED: "stopped early"}.get(trial.state, "unfinished")
    if trial.user_attrs.get("diverged"):
        state = "diverged"
    reported = trial.intermediate_values
    miou = trial.value if trial.state == TrialState.COMPLETE else max(reported.values(), default=math.nan)
    assert miou is not None
    return TrialRow(
        number=int(trial.user_attrs["folder"]),
        state=state,
        miou=miou,
        epochs=max(reported, default=0),
        seconds=trial.user_attrs.get("seconds", 0.0),
        params=dict(trial.params),
    )


def best_of(study: optuna.Study, out: Path) -> FrozenTrial:
    """The best finished trial; without any, the unfinished trial with the best score."""
    whole = study.get_trials(states=(TrialState.COMPLETE,))
    if whole:
        return max(whole, key=lambda trial: (trial.value, -trial.number))
    usable = [
        trial
        for trial in study.get_trials()
        if "folder" in trial.user_attrs
        and (out / "trials" / trial.user_attrs["folder"] / "checkpoints" / "best.safetensors").is_file()
    ]
    if not usable:
        raise TrainingError(
            f"{out}: the loss of every trial diverged (trials.csv there lists them). Check the data (pixelwise check), "
            "or start from a lower --learning-rate with another --out."
        )
    return max(usable, key=lambda trial: row_of(trial).miou)


def keep_best(study: optuna.Study, out: Path, start: Recipe) -> None:
    """Link OUT/best to the best finished trial, and delete the weights of the others."""
    whole = study.get_trials(states=(TrialState.COMPLETE,), deepcopy=False)
    if not whole:
        return
    best = best_of(study, out)
    link_best(out, best, start)
    for trial in whole:
        if trial.number != best.number:
            drop_weights(out / "trials" / trial.user_attrs["folder"])


def link_best(out: Path, best: FrozenTrial, start: Recipe) -> None:
    part = out / ".best.part"
    part.unlink(missing_ok=True)
    part.symlink_to(Path("trials") / best.user_attrs["folder"], target_is_directory=True)
    part.replace(out / "best")
    write_whole(out / "recipe.toml", recipe_of(start, best.params).to_toml().encode())


def drop_weights(folder: Path) -> None:
    """Delete the weights of a trial; its trace and recipe are kept."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / "model.onnx").unlink(missing_ok=True)
