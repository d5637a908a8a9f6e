"""A time budget: how many epochs, at which crop sizes and of how many steps, fit into it. Nothing here reads a clock.

The plan is based on the measured throughput of the first steps. After each epoch, the remaining time is divided among
the remaining epochs at the throughput so far: the number of their steps changes, and if there is less time than their
validation takes, the number of epochs. An epoch that is slower than planned ends when only validation and export
still fit; in the last epoch the omitted steps hardly matter, as the learning rate is near zero. The recipe's `plan` and
`last_step` record all of it, so that a run with that recipe repeats this one, without a budget.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pixelwise.errors import UsageError
from pixelwise.trace_events import Event
from pixelwise.training.recipe import Recipe

FEWEST_EPOCHS = 8  # if fewer passes over the data fit, an epoch is a part of a pass
MOST_EPOCHS = 100  # if more passes fit, an epoch is more than one
VALIDATION_SHARE = 0.2  # at most this share of the time goes to validating and saving
VALIDATION_SHARE_OF_TWO = 0.3  # or this one for a second epoch: the first tells how long it may be
SMALL_SHARE_IN_HASTE = 0.8  # of the epochs use small crops if fewer than FEWEST_EPOCHS passes fit
FULL_EPOCHS = 2  # at full size, at least: the first one shows how long the others take
LAST_EPOCH = 1 / 3  # of the steps of the others: it cannot be compensated for any more
STEADY = 0.03  # a plan is kept while its expected time is within this share
MOST_CHANGE = 2.0  # factor by which one epoch may change the expected time of validation and export
NEWEST = 0.4  # weight of the newest epoch in a measured time; the rest is the previous estimate
FIRST = 0.8  # weight of the first epoch: the estimate before it comes from a few seconds

DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_duration(text: str) -> float:
    """Parse "30m", "90s", "1h30m" or "1.5h" into seconds.

    Raises:
        UsageError: not a duration.
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
    """The new estimate, limited to the change that one epoch may cause."""
    return min(max(seconds, before_s / MOST_CHANGE), before_s * MOST_CHANGE)


def require_time(budget_s: float, used_s: float) -> None:
    """Raise TooShortError if half of the budget is used up before the first step."""
    if used_s >= budget_s / 2:
        raise TooShortError(
            f"a budget of {show_duration(budget_s)} is too short: reading the data and measuring throughput "
            f"took {show_duration(used_s)} already. Give at least {show_duration(6 * used_s)}, or smaller images."
        )


class TooShortError(UsageError):
    """A budget in which nothing can be trained."""


@dataclass(frozen=True)
class Budget:
    """The time for a whole run, and how long its parts take."""

    seconds: float
    small_step_s: float  # a step with small crops
    full_step_s: float
    between_s: float  # validating and saving, once an epoch
    export_s: float  # from the best weights to a checked bundle, without validating once more
    tried: bool = False  # whether an epoch has been timed; before, the steps of a few seconds were

    @property
    def end_s(self) -> float:
        """Time needed after the last epoch: to export, measure and check the bundle."""
        return self.export_s + self.between_s

    def is_over(self, used_s: float, pace: float = 1.0) -> bool:
        """Is there only time left to validate once more and to export?

        Args:
            pace: how many times as long as expected the newest steps took: so will validation and export.
        """
        slower = min(max(pace, 1.0), MOST_CHANGE)
        return used_s >= self.seconds - slower * (self.between_s + self.end_s)

    def is_full(self, used_s: float) -> bool:
        """Would one more epoch, even of a single step, end later beyond the budget than ending now ends before it?"""
        return used_s + self.end_s + self.between_s / 2 > self.seconds

    def after_epoch(self, step_s: float, between_s: float, small: bool) -> Budget:
        """The estimates after an epoch with these times; what it did not measure is scaled alike."""
        newest = NEWEST if self.tried else FIRST
        change = newest * step_s / (self.small_step_s if small else self.full_step_s) + 1 - newest
        return replace(
            self,
            small_step_s=self.small_step_s * change,
            full_step_s=self.full_step_s * change,
            between_s=limited(newest * between_s + (1 - newest) * self.between_s, self.between_s),
            export_s=limited(self.export_s * change, self.export_s),
            tried=True,
        )

    def epochs_s(self, recipe: Recipe, first: int) -> float:
        """Seconds that the epochs from `first` on take."""
        steps = recipe.segment_at(recipe.epochs - 1)[2]
        return steps * self.step_each_s(recipe, first) + (recipe.epochs - first) * self.between_s

    def step_each_s(self, recipe: Recipe, first: int) -> float:
        """Seconds of one step in each epoch from `first` on; the last of several epochs has fewer steps."""
        seconds = [
            self.full_step_s if recipe.size_at(epoch) == recipe.crop_size else self.small_step_s
            for epoch in range(first, recipe.epochs)
        ]
        last = LAST_EPOCH if len(seconds) > 1 else 1.0
        return sum(seconds[:-1]) + last * seconds[-1]

    def first_plan(self, recipe: Recipe, pass_steps: int, used_s: float) -> Recipe:
        """The recipe with epochs, sizes and steps that fit.

        Args:
            pass_steps: steps of one pass over the data.
            used_s: seconds used so far.

        Raises:
            TooShortError: the time is too short to train at all.
        """
        room_s = self.seconds - used_s - self.end_s
        least_s = self.between_s + FEWEST_EPOCHS * self.full_step_s
        if room_s < least_s:
            raise TooShortError(
                f"a budget of {show_duration(self.seconds)} is too short: starting, measuring, validating and "
                f"exporting take {show_duration(used_s + self.end_s)} here. Give at least "
                f"{show_duration(1.2 * (used_s + self.end_s + least_s))}."
            )
        mixed_s = recipe.small_epochs * self.small_step_s + (1 - recipe.small_epochs) * self.full_step_s
        passes = room_s / (pass_steps * mixed_s + self.between_s)
        affordable = int(VALIDATION_SHARE * room_s / self.between_s)
        if 2 * self.between_s <= VALIDATION_SHARE_OF_TWO * room_s:
            affordable = max(affordable, 2)
        epochs = max(min(max(round(passes), FEWEST_EPOCHS), MOST_EPOCHS, affordable), 1)
        if passes < FEWEST_EPOCHS and recipe.small_epochs:  # 0: thin structures need the full resolution
            small = min(max(recipe.small_epochs, SMALL_SHARE_IN_HASTE), max(1 - FULL_EPOCHS / epochs, 0.0))
            recipe = replace(recipe, small_epochs=small)
        return self.replanned(replace(recipe, epochs=epochs, plan=((0, epochs, 1),)), 0, used_s)

    def replanned(self, recipe: Recipe, epoch: int, used_s: float) -> Recipe:
        """The recipe with the epochs from `epoch` on fitted to the remaining time; unchanged if they fit."""
        if epoch >= recipe.epochs:
            return recipe
        room_s = max(self.seconds - used_s - self.end_s, 0.0)
        if abs(self.epochs_s(recipe, epoch) - room_s) <= STEADY * room_s:
            return recipe
        first_planned = recipe.segments[0][1]  # epochs that a slow one cost come back when it is over
        left = min(first_planned - epoch, max(int(room_s / 2 / self.between_s), 1))
        epochs = epoch + left
        step_each_s = self.step_each_s(replace(recipe, epochs=epochs, plan=()), epoch)
        steps = max(int((room_s - left * self.between_s) / step_each_s), 1)
        earlier = tuple(segment for segment in recipe.plan if segment[0] < epoch)
        return replace(recipe, epochs=epochs, plan=(*earlier, (epoch, epochs, steps)))

    def event(self, recipe: Recipe, epoch: int, used_s: float) -> Event:
        """The plan as a trace event."""
        small = sum(recipe.size_at(number) != recipe.crop_size for number in range(epoch, recipe.epochs))
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
