"""Names that are no UTF-8, as other systems leave them: data are read, checked, repaired and converted all the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.datasets.convert import convert
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.doctor.check import check
from pixelwise.images.files import utf8
from pixelwise.trace_events import read_events, to_file

STRANGE = b"caf\xe9"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six pairs in a folder, and under names, that are no UTF-8."""
    root = os.fsencode(tmp_path) + b"/" + STRANGE
    try:
        for kind in (b"images", b"masks"):
            Path(os.fsdecode(root + b"/" + kind)).mkdir(parents=True)
            for i in range(6):
                mask = np.zeros((32, 32), np.uint8)
                mask[4 : 10 + i, 4:20] = 1
                picture = mask if kind == b"masks" else np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(picture).save(os.fsdecode(b"%s/%s/%s%d.png" % (root, kind, STRANGE, i)))
    except (OSError, UnicodeError):
        pytest.skip("this file system has names in UTF-8 only")
    return Path(os.fsdecode(root))


def test_data_are_checked_repaired_and_converted(data: Path, tmp_path: Path) -> None:
    report = check(data, fix=tmp_path / "fixed")
    assert report.pairs == 6
    assert not report.findings.errors
    json.dumps(report.to_json()).encode()
    str(report).encode()
    lines = (tmp_path / "fixed/repairs.jsonl").read_text("utf-8").splitlines()
    assert len([json.loads(line) for line in lines]) == 7
    for name in ("coco", "cvat", "labelme", "labelstudio", "yolo", "voc"):
        there = convert(data, tmp_path / name, name)
        assert sum(map(len, there.splits.values())) == 6
        assert not [problem for problem in there.problems if problem.severity == "error"]
    assert sum(map(len, open_dataset(tmp_path / "fixed").splits.values())) == 6


def test_events_are_written_and_come_back(data: Path, tmp_path: Path) -> None:
    tell = to_file(tmp_path / "trace.jsonl")
    tell({"event": "data", "root": str(data)})
    (event,) = read_events(tmp_path / "trace.jsonl")
    assert event["root"] == str(data)
    assert json.loads(utf8(json.dumps({"a": "\udce9 é"}, ensure_ascii=False))) == {"a": "\udce9 é"}


def test_checkpoints_come_back_from_such_a_folder(data: Path) -> None:
    torch = pytest.importorskip("torch")
    from pixelwise.training.checkpoint import load_checkpoint, save_checkpoint

    path = save_checkpoint(data, 1, {"a": torch.arange(3)}, {"epoch": 1})
    tensors, state = load_checkpoint(path)
    assert state == {"epoch": 1}
    assert tensors["a"].tolist() == [0, 1, 2]
