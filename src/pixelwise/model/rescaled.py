"""A network trained on other ranges of its bands' values than those that its input is scaled by.

Shapes: B batch, N bands, H and W the input's size, s the stride of the scores.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.model.network import Network
from pixelwise.records import Bands


class Rescaled(Network):
    """A network behind one factor and one summand a band, which turn the input into what the network was trained on."""

    factor: Tensor
    summand: Tensor

    def __init__(self, network: Network, own: Bands, given: Bands) -> None:
        """`own`: the ranges that the network was trained with; `given`: those that the input is scaled by."""
        super().__init__()
        self.network = network
        self.stride, self.stride_multiple = network.stride, network.stride_multiple
        self.mean, self.std, self.borders = network.mean, network.std, network.borders
        mean_N, std_N, own_low_N, own_high_N, low_N, high_N = (
            torch.tensor(values, dtype=torch.float64)
            for values in (network.mean, network.std, own.low, own.high, given.low, given.high)
        )
        factor_N = (high_N - low_N) / (own_high_N - own_low_N)
        summand_N = (mean_N * (factor_N - 1) + (low_N - own_low_N) / (own_high_N - own_low_N)) / std_N
        self.register_buffer("factor", factor_N.float().view(1, -1, 1, 1), persistent=False)
        self.register_buffer("summand", summand_N.float().view(1, -1, 1, 1), persistent=False)

    def intermediates(self, image_BNHW: Tensor) -> dict[str, Tensor]:
        return self.network.intermediates(image_BNHW * self.factor + self.summand)
