"""How unlike are images, as the model sees them? And a choice of many that are unsure, new, and unlike each other.

An image is described by what the network's deepest layer answers on average; where a bundle names no layers, by the
shares of its classes in a coarse grid. Choosing goes farthest first, weighted by uncertainty, after the core-set of
Sener & Savarese 2018 (arXiv:1708.00489).

Shapes: N images; L labelled images; F features.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.onnx_graph import parse, with_outputs
from pixelwise.errors import BundleError
from pixelwise.prediction.in_memory import run_bounded
from pixelwise.prediction.load_model import Model
from pixelwise.records import Labels, Pixels, Scores

GRID = (3, 4)  # rows and columns of the coarse description

See = Callable[[Pixels], tuple[Labels, Scores, NDArray[np.float64]]]


def watcher(model: Model) -> See:
    """A function of an image: labels [H, W], scores [C, h, w] and the description [F], which is of length 1."""
    stages = [stage for stage in model.metadata.stages if stage.group == "convolutional"]
    if not stages:
        return lambda image_HW3: coarsely_seen(model, image_HW3)
    tensor = stages[-1].tensor
    session = model.open_session(with_outputs(parse(model.graph), [tensor], []))

    def see(image_HW3: Pixels) -> tuple[Labels, Scores, NDArray[np.float64]]:
        try:
            labels_HW, scores_Chw, deepest = session.run(["labels", "scores", tensor], {"image": image_HW3})
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise BundleError(f"{model.path}: cannot be run on this image: {error}. Export it again.") from error
        return labels_HW, scores_Chw, unit(np.asarray(deepest, np.float64).mean(axis=(-2, -1)).ravel())

    return see


def coarsely_seen(model: Model, image_HW3: Pixels) -> tuple[Labels, Scores, NDArray[np.float64]]:
    labels_HW, scores_Chw = run_bounded(model.engine, image_HW3)
    shares = np.exp(scores_Chw - scores_Chw.max(axis=0))
    shares /= shares.sum(axis=0)
    coarse = [cv2.resize(plane, GRID[::-1], interpolation=cv2.INTER_AREA) for plane in shares]
    return labels_HW, scores_Chw, unit(np.stack(coarse).astype(np.float64).ravel())


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def distances_to(described_NF: NDArray[np.float64], others_LF: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distance of each image to the nearest of the others, [N]; 1 where there are none."""
    if not len(others_LF):
        return np.ones(len(described_NF))
    nearest: NDArray[np.float64] = np.full(len(described_NF), np.inf)
    for start in range(0, len(others_LF), 256):  # a part at a time: memory stays bounded
        nearest = np.minimum(nearest, (1 - described_NF @ others_LF[start : start + 256].T).min(axis=1))
    return np.asarray(np.sqrt(np.maximum(2 * nearest, 0)))


def choose(
    uncertainty_N: NDArray[np.float64],
    described_NF: NDArray[np.float64],
    labelled_LF: NDArray[np.float64],
    number: int,
) -> list[tuple[int, float, float]]:
    """The images to label, the most telling first: index, novelty when it was chosen, and the product that decided.

    Novelty is the distance to the nearest image that is labelled or was chosen before.
    """
    novelty_N = distances_to(described_NF, labelled_LF)
    left = np.ones(len(uncertainty_N), bool)
    chosen = []
    for _ in range(min(number, len(uncertainty_N))):
        worth_N = np.where(left, uncertainty_N * novelty_N, -1.0)
        best = int(worth_N.argmax())
        chosen.append((best, float(novelty_N[best]), float(worth_N[best])))
        left[best] = False
        novelty_N = np.minimum(novelty_N, distances_to(described_NF, described_NF[best : best + 1]))
    return chosen
