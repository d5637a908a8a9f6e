"""Starting from another run's weights, rather than from ImageNet's: `train --start-from RUN`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.errors import UsageError
from pixelwise.training.checkpoint import load_checkpoint
from pixelwise.training.recipe import Recipe
from pixelwise.training.training_state import Training


@dataclass(frozen=True)
class InitialWeights:
    """The weights of another run's best epoch."""

    tensors: dict[str, Tensor]
    facts: dict[
        str, Any
    ]  # "run", "epoch", "sha256" of the weights; of its bundle, where there is one: "temperature", "metrics"


def beginning_at(run: Path, recipe: Recipe | None) -> InitialWeights:
    """Read the weights of another run's best epoch.

    Args:
        recipe: of the training to start. None: it is planned around that run's network.

    Raises:
        UsageError: `run` is not a run directory with a finished epoch, or its network is not that of `recipe`.
        TrainingError: the weights cannot be read.
        BundleError: its bundle cannot be read.
    """
    best = run / "checkpoints" / "best.safetensors"
    if not best.is_file():
        raise UsageError(
            f"{run}: not a run directory with a finished epoch to start from: {best} is missing. A bundle cannot be "
            "trained further: its layers are fused."
        )
    theirs = Recipe.from_file(run / "recipe.toml")
    for part in ("model", "encoder", "stride") if recipe else ():
        was, asked = getattr(theirs, part), getattr(recipe, part)
        if was != asked:
            raise UsageError(f"{run}: its {part} is {was}, but this recipe has {asked}. Add --set {part}={was}.")
    tensors, state = load_checkpoint(best)
    facts = {
        "run": str(run.resolve()),
        "epoch": state["epoch"],
        "sha256": hashlib.sha256(best.read_bytes()).hexdigest(),
    }
    bundle = run / "model.onnx"  # missing if that run was interrupted before its export
    if bundle.exists():
        metadata = read_bundle(bundle).metadata
        facts |= {"temperature": metadata.temperature, "metrics": metadata.provenance.get("metrics")}
    return InitialWeights(tensors, facts)


def take_weights(training: Training, beginning: InitialWeights) -> list[str]:
    """Load them into a training before its first step. Returns the names of the tensors that keep their random values,
    because their shape depends on other classes or bands."""
    own = training.network.state_dict()
    fitting = {
        name: tensor for name, tensor in beginning.tensors.items() if name in own and own[name].shape == tensor.shape
    }
    training.network.load_state_dict({**own, **fitting})
    for name, tensor in training.network.state_dict().items():
        training.average[name].copy_(tensor)
    return sorted(own.keys() - fitting.keys())
