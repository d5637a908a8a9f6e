"""The plan: from a fingerprint to a recipe, every choice with its reason in one line. The rules: plan_rules.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.datasets.class_values import Given, GivenBands, values_of
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.images.files import utf8, write_whole
from pixelwise.records import OnProgress, no_progress
from pixelwise.trace_events import Event, finite
from pixelwise.training.band_ranges import with_ranges
from pixelwise.training.fingerprint import Fingerprint, measure
from pixelwise.training.plan_rules import (
    Choice,
    Draft,
    choose_augmentation,
    choose_batch,
    choose_input,
    choose_length,
    choose_loss,
    choose_network,
    choose_prediction,
    choose_separation,
)
from pixelwise.training.plan_warnings import warnings_of
from pixelwise.training.recipe import Recipe
from pixelwise.training.separation import separable
from pixelwise.training.validation_split import with_validation


@dataclass(frozen=True)
class TrainingPlan:
    """A recipe, why it is so, and what it cannot do."""

    fingerprint: Fingerprint
    recipe: Recipe
    choices: tuple[Choice, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "choices": [{"name": one.name, "value": one.value, "reason": one.reason} for one in self.choices],
            "warnings": list(self.warnings),
        }

    def event(self) -> Event:
        """The plan as a trace event."""
        return {"event": "recipe", **self.to_json()}


def plan(
    data: Path | str,
    settings: Mapping[str, Any] | None = None,
    *,
    classes: Mapping[str, Given] | None = None,
    void: Given = (),
    masks: str = "",
    bands: GivenBands = (),
    progress: OnProgress = no_progress,
) -> TrainingPlan:
    """Measure a dataset and derive the recipe that `train` would use, without training.

    Args:
        data: folder of images and masks, in any layout that `open_dataset` reads.
        settings: fields of the recipe by name that are to stay as given. None: all are planned.
        classes: class name → the mask values of the class, as in `train`. None: detected.
        void: mask values that mean unlabelled. Default: detected.
        masks: if an image has several masks: part of the folder or file name of the masks to use. Default: any.
        bands: bands of the images to use, in order: names, or numbers from 1; "nir,red", or ["nir", 3]. Default: all.
        progress: called with (pairs measured, pairs to measure).

    Returns:
        TrainingPlan: the recipe, what was measured (sizes in pixels, shares 0–1), each choice with its reason,
        warnings.

    Raises:
        DatasetError: the data cannot be recognised, or none of the training pairs can be read.
        UsageError: an unknown setting; a training step would not fit into the memory.

    Example:
        >>> import pixelwise as pw
        >>> found = pw.plan("my_data")
        >>> found.recipe.policy, found.fingerprint.train > 0
        ('fit', True)
    """
    fixed = dict(settings or {})
    seed = Recipe().with_values(fixed, "settings").seed
    values = values_of(classes, void, masks, bands)
    dataset = with_validation(open_dataset(data, seed=seed, **values.arguments()), seed)
    dataset = separable(dataset, Recipe().with_values(fixed, "settings").separate)
    return plan_from(measure(with_ranges(dataset), progress), fixed)


def plan_from(
    fingerprint: Fingerprint, fixed: Mapping[str, Any] | None = None, budget_s: float | None = None
) -> TrainingPlan:
    """The recipe for data with this fingerprint.

    Args:
        fixed: fields of the recipe that are set already, by name.
        budget_s: the time for the training; its steps are then planned from the measured throughput. None: no limit.

    Raises:
        UsageError: an unknown field or an invalid value; a step would not fit into the memory.
    """
    fixed = dict(fixed or {})
    Recipe().with_values(fixed)  # an unknown field or a wrong type is an error before anything else
    draft = Draft(fixed)
    choose_input(draft, fingerprint)
    choose_network(draft, fingerprint)
    choose_separation(draft, fingerprint)
    choose_batch(draft, fingerprint)
    choose_augmentation(draft, fingerprint)
    choose_loss(draft, fingerprint)
    choose_length(draft, fingerprint, budget_s)
    choose_prediction(draft, fingerprint)
    recipe = Recipe().with_values(draft.values, "the plan")
    return TrainingPlan(fingerprint, recipe, tuple(draft.choices), warnings_of(fingerprint, recipe))


def write_fingerprint(path: Path, planned: TrainingPlan) -> None:
    """Write what was measured, and the reasons of the plan. Raises OutputError."""
    value = {"fingerprint": planned.fingerprint.to_json(), **planned.to_json()}
    write_whole(path, utf8(json.dumps(finite(value), indent=1, ensure_ascii=False) + "\n"))
