"""Learning rate range test (Smith 2015, arXiv:1506.01186): the loss at learning rates that rise from step to step.

At low rates the loss hardly changes, at high rates it grows. Suggested is half the rate at which it falls fastest,
because the schedule stays near its peak for long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pixelwise.datasets.class_values import Given, GivenBands
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.errors import DivergedError, UsageError
from pixelwise.images.files import write_whole
from pixelwise.reports.charts import Line, axes, drawn_line, svg_file
from pixelwise.trace_events import Listener, nobody
from pixelwise.training import distributed, loop
from pixelwise.training.data_summary import Progress
from pixelwise.training.disk_copies import kept_to_resume
from pixelwise.training.lost_workers import batches_from
from pixelwise.training.prepare import check_data, prepare
from pixelwise.training.recipe import Recipe
from pixelwise.training.run_directory import locked
from pixelwise.training.separation import separable
from pixelwise.training.step import learn, set_training, step_setup
from pixelwise.training.training_state import EpochSoFar
from pixelwise.training.validation_split import with_validation

STEPS = 100
LOWEST, HIGHEST = 1e-5, 1.0
SMOOTH = 0.9  # decay of the running mean of the losses
BLOWN_UP = 3.0  # times the lowest loss: the test stops


@dataclass(frozen=True)
class RateTest:
    """The result of a learning rate range test."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]  # smoothed
    suggestion: float
    own: float  # the recipe's learning rate
    plot: Path


def find_rate(
    data: Path | str,
    out: Path | str,
    recipe: Recipe | None = None,
    *,
    skip_bad: bool = False,
    classes: Mapping[str, Given] | None = None,
    void: Given = (),
    masks: str = "",
    bands: GivenBands = (),
    device: str = "auto",
    tell: Listener = nobody,
    progress: Progress = lambda what, done, total: None,
) -> RateTest:
    """Learning rate range test: train for up to 100 steps at rising rates, suggest a rate, and plot the loss.

    The network is thrown away. Writes OUT/learning_rate.svg; a training can start in `out` afterwards.

    Args:
        data: folder of images and masks, in any layout that `open_dataset` reads.
        out: folder for the plot, created if it does not exist.
        recipe: how to train; its learning rate is ignored. None: the defaults.
        skip_bad: skip broken pairs instead of raising DatasetError.
        classes: class name → the mask values of the class, as in `train`. None: detected.
        void: mask values that mean unlabelled. Default: detected.
        masks: if an image has several masks: part of the folder or file name of the masks to use. Default: any.
        bands: bands of the images to use, in order: names, or numbers from 1; "nir,red", or ["nir", 3]. Default: all.
        device: "auto" (an NVIDIA GPU if there is one, otherwise the CPU), "cpu", "cuda" or "mps".
        tell: called with the trace events (dicts) before the first step.
        progress: called with (what is being done, done, total).

    Returns:
        RateTest: the rates tried, the smoothed loss at each, the suggested rate, the recipe's rate, the plot's path.

    Raises:
        DatasetError: the data cannot be trained on; every problem is listed.
        UsageError: no such device, or several processes (torchrun).
        RunLockedError: another process trains in `out`.
        OutputError: `out` cannot be written.

    Example:
        >>> import pixelwise as pw
        >>> found = pw.find_rate("my_data", "my_rates", pw.Recipe(model="unet", size=(32, 64), batch=2))
        >>> recipe = pw.Recipe(learning_rate=found.suggestion)
    """
    out = Path(out)
    where = distributed.choose_device(device)
    if distributed.processes() > 1:
        raise UsageError("--find-lr runs in one process: start it without torchrun.")
    recipe = replace(recipe or Recipe(), small_epochs=0.0, plan=())
    dataset = with_validation(
        open_dataset(data, seed=recipe.seed, classes=classes, void=void, masks=masks, bands=bands), recipe.seed
    )
    dataset = separable(dataset, recipe.separate)
    with locked(out, parts=["."]), kept_to_resume(out / "cache", lambda: False) as copies:
        checked = check_data(dataset, skip_bad, progress)
        training, epoch_data = prepare(checked, recipe, copies, tell, progress, where)
        lesson = step_setup(training, epoch_data.pixels_C, epoch_data.pairs.bands)
        set_training(training.network, recipe)
        rates: list[float] = []
        losses: list[float] = []
        mean, before = 0.0, 0.0
        blown_up = False
        while len(rates) < STEPS and not blown_up:
            order = loop.order_of(training, epoch_data.pairs)
            batches = loop.batches_of(training, epoch_data, order)
            for images_Bhw3, labels_Bhw in batches_from(batches, order, 0, lambda reason: None):
                rate = LOWEST * (HIGHEST / LOWEST) ** (len(rates) / (STEPS - 1))
                try:
                    learn(training, lesson, images_Bhw3, labels_Bhw, rate)
                except DivergedError:
                    blown_up = True
                    break
                loss, before = training.so_far.loss_sum - before, training.so_far.loss_sum
                mean = SMOOTH * mean + (1 - SMOOTH) * loss
                rates.append(rate)
                losses.append(mean / (1 - SMOOTH ** len(rates)))  # bias-corrected
                progress("trying learning rates", len(rates), STEPS)
                blown_up = len(rates) > STEPS // 10 and losses[-1] > BLOWN_UP * min(losses)
                if blown_up or len(rates) == STEPS:
                    break
            training.epoch, training.so_far, before = training.epoch + 1, EpochSoFar(), 0.0
        suggestion = suggest(rates, losses)
        plot = out / "learning_rate.svg"
        write_whole(plot, draw(rates, losses, suggestion).encode())
    return RateTest(tuple(rates), tuple(losses), suggestion, recipe.learning_rate, plot)


def suggest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Half the rate at which the loss falls fastest (over the log of the rate), before its minimum."""
    end = max(int(np.argmin(losses)) + 1, 3)
    if len(rates) < 3:
        return float(rates[0]) if rates else LOWEST
    slopes = np.gradient(np.asarray(losses[:end]), np.log(rates[:end]))
    return float(f"{rates[int(np.argmin(slopes))] / 2:.1e}")


def draw(rates: Sequence[float], losses: Sequence[float], suggestion: float) -> str:
    """The loss over the learning rate, on a logarithmic axis, as SVG."""
    first, last = math.log10(rates[0]), max(math.log10(rates[-1]), math.log10(rates[0]) + 0.1)
    top = max(losses[0] * 1.2, min(losses) * 1.5)

    def part(rate: float) -> float:
        return min(max((math.log10(rate) - first) / (last - first), 0.0), 1.0)

    powers = range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1)
    ticks = [(part(10.0**power), f"1e{power}") for power in powers]
    loss = Line("loss", [(part(rate), value) for rate, value in zip(rates, losses, strict=True)])
    mark = Line("suggestion", [(part(suggestion), 0.0), (part(suggestion), top)], "b")
    inside = axes(f"learning rate (suggestion: {suggestion:.1e})", "training loss, smoothed", ticks, top, ".2f")
    label = f"smoothed training loss over the learning rate; {suggestion:.1e} is suggested"
    return svg_file(label, inside + drawn_line(loss, top) + drawn_line(mark, top))
