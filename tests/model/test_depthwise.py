"""Our gradients of depthwise convolutions against torch's own."""

import pytest
import torch
from torch.nn import functional

from pixelwise.model.depthwise import Depthwise


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (16, 10), (4, 4)])
def test_gradients_are_those_of_the_padded_convolution(kernel: int, stride: int, size: tuple[int, int]) -> None:
    torch.manual_seed(kernel)
    x = torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    before = (kernel - stride) // 2
    after = kernel - stride - before
    expected = functional.conv2d(functional.pad(x, (before, after) * 2), weight, bias, stride, groups=6)
    weights_of_sum = torch.randn_like(expected)
    theirs = torch.autograd.grad((expected * weights_of_sum).sum(), (x, weight, bias))
    y = Depthwise.apply(x, weight, bias, stride)  # type: ignore[no-untyped-call]
    ours = torch.autograd.grad((y * weights_of_sum).sum(), (x, weight, bias))
    torch.testing.assert_close(y, expected)
    for gradient, same in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, same)


def test_nothing_is_computed_for_what_does_not_learn() -> None:
    x, weight = torch.randn(1, 4, 8, 8), torch.randn(4, 1, 5, 5, requires_grad=True)
    Depthwise.apply(x, weight, None, 1).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert x.grad is None
