"""What `train`, `train --search` and `train --find-lr` have in common: the parsed options, and the recipe they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelwise.training.recipe import Recipe


@dataclass(frozen=True)
class TrainOptions:
    """The options of one call of `pixelwise train`."""

    data: Path
    out: Path
    recipe: Recipe | None  # of --recipe
    settings: dict[str, Any]  # the parts of the recipe that options set
    start_from: Path | None
    budget_s: float | None
    resume: bool
    skip_bad: bool
    values: dict[str, Any]  # --class, --void, --masks and --bands
    track: Sequence[str]
    device: str
    json_file: Path | None
    began: float  # time.perf_counter() when the command started, before torch was imported: a budget includes that

    @property
    def data_words(self) -> str:
        """The data folder and what was said about it, as on the command line."""
        from pixelwise.datasets.class_values import quoted, values_of

        return " ".join(part for part in (quoted(str(self.data)), values_of(**self.values).options()) if part)


def recipe_values(settings: list[str], named: dict[str, Any]) -> dict[str, Any]:
    """The parts of the recipe that --set and options of their own name."""
    values = {**parse_settings(settings), **{name: value for name, value in named.items() if value is not None}}
    return {**values, "size": parse_size(values["size"])} if isinstance(values.get("size"), str) else values


def recipe_from(file: Path | None) -> Recipe | None:
    """The recipe of --recipe."""
    from pixelwise.training.recipe import Recipe

    return Recipe.from_file(file) if file else None


def first_recipe(options: TrainOptions) -> Recipe:
    """The recipe of --recipe and the other options; without --recipe, the plan's."""
    from pixelwise.training.plan import plan

    if options.recipe:
        return options.recipe.with_values(options.settings, "command line")
    return plan(options.data, options.settings, **options.values).recipe


def parse_size(text: str) -> tuple[int, int]:
    """ "256x320" → (256, 320), height first. "256" is a square."""
    from pixelwise.errors import UsageError

    parts = text.lower().replace("×", "x").split("x")
    if not all(part.strip().isdecimal() for part in parts) or len(parts) > 2:
        raise UsageError(f"--size {text}: expected HEIGHTxWIDTH in pixels, such as 256x256.")
    return int(parts[0]), int(parts[-1])


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """["ema=0.99", "zoom=0.5,2"] → {"ema": 0.99, "zoom": [0.5, 2]}; values are read as TOML, lists also without brackets."""
    from pixelwise.datasets.dataset_toml import parse_toml
    from pixelwise.errors import UsageError

    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: expected NAME=VALUE, such as --set ema=0.98.")
        for written in (text, f"[{text}]" if "," in text else text):
            try:
                values[name.strip()] = parse_toml(f"value = {written}")["value"]
                break
            except ValueError:
                values[name.strip()] = text  # a word without quotes
    return values
