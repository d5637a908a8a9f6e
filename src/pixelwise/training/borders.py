"""What a network learns to separate touching objects by: the borders between objects of one class.

U-Net separates touching cells by the pixels between them, which count more in the loss the narrower the gap
(Ronneberger et al. 2015, arXiv:1505.04597, equation 2). Here, each separated class has one more map, beside the class
scores and independent of them. A pixel belongs to a border if it lies within BORDER_PX of two objects of the class, be
it on one of them or in a gap between them.

Truth is made of each crop after it was resized, mirrored and turned: a border is as wide at every magnification, and no
pixel of it is mixed or lost.

Shapes: B batch, S separated classes, h and w the size of a crop at the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pixelwise.objects.object_records import ObjectMap
from pixelwise.records import VOID, Labels
from pixelwise.training.distributed import sum_over_all

BORDER_PX = 2  # a border's pixels see two objects within as many pixels
GAP_PX = 6  # wider gaps count as much as any other pixels
FADE_PX = 3.0  # sigma of the weight over the distance of the farther object
GAP_WEIGHT = 5.0  # of the narrowest gap, added to the 1 of every pixel
UNKNOWN = 255  # nobody knows whether there is a border: void, unnumbered, or at the edge of a crop

MOST_NUMBER = 2**16 - 1
Gaps = NDArray[np.uint8]  # pixels to the second-nearest object, 1 … GAP_PX; 0: more; UNKNOWN
SQUARE, CROSS = np.ones((3, 3), np.uint8), np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


# ── truth ──


def gaps_of(labels_hw: Labels, objects_hw: ObjectMap | None, class_ids: Sequence[int]) -> Gaps:
    """How near two objects of each class are to every pixel of a crop, [S, h, w].

    Args:
        labels_hw: class ids at the network's input.
        objects_hw: the object of each pixel, 0: none; None: unknown.
    """
    gaps_Shw = np.full((len(class_ids), *labels_hw.shape), UNKNOWN, np.uint8)
    if objects_hw is None:
        return gaps_Shw
    inner = (slice(BORDER_PX, -BORDER_PX),) * 2  # at the edge, an object just outside is not seen
    for gaps_hw, class_id in zip(gaps_Shw, class_ids, strict=True):
        own_hw = np.where(labels_hw == class_id, objects_hw, 0)
        gaps_hw[inner] = second_nearest(own_hw)[inner]
        gaps_hw[labels_hw == VOID] = UNKNOWN
    return gaps_Shw


def second_nearest(objects_hw: NDArray[np.integer]) -> Gaps:
    """The distance at which each pixel sees a second object, 1 … GAP_PX; 0 where there is none so near.

    Distances are those of an octagon, which grows by a square and a cross in turn: within 1/12 of the true ones. Both
    the largest and the smallest object number spread; where they differ, two objects have met.
    """
    if objects_hw.max(initial=0) >= MOST_NUMBER:  # OpenCV spreads 16 bits
        values, dense = np.unique(objects_hw, return_inverse=True)
        objects_hw = dense.reshape(objects_hw.shape) + int(values[0] > 0)
    largest = objects_hw.astype(np.uint16)
    top = np.uint16(int(largest.max(initial=0)) + 1)
    smallest = np.where(largest > 0, top - largest, 0).astype(np.uint16)
    gaps_hw = np.zeros(objects_hw.shape, np.uint8)
    for distance in range(1, GAP_PX + 1):
        shape = SQUARE if distance % 2 else CROSS
        largest, smallest = (np.asarray(cv2.dilate(each, shape), np.uint16) for each in (largest, smallest))
        met = (largest > 0) & (largest != top - smallest) & (gaps_hw == 0)
        gaps_hw[met] = distance
    return gaps_hw


# ── loss ──


def gap_weights(gaps_BShw: Tensor) -> Tensor:
    """The weight of every pixel [B, h, w]: 1, and in gaps up to GAP_WEIGHT more."""
    near = ((gaps_BShw > 0) & (gaps_BShw != UNKNOWN)).float()
    fading = torch.exp(-((gaps_BShw.float() - 1) ** 2) / (2 * FADE_PX**2))
    more: Tensor = (near * fading).amax(dim=1)
    return 1 + GAP_WEIGHT * more


def border_loss(logits_BShw: Tensor, gaps_BShw: Tensor, dice_weight: float) -> Tensor:
    """Weighted binary cross-entropy plus `dice_weight` times the Dice loss of the borders. 0 if all is unknown.

    With several processes, it is the loss of their batches together, the same in each.

    Args:
        gaps_BShw: whole numbers, as from `gaps_of`.
    """
    known = (gaps_BShw != UNKNOWN).to(logits_BShw.dtype)
    border = ((gaps_BShw > 0) & (gaps_BShw <= BORDER_PX)).to(logits_BShw.dtype)
    weights = known * gap_weights(gaps_BShw)[:, None]
    entropy = F.binary_cross_entropy_with_logits(logits_BShw, border, weights, reduction="sum")
    probability = logits_BShw.sigmoid() * known
    over = (0, 2, 3)
    sums = torch.stack([(probability * border).sum(over), border.sum(over), probability.sum(over)])
    total = sum_over_all(torch.cat([torch.stack([entropy, weights.sum()]), sums.flatten()]))
    overlap_S, true_S, predicted_S = total[2:].view_as(sums)
    present_S = true_S > 0
    dice_S = 1 - (2 * overlap_S + 1) / (true_S + predicted_S + 1)
    dice = dice_S[present_S].sum() / present_S.sum().clamp(min=1)
    mean: Tensor = total[0] / total[1].clamp(min=1e-6) + dice_weight * dice
    return mean
