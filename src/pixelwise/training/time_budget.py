"""Time as a budget: how many epochs, at which sizes and of how many steps, fit into it. Nothing here looks at a clock.

The plan is made from the pace of the first steps. After each epoch what is left of the time is spread over what is left
of the epochs, at the pace that was seen: their steps change, and where there is less time than their validation takes,
their number. An epoch that goes slower than thought ends where only validation and the bundle still fit into the time;
in the last one the steps that are left out change next to nothing, at a learning rate near zero. The recipe's `plan`
and `last_step` record it all, so that a run by that recipe repeats this one, without a budget.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pixelwise.errors import UsageError
from pixelwise.trace_events import Event
from pixelwise.training.recipe import Recipe

FEWEST_EPOCHS = 8  # where less than as many passes over the data fit, an epoch is a part of one
MOST_EPOCHS = 100  # where more fit, an epoch is more than one
VALIDATION_SHARE = 0.2  # of the time, at most, goes to validating and saving
SMALL_SHARE_IN_HASTE = 0.8  # of the epochs use small crops where fewer than FEWEST_EPOCHS passes fit
FULL_EPOCHS = 2  # of full size, at least: the first of them shows how long the others take
LAST_EPOCH = 1 / 3  # of the steps of the others is left to it: how long it takes cannot be made good any more
STEADY = 0.03  # a plan is kept while it is no further than this from the pace
MOST_CHANGE = 2.0  # of what is expected at the end, by one epoch: it lies far ahead, and a hiccup is over by then
NEWEST = 0.7  # of a pace is the newest epoch's, the rest what was thought before it: an epoch may have had bad luck

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


def limited(seconds: float, before_s: float) -> float:
    """What is expected now, no further from what was expected before than one epoch may move it."""
    return min(max(seconds, before_s / MOST_CHANGE), before_s * MOST_CHANGE)


def require_time(budget_s: float, used_s: float) -> None:
    """Raise UsageError where a budget is used up before the first step."""
    if used_s >= budget_s / 2:
        raise UsageError(
            f"a budget of {show_duration(budget_s)} is too short: reading the data and measuring the speed of training "
            f"took {show_duration(used_s)} already. Give at least {show_duration(6 * used_s)}, or smaller images."
        )


@dataclass(frozen=True)
class Budget:
    """The time for a whole run, and the pace at which it goes."""

    seconds: float
    small_step_s: float  # a step with small crops
    full_step_s: float
    between_s: float  # validating and saving, once an epoch
    export_s: float  # from the best weights to a checked bundle, beside looking at the validation split once more

    @property
    def end_s(self) -> float:
        """What remains to be done after the last epoch: the bundle, measured and checked."""
        return self.export_s + self.between_s

    def is_over(self, used_s: float) -> bool:
        """Is there only time left to validate once more and to write the bundle?"""
        return used_s >= self.seconds - self.between_s - self.end_s

    def after_epoch(self, step_s: float, between_s: float, small: bool) -> Budget:
        """What is thought after an epoch that went at this pace; what was not seen is taken to have changed with it."""
        change = NEWEST * step_s / (self.small_step_s if small else self.full_step_s) + 1 - NEWEST
        return replace(
            self,
            small_step_s=self.small_step_s * change,
            full_step_s=self.full_step_s * change,
            between_s=limited(NEWEST * between_s + (1 - NEWEST) * self.between_s, self.between_s),
            export_s=limited(self.export_s * change, self.export_s),
        )

    def epochs_s(self, recipe: Recipe, first: int) -> float:
        """How long the epochs from `first` on take."""
        steps = recipe.segment_at(recipe.epochs - 1)[2]
        return steps * self.step_each_s(recipe, first) + (recipe.epochs - first) * self.between_s

    def step_each_s(self, recipe: Recipe, first: int) -> float:
        """How long one step in each epoch from `first` on takes, where the last of several has fewer than others."""
        seconds = [
            self.full_step_s if recipe.size_at(epoch) == recipe.size else self.small_step_s
            for epoch in range(first, recipe.epochs)
        ]
        last = LAST_EPOCH if len(seconds) > 1 else 1.0
        return sum(seconds[:-1]) + last * seconds[-1]

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
            small = min(max(recipe.small_epochs, SMALL_SHARE_IN_HASTE), max(1 - FULL_EPOCHS / epochs, 0.0))
            recipe = replace(recipe, small_epochs=small)
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
        step_each_s = self.step_each_s(replace(recipe, epochs=epochs, plan=()), epoch)
        steps = max(int((room_s - left * self.between_s) / step_each_s), 1)
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
