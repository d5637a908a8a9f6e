"""Strokes on an image → a class for every pixel, at once; and a model's labels, corrected by strokes.

Features are computed once for an image and kept in bounded memory; after each stroke a small classifier is fitted to
the drawn pixels of this image and some of earlier ones. Only what a person drew trains it, and no proposal covers that.

Shapes: H, W the image's size; h, w that of a window; N bands; F features; K classes; P samples.
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
from pixelwise.labelling.click_object import ObjectClicks
from pixelwise.labelling.click_points import check_clicks
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.labelling.model_samples import model_samples, trust_in
from pixelwise.labelling.patch import Keys, Mask, Region, Window
from pixelwise.labelling.pixel_classifier import fit_classifier, targets_of
from pixelwise.labelling.pixel_features import Values
from pixelwise.labelling.refine_edges import best_of, without_specks
from pixelwise.labelling.stroke_memory import StrokeMemory
from pixelwise.labelling.stroke_samples import StrokeSamples, joined, moved, sample_strokes
from pixelwise.labelling.window_view import WindowView, view_of
from pixelwise.prediction.load_model import Model, contiguous
from pixelwise.records import VOID, Bands, Raster
from pixelwise.softmax import softmax

DRAWN = 1  # in `drawn_HW`: by a person
WHOLE_PIXELS = 2_000_000  # of larger images, only the window is worked on
MOST_BYTES = 500_000_000  # of cached features
LEAST_SURE = 8  # the window offered for the next stroke has 1/LEAST_SURE of the view's height and width
SHARPNESS = 6.0  # turns the classifier's scores into logarithms of probabilities


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
    """Proposes labels for the images of one labelling folder. Several threads may use it at a time."""

    def __init__(self, features: FeatureSession | None = None, model: Model | None = None) -> None:
        """Choose what it works with.

        Args:
            features: the encoder that gives features. Default: the built-in one.
            model: a bundle whose labels strokes correct. Default: none.
        """
        self.features, self.model = features or FeatureSession(), model
        self.lock = threading.Lock()
        self.memory = StrokeMemory()
        self.views: OrderedDict[tuple[str, Window], WindowView] = OrderedDict()
        self.click_lock = threading.Lock()
        self.clicked: tuple[WindowView, ObjectClicks] | None = None  # the image clicked last

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
            BundleError: the model or the features graph cannot be run.
        """
        began = time.perf_counter()
        size = image_HWN.shape[0], image_HWN.shape[1]
        if keys_HW.shape != size or drawn_HW.shape != size:
            raise UsageError(
                f"the image is {size[1]}×{size[0]} pixels, but its labels are {keys_HW.shape[1]}×{keys_HW.shape[0]} "
                f"and the drawn pixels {drawn_HW.shape[1]}×{drawn_HW.shape[0]}. Pass maps of the image's size."
            )
        asked = (window or Window.whole(*size)).clipped(*size)
        area = Window.whole(*size) if size[0] * size[1] <= WHOLE_PIXELS else asked
        by_person_HW = (drawn_HW == DRAWN) & (keys_HW != VOID)
        decided_hw = by_person_HW[asked.slices]
        samples = sample_strokes(np.where(by_person_HW, keys_HW, VOID), by_person_HW)
        if self.model is None and not (len(samples) or self.memory.knows(keys, image_id)):
            labels_hw = np.full((asked.h, asked.w), VOID, np.uint8)
            confidence_hw = np.zeros_like(labels_hw)
        else:
            view = self.view(image_id, image_HWN, bands, area)
            labels_hw, confidence_hw = self.label(image_id, view, samples, keys_HW, keys, model_keys or keys)
            inside = np.s_[asked.y - area.y :, asked.x - area.x :]
            labels_hw, confidence_hw = (one[inside][: asked.h, : asked.w] for one in (labels_hw, confidence_hw))
            decided_hw = decided_hw | view.no_data[inside][: asked.h, : asked.w]
            labels_hw[decided_hw] = VOID
        place = least_sure(confidence_hw, decided_hw)
        place = Window(place.x + asked.x, place.y + asked.y, place.w, place.h)
        source: Literal["assistant", "model"] = "assistant" if self.model is None else "model"
        return Proposal(asked, labels_hw, confidence_hw, place, source, (time.perf_counter() - began) * 1000)

    def label(
        self,
        image_id: str,
        view: WindowView,
        own: StrokeSamples,
        keys_HW: Keys,
        keys: Sequence[int],
        model_keys: Sequence[int],
    ) -> tuple[Keys, NDArray[np.uint8]]:
        """Labels and confidence [h, w] of a view."""
        table = np.array(keys, np.uint8)
        prior_Khw = None if view.model is None else view.model.logarithms(view.grid, keys, model_keys)
        samples, features_PF = self.drawn(image_id, view, own, keys_HW, keys)
        if prior_Khw is not None:  # strokes elsewhere say nothing of what this model labels here
            kept = view.holds(samples)
            samples, features_PF = samples.some(kept), features_PF[kept]
        strokes, scores_Khw = samples, prior_Khw
        if len(strokes):
            if prior_Khw is not None:
                trust = trust_in(prior_Khw, view, strokes, keys)
                if trust == 1 and np.isin(strokes.keys, model_keys).all():
                    given = model_samples(prior_Khw, view, strokes, keys)
                    samples = joined([strokes, given])
                    features_PF = np.concatenate([features_PF, view.features.at(given.ys, given.xs)])
            targets_PK = targets_of(samples.keys, keys) * SHARPNESS
            known = [place for place, key in enumerate(keys) if prior_Khw is not None or key in samples.keys]
            fitted = fit_classifier(features_PF, samples, targets_PK[:, known], view.grid, max(view.guide.shape))
            scores_Khw, table = fitted.scores(view.grid), table[known]
            if prior_Khw is not None:
                scores_Khw = scores_Khw + trust * prior_Khw
        assert scores_Khw is not None  # there are samples or there is a model
        size = view.area.w, view.area.h
        probability_hw = softmax(scores_Khw).max(axis=0)
        confidence_hw = cv2.resize(np.asarray(np.rint(probability_hw * 255), np.uint8), size)
        scores_Khw = without_specks(scores_Khw, view.drawn(strokes), view.grid.stride)
        labels_hw = cv2.resize(table[best_of(scores_Khw, view.guide)], size, interpolation=cv2.INTER_NEAREST)
        if view.model is not None:
            of_model_hw = view.model.labels(keys, model_keys)
            if len(strokes):  # where they change nothing, the model's outlines stay
                assert prior_Khw is not None
                same_hw = (scores_Khw.argmax(axis=0) == prior_Khw.argmax(axis=0)).astype(np.uint8)
                same_hw = cv2.resize(same_hw, size, interpolation=cv2.INTER_NEAREST) & (of_model_hw != VOID)
                of_model_hw = np.where(same_hw > 0, of_model_hw, labels_hw)
            labels_hw = of_model_hw
        return np.asarray(labels_hw, np.uint8), np.asarray(confidence_hw, np.uint8)

    def drawn(
        self, image_id: str, view: WindowView, own: StrokeSamples, keys_HW: Keys, keys: Sequence[int]
    ) -> tuple[StrokeSamples, Values]:
        """The samples of this image, in pixels of the view, and some of earlier ones; and their features."""
        area, scale = view.area, view.scale
        inside = (own.ys >= area.y) & (own.xs >= area.x) & (own.ys < area.y + area.h) & (own.xs < area.x + area.w)
        here = moved(own.some(inside), area, scale)
        features_PF = view.features.at(here.ys, here.xs)
        others, their_features = self.memory.exchange(image_id, area, own, inside, features_PF, keys_HW)
        parts = [here, *(moved(one, area, scale) for one in others)]
        samples, features = joined(parts), np.concatenate([features_PF, *their_features])
        wanted = np.isin(samples.keys, keys)
        return samples.some(wanted), features[wanted]

    def click(
        self,
        image_id: str,
        image_HWN: Raster,
        bands: Bands,
        points: Sequence[tuple[int, int, bool]],
        window: Window | None = None,
    ) -> Region:
        """The one object that clicks mean.

        Args:
            image_id, image_HWN, bands, window: as in `propose`; the object is looked for inside the window.
            points: column and row in the image, and whether the pixel belongs to the object.

        Raises:
            UsageError: no positive point, or a point outside the window.
            BundleError: the features graph cannot be run.
        """
        size = image_HWN.shape[0], image_HWN.shape[1]
        asked = (window or Window.whole(*size)).clipped(*size)
        clicks = check_clicks(points, asked)
        area = Window.whole(*size) if size[0] * size[1] <= WHOLE_PIXELS else asked
        view = self.view(image_id, image_HWN, bands, area)
        with self.click_lock:
            if self.clicked is None or self.clicked[0] is not view:
                self.clicked = view, ObjectClicks(contiguous(image_HWN[area.slices]), view)
            region = self.clicked[1].click([(x - area.x, y - area.y, positive) for x, y, positive in clicks])
        return Region(region.x + area.x, region.y + area.y, region.mask_hw)

    def view(self, image_id: str, image_HWN: Raster, bands: Bands, area: Window) -> WindowView:
        """What is computed of a window once, cached."""
        key = (image_id, area)
        with self.lock:
            if key in self.views:
                self.views.move_to_end(key)
                return self.views[key]
        found = view_of(image_HWN[area.slices], bands, area, self.features, self.model)
        with self.lock:
            self.views[key] = found
            while len(self.views) > 1 and sum(one.nbytes for one in self.views.values()) > MOST_BYTES:
                self.views.popitem(last=False)
        return found

    def forget(self, image_id: str) -> None:
        """Drop what is cached and remembered of an image."""
        self.memory.forget(image_id)
        with self.lock:
            for key in [key for key in self.views if key[0] == image_id]:
                del self.views[key]
        with self.click_lock:
            self.clicked = None


def least_sure(confidence_hw: NDArray[np.uint8], drawn_hw: Mask) -> Window:
    """The window with the lowest mean confidence that touches no drawn pixel, or as few as possible."""
    height, width = confidence_hw.shape
    down, across = max(height // LEAST_SURE, 1), max(width // LEAST_SURE, 1)
    unsure, drawn = (
        one[down:, across:] - one[:-down, across:] - one[down:, :-across] + one[:-down, :-across]
        for one in (cv2.integral(255 - confidence_hw), cv2.integral(drawn_hw.astype(np.uint8)))
    )
    value = unsure.astype(np.int64) - drawn.astype(np.int64) * 256 * down * across
    y, x = (int(place) for place in np.unravel_index(int(value.argmax()), value.shape))
    return Window(x, y, across, down)
