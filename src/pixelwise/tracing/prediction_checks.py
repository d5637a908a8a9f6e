"""Checks of a prediction: each warning says what looks wrong, with its numbers, and what to do.

Shapes: H, W the image's own size; N its bands; C classes; h, w the size of the scores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.onnx_graph import StoredMetadata
from pixelwise.images.false_colour import false_colour
from pixelwise.images.no_data import without_data
from pixelwise.records import RGB, Bands, Pixels, Prediction, Raster
from pixelwise.tracing.network_layers import Layer
from pixelwise.training.observations import images_of

ONE_CLASS = 0.98  # share of the pixels
UNSURE = 0.35  # mean confidence, from chance (0) to certainty (1), below which a mask is not usable
UNLIKE = 0.15  # how far the mean confidence may be below the accuracy on held-out images
EMPTY = 0.1  # share of the pixels
OUTSIDE = 0.5  # share of a band's values; of the training images, 1 % lie outside
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
    image_HWN: Raster,
    prediction: Prediction,
    metadata: StoredMetadata,
    layers: Iterable[Layer] = (),
    example_HWN: Raster | None = None,
) -> list[PredictionWarning]:
    """What looks wrong with a prediction, most serious first; empty where nothing does.

    Args:
        image_HWN: the image, as the model takes it.
        prediction: its labels and scores.
        metadata: of the bundle; its provenance has the model's validation scores.
        layers: measured on this image; those that are mostly silent are reported.
        example_HWN: an image like those of training, such as the bundle's golden one: what it has itself is not
            reported as unusual.
    """
    confidence, bands = prediction.confidence, metadata.bands
    size, picture_HW3 = (image_HWN.shape[0], image_HWN.shape[1]), false_colour(image_HWN, bands)
    found = [
        broken(prediction),
        empty(image_HWN) or flat(image_HWN, bands) or out_of_range(image_HWN, bands) or one_class(prediction),
        unsure(confidence, prediction),
        unlike_training(confidence, metadata),
        follows_brightness(picture_HW3, prediction),
        specks(prediction),
        shrunk(size, prediction, metadata) or too_small(size, metadata),
        stretched(size, metadata),
        None if bands != RGB or is_grey(example_HWN) else grey(picture_HW3),
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


def empty(image_HWN: Raster) -> PredictionWarning | None:
    missing_HW = without_data(image_HWN)
    share = 0.0 if missing_HW is None else float(missing_HW.mean())
    if share < EMPTY:
        return None
    return PredictionWarning(
        "no-data",
        f"{share:.1%} of the pixels have no data in any band.",
        "Their labels mean nothing. Crop the image to where it has data.",
    )


def flat(image_HWN: Raster, bands: Bands) -> PredictionWarning | None:
    shades = (shades_of(image_HWN[:, :, band], bands, band) for band in range(len(bands)))
    if any(spread > FLAT_SHADES for spread in shades):
        return None
    return PredictionWarning(
        "flat",
        "The image is a single flat colour: nothing in it distinguishes the classes.",
        "Check that this is the right image and that its exposure is correct.",
    )


def shades_of(values_HW: NDArray[Any], bands: Bands, band: int) -> float:
    """Between the darkest and the brightest value of a band, of 255 between its low and high."""
    known = values_HW[np.isfinite(values_HW)] if values_HW.dtype.kind == "f" else values_HW
    if not known.size:
        return 0.0
    return (float(known.max()) - float(known.min())) * 255 / (bands.high[band] - bands.low[band])


def out_of_range(image_HWN: Raster, bands: Bands) -> PredictionWarning | None:
    """Values that training images did not have: another unit, scale or sensor."""
    if bands.dtype == "uint8":
        return None
    outside = {}
    for band, name in enumerate(bands.names):
        values = image_HWN[::4, ::4, band]
        known = values[np.isfinite(values)]
        if known.size:
            outside[name] = float(((known < bands.low[band]) | (known > bands.high[band])).mean())
    far = [name for name, share in outside.items() if share > OUTSIDE]
    if not far:
        return None
    name = max(far, key=outside.__getitem__)
    band = bands.names.index(name)
    values = image_HWN[:, :, band]
    known = values[np.isfinite(values)]
    return PredictionWarning(
        "values-outside",
        f"{outside[name]:.0%} of the values of the band {name} ({known.min():.6g} to {known.max():.6g}) lie outside "
        f"the range of the training images ({bands.low[band]:.6g} to {bands.high[band]:.6g})"
        + (f"; so do those of {len(far) - 1} more bands." if len(far) > 1 else "."),
        "Check the unit and scale of the values (reflectance 0–1 or 0–10,000?), or train with images like this one.",
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
        "If brightness is not what sets your classes apart, the network has learned shades instead of objects: train "
        "longer, or with more varied lighting.",
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


def too_small(size: tuple[int, int], metadata: StoredMetadata) -> PredictionWarning | None:
    height, width = size
    h, w = metadata.size
    if metadata.policy == "native" or (2 * height > h and 2 * width > w):
        return None
    return PredictionWarning(
        "too-small",
        f"The image has {width}×{height} pixels and is enlarged to the input size of {w}×{h}.",
        "Enlarging adds no detail. Use the original, larger image.",
    )


def shrunk(size: tuple[int, int], prediction: Prediction, metadata: StoredMetadata) -> PredictionWarning | None:
    height, width = size
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


def stretched(size: tuple[int, int], metadata: StoredMetadata) -> PredictionWarning | None:
    height, width = size
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
    if not is_grey(pixels_HW3):
        return None
    return PredictionWarning(
        "grey",
        "The image has almost no colour.",
        "A model trained on colour photos misses a cue here. If your images are grey, train with grey images.",
    )


def is_grey(pixels_HW3: Raster | None) -> bool:
    """Whether an RGB image has almost no colour; False without an image."""
    return pixels_HW3 is not None and float(np.ptp(pixels_HW3[::8, ::8].astype(np.int16), axis=2).mean()) <= GREY_SPREAD


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
