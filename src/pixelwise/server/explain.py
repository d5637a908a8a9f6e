"""Facts about one image and one model as JSON: stages, layers, one pixel, the model itself.

Shapes: a layer is [channels, h, w].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.decode import MAX_PIXELS
from pixelwise.images.false_colour import shown_bands
from pixelwise.prediction.flow_events import thumbnail
from pixelwise.prediction.large.tile_plan import WHOLE_PIXELS, most_pixels
from pixelwise.records import RGB, VOID, Bands, Pixels, Raster
from pixelwise.server.error_responses import RequestError
from pixelwise.server.image_memory import RememberedImage
from pixelwise.server.model_cache import CachedModel, ModelCache
from pixelwise.softmax import entropy
from pixelwise.trace_events import finite
from pixelwise.tracing.activations import InspectedModel, Values
from pixelwise.tracing.pixel_story import class_at, tell_pixel
from pixelwise.tracing.receptive_field import ReceptiveField

# Limit for inspecting layers at the image's own scale: the layers and the run take 350 bytes per pixel.
INSIDE_PIXELS = 2_100_000


def refuse_large(opened: CachedModel, seen: RememberedImage) -> None:
    """Refuse an image whose layers would fill the memory: labelled in tiles, or at its own scale with more than
    INSIDE_PIXELS. Raises RequestError."""
    height, width = seen.prediction.labels.shape
    policy = opened.model.metadata.policy
    limit = min(WHOLE_PIXELS[policy], INSIDE_PIXELS if policy == "native" else MAX_PIXELS)
    limit = most_pixels(limit, opened.model.metadata.bands)
    if height * width > limit:
        raise RequestError(
            413,
            "too-large-inside",
            f"The image has {width}×{height} = {height * width:,} pixels; this model's layers can be inspected for "
            f"images of up to {limit:,} pixels. Labelling is not affected.",
            "Send a crop of the image.",
        )


def flow_of(opened: CachedModel, seen: RememberedImage) -> list[dict[str, Any]]:
    """The four stages, each run and timed."""
    refuse_large(opened, seen)
    passed = opened.stages.run(seen.pixels, seen.decode_ms, runs=3)
    events: list[dict[str, Any]] = finite(opened.stages.events(passed))
    return events


def values_of(opened: CachedModel, seen: RememberedImage, tensor: str | None = None) -> Values:
    """Every layer's values for an image, or those that explain one tensor; kept while the image is recent."""
    wanted = opened.inspected.tensors.values() if tensor is None else opened.inspected.tensors_for(tensor)
    refuse_large(opened, seen)
    values: Values = dict(seen.layers)  # others may forget them at any time: where newer images are asked about
    if missing := [name for name in wanted if name not in values]:
        found = opened.inspected.run(seen.pixels, missing)
        values.update(found)
        seen.layers.update(found)
    return values


def layers_of(opened: CachedModel, seen: RememberedImage) -> list[dict[str, Any]]:
    """Every named layer: shape, value range, share of zeros, and receptive field."""
    values = values_of(opened, seen)
    inspected = opened.inspected
    rows = []
    for name, tensor in inspected.tensors.items():
        layer = values[tensor]
        strongest = int(layer.reshape(layer.shape[0], -1).std(axis=1).argmax())
        rows.append(
            {
                "strongest": strongest,  # the channel that varies most over this image
                "thumbnail": thumbnail(grey(layer[strongest])),
                "name": name,
                "group": inspected.groups[name],
                "shape": list(layer.shape),
                "minimum": float(layer.min()),
                "maximum": float(layer.max()),
                "mean": float(layer.mean()),
                "zero_share": float((layer == 0).mean()),
                **view_of(inspected, name),
                "step_px": network_size(opened, seen)[0] / layer.shape[1],
                "skip": name in inspected.skips,
                "skip_from": inspected.skip_sources.get(name),
            }
        )
    return rows


def grey(values_hw: NDArray[np.float32]) -> Pixels:
    """Values as a picture: the lowest black, the highest white."""
    low, high = float(values_hw.min()), float(values_hw.max())
    scaled = ((values_hw - low) / max(high - low, 1e-9) * 255).round().astype(np.uint8)
    return np.repeat(scaled[:, :, None], 3, axis=2)


def view_of(inspected: InspectedModel, name: str) -> dict[str, Any]:
    """The receptive field of one value of a layer: through convolutions, and by pooling."""
    field = inspected.layers[name].receptive
    return {"view_px": view_size(field), "sees_all": field.whole_image if field.known else None}


def view_size(field: ReceptiveField) -> int | None:
    sides = [side for side in (field.height_px, field.width_px) if side is not None]
    return max(sides, default=None)


def pixel_of(opened: CachedModel, seen: RememberedImage, x: int, y: int) -> dict[str, Any]:
    """One pixel: label, probabilities, runner-up and receptive field."""
    probabilities = seen.prediction.probabilities(x, y)
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    values = np.array(list(probabilities.values()))
    field = scores_field(opened)
    layers = values_of(opened, seen)
    activations = {name: layers[tensor] for name, tensor in opened.inspected.tensors.items()}
    story = tell_pixel(seen.pixels, seen.bands, seen.prediction, activations, (x, y))
    return {
        "x": x,
        "y": y,
        "sentences": list(story.sentences),
        "values": finite(dict(story.values)),
        "label": class_at(seen.prediction, x, y),
        "probability": ranked[0][1],
        "runner_up": {"class": ranked[1][0], "probability": ranked[1][1]} if len(ranked) > 1 else None,
        "entropy_bits": float(entropy(values) * np.log2(len(values))),
        "probabilities": probabilities,
        "receptive_field": field and {**field, "box": box_of(opened, seen, x, y, field["network_px"])},
    }


def box_of(opened: CachedModel, seen: RememberedImage, x: int, y: int, size: int) -> list[float]:
    """The receptive field of a pixel's scores: left, top, right, bottom in image pixels."""
    height, width = seen.prediction.labels.shape
    h, w = network_size(opened, seen)
    half_x, half_y = size / 2 * width / w, size / 2 * height / h
    centre_x, centre_y = x + 0.5, y + 0.5
    return [
        max(centre_x - half_x, 0.0),
        max(centre_y - half_y, 0.0),
        min(centre_x + half_x, float(width)),
        min(centre_y + half_y, float(height)),
    ]


def network_size(opened: CachedModel, seen: RememberedImage) -> tuple[int, int]:
    """The input size of the network for this image: the size of its scores times their stride."""
    stride = opened.model.metadata.stride
    _, h, w = seen.prediction.scores.shape
    return h * stride, w * stride


def model_of(opened: CachedModel, models: ModelCache) -> dict[str, Any]:
    """The facts about a model."""
    model, metadata = opened.model, opened.model.metadata
    return {
        "name": opened.name,
        "title": models.title_of(opened.name),
        "opens": models.opens(opened.name),
        "digest": model.digest,
        "bytes": len(model.graph),
        "parameters": sum(layer.parameters for layer in opened.inspected.layers.values()),
        "classes": metadata.classes.to_json(),
        "size": list(metadata.size),
        "policy": metadata.policy,
        "bands": bands_of(metadata.bands),
        "even_exposure": metadata.even_exposure,
        "stride": metadata.stride,
        "mean": list(metadata.mean),
        "std": list(metadata.std),
        "temperature": metadata.temperature,
        "stages": [{"name": s.name, "group": s.group} for s in metadata.stages],
        "skips": list(opened.inspected.skips),
        "receptive_field": scores_field(opened),
        "provenance": metadata.provenance,
        "licence": metadata.licence,
        "has_run": opened.run is not None or models.has_training_log(opened.name),
    }


def bands_of(bands: Bands) -> dict[str, Any]:
    """The bands that a model takes, and which three of them are shown as red, green and blue."""
    return {**bands.to_json(), "rgb": bands == RGB, "shown": list(shown_bands(bands))}


def scores_field(opened: CachedModel) -> dict[str, Any] | None:
    """The receptive field of a pixel's scores; None where the graph has an unsupported operator."""
    field = opened.inspected.layers[opened.model.metadata.stages[-1].name].receptive
    size = view_size(field)
    return {"network_px": size, "whole_image_by_pooling": field.whole_image} if field.known and size else None


def influence_of(opened: CachedModel, seen: RememberedImage, x: int, y: int, grid: int, row: int) -> dict[str, Any]:
    """How much a pixel's probability drops when parts of the image are greyed out, for one row of parts.

    This measures the effective receptive field by occlusion (Zeiler and Fergus 2014, arXiv:1311.2901). The page
    requests row by row, so that it can show progress and stop.
    """
    refuse_large(opened, seen)
    name = class_at(seen.prediction, x, y)
    if name is None:
        raise RequestError(422, "no-data", f"Pixel ({x}, {y}) has no data in any band, so it has no label.")
    whole = seen.prediction.probabilities(x, y)[name]
    height, width = seen.prediction.labels.shape
    columns = max(round(grid * width / height), 1)
    grey = mean_of_bands(seen.pixels[::4, ::4])
    drops = []
    for column in range(columns):
        covered = seen.pixels.copy()
        rows = slice(row * height // grid, (row + 1) * height // grid)
        covered[rows, column * width // columns : (column + 1) * width // columns] = grey
        drops.append(whole - opened.model.predict(covered).probabilities(x, y)[name])
    return {"x": x, "y": y, "class": name, "probability": whole, "row": row, "rows": grid, "drop": drops}


def mean_of_bands(pixels_HWN: Raster) -> NDArray[Any]:
    """The mean of each band's finite values, [N], in the type of the pixels; 0 where there are none."""
    means = []
    for band in range(pixels_HWN.shape[2]):
        values = pixels_HWN[:, :, band]
        known = values[np.isfinite(values)]
        means.append(known.mean(dtype=np.float64) if known.size else 0.0)
    return np.array(means).astype(pixels_HWN.dtype)


def wrong_scale_of(opened: CachedModel, seen: RememberedImage) -> dict[str, Any]:
    """The model run on an input that was not divided by 255."""
    refuse_large(opened, seen)
    labels = opened.inspected.wrongly_scaled(seen.pixels)
    counts = np.bincount(labels.ravel(), minlength=len(opened.model.classes))
    commonest = int(counts.argmax())
    labelled = seen.prediction.labels != VOID
    changed = int(((labels != seen.prediction.labels) & labelled).sum())
    return {
        "changed_share": changed / max(int(labelled.sum()), 1),
        "commonest": {"class": opened.model.classes.names[commonest], "share": float(counts[commonest] / labels.size)},
    }
