"""The part of a time budget that reading the data may take."""

from __future__ import annotations

import time
from collections.abc import Callable

from pixelwise.training.data_summary import Progress
from pixelwise.training.time_budget import TooShortError, show_duration

OPENING_SHARE = 0.5  # of a budget, before the first step
LOOKED_SHARE = 0.03  # of a budget, after which the rest of a piece of work is estimated from what is done


class OpeningTime:
    """Passes progress on, and ends the work as soon as its pace shows that it takes more than its part of a budget.

    Otherwise many large images would be read for many times the budget, only to find then that nothing is left of it.
    """

    def __init__(self, budget_s: float, began: float, progress: Progress, clock: Callable[[], float]) -> None:
        """`began`: of the budget, on `clock`."""
        self.budget_s, self.began, self.progress, self.clock = budget_s, began, progress, clock
        self.what, self.since_s, self.before = "", 0.0, 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Raises TooShortError."""
        self.progress(what, done, total)
        used_s = self.clock() - self.began
        if what != self.what:  # its first call comes after its first part
            self.what, self.since_s, self.before = what, used_s, done
            return
        spent_s = used_s - self.since_s
        if spent_s < LOOKED_SHARE * self.budget_s or done <= self.before:
            return
        end_s = used_s + spent_s / (done - self.before) * (total - done)
        if end_s > OPENING_SHARE * self.budget_s:
            end, least = show_duration(end_s), show_duration(3 * end_s)
            raise TooShortError(
                f"a budget of {show_duration(self.budget_s)} is too short: at its pace, {what} ({done} of {total}) "
                f"ends after {end}. Give at least {least}, or smaller or fewer images."
            )


def within(budget_s: float | None, began: float, progress: Progress) -> Progress:
    """`progress`, watched if there is a budget."""
    return progress if budget_s is None else OpeningTime(budget_s, began, progress, time.perf_counter)
