"""Validation during training: the scores that the exported bundle will have, at each image's own size.

Shapes: C classes, H and W the image size, h and w the network's input size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelwise.images.files import make_folder, write_whole
from pixelwise.images.image_files import encode_png
from pixelwise.metrics import confusion
from pixelwise.model.label_strips import GRAPH_VALUES, labels_of_scores
from pixelwise.model.network import Network
from pixelwise.model.preprocess import Preprocess, labels_from_scores, resize_scores
from pixelwise.prediction.flow_events import coloured
from pixelwise.prediction.in_memory import labelled_in_tiles
from pixelwise.prediction.large.tile_plan import is_cut, native_tile, overlap_of
from pixelwise.prediction.large.tiles import tiling
from pixelwise.records import VOID, ClassList, Labels, Pixels, Scores
from pixelwise.training.augment import Crop, crop_mask
from pixelwise.training.distributed import own_part, total_of
from pixelwise.training.loader import Pairs

BATCH_PIXELS = 4_194_304  # at most in a batch, at the network's input size
BATCH_MASK_PIXELS = 16_000_000  # at most in a batch's masks before the last one
PREVIEW_PX = 2000  # shorter side of a preview: larger ones are subsampled
PREVIEWS = 4  # val images whose predicted masks are saved after every epoch


@dataclass(frozen=True)
class Validation:
    """The val split and how to run it."""

    pairs: Pairs
    preprocess: Preprocess
    classes: ClassList
    batch: int = 4  # larger batches exceed what the allocator keeps, and get slower


@dataclass(frozen=True)
class ValidationResult:
    """The scores on the val split."""

    matrix: confusion.Counts
    scores: confusion.Scores
    loss: float  # mean cross-entropy over a quarter of the pixels at the network's input size; NaN if all are void


@torch.inference_mode()
def validate(
    network: Network,
    validation: Validation,
    previews: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    alone: bool = True,
) -> ValidationResult:
    """Run the network over all pairs, on its device. With `previews`, write the first images' predictions there as PNG.

    Args:
        alone: False: all processes of a training share the pairs, the first one has those that are previewed. All get
            the same result.

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
        cut = images_B3hw.dtype == torch.uint8
        if cut:
            labels_of_cut, scores_BChw = in_tiles(network, validation.preprocess, images_B3hw[0].numpy(), device)
        else:
            scores_BChw = network(images_B3hw.to(device))
        for scores_Chw, mask_HW in zip(scores_BChw, masks, strict=True):
            labels_HW = labels_of_cut if cut else labels_at_size(scores_Chw, mask_HW.shape)
            matrix += confusion.count_pairs(labels_HW, mask_HW, count)
            if previews is not None and index < PREVIEWS:
                write_whole(previews / f"{index}.png", encode_png(preview(labels_HW, validation.classes)))
            index += 1
        # For a tiled image the scores themselves are compared, at half the image's resolution.
        size = tuple(2 * side for side in scores_BChw.shape[2:]) if cut else images_B3hw.shape[2:]
        # Every other pixel in each direction, as in training: neighbours are nearly redundant.
        labels_Bhw = torch.stack(
            [torch.from_numpy(seen_mask(mask, (size[0], size[1]))[::2, ::2]).long() for mask in masks]
        ).to(device)
        sampled_BChw = scores_BChw if cut else resize_scores(scores_BChw, (size[0], size[1]))[:, :, ::2, ::2]
        loss += float(nn.functional.cross_entropy(sampled_BChw, labels_Bhw, ignore_index=VOID, reduction="sum"))
        pixels += int((labels_Bhw != VOID).sum())
        progress(index, len(own))
    if not alone:
        matrix, sums = total_of(matrix), total_of(np.array([loss, pixels]))
        loss, pixels = float(sums[0]), int(sums[1])
    return ValidationResult(matrix, confusion.scores(matrix), loss / pixels if pixels else float("nan"))


def labels_at_size(scores_Chw: Tensor, size: tuple[int, ...]) -> Labels:
    """Labels uint8 [H, W] at an image's own size, strip by strip if all scores at that size would take gigabytes."""
    height, width = size
    if len(scores_Chw) * height * width > GRAPH_VALUES:
        return labels_of_scores(scores_Chw.cpu().numpy(), (height, width))
    labels: Labels = labels_from_scores(scores_Chw[None], (height, width))[0].cpu().numpy()
    return labels


def preview(labels_HW: Labels, classes: ClassList) -> NDArray[np.uint8]:
    """Labels in their classes' colours, subsampled if large."""
    step = max(min(labels_HW.shape) // PREVIEW_PX, 1)
    return coloured(labels_HW[::step, ::step], classes)


def in_tiles(
    network: Network, preprocess: Preprocess, image_HW3: Pixels, device: torch.device
) -> tuple[Labels, Tensor]:
    """Labels [H, W] of an image too large for one pass at its own scale, and the joined scores of its tiles,
    [1, C, h, w]: as a bundle labels it."""

    @torch.inference_mode()
    def run(tile_HW3: Pixels) -> tuple[Labels, Scores]:
        scores_1Chw = network(preprocess(torch.from_numpy(tile_HW3)[None]).to(device))
        return labels_at_size(scores_1Chw[0], tile_HW3.shape[:2]), scores_1Chw[0].cpu().numpy()

    tile = native_tile(preprocess.size)
    plan = tiling(image_HW3.shape[:2], tile, overlap_of(tile))
    labels_HW, scores_Chw = labelled_in_tiles(plan, run, image_HW3)
    return labels_HW, torch.from_numpy(scores_Chw)[None].to(device)


def batches(validation: Validation, own: Sequence[int] | None = None) -> Iterator[tuple[Tensor, list[Labels]]]:
    """Batches of neighbouring images with one network input size, and their masks at their own sizes.

    Large images come in smaller batches. Images that are tiled (`is_cut`, under `native`) come alone and
    unprocessed: uint8 [1, H, W, 3].

    Args:
        own: which pairs; None: all.
    """
    images: list[Tensor] = []
    masks: list[Labels] = []
    for index in range(len(validation.pairs)) if own is None else own:
        image_HW3, mask_HW = validation.pairs[index]
        image_1HW3 = torch.from_numpy(image_HW3)[None]
        policy = validation.preprocess.policy
        if policy == "native" and is_cut(mask_HW.shape, policy):
            if images:
                yield torch.cat(images), masks
                images, masks = [], []
            yield image_1HW3, [mask_HW]
            continue
        image_13hw = validation.preprocess.of_any_size(image_1HW3)
        seen = (len(images) + 1) * image_13hw.shape[2] * image_13hw.shape[3]
        full = len(images) == validation.batch or seen > BATCH_PIXELS or sum(map(np.size, masks)) > BATCH_MASK_PIXELS
        if images and (full or images[-1].shape != image_13hw.shape):
            yield torch.cat(images), masks
            images, masks = [], []
        images.append(image_13hw)
        masks.append(mask_HW)
    if images:
        yield torch.cat(images), masks


def seen_mask(mask_HW: Labels, size: tuple[int, int]) -> Labels:
    """The mask at the network's input size."""
    return crop_mask(mask_HW, Crop(0, 0, mask_HW.shape[0], mask_HW.shape[1], mirrored=False), size)
