"""The time of a cross-validation: a budget's share for each fold, and how long all folds still take."""

from __future__ import annotations

from dataclasses import dataclass

from pixelwise.trace_events import Event, Listener
from pixelwise.training.data_summary import Progress
from pixelwise.training.time_budget import show_duration

LAST_SHARE = 0.1  # of a budget for the last steps, until they are measured
LAST_MOST = 0.25  # of a budget for the last steps, however long they take
SLACK = 1.25  # of their measured time
PICTURED = 20  # images that the report labels again, for its pictures


@dataclass
class FoldBudget:
    """Divides a budget among the folds, and leaves time for the report and the bundle after them."""

    total_s: float | None  # None: no limit
    folds: int
    last_s: float | None = None  # measured time of the last steps; None: not measured yet

    def measured(self, image_s: float, images: int, export_s: float) -> None:
        """Take the measured time to score an image, and to export one network."""
        last_s = SLACK * (image_s * (images + PICTURED) + export_s * self.folds)
        self.last_s = last_s if self.total_s is None else min(last_s, LAST_MOST * self.total_s)

    def share_s(self, number: int, spent_s: float) -> float | None:
        """Seconds for fold `number`, from 1, after `spent_s` of the budget: an equal part of what is left."""
        if self.total_s is None:
            return None
        last_s = LAST_SHARE * self.total_s if self.last_s is None else self.last_s
        return max(self.total_s - spent_s - last_s, 0.0) / (self.folds - number + 1)


class FoldProgress:
    """Shows one fold's progress as a part of the whole: "fold 2 of 5, epoch 3 of 20, 12 min left"."""

    def __init__(
        self, number: int, folds: int, epochs: int, fold_s: float | None, tell: Listener, progress: Progress
    ) -> None:
        """`fold_s`: how long an earlier fold took; None: there is none."""
        self.number, self.folds, self.epochs, self.fold_s = number, folds, epochs, fold_s
        self.tell_on, self.progress_on = tell, progress
        self.epoch_s: list[float] = []  # of the finished epochs
        self.epoch = 0  # the last finished one

    def tell(self, event: Event) -> None:
        if event["event"] == "plan":
            self.epochs = event["epochs"]
        elif event["event"] == "epoch":
            self.epoch = event["epoch"]
            self.epoch_s.append(event["seconds"])
        self.tell_on({**event, "fold": self.number})

    def progress(self, what: str, done: int, total: int) -> None:
        where = f"fold {self.number} of {self.folds}, {what}"
        if what.startswith("epoch "):
            where += f" of {self.epochs}"
        left_s = self.left_s(done / max(total, 1) if what.startswith("epoch ") else 0.0)
        self.progress_on(where if left_s is None else f"{where}, {rounded(left_s)} left", done, total)

    def left_s(self, part: float) -> float | None:
        """Seconds until the last fold ends, if anything like it was measured. `part`: of the current epoch, 0–1."""
        if not self.epoch_s:
            return None if self.fold_s is None else self.fold_s * (self.folds - self.number + 1)
        epoch_s = sum(self.epoch_s) / len(self.epoch_s)
        here_s = max(self.epochs - self.epoch - part, 0.0) * epoch_s
        return here_s + (self.folds - self.number) * (self.fold_s or self.epochs * epoch_s)


def rounded(seconds: float) -> str:
    """A duration that changes slowly: whole minutes, or steps of 10 seconds."""
    if seconds >= 3600:
        return show_duration(seconds)
    return f"{round(seconds / 60)} min" if seconds >= 90 else f"{max(round(seconds / 10), 1) * 10} s"
