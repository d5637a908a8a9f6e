"""Pointwise (1×1) and depthwise convolutions with fast gradients on CPUs.

oneDNN, which convolves for torch on CPUs, has a fast gradient for depthwise kernels of up to three columns. For wider
ones it takes that of full convolutions, ten times slower: a quarter of a training's time went there. A kernel's
gradient is its columns' gradients side by side, so wider kernels are done three columns at a time here. A pointwise
convolution is a product of matrices, and its gradients are two. The sums are the same, in another order.

Shapes: B batch, C channels, O those of the output, H and W the input's size, h and w the output's, k the kernel's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

COLUMNS = 3  # that oneDNN's fast gradient takes at a time
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]  # of the input, the weight and the bias


class Depthwise(torch.autograd.Function):
    """Convolve each channel with its own kernel; [B, C, H, W] → [B, C, h, w].

    Padded as TensorFlow's "same": see ConvNorm, which calls this.
    """

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight_C1kk: Tensor, bias_C: Tensor | None, stride: int) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight_C1kk)
        ctx.stride, ctx.has_bias = stride, bias_C is not None
        return depthwise(x_BCHW, weight_C1kk, bias_C, stride)

    @staticmethod
    def backward(ctx: Any, gradient_BChw: Tensor) -> tuple[Tensor | None, ...]:
        x_BCHW, weight_C1kk = ctx.saved_tensors
        of_x, of_weight, *_ = ctx.needs_input_grad
        gradient_BChw = gradient_BChw.contiguous(memory_format=torch.channels_last)
        found = depthwise_gradients(gradient_BChw, x_BCHW, weight_C1kk, ctx.stride, of_x, of_weight)
        of_bias = gradient_BChw.sum((0, 2, 3)) if ctx.has_bias and ctx.needs_input_grad[2] else None
        return *found, of_bias, None


class FixedNorm(torch.autograd.Function):
    """Convolution, normalisation with fixed statistics and ReLU6 in one operation; [B, C, H, W] → [B, O, h, w].

    The normalisation is folded into the kernel, so that there is one pass over the pixels. torch would follow each of
    the small steps of that folding, there and back: 7 % of a step's time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_BCHW: Tensor,
        weight_OCkk: Tensor,  # O1kk: depthwise
        gamma_O: Tensor,
        beta_O: Tensor,
        mean_O: Tensor,
        variance_O: Tensor,  # including epsilon
        stride: int,
        activate: bool,
    ) -> Tensor:
        inverse_O = variance_O.rsqrt()
        scale_O = gamma_O * inverse_O
        folded = weight_OCkk * scale_O[:, None, None, None]
        bias_O = torch.addcmul(beta_O, mean_O, scale_O, value=-1)
        if is_pointwise(weight_OCkk):
            y_BOhw = of_pixels(torch.addmm(bias_O, pixels(x_BCHW), folded.flatten(1).T), x_BCHW)
        else:
            y_BOhw = depthwise(x_BCHW, folded, bias_O, stride)
        if activate:
            y_BOhw.clamp_(0, 6)
        kept = y_BOhw if activate else None
        ctx.save_for_backward(x_BCHW, weight_OCkk, folded, scale_O, mean_O, inverse_O, kept)
        ctx.stride = stride
        return y_BOhw

    @staticmethod
    def backward(ctx: Any, gradient_BOhw: Tensor) -> tuple[Tensor | None, ...]:
        x_BCHW, weight_OCkk, folded, scale_O, mean_O, inverse_O, y_BOhw = ctx.saved_tensors
        of_x, of_weight, of_gamma, of_beta, *_ = ctx.needs_input_grad
        of_kernel = of_weight or of_gamma
        gradient_BOhw = gradient_BOhw.contiguous(memory_format=torch.channels_last)
        if y_BOhw is not None:
            gradient_BOhw = torch.ops.aten.hardtanh_backward(gradient_BOhw, y_BOhw, 0, 6)
        if is_pointwise(weight_OCkk):
            x_gradient, kernel_gradient = pointwise_gradients(gradient_BOhw, x_BCHW, folded, of_x, of_kernel)
        else:
            x_gradient, kernel_gradient = depthwise_gradients(
                gradient_BOhw, x_BCHW, folded, ctx.stride, of_x, of_kernel
            )
        bias_O = pixels(gradient_BOhw).sum(0) if of_gamma or of_beta else None
        weight_gradient = gamma_gradient = None
        if kernel_gradient is not None:
            if of_gamma and bias_O is not None:
                scale_gradient_O = (kernel_gradient * weight_OCkk).flatten(1).sum(1)
                gamma_gradient = torch.addcmul(scale_gradient_O, mean_O, bias_O, value=-1) * inverse_O
            weight_gradient = kernel_gradient.mul_(scale_O[:, None, None, None]) if of_weight else None
        return x_gradient, weight_gradient, gamma_gradient, bias_O if of_beta else None, None, None, None, None


def is_pointwise(weight: Tensor) -> bool:
    return weight.shape[-1] == 1


def pixels(x_BCHW: Tensor) -> Tensor:
    """[B · H · W, C]: without a copy in channels-last layout."""
    return x_BCHW.permute(0, 2, 3, 1).reshape(-1, x_BCHW.shape[1])


def of_pixels(y_NO: Tensor, like_BCHW: Tensor) -> Tensor:
    """Back to [B, O, H, W], channels last."""
    batch, _, height, width = like_BCHW.shape
    return y_NO.view(batch, height, width, -1).permute(0, 3, 1, 2)


def pointwise_gradients(
    gradient_BOHW: Tensor, x_BCHW: Tensor, weight_OC11: Tensor, of_x: bool, of_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of the input and of the weight, as needed."""
    gradient_NO = pixels(gradient_BOHW)
    x_gradient = of_pixels(gradient_NO @ weight_OC11.flatten(1), x_BCHW) if of_x else None
    weight_gradient = (gradient_NO.T @ pixels(x_BCHW)).view_as(weight_OC11) if of_weight else None
    return x_gradient, weight_gradient


def depthwise(x_BCHW: Tensor, weight_C1kk: Tensor, bias_C: Tensor | None, stride: int) -> Tensor:
    kernel_C1kk, padding = centred(weight_C1kk, stride)
    return F.conv2d(x_BCHW, kernel_C1kk, bias_C, stride, padding, groups=len(weight_C1kk))


def depthwise_gradients(
    gradient_BChw: Tensor, x_BCHW: Tensor, weight_C1kk: Tensor, stride: int, of_x: bool, of_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of the input and of the weight, as needed."""
    x_gradient = weight_gradient = None
    if of_x:
        x_gradient = gradients(gradient_BChw, x_BCHW, *centred(weight_C1kk, stride), stride, of_weight=False)
    if of_weight:
        weight_gradient = by_columns(gradient_BChw, x_BCHW, weight_C1kk.shape[-1], stride)
    return x_gradient, weight_gradient


def centred(weight: Tensor, stride: int) -> tuple[Tensor, int]:
    """A kernel and symmetric padding equivalent to `weight` with TensorFlow's "same" padding.

    At stride 2 that pads one more pixel behind than in front. The same sums come from a kernel with a row and a column
    of zeros in front, without a padded copy of the input, for which autograd would need another in the backward pass.
    """
    kernel = weight.shape[-1]
    if stride == 1:
        return weight, kernel // 2
    return F.pad(weight, (1, 0, 1, 0)), (kernel - stride) // 2 + 1


def by_columns(gradient_BChw: Tensor, x_BCHW: Tensor, kernel: int, stride: int) -> Tensor:
    """The gradient of a depthwise weight, [C, 1, k, k], a few columns at a time."""
    channels, rows, columns = x_BCHW.shape[1:]
    height, width = gradient_BChw.shape[2:]
    before = (kernel - stride) // 2
    below = (height - 1) * stride + kernel - before - rows
    if kernel <= COLUMNS and stride == 1:
        shape = gradient_BChw.new_empty(channels, 1, kernel, kernel)  # its values are not read
        return gradients(gradient_BChw, x_BCHW, shape, before, stride, of_weight=True)
    parts = []
    for column in range(0, kernel, COLUMNS):
        some = min(COLUMNS, kernel - column)
        left = before - column  # negative if these columns never meet the first ones of the input
        right = (width - 1) * stride + some - left - columns
        met = padded(x_BCHW, left, right, before, below)
        shape = gradient_BChw.new_empty(channels, 1, kernel, some)
        parts.append(gradients(gradient_BChw, met, shape, 0, stride, of_weight=True))
    return torch.cat(parts, dim=3)


def padded(x_BCHW: Tensor, left: int, right: int, above: int, below: int) -> Tensor:
    """Zero padding in channels-last layout; negative values crop. Faster than F.pad, which fills everything first."""
    batch, channels, height, width = x_BCHW.shape
    size = (batch, channels, height + above + below, width + left + right)
    out = torch.empty(size, dtype=x_BCHW.dtype, device=x_BCHW.device, memory_format=torch.channels_last)
    first, last = max(left, 0), size[3] - max(right, 0)
    for rim in (out[:, :, :above], out[:, :, size[2] - below :], out[..., :first], out[..., last:]):
        rim.zero_()
    inside = x_BCHW[..., max(-left, 0) : width - max(-right, 0)]
    out[:, :, above : size[2] - below, first:last] = inside
    return out


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
