"""Strokes → scores of every class on a grid of places, fitted at once: kernel ridge regression.

A stroke speaks for places that look alike, and more so near it. What counts as alike follows from the strokes: a
feature weighs as it separates the classes drawn so far (Fisher's ratio), and each map of features starts with the same
weight however many channels it has. Likeness falls slowly with the distance of features (a Cauchy kernel), so that
strokes also decide what looks like none of them.

Shapes: h, w the grid's size; P samples; F features; K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.labelling.pixel_features import FeatureGrid, Values
from pixelwise.labelling.stroke_samples import StrokeSamples
from pixelwise.prediction.engines.engine import usable_cores

ALIKE = 8.0  # the mean squared distance of two places, in widths of the kernel
SHARED = 0.05  # of a feature's weight, whatever its ratio
MOST_FEATURES = 64  # that count; the others have the least weight
POWER = 1.25  # of Fisher's ratio
LOCAL = 0.6  # of a stroke's influence that fades with distance
REACH = 0.12  # how far: σ, as a share of the image's longer side
RIDGE = 0.006  # against samples of which those of one stroke weigh 1
CHUNK = 1 << 18  # kernel values at a time: they stay in the cache


@dataclass(frozen=True)
class PixelClassifier:
    """Fitted; scores any grid of the same features."""

    samples_PF: Values  # scaled, the features that count
    samples: StrokeSamples
    chosen: NDArray[np.intp]  # the features that count
    scale: Values  # of each of them
    weights_KP: Values
    reach_px: float

    def scores(self, grid: FeatureGrid) -> Values:
        """Scores of each class, [K, h, w]: about 1 − 1/K for the class of a stroke, −1/K for the others."""
        _, height, width = grid.values_Fhw.shape
        rows = max(CHUNK // (len(self.samples) * width), 1)
        columns = nearness((np.arange(width) + 0.5) * grid.stride, self.samples.xs, self.reach_px)
        columns[self.samples.elsewhere] = 0
        columns *= LOCAL
        result = np.empty((len(self.weights_KP), height, width), np.float32)

        def strip(top: int) -> None:
            part = slice(top, min(top + rows, height))
            places = grid.values_Fhw[self.chosen, part].reshape(len(self.chosen), -1)
            centres = (np.arange(part.start, part.stop) + 0.5) * grid.stride
            lines = nearness(centres, self.samples.ys, self.reach_px)
            near = lines[:, :, None] * columns[:, None]
            near += 1 - LOCAL
            alike = near.reshape(len(near), -1)
            alike /= unlikeness(self.samples_PF, places * self.scale[:, None])
            result[:, part] = product(self.weights_KP, alike).reshape(len(result), -1, width)

        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(strip, range(0, height, rows)))
        return result


def fit_classifier(
    features_PF: Values, samples: StrokeSamples, targets_PK: Values, grid: FeatureGrid, side_px: int
) -> PixelClassifier:
    """Fit to samples.

    Args:
        features_PF: of the samples.
        targets_PK: the score to reach at each.
        side_px: the image's longer side.
    """
    bounded_PF = grid.bounded(features_PF)
    weight_F = fisher_ratio(bounded_PF / grid.spread, samples) * grid.prior
    chosen = np.argsort(-weight_F, kind="stable")[:MOST_FEATURES]
    weight = weight_F[chosen] / weight_F[chosen].sum() * ALIKE
    scale = (np.sqrt(weight) / grid.spread[chosen]).astype(np.float32)
    scaled_PF = (bounded_PF[:, chosen] * scale).astype(np.float32)
    kernel_PP = 1 / unlikeness(scaled_PF, scaled_PF.T).astype(np.float64)
    reach_px = REACH * side_px
    near = nearness(samples.ys, samples.ys, reach_px) * nearness(samples.xs, samples.xs, reach_px)
    near *= ~(samples.elsewhere[:, None] | samples.elsewhere)
    kernel_PP *= 1 - LOCAL + LOCAL * near
    kernel_PP[np.diag_indices_from(kernel_PP)] += RIDGE / samples.weights
    # Positive definite, thanks to the ridge.
    _, weights_PK = cv2.solve(kernel_PP, targets_PK.astype(np.float64), flags=cv2.DECOMP_CHOLESKY)
    weights_KP = np.ascontiguousarray(weights_PK.T, np.float32)
    return PixelClassifier(scaled_PF, samples, chosen, scale, weights_KP, reach_px)


def fisher_ratio(standard_PF: Values, samples: StrokeSamples) -> Values:
    """How well each feature separates the classes, [F]: variance between them over variance within, around 1."""
    within, means = np.zeros(standard_PF.shape[1]), []
    classes = np.unique(samples.keys)
    for key in classes:
        of_class = samples.keys == key
        weights = samples.weights[of_class] / samples.weights[of_class].sum()
        mean = weights @ standard_PF[of_class]
        within += weights @ (standard_PF[of_class] - mean) ** 2
        means.append(mean)
    within /= len(classes)
    between = np.var(np.array(means), axis=0)
    ratio = (between / (within + 0.05 * between + 0.02)) ** POWER
    return np.asarray(ratio / max(ratio.mean(), 1e-9) + SHARED, np.float32)


def unlikeness(one_PF: Values, other_FQ: Values) -> Values:
    """1 + the squared distance of samples and places, [P, Q]: one over it is the kernel."""
    squares_P, squares_Q = np.einsum("pf,pf->p", one_PF, one_PF), np.einsum("fq,fq->q", other_FQ, other_FQ)
    # Both squares are two more terms of the product, which saves passes over the result.
    one = np.concatenate([-2 * one_PF, 1 + squares_P[:, None], np.ones((len(one_PF), 1), np.float32)], axis=1)
    other = np.concatenate([other_FQ, np.ones((1, len(squares_Q)), np.float32), squares_Q[None]], axis=0)
    return product(one, other)


def product(one: Values, other: Values) -> Values:
    """one @ other by OpenCV, which computes it in this thread: NumPy's would wait for others in a busy loop."""
    return np.asarray(cv2.gemm(one, other, 1, None, 0))  # type: ignore[call-overload]


def nearness(places: NDArray[np.generic], samples: NDArray[np.intp], reach_px: float) -> Values:
    """exp(−½ (distance / reach)²) along one axis: [P, places]."""
    away = (np.asarray(places, np.float32)[None] - samples[:, None].astype(np.float32)) / np.float32(reach_px)
    return np.asarray(np.exp(-0.5 * away**2), np.float32)


def targets_of(keys: NDArray[np.uint8], classes: Sequence[int]) -> Values:
    """1 − 1/K for a sample's class and −1/K for the others: [P, K]."""
    return np.asarray((keys[:, None] == np.array(classes)) - 1 / len(classes), np.float32)
