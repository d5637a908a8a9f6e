"""A plain U-Net from scratch (Ronneberger et al. 2015, arXiv:1505.04597): its three kinds of layer.

Convolutional layers find patterns while the image shrinks, upsampling layers bring it back to size with the help of
skip connections, and a 1×1 convolution classifies every pixel.

Shapes: B batch, N bands, C classes, H and W multiples of 16; level i works at [B, width·2^i, H/2^i, W/2^i].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.model.network import ModelConfig, Network

WIDTH = 24  # channels at full resolution; the paper's 64 needs a GPU
LEVELS = 4  # number of downsamplings


def double_conv(width_in: int, width_out: int) -> nn.Sequential:
    """Twice: convolution 3×3 → batch normalisation → ReLU."""
    layers: list[nn.Module] = []
    for width in (width_in, width_out):
        layers += [
            nn.Conv2d(width, width_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(width_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(Network):
    """The original U-Net, narrower. It starts from random weights and needs more epochs than the default network."""

    stride = 1
    stride_multiple = 2**LEVELS

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bands = len(config.bands)
        self.mean, self.std = (0.5,) * bands, (0.25,) * bands
        widths = [WIDTH * 2**level for level in range(LEVELS)] + [WIDTH * 2 ** (LEVELS - 1)]  # the deepest stays narrow
        self.down = nn.ModuleList(
            double_conv(width_in, width_out) for width_in, width_out in zip([bands, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(
            double_conv(widths[level + 1] + widths[level], widths[level]) for level in reversed(range(LEVELS))
        )
        self.classifier = nn.Conv2d(widths[0], config.maps, kernel_size=1)

    def intermediates(self, image_BNHW: Tensor) -> dict[str, Tensor]:
        x = image_BNHW
        outputs: dict[str, Tensor] = {}
        skips: list[Tensor] = []
        for level, convolve in enumerate(self.down):
            x = convolve(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
            outputs[f"down{2**level}"] = x
        for level, convolve in zip(reversed(range(LEVELS)), self.up, strict=True):
            skip = skips[level]
            up = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
            x = convolve(torch.cat([up, skip], dim=1))
            outputs[f"up{2**level}"] = x
        return {**outputs, "scores": self.classifier(x)}
