"""EfficientNet-Lite encoders (Tan and Le 2019, arXiv:1905.11946; the Lite variants by TensorFlow, 2020).

Lite drops squeeze-and-excitation and uses ReLU6, so every layer is a convolution that runs fast on a CPU and in int8.

Shapes: B batch; H, W the network's input size, multiples of 32; a stage of stride s returns [B, width, H/s, W/s].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.model.convolution import Depthwise, FixedNorm, centred


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of an EfficientNet-Lite: one entry per stage, as in table 1 of the paper."""

    widths: tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)  # output channels
    depths: tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)  # blocks


KERNELS = (3, 3, 5, 3, 5, 5, 3)  # depthwise kernel size of each stage, the same in every variant
STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of each stage's first block; the stem before them has stride 2
STEM_WIDTH = 32
FEATURE_STAGES = {2: "stage1", 4: "stage2", 8: "stage3", 16: "stage5", 32: "stage7"}  # stride → last stage at it

ENCODERS = {
    "lite0": EncoderConfig(),
    "lite1": EncoderConfig(depths=(1, 3, 3, 4, 4, 5, 1)),
    "lite2": EncoderConfig(widths=(16, 24, 48, 88, 120, 208, 352), depths=(1, 3, 3, 4, 4, 5, 1)),
}


class ConvNorm(nn.Module):
    """Convolution → batch normalisation → ReLU6, the building block of the encoders.

    Padded as TensorFlow's "same": at stride 2 the odd pixel of padding goes right and below. The weights were trained
    so; padding symmetrically would shift every feature map by half a pixel a stage.
    """

    def __init__(
        self, width_in: int, width_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, *, activate: bool = True
    ) -> None:
        super().__init__()
        symmetric = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(width_in, width_out, kernel, stride, padding=symmetric, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(width_out, eps=1e-3, momentum=0.1)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.norm, nn.BatchNorm2d) and not self.norm.training:
            if self.learns_on_cpu(x):
                return self.convolve_and_normalise(x)
            y = self.convolve(x, *self.folded())  # saves one pass over memory
        else:
            y = self.norm(self.convolve(x, self.conv.weight, self.conv.bias))
        if not self.activate:
            return y
        return F.relu6(y, inplace=not y.requires_grad)  # in training, autograd would copy y first

    def learns_on_cpu(self, x: Tensor) -> bool:
        """Is there a faster gradient for this one? See convolution.py."""
        kinds = self.conv.groups > 1 or self.conv.kernel_size[0] == 1
        return kinds and self.training and self.conv.weight.requires_grad and x.device.type == "cpu"

    def convolve_and_normalise(self, x: Tensor) -> Tensor:
        norm = self.norm
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_var is not None
        y: Tensor = FixedNorm.apply(  # type: ignore[no-untyped-call]
            x,
            self.conv.weight,
            norm.weight,
            norm.bias,
            norm.running_mean,
            norm.running_var + norm.eps,
            self.conv.stride[0],
            self.activate,
        )
        return y

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the convolution that includes the normalisation with fixed statistics."""
        norm = self.norm
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return self.conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        kernel, stride, groups = self.conv.kernel_size[0], self.conv.stride[0], self.conv.groups
        if groups > 1 and self.learns_on_cpu(x):
            y: Tensor = Depthwise.apply(x, weight, bias, stride)  # type: ignore[no-untyped-call]
            return y
        if stride == 1 or self.training:
            centred_weight, padding = centred(weight, stride)
            return F.conv2d(x, centred_weight, bias, stride, padding, groups=groups)
        before = (kernel - stride) // 2
        after = kernel - stride - before  # for sizes that the stride divides
        return F.conv2d(F.pad(x, (before, after) * 2), weight, bias, stride, groups=groups)

    def fold(self) -> None:
        """Fold the normalisation into the convolution permanently, for export."""
        weight, bias = self.folded()
        self.conv.weight = nn.Parameter(weight.detach())
        self.conv.bias = nn.Parameter(bias.detach())
        self.norm = nn.Identity()


def freeze_statistics(module: nn.Module) -> None:
    """Make every normalisation in `module` use its stored statistics, also in training."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


class InvertedResidual(nn.Module):
    """Expand 1×1 → depthwise k×k → project 1×1, plus the input where shapes allow (MobileNetV2, arXiv:1801.04381)."""

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = width_in * expansion
        self.expand = ConvNorm(width_in, width) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(width, width, kernel, stride, groups=width)
        self.project = ConvNorm(width, width_out, activate=False)
        self.residual = stride == 1 and width_in == width_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """Image → features at strides 2, 4, 8, 16 and 32. The classifier on top of the original is left out."""

    def __init__(self, config: EncoderConfig, bands: int = 3) -> None:
        super().__init__()
        self.config = config
        self.stem = ConvNorm(bands, STEM_WIDTH, kernel=3, stride=2)
        width = STEM_WIDTH
        self.stages = nn.ModuleList()
        for number, (width_out, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            blocks = []
            for block in range(depth):
                stride = STRIDES[number] if block == 0 else 1
                expansion = 1 if number == 0 else 6
                blocks.append(InvertedResidual(width, width_out, KERNELS[number], stride, expansion))
                width = width_out
            self.stages.append(nn.Sequential(*blocks))

    @property
    def widths(self) -> dict[int, int]:
        """Stride → channels of the feature at that stride."""
        return {stride: self.config.widths[int(name[-1]) - 1] for stride, name in FEATURE_STAGES.items()}

    def forward(self, image_BNHW: Tensor) -> dict[str, Tensor]:
        """Normalised image → every stage's output by name: "stem", "stage1" … "stage7"."""
        x = self.stem(image_BNHW)
        outputs = {"stem": x}
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            outputs[f"stage{number}"] = x
        return outputs

    def parameters_by_depth(self) -> Iterator[tuple[int, nn.Parameter]]:
        """(0 for the stem, 1 … 7 for the stages; parameter), for learning rates that differ by depth."""
        yield from ((0, parameter) for parameter in self.stem.parameters())
        for number, stage in enumerate(self.stages, start=1):
            yield from ((number, parameter) for parameter in stage.parameters())
