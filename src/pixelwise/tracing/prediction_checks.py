"""When something is off with a prediction: what it is, how it shows in numbers, and what to do.

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
UNSURE = 0.35  # of the way from guessing to certainty, below which nothing should be built on a mask
UNLIKE = 0.15  # how far the mean confidence may lie below the accuracy on held-out images
FLAT_SHADES = 2  # between the darkest and the brightest value
SHRUNK = 3.0  # times smaller than the image is what the network sees
SPECKS = 0.02  # share of pixels in specks
SPECK_PX, SEEN_PX = 9, 512  # a speck has fewer pixels than this, when the longer side is brought to at most that
GREY_SPREAD = 3.0  # mean difference between channels, of 255
STRETCHED = 1.5  # how far the shape that the network sees may differ from the image's
BRIGHTNESS_ONLY = 0.9


@dataclass(frozen=True)
class PredictionWarning:
    """One thing that is off."""

    kind: str  # for machines: "one-class", "unsure" …
    what: str  # with its numbers
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "what": self.what, "remedy": self.remedy}


def check_prediction(
    pixels_HW3: Pixels, prediction: Prediction, metadata: StoredMetadata, layers: Iterable[Layer] = ()
) -> list[PredictionWarning]:
    """What is off with a prediction, the gravest first; empty where nothing is.

    Args:
        pixels_HW3: the image, uint8.
        prediction: its labels and scores.
        metadata: the bundle's; its provenance tells how good the model was when it was validated.
        layers: measured on this image; those that mostly say nothing are told of.
    """
    confidence = prediction.confidence
    found = [
        broken(prediction),
        flat(pixels_HW3) or one_class(prediction),
        unsure(confidence, prediction),
        unlike_training(confidence, metadata),
        follows_brightness(pixels_HW3, prediction),
        specks(prediction),
        too_small(pixels_HW3, metadata),
        shrunk(pixels_HW3, prediction, metadata),
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
        "Some scores are no finite numbers: the model is broken.",
        "Train it again at a smaller --set learning_rate, or export it again.",
    )


def flat(pixels_HW3: Pixels) -> PredictionWarning | None:
    if int(pixels_HW3.max()) - int(pixels_HW3.min()) > FLAT_SHADES:
        return None
    return PredictionWarning(
        "flat",
        "The image is one flat colour: there is nothing in it to tell classes apart by.",
        "Look whether the right image was sent, and whether it was exposed.",
    )


def one_class(prediction: Prediction) -> PredictionWarning | None:
    name, share = max(prediction.shares.items(), key=lambda item: item[1])
    if share < ONE_CLASS or len(prediction.classes) < 2:
        return None
    return PredictionWarning(
        "one-class",
        f"{share:.1%} of the pixels are labelled {name}.",
        "If the image shows more than that, the model has not learnt the other classes: train longer, give it more "
        "images of them, or check with `pixelwise check` that the masks hold what you think.",
    )


def unsure(confidence: float, prediction: Prediction) -> PredictionWarning | None:
    classes = len(prediction.classes)
    chance = 1 / classes  # what a model that knows nothing gives every class
    if classes < 2 or confidence >= chance + UNSURE * (1 - chance):
        return None
    return PredictionWarning(
        "unsure",
        f"The model is unsure nearly everywhere: it gives its own labels a probability of {confidence:.0%} on average, "
        f"where guessing gives {chance:.0%}.",
        "Do not build on this mask. Train longer, or with images like this one.",
    )


def unlike_training(confidence: float, metadata: StoredMetadata) -> PredictionWarning | None:
    metrics: dict[str, Any] = metadata.provenance.get("metrics") or {}
    accuracy = metrics.get("accuracy")
    if accuracy is None or confidence > accuracy - UNLIKE:
        return None
    return PredictionWarning(
        "unlike-training",
        f"Its mean confidence here is {confidence:.0%}, while {accuracy:.0%} of the pixels were right on "
        f"{images_of(metrics)}: this image is unlike those it learnt from.",
        "Label a few images like this one and train with them.",
    )


def follows_brightness(pixels_HW3: Pixels, prediction: Prediction) -> PredictionWarning | None:
    """Does grey level alone tell the label? Then the network has learnt a threshold and not what things are."""
    small = cv2.resize(pixels_HW3, (128, 128), interpolation=cv2.INTER_AREA)
    labels = np.asarray(cv2.resize(prediction.labels, (128, 128), interpolation=cv2.INTER_NEAREST), np.int64)
    if len(np.unique(labels)) < 2:
        return None
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.int64) // 8
    counts = np.zeros((32, 256), np.int64)
    np.add.at(counts, (grey.ravel(), labels.ravel()), 1)
    told = counts.max(axis=1).sum() / counts.sum()  # right when each grey level is given its commonest label
    commonest = counts.sum(axis=0).max() / counts.sum()
    if told < BRIGHTNESS_ONLY or (told - commonest) / max(1 - commonest, 1e-6) < 0.8:
        return None
    return PredictionWarning(
        "like-the-input",
        f"{told:.0%} of the labels can be told from brightness alone: the mask looks like the picture.",
        "Train longer or with more varied light; the network has learnt shades instead of things.",
    )


def specks(prediction: Prediction) -> PredictionWarning | None:
    """Regions of a few pixels, looked for at 512 pixels at most: what a person sees as noise is seen there, too."""
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
        f"{tiny / labels.size:.1%} of the pixels lie in specks of fewer than {SPECK_PX * step * step} pixels.",
        "The model is torn between classes here. Blur or noise in the image does this, and too short a training.",
    )


def too_small(pixels_HW3: Pixels, metadata: StoredMetadata) -> PredictionWarning | None:
    height, width = pixels_HW3.shape[:2]
    h, w = metadata.size
    if metadata.policy == "native" or (2 * height > h and 2 * width > w):
        return None
    return PredictionWarning(
        "too-small",
        f"The image has {width}×{height} pixels and is magnified to the network's {w}×{h}.",
        "Details that are not there cannot be found. Use the original, larger image.",
    )


def shrunk(pixels_HW3: Pixels, prediction: Prediction, metadata: StoredMetadata) -> PredictionWarning | None:
    height, width = pixels_HW3.shape[:2]
    _, h, w = prediction.scores.shape
    times = max(height / (h * metadata.stride), width / (w * metadata.stride))
    if times <= SHRUNK:
        return None
    return PredictionWarning(
        "shrunk",
        f"The network sees this image {times:.1f} times smaller than it is, so that anything thinner than about "
        f"{2 * times:.0f} px is lost.",
        "Train at a larger size, or cut the image into parts.",
    )


def stretched(pixels_HW3: Pixels, metadata: StoredMetadata) -> PredictionWarning | None:
    height, width = pixels_HW3.shape[:2]
    h, w = metadata.size
    ratio = (width / height) / (w / h)
    if metadata.policy != "stretch" or 1 / STRETCHED < ratio < STRETCHED:
        return None
    return PredictionWarning(
        "stretched",
        f"The image is {width}×{height}, the network sees {w}×{h}: things are squeezed to "
        f"{min(ratio, 1 / ratio):.0%} of their shape.",
        "Crop it to a similar shape, or train with --policy fit.",
    )


def grey(pixels_HW3: Pixels) -> PredictionWarning | None:
    sample = pixels_HW3[::8, ::8].astype(np.int16)
    if float(np.ptp(sample, axis=2).mean()) > GREY_SPREAD:
        return None
    return PredictionWarning(
        "grey",
        "The image has hardly any colour.",
        "A model that learnt from colour photos loses a clue here; train with grey images if yours are so.",
    )


def never_predicted(metadata: StoredMetadata) -> PredictionWarning | None:
    metrics: dict[str, Any] = metadata.provenance.get("metrics") or {}
    never = [name for name, row in (metrics.get("classes") or {}).items() if row.get("recall") == 0]
    if not never:
        return None
    return PredictionWarning(
        "never-predicted",
        f"On {images_of(metrics)}, this model never found: {', '.join(never)}.",
        "Give it more images that show them, or train longer; rare and thin things come last.",
    )


def silent(layer: Layer) -> PredictionWarning | None:
    if layer.group == "input" or layer.silent_channels <= layer.shape[0] / 2:
        return None
    return PredictionWarning(
        "silent",
        f"{layer.silent_channels} of the {layer.shape[0]} channels of {layer.name} are zero everywhere in this image.",
        "One image may not need them; if it is so for every image, a smaller encoder would do.",
    )
