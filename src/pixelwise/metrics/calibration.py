"""Are probabilities true? Temperature scaling and the expected calibration error (Guo et al. 2017, arXiv:1706.04599).

Shapes: N pixels, C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import VOID

BINS = 15
TEMPERATURES = (0.25, 4.0)  # sought between these; a network outside them needs other help


def log_softmax(scores_NC: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = scores_NC.astype(np.float64) - scores_NC.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def fit_temperature(scores_NC: NDArray[np.floating], labels_N: NDArray[np.integer]) -> float:
    """The temperature under which the labels are likeliest; 1.0 where nothing is labelled.

    The likelihood has one peak in 1 / temperature, so a golden-section search on its logarithm finds it.
    """
    labelled = labels_N != VOID
    scores_NC, labels_N = scores_NC[labelled], labels_N[labelled]
    if not len(labels_N):
        return 1.0

    def loss(log_temperature: float) -> float:
        log_p = log_softmax(scores_NC / np.exp(log_temperature))
        return float(-log_p[np.arange(len(labels_N)), labels_N].mean())

    low, high = np.log(TEMPERATURES)
    golden = (5**0.5 - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > 1e-3:
        if loss_left < loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - golden * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + golden * (high - low)
            loss_right = loss(right)
    return float(np.exp((low + high) / 2))


def calibration_error(
    scores_NC: NDArray[np.floating], labels_N: NDArray[np.integer], temperature: float = 1.0, bins: int = BINS
) -> float:
    """Expected calibration error, 0–1: how far confidence and accuracy lie apart, averaged over bins of confidence.

    NaN where nothing is labelled.
    """
    labelled = labels_N != VOID
    if not labelled.any():
        return float("nan")
    probability_NC = np.exp(log_softmax(scores_NC[labelled] / temperature))
    confidence_N = probability_NC.max(axis=1)
    right_N = probability_NC.argmax(axis=1) == labels_N[labelled]
    bin_N = np.minimum((confidence_N * bins).astype(int), bins - 1)
    gap = np.bincount(bin_N, weights=confidence_N - right_N, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence_N))
