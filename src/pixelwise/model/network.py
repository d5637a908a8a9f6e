"""What every network here is: a module that also tells its named intermediates.

Shapes: B batch, C classes, H and W multiples of `stride_multiple`, s `stride`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class ModelConfig:
    """What is needed to build a network again."""

    name: str = "fast"  # "fast": encoder and light decoder; "unet": the textbook's U-Net, from scratch; "smp:NAME"
    encoder: str = "lite0"  # of "fast", also "timm:NAME"; of "smp:NAME"
    classes: int = 2
    pretrained: bool = True  # start the encoder from ImageNet weights


class Network(nn.Module):
    """Normalised image [B, 3, H, W] → scores [B, C, H/s, W/s]."""

    stride: int  # of the scores, relative to the input
    stride_multiple: int  # the input's sides must be multiples of it
    mean: tuple[float, ...]  # of RGB on 0–1, subtracted before the network
    std: tuple[float, ...]  # of RGB on 0–1, divided by before the network

    def intermediates(self, image_B3HW: Tensor) -> dict[str, Tensor]:
        """Every named stage on the way, in order; the scores come last, under "scores"."""
        raise NotImplementedError

    def encoder_module(self) -> nn.Module | None:
        """The part that can start from published weights, if there is one."""
        return None

    def encoder_parameters(self) -> Iterator[tuple[int, nn.Parameter]]:
        """(depth, parameter) of that part: 0 its stem, 1 … its stages as a trace names them."""
        yield from ()

    def forward(self, image_B3HW: Tensor) -> Tensor:
        return self.intermediates(image_B3HW)["scores"]
