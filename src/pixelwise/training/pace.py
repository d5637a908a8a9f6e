"""How fast a training goes here: the first steps of one, measured and thrown away.

Shapes: B batch, h and w the network's input size.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from pixelwise.data.loader import Pairs, batches_from
from pixelwise.training import distributed, loop
from pixelwise.training.budget import EXPORT_S, Budget
from pixelwise.training.recipe import Recipe
from pixelwise.training.state import CPU, start
from pixelwise.training.step import learn, lesson_of, rate_at, set_training
from pixelwise.training.validate import Validation, validate

MEASURED_SHARE = 0.01  # of the budget, for each of the two sizes
MEASURED_S = (1.0, 10.0)  # but at least and at most so long
FEWEST_STEPS = 3
IMAGES = 8  # of the validation split


def measure(
    recipe: Recipe,
    classes: int,
    pixels_C: Sequence[int],
    pairs: Pairs,
    validation: Validation,
    budget_s: float,
    device: torch.device = CPU,
) -> Budget:
    """Time real steps at both sizes, and validation, on a network that is thrown away. All processes do it together."""
    limit_s = min(max(MEASURED_SHARE * budget_s, MEASURED_S[0]), MEASURED_S[1])
    full_s = step_s(replace(recipe, small_epochs=0.0, plan=()), classes, pixels_C, pairs, limit_s, device)
    small_s = full_s
    if recipe.small_epochs:
        small_s = step_s(replace(recipe, small_epochs=1.0, plan=()), classes, pixels_C, pairs, limit_s, device)
    few = validation.pairs.samples[:IMAGES]
    part = replace(validation, pairs=Pairs(few, validation.pairs.mask_ids, validation.pairs.classes, recipe.cache_mb))
    network = start(recipe, classes, device).network
    began, began_cpu = time.perf_counter(), time.process_time()
    validate(network, part)
    took_s = time.perf_counter() - began
    # Waiting for a processor that others use: the export, which cannot be tried beforehand, will wait as well.
    waiting = max(took_s / (time.process_time() - began_cpu), 1.0)
    validation_s = took_s * len(validation.pairs) / len(few) / distributed.processes()
    return Budget(budget_s, small_s, full_s, validation_s, EXPORT_S * waiting)


def step_s(
    recipe: Recipe, classes: int, pixels_C: Sequence[int], pairs: Pairs, limit_s: float, device: torch.device
) -> float:
    """Seconds of a step: the median of those that fit into `limit_s`, after the first ones."""
    training = start(recipe, classes, device)
    lesson = lesson_of(recipe, training.network, pixels_C)
    order = loop.order_of(training, pairs)
    set_training(training.network, recipe)
    warming = 1 + 2 * recipe.workers  # what workers prepared ahead came for nothing
    times: list[float] = []
    began = last = time.perf_counter()
    while True:
        for images_Bhw3, labels_Bhw in batches_from(
            loop.batches_of(training, pairs, order), order, 0, lambda reason: None
        ):
            learn(training, lesson, images_Bhw3, labels_Bhw, rate_at(training, len(order), 0))
            times.append(time.perf_counter() - last)
            last = time.perf_counter()
            enough = len(times) >= warming + FEWEST_STEPS and last - began >= limit_s
            if distributed.from_first(enough):
                return statistics.median(times[warming:])
