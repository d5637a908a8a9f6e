"""The record of a cross-validation, RUN/folds.json, and its recipe: written at the start, verified on resume."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelwise.errors import UsageError
from pixelwise.images.files import write_whole
from pixelwise.records import Dataset
from pixelwise.trace_events import Listener
from pixelwise.training.checkpoint import checkpoints
from pixelwise.training.data_summary import Progress
from pixelwise.training.recipe import Recipe
from pixelwise.training.train import Start, plan_recipe

RECORD = "folds.json"
JUDGED = "their scores on held-out images would decide when to stop, and then be too high"


def read_record(out: Path, resume: bool) -> dict[str, Any] | None:
    """RUN/folds.json of a cross-validation to resume; None for a new one.

    Raises:
        UsageError: `out` already holds a training, or no cross-validation to resume.
    """
    there = out / RECORD
    if resume:
        if not there.exists():
            raise UsageError(f"{out}: holds no cross-validation to resume. Leave out --resume to start one there.")
        record: dict[str, Any] = json.loads(there.read_text(encoding="utf-8"))
        return record
    begun = there.exists() and any(out.glob("fold-*/checkpoints/step-*"))  # an error in the data leaves nothing to keep
    if begun or checkpoints(out / "checkpoints") or (out / "model.onnx").exists():
        kind = "cross-validation" if begun else "training"
        raise UsageError(f"{out}: already holds a {kind}. Resume it with --resume, or choose another --out.")
    return None


def write_record(out: Path, record: dict[str, Any]) -> None:
    write_whole(out / RECORD, as_json(record))


def as_json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def chosen_seed(out: Path, recipe: Recipe | None, settings: dict[str, Any], recorded: dict[str, Any] | None) -> int:
    if recorded is not None:
        return Recipe.from_file(out / "recipe.toml").seed
    return (recipe or Recipe()).with_values(settings, "settings").seed


def first_recipe(
    out: Path,
    dataset: Dataset,
    recipe: Recipe | None,
    settings: dict[str, Any],
    start: Start,
    tell: Listener,
    progress: Progress,
) -> Recipe:
    """The recipe of every fold, planned from the first one if none is given.

    Args:
        start: of the first fold.

    Raises:
        UsageError: a recipe that uses the held-out images.
    """
    asked = (recipe or Recipe()).with_values(settings, "settings")
    if asked.also_val:
        raise UsageError("also_val trains on what a fold holds out, so that nothing would score it: leave it out.")
    if asked.target_miou or asked.patience:
        raise UsageError(f"target_miou and patience do not go with --folds: {JUDGED}. Leave them out.")
    if recipe is None:
        asked = plan_recipe(out, dataset, settings, start, tell, progress)
    return replace(asked, keep="last")


def require_same(
    out: Path, recorded: dict[str, Any], asked: dict[str, Any], recipe: Recipe | None, settings: dict[str, Any]
) -> Recipe:
    """The recipe of a cross-validation to resume.

    Raises:
        UsageError: it was started with other folds, another budget, recipe or start, or the images are not the same.
    """
    for name, option in {"folds": "--folds", "budget_s": "--budget", "start_from": "--start-from"}.items():
        if asked[name] not in (None, recorded[name]):
            was = f"{option} {recorded[name]}" if recorded[name] is not None else f"no {option}"
            raise UsageError(
                f"{out}: was started with {was}. Resume without another {option}, or choose another --out."
            )
    own = Recipe.from_file(out / "recipe.toml")
    wanted = replace((recipe or own).with_values(settings, "settings"), keep="last")
    if wanted != own:
        different = [name for name, value in vars(own).items() if getattr(wanted, name) != value]
        raise UsageError(
            f"{out}: was started with another recipe (different: {', '.join(different)}). Resume without options that "
            "change the recipe, or start over with another --out."
        )
    if recorded["held_out"] != asked["held_out"]:
        raise UsageError(
            f"{out}: the images or their groups changed since it was started, so the folds would be others. Restore "
            "them, or start over with another --out."
        )
    return own
