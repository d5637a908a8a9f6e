"""Checks of a prediction: each warning says what looks wrong, with its numbers, and what to do.

Shapes: H, W the image's own size; C classes; h, w the size of the scores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from pixelwise.bundle.onnx_graph import StoredMetadata
from pixelwise.records import Pixels, Prediction
from pixelwise.tracing.network_layers import Layer
from pixelwise.training.observations import images_of

ONE_CLASS = 0.98  # share of the pixels
UNSURE = 0.35  # mean confidence, from chance (0) to certainty (1), below which a mask is not usable
UNLIKE = 0.15  # how far the mean confidence may be below the accuracy on held-out images
FLAT_SHADES = 2  # between the darkest and the brightest value
SHRUNK = 3.0  # image size over input size
SPECKS = 0.02  # share of pixels in specks
SPECK_PX, SEEN_PX = 9, 512  # a speck has fewer than 9 pixels when the longer side is reduced to at most 512
GREY_SPREAD = 3.0  # mean difference between channels, of 255
STRETCHED = 1.5  # aspect ratio of the image over that of the input
BRIGHTNESS_ONLY = 0.9  # share of the labels that brightness alone predicts


@dataclass(frozen=True)
class PredictionWarning:
    """Something that looks wrong."""

    kind: str  # a stable name: "one-class", "unsure" …
    what: str  # with its numbers
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "what": self.what, "remedy": self.remedy}


def check_prediction(
    pixels_HW3: Pixels, prediction: Prediction, metadata: StoredMetadata, layers: Iterable[Layer] = ()
) -> list[PredictionWarning]:
    """What looks wrong with a prediction, most serious first; empty where nothing does.

    Args:
        pixels_HW3: the image, uint8.
        prediction: its labels and scores.
        metadata: of the bundle; its provenance has the model's validation scores.
        layers: measured on this image; those that are mostly silent are reported.
    """
    confidence = prediction.confidence
    found = [
        broken(prediction),
        flat(pixels_HW3) or one_class(prediction),
        unsure(confidence, prediction),
        unlike_training(confidence, metadata),
        follows_brightness(pixels_HW3, prediction),
        specks(prediction),
        shrunk(pixels_HW3, prediction, metadata) or too_small(pixels_HW3, metadata),
        stretched(pixels_HW3, metadata),
        grey(pixels_HW3),
        never_predicted(metadata),
        *(silent(layer) for layer in layers),
    ]
    return [finding for finding in found if finding]


def broken(prediction: Prediction) -> PredictionWarning | None:
    if np.isfinite(prediction.scores).all():
        return None
    return PredictionWarning(
        "broken",
        "Some scores are NaN or infinite: the model is broken.",
        "Train it again with a smaller --set learning_rate, or export it again.",
    )


def flat(pixels_HW3: Pixels) -> PredictionWarning | None:
    if int(pixels_HW3.max()) - int(pixels_HW3.min()) > FLAT_SHADES:
        return None
    return PredictionWarning(
        "flat",
        "The image is a single flat colour: nothing in it distinguishes the classes.",
        "Check that this is the right image and that its exposure is correct.",
    )


def one_class(prediction: Prediction) -> PredictionWarning | None:
    name, share = max(prediction.shares.items(), key=lambda item: item[1])
    if share < ONE_CLASS or len(prediction.classes) < 2:
        return None
    return PredictionWarning(
        "one-class",
        f"{share:.1%} of the pixels are labelled {name}.",
        "If the image shows other classes, the model has not learned them: train longer, add images that contain them, "
        "or verify the training masks with `pixelwise check`.",
    )


def unsure(confidence: float, prediction: Prediction) -> PredictionWarning | None:
    classes = len(prediction.classes)
    chance = 1 / classes
    if classes < 2 or confidence >= chance + UNSURE * (1 - chance):
        return None
    return PredictionWarning(
        "unsure",
        f"The model is uncertain almost everywhere: the mean probability of its labels is {confidence:.0%}; chance is "
        f"{chance:.0%}.",
        "Do not rely on this mask. Train longer, or with images like this one.",
    )


def unlike_training(confidence: float, metadata: StoredMetadata) -> PredictionWarning | None:
    metrics: dict[str, Any] = metadata.provenance.get("metrics") or {}
    accuracy = metrics.get("accuracy")
    if accuracy is None or confidence > accuracy - UNLIKE:
        return None
    return PredictionWarning(
        "unlike-training",
        f"The mean confidence is {confidence:.0%}, but accuracy was {accuracy:.0%} on {images_of(metrics)}: this image "
        "differs from the training images.",
        "Label a few images like this one and add them to the training set.",
    )


def follows_brightness(pixels_HW3: Pixels, prediction: Prediction) -> PredictionWarning | None:
    """Does grey level alone predict the label? Then the network has learned a threshold instead of objects."""
    small = cv2.resize(pixels_HW3, (128, 128), interpolation=cv2.INTER_AREA)
    labels = np.asarray(cv2.resize(prediction.labels, (128, 128), interpolation=cv2.INTER_NEAREST), np.int64)
    if len(np.unique(labels)) < 2:
        return None
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.int64) // 8
    counts = np.zeros((32, 256), np.int64)
    np.add.at(counts, (grey.ravel(), labels.ravel()), 1)
    predictable = counts.max(axis=1).sum() / counts.sum()  # correct if each grey level gets its most frequent label
    majority = counts.sum(axis=0).max() / counts.sum()
    if predictable < BRIGHTNESS_ONLY or (predictable - majority) / max(1 - majority, 1e-6) < 0.8:
        return None
    return PredictionWarning(
        "like-the-input",
        f"Brightness alone predicts {predictable:.0%} of the labels: the mask looks like the image.",
        "The network has learned shades instead of objects. Train longer, or with more varied lighting.",
    )


def specks(prediction: Prediction) -> PredictionWarning | None:
    """Regions of a few pixels, searched at no more than 512 pixels: the scale at which people see them as noise."""
    height, width = prediction.labels.shape
    step = max(height, width) // SEEN_PX + 1
    labels = np.ascontiguousarray(prediction.labels[::step, ::step])
    tiny = 0
    for label in np.unique(labels):
        mask = np.asarray(labels == label, np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        tiny += int(areas[areas < SPECK_PX].sum())
    if tiny < SPECKS * labels.size:
        return None
    return PredictionWarning(
        "specks",
        f"{tiny / labels.size:.1%} of the pixels are in specks of fewer than {SPECK_PX * step * step} pixels.",
        "The model confuses classes here. Blur or noise in the image causes this, or too little training.",
    )


def too_small(pixels_HW3: Pixels, metadata: StoredMetadata) -> PredictionWarning | None:
    height, width = pixels_HW3.shape[:2]
    h, w = metadata.size
    if metadata.policy == "native" or (2 * height > h and 2 * width > w):
        return None
    return PredictionWarning(
        "too-small",
        f"The image has {width}×{height} pixels and is enlarged to the input size of {w}×{h}.",
        "Enlarging adds no detail. Use the original, larger image.",
    )


def shrunk(pixels_HW3: Pixels, prediction: Prediction, metadata: StoredMetadata) -> PredictionWarning | None:
    height, width = pixels_HW3.shape[:2]
    _, h, w = prediction.scores.shape
    times = max(height / (h * metadata.stride), width / (w * metadata.stride))
    if times <= SHRUNK:
        return None
    return PredictionWarning(
        "shrunk",
        f"The image is reduced {times:.1f} times to the input size: anything thinner than about {2 * times:.0f} px is "
        "lost.",
        "Train with a larger input size, or cut the image into tiles.",
    )


def stretched(pixels_HW3: Pixels, metadata: StoredMetadata) -> PredictionWarning | None:
    height, width = pixels_HW3.shape[:2]
    h, w = metadata.size
    ratio = (width / height) / (w / h)
    if metadata.policy != "stretch" or 1 / STRETCHED < ratio < STRETCHED:
        return None
    return PredictionWarning(
        "stretched",
        f"The image is {width}×{height}, the input size {w}×{h}: objects are squeezed to {min(ratio, 1 / ratio):.0%} "
        "of their width or height.",
        "Crop the image to a similar aspect ratio, or train with --policy fit.",
    )


def grey(pixels_HW3: Pixels) -> PredictionWarning | None:
    sample = pixels_HW3[::8, ::8].astype(np.int16)
    if float(np.ptp(sample, axis=2).mean()) > GREY_SPREAD:
        return None
    return PredictionWarning(
        "grey",
        "The image has almost no colour.",
        "A model trained on colour photos misses a cue here. If your images are grey, train with grey images.",
    )


def never_predicted(metadata: StoredMetadata) -> PredictionWarning | None:
    metrics: dict[str, Any] = metadata.provenance.get("metrics") or {}
    never = [name for name, row in (metrics.get("classes") or {}).items() if row.get("recall") == 0]
    if not never:
        return None
    return PredictionWarning(
        "never-predicted",
        f"On {images_of(metrics)}, this model never found: {', '.join(never)}.",
        "Add images that contain them, or train longer; rare and thin objects are learned last.",
    )


def silent(layer: Layer) -> PredictionWarning | None:
    if layer.group == "input" or layer.silent_channels <= layer.shape[0] / 2:
        return None
    return PredictionWarning(
        "silent",
        f"{layer.silent_channels} of the {layer.shape[0]} channels of {layer.name} are zero everywhere in this image.",
        "Other images may need them. If every image gives this warning, a smaller encoder is enough.",
    )
