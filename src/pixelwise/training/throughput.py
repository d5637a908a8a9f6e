"""How fast a training goes here: the first steps of one and its bundle, measured and thrown away.

Shapes: B batch, h and w the network's input size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from pixelwise.model.network import Network
from pixelwise.training import distributed, loop
from pixelwise.training.export_run import PARITY_IMAGES, rehearse_export
from pixelwise.training.loader import Pairs, batches_from
from pixelwise.training.recipe import Recipe
from pixelwise.training.step import learn, rate_at, set_training, step_setup
from pixelwise.training.time_budget import Budget, require_time
from pixelwise.training.training_state import CPU, Stopwatch, start
from pixelwise.training.validate import Validation, validate

MEASURED_SHARE = 0.01  # of the budget, for each of the two sizes
MEASURED_S = (1.0, 10.0)  # but at least and at most so long
TURN = 3  # steps at one size before the other has its turn
IMAGES = 8  # of the validation split
EXPORT = 1.5  # a bundle takes so many times its rehearsal: it is also checked and calibrated


def measure(
    recipe: Recipe,
    data: loop.EpochData,
    budget_s: float,
    device: torch.device = CPU,
    clock: Stopwatch | None = None,
) -> Budget:
    """Time real steps at both sizes, validation, and the export, on networks that are thrown away.

    All processes do it together; what the first one measures counts.

    Args:
        clock: of the budget; None: it begins now.

    Raises:
        TrainingError: this network cannot become a bundle.
        UsageError: the budget is used up before the first step.
    """
    clock, validation = clock or Stopwatch(), data.validation

    def in_time() -> None:
        require_time(budget_s, distributed.from_first(clock.seconds()))

    in_time()
    limit_s = min(max(MEASURED_SHARE * budget_s, MEASURED_S[0]), MEASURED_S[1])
    shares = [0.0, 1.0] if recipe.small_epochs else [0.0]
    full_s, *small_s = steps_s(
        [replace(recipe, small_epochs=share, plan=(), last_step=0) for share in shares],
        data, limit_s * len(shares), device,
    )  # fmt: skip
    in_time()
    network = start(recipe, len(validation.classes), device).network
    image_s = validated_s(network, validation, recipe, 1)
    if image_s < limit_s:  # what happens only once, at the first, is not counted where more can be looked at
        image_s = validated_s(network, validation, recipe, min(IMAGES, max(int(limit_s / image_s), 1)))
    in_time()
    validation_s = image_s * len(validation.pairs) / distributed.processes()
    export_s = 0.0
    if distributed.is_first():
        rehearse_export(network, validation.preprocess)  # and again: the first time, much is imported
        began = time.perf_counter()
        rehearse_export(network, validation.preprocess)
        export_s = EXPORT * (time.perf_counter() - began)
        export_s += image_s * min(PARITY_IMAGES, len(validation.pairs))  # on which it is compared with the network
    return Budget(budget_s, small_s[0] if small_s else full_s, full_s, validation_s, export_s)


def validated_s(network: Network, validation: Validation, recipe: Recipe, count: int) -> float:
    """Seconds of one image of the validation split, the mean over the first `count` of them."""
    few = validation.pairs.samples[:count]
    part = Pairs(few, validation.pairs.mask_ids, validation.pairs.classes, recipe.cache_mb)
    began = time.perf_counter()
    validate(network, replace(validation, pairs=part))
    return (time.perf_counter() - began) / len(few)


def steps_s(recipes: Sequence[Recipe], data: loop.EpochData, limit_s: float, device: torch.device) -> list[float]:
    """Seconds of a step by each recipe: the mean of those that fit into `limit_s` together, after the first ones.

    They take turns, so that whatever else the machine does slows them alike. Where not even the first ones fit, one
    step of each counts.
    """
    courses = [timed_steps(recipe, data, device) for recipe in recipes]
    # What workers prepared ahead, while the others had their turn, came for nothing.
    waiting = [1 + 2 * recipe.workers for recipe in recipes]
    times: list[list[float]] = [[] for _ in recipes]
    began = time.perf_counter()

    def late() -> bool:
        return bool(distributed.from_first(time.perf_counter() - began >= limit_s))

    while not all(times) or not late():
        for number, course in enumerate(courses):
            for _ in range(waiting[number]):
                if late():
                    break
                next(course)
            times[number] += [next(course) for _ in range(1 if late() else TURN)]
            waiting[number] = 2 * recipes[number].workers
    return [sum(each) / len(each) for each in times]


def timed_steps(recipe: Recipe, data: loop.EpochData, device: torch.device) -> Iterator[float]:
    """Train without end; seconds of each step, the time to get its batch included."""
    training = start(recipe, len(data.validation.classes), device)
    lesson = step_setup(training, data.pixels_C)
    order = loop.order_of(training, data.pairs)
    set_training(training.network, recipe)
    while True:
        batches = batches_from(loop.batches_of(training, data, order), order, 0, lambda reason: None)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            images_Bhw3, labels_Bhw = batch
            learn(training, lesson, images_Bhw3, labels_Bhw, rate_at(training, len(order), 0))
            yield time.perf_counter() - began
