"""What the assistant computes of an image or window once: features, brightness, and a model's prediction.

Shapes: h, w the window's size; N bands; K classes; M the model's classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.images.false_colour import false_colour
from pixelwise.images.read_as import whole_bytes
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.labelling.patch import Keys, Mask, Window
from pixelwise.labelling.pixel_features import FeatureGrid, FeatureMap, ImageFeatures, Values, pixel_maps
from pixelwise.labelling.stroke_samples import StrokeSamples
from pixelwise.prediction.load_model import Model, contiguous
from pixelwise.records import VOID, Bands, Pixels, Prediction, Raster
from pixelwise.softmax import softmax

MOST_PIXELS = 2_000_000  # larger windows are worked on at a smaller scale
DOUBT = 0.1  # of a model: the share of probability that all classes have alike, so that strokes can overrule it
MODEL_STRIDE = 4  # of the map of a model's probabilities


@dataclass(frozen=True)
class ModelView:
    """A model's prediction of the window."""

    prediction: Prediction

    def labels(self, keys: Sequence[int], model_keys: Sequence[int]) -> Keys:
        """Keys at full size; 255 for classes without one."""
        table = np.full(256, VOID, np.uint8)
        given = [key if key in keys else VOID for key in model_keys][: len(self.prediction.classes)]
        table[: len(given)] = given
        return table[self.prediction.labels]

    def logarithms(self, grid: FeatureGrid, keys: Sequence[int], model_keys: Sequence[int]) -> Values:
        """Logarithms of the probabilities of `keys` on the grid: [K, h, w]."""
        probability_Mhw = self.on_grid(grid.values_Fhw.shape[1:])
        result = np.full((len(keys), *probability_Mhw.shape[1:]), DOUBT / len(keys), np.float32)
        for key, probability_hw in zip(model_keys, probability_Mhw, strict=False):
            if key in keys:
                result[list(keys).index(key)] += (1 - DOUBT) * probability_hw
        return np.log(result)

    def on_grid(self, size: tuple[int, ...]) -> Values:
        """Probabilities of the model's classes: [M, h, w] of `size`."""
        scores = np.stack([cv2.resize(one, size[::-1]) for one in self.prediction.scores])
        return softmax(scores, self.prediction.temperature)


@dataclass(frozen=True)
class WindowView:
    """All that does not change with the strokes."""

    area: Window
    scale: float  # pixels of the features for each pixel of the image, at most 1
    features: ImageFeatures
    encoder: ImageFeatures  # of these, the encoder's alone
    shown: Pixels  # three bands of it, as the encoder is given them, at `scale`
    session: FeatureSession  # of the encoder
    guide: Values  # brightness, 0–1, at `scale`
    no_data: Mask  # [h, w] where no band has a value
    model: ModelView | None

    @cached_property
    def grid(self) -> FeatureGrid:
        return self.features.grid()

    def holds(self, samples: StrokeSamples) -> Mask:
        """Which samples, in pixels of the view, lie in it: [P]."""
        height, width = self.guide.shape
        inside = (samples.ys >= 0) & (samples.xs >= 0) & (samples.ys < height) & (samples.xs < width)
        return np.asarray(inside & ~samples.elsewhere)

    def places(self, samples: StrokeSamples) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of samples on the grid."""
        _, height, width = self.grid.values_Fhw.shape
        stride = self.grid.stride
        return np.minimum(samples.ys // stride, height - 1), np.minimum(samples.xs // stride, width - 1)

    def drawn(self, samples: StrokeSamples) -> Mask:
        """Places of the grid with samples of this view: [h, w]."""
        found = np.zeros(self.grid.values_Fhw.shape[1:], np.bool_)
        found[self.places(samples.some(self.holds(samples)))] = True
        return found

    @property
    def nbytes(self) -> int:
        return self.features.nbytes + self.grid.values_Fhw.nbytes + self.guide.nbytes + self.shown.nbytes


def view_of(image_hwN: Raster, bands: Bands, area: Window, features: FeatureSession, model: Model | None) -> WindowView:
    """Compute the features of a window whose pixels are given. Raises as `Assistant.propose`."""
    no_data = np.zeros((area.h, area.w), np.bool_)
    if image_hwN.dtype.kind == "f":
        np.logical_not(np.isfinite(image_hwN).any(axis=2), out=no_data)
    predicted = None if model is None else ModelView(model.predict(as_model_takes(image_hwN, model)))
    scale = min((MOST_PIXELS / (area.h * area.w)) ** 0.5, 1.0)
    if scale < 1:
        image_hwN = shrunk(image_hwN, max(int(area.h * scale), 1), max(int(area.w * scale), 1))
    shown = np.ascontiguousarray(false_colour(image_hwN, bands))
    height, width = shown.shape[:2]
    encoder = ImageFeatures(features.maps(shown), height, width)
    maps = [*pixel_maps(image_hwN, bands), *encoder.maps]
    if predicted is not None:
        size = -(-height // MODEL_STRIDE), -(-width // MODEL_STRIDE)
        maps.append(FeatureMap(np.moveaxis(predicted.on_grid(size), 0, 2), MODEL_STRIDE, (MODEL_STRIDE - 1) / 2))
    guide = np.asarray(shown.mean(axis=2, dtype=np.float32) / 255)
    all_maps = ImageFeatures(maps, height, width)
    view = WindowView(area, scale, all_maps, encoder, shown, features, guide, no_data, predicted)
    assert view.grid.stride  # computed here, so that threads share it
    return view


def as_model_takes(image_hwN: Raster, model: Model) -> Raster:
    """Contiguous, in the model's type: 16-bit values become float32, and 8-bit ones with missing values uint8."""
    array: Any = image_hwN
    if model.metadata.bands.dtype == "uint8" and (found := whole_bytes(image_hwN)) is not None:
        return contiguous(found)
    return contiguous(array.astype(model.metadata.bands.dtype, copy=False))


def shrunk(image_hwN: Raster, height: int, width: int) -> Raster:
    """Each pixel the mean of those that it stands for, band by band: OpenCV limits their number."""
    bands: Any = [
        cv2.resize(np.ascontiguousarray(image_hwN[:, :, band]), (width, height), interpolation=cv2.INTER_AREA)
        for band in range(image_hwN.shape[2])
    ]
    return np.stack(bands, axis=2)
