"""Reported before the first step: pixels per class at the network's input size, and the four stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise.datasets.read_sample import read_sample_image
from pixelwise.images.false_colour import false_colour
from pixelwise.images.files import shown
from pixelwise.model.network import Network
from pixelwise.model.preprocess import Preprocess, labels_from_scores, network_size, resize_scores
from pixelwise.prediction.flow_events import STAGES, coloured, flow_event
from pixelwise.prediction.large.tile_plan import is_cut
from pixelwise.records import VOID, Dataset, Labels, Raster, Sample
from pixelwise.trace_events import Event, Listener
from pixelwise.training.augment import Mask, generator
from pixelwise.training.calibration_images import as_taken, reduced_image
from pixelwise.training.class_positions import PositionSampler, most_positions
from pixelwise.training.disk_copies import strips_of
from pixelwise.training.loader import Pairs
from pixelwise.training.recipe import Recipe

SEEN_PIXELS = 1 << 22  # counted at a time
POSITIONS = 2**63  # takes the place of the epoch in their random generator

Progress = Callable[[str, int, int], None]  # what is being done, done, total


def pixels_as_seen(pairs: Pairs, recipe: Recipe, classes: int, progress: Progress) -> list[int]:
    """Pixels of each class at the network's input size, where thin objects may have vanished.

    In the same pass, `pairs` gets the positions of some pixels of each class.
    """
    counts = np.zeros(256, np.int64)
    most = most_positions(len(pairs), classes)
    for index in range(len(pairs)):
        mask_HW = pairs[index][1]
        size = network_size(mask_HW.shape[0], mask_HW.shape[1], recipe.size, recipe.policy)
        counts += counts_as_seen(mask_HW, size)
        sampler = PositionSampler(most, generator(recipe.seed, POSITIONS, index))
        for top, strip in strips_of(mask_HW):
            sampler.add(top, strip, np.bincount(strip.ravel(), minlength=256))
        pairs.class_positions.keep(index, sampler)
        progress("loading images", index + 1, len(pairs))
    return [int(count) for count in counts[:classes]]


def counts_as_seen(mask_HW: Mask, size: tuple[int, int]) -> NDArray[np.int64]:
    """Pixels of each value in a mask at the network's input size, [256], counted in groups of rows."""
    height, width = mask_HW.shape
    rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(int)  # as `crop_mask`
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(int)
    counts = np.zeros(256, np.int64)
    at_once = max(SEEN_PIXELS // max(size[1], width), 1)
    for first in range(0, size[0], at_once):
        seen_RW = mask_HW[rows[first : first + at_once], :][:, columns]
        counts += np.bincount(seen_RW.ravel(), minlength=256)
    return counts


def data_event(
    dataset: Dataset, used: Mapping[str, Sequence[Sample]], pixels_C: Sequence[int], problems: list[dict[str, Any]]
) -> Event:
    """The "data" event: pixels per class at the network's input size, with a warning for each class that has none."""
    names = dataset.classes.names
    warnings = [
        f"class {name} has no pixels at the network's input size: the model cannot learn it"
        for name, pixels in zip(names, pixels_C, strict=True)
        if pixels == 0
    ]
    return {
        "event": "data",
        "root": shown(dataset.root),
        "layout": dataset.layout,
        "pairs": {split: len(samples) for split, samples in used.items()},
        "classes": dataset.classes.to_json(),
        "pixels": dict(zip(names, pixels_C, strict=True)),
        "warnings": warnings,
        "problems": problems,
        "notes": list(dataset.notes),
    }


@torch.inference_mode()
def show_flow(network: Network, preprocess: Preprocess, pairs: Pairs, dataset: Dataset, tell: Listener) -> None:
    """Run one training image through the four stages and report each, before the first epoch.

    Of a large image a part is shown: see `reduced_image`.
    """
    network.eval()
    pairs[0]  # read once before the time is taken
    opened = time.perf_counter()
    image_HWN, mask_HW = first_example(pairs, preprocess)
    began = time.perf_counter()
    seen_1Nhw = preprocess.of_any_size(torch.from_numpy(image_HWN)[None])
    preprocessed = time.perf_counter()
    size = (seen_1Nhw.shape[2], seen_1Nhw.shape[3])
    device = next(network.parameters()).device
    scores_1Chw = resize_scores(network(seen_1Nhw.to(device))[:, : len(dataset.classes)], size).cpu()
    scored = time.perf_counter()
    labels_hw = labels_from_scores(scores_1Chw, size)[0].numpy()
    labelled = time.perf_counter()
    picture = ((seen_1Nhw * preprocess.std + preprocess.mean) * 255).round().clamp(0, 255)[0].permute(1, 2, 0)
    picture_hwN = picture.to(torch.uint8).numpy()
    on_255 = replace(pairs.bands, low=(0.0,) * len(pairs.bands), high=(255.0,) * len(pairs.bands))
    picture_hw3, shown_HW3 = false_colour(picture_hwN, on_255), false_colour(image_HWN, pairs.bands)
    name = pairs.samples[0].name
    tell(flow_event(STAGES[0], image_HWN, 1e3 * (began - opened), picture=shown_HW3, image=name))
    seen_hwN = picture_hwN.astype(np.float32) / 255
    tell(flow_event(STAGES[1], seen_hwN, 1e3 * (preprocessed - began), picture=picture_hw3, image=name))
    scores_hwC = scores_1Chw[0].permute(1, 2, 0).numpy()
    tell(flow_event(STAGES[2], scores_hwC, 1e3 * (scored - preprocessed), image=name, classes=len(dataset.classes)))
    mask = coloured(labels_hw, dataset.classes)
    labelled_share = float((mask_HW != VOID).mean())
    tell(
        flow_event(
            STAGES[3], labels_hw, 1e3 * (labelled - scored), picture=mask, image=name, labelled_share=labelled_share
        )
    )


def first_example(pairs: Pairs, preprocess: Preprocess) -> tuple[Raster, Labels]:
    """The first pair, its image read again; of a large one, what the network can take at once."""
    image, mask = pairs[0]
    if isinstance(image, np.ndarray) and not is_cut((mask.shape[0], mask.shape[1]), preprocess.policy):
        return read_sample_image(pairs.samples[0], pairs.bands), np.asarray(mask)
    labels: Any = reduced_image(mask, preprocess.policy)
    return as_taken(reduced_image(image, preprocess.policy), pairs.bands), labels
