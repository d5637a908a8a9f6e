"""The interface of all networks: a module with named intermediate outputs.

Shapes: B batch, N bands, C classes, H and W multiples of `stride_multiple`, s `stride`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from pixelwise.records import RGB


@dataclass(frozen=True)
class ModelConfig:
    """The configuration from which a network is built."""

    name: str = "fast"  # "fast": encoder and light decoder; "unet": the original U-Net, from scratch; "smp:NAME"
    encoder: str = "lite0"  # of "fast", also "timm:NAME"; of "smp:NAME"
    classes: int = 2
    pretrained: bool = True  # start the encoder from ImageNet weights
    stride: int = 2  # of the scores of "fast": 2, or 1 for structures of a pixel or two
    bands: tuple[str, ...] = RGB.names  # of the images
    borders: int = 0  # maps of borders between objects, after those of the classes

    @property
    def maps(self) -> int:
        """Of the network's scores."""
        return self.classes + self.borders


class Network(nn.Module):
    """Normalised image [B, N, H, W] → scores [B, C, H/s, W/s]; after those of the classes come `borders` further maps:
    logits of the borders between objects."""

    borders: int = 0
    stride: int  # of the scores, relative to the input
    stride_multiple: int  # the input's sides must be multiples of it
    mean: tuple[float, ...]  # of each band on 0–1, subtracted before the network
    std: tuple[float, ...]  # of each band on 0–1, divided by before the network

    def intermediates(self, image_BNHW: Tensor) -> dict[str, Tensor]:
        """The outputs of all named stages, in order; the last one is "scores"."""
        raise NotImplementedError

    def encoder_module(self) -> nn.Module | None:
        """The encoder, if it can start from published weights."""
        return None

    def encoder_parameters(self) -> Iterator[tuple[int, nn.Parameter]]:
        """(depth, parameter) of the encoder: 0 for its stem, 1 … for its stages as a trace names them."""
        yield from ()

    def forward(self, image_BNHW: Tensor) -> Tensor:
        return self.intermediates(image_BNHW)["scores"]
