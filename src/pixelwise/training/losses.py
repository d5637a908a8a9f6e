"""What training minimises. Void pixels are ignored: no loss or gradient depends on the scores there.

Shapes: B batch, C classes, H and W the size of the labels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.records import VOID
from pixelwise.training.distributed import sum_over_all


def class_weights(pixels_C: Tensor, power: float) -> Tensor:
    """Class weights that favour rare classes: (1 / share)^power, with a mean of 1 over pixels.

    Args:
        pixels_C: pixels of each class in the training split.
        power: 0 weights every pixel equally, 1 every class.

    Classes without pixels get weight 0. Weights are capped at 10, so that a class of a hundred pixels does not
    dominate.
    """
    pixels_C = pixels_C.double()
    share_C = pixels_C / pixels_C.sum().clamp(min=1)
    weights_C = torch.where(share_C > 0, share_C.clamp(min=1e-12) ** -power, 0.0)
    weights_C = weights_C / (weights_C * share_C).sum().clamp(min=1e-12)
    return weights_C.clamp(max=10.0).float()


def segmentation_loss(
    scores_BCHW: Tensor,
    labels_BHW: Tensor,
    weights_C: Tensor,
    dice_weight: float,
    pixel_weights_BHW: Tensor | None = None,
) -> Tensor:
    """Weighted cross-entropy plus `dice_weight` times the Dice loss, from one softmax. 0 if all pixels are void.

    With several processes, it is the loss of their batches together, the same in each.

    Args:
        scores_BCHW: float scores.
        labels_BHW: int64 class ids or VOID.
        weights_C: weight of each class in the cross-entropy.
        pixel_weights_BHW: further weights in it, of pixels; None: 1.
    """
    log_probability_BCHW = scores_BCHW.log_softmax(dim=1)
    entropy_2 = entropy_sums(log_probability_BCHW, labels_BHW, weights_C, pixel_weights_BHW)
    if not dice_weight:
        return cross_entropy(sum_over_all(entropy_2))
    overlap_3C = overlap_sums(log_probability_BCHW, labels_BHW)
    sums = sum_over_all(torch.cat([entropy_2, overlap_3C.flatten()]))  # one synchronisation instead of two
    return cross_entropy(sums[:2]) + dice_weight * dice(sums[2:].view_as(overlap_3C))


def entropy_sums(
    log_probability_BCHW: Tensor, labels_BHW: Tensor, weights_C: Tensor, pixel_weights_BHW: Tensor | None = None
) -> Tensor:
    """Sums over the labelled pixels [2]: of the weighted cross-entropy, and of the weights."""
    if pixel_weights_BHW is not None:
        each_BHW = F.nll_loss(log_probability_BCHW, labels_BHW, weights_C, ignore_index=VOID, reduction="none")
        labelled_BHW = labels_BHW != VOID
        weights_BHW = pixel_weights_BHW * weights_C[torch.where(labelled_BHW, labels_BHW, 0)] * labelled_BHW
        return torch.stack([(each_BHW * pixel_weights_BHW).sum(), weights_BHW.sum()])
    total = F.nll_loss(log_probability_BCHW, labels_BHW, weights_C, ignore_index=VOID, reduction="sum")
    labelled = labels_BHW != VOID
    weight = weights_C[torch.where(labelled, labels_BHW, 0)][labelled].sum()
    return torch.stack([total, weight])


def cross_entropy(entropy_2: Tensor) -> Tensor:
    """Mean weighted cross-entropy over the labelled pixels, from their sums."""
    total, weight = entropy_2
    mean: Tensor = total / weight.clamp(min=1e-6)
    return mean


def overlap_sums(log_probability_BCHW: Tensor, labels_BHW: Tensor) -> Tensor:
    """Sums over the labelled pixels [3, C]: each class's probability on its own pixels, its number of pixels, and its
    probability on all pixels."""
    classes = log_probability_BCHW.shape[1]
    labelled_BHW = labels_BHW != VOID
    probability_BCHW = log_probability_BCHW.exp() * labelled_BHW[:, None]
    ids_BHW = torch.where(labelled_BHW, labels_BHW, 0)
    own_BHW = probability_BCHW.gather(1, ids_BHW[:, None])[:, 0]  # 0 on void
    flat = ids_BHW.flatten()
    none_C = own_BHW.new_zeros(classes)
    overlap_C = none_C.index_add(0, flat, own_BHW.flatten())
    true_C = none_C.index_add(0, flat, labelled_BHW.flatten().to(own_BHW.dtype))
    return torch.stack([overlap_C, true_C, probability_BCHW.sum((0, 2, 3))])


def dice(overlap_3C: Tensor) -> Tensor:
    """1 − soft Dice, averaged over the classes that occur in the batch (Milletari et al. 2016, arXiv:1606.04797).

    Works on the overlap of whole regions, so that a thin pole counts as much as a wide road.
    """
    overlap_C, true_C, predicted_C = overlap_3C
    dice_C = (2 * overlap_C + 1) / (predicted_C + true_C + 1)
    present_C = true_C > 0
    mean: Tensor = (1 - dice_C)[present_C].sum() / present_C.sum().clamp(min=1)
    return mean
