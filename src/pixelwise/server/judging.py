"""This model measured on images that it has not learnt from: the confusion matrix and all that derives from it.

Shapes: C classes; N pixels; B bins of confidence.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.metrics import confusion
from pixelwise.prediction.load_model import Model
from pixelwise.records import VOID, Labels, Pixels, Prediction
from pixelwise.scenes.render_scene import SCENE_CLASSES
from pixelwise.server.sample_images import Samples, judged_scenes

IMAGES = 32
BINS = 10
BOUNDARY_PX = 3  # within so many pixels of a border between classes


def judge(model: Model, samples: Samples, run: Path | None) -> dict[str, Any] | None:
    """The scores of a model; None where there is nothing with masks to measure it on."""
    known = set(SCENE_CLASSES.names) & set(model.classes.names)
    pairs: Iterable[tuple[Pixels, Labels]]
    if samples.held_out:
        count = min(len(samples.held_out), IMAGES)
        pairs = (samples.read_held_out(i) for i in range(count))
        source = f"{count} images that were held out when this model was trained"
    elif len(known) >= 2:
        pairs = judged_scenes(model.classes, IMAGES)
        source = f"{IMAGES} rendered street scenes, over the {len(known)} classes that they share with this model"
    else:
        return None
    return {"source": source, "from_run": run is not None and bool(samples.held_out), **measure(model, pairs)}


def measure(model: Model, pairs: Iterable[tuple[Pixels, Labels]]) -> dict[str, Any]:
    """Everything at once, image by image, so that only one is in memory."""
    count = len(model.classes)
    matrix = np.zeros((count, count), np.int64)
    near, near_right = 0, 0
    bins = np.zeros((3, BINS))  # pixels, summed confidence, right ones
    images = 0
    for pixels_HW3, true_HW in pairs:
        prediction = model.predict(pixels_HW3)
        images += 1
        matrix += confusion.count_pairs(prediction.labels, true_HW, count)
        border_HW = borders(true_HW) & (true_HW != VOID)
        near += int(border_HW.sum())
        near_right += int((prediction.labels == true_HW)[border_HW].sum())
        bins += reliability(prediction, true_HW)
    return {"images": images, **summarise(matrix, model, near, near_right, bins)}


def summarise(
    matrix: confusion.Counts, model: Model, near: int, near_right: int, bins: NDArray[np.float64]
) -> dict[str, Any]:
    scores = confusion.scores(matrix)
    true_C = matrix.sum(axis=1)
    total, right = int(true_C.sum()), int(np.trace(matrix))
    commonest = int(true_C.argmax())
    lazy = np.zeros_like(matrix)
    lazy[:, commonest] = true_C  # every pixel called the commonest class
    lazy_scores = confusion.scores(lazy)
    away = total - near
    pixels_B, confidence_B, right_B = bins
    filled = pixels_B > 0
    error = float(np.abs(confidence_B - right_B).sum() / max(pixels_B.sum(), 1))
    return {
        "matrix": matrix.tolist(),
        "scores": scores.to_json(model.classes),
        "commonest": {
            "class": model.classes.names[commonest],
            "accuracy": lazy_scores.accuracy,
            "miou": lazy_scores.miou,
        },
        "boundary": {
            "within_px": BOUNDARY_PX,
            "pixels": near,
            "accuracy": near_right / near if near else None,
            "interior_pixels": away,
            "interior_accuracy": (right - near_right) / away if away else None,
        },
        "calibration": {
            "error": error,
            "temperature": model.metadata.temperature,
            "bins": [
                {
                    "from": i / BINS,
                    "to": (i + 1) / BINS,
                    "pixels": int(pixels_B[i]),
                    "confidence": float(confidence_B[i] / pixels_B[i]) if filled[i] else None,
                    "accuracy": float(right_B[i] / pixels_B[i]) if filled[i] else None,
                }
                for i in range(BINS)
            ],
        },
    }


def borders(labels_HW: Labels) -> NDArray[np.bool_]:
    """Pixels within BOUNDARY_PX of another class. Void makes no border."""
    kernel = np.ones((2 * BOUNDARY_PX + 1,) * 2, np.uint8)
    known = labels_HW != VOID
    highest = cv2.dilate(np.where(known, labels_HW, 0).astype(np.uint8), kernel)
    lowest = cv2.erode(np.where(known, labels_HW, VOID).astype(np.uint8), kernel)
    return np.asarray(highest != lowest)


def reliability(prediction: Prediction, true_HW: Labels, step: int = 4) -> NDArray[np.float64]:
    """Every `step`-th pixel, by its confidence: how many, their summed confidence, how many are right. [3, B]"""
    height, width = true_HW.shape
    ys, xs = np.arange(step // 2, height, step), np.arange(step // 2, width, step)
    scores_NC = scores_at(prediction, ys, xs)
    scores_NC = scores_NC / prediction.temperature
    scores_NC -= scores_NC.max(axis=1, keepdims=True)
    probability_NC = np.exp(scores_NC)
    confidence_N = probability_NC.max(axis=1) / probability_NC.sum(axis=1)
    truth_N = true_HW[np.ix_(ys, xs)].ravel()
    known_N = truth_N != VOID
    right_N = (scores_NC.argmax(axis=1) == truth_N)[known_N]
    confidence_N = confidence_N[known_N]
    bin_N = np.minimum((confidence_N * BINS).astype(int), BINS - 1)
    return np.stack(
        [np.bincount(bin_N, weights, BINS) for weights in (np.ones_like(confidence_N), confidence_N, right_N)]
    )


def scores_at(prediction: Prediction, ys: NDArray[np.int64], xs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scores of the pixels in rows `ys` and columns `xs`: `records.bilinear_lookup` for many at a time. [N, C]"""
    height, width = prediction.labels.shape
    _, h, w = prediction.scores.shape
    parts = []
    for positions, size, own in ((ys, height, h), (xs, width, w)):
        place = np.clip((positions + 0.5) / size * own - 0.5, 0, own - 1)
        low = place.astype(int)
        parts.append((low, np.minimum(low + 1, own - 1), place - low))
    (y0, y1, fy), (x0, x1, fx) = parts
    out = np.zeros((prediction.scores.shape[0], len(ys), len(xs)))
    for (rows, wy), (columns, wx) in itertools.product(((y0, 1 - fy), (y1, fy)), ((x0, 1 - fx), (x1, fx))):
        out += prediction.scores[:, rows[:, None], columns[None]] * (wy[:, None] * wx[None])
    return out.reshape(out.shape[0], -1).T
