"""The light multi-scale decoder: deep features say what, shallow features say where.

From the deepest feature upward: widen the view with pooled context, then at each finer stride upsample, add the
encoder's feature of that stride (the skip connection), and mix with a 3×3 convolution. The idea is
FPN's (arXiv:1612.03144) with the context of PSPNet (arXiv:1612.01105), at the widths of mobile decoders.

Shapes: B batch; h, w the size at a stride.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.model.encoders import ConvNorm


@dataclass(frozen=True)
class DecoderConfig:
    """The width of each level, from deep to shallow strides."""

    strides: tuple[int, ...] = (32, 16, 8, 4)
    widths: tuple[int, ...] = (128, 96, 96, 64)
    packed_width: int = 32  # channels into which the stride above the finest is packed


# One level finer, for structures of a pixel or two. What it packs is the image itself, 2×2 pixels in one position.
FINE = DecoderConfig((32, 16, 8, 4, 2), (128, 96, 96, 64, 32), packed_width=16)


class Context(nn.Module):
    """Pyramid pooling: features of the whole image and its regions, added at every pixel."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(width_in, width_out)
        self.whole = nn.Conv2d(width_out, width_out, kernel_size=1)  # one value per image: no batch normalisation
        self.region = ConvNorm(width_out, width_out, kernel=5, groups=width_out)
        self.mix = ConvNorm(width_out, width_out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        whole = torch.relu(self.whole(x.mean((2, 3), keepdim=True)))
        y: Tensor = self.mix(self.region(x) + x + whole)
        return y


class Merge(nn.Module):
    """Upsample the deeper feature, add the skip connection, convolve."""

    def __init__(self, width_deep: int, width_skip: int, width_out: int) -> None:
        super().__init__()
        self.deep = ConvNorm(width_deep, width_out, activate=False)
        self.skip = ConvNorm(width_skip, width_out, activate=False)
        self.mix = ConvNorm(width_out, width_out, kernel=3)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        up = F.interpolate(self.deep(deep), size=skip.shape[2:], mode="bilinear", align_corners=False)
        x = torch.relu(up + self.skip(skip))
        y: Tensor = x + self.mix(x)
        return y


class Decoder(nn.Module):
    """Features by stride → one feature map at the finest stride."""

    def __init__(self, widths_in: dict[int, int], config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        # Features of the next finer stride, such as a pole of one pixel, packed into this one: nearly free, while
        # another decoder level would cost as much as two others.
        finest = config.strides[-1]
        self.pack = None
        if finest // 2 in widths_in:
            self.pack = ConvNorm(widths_in[finest // 2], config.packed_width, kernel=2, stride=2)
            widths_in = {**widths_in, finest: widths_in[finest] + config.packed_width}
        self.context = Context(widths_in[config.strides[0]], config.widths[0])
        self.merges = nn.ModuleList(
            Merge(config.widths[level], widths_in[stride], config.widths[level + 1])
            for level, stride in enumerate(config.strides[1:])
        )

    def forward(self, features: dict[int, Tensor]) -> dict[str, Tensor]:
        """Features by stride → every level's output by name: "context", "up16", "up8" …"""
        finest = self.config.strides[-1]
        if self.pack is not None:
            features = {**features, finest: torch.cat([features[finest], self.pack(features[finest // 2])], dim=1)}
        x = self.context(features[self.config.strides[0]])
        outputs = {"context": x}
        for stride, merge in zip(self.config.strides[1:], self.merges, strict=True):
            x = merge(x, features[stride])
            outputs[f"up{stride}"] = x
        return outputs
