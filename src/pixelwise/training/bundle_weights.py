"""The weights of a bundle as a network to train further.

In a bundle every normalisation is folded into its convolution. Here each gets one again, with the statistics that its
convolution has on some training images, so that the network computes what the bundle does and can go on learning.

Shapes: B batch, C channels, h and w a feature map's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from pixelwise.bundle.weight_storage import SCALES, STORED
from pixelwise.errors import UsageError
from pixelwise.model.encoders import ConvNorm
from pixelwise.model.network import Network

PREFIX = "network."  # of the network's tensors in a graph


def folded_weights(bundle: Path, recipe_model: str) -> dict[str, Tensor]:
    """The tensors of a bundle's network by name, as `ConvNorm.fold` leaves them.

    Raises:
        UsageError: they cannot be had: an int8 bundle, an average of several networks, or another kind of network.
    """
    if recipe_model != "fast":
        raise UsageError(
            f"{bundle}: its network is {recipe_model}; only bundles of network fast can be trained further. Start from "
            "the run directory that it was exported from."
        )
    model = onnx.load_model_from_string(bundle.read_bytes())  # of the file alone: `onnx.load` follows names of others
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    tensors = {}
    for name, values in stored.items():
        plain = name.removesuffix(STORED)
        if not plain.startswith(PREFIX) or plain.endswith(SCALES):
            continue
        whole = values.astype(np.float32)
        if plain != name and plain + SCALES in stored:
            if stored[plain + SCALES].ndim != whole.ndim:  # for integer arithmetic, not to be multiplied
                continue
            whole = whole * stored[plain + SCALES]
        tensors[plain.removeprefix(PREFIX)] = torch.from_numpy(whole.copy())
    if "encoder.stem.conv.weight" not in tensors:
        raise UsageError(
            f"{bundle}: holds no float32 weights of a single network: it computes in int8, or averages several "
            "networks or mirror images. Start from the bundle that it was made of, or from its run directory."
        )
    return tensors


def unfold(network: Network, folded: dict[str, Tensor], images_BNhw: Sequence[Tensor]) -> list[str]:
    """Fill `network` with folded weights. Returns the names of the tensors that keep their values, because their shape
    depends on other classes or bands.

    Args:
        images_BNhw: normalised inputs of the network, on which each convolution's statistics are measured.
    """
    own, kept = network.state_dict(), []
    parts = {name: part for name, part in network.named_modules() if isinstance(part, ConvNorm)}
    inside = tuple(f"{name}." for name in parts)
    for name, tensor in own.items():
        if name.startswith(inside):
            continue
        if name in folded and folded[name].shape == tensor.shape:
            tensor.copy_(folded[name])
        else:
            kept.append(name)
    taken = {}
    for name, part in parts.items():
        weight, bias = folded.get(f"{name}.conv.weight"), folded.get(f"{name}.conv.bias")
        if weight is None or bias is None or weight.shape != part.conv.weight.shape:
            kept.append(f"{name}.conv.weight")
            continue
        with torch.no_grad():
            part.conv.weight.copy_(weight)
        renormalise(part, torch.zeros_like(bias), torch.ones_like(bias), bias)
        taken[part] = bias.to(part.conv.weight.device)
    measure_statistics(network, taken, images_BNhw)
    return sorted(kept)


def renormalise(part: ConvNorm, mean_C: Tensor, variance_C: Tensor, bias_C: Tensor) -> None:
    """Give a convolution's normalisation these statistics, such that together they still only add `bias_C`."""
    norm = part.norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        norm.running_mean.copy_(mean_C)
        norm.running_var.copy_(variance_C)
        norm.weight.copy_((variance_C + norm.eps).sqrt())
        norm.bias.copy_(mean_C + bias_C)


@torch.no_grad()
def measure_statistics(network: Network, biases: dict[ConvNorm, Tensor], images_BNhw: Sequence[Tensor]) -> None:
    """Set the statistics of the normalisations in `biases`; what the network computes stays the same."""
    sums: dict[ConvNorm, list[Tensor]] = {}

    def add(part: ConvNorm, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        y_BChw = part.convolve(inputs[0], part.conv.weight, None).double()
        new = [torch.tensor(y_BChw.numel() / y_BChw.shape[1]), y_BChw.sum((0, 2, 3)), (y_BChw**2).sum((0, 2, 3))]
        sums[part] = [old + one for old, one in zip(sums[part], new, strict=True)] if part in sums else new

    hooks = [part.register_forward_hook(partial(add)) for part in biases]
    training = network.training
    network.eval()
    for images in images_BNhw:
        network(images)
    network.train(training)
    for hook in hooks:
        hook.remove()
    for part, (count, total_C, squares_C) in sums.items():
        mean_C = total_C / count
        variance_C = (squares_C / count - mean_C**2).clamp(min=0.0)
        renormalise(part, mean_C.float(), variance_C.float(), biases[part])
