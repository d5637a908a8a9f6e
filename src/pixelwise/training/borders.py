"""What a network learns to separate touching objects by: the borders between objects of one class.

U-Net separates touching cells by the pixels between them, which count more in the loss the narrower the gap
(Ronneberger et al. 2015, arXiv:1505.04597, equation 2). Here, each separated class has one more map, beside the class
scores and independent of them. A pixel belongs to a border if it lies within BORDER_PX of two objects of the class, be
it on one of them or in a gap between them.

The truth is made by `object_gaps`.

Shapes: B batch, S separated classes, h and w the size of a crop at the network's input.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.training.distributed import sum_over_all
from pixelwise.training.object_gaps import BORDER_PX, UNKNOWN

FADE_PX = 3.0  # sigma of the weight over the distance of the farther object
GAP_WEIGHT = 5.0  # of the narrowest gap, added to the 1 of every pixel


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
        gaps_BShw: whole numbers, as from `object_gaps.gaps_of`.
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
