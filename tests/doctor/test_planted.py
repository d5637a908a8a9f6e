"""The doctor on planted faults: each is found, nothing is found without one, and the repaired copy is sound."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import planted
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.doctor.check import check
from pixelwise.doctor.findings import find_problems
from pixelwise.doctor.fix import Decisions
from pixelwise.images.image_files import read_mask_ids

DECISIONS = {
    "a mask lies on its side": Decisions(turn="right"),
}
# Masks that come back as they were drawn, every pixel, once their ids are put in order.
EXACT = (
    "names differ in case",
    "names differ in Unicode form",
    "three equal channels",
    "grey steps",
    "grey steps up to 255",
    "gaps",
    "counted from 1",
    "16-bit",
    "floats",
    "class × 1000 + number",
    "a mask lies on its side",
)


@pytest.fixture(scope="session")
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.sound(tmp_path_factory.mktemp("planted") / "sound")


def test_forty_faults_and_more_are_planted() -> None:
    assert len(planted.FAULTS) >= 40


def test_nothing_is_invented(sound_folder: Path) -> None:
    report = check(sound_folder)
    assert report.findings.problems == ()
    assert report.questions == ()
    assert report.sound
    assert report.pairs == planted.TRAIN + planted.VAL


@pytest.mark.parametrize("fault", planted.FAULTS)
def test_a_planted_fault_is_found_and_mended(sound_folder: Path, tmp_path: Path, fault: str) -> None:
    kind, plant = planted.FAULTS[fault]
    root, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(sound_folder, root)
    plant(root)
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*")}
    report = check(root, fix=out, decisions=DECISIONS.get(fault))
    if kind:
        assert kind in {problem.kind for problem in report.findings.problems}
    else:
        assert any("--void 255" in note for note in report.notes)
    assert before == {path: path.lstat().st_mtime_ns for path in root.rglob("*")}, "check changed the data"
    json.dumps(report.to_json(), allow_nan=False)

    mended = open_dataset(out)
    assert mended.layout == "native"
    assert find_problems(mended).errors == ()
    if kind != "one-class":
        assert len(mended.classes) >= 2
    lines = [json.loads(line) for line in (out / "repairs.jsonl").read_text("utf-8").splitlines()]
    assert lines[0]["source"] == str(root)
    for line in lines[1:]:
        assert line.get("left_out") or all(change["reversible"] for change in line["changes"])
    if fault in EXACT:
        for path in sorted(out.glob("*/masks/*.png")):
            drawn = sound_folder / path.relative_to(out)
            if drawn.exists():
                assert np.array_equal(read_mask_ids(path), read_mask_ids(drawn)), path


def test_a_mask_is_turned_like_its_image(sound_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(sound_folder, root)
    planted.FAULTS["an image is turned by EXIF"][1](root)
    check(root, fix=tmp_path / "out")
    name = planted.masks(root)[0].name
    turned = read_mask_ids(tmp_path / "out/train/masks" / name)
    assert np.array_equal(turned, np.rot90(read_mask_ids(planted.masks(root)[0]), -1))


@pytest.mark.parametrize("fault", ["0 and 255", "objects' numbers", "grey steps up to 255"])
def test_the_only_sensible_reading_is_taken_and_told(sound_folder: Path, tmp_path: Path, fault: str) -> None:
    root = tmp_path / "data"
    shutil.copytree(sound_folder, root)
    planted.FAULTS[fault][1](root)
    report = check(root, fix=tmp_path / "out")
    assert report.sound
    assert report.all_well
    assert not report.questions
    told = [*report.notes, *(f"{problem.message} {problem.remedy}" for problem in report.findings.warnings)]
    assert any("--class" in line or "--void" in line for line in told)
