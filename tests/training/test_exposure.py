"""Exposure is normalised alike in training and in prediction, also where training takes crops of larger images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixelwise.model.preprocess import Preprocess
from pixelwise.records import Sample
from pixelwise.training.batch_order import CropKey
from pixelwise.training.disk_copies import DiskCopies
from pixelwise.training.loader import Augmentation, CropDataset, Pairs

SIDE, CROP = 256, 64


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A photo of low contrast, dark on the left, bright on the right. Its mask says which column a pixel is in."""
    rng = np.random.default_rng(0)
    image = np.linspace(60, 130, SIDE)[None, :, None] + rng.normal(0, 6, (SIDE, SIDE, 3))
    Image.fromarray(image.round().astype(np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(np.broadcast_to(np.arange(SIDE, dtype=np.uint8) // 2, (SIDE, SIDE)).copy()).save(tmp_path / "m.png")
    return Sample("photo", tmp_path / "image.png", tmp_path / "m.png")


def crops_of(sample: Sample, cache_mb: int, copies: DiskCopies | None = None) -> CropDataset:
    pairs = Pairs([sample], {}, 128, cache_mb, copies)
    how = Augmentation((CROP, CROP), "native", (1.0, 1.0), flip=False, light=0.0, seed=0, even_exposure=True)
    return CropDataset(pairs, how)


def test_a_crop_of_an_image_enters_the_network_as_that_part_of_the_whole_image_does(sample: Sample) -> None:
    crops = crops_of(sample, 64)
    with Image.open(sample.image) as opened:
        whole = torch.from_numpy(np.asarray(opened).copy())[None]
    mean, std = (0.5,) * 3, (0.25,) * 3
    predicted_3HW = Preprocess((CROP, CROP), "native", mean, std, even_exposure=True)(whole)[0]
    of_crops = Preprocess((CROP, CROP), "stretch", mean, std, even_exposure=False)
    each_alone = Preprocess((CROP, CROP), "stretch", mean, std, even_exposure=True)
    away = 0.0
    for epoch in range(8):
        crop_hw3, mask_hw = crops[CropKey(epoch, 0, epoch)]
        column = 2 * int(mask_hw[0].float().median())
        expected = float(predicted_3HW[:, :, max(column - 2, 0) : column + 3].mean())
        middle = (mask_hw == column // 2)[None].expand(3, -1, -1)
        entered = of_crops.normalise(crop_hw3[None].permute(0, 3, 1, 2))[0]
        assert float(entered[middle].mean()) == pytest.approx(expected, abs=0.08)
        with Image.open(sample.image) as opened:
            left = max(column - CROP // 2, 0)
            raw = torch.from_numpy(np.asarray(opened)[:CROP, left : left + CROP].copy())
        alone = each_alone.normalise(raw[None].permute(0, 3, 1, 2))[0]
        away = max(away, abs(float(alone[:, :, CROP // 2].mean()) - expected))
    assert away > 0.5, "normalised each for itself, crops would differ from their image"


def test_exposure_is_the_same_from_memory_and_from_windows(sample: Sample, tmp_path: Path) -> None:
    in_memory, decoded_each_time, key = crops_of(sample, 64), crops_of(sample, 0), CropKey(3, 0, 3)
    assert in_memory.pairs.exposure(0) == decoded_each_time.pairs.exposure(0)
    assert torch.equal(in_memory[key][0], decoded_each_time[key][0])
    from_disk = crops_of(sample, 0, DiskCopies(tmp_path / "copies"))
    assert from_disk.pairs.exposure(0) == in_memory.pairs.exposure(0)
