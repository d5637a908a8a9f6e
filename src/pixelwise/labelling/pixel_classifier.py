"""Strokes → a classifier of pixels, fitted at once.

Shapes: H, W height and width; P samples; F features; K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.labelling.pixel_features import Values

FROM_STROKE = 24  # samples at least, where it has so many pixels
MOST_FROM_STROKE = 64
CELLS = 8  # a stroke that crosses more than one of CELLS by CELLS parts of the image counts once in each
RIDGE = 1.0  # of the weights, against samples of weight 1 for each stroke


@dataclass(frozen=True)
class StrokeSamples:
    """Drawn pixels and what they look like."""

    ys: NDArray[np.intp]  # [P]
    xs: NDArray[np.intp]
    keys: NDArray[np.uint8]  # [P] their classes
    weights: Values  # [P]; those of one stroke sum to 1

    def __len__(self) -> int:
        return len(self.keys)


def sample_strokes(keys_HW: NDArray[np.uint8], drawn_HW: NDArray[np.bool_]) -> StrokeSamples:
    """Some pixels of every stroke, the same for the same strokes: a broad stroke counts as much as a thin one."""
    cell = max(-(-max(keys_HW.shape) // CELLS), 1)
    found: list[tuple[NDArray[np.intp], NDArray[np.intp], int]] = []
    for key in np.unique(keys_HW[drawn_HW]):
        _, strokes_HW = cv2.connectedComponents(((keys_HW == key) & drawn_HW).astype(np.uint8), connectivity=8)
        ys, xs = np.nonzero(strokes_HW)
        part = (strokes_HW[ys, xs].astype(np.int64) * CELLS + ys // cell) * CELLS + xs // cell
        order = np.argsort(part, kind="stable")
        ends = np.flatnonzero(np.diff(part[order])) + 1
        for places in np.split(order, ends):
            number = min(max(FROM_STROKE, int(len(places) ** 0.5)), MOST_FROM_STROKE, len(places))
            chosen = places[np.random.default_rng(len(places)).permutation(len(places))[:number]]
            found.append((ys[chosen], xs[chosen], int(key)))
    if not found:
        none = np.empty(0, np.intp)
        return StrokeSamples(none, none, none.astype(np.uint8), none.astype(np.float32))
    return StrokeSamples(
        np.concatenate([ys for ys, _, _ in found]),
        np.concatenate([xs for _, xs, _ in found]),
        np.concatenate([np.full(len(ys), key, np.uint8) for ys, _, key in found]),
        np.concatenate([np.full(len(ys), 1 / len(ys), np.float32) for ys, _, _ in found]),
    )


def fit_linear(features_PF: Values, targets_PK: NDArray[np.float64], weights: Values) -> tuple[Values, Values]:
    """Ridge regression on standardised features: weights [F, K] and offsets [K].

    Solved in the samples, of which there are fewer than features while few strokes are drawn.
    """
    root = np.sqrt(weights)[:, None]
    extended = np.concatenate([features_PF, np.ones((len(features_PF), 1))], axis=1) * root
    extended[:, :-1] /= np.sqrt(features_PF.shape[1])
    gram = extended @ extended.T
    gram[np.diag_indices_from(gram)] += RIDGE * 1e-2
    solved = extended.T @ np.linalg.solve(gram, targets_PK * root)
    weights_FK = solved[:-1] / np.sqrt(features_PF.shape[1])
    return weights_FK.astype(np.float32), solved[-1].astype(np.float32)
