"""Training throughput on this machine: some steps, validation and export, timed on networks that are discarded.

Shapes: B batch, h and w the network's input size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from pixelwise.bundle.export import NetworkGraph, deployable
from pixelwise.bundle.graph_template import only_convolutions
from pixelwise.model.mirrored import Mirrored
from pixelwise.model.network import Network
from pixelwise.records import Raster
from pixelwise.training import distributed, loop
from pixelwise.training.calibration_images import as_taken, middle_of
from pixelwise.training.export_run import PARITY_IMAGES, rehearse_export
from pixelwise.training.lost_workers import batches_from
from pixelwise.training.recipe import Recipe
from pixelwise.training.step import learn, rate_at, set_training, step_setup
from pixelwise.training.time_budget import Budget, require_time
from pixelwise.training.training_state import CPU, Stopwatch, start
from pixelwise.training.validate import Validation, validate

MEASURED_SHARE = 0.01  # of the budget, for each of the two sizes
MEASURED_S = (1.0, 10.0)  # but at least and at most this long
TURN = 3  # steps at one size before switching to the other
IMAGES = 8  # of the validation split
EXPORT = 1.5  # time of an export relative to its rehearsal: the file is also written and read back
REHEARSED = 3  # a rehearsal that took more than so many times the time for steps is not repeated
EPOCH_SHARE = 0.03  # of the time that is left: validation of one epoch takes no more, or has one image
COMPARED = 8 / 3  # an image is labelled by the network and by the graph, and so is a third of it


def measure(
    recipe: Recipe,
    data: loop.EpochData,
    budget_s: float,
    device: torch.device = CPU,
    clock: Stopwatch | None = None,
) -> tuple[Budget, int]:
    """Time real steps at both crop sizes, validation and export, on networks that are discarded.

    All processes take part; the measurements of the first one count.

    Args:
        clock: of the budget. None: it starts now.

    Returns:
        What the parts of the training take, and how many images to validate on; 0: all.

    Raises:
        TrainingError: this network cannot be exported.
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
    network = start(recipe, len(validation.classes), device, validation.preprocess.bands).network
    image_s = validated_s(network, validation, 1)
    if image_s < limit_s:  # the first image includes one-time costs: measure more if there is time
        image_s = validated_s(network, validation, min(IMAGES, max(int(limit_s / image_s), 1)))
    in_time()
    left_s = budget_s - clock.seconds()
    images = affordable_images(recipe, image_s / distributed.processes(), len(validation.pairs), left_s)
    validation_s = image_s * (images or len(validation.pairs)) / distributed.processes()
    export_s = 0.0
    if distributed.is_first():
        exported = Mirrored(network, recipe.mirrors) if recipe.mirrors > 1 else network
        rehearsal_s = rehearsed_s(exported, validation)
        # The first time includes imports, and tracing what later exports take from a template.
        if rehearsal_s < REHEARSED * limit_s or only_convolutions(deployable(exported)):
            rehearsal_s = rehearsed_s(exported, validation)
        export_s = EXPORT * rehearsal_s
        export_s += COMPARED * answered_s(exported, validation, limit_s) * min(PARITY_IMAGES, len(validation.pairs))
        if recipe.mirrors > 1:  # scores and calibration are measured with mirror images
            export_s += validation_s * (recipe.mirrors - 1)
    return Budget(budget_s, small_s[0] if small_s else full_s, full_s, validation_s, export_s), images


def affordable_images(recipe: Recipe, image_s: float, count: int, left_s: float) -> int:
    """How many of `count` images, which take `image_s` each, to validate on in one epoch; 0: all."""
    asked = recipe.val_images or count
    return recipe.val_images if asked * image_s <= EPOCH_SHARE * left_s else max(int(EPOCH_SHARE * left_s / image_s), 1)


def validated_s(network: Network, validation: Validation, count: int) -> float:
    """Seconds to validate one image: the mean over the first `count` of the val split."""
    part = validation.pairs.part(count)
    began = time.perf_counter()
    validate(network, replace(validation, pairs=part))
    return (time.perf_counter() - began) / len(part)


def rehearsed_s(network: Network, validation: Validation) -> float:
    """Seconds in which the network is exported, untrained and without comparisons."""
    began = time.perf_counter()
    rehearse_export(network, validation.preprocess)
    return time.perf_counter() - began


def answered_s(network: Network, validation: Validation, limit_s: float) -> float:
    """Seconds in which the network labels one of the images on which an export is compared with it."""
    image_HWN = as_taken(middle_of(validation.pairs[0][0]), validation.preprocess.bands)
    graph = NetworkGraph(network, validation.preprocess).cpu().eval()
    answers = [timed_answer(graph, image_HWN)]
    if answers[0] < limit_s:  # the first includes one-time costs
        answers.append(timed_answer(graph, image_HWN))
    return answers[-1]


def timed_answer(graph: NetworkGraph, image_HWN: Raster) -> float:
    """Seconds of one answer."""
    began = time.perf_counter()
    graph.answer(image_HWN)
    return time.perf_counter() - began


def steps_s(recipes: Sequence[Recipe], data: loop.EpochData, limit_s: float, device: torch.device) -> list[float]:
    """Seconds of a step with each recipe: the mean of those that fit into `limit_s` together, after warm-up.

    The recipes take turns, so that other load on the machine slows them alike. If not even the warm-up fits, one step
    of each counts.
    """
    courses = [timed_steps(recipe, data, device) for recipe in recipes]
    # Batches that workers loaded while another recipe had its turn cost no waiting time: skip them.
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
    """Train endlessly; yields the seconds of each step, including loading its batch."""
    training = start(recipe, len(data.validation.classes), device, data.pairs.bands)
    lesson = step_setup(training, data.pixels_C, data.pairs.bands)
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
