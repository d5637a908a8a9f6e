"""The positions that crops are centred on: right, uniform, bounded, and the same in every process."""

import json

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixelwise.records import VOID, Labels
from pixelwise.training.class_positions import MOST_IN_ALL, ClassPositions, PositionSampler, most_positions


def sampled(mask_HW: Labels, rows: int, most: int = 256, seed: int = 0) -> PositionSampler:
    """The sample of a mask that arrives in strips of `rows`."""
    sampler = PositionSampler(most, np.random.default_rng(seed))
    for top in range(0, len(mask_HW), rows):
        strip = mask_HW[top : top + rows]
        sampler.add(top, strip, np.bincount(strip.ravel(), minlength=256))
    return sampler


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 50), height=st.integers(1, 40), most=st.integers(1, 40))
def test_positions_lie_in_their_class_and_none_occurs_twice(seed: int, rows: int, height: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 1, 7, VOID], np.uint8), (height, 13), p=(0.7, 0.2, 0.05, 0.05))
    found = sampled(mask, rows, most, seed).found
    assert set(found) == set(np.unique(mask)) - {VOID}
    for class_id, places in found.items():
        assert places.dtype == np.int32
        assert len(np.unique(places, axis=0)) == len(places) == min((mask == class_id).sum(), most)
        assert (mask[places[:, 0], places[:, 1]] == class_id).all()


def test_every_pixel_is_as_likely_whether_the_mask_comes_whole_or_in_strips() -> None:
    mask = np.zeros((30, 10), np.uint8)
    mask[0, :5] = mask[7, :5] = mask[29, :5] = 1
    for rows in (1, 4, 30):
        counts = np.zeros(mask.shape, int)
        for seed in range(600):
            places = sampled(mask, rows, 5, seed).found[1]
            np.add.at(counts, (places[:, 0], places[:, 1]), 1)
        drawn = counts[mask == 1]  # 200 expected; the standard deviation is 11.5
        assert drawn.min() > 140
        assert drawn.max() < 260


def test_in_a_large_mask_frequent_and_rare_classes_are_sampled_over_the_whole_of_it() -> None:
    mask = np.zeros((1200, 1000), np.uint8)
    mask[:, 500:] = 1
    mask[1100:1103, 20] = 2
    found = sampled(mask, 1200).found
    assert {class_id: len(places) for class_id, places in found.items()} == {0: 256, 1: 256, 2: 3}
    for class_id in (0, 1):
        rows, columns = found[class_id].T
        assert 450 < rows.mean() < 750
        assert 150 < columns.mean() - 500 * class_id < 350
        assert (mask[rows, columns] == class_id).all()


def test_the_positions_of_a_dataset_are_bounded() -> None:
    assert most_positions(10, 3) == 256
    for images, classes in ((1_000, 150), (30_000, 12), (100_000, 150)):
        assert 4 <= most_positions(images, classes) <= MOST_IN_ALL // (images * min(classes, 16)) + 4


def test_other_processes_get_the_same_positions() -> None:
    first = ClassPositions()
    for image in (0, 3):
        first.keep(image, sampled(np.eye(20, dtype=np.uint8), 7, 9, image))
    told: dict[str, Tensor] = {}

    def broadcast(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        told.update(tensors or told)
        return {
            name: torch.tensor(json.loads(json.dumps(each.tolist())), dtype=each.dtype) for name, each in told.items()
        }

    assert first.shared(broadcast).found.keys() == first.found.keys()
    other = ClassPositions().shared(lambda tensors: broadcast({}))
    for image in (0, 1, 3):
        for class_id in (0, 1, 2):
            assert (other.of(image, class_id) == first.of(image, class_id)).all()
            assert other.of(image, class_id).shape == first.of(image, class_id).shape


def test_without_positions_there_are_none_for_other_processes_either() -> None:
    assert ClassPositions().shared(lambda tensors: tensors).of(0, 0).shape == (0, 2)
