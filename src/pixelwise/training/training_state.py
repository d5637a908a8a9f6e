"""The state of a training: created, saved to a checkpoint, restored."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.model.build_network import build
from pixelwise.model.network import ModelConfig, Network
from pixelwise.records import RGB, Bands
from pixelwise.trace_events import Event
from pixelwise.training import checkpoint as ck
from pixelwise.training import distributed
from pixelwise.training.recipe import Recipe
from pixelwise.training.time_budget import Budget

CPU = torch.device("cpu")


class Stopwatch:
    """Seconds of a run, including earlier processes; unaffected by changes of the system clock."""

    def __init__(self, before_s: float = 0.0, began: float | None = None) -> None:
        self.before_s = before_s
        self.began = time.perf_counter() if began is None else began

    def seconds(self) -> float:
        return self.before_s + time.perf_counter() - self.began


@dataclass
class EpochSoFar:
    """Sums over the current epoch, so that an interruption in its middle loses nothing."""

    steps: int = 0
    loss_sum: float = 0.0
    right: int = 0  # of the pixels looked at
    seen: int = 0
    seconds: float = 0.0


@dataclass
class Training:
    """Everything that changes while training: the content of a checkpoint."""

    recipe: Recipe
    network: Network
    average: dict[str, Tensor]  # running mean of the weights; what is validated and shipped
    optimizer: torch.optim.Optimizer
    history: list[Event]
    epoch: int = 0  # finished epochs
    step: int = 0
    best_miou: float = -1.0
    best_epoch: int = 0
    so_far: EpochSoFar = field(default_factory=EpochSoFar)
    clock: Stopwatch = field(default_factory=Stopwatch)  # of this run, over all its processes
    budget: Budget | None = None
    saving_s: float = 0.0  # how long the last checkpoint took to write; not saved


def start(recipe: Recipe, classes: int, device: torch.device = CPU, bands: Bands = RGB) -> Training:
    """A training before its first step."""
    torch.manual_seed(recipe.seed)
    config = ModelConfig(
        recipe.model, recipe.encoder, classes, recipe.pretrained, recipe.stride, bands.names, len(recipe.separate)
    )
    network = build(config).to(device)
    average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    return Training(recipe, network, average, make_optimizer(network, recipe, bands), history=[])


def make_optimizer(network: Network, recipe: Recipe, bands: Bands = RGB) -> torch.optim.Optimizer:
    """AdamW; a pretrained encoder gets a lower learning rate, and its first stages are frozen.

    None is frozen where its first filters were not made for these bands: training them is worth nine points of IoU
    (benchmarks/stem.py).
    """
    frozen_stages = recipe.frozen_stages if bands.names == RGB.names or len(bands) == 1 else -1
    slow: set[int] = set()
    if recipe.pretrained:
        for depth, parameter in network.encoder_parameters():
            parameter.requires_grad_(depth > frozen_stages)
            slow.add(id(parameter))
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            rate = recipe.encoder_rate if id(parameter) in slow else 1.0
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0  # no decay for norms and biases
            groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": parameters, "rate": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()],
        lr=recipe.learning_rate,
        fused=True,
    )


def save(training: Training, folder: Path, best: bool = False) -> None:
    """Write a checkpoint, and the averaged weights to a file of their own if they are the best so far.

    With several processes, only the first writes.

    Raises:
        OutputError: the disk is full or the folder cannot be written; the checkpoints before this one stay.
    """
    if not distributed.is_first():
        return
    if best:
        ck.save_weights(folder / "checkpoints" / "best.safetensors", training.average, {"epoch": training.epoch})
    ck.save_checkpoint(folder / "checkpoints", training.step, *packed(training))


def packed(training: Training) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state as tensors by name and as JSON values. `restore` is the inverse."""
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
        "so_far": asdict(training.so_far),
        "used_s": training.clock.seconds(),
        "plan": training.recipe.segments,
        "last_step": training.recipe.last_step,
        "budget": asdict(training.budget) if training.budget else None,
    }
    return tensors, state


def start_alike(training: Training) -> None:
    """Broadcast the first process's state to all processes. Only the first reads and writes checkpoints."""
    if distributed.processes() > 1:
        training.recipe = Recipe.from_toml(distributed.from_first(training.recipe.to_toml()))  # a budget changes it
        tensors, state = packed(training)
        tensors, state = distributed.tensors_from_first(tensors), distributed.from_first(state)
        if not distributed.is_first():
            restore(training, tensors, state)


def restore(training: Training, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Restore the state from a checkpoint's `tensors` and `state`."""
    training.network.load_state_dict(ck.unflatten("network", tensors))
    for name, tensor in ck.unflatten("average", tensors).items():
        training.average[name].copy_(tensor)
    moments = ck.unflatten("optimizer", tensors)
    for name, parameter in training.network.named_parameters():
        if parameter.requires_grad and f"{name}.step" in moments:  # none before the first step
            # The fused optimizer needs its moments in the same memory layout as the parameter.
            state_of = training.optimizer.state[parameter]
            state_of["step"] = moments[f"{name}.step"].to(parameter.device)
            for key in ("exp_avg", "exp_avg_sq"):
                state_of[key] = torch.empty_like(parameter).copy_(moments[f"{name}.{key}"])
    for key in ("epoch", "step", "best_miou", "best_epoch", "history"):
        setattr(training, key, state[key])
    training.so_far = EpochSoFar(**state["so_far"])
    training.clock.before_s = state["used_s"]
    training.budget = Budget(**state["budget"]) if state["budget"] else None
    plan = tuple((first, epochs, steps) for first, epochs, steps in state["plan"])
    last_step = state.get("last_step", 0)  # older checkpoints have none
    if (plan, last_step) != (training.recipe.segments, training.recipe.last_step):
        training.recipe = replace(training.recipe, epochs=plan[-1][1], plan=plan, last_step=last_step)
