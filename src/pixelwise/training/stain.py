"""Augmentation for microscopes: other stains and colours, dark objects on bright ground instead of bright on dark."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Pixels

# An orthonormal basis of colour: the first axis is grey, the other two span the hues.
GREY_AND_HUES = np.array(
    [[1 / 3**0.5] * 3, [2 / 6**0.5, -1 / 6**0.5, -1 / 6**0.5], [0.0, 1 / 2**0.5, -1 / 2**0.5]], np.float64
)


def restain(rng: np.random.Generator, image_hw3: Pixels, share: float) -> Pixels:
    """In `share` of the images, turn all hues by a random angle, and change saturation and the channels' gains.

    Stains differ in hue between laboratories; what a cell looks like in grey does not.
    """
    if share == 0 or rng.random() >= share:
        return image_hw3
    angle = rng.uniform(-np.pi, np.pi)
    saturation = np.exp(rng.uniform(-0.7, 0.4))
    turn = saturation * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    hues_3x3 = np.eye(3)
    hues_3x3[1:, 1:] = turn
    gains_3 = np.exp(rng.uniform(-0.15, 0.15, 3))
    matrix_3x3 = np.diag(gains_3) @ GREY_AND_HUES.T @ hues_3x3 @ GREY_AND_HUES
    return np.asarray(cv2.transform(image_hw3, matrix_3x3), np.uint8)


def tint(rng: np.random.Generator, image_hw3: Pixels, share: float) -> Pixels:
    """In `share` of the images, replace the colours: grey, from a random mixture of the channels, and in most of them
    then a random colour for black, another for white, and mixtures of the two between.

    What a microscope shows in grey another shows in colour: a network that has seen only one kind calls all of the
    other background.
    """
    if share == 0 or rng.random() >= share:
        return image_hw3
    grey_hw = cv2.transform(image_hw3, rng.dirichlet((1.0, 1.0, 1.0))[None])
    dark_3, bright_3 = (rng.uniform(0, 90, 3), rng.uniform(140, 255, 3)) if rng.random() < 0.75 else (0.0, 255.0)
    levels_256x1 = np.arange(256)[:, None] / 255.0
    ramp_256x3 = (dark_3 + (bright_3 - dark_3) * levels_256x1) * np.ones(3)
    return np.asarray(ramp_256x3.round().astype(np.uint8)[grey_hw])


def invert(rng: np.random.Generator, image_hw3: NDArray[Any], share: float) -> NDArray[Any]:
    """Swap dark and bright in `share` of the images, [h, w, N] on 0–255; hues stay."""
    if share == 0 or rng.random() >= share:
        return image_hw3
    if image_hw3.dtype == np.float32:  # not RGB
        swapped_hw1 = 255 - image_hw3.max(axis=2, keepdims=True) - image_hw3.min(axis=2, keepdims=True)
        return np.asarray(image_hw3 + swapped_hw1, np.float32)
    grey_hw = image_hw3.astype(np.int16).max(axis=2) + image_hw3.astype(np.int16).min(axis=2)
    return np.asarray((image_hw3 + (255 - grey_hw)[:, :, None]).clip(0, 255), np.uint8)
