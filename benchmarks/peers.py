"""Other people's networks, from an image array to labels at the image's own size, for prediction.py and pareto.py.

Each is built by its own package. prediction.py times them with random weights, which take the same time as trained
ones, in PyTorch eager and in ONNX Runtime, exported whole (normalising, network, enlarging, argmax) by PyTorch's own
exporter at the one size that is timed; pareto.py trains them first. Sides are padded to multiples of 32, as some ask.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pixelwise.bundle.onnx_session import open_session

Work = Callable[[np.ndarray], object]
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALVES = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


class Labeller(nn.Module):
    """uint8 [H, W, 3] RGB → uint8 [H, W], around a network that takes normalised images."""

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.eval()

    def scores(self, images_BHW3: Tensor) -> Tensor:
        """uint8 [B, H, W, 3] → scores float [B, C, H, W]."""
        _, height, width, _ = images_BHW3.shape
        seen = (images_BHW3.permute(0, 3, 1, 2) / 255 - self.mean) / self.std
        seen = functional.pad(seen, (0, -width % 32, 0, -height % 32))
        scores: Any = self.network(seen)
        if not isinstance(scores, Tensor):  # torchvision's is a dict, that of transformers a kind of dict
            scores = scores["out"] if "out" in scores else scores["logits"]
        scores = functional.interpolate(scores, seen.shape[2:], mode="bilinear", align_corners=False)
        return scores[:, :, :height, :width]

    def forward(self, image_HW3: Tensor) -> Tensor:
        return self.scores(image_HW3[None])[0].argmax(0).to(torch.uint8)


def lraspp(classes: int) -> Labeller:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
    return Labeller(network, *IMAGENET)


def smp_unet(classes: int) -> Labeller:
    import segmentation_models_pytorch as smp

    return Labeller(smp.Unet("tu-tf_efficientnet_lite0", encoder_weights=None, classes=classes), *HALVES)


def segformer(classes: int) -> Labeller:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return Labeller(SegformerForSemanticSegmentation(SegformerConfig(num_labels=classes)), *IMAGENET)


PEERS = {
    "torchvision LR-ASPP MobileNetV3-large": lraspp,
    "SMP U-Net EfficientNet-Lite0": smp_unet,
    "SegFormer-B0 (transformers)": segformer,
}


def eager(labeller: Labeller) -> Work:
    @torch.inference_mode()
    def work(image: np.ndarray) -> object:
        return labeller(torch.from_numpy(image)).numpy()

    return work


def exported(labeller: Labeller, image: np.ndarray) -> bytes:
    """An ONNX file for images of this one's size."""
    with torch.inference_mode():
        program = torch.onnx.export(labeller, (torch.from_numpy(image),), dynamo=True, verbose=False)
        file = io.BytesIO()
        program.save(file)
        expected = labeller(torch.from_numpy(image)).numpy()
    agreement = float((np.asarray(labels_of(file.getvalue(), 0)(image)) == expected).mean())
    if agreement < 0.99:
        raise RuntimeError(f"what was exported agrees with PyTorch on {agreement:.1%} of the pixels only")
    return file.getvalue()


def labels_of(model: bytes, threads: int) -> Work:
    """An ONNX file, run with the session's options of Pixelwise, so that threads wait asleep."""
    session = open_session(model, threads)
    name = session.get_inputs()[0].name

    def work(image: np.ndarray) -> object:
        return session.run(None, {name: image})[0]

    return work


def peers(classes: int, image: np.ndarray, threads: int) -> tuple[dict[str, Work], dict[str, str]]:
    """What can be timed here, and why the rest cannot."""
    works: dict[str, Work] = {}
    absent: dict[str, str] = {}
    for name, make in PEERS.items():
        try:
            labeller = make(classes)
        except ModuleNotFoundError as error:
            absent[name] = f"{error.name} is not installed"
            continue
        works[f"{name}, eager"] = eager(labeller)
        works[f"{name}, ONNX Runtime"] = labels_of(exported(labeller, image), threads)
    return works, absent
