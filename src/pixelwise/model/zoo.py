"""Encoders of timm under our decoder, and whole networks of segmentation-models-pytorch (extra `zoo`).

    encoder "timm:NAME"                  any timm model that gives features, such as timm:resnet18, timm:convnext_atto
    model "smp:NAME", encoder "resnet34" an SMP architecture, with an encoder by its SMP name

Both become networks like any other here: named stages, checkpoints of plain tensors, export with the parity check.
Published weights come from the Hugging Face hub, on first use; without them (`pretrained = false`) nothing is
downloaded. For other bands than red, green and blue, both libraries repeat the three colours' filters in turn over the
bands, multiplied by 3 / N; a single band gets their sum.

Shapes: B batch, N bands, H and W the input's size, multiples of 32; a feature of stride s is [B, channels, H/s, W/s].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import MissingExtraError, TrainingError, UsageError
from pixelwise.model.decoder import Decoder, DecoderConfig
from pixelwise.model.network import ModelConfig, Network

TIMM, SMP = "timm:", "smp:"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std that most published weights were trained with
PROBE = (128, 160)  # height and width of the image that probes an encoder
VIT_DEPTHS = 3  # features of a plain vision transformer, evenly spread over its blocks
ARCHITECTURES = (
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet",
    "Segformer",
)  # fmt: skip


def wanted(model: str, encoder: str) -> bool:
    """Are these names of timm or segmentation-models-pytorch?"""
    return model.startswith(SMP) or encoder.startswith(TIMM)


def build_zoo(config: ModelConfig) -> Network:
    """Build the network of the prefixed names.

    Raises:
        UsageError: no such name, or one that cannot be used so.
        MissingExtraError: the extra `zoo` is not installed.
        TrainingError: its published weights cannot be had.
    """
    if not config.name.startswith(SMP):
        if config.name != "fast":
            raise UsageError(f"encoder {config.encoder!r} goes with model 'fast', not with {config.name!r}.")
        return TimmNet(config)
    if config.encoder.startswith(TIMM):
        name = config.encoder.removeprefix(TIMM)
        raise UsageError(f"model {config.name!r} takes encoders by SMP's names: --encoder tu-{name} is timm's {name}.")
    return SmpNet(config)


def weights_licence(config: ModelConfig) -> str:
    """The licence of the published initial weights of a network of `config`, if recorded."""
    if config.name.startswith(SMP) and not config.encoder.startswith("tu-"):
        return (
            f"encoder: {config.encoder}, as published for segmentation-models-pytorch; it records no licence: see the "
            "model's card on the Hugging Face hub"
        )
    name = config.encoder.removeprefix(TIMM).removeprefix("tu-")
    published = timm().get_pretrained_cfg(name)
    licence = (published and published.license) or "no licence recorded by timm: see the model's card"
    source = (published and published.hf_hub_id) or "timm"
    tag = f".{published.tag}" if published and published.tag and "." not in name else ""
    return f"encoder: {name}{tag} ({source.rstrip('/')}), {licence}"


def timm() -> Any:
    return extra("timm")


def extra(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the package {error.name}", "zoo") from error


def unavailable(what: str, error: Exception) -> TrainingError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return TrainingError(
        f"the published weights of {what} cannot be had: {reason}. They are downloaded from the Hugging Face hub once; "
        "connect this machine, or copy the cache folder (HF_HOME) from one that has them, or start from random weights "
        "with --set pretrained=false."
    )


def in_turn(values: Sequence[float], bands: int) -> tuple[float, ...]:
    """A statistic of red, green and blue for each of N bands, as the libraries' filters are repeated."""
    if bands == 1:
        return (sum(values) / len(values),)
    return tuple(values[band % len(values)] for band in range(bands))


# ── timm ──


class TimmEncoder(nn.Module):
    """A timm model as encoder: image → its features by stride, each the deepest of its stride."""

    def __init__(self, name: str, pretrained: bool, bands: int) -> None:
        super().__init__()
        self.body = create_timm(name, pretrained, in_chans=bands)
        published = self.body.pretrained_cfg
        self.mean, self.std = in_turn(published["mean"], bands), in_turn(published["std"], bands)
        strides = list(self.body.feature_info.reduction())
        self.plain = len(strides) > 1 and len(set(strides)) == 1  # a plain vision transformer: one stride throughout
        if self.plain:
            blocks = len(self.body.model.feature_info)
            depths = [round(blocks * (i + 1) / VIT_DEPTHS) - 1 for i in range(VIT_DEPTHS)]
            self.body = create_timm(name, pretrained, in_chans=bands, out_indices=depths)
        # A patch of 14 px does not fit into multiples of 32: the image is shrunk to 14/16, so that a patch covers 16.
        patch = strides[-1]
        self.scale = patch / 2 ** math.ceil(math.log2(patch))
        strides = [round(stride / self.scale) for stride in strides]
        if self.plain:  # shallower features stand for finer strides, as in a pyramid
            strides = [strides[0] // 2**step for step in reversed(range(VIT_DEPTHS))]
        self.strides = strides
        self.channels = list(self.body.feature_info.channels())
        self.check(name)
        last = {stride: number for number, stride in enumerate(strides)}
        self.used = {stride: f"stage{number + 1}" for stride, number in last.items()}
        self.widths = {stride: self.channels[number] for stride, number in last.items()}

    def check(self, name: str) -> None:
        """Reject encoders without feature maps, or for one image size only."""
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                features = self(torch.zeros(1, len(self.mean), *PROBE))
                shapes = [tuple(feature.shape[1:]) for feature in features.values()]
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UsageError(
                f"timm:{name} cannot be the encoder: it does not take images of {PROBE[0]}×{PROBE[1]} px ({reason}). "
                "It was made for one size; choose one that takes any, such as timm:resnet18 or timm:convnext_atto."
            ) from error
        finally:
            self.train(training)
        expected = [(c, PROBE[0] // s, PROBE[1] // s) for c, s in zip(self.channels, self.strides, strict=True)]
        if shapes != expected or max(self.strides) < 8:
            raise UsageError(f"timm:{name} cannot be the encoder: it gives features {shapes}; expected {expected}, the "
                             "deepest at stride 8 at least.")  # fmt: skip

    def forward(self, image_BNHW: Tensor) -> dict[str, Tensor]:
        """Normalised image → every feature by name: "stage1" …"""
        if self.scale != 1:
            size = [side // 32 * round(32 * self.scale) for side in image_BNHW.shape[2:]]
            image_BNHW = F.interpolate(image_BNHW, size=size, mode="bilinear", align_corners=False, antialias=True)
        features = self.body(image_BNHW)
        if str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC"):
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        if self.plain:
            features = [
                F.interpolate(feature, scale_factor=2.0**finer, mode="bilinear", align_corners=False)
                for finer, feature in zip(reversed(range(VIT_DEPTHS)), features, strict=True)
            ]
        return {f"stage{number}": feature for number, feature in enumerate(features, start=1)}


def create_timm(name: str, pretrained: bool, **more: Any) -> Any:
    """The timm model as feature extractor, for images of any size if its family supports that."""
    library = timm()
    if name.split(".")[0] not in library.list_models():
        close = library.list_models(f"*{name.split('.')[0]}*")[:8]
        raise UsageError(f"timm has no model named {name!r}." + (f" Close to it: {', '.join(close)}." if close else ""))
    network = None
    for any_size in ({"dynamic_img_size": True}, {}):
        try:
            network = library.create_model(name, pretrained=False, features_only=True, **any_size, **more)
            break
        except TypeError:  # the constructor of this family lacks the option
            continue
        except (RuntimeError, AttributeError, KeyError) as error:
            raise UsageError(f"timm:{name} gives no features that a decoder could use ({error}).") from error
    if network is None:
        raise UsageError(f"timm:{name} gives no features that a decoder could use.")
    if pretrained:
        try:
            network = library.create_model(name, pretrained=True, features_only=True, **any_size, **more)
        except Exception as error:  # whatever the hub, the network or the disk raises
            raise unavailable(f"timm's {name}", error) from error
    return network


class TimmNet(Network):
    """The default network with an encoder of timm: the same decoder at the strides that the encoder has."""

    stride_multiple = 32

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = TimmEncoder(config.encoder.removeprefix(TIMM), config.pretrained, len(config.bands))
        self.mean, self.std = self.encoder.mean, self.encoder.std
        widths = {stride: width for stride, width in self.encoder.widths.items() if stride <= 32}
        plain = DecoderConfig()
        strides = tuple(sorted((stride for stride in widths if stride >= plain.strides[-1]), reverse=True))
        decoder = DecoderConfig(strides, plain.widths[-len(strides) :])
        self.decoder = Decoder(widths, decoder)
        self.classifier = nn.Conv2d(decoder.widths[-1], config.maps * 4, kernel_size=1)
        self.finer = nn.PixelShuffle(2)
        self.stride = strides[-1] // 2

    def intermediates(self, image_BNHW: Tensor) -> dict[str, Tensor]:
        encoded = self.encoder(image_BNHW)
        decoded = self.decoder({stride: encoded[name] for stride, name in self.encoder.used.items()})
        finest = next(reversed(decoded.values()))
        return {**encoded, **decoded, "scores": self.finer(self.classifier(finest))}

    def encoder_module(self) -> nn.Module:
        return self.encoder

    def encoder_parameters(self) -> Iterator[tuple[int, nn.Parameter]]:
        return by_depth(self.encoder, lambda image: list(self.encoder(image).values()), len(self.mean))


# ── segmentation-models-pytorch ──


class SmpNet(Network):
    """A network of segmentation-models-pytorch, with scores before their upsampling."""

    stride_multiple = 32
    statistics: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        library, name = extra("segmentation_models_pytorch"), config.name.removeprefix(SMP)
        if name not in ARCHITECTURES:
            raise UsageError(f"no model is named {config.name!r}. After smp: comes one of: {', '.join(ARCHITECTURES)}.")
        known = library.encoders.get_encoder_names()
        if config.encoder not in known and not config.encoder.startswith("tu-"):
            raise UsageError(
                f"model {config.name!r} needs an encoder by its SMP name, not {config.encoder!r}: --encoder resnet34, "
                f"efficientnet-b0, mobilenet_v2, mit_b0 …, or tu-NAME for one of timm's."
            )

        create, bands = getattr(library, name), len(config.bands)
        shared = {"encoder_name": config.encoder, "in_channels": bands, "classes": config.maps}
        mean, std = IMAGENET
        try:
            self.body = create(encoder_weights=None, **shared)
        except (KeyError, ValueError, AttributeError, RuntimeError, TypeError) as error:
            raise UsageError(f"{config.name} cannot be built on {config.encoder}: {error}") from error
        if config.pretrained:
            weights = True if config.encoder.startswith("tu-") else "imagenet"
            try:
                told = library.encoders.get_preprocessing_params(config.encoder)
                self.body = create(encoder_weights=weights, **shared)
            except Exception as error:  # whatever the hub, the network or the disk raises
                raise unavailable(f"SMP's {config.encoder}", error) from error
            if told["input_space"] != "RGB":
                raise UsageError(f"the weights of {config.encoder} want {told['input_space']}, not RGB; choose others.")
            top = told["input_range"][1]
            mean, std = tuple(value / top for value in told["mean"]), tuple(value / top for value in told["std"])
        # In the checkpoint, so that the bundle is made with the statistics of the weights, hub or no hub.
        self.register_buffer(
            "statistics", torch.tensor([in_turn(mean, bands), in_turn(std, bands)], dtype=torch.float64)
        )
        self.body.segmentation_head[1] = nn.Identity()  # resizing is the preprocessing's inverse, here as everywhere
        self.eval()
        with torch.inference_mode():
            try:
                named = self.intermediates(torch.zeros(1, bands, *PROBE))
            except (RuntimeError, ValueError, TypeError) as error:
                raise UsageError(f"{config.name} cannot be built on {config.encoder}: {error}") from error
        self.train()
        self.stride = PROBE[0] // named["scores"].shape[2]

    @property
    def mean(self) -> tuple[float, ...]:  # type: ignore[override]
        return tuple(self.statistics[0].tolist())

    @property
    def std(self) -> tuple[float, ...]:  # type: ignore[override]
        return tuple(self.statistics[1].tolist())

    def intermediates(self, image_BNHW: Tensor) -> dict[str, Tensor]:
        # The first feature is the image itself; some encoders leave a stride out and give a map without channels.
        features = self.body.encoder(image_BNHW)
        named = {f"stage{number}": feature for number, feature in enumerate(features[1:], start=1) if feature.shape[1]}
        decoded = self.body.decoder(features)
        return {**named, "up": decoded, "scores": self.body.segmentation_head(decoded)}

    def encoder_module(self) -> nn.Module:
        encoder: nn.Module = self.body.encoder
        return encoder

    def encoder_parameters(self) -> Iterator[tuple[int, nn.Parameter]]:
        def features(image_BNHW: Tensor) -> list[Tensor]:
            return [feature for feature in self.body.encoder(image_BNHW)[1:] if feature.shape[1]]

        return by_depth(self.body.encoder, features, len(self.mean))


def by_depth(encoder: nn.Module, features_of: Any, bands: int = 3) -> Iterator[tuple[int, nn.Parameter]]:
    """(1 for what the first feature depends on, 2 for what the second needs beyond it …; parameter).

    Asked of autograd, so that it holds for whatever an encoder is made of.
    """
    training, parameters = encoder.training, list(encoder.parameters())
    wanted = [parameter.requires_grad for parameter in parameters]
    encoder.eval()  # one image is too few for batch statistics, and looking must not move them
    encoder.requires_grad_(True)
    depths: dict[int, int] = {}
    with torch.enable_grad():
        features = features_of(torch.zeros(1, bands, *PROBE))
        for depth, feature in enumerate(features, start=1):
            reached = torch.autograd.grad(feature.sum(), parameters, retain_graph=True, allow_unused=True)
            for parameter, gradient in zip(parameters, reached, strict=True):
                if gradient is not None:
                    depths.setdefault(id(parameter), depth)
    encoder.train(training)
    for parameter, learns in zip(parameters, wanted, strict=True):
        parameter.requires_grad_(learns)
        yield depths.get(id(parameter), len(features)), parameter
