"""The search space of a recipe search; a trial's parameters ↔ its recipe."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from pixelwise.errors import UsageError
from pixelwise.training.recipe import Recipe


@dataclass(frozen=True)
class SearchRange:
    """A number from `low` to `high`; `log`: on a logarithmic scale."""

    low: float
    high: float
    log: bool = False


# If the first recipe lies outside a range, the range is widened to include it. Model, encoder, sizes and epochs are not
# searched: they trade time for accuracy, which is the user's decision.
SPACE: dict[str, SearchRange | tuple[float, ...]] = {
    "learning_rate": SearchRange(5e-4, 8e-3, log=True),
    "encoder_rate": SearchRange(0.05, 1.0, log=True),  # if the encoder is pretrained
    "weight_decay": SearchRange(0.002, 0.2, log=True),
    "class_power": SearchRange(0.0, 0.75),
    "dice": SearchRange(0.0, 1.0),
    "ema": (0.95, 0.98, 0.99, 0.995),
    "light": SearchRange(0.0, 1.5),
    "zoom_smallest": SearchRange(0.5, 1.0),  # the two numbers of the recipe's zoom
    "zoom_largest": SearchRange(1.0, 2.5),
    "batch": (2, 4, 8),
}


def space_of(start: Recipe, fixed: Collection[str]) -> dict[str, BaseDistribution]:
    """The search space as Optuna distributions: SPACE without fixed fields and fields without effect on this recipe.

    Raises:
        UsageError: nothing is left to search.
    """
    space: dict[str, BaseDistribution] = {}
    own = params_of(start)
    for name, choices in SPACE.items():
        field = "zoom" if name.startswith("zoom_") else name
        if field in fixed or (name == "encoder_rate" and (start.model == "unet" or not start.pretrained)):
            continue
        if isinstance(choices, SearchRange):
            low, high = min(choices.low, own[name]), max(choices.high, own[name])
            space[name] = FloatDistribution(low, high, log=choices.log and low > 0)
        else:
            space[name] = CategoricalDistribution(sorted({*choices, own[name]}))
    if not space:
        raise UsageError(f"nothing is left to search: {', '.join(SPACE)} are all fixed. Leave at least one free.")
    return space


def params_of(recipe: Recipe) -> dict[str, float]:
    """A recipe's parameters in the search space."""
    values = {**vars(recipe), "zoom_smallest": recipe.zoom[0], "zoom_largest": recipe.zoom[1]}
    return {name: values[name] for name in SPACE}


def recipe_of(start: Recipe, params: dict[str, Any]) -> Recipe:
    """The recipe `start` with a trial's parameters, rounded to four digits; the inverse of `params_of`."""
    values = {name: value if isinstance(value, int) else float(f"{value:.4g}") for name, value in params.items()}
    zoom = (values.pop("zoom_smallest", start.zoom[0]), values.pop("zoom_largest", start.zoom[1]))
    return start.with_values({**values, "zoom": zoom})
