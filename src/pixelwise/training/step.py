"""One step: a batch forward, its loss, backward, the update. And the learning rate at it.

Shapes: B batch, C classes, h and w the network's input size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.errors import DivergedError, OutOfMemoryError
from pixelwise.model.encoders import freeze_statistics
from pixelwise.model.network import Network
from pixelwise.model.preprocess import Preprocess, resize_scores
from pixelwise.records import VOID
from pixelwise.training import distributed
from pixelwise.training.losses import class_weights, segmentation_loss
from pixelwise.training.memory import is_out_of_memory, too_large
from pixelwise.training.recipe import Recipe
from pixelwise.training.state import Training


@dataclass(frozen=True)
class Lesson:
    """What a step needs and never changes."""

    preprocess: Preprocess
    weights_C: Tensor
    dice: float
    forward: nn.Module  # the network, with whatever brings the gradients of several processes together
    bfloat16: bool  # whether the network computes in it: on GPUs that do so themselves


def lesson_of(recipe: Recipe, network: Network, pixels_C: Sequence[int]) -> Lesson:
    device = next(network.parameters()).device
    preprocess = Preprocess(recipe.size, "stretch", network.mean, network.std, recipe.even_exposure).to(device)
    weights_C = class_weights(torch.tensor(pixels_C), recipe.class_power).to(device)
    # Older GPUs only imitate it, slower than float32.
    bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return Lesson(preprocess, weights_C, recipe.dice, distributed.parallel(network), bfloat16)


def schedule(step: float, steps: int, warmup: float) -> float:
    """The learning rate's share of its highest value: rises linearly, then falls along a cosine to zero."""
    rising = max(round(steps * warmup), 1)
    if step < rising:
        return min((step + 1) / rising, 1.0)
    return 0.5 * (1 + math.cos(math.pi * min((step - rising) / max(steps - rising, 1), 1.0)))


def rate_at(training: Training, steps: int, done: int | None = None) -> float:
    """The learning rate of the next step, or of the one after `done` steps of this epoch of `steps`."""
    recipe = training.recipe
    done = training.so_far.steps if done is None else done
    whole = recipe.epochs * steps
    share = recipe.share_at(training.epoch + done / steps)
    return recipe.learning_rate * schedule(share * whole, whole, recipe.warmup)


def learn_or_say(
    training: Training, lesson: Lesson, images_Bhw3: Tensor, labels_Bhw: Tensor, rate: float
) -> str | None:
    """One step; the error's words where memory did not suffice. Once this has returned, the memory is free again."""
    try:
        learn(training, lesson, images_Bhw3, labels_Bhw, rate)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return str(error) or "MemoryError"
    return None


def learn(training: Training, lesson: Lesson, images_Bhw3: Tensor, labels_Bhw: Tensor, rate: float) -> None:
    """One step: forward, loss, backward, update, running mean. On a GPU the network computes in bfloat16, not the loss.

    Of several processes each learns from its part of the batch, and all come to the same weights.
    """
    network, so_far = training.network, training.so_far
    device = lesson.weights_C.device
    images_Bhw3, labels_Bhw = images_Bhw3.to(device, non_blocking=True), labels_Bhw.to(device, non_blocking=True)
    # Whatever is random in a network depends on the step alone, so that any of them can be repeated.
    torch.manual_seed(seed_of(training.recipe.seed, training.step))
    for group in training.optimizer.param_groups:
        group["lr"] = rate * group["rate"]
    with torch.autocast(device.type, torch.bfloat16, enabled=lesson.bfloat16):
        scores_BChw = lesson.forward(lesson.preprocess.normalise(images_Bhw3.permute(0, 3, 1, 2)))
    scores_BChw = resize_scores(
        scores_BChw.float() if lesson.bfloat16 else scores_BChw, (labels_Bhw.shape[1], labels_Bhw.shape[2])
    )
    # Neighbouring pixels say nearly the same: every other one in each direction, in turn, is enough and spares
    # three quarters of the loss's time.
    phase = (..., slice(training.step % 2, None, 2), slice(training.step // 2 % 2, None, 2))
    sampled_scores, sampled_labels = scores_BChw[phase], labels_Bhw[phase]
    loss = segmentation_loss(sampled_scores, sampled_labels, lesson.weights_C, lesson.dice)
    value = finite_loss(loss, training)
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    training.optimizer.step()
    training.step += 1
    follow(training.average, network, training.recipe.ema, training.step)
    so_far.steps += 1
    so_far.loss_sum += value
    right = (sampled_scores.detach()[..., ::2, ::2].argmax(1) == sampled_labels[..., ::2, ::2]).sum()
    seen = (sampled_labels[..., ::2, ::2] != VOID).sum()
    counts = distributed.total_of(torch.stack([right, seen]).cpu().numpy())
    so_far.right, so_far.seen = so_far.right + int(counts[0]), so_far.seen + int(counts[1])


def out_of_memory(
    training: Training, lesson: Lesson, images_Bhw3: Tensor, labels_Bhw: Tensor, reason: str
) -> OutOfMemoryError:
    """The error for a batch that does not fit, with the largest one that was tried and does."""
    if distributed.processes() > 1:  # the others are in the middle of the step: there is nothing to try it with
        return OutOfMemoryError(
            f"a step with {len(images_Bhw3)} images needs more memory than process {distributed.process()} has "
            f"({reason.strip().splitlines()[0][:200]}). Start anew with a smaller --batch or on more processes, and "
            "another --out."
        )

    def fits(count: int) -> bool:
        training.optimizer.zero_grad(set_to_none=True)
        return learn_or_say(training, lesson, images_Bhw3[:count], labels_Bhw[:count], 0.0) is None

    height, width = images_Bhw3.shape[1:3]
    return too_large(len(images_Bhw3), (height, width), fits, reason)


def set_training(network: Network, recipe: Recipe) -> None:
    """Training mode, but a pretrained encoder keeps ImageNet's statistics: a batch is too small to replace them."""
    network.train()
    encoder = network.encoder_module()
    if recipe.pretrained and encoder is not None:
        freeze_statistics(encoder)


def finite_loss(loss: Tensor, training: Training) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise DivergedError(
            f"the loss became {value} in epoch {training.epoch + 1}, step {training.step + 1}. The checkpoint of epoch "
            f"{training.epoch} is kept. Lower the learning rate (--learning-rate) or check the data (pixelwise check)."
        )
    return value


def follow(average: dict[str, Tensor], network: nn.Module, decay: float, step: int) -> None:
    """Move the running mean of the weights towards the weights; faster at first, when they still change a lot."""
    decay = min(decay, step / (10 + step))
    theirs = network.state_dict()
    floating = [name for name, tensor in average.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([average[n] for n in floating], [theirs[n] for n in floating], 1 - decay)
    for name in average.keys() - floating:
        average[name].copy_(theirs[name])


def seed_of(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
