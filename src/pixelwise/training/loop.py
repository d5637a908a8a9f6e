"""Training, epoch by epoch. One step is in step.py, the content of a checkpoint in training_state.py.

Shapes: B batch, C classes, h and w the network's input size.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor
from torch.utils.data import DataLoader

from pixelwise.errors import StoppedError
from pixelwise.images.files import write_whole
from pixelwise.records import Bands, ClassList
from pixelwise.trace_events import Event, Listener
from pixelwise.training import distributed
from pixelwise.training.batch_order import Order
from pixelwise.training.loader import Augmentation, Pairs, training_batches
from pixelwise.training.lost_workers import batches_from
from pixelwise.training.observations import observe
from pixelwise.training.recipe import Recipe
from pixelwise.training.signals import Stop
from pixelwise.training.step import StepSetup, learn_or_say, out_of_memory, rate_at, set_training, step_setup
from pixelwise.training.time_budget import show_duration
from pixelwise.training.training_state import EpochSoFar, Stopwatch, Training, save
from pixelwise.training.validate import Validation, ValidationResult, validate

SAVE_EVERY_S = 300.0  # within an epoch, so that little of a long one is lost
NEWEST_STEPS = 9  # whose pace counts


@dataclass(frozen=True)
class EpochData:
    """What every epoch reads."""

    pairs: Pairs  # to train on
    pixels_C: Sequence[int]  # of each class at the network's input size
    validation: Validation


def run_epochs(
    training: Training,
    data: EpochData,
    folder: Path,
    tell: Listener,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    stop: Stop | None = None,
) -> None:
    """Train from the current epoch to the recipe's last, reporting and saving after each.

    Raises:
        DivergedError: the loss became NaN or infinite; the last checkpoint is kept.
        OutOfMemoryError: a step does not fit into memory; the last checkpoint is kept.
        StoppedError: a signal asked to stop; the current step was finished and saved.
    """
    stop = stop or Stop()
    lesson = step_setup(training, data.pixels_C, data.pairs.bands)
    validation = data.validation.spaced(training.recipe.val_images)
    while training.epoch < training.recipe.epochs and early_end(training) is None:
        try:
            with stop.finishing_steps():
                rate = train_epoch(training, lesson, data, folder, tell, progress, stop)
                began = time.perf_counter()
                result = validation_scores(training, validation, folder, progress, stop)
                validation_s = time.perf_counter() - began
                finish_epoch(training, validation.classes, result, rate, validation_s, folder, tell)
        except StoppedError as stopped:
            if not stopped.at_once:  # raised by a check between steps
                keep(training, folder, tell)
            raise
        stop.check()


def early_end(training: Training) -> str | None:
    """Why training may stop early, as a sentence; None if it must continue."""
    recipe = training.recipe
    if recipe.target_miou and training.best_miou >= recipe.target_miou:
        return f"validation mIoU {training.best_miou:.3f} reached the target of {recipe.target_miou:g}"
    if recipe.patience and training.epoch - training.best_epoch >= recipe.patience:
        return (
            f"no better mIoU than {training.best_miou:.3f} (epoch {training.best_epoch}) for {recipe.patience} epochs"
        )
    if recipe.last_step and training.step >= recipe.last_step:
        return f"the time budget ended at step {recipe.last_step}"
    return None


def why_ended(training: Training) -> str | None:
    """Why a finished training has fewer epochs than first planned, as a sentence; None if it has them all."""
    planned = training.recipe.segments[0][1]
    if why := early_end(training):
        return why
    if training.epoch < planned and training.budget is not None:
        budget = show_duration(training.budget.seconds)
        return f"only {training.epoch} of the {planned} planned epochs fit into {budget}: training became slower"
    return None


def order_of(training: Training, pairs: Pairs) -> Order:
    """The samples of the current epoch."""
    recipe = training.recipe
    steps = recipe.segment_at(training.epoch)[2]
    order = Order(len(pairs), recipe.batch, recipe.seed, steps, distributed.process(), distributed.processes())
    order.epoch, order.before = training.epoch, training.step - training.so_far.steps
    return order


def batches_of(training: Training, data: EpochData, order: Order) -> DataLoader[list[Tensor]]:
    recipe = training.recipe
    augmentation = augmentation_of(recipe, data.pairs.bands, data.pixels_C)
    on_gpu = next(training.network.parameters()).device.type == "cuda"
    return training_batches(data.pairs, augmentation, order, recipe.workers, pinned=on_gpu)


def augmentation_of(recipe: Recipe, bands: Bands, pixels_C: Sequence[int]) -> Augmentation:
    """How a recipe's crops are made from images of these bands.

    Args:
        pixels_C: labelled pixels of each class: they tell which are rare.
    """
    return Augmentation(
        recipe.crop_size,
        recipe.policy,
        recipe.zoom,
        recipe.flip,
        recipe.light,
        recipe.seed,
        recipe.size_at,
        recipe.turn,
        recipe.views,
        rare_classes(pixels_C, all_of_them=recipe.all_pixels),
        recipe.rare_share,
        recipe.stain,
        recipe.invert,
        recipe.tilt,
        bands,
        recipe.exposure_of_whole(bands),
        recipe.tint,
        recipe.size,
    )


def rare_classes(pixels_C: Sequence[int], *, all_of_them: bool = False) -> tuple[int, ...]:
    """Ids of the classes with fewer pixels than average; of all that occur where labels are sparse."""
    fair = math.inf if all_of_them else sum(pixels_C) / max(len(pixels_C), 1)
    return tuple(id_ for id_, pixels in enumerate(pixels_C) if 0 < pixels < fair)


def train_epoch(
    training: Training,
    lesson: StepSetup,
    data: EpochData,
    folder: Path,
    tell: Listener,
    progress: Callable[[str, int, int], None],
    stop: Stop,
) -> float:
    """Train the rest of the current epoch. Returns the learning rate at its end."""
    recipe, so_far = training.recipe, training.so_far
    order = order_of(training, data.pairs)
    batches = batches_of(training, data, order)
    set_training(training.network, recipe)
    watch, saved = Stopwatch(so_far.seconds), time.perf_counter()
    newest_s: deque[float] = deque(maxlen=NEWEST_STEPS)

    def lost(reason: str) -> None:
        if distributed.processes() == 1:  # several processes agree on stopping after the step
            stop.check()  # the signal may have killed the workers too
        tell({"event": "warning", "message": f"data loading processes died and were restarted: {reason}"})

    for images_Bhw3, labels_Bhw in batches_from(batches, order, so_far.steps, lost):
        if so_far.steps and is_over(training, newest_s):
            break
        failed = learn_or_say(training, lesson, images_Bhw3, labels_Bhw, rate_at(training, len(order)))
        if failed is not None:
            raise out_of_memory(training, lesson, images_Bhw3, labels_Bhw, failed)
        before_s, so_far.seconds = so_far.seconds, watch.seconds()
        newest_s.append(so_far.seconds - before_s)
        progress(f"epoch {training.epoch + 1}", so_far.steps, len(order))
        stop.check()
        if time.perf_counter() - saved > SAVE_EVERY_S and so_far.steps < len(order):
            keep(training, folder, tell)
            saved = time.perf_counter()
    return rate_at(training, len(order), so_far.steps - 1)


def is_over(training: Training, newest_s: Collection[float]) -> bool:
    """Was this the last step: by the recipe, or because only validation and export still fit into the budget?

    Args:
        newest_s: how long the newest steps took.
    """
    recipe, budget = training.recipe, training.budget
    if recipe.last_step:
        return training.step >= recipe.last_step
    if budget is None:
        return False
    expected_s = budget.small_step_s if recipe.size_at(training.epoch) != recipe.crop_size else budget.full_step_s
    pace = statistics.median(newest_s) / expected_s if newest_s else 1.0
    return bool(distributed.largest(distributed.is_first() and budget.is_over(training.clock.seconds(), pace)))


def finish_epoch(
    training: Training,
    classes: ClassList,
    result: ValidationResult,
    rate: float,
    validation_s: float,
    folder: Path,
    tell: Listener,
) -> None:
    """Record the epoch's result, report it, and save."""
    so_far = training.so_far
    training.epoch += 1
    miou = result.scores.miou
    best = training.recipe.keeps_last or (not math.isnan(miou) and miou > training.best_miou)
    if best:
        training.best_miou, training.best_epoch = miou, training.epoch
    event = epoch_event(training, classes, result, rate)
    event["seconds"] = round(so_far.seconds + validation_s, 2)
    event["images_per_second"] = round(so_far.steps * training.recipe.batch / max(so_far.seconds, 1e-9), 1)
    event["best"] = best
    training.history.append(event)
    event["observation"] = observe(training.history)
    training.so_far = EpochSoFar()
    if training.budget is not None:
        replan(training, so_far, validation_s, folder, tell)
    began = time.perf_counter()
    save(training, folder, best)
    training.saving_s = time.perf_counter() - began
    tell(event)
    tell({"event": "checkpoint", "epoch": training.epoch, "step": training.step, "best": best})


def keep(training: Training, folder: Path, tell: Listener) -> None:
    """Save a checkpoint within an epoch."""
    save(training, folder)
    tell({"event": "checkpoint", "epoch": training.epoch, "step": training.step, "best": False})


def replan(training: Training, so_far: EpochSoFar, validation_s: float, folder: Path, tell: Listener) -> None:
    """Fit the remaining epochs to the budget, given the last epoch's throughput, and update the recipe."""
    assert training.budget is not None
    recipe, last = training.recipe, training.epoch - 1
    small = recipe.size_at(last) != recipe.crop_size
    training.budget = training.budget.after_epoch(
        so_far.seconds / so_far.steps, validation_s + training.saving_s, small
    )
    used_s = training.clock.seconds()
    planned = training.budget.replanned(recipe, training.epoch, used_s)
    more = training.epoch < recipe.epochs
    if so_far.steps < recipe.segment_at(last)[2] or (more and training.budget.is_full(used_s)):  # the time is up
        planned = replace(recipe, last_step=training.step)
    planned = Recipe.from_toml(distributed.from_first(planned.to_toml()))  # the first process's clock counts
    if planned != recipe:
        training.recipe = planned
        if distributed.is_first():
            write_whole(folder / "recipe.toml", planned.to_toml().encode())
        if not planned.last_step:  # otherwise training ends here
            tell(training.budget.event(planned, training.epoch, training.clock.seconds()))


def validation_scores(
    training: Training, validation: Validation, folder: Path, progress: Callable[[str, int, int], None], stop: Stop
) -> ValidationResult:
    """Validate the averaged weights, then restore the training weights."""
    network = training.network
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(training.average)

    def between(done: int, total: int) -> None:
        progress("validating", done, total)
        if distributed.processes() == 1:  # several processes agree on stopping after the epoch, as their batches differ
            stop.check()

    try:
        previews = folder / "previews" / f"epoch-{training.epoch + 1:04d}" if distributed.is_first() else None
        return validate(network, validation, previews, between, alone=False)
    finally:
        network.load_state_dict(own)


def epoch_event(training: Training, classes: ClassList, result: ValidationResult, rate: float) -> Event:
    """The "epoch" trace event: the scores of one epoch."""
    so_far, scores = training.so_far, result.scores
    names = classes.names
    true_C = result.matrix.sum(axis=1) / max(result.matrix.sum(), 1)
    predicted_C = result.matrix.sum(axis=0) / max(result.matrix.sum(), 1)
    return {
        "event": "epoch",
        "epoch": training.epoch,
        "loss": so_far.loss_sum / max(so_far.steps, 1),
        "train_accuracy": so_far.right / max(so_far.seen, 1),
        "val_loss": result.loss,
        "accuracy": scores.accuracy,
        "miou": scores.miou,
        "iou": dict(zip(names, scores.iou_C.tolist(), strict=True)),
        "true": dict(zip(names, true_C.tolist(), strict=True)),
        "predicted": dict(zip(names, predicted_C.tolist(), strict=True)),
        "learning_rate": rate,
    }
