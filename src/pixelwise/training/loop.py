"""Training, from a folder to a bundle. Reads top to bottom.

Shapes: B batch, C classes, h and w the network's input size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.data.loader import Augmentation, Order, Pairs, training_batches
from pixelwise.errors import DivergedError
from pixelwise.metrics.confusion import Scores
from pixelwise.model.build import ModelConfig, build
from pixelwise.model.encoders import EfficientNetLite, freeze_statistics
from pixelwise.model.network import Network
from pixelwise.model.preprocess import Preprocess, resize_scores
from pixelwise.records import VOID, Dataset
from pixelwise.tracing.recorder import Event, Listener
from pixelwise.tracing.words import observe
from pixelwise.training import checkpoint as ck
from pixelwise.training.losses import class_weights, segmentation_loss
from pixelwise.training.recipe import Recipe
from pixelwise.training.validate import Validation, validate


@dataclass
class Training:
    """Everything that changes while training, and so everything that a checkpoint holds."""

    network: Network
    average: dict[str, Tensor]  # running mean of the weights; what is validated and shipped
    optimizer: torch.optim.Optimizer
    epoch: int = 0  # finished epochs
    step: int = 0
    best_miou: float = -1.0
    best_epoch: int = 0
    history: list[Event] | None = None


def start(recipe: Recipe, classes: int) -> Training:
    """A training that has not seen an image yet."""
    torch.manual_seed(recipe.seed)
    network = build(ModelConfig(recipe.model, recipe.encoder, classes, recipe.pretrained))
    average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    return Training(network, average, make_optimizer(network, recipe), history=[])


def make_optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; a pretrained encoder learns slower than what starts from nothing, and its first stages not at all."""
    encoder = getattr(network, "encoder", None)
    pretrained = recipe.pretrained and isinstance(encoder, EfficientNetLite)
    slow: set[int] = set()
    if pretrained:
        assert isinstance(encoder, EfficientNetLite)
        for depth, parameter in encoder.parameters_by_depth():
            parameter.requires_grad_(depth > recipe.frozen_stages)
            slow.add(id(parameter))
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            rate = recipe.encoder_rate if id(parameter) in slow else 1.0
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0  # norms and biases are not shrunk
            groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": parameters, "rate": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()],
        lr=recipe.learning_rate,
        fused=True,
    )


def schedule(step: int, steps: int, warmup: float) -> float:
    """The learning rate's share of its highest value: rises linearly, then falls along a cosine to zero."""
    rising = max(round(steps * warmup), 1)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))


def run_epochs(
    training: Training,
    dataset: Dataset,
    pixels_C: Sequence[int],
    pairs: Pairs,
    validation: Validation,
    recipe: Recipe,
    folder: Path,
    tell: Listener,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> None:
    """Train from where `training` stands to the recipe's last epoch, telling and saving after each.

    Raises:
        DivergedError: the loss is not a number any more; the last checkpoint stays.
    """
    network = training.network
    preprocess = Preprocess(recipe.size, "stretch", network.mean, network.std, recipe.even_exposure)
    weights_C = class_weights(torch.tensor(pixels_C), recipe.class_power)
    augmentation = Augmentation(
        recipe.size, recipe.policy, recipe.zoom, recipe.flip, recipe.light, recipe.seed, recipe.size_at, recipe.turn
    )
    order = Order(len(pairs), recipe.batch, recipe.seed)
    batches = training_batches(pairs, augmentation, order, recipe.workers)
    steps = recipe.epochs * len(order)

    while training.epoch < recipe.epochs:
        began = time.perf_counter()
        order.epoch = training.epoch
        torch.manual_seed(
            seed_of(recipe.seed, training.epoch)
        )  # whatever is random in a network, so that an epoch can be repeated
        set_training(network, recipe)
        losses, right, seen = [], 0, 0
        for images_Bhw3, labels_Bhw in batches:
            rate = schedule(training.step, steps, recipe.warmup)
            for group in training.optimizer.param_groups:
                group["lr"] = recipe.learning_rate * group["rate"] * rate
            scores_BChw = network(preprocess.normalise(images_Bhw3.permute(0, 3, 1, 2)))
            scores_BChw = resize_scores(scores_BChw, labels_Bhw.shape[1:])
            # Neighbouring pixels say nearly the same: every other one in each direction, in turn, is enough and spares
            # three quarters of the loss's time.
            phase = (..., slice(training.step % 2, None, 2), slice(training.step // 2 % 2, None, 2))
            sampled_scores, sampled_labels = scores_BChw[phase], labels_Bhw[phase]
            loss = segmentation_loss(sampled_scores, sampled_labels, weights_C, recipe.dice)
            losses.append(finite_loss(loss, training))
            training.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            training.optimizer.step()
            training.step += 1
            follow(training.average, network, recipe.ema, training.step)
            progress(f"epoch {training.epoch + 1}", len(losses), len(order))
            right += int((sampled_scores.detach()[..., ::2, ::2].argmax(1) == sampled_labels[..., ::2, ::2]).sum())
            seen += int((sampled_labels[..., ::2, ::2] != VOID).sum())
        trained = time.perf_counter()
        training.epoch += 1

        scores = validation_scores(training, validation, folder)
        previous_best = training.best_miou
        if not math.isnan(scores.scores.miou) and scores.scores.miou > training.best_miou:
            training.best_miou, training.best_epoch = scores.scores.miou, training.epoch
        event = epoch_event(training, dataset, scores, losses, right / max(seen, 1), rate * recipe.learning_rate)
        event["seconds"] = round(time.perf_counter() - began, 2)
        event["images_per_second"] = round(len(order) * recipe.batch / (trained - began), 1)
        event["best"] = training.best_miou > previous_best
        assert training.history is not None
        training.history.append(event)
        event["observation"] = observe(training.history)
        save(training, folder, best=event["best"])
        tell(event)
        tell({"event": "checkpoint", "epoch": training.epoch, "step": training.step, "best": event["best"]})


def set_training(network: nn.Module, recipe: Recipe) -> None:
    """Training mode, but a pretrained encoder keeps ImageNet's statistics: a batch is too small to replace them."""
    network.train()
    encoder = getattr(network, "encoder", None)
    if recipe.pretrained and isinstance(encoder, EfficientNetLite):
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


def seed_of(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def validation_scores(training: Training, validation: Validation, folder: Path) -> Any:
    """Validate the averaged weights, then put the training ones back."""
    network = training.network
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(training.average)
    try:
        return validate(network, validation, folder / "previews" / f"epoch-{training.epoch:04d}")
    finally:
        network.load_state_dict(own)


def epoch_event(
    training: Training, dataset: Dataset, result: Any, losses: Sequence[float], train_accuracy: float, rate: float
) -> Event:
    """What an epoch came to, for people and machines."""
    scores: Scores = result.scores
    names = dataset.classes.names
    true_C = result.matrix.sum(axis=1) / max(result.matrix.sum(), 1)
    predicted_C = result.matrix.sum(axis=0) / max(result.matrix.sum(), 1)
    return {
        "event": "epoch",
        "epoch": training.epoch,
        "loss": float(np.mean(losses)),
        "train_accuracy": train_accuracy,
        "val_loss": result.loss,
        "accuracy": scores.accuracy,
        "miou": scores.miou,
        "iou": dict(zip(names, scores.iou_C.tolist(), strict=True)),
        "true": dict(zip(names, true_C.tolist(), strict=True)),
        "predicted": dict(zip(names, predicted_C.tolist(), strict=True)),
        "learning_rate": rate,
    }


def save(training: Training, folder: Path, best: bool) -> None:
    """Write a checkpoint of everything, and the averaged weights apart where they are the best so far."""
    parameters = {name: p for name, p in training.network.named_parameters() if p.requires_grad}
    names = {id(parameter): name for name, parameter in parameters.items()}
    moments = {
        f"{names[id(parameter)]}.{key}": value
        for parameter, values in training.optimizer.state.items()
        for key, value in values.items()
    }
    tensors = {
        **ck.flatten("network", training.network.state_dict()),
        **ck.flatten("average", training.average),
        **ck.flatten("optimizer", moments),
    }
    state = {
        "epoch": training.epoch,
        "step": training.step,
        "best_miou": training.best_miou,
        "best_epoch": training.best_epoch,
        "history": training.history,
    }
    if best:
        ck.save_weights(folder / "checkpoints" / "best.safetensors", training.average, {"epoch": training.epoch})
    ck.save_checkpoint(folder / "checkpoints", training.step, tensors, state)


def restore(training: Training, path: Path) -> None:
    """Put `training` where it was when the checkpoint at `path` was written."""
    tensors, state = ck.load_checkpoint(path)
    training.network.load_state_dict(ck.unflatten("network", tensors))
    for name, tensor in ck.unflatten("average", tensors).items():
        training.average[name].copy_(tensor)
    moments = ck.unflatten("optimizer", tensors)
    for name, parameter in training.network.named_parameters():
        if parameter.requires_grad:
            # The fused optimizer walks through memory, so its moments must lie in memory as the parameter does.
            state_of = training.optimizer.state[parameter]
            state_of["step"] = moments[f"{name}.step"]
            for key in ("exp_avg", "exp_avg_sq"):
                state_of[key] = torch.empty_like(parameter).copy_(moments[f"{name}.{key}"])
    for key, value in state.items():
        setattr(training, key, value)
