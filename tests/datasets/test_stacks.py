"""Slices of one stack are recognised by what is in them, and held out as one block."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.splits import hashed_split
from pixelwise.records import Dataset, Sample


def slices(root: Path, count: int, *, alike: bool) -> Path:
    """Numbered images: slices of smooth noise that changes slowly with depth, or independent ones."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    noise = rng.normal(0, 1, (count + 3, 64, 64)).astype(np.float32)
    for i in range(count):
        own = noise[i : i + 3].sum(axis=0) if alike else noise[i]
        picture = cv2.normalize(cv2.GaussianBlur(own, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
        Image.fromarray(picture).save(root / f"images/{i}.png")
        Image.fromarray((picture > 128).astype(np.uint8)).save(root / f"masks/{i}.png")
    return root


def held_out(dataset: Dataset) -> list[int]:
    return sorted(int(sample.image.stem) for sample in dataset.splits["val"])


def test_the_end_of_a_stack_is_held_out_as_a_block(tmp_path: Path) -> None:
    dataset = open_dataset(slices(tmp_path, 20, alike=True))
    assert held_out(dataset) == [16, 17, 18, 19]  # by number, not by name: 2 comes before 10
    note = next(note for note in dataset.notes if "Split into" in note)
    assert "Each image is most like its neighbour, so val is one block of them, images/16 to images/19" in note
    assert held_out(open_dataset(tmp_path, seed=5)) == [16, 17, 18, 19]


def test_numbers_alone_do_not_make_a_stack(tmp_path: Path) -> None:
    dataset = open_dataset(slices(tmp_path, 20, alike=False))
    assert held_out(dataset) != [16, 17, 18, 19]
    assert len(held_out(dataset)) == 4
    assert not any("neighbour" in note for note in dataset.notes)


@pytest.mark.parametrize(("count", "val"), [(2, 1), (3, 1), (6, 1), (7, 1), (8, 2), (20, 4), (49, 10)])
def test_few_samples_give_val_their_rounded_share(count: int, val: int) -> None:
    samples = [Sample(f"images/{i * 2654435761 % 2**32:08x}", Path(f"{i}.png"), None) for i in range(count)]
    train, held = hashed_split(samples, 0, 0.2)
    assert (len(train), len(held)) == (count - val, val)


def test_samples_of_one_group_stay_together() -> None:
    samples = [
        Sample(f"v{i}_slice{j}", Path(f"{i}.nii"), None, f"nifti:{j}", group=f"v{i}")
        for i in range(5)
        for j in range(4)
    ]
    train, held = hashed_split(samples, 3, 0.2)
    assert len(held) == 4
    assert not {sample.group for sample in train} & {sample.group for sample in held}
