"""Time as a budget: how many epochs, at which sizes and of how many steps, fit into it. Nothing here looks at a clock.

The plan is made from the pace of the first steps. After each epoch what is left of the time is spread over what is left
of the epochs, at the pace of that epoch: their steps change, and where there is less time than their validation takes,
their number. The recipe's `plan` records it all, so that a run by that recipe repeats this one, without a budget.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pixelwise.errors import UsageError
from pixelwise.tracing.recorder import Event
from pixelwise.training.recipe import Recipe

FEWEST_EPOCHS = 8  # where less than as many passes over the data fit, an epoch is a part of one
MOST_EPOCHS = 100  # where more fit, an epoch is more than one
VALIDATION_SHARE = 0.2  # of the time, at most, goes to validating and saving
SMALL_SHARE_IN_HASTE = 0.8  # of the epochs see small views where fewer than FEWEST_EPOCHS passes fit
STEADY = 0.03  # a plan is kept while it is no further than this from the pace
EXPORT_S = (
    5.0  # on an idle machine, from the best weights to a checked bundle, beside looking at the validation split twice
)

DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_duration(text: str) -> float:
    """Seconds of "30m", "90s", "1h30m" or "1.5h".

    Raises:
        UsageError: none of these.
    """
    found = DURATION.fullmatch(text.strip().lower().replace(" ", ""))
    seconds = (
        sum(float(part) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True) if part)
        if found
        else 0.0
    )
    if not seconds:
        raise UsageError(f"a budget of {text!r}: expected hours, minutes and seconds, such as 30m, 90s or 1h30m.")
    return seconds


def show_duration(seconds: float) -> str:
    """ "1 h 30 min", "29.4 min", "48 s"."""
    if seconds >= 3600:
        minutes = round(seconds / 60)
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


@dataclass(frozen=True)
class Budget:
    """The time for a whole run, and the pace at which it goes."""

    seconds: float
    small_step_s: float  # a step with small views
    full_step_s: float
    between_s: float  # validating and saving, once an epoch
    export_s: float = EXPORT_S

    @property
    def end_s(self) -> float:
        """What remains to be done after the last epoch: the bundle, measured and checked."""
        return self.export_s + 2 * self.between_s

    def after_epoch(self, step_s: float, between_s: float, small: bool) -> Budget:
        """The pace that an epoch went at; what was not seen is taken to have changed with it."""
        change = step_s / (self.small_step_s if small else self.full_step_s)
        return replace(
            self,
            small_step_s=self.small_step_s * change,
            full_step_s=self.full_step_s * change,
            between_s=between_s,
            export_s=self.export_s * change,
        )

    def epochs_s(self, recipe: Recipe, first: int) -> float:
        """How long the epochs from `first` on take."""
        sizes = [recipe.size_at(epoch) for epoch in range(first, recipe.epochs)]
        steps = recipe.segment_at(recipe.epochs - 1)[2]
        return sum(
            steps * (self.full_step_s if size == recipe.size else self.small_step_s) + self.between_s for size in sizes
        )

    def first_plan(self, recipe: Recipe, pass_steps: int, used_s: float) -> Recipe:
        """The recipe with epochs, sizes and steps that fit.

        Args:
            pass_steps: steps of one pass over the data.
            used_s: seconds that are gone already.

        Raises:
            UsageError: the time is too short for anything.
        """
        room_s = self.seconds - used_s - self.end_s
        least_s = self.between_s + FEWEST_EPOCHS * self.full_step_s
        if room_s < least_s:
            raise UsageError(
                f"a budget of {show_duration(self.seconds)} is too short: starting, measuring, evaluating and writing "
                f"the bundle take {show_duration(used_s + self.end_s)} here. Give at least "
                f"{show_duration(1.2 * (used_s + self.end_s + least_s))}."
            )
        mixed_s = recipe.small_epochs * self.small_step_s + (1 - recipe.small_epochs) * self.full_step_s
        passes = room_s / (pass_steps * mixed_s + self.between_s)
        affordable = int(VALIDATION_SHARE * room_s / self.between_s)
        epochs = max(min(max(round(passes), FEWEST_EPOCHS), MOST_EPOCHS, affordable), 1)
        if passes < FEWEST_EPOCHS:
            recipe = replace(recipe, small_epochs=max(recipe.small_epochs, SMALL_SHARE_IN_HASTE))
        return self.replanned(replace(recipe, epochs=epochs, plan=((0, epochs, 1),)), 0, used_s)

    def replanned(self, recipe: Recipe, epoch: int, used_s: float) -> Recipe:
        """The recipe with what is left, from `epoch` on, fitted to the time that is left; itself where it fits."""
        if epoch >= recipe.epochs:
            return recipe
        room_s = max(self.seconds - used_s - self.end_s, 0.0)
        if abs(self.epochs_s(recipe, epoch) - room_s) <= STEADY * room_s:
            return recipe
        left = min(recipe.epochs - epoch, max(int(room_s / 2 / self.between_s), 1))
        epochs = epoch + left
        sizes = replace(recipe, epochs=epochs, plan=())
        small = sum(sizes.size_at(number) != recipe.size for number in range(epoch, epochs))
        all_s = small * self.small_step_s + (left - small) * self.full_step_s  # of a step in each epoch that is left
        steps = max(int((room_s - left * self.between_s) / all_s), 1)
        earlier = tuple(segment for segment in recipe.plan if segment[0] < epoch)
        return replace(recipe, epochs=epochs, plan=(*earlier, (epoch, epochs, steps)))

    def event(self, recipe: Recipe, epoch: int, used_s: float) -> Event:
        """What is planned, for people and machines."""
        small = sum(recipe.size_at(number) != recipe.size for number in range(epoch, recipe.epochs))
        return {
            "event": "plan",
            "epoch": epoch,
            "budget_s": self.seconds,
            "used_s": round(used_s, 1),
            "expected_s": round(used_s + self.epochs_s(recipe, epoch) + self.end_s, 1),
            "epochs": recipe.epochs,
            "small_epochs": small,
            "steps": recipe.segment_at(epoch)[2],
        }
