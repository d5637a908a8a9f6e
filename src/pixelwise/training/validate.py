"""Validation during training: the scores that the exported bundle will have, at each image's own size.

Shapes: C classes, H and W the image size, h and w the network's input size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelwise.images.files import make_folder, write_whole
from pixelwise.images.image_files import encode_png
from pixelwise.metrics import confusion
from pixelwise.model.label_strips import GRAPH_VALUES, labels_of_scores
from pixelwise.model.network import Network
from pixelwise.model.preprocess import LARGE_PIXELS, Preprocess, labels_from_scores, resize_scores
from pixelwise.prediction.flow_events import coloured
from pixelwise.prediction.in_memory import Mosaic
from pixelwise.prediction.large.tile_plan import is_cut, native_tile, overlap_of
from pixelwise.prediction.large.tiles import label_tiles, tiling
from pixelwise.records import VOID, ClassList, Labels, Pixels, Raster, Scores
from pixelwise.training.augment import Crop, Mask, Picture, crop_mask
from pixelwise.training.disk_copies import strips_of
from pixelwise.training.distributed import own_part, total_of
from pixelwise.training.loader import Pairs

BATCH_PIXELS = 4_194_304  # at most in a batch, at the network's input size
BATCH_MASK_PIXELS = 16_000_000  # at most in a batch's masks before the last one
PREVIEW_PX = 2000  # shorter side of a preview: larger ones are subsampled
PREVIEWS = 4  # val images whose predicted masks are saved after every epoch
SAMPLED = 8  # of pixels for calibration, one in so many in each direction
SIZED_IMAGES = 64  # at most this many determine the typical image size


@dataclass(frozen=True)
class Validation:
    """The val split and how to run it."""

    pairs: Pairs
    preprocess: Preprocess
    classes: ClassList
    batch: int = 4  # larger batches exceed what the allocator keeps, and get slower

    def spaced(self, count: int) -> Validation:
        """On so many of the pairs, evenly spaced; on all where `count` is 0 or no fewer."""
        return replace(self, pairs=self.pairs.spaced(count))

    @cached_property
    def usual_size(self) -> tuple[int, int]:
        """Median height and width of the images: the tile size for larger ones."""
        number = len(self.pairs)
        looked_at = range(0, number, -(-number // SIZED_IMAGES))
        height, width = np.median([self.pairs[index][1].shape[:2] for index in looked_at], axis=0)
        return int(height), int(width)


@dataclass(frozen=True)
class ValidationResult:
    """The scores on the val split."""

    matrix: confusion.Counts
    scores: confusion.Scores
    loss: float  # mean cross-entropy over a quarter of the pixels at the network's input size; NaN if all are void


@dataclass(frozen=True)
class CalibrationPixels:
    """Scores and labels of some pixels of the validation split, which calibrate a bundle."""

    scores: list[NDArray[np.float32]] = field(default_factory=list)  # [S, C] of each batch
    labels: list[NDArray[np.uint8]] = field(default_factory=list)  # [S]

    def add(self, scores_BChw: Tensor, masks: Sequence[Mask], size: tuple[int, int], step: int) -> None:
        """Every `step`-th of some scores, which are every SAMPLED / `step`-th pixel of `size`."""
        some_BChw = scores_BChw[:, :, ::step, ::step].cpu()
        self.scores.append(some_BChw.permute(0, 2, 3, 1).flatten(0, 2).numpy())
        self.labels.append(np.stack([seen_mask(mask, size)[::SAMPLED, ::SAMPLED] for mask in masks]).ravel())


@torch.inference_mode()
def validate(
    network: Network,
    validation: Validation,
    previews: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    alone: bool = True,
    sample: CalibrationPixels | None = None,
) -> ValidationResult:
    """Run the network over all pairs, on its device. With `previews`, write the first images' predictions there as PNG.

    Args:
        sample: gets the scores and labels of some pixels.
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
    for images, masks in batches(validation, own):
        shown: list[Pixels] = []
        most = PREVIEWS - index if previews is not None else 0
        if isinstance(images, Tensor):
            scores_BChw, size = network(images.to(device))[:, :count], (images.shape[2], images.shape[3])
            for scores_Chw, mask in zip(scores_BChw, masks, strict=True):
                labels_HW = labels_at_size(scores_Chw, mask.shape)
                matrix += counted(labels_HW, mask, count)
                if len(shown) < most:
                    shown.append(preview(labels_HW, validation.classes))
            sampled_BChw = resize_scores(scores_BChw, size)[:, :, ::2, ::2]
            if sample is not None:
                sample.add(sampled_BChw, masks, size, SAMPLED // 2)
        else:
            parts: list[Labels] = []
            sampled_BChw = in_tiles(network, validation, images, device, partial(count_rows, masks[0], matrix, parts))
            shown += [coloured(np.concatenate(parts), validation.classes)] if most > 0 else []
            if sample is not None:
                sample.add(sampled_BChw, masks, (sampled_BChw.shape[2], sampled_BChw.shape[3]), SAMPLED)
            # For a tiled image the scores themselves are compared, at half the image's resolution.
            size = (2 * sampled_BChw.shape[2], 2 * sampled_BChw.shape[3])
        for number, picture in enumerate(shown, start=index):
            assert previews is not None
            write_whole(previews / f"{number}.png", encode_png(picture))
        index += len(masks)
        # Every other pixel in each direction, as in training: neighbours are nearly redundant.
        labels_Bhw = torch.stack([torch.from_numpy(seen_mask(mask, size)[::2, ::2]).long() for mask in masks])
        labels_Bhw = labels_Bhw.to(device)
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


def counted(labels_HW: Labels, mask_HW: Mask, classes: int) -> confusion.Counts:
    """The confusion matrix of one image."""
    if isinstance(mask_HW, np.ndarray):
        return confusion.count_pairs(labels_HW, mask_HW, classes)
    matrix = np.zeros((classes, classes), np.int64)
    for top, true_RW in strips_of(mask_HW):
        matrix += confusion.count_pairs(labels_HW[top : top + len(true_RW)], true_RW, classes)
    return matrix


def count_rows(mask_HW: Mask, matrix: confusion.Counts, parts: list[Labels], top: int, labels_RW: Labels) -> None:
    """Count some finished rows of labels into `matrix`, and append what a preview shows of them to `parts`."""
    matrix += confusion.count_pairs(labels_RW, mask_HW[top : top + len(labels_RW)], len(matrix))
    step = max(min(mask_HW.shape) // PREVIEW_PX, 1)
    parts.append(labels_RW[-top % step :: step, ::step].copy())


def in_tiles(
    network: Network,
    validation: Validation,
    image: Picture,
    device: torch.device,
    finished: Callable[[int, Labels], None] = lambda top, labels: None,
) -> Tensor:
    """Label an image too large for one pass at its own scale, as a bundle labels it, tile by tile.

    Args:
        finished: called with finished rows of labels, uint8 [R, W], and the number of the first.

    Returns:
        The joined scores of its tiles, [1, C, h, w].
    """

    preprocess = validation.preprocess

    @torch.inference_mode()
    def run(tile_HWN: Raster) -> tuple[Labels, Scores]:
        scores_1Chw = network(preprocess(torch.from_numpy(tile_HWN)[None]).to(device))[:, : len(validation.classes)]
        return labels_at_size(scores_1Chw[0], tile_HWN.shape[:2]), scores_1Chw[0].cpu().numpy()

    tile = native_tile(preprocess.size, validation.usual_size if preprocess.even_exposure else None)
    plan = tiling((image.shape[0], image.shape[1]), tile, overlap_of(tile))
    mosaic = Mosaic(plan.rows, plan.columns)
    for top, labels_RW in label_tiles(plan, lambda first, stop: image[first:stop], run, scored=mosaic.add):
        finished(top, labels_RW)
    assert mosaic.scores is not None
    return torch.from_numpy(mosaic.scores)[None].to(device)


def batches(
    validation: Validation, own: Sequence[int] | None = None
) -> Iterator[tuple[Tensor | Picture, Sequence[Mask]]]:
    """Batches of neighbouring images with one network input size, and their masks at their own sizes.

    Large images come in smaller batches. Images that are tiled (`is_cut`, under `native`) come alone and unprocessed:
    no Tensor, but as `Pairs` has them.

    Args:
        own: which pairs; None: all.
    """
    images: list[Tensor] = []
    masks: list[Mask] = []
    for index in range(len(validation.pairs)) if own is None else own:
        image, mask = validation.pairs[index]
        policy = validation.preprocess.policy
        if policy == "native" and is_cut((mask.shape[0], mask.shape[1]), policy):
            if images:
                yield torch.cat(images), masks
                images, masks = [], []
            yield image, [mask]
            continue
        image_1Nhw = network_input(validation.preprocess, image)
        seen = (len(images) + 1) * image_1Nhw.shape[2] * image_1Nhw.shape[3]
        waiting = sum(math.prod(one.shape) for one in masks)
        full = len(images) == validation.batch or seen > BATCH_PIXELS or waiting > BATCH_MASK_PIXELS
        if images and (full or images[-1].shape != image_1Nhw.shape):
            yield torch.cat(images), masks
            images, masks = [], []
        images.append(image_1Nhw)
        masks.append(mask)
    if images:
        yield torch.cat(images), masks


class OneImage:
    """A large image as a batch of one that `Preprocess.of_any_size` resizes in groups of rows."""

    def __init__(self, image: Picture) -> None:
        self.image, self.shape = image, (1, *image.shape)

    def __getitem__(self, key: tuple[slice, slice]) -> Tensor:
        return torch.from_numpy(self.image[key[1]])[None]


def network_input(preprocess: Preprocess, image: Picture) -> Tensor:
    """Image [H, W, N] → network input [1, N, h, w]."""
    if isinstance(image, np.ndarray) or math.prod(image.shape) <= 3 * LARGE_PIXELS:
        return preprocess.of_any_size(torch.from_numpy(np.asarray(image))[None])
    return preprocess.of_any_size(cast(Tensor, OneImage(image)))


def seen_mask(mask_HW: Mask, size: tuple[int, int]) -> Labels:
    """The mask at the network's input size."""
    return crop_mask(mask_HW, Crop(0, 0, mask_HW.shape[0], mask_HW.shape[1], mirrored=False), size)
