"""Export: the best epoch's weights become a bundle, calibrated and checked on the val split.

Shapes: S pixels, C classes, N bands, h and w the network's input size.
"""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.bundle.export import NetworkGraph, deployable, export_graph, stages_of, to_onnx, write_bundle
from pixelwise.bundle.metadata import Metadata, Stage
from pixelwise.bundle.model_card import ModelCard
from pixelwise.bundle.onnx_graph import batched, extract, parse
from pixelwise.bundle.onnx_session import open_session
from pixelwise.bundle.parity import Parity
from pixelwise.bundle.quantize import quantise
from pixelwise.bundle.trust import check_exported
from pixelwise.bundle.weight_storage import STORAGES, Storage, store_weights
from pixelwise.errors import BundleError, TrainingError, UsageError
from pixelwise.metrics.calibration import calibration_error, fit_temperature
from pixelwise.model.build_network import build, weights_licence
from pixelwise.model.mirrored import Mirrored
from pixelwise.model.network import ModelConfig, Network
from pixelwise.model.preprocess import Preprocess
from pixelwise.objects.object_records import ClassObjects
from pixelwise.records import RGB, Bands, ClassList, OnProgress, Raster, Sample, no_progress
from pixelwise.trace_events import Listener, nobody
from pixelwise.training.calibration_images import as_taken, calibration_images, compared_part
from pixelwise.training.checkpoint import load_checkpoint
from pixelwise.training.disk_copies import DiskCopies, kept_to_resume
from pixelwise.training.loader import Pairs
from pixelwise.training.recipe import Recipe
from pixelwise.training.validate import CalibrationPixels, Validation, ValidationResult, validate
from pixelwise.version import __version__

PARITY_IMAGES = 8
MAX_DROP = 0.5  # percentage points of mean IoU


def export(
    run: Path | str,
    out: Path | str | None = None,
    *,
    data_licence: str = "not recorded; see where the data came from",
    weights: Storage = "float32",
    int8: bool = False,
    max_drop: float = MAX_DROP,
    validation: Validation | None = None,
    tell: Listener = nobody,
    progress: OnProgress = no_progress,
) -> Path:
    """Export the best epoch of a run as a bundle: one .onnx file that any ONNX Runtime runs.

    The scores in the bundle are measured here, on the val split, with the very weights that it holds. The exported
    graph is compared with the PyTorch network on real images.

    Args:
        run: run directory.
        out: the bundle to write. None: RUN/model.onnx.
        data_licence: licence of the training data, recorded in the bundle.
        weights: storage of the weights: "float32", "float16" (half the file size) or "int8" (a quarter). Computation
            stays float32, at the same speed.
        int8: quantise the convolutions to int8, calibrated on training images: faster, a quarter of the file size.
        max_drop: largest accepted loss of mean IoU through `weights` or `int8`, in percentage points.
        validation: the run's val split, if already open. None: it is read again.
        tell: called with the trace events (dicts): "export", and a "warning" if graph and network differ by more than
            rounding explains.
        progress: called with (images done, total) while int8 is calibrated.

    Returns:
        The path of the bundle.

    Raises:
        UsageError: `run` is not a run directory with a finished epoch; unknown `weights`; both `weights` and `int8`.
        TrainingError: the val images are missing, or with `int8` the training images.
        BundleError: the exported graph is not the trained network, or lost more than `max_drop`. Nothing was written.

    Example:
        >>> import pixelwise as pw
        >>> pw.export("my_run", "small.onnx", weights="float16").name
        'small.onnx'
    """
    if weights not in STORAGES:
        raise UsageError(f"weights is {weights!r}; expected one of: {', '.join(STORAGES)}.")
    if int8 and weights != "float32":
        raise UsageError(f"int8 stores weights in int8 anyway; leave out weights={weights!r}, or int8.")
    best = load_best_epoch(Path(run))
    out = Path(out) if out is not None else best.run / "model.onnx"
    if validation is None:
        with kept_to_resume(best.run / f"cache-{secrets.token_hex(4)}", lambda: False) as copies:
            validation = validation_of(best.data, best.recipe, best.preprocess, best.classes, copies)
            return export(
                run, out, data_licence=data_licence, weights=weights, int8=int8, max_drop=max_drop,
                validation=validation, tell=tell, progress=progress,
            )  # fmt: skip
    stages = stages_of(best.network)
    looked_at = range(min(PARITY_IMAGES, len(validation.pairs)))
    parts = (compared_part(validation.pairs[i][0], best.recipe.policy, best.recipe.in_crops) for i in looked_at)
    images = [as_taken(part, best.bands) for part in parts]
    graph, parity = export_graph(best.network, best.preprocess, stages, images)
    sample = CalibrationPixels()
    result = validate(best.network, validation, sample=sample)
    reduced: dict[str, Any] = {}
    if int8 or weights != "float32":
        if int8:
            calibration = calibration_images(samples_of(best.data["splits"]["train"]), best.recipe.policy, best.bands)
            graph = quantise(graph, calibration, *ends(graph, stages), progress=progress)
            reduced = {"computes": "int8", "calibration_images": len(calibration)}
        else:
            graph = store_weights(graph, weights)
            reduced = {"weights": weights}
        before, sample = result, CalibrationPixels()
        result = validate(GraphNetwork(graph, stages, best.bands), validation, sample=sample)
        reduced |= price(before.scores.miou, result.scores.miou, max_drop)
    temperature, metrics = scores_in_bundle(best, result, sample, len(validation.pairs))
    provenance = provenance_of(best, validation, metrics, parity) | ({"reduced": reduced} if reduced else {})
    licence = {"data": data_licence, "weights": initial_licence(best)}
    metadata = metadata_of(best, stages, temperature, provenance, licence)
    write_bundle(graph, replace(metadata, card=card_in(best.run / "model.onnx")), images[0], out)
    if parity.doubt:
        tell({"event": "warning", "message": f"{out}: {parity.doubt}"})
    tell({"event": "export", "path": str(out), "epoch": best.epoch, "differs": parity.differ, "metrics": metrics,
          "bytes": out.stat().st_size, **({"reduced": reduced} if reduced else {})})  # fmt: skip
    return out


@dataclass(frozen=True)
class BestEpoch:
    """The network of a run's best epoch, with the run's recipe and data."""

    run: Path
    recipe: Recipe
    data: dict[str, Any]  # RUN/data.json
    classes: ClassList
    config: ModelConfig
    network: Network
    epoch: int

    @property
    def bands(self) -> Bands:
        return bands_of(self.data)

    @property
    def preprocess(self) -> Preprocess:
        recipe, network = self.recipe, self.network
        return Preprocess(recipe.size, recipe.policy, network.mean, network.std, recipe.even_exposure, self.bands)


def load_best_epoch(run: Path) -> BestEpoch:
    """Read the best epoch's weights of a run directory into a network, ready to predict.

    Raises:
        UsageError: `run` is not a run directory with a finished epoch.
    """
    best = run / "checkpoints" / "best.safetensors"
    if not best.is_file() and (run / "fold-1").is_dir():
        raise UsageError(
            f"{run}: a cross-validation, whose bundle of all networks is {run / 'model.onnx'}. Name one of its folds, "
            f"such as {run / 'fold-1'}."
        )
    if not best.is_file():
        raise UsageError(f"{run}: not a run directory with a finished epoch: {best} is missing.")
    recipe = Recipe.from_file(run / "recipe.toml")
    data = json.loads((run / "data.json").read_text(encoding="utf-8"))
    classes = ClassList.from_json(data["classes"])
    parameters, state = load_checkpoint(best)
    config = ModelConfig(
        recipe.model,
        recipe.encoder,
        len(classes),
        recipe.pretrained,
        recipe.stride,
        bands_of(data).names,
        len(recipe.separate),
    )
    network = build(replace(config, pretrained=False))
    network.load_state_dict(parameters)
    if recipe.mirrors > 1:
        network = Mirrored(network, recipe.mirrors)
    return BestEpoch(run, recipe, data, classes, config, network.eval(), state["epoch"])


def scores_in_bundle(
    best: BestEpoch, result: ValidationResult, sample: CalibrationPixels, images: int
) -> tuple[float, dict[str, Any]]:
    """The temperature that calibrates the scores, and the scores on the val split, as the bundle records them."""
    scores_SC, labels_S = np.concatenate(sample.scores), np.concatenate(sample.labels)
    temperature = fit_temperature(scores_SC, labels_S)
    metrics = {
        "split": "val",
        "epoch": best.epoch,
        "images": images,
        **result.scores.to_json(best.classes),
        "calibration_error": {
            "before": round(calibration_error(scores_SC, labels_S), 5),
            "after": round(calibration_error(scores_SC, labels_S, temperature), 5),
        },
    }
    if best.recipe.also_val:
        # Scores on training images are too high, and so is the confidence there. Record the held-out scores of the run
        # that this one started from.
        start = best.data.get("start", {})
        temperature = start.get("temperature", 1.0)
        metrics = start.get("metrics") or metrics
        metrics |= {"split": f"val ({'before learning from it' if 'metrics' in start else 'learnt from too'})"}
    return temperature, metrics


def provenance_of(best: BestEpoch, validation: Validation, metrics: dict[str, Any], parity: Parity) -> dict[str, Any]:
    """The provenance of a bundle: versions, recipe, data, scores."""
    data, start = best.data, best.data.get("start")
    return {
        "pixelwise": __version__,
        "torch": torch.__version__.split("+")[0],
        "recipe": best.recipe.to_json(),
        "data": {
            "sha256": data["sha256"],
            "layout": data["layout"],
            **{f"{split}_pairs": len(samples) for split, samples in data["splits"].items()},
            "image_size": list(validation.usual_size),
        },
        "metrics": metrics,
        "parity": {key: round(value, 6) for key, value in vars(parity).items()},
        **({"start": {key: start[key] for key in ("sha256", "epoch")}} if start else {}),
    }


def initial_licence(best: BestEpoch) -> str:
    """The licence of the weights that the training started from: those of a bundle carry that of its data."""
    theirs = best.data.get("start", {}).get("licence")
    if not theirs:
        return weights_licence(best.config)
    weights, data = (theirs.get(name, "not recorded") for name in ("weights", "data"))
    return f"started from a bundle ({weights}), whose data: {data}"


def metadata_of(
    best: BestEpoch,
    stages: tuple[Stage, ...],
    temperature: float,
    provenance: dict[str, Any],
    licence: dict[str, str],
) -> Metadata:
    recipe, network = best.recipe, best.network
    return Metadata(
        classes=best.classes, size=recipe.size, policy=recipe.policy, stride=network.stride, mean=network.mean,
        std=network.std, temperature=temperature, even_exposure=recipe.even_exposure, stages=stages,
        bands=best.bands, separate=recipe.separate, objects=objects_in(best.data), provenance=provenance,
        licence=licence,
    )  # fmt: skip


def card_in(bundle: Path) -> ModelCard:
    """The card that somebody has written into the run's bundle, so that its other forms carry it too."""
    try:
        return read_bundle(bundle).metadata.card if bundle.is_file() else ModelCard()
    except BundleError:
        return ModelCard()  # a damaged bundle is exported again, and it has no card that could be read


def price(miou_before: float, miou_after: float, max_drop: float) -> dict[str, float]:
    """The loss of mean IoU on the val split through smaller weights or int8.

    Raises:
        BundleError: more than `max_drop` percentage points.
    """
    drop = (miou_before - miou_after) * 100
    if not drop <= max_drop:  # written so that NaN fails
        raise BundleError(
            f"the smaller network loses {drop:.2f} points of mean IoU on the val split ({miou_before:.4f} → "
            f"{miou_after:.4f}); at most {max_drop:g} are allowed. Nothing was written. Allow more with --max-drop, or "
            "export without making it smaller."
        )
    return {"miou_before": round(miou_before, 5), "miou_after": round(miou_after, 5), "drop_points": round(drop, 3)}


def ends(model: onnx.ModelProto, stages: Sequence[Stage]) -> tuple[str, str]:
    """The names of the network's input and scores in a graph, both [1, channels, h, w]."""
    graph = parse(model.SerializeToString())
    return batched(graph, stages[0].tensor), batched(graph, stages[-1].tensor)


class GraphNetwork(Network):
    """An exported graph run by ONNX Runtime, with the interface of a network."""

    def __init__(self, model: onnx.ModelProto, stages: Sequence[Stage], bands: Bands) -> None:
        super().__init__()
        self.bands = bands
        self.seen, self.scores = ends(model, stages)
        part, self.needed = extract(parse(model.SerializeToString()), [self.seen], [self.scores])
        self.session = open_session(part)

    def intermediates(self, image_BNHW: Tensor) -> dict[str, Tensor]:
        """The scores only; image by image, as a bundle's graph takes one."""
        # If the input size follows the image size, the graph computes sizes from the shape of this image, which has the
        # network's input size and so keeps it.
        given: dict[str, Any] = {"image": blank((image_BNHW.shape[2], image_BNHW.shape[3]), self.bands)}
        scores = []
        for image_NHW in image_BNHW:
            given[self.seen] = image_NHW[None].numpy()
            scores += self.session.run([self.scores], {name: given[name] for name in self.needed})
        return {"scores": torch.from_numpy(np.concatenate(scores))}


def rehearse_export(network: Network, preprocess: Preprocess) -> None:
    """Check before a long training that a third-party network can be exported: export it untrained, and run it.

    Raises:
        TrainingError: it cannot.
    """
    network = copy.deepcopy(network).cpu().eval()
    stages = stages_of(network)
    try:
        tensors = [stage.tensor for stage in stages]
        model = to_onnx(NetworkGraph(deployable(network), preprocess).eval(), tensors[:-1])  # the last are the scores
        check_exported(model.SerializeToString(), tensors, preprocess.size, preprocess.bands, network.borders)
        session = open_session(model.SerializeToString())
        for size in ((90, 120), (121, 77)):
            session.run(["labels"], {"image": blank(size, preprocess.bands)})
    except Exception as error:  # the exporter and the runtime have no common base class
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"this network cannot be exported: {reason}. Nothing was trained. Use another model or encoder"
            + ("." if preprocess.policy == "stretch" else ", or --policy stretch, which gives all images one size.")
        ) from error


def samples_of(rows: list[Any]) -> tuple[Sample, ...]:
    """The samples of a split, from RUN/data.json."""
    return tuple(Sample(name, Path(image), Path(mask), *parts) for name, image, mask, *parts in rows)


def bands_of(data: dict[str, Any]) -> Bands:
    """The bands of the images, from RUN/data.json."""
    return Bands.from_json(data["bands"]) if "bands" in data else RGB


def objects_in(data: dict[str, Any]) -> dict[str, ClassObjects]:
    """What the training masks tell about objects, from RUN/data.json."""
    return {name: ClassObjects.from_json(row) for name, row in data.get("objects", {}).items()}


def blank(size: tuple[int, int], bands: Bands) -> Raster:
    return as_taken(np.zeros((*size, len(bands)), np.uint8), bands)


def validation_of(
    data: dict[str, Any], recipe: Recipe, preprocess: Preprocess, classes: ClassList, copies: DiskCopies | None = None
) -> Validation:
    """The run's val split, as RUN/data.json records it."""
    samples = samples_of(data["splits"]["val"])
    missing = [sample.image for sample in samples if not sample.image.is_file()]
    if missing:
        raise TrainingError(
            f"{missing[0]}: {len(missing)} of {len(samples)} validation images are missing, but a bundle is checked on "
            "them. Restore the data where they were when the run began."
        )
    mask_ids = {int(key): value for key, value in data["mask_ids"].items()}
    pairs = Pairs(samples, mask_ids, len(classes), recipe.cache_mb, copies, preprocess.bands)
    return Validation(pairs.spaced(recipe.val_images), preprocess, classes)
