"""Overlays: class colours blended with the photo, and lines along the boundaries.

Shapes: H, W the image's own size.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.prediction.flow_events import coloured
from pixelwise.records import ClassList, Labels, Pixels

OPACITY = 0.5  # of the class colours
PX_PER_LINE_PX = 600  # lines are 1 px wide per so many pixels of the image's shorter side


def overlay(image_HW3: Pixels, labels_HW: Labels, classes: ClassList) -> Pixels:
    """The photo blended with class colours, with white lines along boundaries. Returns uint8 [H, W, 3]."""
    blended_HW3 = cv2.addWeighted(image_HW3, 1 - OPACITY, coloured(labels_HW, classes), OPACITY, 0)
    line_px = max(round(min(labels_HW.shape) / PX_PER_LINE_PX), 1)
    blended_HW3[boundaries(labels_HW, line_px)] = 255
    return np.asarray(blended_HW3, np.uint8)


def encode_overlay(overlay_HW3: Pixels) -> bytes:
    """As a PNG with little compression: more would take longer than the network and hardly shrink a photo."""
    done, png = cv2.imencode(".png", overlay_HW3[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    return bytes(png)


def boundaries(labels_HW: Labels, line_px: int = 1) -> NDArray[np.bool_]:
    """True where the pixel to the right or below is of another class; lines are `line_px` wide. Returns [H, W]."""
    edge_HW = np.zeros(labels_HW.shape, np.bool_)
    edge_HW[:, :-1] |= labels_HW[:, 1:] != labels_HW[:, :-1]
    edge_HW[:-1] |= labels_HW[1:] != labels_HW[:-1]
    if line_px > 1:
        wide_HW = cv2.dilate(edge_HW.astype(np.uint8), np.ones((line_px, line_px), np.uint8))
        return np.asarray(wide_HW, np.bool_)
    return edge_HW
