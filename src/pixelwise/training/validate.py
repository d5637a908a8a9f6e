"""Validation during training: the scores that the finished bundle would get, at each image's own size.

Shapes: C classes, H and W an image's own size, h and w the size that the network sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.data.augment import View, cut_mask
from pixelwise.data.files import make_folder, write_whole
from pixelwise.data.images import encode_png
from pixelwise.data.loader import Pairs
from pixelwise.metrics import confusion
from pixelwise.model.network import Network
from pixelwise.model.preprocess import Preprocess, labels_from_scores, resize_scores
from pixelwise.records import VOID, ClassList, Labels
from pixelwise.tracing.flow import coloured
from pixelwise.training.distributed import own_part, total_of

PREVIEWS = 4  # held-out images whose masks are kept at every epoch


@dataclass(frozen=True)
class Validation:
    """What validation runs over."""

    pairs: Pairs
    preprocess: Preprocess
    classes: ClassList
    batch: int = 4  # more take more memory than the system's allocator keeps at hand, and get slower


@dataclass(frozen=True)
class Validated:
    """What it came to."""

    matrix: confusion.Counts
    scores: confusion.Scores
    loss: float  # plain mean cross-entropy over a quarter of the pixels at the network's size; NaN where all are void


@torch.inference_mode()
def validate(
    network: Network,
    validation: Validation,
    previews: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    alone: bool = True,
) -> Validated:
    """Run the network over all pairs, where it lies. With `previews`, write the first images' masks there as PNG.

    Args:
        alone: False: all processes of a training do this together, each with its part of the pairs, the first with
            those that are previewed. All get the same result.

    Raises:
        OutputError: the previews cannot be written.
    """
    network.eval()
    if previews is not None:
        make_folder(previews)
    own = range(len(validation.pairs)) if alone else own_part(len(validation.pairs), kept=PREVIEWS)
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))  # a graph has none
    count = len(validation.classes)
    matrix = np.zeros((count, count), np.int64)
    loss, pixels, index = 0.0, 0, 0
    for images_B3hw, masks in batches(validation, own):
        scores_BChw = network(images_B3hw.to(device))
        for scores_Chw, mask_HW in zip(scores_BChw, masks, strict=True):
            labels_HW = labels_from_scores(scores_Chw[None], mask_HW.shape)[0].cpu().numpy()
            matrix += confusion.count_pairs(labels_HW, mask_HW, count)
            if previews is not None and index < PREVIEWS:
                write_whole(previews / f"{index}.png", encode_png(coloured(labels_HW, validation.classes)))
            index += 1
        size = (images_B3hw.shape[2], images_B3hw.shape[3])
        # Every other pixel in each direction, as in training: neighbours say nearly the same.
        labels_Bhw = torch.stack([torch.from_numpy(seen_mask(mask, size)[::2, ::2]).long() for mask in masks]).to(
            device
        )
        sampled_BChw = resize_scores(scores_BChw, size)[:, :, ::2, ::2]
        loss += float(nn.functional.cross_entropy(sampled_BChw, labels_Bhw, ignore_index=VOID, reduction="sum"))
        pixels += int((labels_Bhw != VOID).sum())
        progress(index, len(own))
    if not alone:
        matrix, sums = total_of(matrix), total_of(np.array([loss, pixels]))
        loss, pixels = float(sums[0]), int(sums[1])
    return Validated(matrix, confusion.scores(matrix), loss / pixels if pixels else float("nan"))


def batches(validation: Validation, own: Sequence[int] | None = None) -> Iterator[tuple[Tensor, list[Labels]]]:
    """Neighbours of the same size at the network's input, up to a batch, with their masks at their own sizes.

    Args:
        own: which pairs; None: all.
    """
    images: list[Tensor] = []
    masks: list[Labels] = []
    for index in range(len(validation.pairs)) if own is None else own:
        image_HW3, mask_HW = validation.pairs[index]
        image_13hw = validation.preprocess(torch.from_numpy(image_HW3)[None])
        if images and (len(images) == validation.batch or images[-1].shape != image_13hw.shape):
            yield torch.cat(images), masks
            images, masks = [], []
        images.append(image_13hw)
        masks.append(mask_HW)
    if images:
        yield torch.cat(images), masks


def seen_mask(mask_HW: Labels, size: tuple[int, int]) -> Labels:
    """The mask as the network sees it: at its input size."""
    return cut_mask(mask_HW, View(0, 0, mask_HW.shape[0], mask_HW.shape[1], mirrored=False), size)
