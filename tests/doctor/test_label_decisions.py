"""Decisions on labels outlive a renamed class: its mask values say which one it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import picture
from pixelwise.datasets.masks.value_meaning import Meaning
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.doctor.check import check
from pixelwise.doctor.fix import Decisions
from pixelwise.doctor.label_decisions import LabelDecision, decision_of, values_of
from pixelwise.errors import UsageError
from pixelwise.images.image_files import read_mask_ids, write_png
from pixelwise.records import VOID, ClassList

MADE = LabelDecision("a", (2, 1, 3, 2), "1", "relabel", "2", (0, 6), ("1",), ("2",))


def meaning(names: tuple[str, ...], numbers: dict[int, int]) -> Meaning:
    return Meaning(ClassList(names, ((0, 0, 0),) * len(names)), numbers, {})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three values without names; a region of 1 that should be 2."""
    for i, name in enumerate("abc"):
        for part in ("images", "masks"):
            (tmp_path / "data/train" / part).mkdir(parents=True, exist_ok=True)
        write_png(tmp_path / f"data/train/images/{name}.png", np.ascontiguousarray(picture(i, 24, 32)))
        mask = np.zeros((24, 32), np.uint8)
        mask[:, 10:20], mask[:, 20:] = 1, 2
        mask[1:3, 2:5] = 1
        write_png(tmp_path / f"data/train/masks/{name}.png", mask)
    return tmp_path / "data"


def decided(path: Path, one: LabelDecision) -> Decisions:
    splits = open_dataset(path.parent / "data").splits.values()
    name = next(sample.name for samples in splits for sample in samples if sample.image.stem == "a")
    path.write_text(json.dumps({**one.to_json(), "sample": name}) + "\n", encoding="utf-8")
    return Decisions(label_decisions=str(path))


@pytest.mark.parametrize(
    ("classes", "void", "becomes"),
    [({"ground": ["0"], "kerb": ["1"], "road": ["2"]}, (), 2), ({"ground": ["0"], "kerb": ["1"]}, ("2",), VOID)],
)
def test_a_renamed_class_is_known_by_its_values(
    data: Path, tmp_path: Path, classes: dict[str, list[str]], void: tuple[str, ...], becomes: int
) -> None:
    report = check(
        data, fix=tmp_path / "out", classes=classes, void=void, decisions=decided(tmp_path / "d.jsonl", MADE)
    )
    assert report.left_out == 0
    masks = {path.stem: read_mask_ids(path) for path in (tmp_path / "out").rglob("masks/*.png")}
    assert np.unique(masks["a"][1:3, 2:5]).tolist() == [becomes]
    assert np.unique(masks["b"][1:3, 2:5]).tolist() == [1]


def test_without_values_a_renamed_class_is_named(data: Path, tmp_path: Path) -> None:
    old = LabelDecision(MADE.sample, MADE.box, "1", "void", "", MADE.runs)
    with pytest.raises(UsageError, match="1 is none of the classes"):
        check(data, fix=tmp_path / "out", classes={"a": ["0"], "b": ["1", "2"]},
              decisions=decided(tmp_path / "d.jsonl", old))  # fmt: skip


def test_names_follow_their_values_and_come_back_from_a_file() -> None:
    assert decision_of(json.loads(json.dumps(MADE.to_json()))) == MADE
    swapped = meaning(("2", "1"), {1: 0, 2: 1})
    assert MADE.renamed(swapped).labelled == "2"
    assert MADE.renamed(swapped).to == "1"
    gone = MADE.renamed(meaning(("2",), {1: VOID, 2: 0}))
    assert (gone.labelled, gone.to) == ("", "2")
    assert np.unique(gone.applied(np.full((5, 6), VOID, np.uint8), ClassList(("2",), ((0, 0, 0),)))[0]).tolist() == [
        0,
        VOID,
    ]
    merged = LabelDecision("a", (0, 0, 1, 1), "x", "void", "", (0, 1), ("1", "2"))
    assert merged.renamed(meaning(("all",), {1: 0, 2: 0})).labelled == "all"
    with pytest.raises(ValueError, match="'x' has become one and two"):
        merged.renamed(meaning(("one", "two"), {1: 0, 2: 1}))
    assert values_of("all", meaning(("all",), {1: 0, 7: 0})) == ("1", "7")
    assert values_of("none", meaning(("all",), {1: 0})) == ()
