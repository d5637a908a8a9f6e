"""All networks that Pixelwise builds, in one dict.

Shapes: B batch, N bands, C classes, H and W the input's size, s the stride of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from pixelwise.errors import UsageError
from pixelwise.model.decoder import FINE, Decoder, DecoderConfig
from pixelwise.model.encoders import ENCODERS, FEATURE_STAGES, EfficientNetLite
from pixelwise.model.imagenet_weights import MEAN, STD, load_imagenet_weights
from pixelwise.model.network import ModelConfig, Network
from pixelwise.model.unet import UNet
from pixelwise.model.zoo import build_zoo, wanted
from pixelwise.model.zoo import weights_licence as zoo_licence


class FastNet(Network):
    """The default network: EfficientNet-Lite encoder, light multi-scale decoder, one 1×1 classifier."""

    stride_multiple = 32

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bands = len(config.bands)
        self.mean, self.std = (MEAN,) * bands, (STD,) * bands
        self.encoder = EfficientNetLite(ENCODERS[config.encoder], bands)
        decoder = FINE if config.stride == 1 else DecoderConfig()
        self.decoder = Decoder({1: bands, **self.encoder.widths}, decoder)
        # Each position at the decoder's stride gives the scores of 2×2 positions, in separate channels: finer
        # boundaries for a few channels instead of another decoder level.
        self.classifier = nn.Conv2d(decoder.widths[-1], config.maps * 4, kernel_size=1)
        self.finer = nn.PixelShuffle(2)
        self.stride = decoder.strides[-1] // 2
        if config.pretrained:
            load_imagenet_weights(self.encoder, config.encoder, config.bands)

    def intermediates(self, image_BNHW: Tensor) -> dict[str, Tensor]:
        encoded = self.encoder(image_BNHW)
        features = {stride: encoded[name] for stride, name in FEATURE_STAGES.items()}
        decoded = self.decoder({1: image_BNHW, **features})
        finest = next(reversed(decoded.values()))
        return {**encoded, **decoded, "scores": self.finer(self.classifier(finest))}

    def encoder_module(self) -> nn.Module:
        return self.encoder

    def encoder_parameters(self) -> Iterator[tuple[int, nn.Parameter]]:
        return self.encoder.parameters_by_depth()


MODELS: dict[str, Callable[[ModelConfig], Network]] = {"fast": FastNet, "unet": UNet}


def build(config: ModelConfig) -> Network:
    """Build the network, in the memory layout that is fastest for convolutions on CPUs.

    Raises:
        UsageError: no network or encoder of that name.
        MissingExtraError: what is needed for one of the zoo's is not installed.
        TrainingError: published weights cannot be had.
    """
    if wanted(config.name, config.encoder):
        network = build_zoo(config)
    elif config.name not in MODELS:
        raise UsageError(f"no model is named {config.name!r}. Choose one of: {', '.join(MODELS)}, or smp:NAME.")
    elif config.encoder not in ENCODERS:
        raise UsageError(f"no encoder is named {config.encoder!r}. Choose one of: {', '.join(ENCODERS)}, or timm:NAME.")
    else:
        network = MODELS[config.name](config)
    network.borders = config.borders
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's annotations
    return network


def weights_licence(config: ModelConfig) -> str:
    """The licence of the initial weights of a network of `config`."""
    if not config.pretrained or config.name == "unet":
        return "own"
    if wanted(config.name, config.encoder):
        return zoo_licence(config)
    return "encoder: EfficientNet-Lite by Google, ImageNet, Apache-2.0"
