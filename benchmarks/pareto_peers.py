"""Networks of torchvision and segmentation-models-pytorch on CamVid, trained for some minutes, for pareto.py.

One recipe for all, of what their own examples have in common: AdamW, a learning rate that rises over the first 5 % and
falls as (1 − t) ** 0.9, cross-entropy, batches of 8 crops of 320×320 from images that are scaled by 0.75–1.5 and
mirrored at random. Nothing was tuned for any of them, nor for CamVid. In validation they get whole images of 480×360.

ImageNet weights are those of EfficientNet-Lite0 that Pixelwise starts from, too, read from the package that carries
them. MobileNetV3 and MiT-B0 have none in any package: they start from random weights, which a short training punishes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from peers import HALVES, IMAGENET, Labeller  # beside this file
from torch import Tensor, nn

from pixelwise.model.imagenet_weights import weights_file
from pixelwise.records import VOID

CROP_PX, BATCH = 320, 8
SCALES = 0.75, 1.5
RATE, RATE_PRETRAINED, DECAY = 1e-3, 2.5e-4, 0.01
WARMUP, POWER = 0.05, 0.9
LITE0 = "tf_efficientnet_lite0"
Pair = tuple[np.ndarray, np.ndarray]  # image uint8 [H, W, 3], class ids uint8 [H, W]


def lraspp_lite0(classes: int) -> Labeller:
    import timm
    from torchvision.models.segmentation.lraspp import LRASPP

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = timm.create_model(LITE0, features_only=True, output_stride=16)
            fill(self.body)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            features = self.body(x)
            return {"low": features[2], "high": features[-1]}

    backbone = Backbone()
    widths = backbone.body.feature_info.channels()
    return Labeller(LRASPP(backbone, widths[2], widths[-1], classes), *HALVES)


def lraspp_mobilenet(classes: int) -> Labeller:
    from peers import lraspp

    return lraspp(classes)


def smp(name: str) -> Callable[[int], Labeller]:
    def make(classes: int) -> Labeller:
        import segmentation_models_pytorch

        create = getattr(segmentation_models_pytorch, name)
        network = create(f"tu-{LITE0}", encoder_weights=None, classes=classes)
        fill(network.encoder.model)
        return Labeller(network, *HALVES)

    return make


def segformer_b0(classes: int) -> Labeller:
    import segmentation_models_pytorch

    network = segmentation_models_pytorch.Segformer("mit_b0", encoder_weights=None, classes=classes)
    return Labeller(network, *IMAGENET)


PEERS: dict[str, tuple[Callable[[int], Labeller], bool]] = {  # and whether it starts from ImageNet weights
    "torchvision LR-ASPP, EfficientNet-Lite0": (lraspp_lite0, True),
    "SMP U-Net, EfficientNet-Lite0": (smp("Unet"), True),
    "SMP FPN, EfficientNet-Lite0": (smp("FPN"), True),
    "SMP DeepLabV3+, EfficientNet-Lite0": (smp("DeepLabV3Plus"), True),
    "SMP SegFormer, MiT-B0": (segformer_b0, False),
    "torchvision LR-ASPP, MobileNetV3-large": (lraspp_mobilenet, False),
}


def fill(body: nn.Module) -> None:
    """ImageNet weights into timm's network: the published file has them in the same order, under other names."""
    theirs = torch.load(weights_file("lite0"), map_location="cpu", weights_only=True)
    names, values = list(body.state_dict()), list(theirs.values())
    own = body.state_dict()
    filled = dict(zip(names, values, strict=False))  # the file ends with the classifier, which is not needed
    wrong = [name for name in names if own[name].shape != filled[name].shape]
    if wrong:
        raise RuntimeError(f"timm's {LITE0} is not the published network: {wrong[0]}")
    body.load_state_dict(filled)


def crops(pairs: list[Pair], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end: images uint8 [B, h, w, 3] and class ids [B, h, w]."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(pairs))
        for first in range(0, len(order) - BATCH + 1, BATCH):
            batch = [crop(*pairs[index], rng) for index in order[first : first + BATCH]]
            images, masks = zip(*batch, strict=True)
            yield torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks)).long()


def crop(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
    # At least as large as the crop.
    scale = max(rng.uniform(*SCALES), CROP_PX / min(mask.shape))
    height, width = (max(round(side * scale), CROP_PX) for side in mask.shape)
    top, left = rng.integers(height - CROP_PX + 1), rng.integers(width - CROP_PX + 1)
    part = slice(top, top + CROP_PX), slice(left, left + CROP_PX)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)[part]
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)[part]
    step = -1 if rng.random() < 0.5 else 1
    return np.ascontiguousarray(image[:, ::step]), np.ascontiguousarray(mask[:, ::step])


def train(labeller: Labeller, pretrained: bool, pairs: list[Pair], minutes: float, seed: int = 0) -> int:
    """Train for `minutes` as time.perf_counter() counts them. Returns the number of steps."""
    torch.manual_seed(seed)
    encoder = {id(parameter) for name, parameter in labeller.named_parameters() if "encoder" in name or "body" in name}
    parts = [[p for p in labeller.parameters() if (id(p) in encoder) == inside] for inside in (True, False)]
    peaks = [RATE_PRETRAINED if pretrained else RATE, RATE]
    optimizer = torch.optim.AdamW(
        [{"params": part, "lr": peak} for part, peak in zip(parts, peaks, strict=True) if part], weight_decay=DECAY
    )
    groups = [peak for part, peak in zip(parts, peaks, strict=True) if part]
    labeller.train()
    began, steps = time.perf_counter(), 0
    for images, masks in crops(pairs, seed):
        done = (time.perf_counter() - began) / (60 * minutes)
        if done >= 1:
            break
        for group, peak in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = peak * min((done + 1e-3) / WARMUP, 1.0) * (1 - done) ** POWER
        loss = nn.functional.cross_entropy(labeller.scores(images), masks, ignore_index=VOID)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    labeller.eval()
    return steps
