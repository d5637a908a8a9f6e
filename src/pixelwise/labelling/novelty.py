"""How different images are to a model, and which to label: uncertain ones, unlike labelled ones and each other.

An image is described by the mean activations of the network's deepest layer; where a bundle names no layers, by the
shares of its classes in a coarse grid. Images are chosen farthest first, weighted by uncertainty, after the core-set of
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
from pixelwise.images.no_data import labels_with_data
from pixelwise.prediction.in_memory import run_bounded
from pixelwise.prediction.load_model import Model
from pixelwise.records import Labels, Prediction, Raster, Scores
from pixelwise.softmax import softmax

GRID = (3, 4)  # rows and columns of the coarse description

Describe = Callable[[Raster], tuple[Prediction, NDArray[np.float64]]]


def describer(model: Model) -> Describe:
    """A function of an image that returns its prediction and its description [F], which has length 1.

    Raises, when called: BundleError where the network cannot be run on the image.
    """
    stages = [stage for stage in model.metadata.stages if stage.group == "convolutional"]
    if not stages:
        return lambda image_HWN: describe_by_classes(model, image_HWN)
    tensor = stages[-1].tensor
    session = model.open_session(with_outputs(parse(model.graph), [tensor], []))

    def describe(image_HWN: Raster) -> tuple[Prediction, NDArray[np.float64]]:
        features: list[NDArray[np.float64]] = []

        def run(part_HWN: Raster) -> tuple[Labels, Scores]:
            try:
                labels_HW, scores_Chw, deepest = session.run(["labels", "scores", tensor], {"image": part_HWN})
            except Exception as error:  # onnxruntime's exceptions share no base of their own
                raise BundleError(f"{model.path}: cannot be run on this image: {error}. Export it again.") from error
            features.append(np.asarray(deepest, np.float64).mean(axis=(-2, -1)).ravel())
            return labels_HW, scores_Chw

        labels_HW, scores_Chw = run_bounded(model.engine, image_HWN, run)
        labels_HW = labels_with_data(image_HWN, labels_HW)
        prediction = Prediction(labels_HW, scores_Chw, model.classes, model.metadata.temperature)
        return prediction, unit(np.mean(features, axis=0))

    return describe


def describe_by_classes(model: Model, image_HWN: Raster) -> tuple[Prediction, NDArray[np.float64]]:
    """As `describer`, by the shares of the classes in a coarse grid."""
    prediction = model.predict(image_HWN)
    probability_Chw = softmax(prediction.scores, prediction.temperature)
    coarse = [cv2.resize(plane, GRID[::-1], interpolation=cv2.INTER_AREA) for plane in probability_Chw]
    return prediction, unit(np.stack(coarse).astype(np.float64).ravel())


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
    """The images to label, the most useful first: index, novelty when it was chosen, and uncertainty × novelty.

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
