"""Reports of a training that stops early: an event in its trace, and an error that says how to resume."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pixelwise.datasets.class_values import quoted
from pixelwise.errors import OutOfMemoryError, OutputError, StoppedError, signal_name
from pixelwise.trace_events import Event, Listener
from pixelwise.training import distributed
from pixelwise.training.checkpoint import checkpoints
from pixelwise.training.out_of_memory import is_out_of_memory
from pixelwise.training.training_state import Training


@dataclass
class RunReport:
    """The listeners of a run, and what the report of a stop needs."""

    data: Path | str
    out: Path
    listeners: list[Listener]
    training: Training | None = None  # None until the data are read

    def tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    @contextmanager
    def of_stops(self) -> Iterator[None]:
        """Wrap the work: an error is recorded in the trace, and raised again with its remedy."""
        try:
            yield
        except (Exception, KeyboardInterrupt) as reason:
            clearer = tell_stop(reason, self)
            if clearer is reason:
                raise
            raise clearer from reason


def tell_stop(reason: BaseException, report: RunReport) -> BaseException:
    """Record in the trace why a training stops. Returns the error to raise, which says how to resume."""
    clearer, out, training = reason, report.out, report.training
    if isinstance(reason, KeyboardInterrupt):
        number = reason.number if isinstance(reason, StoppedError) else signal.SIGINT
        clearer = StoppedError(number, how_to_resume(signal_name(number), report), at_once=True)
    elif isinstance(reason, OutputError) and not (out / "lock").exists():
        clearer = OutputError(
            f"{out}: the run directory vanished during training: deleted, renamed, or its disk removed "
            f"({reason}). Restore it and use --resume, or start over."
        )
    elif distributed.lost_another(reason):
        clearer = distributed.lost_error()
    elif is_out_of_memory(reason):
        clearer = OutOfMemoryError(
            f"memory ran out ({reason}). Cache fewer decoded images (--set cache_mb=256), use fewer --workers or a "
            "smaller --size, or close other programs; a new recipe needs another --out."
        )
    name = type(reason).__name__ if not isinstance(reason, KeyboardInterrupt) else "KeyboardInterrupt"
    if isinstance(reason, StoppedError) and reason.number != signal.SIGINT:
        name = signal_name(reason.number)
    epoch, step = (training.epoch, training.step) if training else (0, 0)
    with suppress(OutputError):  # if nothing can be written any more, the first error says so
        report.tell({"event": "stop", "reason": name, "message": str(clearer), "epoch": epoch, "step": step})
    return clearer


def how_to_resume(by: str, report: RunReport) -> str:
    out, training = report.out, report.training
    kept = checkpoints(out / "checkpoints")
    if not kept or training is None:
        return f"Stopped by {by} before the first checkpoint. Run the same command again."
    step = int(kept[-1].stem.removeprefix("step-"))
    where = f"in epoch {training.epoch + 1}" if training.epoch < training.recipe.epochs else "after the last epoch"
    return (
        f"Stopped by {by} {where}; everything up to step {step} is saved. "
        f"Resume with: pixelwise train {quoted(str(report.data))} --out {quoted(str(out))} --resume"
    )
