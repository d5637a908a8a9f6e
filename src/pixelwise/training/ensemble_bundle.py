"""The networks of a cross-validation as one bundle, whose probabilities are the mean of theirs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelwise.bundle.bundle_file import MAX_BYTES, read_bundle
from pixelwise.bundle.export import export_graph, stages_of, write_bundle
from pixelwise.errors import UsageError
from pixelwise.model.build_network import build, weights_licence
from pixelwise.model.ensemble import Ensemble
from pixelwise.model.network import ModelConfig
from pixelwise.model.rescaled import Rescaled
from pixelwise.trace_events import Listener, nobody
from pixelwise.training.calibration_images import as_taken, compared_part
from pixelwise.training.export_run import (
    PARITY_IMAGES,
    bands_of,
    load_best_epoch,
    metadata_of,
    provenance_of,
    validation_of,
)
from pixelwise.training.recipe import Recipe

HEADROOM = 1.05  # of a bundle's size over its weights


def export_ensemble(
    runs: Sequence[Path],
    out: Path,
    recipe: Recipe,
    metrics: dict[str, Any],
    *,
    data_licence: str = "not recorded; see where the data came from",
    tell: Listener = nobody,
) -> None:
    """Write the bundle of `runs`, one finished run directory per fold, to `out`/model.onnx.

    Its scores are the logarithm of the mean of the calibrated probabilities, so its own temperature is 1. The exported
    graph is compared with the torch networks on images of every fold.

    Args:
        out: folder of the cross-validation, with data.json.
        metrics: the out-of-fold scores, as the bundle records them.
        tell: called with the "export" event, and with a "warning" if graph and networks differ by more than rounding.

    Raises:
        BundleError: the exported graph is not the trained networks. Nothing was written.
    """
    members = [load_best_epoch(run) for run in runs]
    temperatures = [read_bundle(run / "model.onnx").metadata.temperature for run in runs]
    data = json.loads((out / "data.json").read_text(encoding="utf-8"))
    bands = bands_of(data)  # of all training images; each fold measured the ranges of its own
    networks = [
        member.network if member.bands == bands else Rescaled(member.network, member.bands, bands) for member in members
    ]
    network = Ensemble(networks, temperatures)
    every = [row for rows in data["splits"].values() for row in rows]
    first = members[0]
    whole = replace(
        first,
        run=out,
        recipe=recipe,
        network=network,
        data=data | {k: v for k, v in first.data.items() if k == "start"},
    )
    validations = [validation_of(member.data, recipe, member.preprocess, member.classes) for member in members]
    places = [(i // len(runs), validations[i % len(runs)].pairs) for i in range(PARITY_IMAGES)]
    pictures = (pairs[turn][0] for turn, pairs in places if turn < len(pairs))
    images = [as_taken(compared_part(one, recipe.policy, recipe.in_crops), bands) for one in pictures]
    stages = stages_of(network)
    graph, parity = export_graph(network, whole.preprocess, stages, images)
    pooled = validation_of({**data, "splits": {"val": every}}, recipe, whole.preprocess, whole.classes)
    provenance = provenance_of(whole, pooled, metrics, parity) | {"ensemble": description(len(runs))}
    licence = {"data": data_licence, "weights": weights_licence(whole.config)}
    path = out / "model.onnx"
    write_bundle(graph, metadata_of(whole, stages, 1.0, provenance, licence), images[0], path)
    if parity.doubt:
        tell({"event": "warning", "message": f"{path}: {parity.doubt}"})
    tell({"event": "export", "path": str(path), "differs": parity.differ, "metrics": metrics,
          "bytes": path.stat().st_size})  # fmt: skip


def unscored(networks: int) -> str:
    """What out-of-fold scores are scores of, and why the bundle has none of its own."""
    saw_each = "1 of its networks was" if networks == 2 else f"{networks - 1} of its networks were"
    return (
        f"These scores are of the {networks} single networks, each on the images it was not trained on. Their average, "
        f"the bundle, has no score of its own: {saw_each} trained on each image. Measure it "
        "on images of no fold, such as a test split."
    )


def description(networks: int) -> dict[str, Any]:
    """What a bundle's provenance says about its networks."""
    return {
        "networks": networks,
        "combined": "mean of their probabilities",
        "scores": unscored(networks),
        "time": f"one prediction runs {networks} networks and takes about {networks} times as long as with one",
    }


def require_bundle_size(recipe: Recipe, classes: int, networks: int) -> None:
    """Raise UsageError, before any training, if so many networks are too large for one bundle."""
    borders = len(recipe.separate)
    network = build(ModelConfig(recipe.model, recipe.encoder, classes, pretrained=False, borders=borders))
    each = HEADROOM * sum(value.numel() * value.element_size() for value in network.state_dict().values())
    if networks * each <= MAX_BYTES:
        return
    most = int(MAX_BYTES // each)
    remedy = f"Choose at most --folds {most}, or a smaller network." if most > 1 else "Choose a smaller network."
    raise UsageError(
        f"{networks} networks of {each / 2**20:.0f} MB do not fit into one bundle, which has at most "
        f"{MAX_BYTES // 2**20} MB. {remedy}"
    )
