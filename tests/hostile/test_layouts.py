"""Tables of names, lists of splits and file names from anywhere: damaged ones end in a dataset or a message."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.doctor.check import check
from pixelwise.errors import PixelwiseError

FILES = {
    "_classes.csv": "Pixel Value, Class\n0, background\n1, road\n",
    "class_dict.csv": "name,r,g,b\nroad,128,64,128\ncar,0,0,142\n",
    "labels.txt": "background\nroad\n",
    "label_map.json": '{"labels": {"background": 0, "road": 1}}',
    "data.yaml": "names:\n  0: background\n  1: road\n",
    "split.csv": "filename,split\n0.png,train\n1.png,val\n",
    "splits.json": '[{"train": ["0", "1"], "val": ["2"]}]',
    "val.txt": "images/0.png masks/0.png\n1\n",
    "dataset.toml": 'groups = "[0-9]"\n',
}
PIECES = [
    b"\0",
    b"\xff\xfe",
    b'"',
    b"[",
    b"{",
    b"9" * 400,
    b"1e999",
    b"-1",
    b"../../x",
    b"\n",
    b",,,,",
    b"null",
    b"[" * 3000,
]


def mutated(text: str, rng: random.Random) -> bytes:
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        if rng.random() < 0.3:
            del data[at : at + rng.randint(1, 8)]
        else:
            data[at:at] = rng.choice(PIECES)
    return bytes(data)


@pytest.mark.parametrize("name", FILES)
def test_damaged_tables_and_lists_end_in_a_dataset_or_a_message(name: str, tmp_path: Path) -> None:
    for i in range(4):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(np.resize(np.arange(2, dtype=np.uint8), (8, 8))).save(tmp_path / folder / f"{i}.png")
    rng = random.Random(name)
    for _ in range(40):
        (tmp_path / name).write_bytes(mutated(FILES[name], rng))
        try:
            dataset = open_dataset(tmp_path)
        except PixelwiseError:
            continue
        assert sum(map(len, dataset.splits.values())) <= 4


def test_links_that_go_round_in_a_circle_are_no_traceback(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").symlink_to(tmp_path / folder / "b.png")
        (tmp_path / folder / "b.png").symlink_to(tmp_path / folder / "a.png")
    report = check(tmp_path)
    assert not report.sound


def test_endless_lines_of_lists_and_names_take_no_time(tmp_path: Path) -> None:
    """Patterns that try every beginning of a line take a time that grows by its square: such lines are no names."""
    endless = "x" * 200_000
    camvid = tmp_path / "camvid"
    for folder in ("train", "trainannot"):
        (camvid / folder).mkdir(parents=True)
        Image.new("L", (8, 8)).save(camvid / folder / "a.png")
    (camvid / "train.txt").write_text(f"train/a.png trainannot/a.png\n{endless}\n")
    assert "list-line" in {problem.kind for problem in check(camvid).findings.problems}
    yolo = tmp_path / "yolo"
    for folder in ("images", "labels"):
        (yolo / folder).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(yolo / "images" / "a.png")
    (yolo / "labels" / "a.txt").write_text(f"0 0 0 1 0 1 1\n0 {'1' * 200_000}x 0 1 0 1 1\n")
    (yolo / "data.yaml").write_text(f"names: [{endless}'{endless}]\n")
    assert {problem.kind for problem in check(yolo).findings.problems} >= {"names"}
    pairs = tmp_path / "pairs"
    for folder in ("images", "masks"):
        (pairs / folder).mkdir(parents=True)
        Image.new("L", (8, 8)).save(pairs / folder / "a.png")
    for name in ("classes.txt", "_classes.csv", "labels.csv"):
        (pairs / name).write_text(f"{endless}\n" * 3)
    check(pairs)
