"""Our gradients of convolutions against torch's own."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pixelwise.model.convolution import Depthwise, padded
from pixelwise.model.encoders import ConvNorm, freeze_statistics


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


@pytest.mark.parametrize("activate", [True, False])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("learns", [{"weight", "gamma", "beta"}, {"weight"}, {"gamma", "beta"}])
def test_convolution_with_fixed_statistics_learns_as_torch_has_it(
    kernel: int, stride: int, activate: bool, learns: set[str]
) -> None:
    torch.manual_seed(kernel)
    groups = 6 if kernel > 1 else 1
    part = ConvNorm(6, 6 if kernel > 1 else 9, kernel, stride, groups, activate=activate).double()
    norm = part.norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    for tensor in (norm.weight, norm.running_var):
        nn.init.uniform_(tensor, 0.5, 2.0)
    for tensor in (norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    part.train()
    freeze_statistics(part)
    parameters = {"weight": part.conv.weight, "gamma": norm.weight, "beta": norm.bias}
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in learns)
    x = torch.randn(2, 6, 8, 10, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    x.requires_grad_(True)

    def plainly(x: Tensor) -> Tensor:
        before = (kernel - stride) // 2
        filled = functional.pad(x, (before, kernel - stride - before) * 2)
        y: Tensor = norm(functional.conv2d(filled, part.conv.weight, None, stride, groups=groups))
        return functional.relu6(y) if activate else y

    asked = [x, *(parameters[name] for name in sorted(learns))]
    expected, y = plainly(x), part(x)
    weights_of_sum = torch.randn_like(expected)
    torch.testing.assert_close(y, expected)
    ours = torch.autograd.grad((y * weights_of_sum).sum(), asked)
    theirs = torch.autograd.grad((expected * weights_of_sum).sum(), asked)
    for gradient, same in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, same)


@pytest.mark.parametrize("rim", [(0, 0, 0, 0), (2, 1, 2, 2), (-1, 3, 0, 2), (2, -2, 1, 0)])
def test_zeros_around_are_those_of_torch(rim: tuple[int, int, int, int]) -> None:
    x = torch.randn(2, 3, 5, 6)
    torch.testing.assert_close(padded(x, *rim), functional.pad(x, rim), rtol=0, atol=0)
