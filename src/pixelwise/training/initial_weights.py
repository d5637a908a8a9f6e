"""Starting from the weights of another run or of a bundle, rather than from ImageNet's: `train --start-from`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.errors import UsageError
from pixelwise.prediction.built_in_models import models
from pixelwise.training.bundle_weights import folded_weights, unfold
from pixelwise.training.checkpoint import load_checkpoint
from pixelwise.training.recipe import Recipe
from pixelwise.training.training_state import Training

NETWORK_FIELDS = ("model", "encoder", "stride")  # of the recipe, which determine the layers


@dataclass(frozen=True)
class InitialWeights:
    """The weights of another run's best epoch, or of a bundle."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]  # "run", "epoch", "sha256"; of its bundle, if any: "temperature", "metrics", "licence"
    folded: bool = False  # as in a bundle: every normalisation is part of its convolution


def start_place(given: Path | str) -> Path:
    """The run directory or bundle that `--start-from` names: a path, or the name of a built-in model."""
    known = {model.name: model.path for model in models()}
    return Path(given) if Path(given).exists() else known.get(str(given), Path(given))


def recipe_of_start(place: Path) -> Recipe:
    """The recipe of a run directory or bundle to start from.

    Raises:
        UsageError: `place` is neither, or has no recipe that this version can read.
        BundleError: the bundle cannot be read.
    """
    if not place.is_file():
        return Recipe.from_file(place / "recipe.toml")
    recorded = read_bundle(place).metadata.provenance.get("recipe")
    if not isinstance(recorded, dict):
        raise UsageError(f"{place}: records no recipe, so its layers are not known. Start from a run directory.")
    fields = {name: recorded[name] for name in NETWORK_FIELDS if name in recorded}
    return Recipe().with_values(fields, f"{place}: recipe")


def beginning_at(place: Path, recipe: Recipe | None) -> InitialWeights:
    """Read the weights of another run's best epoch, or of a bundle.

    Args:
        recipe: of the training to start. None: it is planned around that run's network.

    Raises:
        UsageError: `place` is neither a bundle nor a run directory with a finished epoch, or its network is not that of
            `recipe`.
        TrainingError: the weights cannot be read.
        BundleError: its bundle cannot be read.
    """
    best = place / "checkpoints" / "best.safetensors"
    if not place.is_file() and not best.is_file():
        built_in = ", ".join(model.name for model in models())
        raise UsageError(
            f"{place}: not a run directory with a finished epoch to start from: {best} is missing. Nor is it a bundle, "
            f"or a built-in model ({built_in})."
        )
    theirs = recipe_of_start(place)
    for part in NETWORK_FIELDS if recipe else ():
        was, asked = getattr(theirs, part), getattr(recipe, part)
        if was != asked:
            raise UsageError(f"{place}: its {part} is {was}, but this recipe has {asked}. Add --set {part}={was}.")
    if place.is_file():
        return of_bundle(place, theirs)
    tensors, state = load_checkpoint(best)
    bundle = place / "model.onnx"  # missing if that run was interrupted before its export
    return InitialWeights(
        tensors,
        {
            "run": str(place.resolve()),
            "epoch": state["epoch"],
            "sha256": hashlib.sha256(best.read_bytes()).hexdigest(),
            **(facts_of(bundle) if bundle.exists() else {}),
        },
    )


def of_bundle(bundle: Path, recipe: Recipe) -> InitialWeights:
    metrics = read_bundle(bundle).metadata.provenance.get("metrics") or {}
    facts = {
        "run": str(bundle.resolve()),
        "epoch": metrics.get("epoch", 0),
        "sha256": hashlib.sha256(bundle.read_bytes()).hexdigest(),
        **facts_of(bundle),
        "licence": read_bundle(bundle).metadata.licence,
    }
    return InitialWeights(folded_weights(bundle, recipe.model), facts, folded=True)


def facts_of(bundle: Path) -> dict[str, Any]:
    metadata = read_bundle(bundle).metadata
    return {"temperature": metadata.temperature, "metrics": metadata.provenance.get("metrics")}


def take_weights(training: Training, beginning: InitialWeights, images_BNhw: Sequence[Tensor]) -> list[str]:
    """Load them into a training before its first step. Returns the names of the tensors that keep their random values,
    because their shape depends on other classes or bands.

    Args:
        images_BNhw: normalised inputs of the network; read only for the weights of a bundle.
    """
    if beginning.folded:
        untrained = unfold(training.network, beginning.tensors, images_BNhw)
    else:
        own = training.network.state_dict()
        fitting = {
            name: tensor
            for name, tensor in beginning.tensors.items()
            if name in own and own[name].shape == tensor.shape
        }
        training.network.load_state_dict({**own, **fitting})
        untrained = sorted(own.keys() - fitting.keys())
    for name, tensor in training.network.state_dict().items():
        training.average[name].copy_(tensor)
    return untrained
