"""One training step (forward, loss, backward, update) and the learning rate schedule.

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
from pixelwise.heap import give_back
from pixelwise.model.encoders import freeze_statistics
from pixelwise.model.network import Network
from pixelwise.model.preprocess import Preprocess, resize_scores
from pixelwise.records import VOID, Bands
from pixelwise.training import distributed
from pixelwise.training.borders import border_loss, gap_weights
from pixelwise.training.losses import class_weights, segmentation_loss
from pixelwise.training.out_of_memory import is_out_of_memory, too_large
from pixelwise.training.recipe import Recipe
from pixelwise.training.training_state import Training

LARGEST_NORM = 5.0  # of all gradients together: larger ones come from an outlier batch
VANISHED = 1e-30  # a mean gradient below it has no effect on a weight
CLEAR_EVERY = 100  # steps; in so few, no mean shrinks from above VANISHED to a subnormal number


@dataclass(frozen=True)
class AveragedWeights:
    """The running mean of the weights, paired with the weights, tensor by tensor."""

    means: list[Tensor]
    weights: list[Tensor]
    counts: list[Tensor]  # whole numbers, which have no mean
    weights_counts: list[Tensor]


@dataclass(frozen=True)
class StepSetup:
    """What all steps of a training share."""

    preprocess: Preprocess
    weights_C: Tensor
    dice: float
    forward: nn.Module  # the network; with several processes, DistributedDataParallel around it
    bfloat16: bool  # whether the network computes in bfloat16: on GPUs that support it in hardware
    followed: AveragedWeights


def step_setup(training: Training, pixels_C: Sequence[int], bands: Bands) -> StepSetup:
    recipe, network = training.recipe, training.network
    device = next(network.parameters()).device
    # Crops of images that are predicted at full resolution are normalised as they are loaded, by their whole image.
    each_alone = recipe.even_exposure and not recipe.exposure_of_whole(bands)
    preprocess = Preprocess(recipe.size, "stretch", network.mean, network.std, each_alone).to(device)
    weights_C = class_weights(torch.tensor(pixels_C), recipe.class_power).to(device)
    # Older GPUs emulate it, slower than float32.
    bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    followed = followed_by(training.average, network)
    return StepSetup(preprocess, weights_C, recipe.dice, distributed.parallel(network), bfloat16, followed)


def schedule(step: float, steps: int, warmup: float) -> float:
    """The learning rate as a share of its peak: linear warm-up, then cosine decay to zero."""
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
    training: Training, lesson: StepSetup, images_Bhw3: Tensor, labels_Bhw: Tensor, rate: float
) -> str | None:
    """One step; the error message if memory ran out. On return, the memory is free again."""
    try:
        learn(training, lesson, images_Bhw3, labels_Bhw, rate)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return str(error) or "MemoryError"
    return None


def learn(training: Training, lesson: StepSetup, images_Bhw3: Tensor, truth: Tensor, rate: float) -> None:
    """One step: forward, loss, backward, update, running mean. On a GPU the network computes in bfloat16, not the loss.

    With several processes, each trains on its part of the batch, and all reach the same weights.

    Args:
        truth: class ids [B, h, w]; where S classes are separated [B, 1 + S, h, w]: the ids, then the gaps.
    """
    network, so_far = training.network, training.so_far
    device = lesson.weights_C.device
    images_Bhw3, truth = images_Bhw3.to(device, non_blocking=True), truth.to(device, non_blocking=True).long()
    # Randomness inside the network (dropout) depends on the step alone, so that a resumed run repeats it.
    torch.manual_seed(seed_of(training.recipe.seed, training.step))
    for group in training.optimizer.param_groups:
        group["lr"] = rate * group["rate"]
    with torch.autocast(device.type, torch.bfloat16, enabled=lesson.bfloat16):
        scores_BChw = lesson.forward(lesson.preprocess.normalise(images_Bhw3.permute(0, 3, 1, 2)))
    scores_BChw = scores_BChw.float() if lesson.bfloat16 else scores_BChw
    size = truth.shape[-2], truth.shape[-1]
    if training.recipe.all_pixels:
        sampled_truth, sampled_scores = truth, resize_scores(scores_BChw, size)
    else:
        # Neighbouring pixels are nearly redundant: every other one in each direction, in turn, is enough and saves
        # three quarters of the loss's time.
        phase = (training.step % 2, training.step // 2 % 2)
        sampled_truth = truth[..., phase[0] :: 2, phase[1] :: 2]
        sampled_scores = resize_every_other(scores_BChw, size, phase)
    loss, sampled_scores, sampled_labels = loss_of(sampled_scores, sampled_truth, lesson)
    value = finite_loss(loss, training)
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    limit_gradients(network, LARGEST_NORM)
    training.optimizer.step()
    training.step += 1
    if training.step % CLEAR_EVERY == 0:
        clear_vanished(training.optimizer)
    follow(lesson.followed, training.recipe.ema, training.step)
    so_far.steps += 1
    so_far.loss_sum += value
    few_Bhwc = sampled_scores.detach()[..., ::2, ::2].permute(0, 2, 3, 1).contiguous()  # where argmax is fast
    right = (few_Bhwc.argmax(3) == sampled_labels[..., ::2, ::2]).sum()
    seen = (sampled_labels[..., ::2, ::2] != VOID).sum()
    counts = distributed.total_of(torch.stack([right, seen]).cpu().numpy())
    so_far.right, so_far.seen = so_far.right + int(counts[0]), so_far.seen + int(counts[1])


def loss_of(scores_BChw: Tensor, truth: Tensor, lesson: StepSetup) -> tuple[Tensor, Tensor, Tensor]:
    """The loss; the scores of the classes, without the maps of borders; and the labels."""
    if truth.dim() == 3:
        return segmentation_loss(scores_BChw, truth, lesson.weights_C, lesson.dice), scores_BChw, truth
    classes = len(lesson.weights_C)
    scores_BChw, logits_BShw = scores_BChw[:, :classes], scores_BChw[:, classes:]
    labels_Bhw, gaps_BShw = truth[:, 0], truth[:, 1:]
    of_classes = segmentation_loss(scores_BChw, labels_Bhw, lesson.weights_C, lesson.dice, gap_weights(gaps_BShw))
    return of_classes + border_loss(logits_BShw, gaps_BShw, lesson.dice), scores_BChw, labels_Bhw


def out_of_memory(
    training: Training, lesson: StepSetup, images_Bhw3: Tensor, labels_Bhw: Tensor, reason: str
) -> OutOfMemoryError:
    """The error for a batch that does not fit; it names the largest batch that does, found by trying."""
    if distributed.processes() > 1:  # the others are in the middle of the step, so that nothing can be tried
        return OutOfMemoryError(
            f"a step with {len(images_Bhw3)} images needs more memory than process {distributed.process()} has "
            f"({reason.strip().splitlines()[0][:200]}). Start over with a smaller --batch or more processes, and "
            "another --out."
        )

    def fits(count: int) -> bool:
        """Try two steps: the second needs more memory, because the first fragments it."""
        training.optimizer.zero_grad(set_to_none=True)
        give_back()  # what larger batches left allocated must not make a smaller one fail
        few = images_Bhw3[:count], labels_Bhw[:count]
        return all(learn_or_say(training, lesson, *few, 0.0) is None for _ in range(2))

    height, width = images_Bhw3.shape[1:3]
    return too_large(len(images_Bhw3), (height, width), fits, reason)


def set_training(network: Network, recipe: Recipe) -> None:
    """Set training mode; a pretrained encoder keeps ImageNet's statistics, as a batch is too small to replace them."""
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


def resize_every_other(scores_BChw: Tensor, size: tuple[int, int], phase: tuple[int, int]) -> Tensor:
    """Every other row and column, from number `phase` on, of `resize_scores(scores_BChw, size)`.

    Resizing is linear in the rows and in the columns: two small matrix products, in half the time of resizing in full
    and dropping three quarters. At twice the scores' size every pixel lies a quarter of the way from a score to its
    neighbour: half that time again.
    """
    if size == (scores_BChw.shape[2], scores_BChw.shape[3]):
        return scores_BChw[:, :, phase[0] :: 2, phase[1] :: 2]
    if size == (2 * scores_BChw.shape[2], 2 * scores_BChw.shape[3]):
        return towards_neighbour(towards_neighbour(scores_BChw, 2, phase[0]), 3, phase[1])

    def mixtures(places: int, length: int, start: int) -> Tensor:
        """[length / 2, places]: the weight of each place in every other pixel."""
        one_place_each = torch.eye(places, dtype=scores_BChw.dtype, device=scores_BChw.device)[None]
        return nn.functional.interpolate(one_place_each, length, mode="linear")[0].T[start::2]

    rows = mixtures(scores_BChw.shape[2], size[0], phase[0])
    columns = mixtures(scores_BChw.shape[3], size[1], phase[1])
    return rows @ scores_BChw @ columns.T


def towards_neighbour(scores: Tensor, dim: int, phase: int) -> Tensor:
    """Values a quarter of the way to the previous (phase 0) or next (phase 1) one along `dim`; edges repeat."""
    length = scores.shape[dim]
    if phase == 0:
        parts = (scores.narrow(dim, 0, 1), scores.narrow(dim, 0, length - 1))
    else:
        parts = (scores.narrow(dim, 1, length - 1), scores.narrow(dim, length - 1, 1))
    return scores.lerp(torch.cat(parts, dim), 0.25)


def limit_gradients(network: nn.Module, largest: float) -> None:
    """Clip the global norm of the gradients. torch's own function also rewrites gradients that need no clipping."""
    parameters = [parameter for parameter in network.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if norm > largest:
        nn.utils.clip_grads_with_norm_(parameters, largest, norm)


def clear_vanished(optimizer: torch.optim.Optimizer) -> None:
    """Set Adam's mean gradients to zero where they have all but vanished.

    The weights of a dead channel have no gradient, and their means lose a tenth at every step, until they are
    subnormal numbers, with which a CPU is a hundred times slower. That was a quarter of all weights of an ImageNet
    encoder, and made the last epochs of a training 5 % slower than the first.
    """
    for state in optimizer.state.values():
        state["exp_avg"].copy_(nn.functional.hardshrink(state["exp_avg"], VANISHED))


def followed_by(average: dict[str, Tensor], network: nn.Module) -> AveragedWeights:
    """Pair the tensors of `average` with those of `network`; both are updated in place during training."""
    theirs = network.state_dict()
    means = [name for name, tensor in average.items() if tensor.is_floating_point()]
    counts = [name for name in average if name not in means]
    return AveragedWeights(
        *([tensors[name] for name in names] for names in (means, counts) for tensors in (average, theirs))
    )


def follow(followed: AveragedWeights, decay: float, step: int) -> None:
    """Move the running mean of the weights towards the weights; faster at first, while they still change a lot."""
    torch._foreach_lerp_(followed.means, followed.weights, 1 - min(decay, step / (10 + step)))
    for kept, count in zip(followed.counts, followed.weights_counts, strict=True):
        kept.copy_(count)


def seed_of(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
