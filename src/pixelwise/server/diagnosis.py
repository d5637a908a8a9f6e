"""When something is off with a prediction: what it is, how it shows in numbers, and what to do.

Shapes: H, W the image's own size; C classes; h, w the size of the scores.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.format import Metadata
from pixelwise.records import Pixels, Prediction

ONE_CLASS = 0.98  # share of the pixels
UNSURE = 0.5  # mean confidence below which nothing should be built on a mask
SPECKS = 0.02  # share of pixels in specks
SPECK_PX, SEEN_PX = 9, 512  # a speck has fewer pixels than this, when the longer side is brought to at most that
GREY_SPREAD = 3.0  # mean difference between channels, of 255
STRETCHED = 1.5  # how far the shape that the network sees may differ from the image's
BRIGHTNESS_ONLY = 0.9


def diagnose(pixels_HW3: Pixels, prediction: Prediction, metadata: Metadata) -> list[dict[str, str]]:
    """Findings, the gravest first: `kind`, `what`, `remedy`."""
    confidence_hw = confidence(prediction)
    mean = float(confidence_hw.mean())
    found = [
        one_class(prediction),
        unsure(mean),
        unlike_training(mean, metadata),
        follows_brightness(pixels_HW3, prediction),
        specks(prediction),
        too_small(pixels_HW3, metadata),
        stretched(pixels_HW3, metadata),
        grey(pixels_HW3),
        never_predicted(metadata),
    ]
    return [finding for finding in found if finding]


def confidence(prediction: Prediction) -> NDArray[np.float32]:
    """The probability of the likeliest class at every score position. [h, w]"""
    shifted_Chw = prediction.scores / prediction.temperature
    shifted_Chw = shifted_Chw - shifted_Chw.max(axis=0)
    return np.asarray(1.0 / np.exp(shifted_Chw).sum(axis=0), np.float32)


def finding(kind: str, what: str, remedy: str) -> dict[str, str]:
    return {"kind": kind, "what": what, "remedy": remedy}


def one_class(prediction: Prediction) -> dict[str, str] | None:
    name, share = max(prediction.shares.items(), key=lambda item: item[1])
    if share < ONE_CLASS or len(prediction.classes) < 2:
        return None
    return finding(
        "one-class",
        f"{share:.1%} of the pixels are labelled {name}.",
        "If the image shows more than that, the model has not learnt the other classes: train longer, give it more "
        "images of them, or check with `pixelwise check` that the masks hold what you think.",
    )


def unsure(mean: float) -> dict[str, str] | None:
    if mean >= UNSURE:
        return None
    return finding(
        "unsure",
        f"The model gives its own labels a probability of {mean:.0%} on average.",
        "Do not build on this mask. Look at the confidence view for the parts it is sure of.",
    )


def unlike_training(mean: float, metadata: Metadata) -> dict[str, str] | None:
    metrics: dict[str, Any] = metadata.provenance.get("metrics") or {}
    accuracy = metrics.get("accuracy")
    if accuracy is None or mean > accuracy - 0.15:
        return None
    return finding(
        "unlike-training",
        f"Its mean confidence here is {mean:.0%}, while {accuracy:.0%} of the pixels were right on its "
        f"{metrics.get('split', 'validation')} images: this image is unlike those it learnt from.",
        "Label a few images like this one and train with them.",
    )


def follows_brightness(pixels_HW3: Pixels, prediction: Prediction) -> dict[str, str] | None:
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
    return finding(
        "like-the-input",
        f"{told:.0%} of the labels can be told from brightness alone: the mask looks like the picture.",
        "Train longer or with more varied light; the network has learnt shades instead of things.",
    )


def specks(prediction: Prediction) -> dict[str, str] | None:
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
    return finding(
        "specks",
        f"{tiny / labels.size:.1%} of the pixels lie in specks of fewer than {SPECK_PX * step * step} pixels.",
        "The model is torn between classes here. Blur or noise in the image does this, and too short a training.",
    )


def too_small(pixels_HW3: Pixels, metadata: Metadata) -> dict[str, str] | None:
    height, width = pixels_HW3.shape[:2]
    h, w = metadata.size
    if metadata.policy == "native" or (2 * height > h and 2 * width > w):
        return None
    return finding(
        "too-small",
        f"The image has {width}×{height} pixels and is magnified to the network's {w}×{h}.",
        "Details that are not there cannot be found. Use the original, larger image.",
    )


def stretched(pixels_HW3: Pixels, metadata: Metadata) -> dict[str, str] | None:
    height, width = pixels_HW3.shape[:2]
    h, w = metadata.size
    ratio = (width / height) / (w / h)
    if metadata.policy != "stretch" or 1 / STRETCHED < ratio < STRETCHED:
        return None
    return finding(
        "stretched",
        f"The image is {width}×{height}, the network sees {w}×{h}: things are squeezed to "
        f"{min(ratio, 1 / ratio):.0%} of their shape.",
        "Crop it to a similar shape, or train with --policy fit.",
    )


def grey(pixels_HW3: Pixels) -> dict[str, str] | None:
    sample = pixels_HW3[::8, ::8].astype(np.int16)
    if float(np.ptp(sample, axis=2).mean()) > GREY_SPREAD:
        return None
    return finding(
        "grey",
        "The image has hardly any colour.",
        "A model that learnt from colour photos loses a clue here; train with grey images if yours are so.",
    )


def never_predicted(metadata: Metadata) -> dict[str, str] | None:
    metrics: dict[str, Any] = metadata.provenance.get("metrics") or {}
    never = [name for name, row in (metrics.get("classes") or {}).items() if row.get("recall") == 0]
    if not never:
        return None
    return finding(
        "never-predicted",
        f"On its {metrics.get('split', 'validation')} images this model never found: {', '.join(never)}.",
        "Give it more images that show them, or train longer; rare and thin things come last.",
    )
