"""Strokes on an image → a class for every pixel, at once; and a model's labels, corrected by strokes.

Thread-safe. Features are computed once for an image and kept in bounded memory; after each stroke a small classifier is
fitted to the drawn pixels. Only what a person drew trains it, and no proposal covers that.

Shapes: H, W the image's size; h, w that of a window; N bands; F features; K classes.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import UsageError
from pixelwise.images.false_colour import false_colour
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.labelling.patch import Keys, Window
from pixelwise.labelling.pixel_classifier import fit_linear, sample_strokes
from pixelwise.labelling.pixel_features import ImageFeatures, Values, pixel_maps
from pixelwise.prediction.confidence_maps import probabilities_of_rows
from pixelwise.prediction.load_model import Model, contiguous
from pixelwise.records import VOID, Bands, Raster
from pixelwise.softmax import softmax

DRAWN = 1  # in `drawn_HW`: by a person
MOST_PIXELS = 2_000_000  # of a window; larger ones are worked on at a smaller scale
MOST_BYTES = 400_000_000  # of cached features
LEAST_SURE = 8  # the window offered for the next stroke has 1/LEAST_SURE of the view's height and width
SHARPNESS = 4.0  # turns the classifier's scores into probabilities


@dataclass(frozen=True)
class Proposal:
    """What the assistant would label."""

    window: Window
    labels_hw: Keys  # class keys; 255 where a person drew, where the image has no data, and where nothing is known
    confidence_hw: NDArray[np.uint8]  # 0–255 for 0–1
    least_sure: Window  # where a stroke would help most; inside `window`
    source: Literal["assistant", "model"]
    ms: float  # taken


class Assistant:
    """Proposes labels for the images of one labelling folder."""

    def __init__(self, features: FeatureSession | None = None, model: Model | None = None) -> None:
        """Choose what it works with.

        Args:
            features: the encoder that gives features. Default: the built-in one.
            model: a bundle whose labels strokes correct. Default: none.
        """
        self.features, self.model = features or FeatureSession(), model
        self.lock = threading.Lock()
        self.cached: OrderedDict[tuple[str, Window, tuple[int, int]], ImageFeatures] = OrderedDict()

    def propose(
        self,
        image_id: str,
        image_HWN: Raster,
        bands: Bands,
        keys_HW: Keys,
        drawn_HW: NDArray[np.uint8],
        keys: Sequence[int],
        window: Window | None = None,
        model_keys: Sequence[int] | None = None,
    ) -> Proposal:
        """Propose a class for every pixel of a window.

        Args:
            image_id: of the image; features are cached under it.
            image_HWN: all of the image, values as stored, NaN where there is no data.
            bands: its bands.
            keys_HW: the class of each labelled pixel, 255 elsewhere.
            drawn_HW: 1 where a person drew, 2 where a proposal was accepted, 0 where nothing is labelled.
            keys: the classes that may be proposed.
            window: the part to label. Default: the whole image.
            model_keys: the key of each of the model's classes, 255 for those without. Default: `keys`, in order.

        Raises:
            UsageError: the arrays differ in size, or the window lies outside the image.
        """
        began = time.perf_counter()
        size = image_HWN.shape[0], image_HWN.shape[1]
        if keys_HW.shape != size or drawn_HW.shape != size:
            raise UsageError(
                f"the image is {size[1]}×{size[0]} pixels, but its labels are {keys_HW.shape[1]}×{keys_HW.shape[0]} "
                f"and the drawn pixels {drawn_HW.shape[1]}×{drawn_HW.shape[0]}. Pass maps of the image's size."
            )
        area = (window or Window.whole(*size)).clipped(*size)
        image_hwN, keys_hw = image_HWN[area.slices], keys_HW[area.slices]
        by_person_hw = (drawn_HW[area.slices] == DRAWN) & (keys_hw != VOID)
        strokes_hw = np.where(by_person_hw, keys_hw, VOID)
        known = self.model_labels(image_hwN, model_keys or keys, keys)
        scores_hwK = self.scores(image_id, image_hwN, bands, area, strokes_hw, keys, known)
        labels_hw = np.full(keys_hw.shape, VOID, np.uint8)
        confidence_hw = np.zeros(keys_hw.shape, np.uint8)
        if scores_hwK is not None:
            labels_hw = np.array(keys, np.uint8)[scores_hwK.argmax(axis=2)]
            probability_hw = softmax(np.moveaxis(scores_hwK, 2, 0)).max(axis=0)
            confidence_hw = np.asarray(np.rint(probability_hw * 255), np.uint8)
        if known is not None and not by_person_hw.any():
            labels_hw = known[0].copy()
        labels_hw[by_person_hw] = VOID
        place = least_sure(confidence_hw, by_person_hw)
        place = Window(place.x + area.x, place.y + area.y, place.w, place.h)
        ms = (time.perf_counter() - began) * 1000
        return Proposal(area, labels_hw, confidence_hw, place, "assistant" if known is None else "model", ms)

    def model_labels(
        self, image_hwN: Raster, model_keys: Sequence[int], keys: Sequence[int]
    ) -> tuple[Keys, Values] | None:
        """The model's labels as keys, and its probabilities [h, w, K] in the order of `keys`."""
        if self.model is None:
            return None
        found = self.model.predict(contiguous(image_hwN))
        size = found.labels.shape
        all_CHW = probabilities_of_rows(found.scores, (size[0], size[1]), slice(0, size[0]), found.temperature)
        table = np.full(256, VOID, np.uint8)
        places = {key: place for place, key in enumerate(keys)}
        probability_hwK = np.full((*size, len(keys)), 1e-4, np.float32)
        for number, key in enumerate(model_keys[: len(self.model.classes)]):
            if key in places:
                table[number] = key
                probability_hwK[:, :, places[key]] += all_CHW[number]
        return table[found.labels], probability_hwK

    def scores(
        self,
        image_id: str,
        image_hwN: Raster,
        bands: Bands,
        area: Window,
        strokes_hw: Keys,
        keys: Sequence[int],
        known: tuple[Keys, Values] | None,
    ) -> Values | None:
        """[h, w, K]; None if nothing is drawn and there is no model."""
        prior = None if known is None else np.log(known[1])
        samples = sample_strokes(strokes_hw, strokes_hw != VOID)
        if not len(samples):
            return prior
        found = self.features_of(image_id, image_hwN, bands, area)
        mean, std = found.statistics()
        scale = 1 / np.maximum(std, 1e-6)
        features_PF = (found.at(samples.ys, samples.xs) - mean) * scale
        targets_PK = (samples.keys[:, None] == np.array(keys)).astype(np.float64)
        if known is not None:
            targets_PK -= known[1][samples.ys, samples.xs]
        weights_FK, offsets_K = fit_linear(features_PF, targets_PK, samples.weights)
        weights_FK *= scale[:, None]
        scores = (found.project(weights_FK) + (offsets_K - mean @ weights_FK)) * SHARPNESS
        if prior is not None:
            return np.asarray(scores + prior)
        unseen = [place for place, key in enumerate(keys) if key not in samples.keys]
        scores[:, :, unseen] = -np.inf
        return scores

    def features_of(self, image_id: str, image_hwN: Raster, bands: Bands, area: Window) -> ImageFeatures:
        key = (image_id, area, (area.h, area.w))
        with self.lock:
            if key in self.cached:
                self.cached.move_to_end(key)
                return self.cached[key]
        shown = np.ascontiguousarray(false_colour(image_hwN, bands))
        maps = [*pixel_maps(image_hwN, bands), *self.features.maps(shown)]
        found = ImageFeatures(maps, area.h, area.w)
        with self.lock:
            self.cached[key] = found
            while len(self.cached) > 1 and sum(one.nbytes for one in self.cached.values()) > MOST_BYTES:
                self.cached.popitem(last=False)
        return found


def least_sure(confidence_hw: NDArray[np.uint8], drawn_hw: NDArray[np.bool_]) -> Window:
    """The window with the lowest mean confidence that touches no drawn pixel, or as few as possible."""
    height, width = confidence_hw.shape
    down, across = max(height // LEAST_SURE, 1), max(width // LEAST_SURE, 1)
    sums = cv2.integral(255 - confidence_hw)
    touched = cv2.integral(drawn_hw.astype(np.uint8))
    unsure, drawn = (
        one[down:, across:] - one[:-down, across:] - one[down:, :-across] + one[:-down, :-across]
        for one in (sums, touched)
    )
    value = unsure.astype(np.int64) - drawn.astype(np.int64) * 256 * down * across
    y, x = (int(place) for place in np.unravel_index(int(value.argmax()), value.shape))
    return Window(x, y, across, down)
