"""What a model's labels count beside strokes: as a few more samples, as far as the strokes bear it out.

Shapes: h, w the size of the grid; K classes; P samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelwise.labelling.pixel_features import Values
from pixelwise.labelling.stroke_samples import StrokeSamples
from pixelwise.labelling.window_view import WindowView

SURE = 0.8  # probability of the model's class at a sample
MOST = 200  # samples
WEIGHT = 0.1  # of a sample, where a stroke weighs 1
TRUSTED = 0.25  # mean probability of what is drawn; from there on a model counts in full


def trust_in(prior_Khw: Values, view: WindowView, strokes: StrokeSamples, keys: Sequence[int]) -> float:
    """How much a model counts, 0–1: one that gives what is drawn hardly any probability is wrong altogether.

    Strokes are drawn where the model is wrong, so that a low probability there is usual.

    Args:
        prior_Khw: logarithms of the model's probabilities of `keys`.
        strokes: all of these classes.
    """
    numbers = np.argmax(strokes.keys[:, None] == np.array(keys), axis=1)
    probability_P = np.exp(prior_Khw[numbers, *view.places(strokes)])
    return float(min(np.average(probability_P, weights=strokes.weights) / TRUSTED, 1))


def model_samples(prior_Khw: Values, view: WindowView, strokes: StrokeSamples, keys: Sequence[int]) -> StrokeSamples:
    """Some undrawn places where a model is sure: with them, strokes spread to what is alike and not to all the rest.

    Args:
        prior_Khw, strokes, keys: as in `trust_in`.
    """
    sure_hw = (prior_Khw.max(axis=0) > np.log(SURE)) & ~view.drawn(strokes)
    places = np.flatnonzero(sure_hw)
    places = np.random.default_rng(0).permutation(places)[:MOST]  # the same each time
    rows, columns = np.divmod(places, sure_hw.shape[1])
    key_P = np.array(keys, np.uint8)[prior_Khw[:, rows, columns].argmax(axis=0)]
    stride, size = view.grid.stride, view.guide.shape
    ys, xs = (np.minimum(one * stride + stride // 2, end - 1) for one, end in ((rows, size[0]), (columns, size[1])))
    weights = np.full(len(places), WEIGHT, np.float32)
    return StrokeSamples(ys, xs, key_P, weights, np.zeros(len(places), np.bool_))
