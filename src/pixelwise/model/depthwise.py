"""Depthwise convolution whose weights learn fast on a CPU.

oneDNN, which convolves for torch on CPUs, has a fast gradient for depthwise kernels of up to three columns. For wider
ones it takes that of full convolutions, ten times slower: a quarter of a training's time went there. A kernel's
gradient is its columns' gradients side by side, so wider kernels are done three columns at a time here. The sums are
the same, in another order.

Shapes: B batch, C channels, H and W the input's size, h and w the output's, k the kernel's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

COLUMNS = 3  # that oneDNN's fast gradient takes at a time


class Depthwise(torch.autograd.Function):
    """Convolve each channel by a kernel of its own; [B, C, H, W] → [B, C, h, w].

    Padded as TensorFlow's "same": see ConvNorm, which calls this.
    """

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight_C1kk: Tensor, bias_C: Tensor | None, stride: int) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight_C1kk)
        ctx.stride, ctx.has_bias = stride, bias_C is not None
        kernel_C1kk, padding = centred(weight_C1kk, stride)
        return F.conv2d(x_BCHW, kernel_C1kk, bias_C, stride, padding, groups=len(weight_C1kk))

    @staticmethod
    def backward(ctx: Any, gradient_BChw: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x_BCHW, weight_C1kk = ctx.saved_tensors
        gradient_BChw = gradient_BChw.contiguous(memory_format=torch.channels_last)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = gradients(gradient_BChw, x_BCHW, *centred(weight_C1kk, ctx.stride), ctx.stride, of_weight=False)
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(gradient_BChw, x_BCHW, weight_C1kk.shape[-1], ctx.stride)
        if ctx.has_bias and ctx.needs_input_grad[2]:
            of_bias = gradient_BChw.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None


def centred(weight: Tensor, stride: int) -> tuple[Tensor, int]:
    """A kernel and the symmetric padding with which it does what `weight` does with TensorFlow's "same" padding.

    At stride 2 that pads one more pixel behind than in front. The same sums come from a kernel with a row and a column
    of zeros in front, without a padded copy of the input, for which autograd would need another in the backward pass.
    """
    kernel = weight.shape[-1]
    if stride == 1:
        return weight, kernel // 2
    return F.pad(weight, (1, 0, 1, 0)), (kernel - stride) // 2 + 1


def weight_gradient(gradient_BChw: Tensor, x_BCHW: Tensor, kernel: int, stride: int) -> Tensor:
    """[C, 1, k, k], a few columns at a time."""
    height, width = gradient_BChw.shape[2:]
    before = (kernel - stride) // 2
    below = (height - 1) * stride + kernel - before - x_BCHW.shape[2]
    parts = []
    for column in range(0, kernel, COLUMNS):
        columns = min(COLUMNS, kernel - column)
        left = before - column  # negative where these columns never meet the first ones of the input
        right = (width - 1) * stride + columns - left - x_BCHW.shape[3]
        met = F.pad(x_BCHW, (left, right, before, below))
        shape = gradient_BChw.new_empty(x_BCHW.shape[1], 1, kernel, columns)  # its values are not read
        parts.append(gradients(gradient_BChw, met, shape, 0, stride, of_weight=True))
    return torch.cat(parts, dim=3)


def gradients(
    gradient_BChw: Tensor, x_BCHW: Tensor, weight: Tensor, padding: int, stride: int, *, of_weight: bool
) -> Tensor:
    """The gradient of a depthwise convolution's input, or of its weight."""
    wanted = [not of_weight, of_weight, False]
    found = torch.ops.aten.convolution_backward(
        gradient_BChw, x_BCHW, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight), wanted
    )
    gradient: Tensor = found[1 if of_weight else 0]
    return gradient
