"""How likely a region is what a click means: measures of each candidate, and a score fitted to known objects.

Shapes: P superpixels; E pairs of neighbours; M measures; K candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.labelling.click_scene import ClickScene
from pixelwise.labelling.patch import Mask
from pixelwise.labelling.region_tree import Floats

MEASURES = (
    "edge_outside", "weakest_edge", "edge_inside", "colour_contrast", "looks_contrast", "colour_spread", "looks_spread",
    "centred", "cut_off", "at_border", "height", "parent_height", "raggedness", "area", "share", "pixels",
)  # fmt: skip


def measure(scene: ClickScene, inside_P: Mask, place: tuple[int, int], heights: tuple[float, float]) -> list[float]:
    """The measures of one candidate, in the order of MEASURES.

    Args:
        place: row and column of the click in the picture.
        heights: in the tree, of the candidate and of the next larger one.
    """
    pieces = scene.pieces
    ends = inside_P[pieces.pairs_E2]
    edge, within = ends[:, 0] != ends[:, 1], ends[:, 0] & ends[:, 1]
    length = float(pieces.lengths_E[edge].sum())
    around = np.zeros(pieces.count, np.bool_)
    around[pieces.pairs_E2[edge].reshape(-1)] = True
    around &= ~inside_P
    contrasts, spreads = [], []
    for values in (pieces.colours_PN, pieces.looks_PF):
        own, others = mean_of(values, pieces.areas_P, inside_P), mean_of(values, pieces.areas_P, around)
        contrasts.append(float(np.linalg.norm(own - others)))
        spreads.append(float(np.sqrt(((values[inside_P] - own) ** 2).sum(axis=1).mean())))
    mask = inside_P[pieces.ids_hw]
    depth = cv2.distanceTransform(
        cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3
    )
    lines = [int(np.count_nonzero(line)) for line in (mask[0], mask[:, 0], mask[-1], mask[:, -1])]
    border, open_ = sum(lines), sum(line for line, cut in zip(lines, scene.cut, strict=True) if cut)
    area = float(pieces.areas_P[inside_P].sum())
    scale = scene.window.w * scene.window.h / mask.size
    edges_out, edges_in = pieces.edges_E[edge], pieces.edges_E[within]
    return [
        float(np.log(max(edges_out @ pieces.lengths_E[edge] / max(length, 1), 0.05))),
        float(np.log(max(np.percentile(edges_out, 25) if len(edges_out) else 0, 0.05))),
        float(np.log(max(edges_in @ pieces.lengths_E[within] / max(pieces.lengths_E[within].sum(), 1), 0.2))),
        *(float(np.log(one + 0.1)) for one in (*contrasts, *spreads)),
        float(depth[place[0] + 1, place[1] + 1] / max(float(depth.max()), 1)),
        open_ / (length + open_ + 1),
        border / (length + border + 1),
        float(np.log(heights[0] + 0.1)),
        float(np.log(heights[1] + 0.1)),
        float(np.log((length + border) ** 2 / area)),
        float(np.log(area)),
        float(np.log(area / mask.size)),
        float(np.log(area * scale)),
    ]


def mean_of(values_PF: Floats, weights_P: Floats, chosen_P: Mask) -> Floats:
    weights = weights_P[chosen_P]
    return np.asarray(weights @ values_PF[chosen_P] / max(float(weights.sum()), 1))


def expanded(measures_KM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measures in units of their spread over known objects, their squares and 1: [K, 2M + 1]."""
    scaled = (measures_KM - MIDDLE) / SPREAD
    return np.concatenate([scaled, np.clip(scaled, -3, 3) ** 2, np.ones((len(scaled), 1))], axis=1)


def scores(measures: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """The expected IoU of each candidate with what the click means: [K]."""
    return np.asarray(expanded(np.array(measures, np.float64)) @ WEIGHTS)


# Fitted by least squares to the IoU of candidates with what was meant: nuclei of the Data Science Bowl 2018 (CC0) and
# the built-in street scenes, 28 objects, up to 6 simulated clicks each.
MIDDLE = np.array([
    1.171, 0.7825, 0.3028, 0.3079, 0.09489, -0.2739, 0.3899, 0.4702, 0.06171, 0.1202, 1.362, 1.774, 3.839, 6.647,
    -4.141, 6.479,
])  # fmt: skip
SPREAD = np.array([
    1.099, 1.149, 0.9706, 1.117, 0.7808, 1.076, 1.017, 0.2964, 0.1841, 0.2349, 1.606, 1.319, 0.7241, 2.461, 2.464,
    2.7,
])  # fmt: skip
WEIGHTS = np.array([
    -0.02001, 0.0193, -0.01765, 0.02857, 0.01717, 0.01191, 0.04956, 0.1058, -0.03369, -0.06351, -0.01634, 0.03752,
    -0.02387, -0.003786, -0.0091, 0.03956, -0.02071, 0.02186, 0.006268, 0.007347, -0.006921, -0.002126, 0.02803,
    0.009945, 0.01521, 0.009879, -0.03282, -0.01239, 0.0003448, -0.0119, -0.02244, 0.001592, 0.2066,
])  # fmt: skip
