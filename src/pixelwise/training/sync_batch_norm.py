"""Batch normalisation over the batches of all processes, on any device.

A small part of a batch has noisier statistics than the whole. torch's own SyncBatchNorm needs a GPU.

Shapes: B batch of this process, C channels; H and W the size of a feature map.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F


def share_statistics(network: nn.Module) -> None:
    """Make every batch normalisation of `network` compute its training statistics over all processes."""
    for part in network.modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = SharedBatchNorm  # the same parameters under the same names, only another forward pass


class SharedBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d over all processes. With fixed statistics (`eval()`) nothing is shared."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x_BCHW)
        with torch.no_grad():
            mean_C, variance_C = (part_C.to(self.weight.dtype) for part_C in shared_statistics(x_BCHW))
            count = x_BCHW.numel() // self.num_features * dist.get_world_size()
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean_C, self.momentum)
            self.running_var.lerp_(variance_C * (count / max(count - 1, 1)), self.momentum)
            self.num_batches_tracked += 1
        y_BCHW: Tensor = Normalise.apply(x_BCHW, self.weight, self.bias, mean_C, variance_C, self.eps, count)  # type: ignore[no-untyped-call]
        return y_BCHW


def shared_statistics(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [C], float64, over all processes, whose batches are equally large."""
    # The kernel of an ordinary batch normalisation, for its statistics alone: far faster than torch.var_mean on a CPU.
    moments_2C = torch.stack(torch.batch_norm_update_stats(x_BCHW, None, None, 0.0)).double()
    mean_C, square_C = moments_2C
    square_C.addcmul_(mean_C, mean_C)  # in float64: a difference of squares loses digits
    dist.all_reduce(moments_2C)
    moments_2C /= dist.get_world_size()
    return mean_C, square_C.addcmul_(mean_C, mean_C, value=-1).clamp_(min=0)


class Normalise(torch.autograd.Function):
    """(x − mean) / std · weight + bias, where mean and std came from all processes' x (Ioffe and Szegedy 2015,
    arXiv:1502.03167, whose derivative holds two means over the batch: here over all batches)."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BCHW: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean_C: Tensor,
        variance_C: Tensor,
        eps: float,
        count: int,
    ) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight, mean_C, variance_C)
        ctx.eps, ctx.count = eps, count
        return F.batch_norm(x_BCHW, mean_C, variance_C, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_BCHW, weight, mean_C, variance_C = ctx.saved_tensors
        (dy_BCHW,) = gradients
        _, d_weight, d_bias = torch.ops.aten.native_batch_norm_backward(
            dy_BCHW, x_BCHW, weight, mean_C, variance_C, None, None, False, ctx.eps, [False, True, True]
        )
        sums = torch.cat([d_weight, d_bias]).double()
        dist.all_reduce(sums)
        mean_weight, mean_bias = (sums / ctx.count).to(weight.dtype).chunk(2)
        scale_C = torch.rsqrt(variance_C + ctx.eps)
        slope_C = -weight * scale_C**2 * mean_weight
        shift_C = -weight * scale_C * mean_bias - slope_C * mean_C
        # dx with constant statistics, plus the terms because the statistics depend on every x.
        dx_BCHW = torch.addcmul(shift_C[:, None, None], x_BCHW, slope_C[:, None, None])
        dx_BCHW = dx_BCHW.addcmul_(dy_BCHW, (weight * scale_C)[:, None, None])
        return dx_BCHW.to(x_BCHW.dtype), d_weight, d_bias, None, None, None, None
