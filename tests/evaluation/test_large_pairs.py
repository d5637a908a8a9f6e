"""Of large pairs one at a time is in memory; small ones are worked on beside it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from pixelwise.evaluation import labelled_pairs
from pixelwise.records import ClassList, Dataset, Sample

SIDES = (4, 9, 9, 4, 9, 4, 4, 9, 9, 4)  # of each image; those of 9 are large here


def test_large_pairs_are_held_one_at_a_time_and_results_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = tuple(Sample(str(i), Path(f"{i}.png"), Path(f"{i}.png")) for i in range(len(SIDES)))
    dataset = Dataset(Path("data"), "native", ClassList(("a", "b"), ((0, 0, 0), (9, 9, 9))), {"val": samples})
    lock = threading.Lock()
    at_work, most, read = 0, 0, 0

    def read_pair(_dataset: Dataset, sample: Sample) -> labelled_pairs.Pair:
        nonlocal read
        side = SIDES[int(sample.name)]
        with lock:
            read += 1
        return sample, np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8)

    def work(pair: labelled_pairs.Pair, turn: int) -> tuple[int, int]:
        nonlocal at_work, most
        large = pair[2].size > labelled_pairs.LARGE_PX
        with lock:
            at_work += large
            most = max(most, at_work)
        threading.Event().wait(0.01)
        with lock:
            at_work -= large
        return turn, len(pair[2])

    monkeypatch.setattr(labelled_pairs, "LARGE_PX", 50)
    monkeypatch.setattr(labelled_pairs, "read_pair", read_pair)
    for alone in (0, 3):
        found = list(labelled_pairs.in_order(dataset, samples, work, 0, 4, alone))
        assert found == list(enumerate(SIDES))
    assert most == 1
    assert read <= 2 * len(SIDES) + 3  # at most three others have read one before the first was known to be large


def test_what_a_large_pair_raises_leaves_the_others_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled_pairs, "LARGE_PX", 50)
    samples = tuple(Sample(str(i), Path(f"{i}.png"), Path(f"{i}.png")) for i in range(3))
    dataset = Dataset(Path("data"), "native", ClassList(("a",), ((0, 0, 0),)), {"val": samples})
    monkeypatch.setattr(
        labelled_pairs,
        "read_pair",
        lambda _, sample: (sample, np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8)),
    )

    def work(_pair: labelled_pairs.Pair, turn: int) -> int:
        if turn == 0:
            raise ValueError("of the first")
        return turn

    with pytest.raises(ValueError, match="of the first"):
        list(labelled_pairs.in_order(dataset, samples, work, 0, 2, 0))
