"""The folds of a cross-validation: each sample held out once, groups whole, sizes equal as far as groups allow."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.datasets.folds import grouped_folds, pooled_groups
from pixelwise.datasets.groups import Groups, found_groups
from pixelwise.errors import UsageError
from pixelwise.records import Sample


def samples_of(names: list[str], group: str = "") -> list[Sample]:
    return [Sample(name, Path("/data") / f"{name}.png", None, group=group) for name in names]


def sizes(folds: list[tuple[list[Sample], list[Sample]]]) -> list[int]:
    return sorted(len(held_out) for _, held_out in folds)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[list[Sample], Groups, int]:
    groups = draw(st.lists(st.integers(1, 6), min_size=2, max_size=12))
    singles = draw(st.integers(0, 8))
    k = draw(st.integers(2, len(groups) + singles))
    of = {f"{group}/{i}": f"g{group}" for group, size in enumerate(groups) for i in range(size)}
    names = draw(st.permutations([*of, *(f"single/{i}" for i in range(singles))]))
    return samples_of(names), Groups(of, "a test"), k


@given(grouped(), st.integers(0, 3))
def test_every_sample_is_held_out_once_and_groups_stay_whole(case: tuple[list[Sample], Groups, int], seed: int) -> None:
    samples, groups, k = case
    folds = grouped_folds(samples, k, seed, groups)
    assert len(folds) == k
    assert sorted(s.name for _, held_out in folds for s in held_out) == sorted(s.name for s in samples)
    for train, held_out in folds:
        assert train
        assert held_out
        assert [s for s in samples if s in train] == train
        assert [s for s in samples if s in held_out] == held_out
        assert sorted(s.name for s in (*train, *held_out)) == sorted(s.name for s in samples)
        own = [{groups.of[s.name] for s in part if s.name in groups.of} for part in (train, held_out)]
        assert not own[0] & own[1]
    largest = max(list(groups.of.values()).count(group) for group in set(groups.of.values()))
    assert sizes(folds)[-1] - sizes(folds)[0] <= largest
    reordered = grouped_folds(samples[::-1], k, seed, groups)
    assert [{s.name for s in part} for _, part in reordered] == [{s.name for s in part} for _, part in folds]


@given(st.integers(2, 40), st.integers(2, 10), st.integers(0, 3))
def test_without_groups_sizes_differ_by_one_at_most(count: int, k: int, seed: int) -> None:
    samples = samples_of([f"photo {i}" for i in range(count)])
    if count < k:
        with pytest.raises(UsageError, match=f"{k} folds, but only {count} labelled images"):
            grouped_folds(samples, k, seed, Groups({}))
        return
    found = sizes(grouped_folds(samples, k, seed, Groups({})))
    assert found[-1] - found[0] <= 1


@given(st.integers(2, 60), st.integers(2, 9))
def test_one_stack_is_cut_into_blocks(count: int, k: int) -> None:
    names = [f"stack/{i}" for i in range(count)]  # without leading zeros: 10 follows 9, not 1
    if count < k:
        return
    folds = grouped_folds(samples_of(names, "stack.tif"), k)
    assert [s.name for _, held_out in folds for s in held_out] == names
    assert sizes(folds)[-1] - sizes(folds)[0] <= 1


def test_another_seed_gives_other_folds() -> None:
    samples = samples_of([f"photo {i}" for i in range(20)])
    one, other = (grouped_folds(samples, 4, seed, Groups({})) for seed in (0, 1))
    assert one != other


def test_fewer_groups_than_folds_names_both() -> None:
    samples = [*samples_of(["a/1", "a/2", "a/3"], "a.nii"), *samples_of(["b/1", "b/2", "b/3"], "b.nii")]
    with pytest.raises(
        UsageError, match=r"5 folds, but the 6 labelled images are of only 2 groups, .* at most --folds 2"
    ):
        grouped_folds(samples, 5)
    assert sizes(grouped_folds(samples, 2)) == [3, 3]


def test_a_folder_that_is_a_whole_split_is_no_group() -> None:
    splits = {
        split: samples_of([f"{split}/images/{i:04}" for i in range(count)])
        for split, count in (("train", 8), ("val", 4))
    }
    everything = [*splits["train"], *splits["val"]]
    assert len(found_groups(everything)) == 2, "the case that is meant"
    assert not pooled_groups(splits).of
    assert sizes(grouped_folds(everything, 3, 0, pooled_groups(splits))) == [4, 4, 4]
    volumes = {split: samples_of([s.name for s in own], f"{split}.nii") for split, own in splits.items()}
    assert len(pooled_groups(volumes)) == 2, "two volumes that the files name stay whole"
    scans = {split: samples_of([f"{split}/patient{i // 3}_slice{i}" for i in range(9)]) for split in ("train", "val")}
    assert len(pooled_groups(scans)) == 6


def test_one_image_and_one_fold_are_errors() -> None:
    with pytest.raises(UsageError, match="only 1 labelled image: add"):
        grouped_folds(samples_of(["a"]), 3)
    with pytest.raises(UsageError, match="at least 2"):
        grouped_folds(samples_of(["a", "b"]), 1)
